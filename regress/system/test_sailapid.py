# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailapid reads its configuration again without harm, keeps its limits, and
answers errors in the form of the API."""

import json
import os
import re
import select
import signal
import time
import urllib.parse

from sailtest import s3, server, wire

EMBEDDED_STORE = ("test_limits",)  # counts its role


def error(out):
    return json.loads(out)["error"]


def test_print(t):
    """What -nv prints is read again, and printed the same."""
    program = os.path.join(t.repo, "sailapid", "sailapid")
    conf = t.write("a.conf", 'store "/o" { listen on ::1 port 9 } log debug\n'
                   'limits { idle 5m }')
    one = t.run([program, "-nv", "-f", conf]).stdout
    two = t.run([program, "-n", "-v", "-f", t.write("b.conf", one)]).stdout
    t.equal(one, two, "printed again")
    t.true("configuration OK" in t.run([program, "-nf", conf]).stderr, "-n")
    r = t.run([program, "-nf", t.write("c.conf", "listen on * port 80")], ok=1)
    t.true("c.conf:1: listen on *: plain HTTP" in r.stderr, r.stderr)


def test_store_keys_checked(t):
    """-n refuses a file with the store's keys that would stop the start."""
    program = os.path.join(t.repo, "sailapid", "sailapid")
    keys = t.path("store.keys")
    conf = t.write("s3.conf", 'store s3 "https://s3.example" { bucket "b" '
                   'credentials file "%s" }' % keys)
    t.true(keys in t.run([program, "-nf", conf], ok=1).stderr, "missing")
    good = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
    t.write("store.keys", good.replace("default", "other"), 0o600)
    t.true("no access key" in t.run([program, "-nf", conf], ok=1).stderr,
           "of another profile")
    t.write("store.keys", good, 0o600)
    t.true("configuration OK" in t.run([program, "-nf", conf]).stderr, "good")
    os.chmod(keys, 0o644)
    t.true(keys in t.run([program, "-nf", conf], ok=1).stderr, "mode 0644")


def test_usage(t):
    """usage() and the SYNOPSIS of the manual page are the same."""
    program = os.path.join(t.repo, "sailapid", "sailapid")
    r = t.run([program, "-x"], ok=2)
    usage = [" ".join(line.split()).replace("usage: ", "")
             for line in r.stderr.splitlines() if "sailapid [" in line]
    page = t.run(["mandoc", "-T", "ascii", "-O", "width=200",
                  os.path.join(t.repo, "man", "sailapid.8")]).stdout
    page = re.sub(".\b", "", page)
    part = page[page.index("SYNOPSIS"):page.index("DESCRIPTION")]
    t.equal(usage, [" ".join(line.split()) for line in part.splitlines()[1:]
                    if line.strip()], "synopsis")
    for words in (["init"], ["key"], ["key", "list"], ["what"],
                  ["-n", "init", "x"], ["key", "create", "a"]):
        t.run([program] + words, ok=2)


def test_commands(t):
    """Keys are made, listed and revoked on the server itself."""
    srv = server.Server(t)

    def key(*words, ok=True):
        return t.run([srv.program, "-f", srv.conf] + list(words), ok=ok)

    secret = key("key", "create", "acme", "read", "for the test").stdout.strip()
    t.true(re.fullmatch("sk_[0-9a-f]{64}", secret), secret)
    t.equal("read", srv.call("GET", "/v1/whoami", key=secret)[1]["key"]["role"],
            "role")
    line = [x for x in key("key", "list", "acme").stdout.splitlines()
            if x.endswith("for the test")]
    t.equal(1, len(line), "lines")
    key("key", "revoke", "acme", line[0].split()[0])
    t.equal(401, srv.call("GET", "/v1/whoami", key=secret)[0], "revoked")
    key("init", "acme", ok=1)
    key("key", "list", "nobody", ok=1)


def test_reload(t):
    """SIGHUP: a typo changes nothing; a new address and new limits are taken;
    what needs a new start is said."""
    srv = server.Server(t)
    old = srv.port

    def hup(text, want):
        t.write("sailapid/sailapid.conf", text)
        srv.process.send_signal(signal.SIGHUP)
        t.wait_for(lambda: want in srv.log(), want)

    good = t.run(["cat", srv.conf]).stdout
    hup(good + "listen on", "not read, nothing was changed")
    hup(good + "listen on 10.0.0.1 port 1", "plain HTTP is for loopback")
    hup(good.replace("/db\"", "/db2\""), "another database needs a new start")
    t.equal((old, 200), (srv.port, srv.call("GET", "/v1/whoami")[0]), "as before")
    hup(good.replace("api.port", "api2.port") + "url life 5s",
        "sailapid.conf: read again")
    t.wait_for(lambda: srv.read("api2.port"), "a new port")
    srv.t.equal(False, old == int(srv.read("api2.port")), "another port")
    os.rename(srv.dir + "/api2.port", srv.dir + "/api.port")
    t.wait_for(srv.up, "an answer at the new port")


