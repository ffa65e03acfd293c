# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailapid and its clients speak TLS: who is refused, what outside witnesses
see, and that no client keeps others waiting."""

import json
import os
import signal
import socket
import ssl
import struct
import time

import sailtest
from sailtest import role, server, stack, tls
from sailtest.again import again
from sailtest.stack import read, write

EMBEDDED_STORE = (
    "test_witnesses", "test_renewal", "test_bad_ways",
    "test_answer_before_the_end", "test_suite")  # its role speaks TLS, too

TLS = {"SAIL_TLS": "yes"}
LISTEN, PAIR, CONFIG = 130, 131, 132


def serve(t, extra="", **kwargs):
    authority = tls.Authority(t)
    return server.Server(t, extra, authority=authority, **kwargs), authority


def curl(t, *args, ok=True):
    return t.run(["curl", "-sS", "-m", "20"] + list(args), ok=ok)


def s_client(t, srv, *args, port=None, input=""):
    """Both outputs of openssl s_client, in one."""
    r = t.run(["openssl", "s_client", "-connect",
               "127.0.0.1:%d" % (port or srv.port), "-CAfile",
               srv.authority.ca] + list(args), ok=None, input=input)
    return r.stdout + r.stderr


def dial(srv, port=None, context=None):
    s = socket.create_connection(("127.0.0.1", port or srv.port), 30)
    return (context or srv.context).wrap_socket(s, server_hostname="127.0.0.1")


def request(srv, target="/v1/whoami", more=""):
    return ("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
            "Authorization: Bearer %s\r\n%s\r\n" % (
                target, srv.port, srv.key, more)).encode()


def answer(s):
    """(status line, body) of one answer of a socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            return data, b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int([line.split(b":")[1] for line in head.split(b"\r\n")
                  if line.lower().startswith(b"content-length")][0])
    while len(body) < length:
        body += s.recv(65536)
    return head.split(b"\r\n")[0], body


def serial(srv, port=None):
    with dial(srv, port) as s:
        return s.getpeercert()["serialNumber"]


# ---- witnesses ---------------------------------------------------------------

def test_witnesses(t):
    """curl and openssl reach API and store by TLS 1.2 and 1.3 and by nothing
    older, with the right name and a known authority."""
    srv, authority = serve(t)
    auth = "Authorization: Bearer " + srv.key
    whoami = srv.url + "/v1/whoami"
    r = curl(t, "--cacert", authority.ca, "-H", auth, whoami)
    t.equal("acme", json.loads(r.stdout)["org"]["name"], "curl")
    # The authority is not one of the system's.
    r = curl(t, "-H", auth, whoami, ok=60)
    # Another name than those of the certificate.
    name = "other.example:%d" % srv.port
    r = curl(t, "--cacert", authority.ca, "--resolve", name + ":127.0.0.1",
             "https://%s/v1/whoami" % name, ok=60)
    t.true("no alternative certificate subject name matches" in r.stderr,
           r.stderr)
    # Plain HTTP gets no answer.
    t.true(curl(t, "http://127.0.0.1:%d/v1/whoami" % srv.port,
                ok=False).stdout == "", "plain HTTP is answered")
    for port in (srv.port, srv.store_port):
        old = ["-cipher", "DEFAULT@SECLEVEL=0"]
        t.true("alert protocol version" in s_client(
            t, srv, "-tls1_1", *old, port=port), "TLS 1.1")
        t.true("alert protocol version" in s_client(
            t, srv, "-tls1", *old, port=port), "TLS 1.0")
        for version in ("1_2", "1_3"):
            out = s_client(t, srv, "-tls" + version, "-alpn", "h2,http/1.1",
                           port=port)
            t.true("Verification: OK" in out and
                   "TLSv%s" % version.replace("_", ".") in out and
                   "ALPN protocol: http/1.1" in out, version + ": " + out)
        # No forward secrecy, no authenticated encryption.
        for cipher in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA"):
            t.true("alert handshake failure" in s_client(
                t, srv, "-tls1_2", "-cipher", cipher, port=port), cipher)
    # An object goes by TLS; the store has a plain port, for sailapid alone,
    # on loopback.
    target = srv.s3.presign("GET", "k")
    srv.s3.put("k", b"hello")
    r = curl(t, "--cacert", authority.ca,
             "https://127.0.0.1:%d%s" % (srv.store_port, target))
    t.equal("hello", r.stdout, "object")
    srv.stop()