class Nowhere:
    """What a Server has to know of a store that nobody asks."""

    port, s3 = 1, None

    def __init__(self, text):
        self.text = text

    def statement(self):
        return self.text


def test_reload_authorities(t):
    """SIGHUP: certificates of authorities that cannot be read change nothing,
    and that is said."""
    t.write("keys", "aws_access_key_id = a\naws_secret_access_key = b\n", 0o600)
    ca = t.write("ca.pem", "-----BEGIN CERTIFICATE-----\n")
    srv = server.Server(t, store=Nowhere(
        'store s3 "https://127.0.0.1:1" { bucket "b" '
        'credentials file "%s" ca file "%s" }' % (t.path("keys"), ca)))
    srv.hup()
    os.rename(ca, ca + ".away")
    srv.hup("ca.pem: No such file or directory")
    t.equal(1, srv.log().count(": read again"), "read again")
    t.equal(200, srv.call("GET", "/v1/whoami")[0], "as before")
    os.mkdir(ca)
    srv.hup("ca.pem: Invalid argument")
    os.rmdir(ca)
    os.rename(ca + ".away", ca)
    srv.hup()


def test_twice(t):
    """A second server with the same pid file or port file is refused, and takes
    nothing of the first."""
    srv = server.Server(t, 'pid file "%s/pid"' % t.path("sailapid"))

    def pid():
        return srv.read("pid")

    want = [srv.read("api.port"), srv.read("store.port"), pid()]
    t.equal("%d\n" % srv.process.pid, want[2], "pid file")
    r = t.run([srv.program, "-d", "-f", srv.conf], ok=1)
    t.true("%s/pid: another sailapid that runs wrote it" % srv.dir
           in r.stderr, r.stderr)
    text = t.run(["cat", srv.conf]).stdout.replace("pid file", "# pid file")
    # Its store is the first's alone.
    text = text.replace("/objects\"", "/objects2\"")
    r = t.run([srv.program, "-f", t.write("other.conf", text)], ok=1)
    t.true("api.port: another sailapid" in r.stderr, r.stderr)
    t.equal(want, [srv.read("api.port"), srv.read("store.port"),
                   pid()], "the files of the first")
    t.equal(200, srv.call("GET", "/v1/whoami")[0], "the first")
    t.expect_deaths = True
    srv.process.kill()
    srv.process.wait()
    srv.start()
    t.equal("%d\n" % srv.process.pid, pid(), "after a crash")


def test_at_once(t):
    """Of several that start at the same moment with one pid file one runs."""
    srv = server.Server(t, 'pid file "%s/pid"' % t.path("sailapid"))
    srv.stop()
    for n in range(5):
        many = [t.spawn([srv.program, "-d", "-f", srv.conf],
                        "at-once-%d-%d.log" % (n, i)) for i in range(6)]
        one = t.wait_for(lambda: sum(p.poll() is None for p in many) == 1 and
                         [p for p in many if p.poll() is None], "one")[0]
        srv.process = one
        t.wait_for(srv.up, "its answer")
        t.equal("%d\n" % one.pid, srv.read("pid"), "pid file")
        t.equal(0, t.stop(one), "status")
        t.equal([1] * 5, [p.returncode for p in many if p != one], "others")
        names = [x for x in os.listdir(srv.dir) if x.startswith("pid")]
        t.equal([], names, "files")


def test_refusals(t):
    """Every error is JSON with message, type and code; all answers have Date."""
    srv = server.Server(t, "limits { body size 1M }")
    key = {"Authorization": "Bearer " + srv.key}

    def check(answer, status, code, what):
        t.equal((status, code), (answer[0], error(answer[2])["code"]), what)
        t.true("date" in answer[1], what + ": date")
        t.equal("application/json", answer[1]["content-type"], what)

    check(srv.raw("GET", "/v1/whoami"), 401, "bad_key", "no key")
    check(srv.raw("PATCH", "/v1/whoami", headers=key), 405,
          "method_not_allowed", "method")
    got = srv.raw("PUT", "/v1/volumes", b"", headers=key)
    check(got, 405, "method_not_allowed", "method of a route")
    t.equal("GET, HEAD, POST", got[1].get("allow"), "Allow")
    got = srv.raw("DELETE", "/v1/whoami", headers=key)
    t.equal("GET, HEAD", got[1].get("allow"), "Allow")
    want = srv.raw("GET", "/v1/whoami", headers=key)
    got = srv.raw("HEAD", "/v1/whoami", headers=key)
    t.equal((200, b""), (got[0], got[2]), "HEAD")
    t.equal(want[1]["content-length"], got[1]["content-length"], "its length")
    t.equal("GET, HEAD, PUT, POST, DELETE", srv.raw(
        "PATCH", "/v1/whoami", headers=key)[1].get("allow"), "Allow of all")
    check(srv.raw("POST", "/v1/keys", b"x" * (1 << 20) + b"x", key), 413,
          "body_too_large", "large body")
    check(srv.raw("POST", "/v1/keys", b"x" * 40000), 401, "bad_key",
          "a body that needs a key")
    check(srv.raw("GET", "/v1/" + "x" * 9000, headers=key), 400, "bad_target",
          "long target")
    check(srv.raw("GET", "/v1/whoami", headers={"Authorization": "x" * 600}),
          400, "bad_header", "long header")
    status, _, out = srv.raw("GET", "/v1/nothing", headers=key)
    t.equal((404, True), (status, "error" in json.loads(out)), "no such route")
    status, headers, out = srv.raw("HEAD", "/v1/whoami", headers=key)
    t.equal(b"", out, "head")
    t.true("date" in headers, "head: date")
    c = s3.S3(srv.port, "", "")
    got = c.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100000 +
                b"\r\n\r\n")
    t.true(got == b"" or b" 431 " in got[:20] or b" 413 " in got[:20],
           "headers: %r" % got[:80])


def test_request_numbers(t):
    """Each answer has the Sail-Request of its request, and none that is not 16
    digits, or there twice."""
    srv = server.Server(t, "limits { body size 1M }")
    key = {"Authorization": "Bearer " + srv.key}
    fake = {"Authorization": "Bearer sk_" + "0" * 64}
    large = json.dumps({"name": "v", "x": "x" * 100000})
    for i, (status, method, target, body, headers) in enumerate((
            (200, "GET", "/v1/whoami", None, key),
            (200, "HEAD", "/v1/whoami", None, key),
            (201, "POST", "/v1/volumes", large, key),
            (200, "GET", "/v1/volumes/v/head", None, key),
            (409, "POST", "/v1/volumes", '{"name":"v"}', key),
            (204, "DELETE", "/v1/volumes/v", None, key),
            (404, "GET", "/v1/nothing", None, key),
            (401, "GET", "/v1/whoami", None, {}),
            (401, "POST", "/v1/keys", large, {}),
            (401, "POST", "/v1/keys", large, fake),
            (405, "PATCH", "/v1/whoami", None, key),
            (413, "POST", "/v1/keys", b"x" * ((1 << 20) + 1), key),
            (400, "GET", "/v1/" + "x" * 9000, None, key),
            (400, "GET", "/v1/whoami", None, {"Authorization": "x" * 600}))):
        number = "%015x%x" % (0xfedcba987654321 - i, i)
        got = srv.raw(method, target, body,
                      dict(headers, **{"Sail-Request": number}))
        t.equal((status, number), (got[0], got[1].get("sail-request")),
                "%s %s" % (method, target[:20]))
    for bad in ("", "0" * 15, "0" * 17, "F" * 16, "g" * 16, "0" * 15 + " 0",
                "0x" + "0" * 14, "0" * 5000):
        got = srv.raw("GET", "/v1/whoami", None,
                      dict(key, **{"Sail-Request": bad}))
        t.equal((200, None), (got[0], got[1].get("sail-request")), bad[:20])
    got = s3.S3(srv.port, "", "").raw((
        "GET /v1/whoami HTTP/1.1\r\nHost: x\r\n%sConnection: close\r\n\r\n" % (
            "Sail-Request: 0123456789abcdef\r\n" * 2)).encode())
    t.true(b" 401 " in got[:20] and b"Sail-Request" not in got, "%r" % got)