def test_rsa(t):
    """A key of RSA, which its group may read."""
    srv, authority = serve(t)
    srv.certificate = authority.issue(rsa=True)
    os.chmod(srv.certificate[1], 0o640)
    srv.configure("")
    srv.hup()
    out = s_client(t, srv, "-tls1_2")
    t.true("Server public key is 2048 bit" in out and "ECDHE-RSA" in out, out)
    srv.stop()


def test_both_ways(t):
    """Signed URLs are https for who comes by TLS; who comes without, from this
    machine, is sent to the store's plain port."""
    s = stack.Stack(t, authority=tls.Authority(t),
                    server_extra="listen on 127.0.0.1 port 0 port file \"%s\""
                    % t.path("plain"))
    s.add_daemon(api="http://127.0.0.1:%s" % read(t.path("plain")).strip())
    a = s.mount("v", "a", create=True)
    b = s.daemons[1].mount("v", "b")
    for one, other in ((a, b), (b, a)):
        data = os.urandom(3 << 20)
        with open(os.path.join(one, "f"), "wb") as f:
            f.write(data)
        s.share(one, other)
        with open(os.path.join(other, "f"), "rb") as f:
            t.true(f.read() == data, "content")


# ---- who verifies ------------------------------------------------------------

def test_clients_verify(t):
    """sailvold, sailvolctl and Python refuse an unknown authority, another
    name and a certificate that has expired; and say so."""
    authority, other = tls.Authority(t), tls.Authority(t, "other")
    srv = server.Server(t, authority=authority)
    ctl = os.path.join(t.repo, "sailvolctl", "sailvolctl")
    python = [os.path.join("/usr/bin", "python3"), "-c",
              "import sail.api\ntry:\n"
              " print(sail.api.Client().request('GET', '/v1/whoami'))\n"
              "except sail.SailError as e:\n print('refused:', e)"]

    def ask(ca):
        env = {"SAIL_API_URL": srv.url, "SAIL_API_KEY": srv.key,
               "SAIL_CA_FILE": ca,
               "PYTHONPATH": os.path.join(t.repo, "python")}
        r = t.run([ctl, "key", "list"], ok=None, env=env)
        p = t.run(python, env=env).stdout
        t.equal(r.returncode == 0, "'acme'" in p, "the same: %s%s%s" % (
            r.stdout, r.stderr, p))
        return "" if r.returncode == 0 else r.stderr

    t.equal("", ask(authority.ca), "the right authority")
    why = ask(other.ca)
    t.true("SSL peer certificate" in why, "unknown authority: " + why)
    t.true("SSL peer certificate" in ask(""), "the system's")
    t.true("no-such-file" in ask(t.path("no-such-file")), "missing file")
    for what, cert in (
            ("name", authority.issue("DNS:other.example,IP:127.0.0.9")),
            ("date", authority.issue(start="20200101000000Z",
                                     end="20210101000000Z"))):
        srv.stop()
        srv.certificate = cert
        srv.configure("")
        srv.process = t.spawn([srv.program, "-d", "-f", srv.conf],
                              "sailapid.log")
        # No client of ours would get an answer.
        t.wait_for(lambda: srv.read("api.port") and "Verif" in s_client(
            t, srv), "sailapid listens")
        t.true("SSL peer certificate" in ask(authority.ca), what)
        t.equal(what == "date", "has expired on 2021-01-01 00:00:00 UTC" in
                srv.log(), "log")
    srv.stop()


def test_daemon_verifies(t):
    """sailvold sends its key to nobody that its ca does not vouch for; another
    ca counts from the next SIGHUP on."""
    authority, other = tls.Authority(t), tls.Authority(t, "other")
    s = stack.Stack(t, authority=authority)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    write(os.path.join(a, "f"), "one")
    s.commit(a)
    good = read(d.conf)
    write(d.conf, good.replace(authority.ca, other.ca))
    d.hup()
    t.wait_for(lambda: d.log().count("conf: taken") == 1, "SIGHUP")
    write(os.path.join(a, "f"), "two")
    began = time.monotonic()
    for what in ("commit", "reload"):
        r = s.ctl(what, a, ok=False)
        t.true("SSL peer certificate" in r.stderr, r.stderr)
        t.true("127.0.0.1" in r.stderr and "the ca file" in r.stderr, r.stderr)
    # No waiting mends it: not as long as for a server that is away.
    t.true(time.monotonic() - began < 15, "seconds: %.1f" % (
        time.monotonic() - began))
    write(d.conf, good)
    d.hup()
    t.wait_for(lambda: d.log().count("conf: taken") == 2, "SIGHUP")
    s.commit(a)