def test_slow_bodies(t):
    """Bodies that are promised and do not come keep nobody out, and a large one
    is taken only for a key that meta knows."""
    srv = server.Server(t, "limits { body size 1M }")

    def head(length, key=srv.key, more=""):
        sock = s3.socket.create_connection(("127.0.0.1", srv.port), 30)
        sock.sendall(("POST /v1/keys HTTP/1.1\r\nHost: x\r\n%s"
                      "Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
                      % (more, key, length)).encode())
        return sock

    slow = [head(1 << 20) for _ in range(4)]
    for sock in slow:
        sock.sendall(b"x" * 1000)
    t.equal(201, srv.call("POST", "/v1/volumes", {"name": "v"})[0], "small")
    large = json.dumps({"name": "w", "x": "x" * 100000})
    key = {"Authorization": "Bearer " + srv.key}
    t.equal(201, srv.raw("POST", "/v1/volumes", large, key)[0], "large")
    for sock in slow:
        sock.close()
    fake = "sk_" + "0" * 64
    status, _, out = srv.raw("POST", "/v1/volumes", large,
                             {"Authorization": "Bearer " + fake})
    t.equal((401, "bad_key"), (status, error(out)["code"]), "unknown key")
    expect = "Expect: 100-continue\r\n"
    for who, want in ((fake, b"401 "), (srv.key, b"100 ")):
        with head(100000, who, expect) as sock:
            got = sock.recv(4096)
            t.true(got.startswith(b"HTTP/1.1 " + want), "%r" % got)
            if want == b"100 ":
                sock.sendall(b"x" * 100000)
                got = sock.recv(4096)
                t.true(got.startswith(b"HTTP/1.1 400 "), "%r" % got)


def test_without_meta(t):
    """While meta is away: 503 with Retry-After, also for what it was asked."""
    srv = server.Server(t)
    t.expect_deaths = True
    pid = srv.roles()["meta"]
    os.kill(pid, signal.SIGSTOP)
    with s3.socket.create_connection(("127.0.0.1", srv.port), 30) as sock:
        sock.sendall(("GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: "
                      "Bearer %s\r\nSail-Request: 0123456789abcdef\r\n\r\n" %
                      srv.key).encode())
        sock.settimeout(0.5)
        try:
            t.fail("an answer without meta: %r" % sock.recv(4096))
        except TimeoutError:
            pass
        os.kill(pid, signal.SIGKILL)
        sock.settimeout(30)
        got = sock.recv(4096)
    t.true(got.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in got,
           "%r" % got)
    t.true(b"\r\nSail-Request: 0123456789abcdef\r\n" in got, "%r" % got)
    t.wait_for(srv.up, "meta is back")


def chunk_urls(t, srv, session, datas):
    """Asks for the upload of chunks: [None, "pack" or (target, headers)]."""
    status, headers, out = srv.raw(
        "POST", session + "/chunks",
        wire.chunks([(wire.sha(d), len(d)) for d in datas]),
        {"Authorization": "Bearer " + srv.key})
    t.equal((200, "application/x-sailvol"), (status, headers["content-type"]),
            "chunks: %r" % out[:200])
    urls, answers = [], wire.uploads(out)
    t.equal(len(datas), len(answers), "answers")
    for d, (presence, obj, target, lines) in zip(datas, answers):
        if presence != wire.UPLOAD:
            urls.append({wire.PRESENT: None, wire.PACK: "pack"}[presence])
            continue
        t.equal(wire.sha(d), obj, "object")
        url = urllib.parse.urlsplit(target)
        t.equal("127.0.0.1:%d" % srv.store_port, url.netloc, "host of the URL")
        urls.append((url.path + "?" + url.query, dict(
            line.split(": ") for line in lines.splitlines())))
    return urls