# ---- another certificate -----------------------------------------------------

def test_renewal(t):
    """A renewed certificate is shown from the SIGHUP on, and what goes on over
    an old connection goes on, before and after."""
    srv, authority = serve(t)
    data = os.urandom(48 << 20)
    t.equal(200, srv.s3.put("big", data).status, "put")
    first = serial(srv)
    old = dial(srv)
    old.sendall(request(srv))
    t.equal(b"HTTP/1.1 200 OK", answer(old)[0], "before")
    download = dial(srv, srv.store_port)
    download.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (
        srv.s3.presign("GET", "big"), srv.s3.host)).encode())
    got = bytearray(download.recv(65536))
    roles = srv.roles()
    # As certbot does it: the files are renamed into their places.
    for new, there in zip(authority.issue(), srv.certificate):
        os.rename(new, there)
    srv.hup()
    t.wait_for(lambda: serial(srv) != first, "the new certificate")
    t.true(serial(srv, srv.store_port) == serial(srv) != first, "store")
    old.sendall(request(srv))
    t.equal(b"HTTP/1.1 200 OK", answer(old)[0], "after")
    while len(got) < got.index(b"\r\n\r\n") + 4 + len(data):
        more = download.recv(1 << 20)
        t.true(more, "the download ends after %d" % len(got))
        got += more
    t.true(got.endswith(data), "the download")
    t.equal(roles, srv.roles(), "no role was started again")
    srv.stop()


def test_bad_renewal(t):
    """One that cannot be used is named in the log, and the old one stays, also
    when the process that has it dies."""
    srv, authority = serve(t)
    good = srv.certificate
    first = serial(srv)
    new = authority.issue()
    expired = authority.issue(start="20200101000000Z", end="20210101000000Z")
    later = authority.issue(start="20900101000000Z", end="20910101000000Z")
    junk = t.write("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n", 0o600)
    open_key = t.write("open.key", read(new[1]), 0o644)
    locked = t.path("locked.key")
    t.run(["openssl", "pkey", "-in", new[1], "-aes128", "-passout", "pass:x",
           "-out", locked])
    os.chmod(locked, 0o600)
    for cert, key, why in (
            (junk, new[1], "certificate %s, key %s: " % (junk, new[1])),
            (new[0], junk, "certificate %s, key %s: " % (new[0], junk)),
            (new[0], good[1], "private"),
            (new[0], locked, "key %s: " % locked),
            (new[0], t.path("none"), "none: No such file"),
            (t.path("none"), new[1], "none: No such file"),
            (new[0], open_key, "open.key: must be root's, and closed"),
            (t.dir, new[1], "is not a file"),
            ("/dev/zero", new[1], "/dev/zero: is not a file"),
            (expired[0], expired[1], "expired on 2021-01-01 00:00:00 UTC"),
            (later[0], later[1], "not good before 2090-01-01 00:00:00 UTC")):
        srv.certificate = cert, key
        srv.configure("")
        srv.hup(why)
        t.equal(first, serial(srv), "certificate after " + why)
    # What the parent gives a new tls is the last that was good.
    t.expect_deaths = True
    pid = srv.roles()["tls"]
    os.kill(pid, signal.SIGKILL)
    t.wait_for(lambda: srv.roles().get("tls", pid) != pid, "tls again")
    t.wait_for(srv.up, "an answer")
    t.equal(first, serial(srv), "certificate of another tls")
    srv.stop()
    # A server does not start with it.
    srv.certificate = junk, new[1]
    srv.configure("")
    r = t.run([srv.program, "-d", "-f", srv.conf], ok=1)
    t.true("certificate %s" % junk in r.stderr, r.stderr)


# ---- bad clients -------------------------------------------------------------

def quick(t, srv, what):
    """An honest client is answered, soon."""
    began = time.monotonic()
    with dial(srv) as s:
        s.sendall(request(srv))
        t.equal(b"HTTP/1.1 200 OK", answer(s)[0], what)
    t.true(time.monotonic() - began < 12, "%s: %.1f s" % (
        what, time.monotonic() - began))


def ended(s, seconds=20):
    """The server has ended the connection."""
    s.settimeout(seconds)
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


def drain(s):
    """No more is sent; until the server has ended it."""
    s.settimeout(20)
    try:
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):
            pass
    except ConnectionError:
        pass
    s.close()