def test_signed_upload(t):
    """The URL that the API gives for a chunk takes that chunk and no other,
    until its time is over."""
    srv = server.Server(t, "url life 5s")
    t.equal(201, srv.call("POST", "/v1/volumes", {"name": "v"})[0], "volume")
    session = "/v1/volumes/v/sessions/" + "5" * 32
    t.true(srv.call("PUT", session, {})[0] in (200, 201), "session")
    datas = [b"one" * 400000, b"x", b"three" * 300000]
    urls = chunk_urls(t, srv, session, datas)
    # The URLs of one answer are not one and the same.
    t.equal(3, len({u[0] for u in urls}), "URLs")
    for (target, headers), data in zip(urls, datas):
        headers = dict(headers, **{"Content-Length": str(len(data))})
        wrong = srv.s3.send("PUT", target, headers, data[:-1] + b"?")
        t.equal((400, "XAmzContentSHA256Mismatch"), (wrong.status, wrong.code),
                "another content")
        t.equal(200, srv.s3.send("PUT", target, headers, data).status,
                "upload")
        t.equal(412, srv.s3.send("PUT", target, headers, data).status,
                "upload again")
    # An answer of more than 32 KiB goes another way through the server.
    many = [b"%08d" % i * 131072 for i in range(100)]
    t.equal(100, len({u[0] for u in chunk_urls(t, srv, session, many)}),
            "many URLs")
    # Small ones go into packs, if there are several.
    t.equal([None, "pack", "pack"], chunk_urls(
        t, srv, session, [datas[0], b"a", b"b"]), "small")
    target, headers = chunk_urls(t, srv, session, [b"late"])[0]
    headers["Content-Length"] = "4"

    def late():
        a = srv.s3.send("PUT", target, headers, b"1ate")
        return a if a.status == 403 else None

    t.equal("AccessDenied", t.wait_for(late, "the URL expires").code, "expired")
    t.equal(3, len(srv.s3.sizes()), "objects")


def test_limits(t):
    """For more connections than configured the oldest give way; silent ones are
    closed."""
    srv = server.Server(t, "limits { connections 6 per peer 6, idle 1s }")
    held = [s3.socket.create_connection(("127.0.0.1", srv.port), 30)
            for _ in range(20)]
    for sock in held[:10]:
        try:
            sock.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n")
        except OSError:
            pass
    t.true(srv.up(), "an answer beside the silent ones")
    for sock in held:
        sock.settimeout(30)
        try:
            t.equal(b"", sock.recv(100), "a silent connection is closed")
        except ConnectionResetError:
            pass
        sock.close()
    t.equal(5, len(srv.roles()), "all roles still run")


def tcp_rows():
    with open("/proc/net/tcp", encoding="ascii") as f:
        return [line.split() for line in f][1:]


def test_slow(t):
    """Who sends a byte now and then, of a header or a body, or takes an answer
    so, is cut off, at the API and at the store; a request that is served for
    long is not."""
    srv = server.Server(t, "limits { idle 2s rate 16M }\nlog debug")
    half = s3.socket.create_connection(("127.0.0.1", srv.port), 30)
    half.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX: ")
    body = s3.socket.create_connection(("127.0.0.1", srv.port), 30)
    body.sendall(("POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: "
                  "1000\r\nAuthorization: Bearer %s\r\n\r\n"
                  % srv.key).encode())
    ends, get = {}, None
    if srv.store is None:
        t.equal(200, srv.s3.put("large", bytes(64 << 20)).status, "put")
        put = s3.socket.create_connection(("127.0.0.1", srv.store_port), 30)
        put.sendall(b"PUT /sail/x HTTP/1.1\r\nHost: x\r\nX: ")
        ends["the store's header"] = put
        # The answer is far more than buffers hold.
        get = s3.socket.socket()
        get.setsockopt(s3.socket.SOL_SOCKET, s3.socket.SO_RCVBUF, 1 << 20)
        get.connect(("127.0.0.1", srv.store_port))
        get.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (
            srv.s3.presign("GET", "large"), srv.s3.host)).encode())
    ends.update({"the header": half, "the body": body})
    began = time.monotonic()
    ended = set()

    def all_ended():
        for what, sock in ends.items():
            try:
                sock.send(b"x")
            except OSError:
                ended.add(what)
        # Far less than 8 MiB a second.
        if get is not None:
            get.recv(65536)  # at most 3 MiB a second
        return len(ended) == len(ends)

    t.wait_for(all_ended, "the slow ones' ends")
    took = time.monotonic() - began
    t.true(took >= 1.5, "%.1f s" % took)
    t.equal(200, srv.call("GET", "/v1/whoami")[0], "others are served")
    if get is not None:
        ends = ":%04X" % srv.store_port, ":%04X" % get.getsockname()[1]
        t.wait_for(lambda: "01" not in [  # established
            row[3] for row in tcp_rows()
            if (row[1][-5:], row[2][-5:]) == ends] or
            (get.recv(65536) and False), "the answer's end")
        left = sum(iter(lambda: len(get.recv(1 << 20)), 0))
        t.true(left < 30 << 20, "%d bytes were in buffers" % left)
    # One that waits for meta, and not its client, is not slow.
    meta = srv.roles()["meta"]
    os.kill(meta, signal.SIGSTOP)
    try:
        wait = s3.socket.create_connection(("127.0.0.1", srv.port), 30)
        wait.sendall(("GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: "
                      "Bearer %s\r\n\r\n" % srv.key).encode())
        t.true(not select.select([wait], [], [], 5)[0], "an end")
    finally:
        os.kill(meta, signal.SIGCONT)
    t.true(wait.recv(100).startswith(b"HTTP/1.1 200 "), "its answer")