def half_close(srv, data=None, told=True):
    """A request and the end of what is sent, by TLS or by TCP alone; all that
    comes then."""
    raw = socket.create_connection(("127.0.0.1", srv.port), 30)
    bios = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = srv.context.wrap_bio(*bios, server_hostname="127.0.0.1")

    def until(f):
        while True:
            try:
                return f()
            except ssl.SSLWantReadError:
                if bios[1].pending:
                    raw.sendall(bios[1].read())
                more = raw.recv(65536)
                if not more:
                    bios[0].write_eof()
                bios[0].write(more)

    until(client.do_handshake)
    client.write(data or request(srv))
    try:
        if told:
            client.unwrap()
    except ssl.SSLWantReadError:
        pass
    raw.sendall(bios[1].read())
    if not told:
        raw.shutdown(socket.SHUT_WR)
    out = b""
    try:
        while part := until(lambda: client.read(65536)):
            out += part
    except ssl.SSLError:
        pass
    raw.close()
    return out


def test_unfinished_handshakes(t):
    """Who never finishes a handshake is ended at its deadline, and many of
    them keep nobody out."""
    srv, _ = serve(t, "limits { connections 32 per peer 32 handshake 2s }")
    idle = [socket.create_connection(("127.0.0.1", srv.port), 30)
            for _ in range(4)]
    hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = srv.context.wrap_bio(*hello, server_hostname="127.0.0.1")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    record = hello[1].read()
    for n, s in enumerate(idle[1:]):
        s.sendall(record[:n * len(record) // 2])
    quick(t, srv, "beside a few")
    for s in idle:
        began = time.monotonic()
        if record:
            s.settimeout(20)
        while not ended(s):
            pass
        t.true(time.monotonic() - began < 10, "deadline")
        s.close()
    # More than there are places, all the time.
    many = []
    for _ in range(10):
        for _ in range(40):
            many.append(socket.create_connection(("127.0.0.1", srv.port), 30))
        quick(t, srv, "among %d" % len(many))
    for s in many:
        s.close()
    quick(t, srv, "after them")
    t.equal(1, srv.log().count("tls port %d" % srv.port), "never restarted")
    srv.stop()


def test_full(t):
    """At its limit that connection gives way to a new one that has had nothing
    to do for the longest time."""
    srv, _ = serve(t, "limits { connections 8 per peer 8 handshake 2s }")
    held = []
    for _ in range(8):
        s = dial(srv)
        s.sendall(request(srv))
        t.equal(b"HTTP/1.1 200 OK", answer(s)[0], "held")
        held.append(s)
    # An eighth of the places is for those that have shown no key yet.
    t.true(ended(held.pop(0)), "the first")
    for s in held[:3]:
        s.sendall(request(srv))
        t.equal(b"HTTP/1.1 200 OK", answer(s)[0], "served")
    new = []
    for _ in range(3):
        new.append(s := dial(srv))
        s.sendall(request(srv))
        t.equal(b"HTTP/1.1 200 OK", answer(s)[0], "new ones")
    for s in held[3:6]:
        t.true(ended(s), "the longest idle ones")
    for s in held[:3]:
        s.sendall(request(srv))
        t.equal(b"HTTP/1.1 200 OK", answer(s)[0], "served again")
    for s in held + new:
        s.close()
    srv.stop()


def test_bad_ways(t):
    """Half closes, renegotiation, updates of keys without end, junk, resets:
    the client gets what it asked for or its end, the others their answers."""
    srv, _ = serve(t, "limits { idle 3s rate 256K }")
    data = os.urandom(16 << 20)
    t.equal(200, srv.s3.put("big", data).status, "put")
    get = ("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (
        srv.s3.presign("GET", "big"), srv.s3.host)).encode()
    # It takes nothing of a large answer: ended after the idle time, and that
    # in which so much might come as buffers hide.
    deaf = dial(srv, srv.store_port)
    deaf.sendall(get)
    # It says that it has no more to send, and is answered all the same.
    t.true(b"HTTP/1.1 200 OK" in half_close(srv), "answer after the end")
    t.true(b"HTTP/1.1 200 OK" in half_close(srv, told=False),
           "answer after an end that TLS was not told of")
    # What is cut short is none.
    t.true(b"HTTP/1.1 2" not in half_close(srv, request(srv)[:-2], told=False),
           "half a request")
    for version in ("1_2", "1_3"):
        # R, K and k are its commands.
        lines = "R\n" if version == "1_2" else "K\nk\n" * 200
        s_client(t, srv, "-tls" + version, input=lines)
        quick(t, srv, "after %s" % lines[:2])
    for junk in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x16\x03\x01",
                 b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\0" * 100000):
        s = socket.create_connection(("127.0.0.1", srv.port), 30)
        try:
            s.sendall(junk)
        except OSError:
            pass
        drain(s)
    # A reset in the middle of an upload, and of a download.
    for what in (get, get[:20], b"PUT /sail/x HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: 100000\r\n\r\n" + b"x" * 1000):
        s = dial(srv, srv.store_port)
        s.sendall(what)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                     b"\1\0\0\0\0\0\0\0")
        s.close()
    quick(t, srv, "after resets")
    t.equal(data, srv.s3.get("big").body, "object")

    def deaf_ended():
        pid = srv.roles()["tls"]
        return not any(("127.0.0.1", deaf.getsockname()[1]) == peer
                       for peer in established(pid))

    t.wait_for(deaf_ended, "the end of who takes nothing")
    t.equal(200, srv.s3.get("big").status, "store")
    srv.stop()