def test_turns(t):
    """Of the requests of a peer meta has no more than was configured, and one
    that sends many does not keep the others waiting."""
    srv = server.Server(t, "limits { requests 6 per peer 4 }\nlog debug")
    meta = srv.roles()["meta"]

    def ask(source, name):
        body = json.dumps({"name": name})
        sock = s3.socket.create_connection(
            ("127.0.0.1", srv.port), 30, (source, 0))
        sock.sendall(("POST /v1/volumes HTTP/1.1\r\nHost: x\r\nAuthorization: "
                      "Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                      % (srv.key, len(body), body)).encode())
        return sock

    def unread():
        """What waits in the sockets of the API, and to be accepted."""
        return sum(int(row[4].split(":")[1], 16) for row in tcp_rows()
                   if row[1].endswith(":%04X" % srv.port))

    os.kill(meta, signal.SIGSTOP)
    try:
        many = [ask("127.0.0.1", "many%d" % n) for n in range(100)]
        few = [ask("127.0.0.%d" % n, "few%d" % n) for n in (2, 3, 4)]
        t.wait_for(lambda: not unread(), "all to be read")
        t.equal(405, srv.raw("PATCH", "/v1/whoami")[0], "api still answers")
    finally:
        os.kill(meta, signal.SIGCONT)
    for sock in many + few:
        t.true(sock.recv(100).startswith(b"HTTP/1.1 201 "), "an answer")
    def changes():
        return re.findall(r"audit: .* volume-create .*name=(many|few)",
                          srv.log())
    order = t.wait_for(lambda: len(changes()) >= 103 and changes(),
                       "the lines of the log")
    last = max(n for n, what in enumerate(order) if what == "few")
    t.equal(103, len(order), "changes")
    t.true(last < 10, "the last of the few was number %d" % last)
    # They may be asked again, and end in the middle.
    os.kill(meta, signal.SIGSTOP)
    many = [ask("127.0.0.1", "gone") for _ in range(50)]
    t.wait_for(lambda: not unread(), "all to be read")
    t.expect_deaths = True
    os.kill(meta, signal.SIGKILL)
    for sock in many:
        t.true(sock.recv(100)[:13] in (b"HTTP/1.1 503 ", b"HTTP/1.1 201 ",
                                      b"HTTP/1.1 409 "),
               "told so, or of the next meta")
    t.wait_for(srv.up, "meta again")


def test_header_size(t):
    """A header that is larger than configured is refused."""
    srv = server.Server(t, "limits { header size 8K }")
    c = s3.S3(srv.port, "", "")
    for size, want in ((2000, (b"401",)), (20000, (b"431", b"413"))):
        got = c.raw(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX: " +
                    b"x" * size + b"\r\n\r\n")
        t.true(got[9:12] in want, "%d: %r" % (size, got[:80]))


def test_background(t):
    """Without -d it goes into the background when nothing can fail any more."""
    srv = server.Server(t)
    srv.stop()
    pid_file = os.path.join(srv.dir, "pid")
    srv.configure('pid file "%s"' % pid_file)
    t.run([srv.program, "-f", srv.conf], timeout=20)
    pid = int(t.wait_for(lambda: srv.read("pid"), "pid file"))
    # A second one cannot take its address, and says so while it is heard.
    conf = t.write("second.conf", t.run(["cat", srv.conf]).stdout.replace(
        "port 0 port file", "port %d port file" % srv.port, 1).replace(
            "/pid\"", "/pid2\"").replace(".port\"", ".port2\"").replace(
                "/objects\"", "/objects2\""))
    r = t.run([srv.program, "-f", conf], ok=1)
    t.true("Address already in use" in r.stderr, r.stderr)
    os.kill(pid, signal.SIGTERM)
    t.wait_for(lambda: srv.read("pid") == "", "it ends")