def established(pid):
    """Peers of the TCP connections of a process."""
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            inodes.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:
            pass
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in list(f)[1:]:
            w = line.split()
            if "socket:[%s]" % w[9] in inodes:
                yield "127.0.0.1", int(w[2].split(":")[1], 16)


def test_answer_before_the_end(t):
    """Who is refused in the middle of a large body hears why."""
    srv, _ = serve(t)
    s = dial(srv, srv.store_port)
    s.sendall(b"PUT /sail/x HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n"
              b"\r\n")
    try:
        for _ in range(200):
            s.sendall(b"x" * 65536)
    except OSError:
        pass
    t.true(s.recv(100).startswith(b"HTTP/1.1 4"), "refusal")
    srv.stop()


# ---- the rest of the suite ---------------------------------------------------

def test_all_addresses(t):
    """* is every address of the machine, of both families."""
    srv, authority = serve(t)
    write(srv.conf, read(srv.conf).replace(
        "listen on 127.0.0.1 tls port 0 port file \"%s/api" % srv.dir,
        "listen on * tls port 0 port file \"%s/api" % srv.dir))
    srv.hup()
    t.wait_for(srv.up, "an answer")
    addresses = ["127.0.0.2"]
    if os.path.exists("/proc/net/if_inet6") and read("/proc/net/if_inet6"):
        addresses.append("[::1]")
    for address in addresses:
        r = curl(t, "--cacert", authority.ca, "-H",
                 "Authorization: Bearer " + srv.key,
                 "https://%s:%d/v1/whoami" % (address, srv.port))
        t.equal("acme", json.loads(r.stdout)["org"]["name"], address)
    srv.stop()


@sailtest.deadline(300)
def test_suite(t):
    """What is told of mounts without TLS holds with it, of bad networks too."""
    again(t, TLS, "test_chunks", "test_uploads", "test_resume")
    again(t, TLS, "test_packs", "test_one_wrong_chunk")
    again(t, TLS, "test_bad_input", "test_store_down", "test_bad_answers")
    again(t, TLS, "test_store", "test_bad_requests", "test_presigned", "test_interrupted",
          "test_large")


def test_unfinished_settings(t):
    """Settings that come in part, for their sender had no descriptors, leave
    nothing behind: the next ones count, whole."""
    authority = tls.Authority(t)
    cert, key = (read(p).encode() for p in authority.issue())
    program = os.path.join(t.repo, "sailapid", "sailapid")
    empty = t.path("empty")
    os.mkdir(empty)
    p = role.Role(t, program, "tls", role.TLS, empty)
    sockets = []

    def some(n=1):
        p.parent.send(PAIR, 0, struct.pack(">I", len(cert)),
                      role.memfd(cert + key))
        for _ in range(n):
            s = socket.socket()
            s.bind(("127.0.0.1", 0))
            s.listen()
            s.setblocking(False)
            sockets.append(s.getsockname())
            p.parent.send(LISTEN, 0, b"\0", s.detach())

    def all_of_it():
        some()
        p.parent.send(CONFIG, 0, struct.pack(">5I", 100, 10, 10, 10, 4096))

    def listens():
        out = []
        for i, where in enumerate(sockets):
            try:
                socket.create_connection(where, 10).close()
                out.append(i)
            except (ConnectionRefusedError, ConnectionResetError):
                pass
        return out

    some()
    all_of_it()
    p.ready()
    t.equal([1], listens(), "at the start")
    for _ in range(20):
        some(3)
    all_of_it()
    t.wait_for(lambda: listens() == [62], "the last ones")
    t.true(p.alive(), "it lives")
    p.stop()
