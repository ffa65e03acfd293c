# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Who holds connections and means harm, with a key of little use or without
any, keeps nobody else out."""

import json
import os
import select
import signal
import socket
import time

from sailtest import server, tls, wire
from sailtest.client import Client, sha

FULL = "limits { connections 32 per peer 16 }"
HOSTILE = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def dial(srv, ip, port=None):
    s = socket.socket()
    s.bind((ip, 0))
    s.settimeout(30)
    s.connect(("127.0.0.1", port or srv.port))
    if srv.context is None:
        return s
    return srv.context.wrap_socket(s, server_hostname="127.0.0.1")


def request(key="", target="/v1/whoami", length=None):
    return "".join(("GET" if length is None else "POST", " ", target,
                    " HTTP/1.1\r\nHost: x\r\n",
                    "Content-Length: %d\r\n" % length if length else "",
                    "Authorization: Bearer %s\r\n" % key if key else "",
                    "\r\n")).encode()


def status(s):
    """Of the answer that comes; None: the connection ended."""
    head = b""
    try:
        while b"\r\n\r\n" not in head:
            more = s.recv(65536)
            if not more:
                return None
            head += more
    except ConnectionError:
        return None
    return int(head.split()[1])


def once(srv, ip, data, port=None):
    try:
        with dial(srv, ip, port) as s:
            s.sendall(data)
            return status(s)
    except OSError as e:
        return repr(e)


def fill(srv, n, data, port=None):
    """n connections of each hostile address, each of which asks something."""
    socks = []
    for ip in HOSTILE:
        for _ in range(n):
            try:
                s = dial(srv, ip, port)
                s.sendall(data)
                status(s)
                socks.append(s)
            except OSError:
                pass
    return socks


def again(socks, data):
    """They are not silent; those that are left."""
    left = []
    for s in socks:
        try:
            s.sendall(data)
            if status(s) is not None:
                left.append(s)
        except OSError:
            pass
    return left


def begin_body(srv, key, ip, size=1 << 20):
    """A request with a good key that is in flight; None: it was ended before."""
    s = dial(srv, ip)
    s.sendall(request(key))
    if status(s) != 200:
        s.close()
        return None
    s.sendall(request(key, "/v1/nowhere", size) + bytes(size - 1))
    return s


def keyless(t, srv):
    body = begin_body(srv, srv.key, HOSTILE[0])
    held = fill(srv, 20, request())
    for _ in range(3):
        held = again(held, request())
        t.true(len(held) >= 24, "%d are held" % len(held))
        t.equal(200, once(srv, "127.0.0.9", request(srv.key)), "of another")
        # As behind a balancer, where all have one address.
        for ip in HOSTILE:
            t.equal(200, once(srv, ip, request(srv.key)), "beside them")
    body.sendall(b"x")
    t.equal(404, status(body), "a request in flight")
    for s in held:
        s.close()
    srv.stop()


def test_keyless(t):
    """Connections without a key, from several addresses and not silent, keep
    out nobody who has one, not even of their own address."""
    keyless(t, server.Server(t, FULL))


def test_keyless_tls(t):
    """The same by TLS."""
    keyless(t, server.Server(t, FULL, authority=tls.Authority(t)))


def store_full(t, srv):
    t.equal(200, srv.s3.put("a", b"x" * 100).status, "put")
    held = fill(srv, 20, request(), srv.store_port)
    held = again(held, request())
    get = ("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (
        srv.s3.presign("GET", "a"), srv.s3.host)).encode()
    for ip in ("127.0.0.9",) + HOSTILE:
        t.equal(200, once(srv, ip, get, srv.store_port), ip)
    # The server itself looks at what was uploaded.
    c, data = Client(srv), b"uploaded"
    (a,) = c.chunks([(sha(data), len(data))])
    t.equal(200, c.put(a, data).status, "upload")
    c.commit({"f": (len(data), [sha(data)])})
    for s in held:
        s.close()
    srv.stop()


def test_store(t):
    """Nor at the embedded store, where a signed URL is the key."""
    srv = server.Server(t, FULL)
    if srv.store is None:
        store_full(t, srv)


def test_store_tls(t):
    """The same by TLS."""
    srv = server.Server(t, FULL, authority=tls.Authority(t))
    if srv.store is None:
        store_full(t, srv)


def test_one_key(t):
    """Who has a key, and holds all connections that he gets with requests that
    do not end, keeps out no other key."""
    srv = server.Server(t, FULL)
    key = srv.call("POST", "/v1/keys", {"role": "read"})[1]["key"]
    held = [begin_body(srv, key, ip, 40000) for ip in HOSTILE
            for _ in range(16)]
    t.true(None not in held, "with nobody else there he gets what he wants")
    for ip in ("127.0.0.9",) + HOSTILE:
        t.equal(200, once(srv, ip, request(srv.key)), ip)
    t.true(len(select.select(held, [], [], 0)[0]) < 28, "most of his go on")
    mine = [begin_body(srv, srv.key, "127.0.0.9", 40000) for _ in range(4)]
    for s in mine:
        s.sendall(b"x")
        t.equal(404, status(s), "with as little, of another key")
    for s in held + mine:
        s.close()
    srv.stop()


def sockets(pid):
    n = 0
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            n += os.readlink("/proc/%d/fd/%s" % (pid, fd))[:7] == "socket:"
        except OSError:
            pass
    return n


def test_turned_out(t):
    """Who is turned out while what he asked is waited for leaves his place,
    however long that takes; with a key and without."""
    srv = server.Server(t, FULL)
    api = srv.roles()["api"]
    before = sockets(api)
    held = fill(srv, 10, request(srv.key))
    meta = srv.roles()["meta"]
    os.kill(meta, signal.SIGSTOP)
    try:
        for s in held:
            s.sendall(request(srv.key))
        for i in range(150):
            held.append(dial(srv, HOSTILE[i % 3]))
            held[-1].sendall(request(srv.key))
        # api answers this by itself.
        for ip in ("127.0.0.9",) + HOSTILE:
            t.equal(405, once(srv, ip, b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n"),
                    ip)
    finally:
        os.kill(meta, signal.SIGCONT)
    t.equal(200, once(srv, "127.0.0.9", request(srv.key)), "of another")
    for s in held:
        s.close()
    t.wait_for(lambda: sockets(api) <= before, "they are all gone")
    srv.stop()


def test_refused(t):
    """A key is as good where what it asks for is refused."""
    srv = server.Server(t, FULL)
    asks = {404: request(srv.key, "/v1/nowhere"),
            405: request(srv.key, "/v1/volumes/v/nodes"),
            400: request(srv.key, "/v1/volumes", 1) + b"["}
    socks = []
    for expected, data in asks.items():
        socks.append(dial(srv, HOSTILE[0]))
        socks[-1].sendall(data)
        t.equal(expected, status(socks[-1]), "refused")
    held = fill(srv, 20, request())
    for expected, s in zip(asks, socks):
        s.sendall(request(srv.key))
        t.equal(200, status(s), "after %d" % expected)
    for s in held + socks:
        s.close()
    srv.stop()


def large_answers(t, extra, authority=None):
    """(server, a key, a request by that of an answer of some MiB)."""
    srv = server.Server(t, extra, authority=authority)
    c = Client(srv)
    c.ask(c.session + "/commit", wire.delta([
        wire.op(wire.PUT, b"n%07d" % i,
                wire.symlink(os.urandom(60).hex().encode()))
        for i in range(40000)]))

    def ask(key):
        return request(key, "/v1/volumes/v/head?budget=8388608")

    return srv, srv.call("POST", "/v1/keys", {"role": "read"})[1]["key"], ask


def deaf(srv, data, window=4096, port=None):
    """It asks, and takes nothing of its answer."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    s.settimeout(30)
    s.connect(("127.0.0.1", port or srv.port))
    if srv.context is not None:
        s = srv.context.wrap_socket(s, server_hostname="127.0.0.1")
    s.sendall(data)
    return s


def held_by(pid):
    """Bytes of answers that a process has."""
    n = 0
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            if "memfd:answer" in os.readlink("/proc/%d/fd/%s" % (pid, fd)):
                n += os.stat("/proc/%d/fd/%s" % (pid, fd)).st_size
        except OSError:
            pass
    return n


def test_unread_answers(t):
    """Answers that nobody reads take so much memory and no more, and keep
    nobody from his."""
    srv, key, ask = large_answers(t, "limits { answers size 32M }")
    api, size = srv.roles()["api"], 0
    socks = []
    for _ in range(20):
        socks.append(deaf(srv, ask(key)))
        t.wait_for(lambda: srv.log().count("/head: ") >= len(socks), "answers")
        size = max(size, held_by(api))
    t.true(16 << 20 < size <= 32 << 20, "%d bytes are held" % size)
    t.equal(200, status(socks[0]), "the first")
    t.equal(503, status(socks[-1]), "the last")
    for _ in range(3):
        got = srv.raw("GET", "/v1/volumes/v/head?budget=8388608", None,
                      {"Authorization": "Bearer " + srv.key})
        t.equal((200, True), (got[0], len(got[2]) > 3 << 20), "of another key")
    t.true(held_by(api) <= 32 << 20, "still")
    for s in socks:
        s.close()
    t.wait_for(lambda: held_by(api) == 0, "nothing is left")
    with deaf(srv, ask(key)) as s:
        t.equal(200, status(s), "again")
    srv.stop()


def test_long_key(t):
    """What is said of a key before its large body is read has no share of the
    answers, however long it is."""
    srv, deaf_key, ask = large_answers(t, "limits { answers size 32M }")
    parts = [b"d" * 255] * 15
    above = [b"/".join(parts[:n + 1]) for n in range(len(parts))]
    c = Client(srv)
    c.ask(c.session + "/commit", wire.delta(
        [wire.op(wire.PUT, above[-1] + b"/x", wire.symlink(b"x"))],
        context=[(name, wire.directory()) for name in above]))
    volumes = [{"volume": "v"}]
    for n in range(40):
        volumes.append({"volume": "w%d" % n, "path": above[-1].decode()})
        t.equal(201, srv.call("POST", "/v1/volumes/v/fork",
                              {"name": volumes[-1]["volume"]})[0], "fork")
    status_, made = srv.call("POST", "/v1/keys",
                             {"role": "read", "volumes": volumes})
    t.equal(201, status_, "a key: %s" % made)
    socks = []
    for _ in range(7):
        socks.append(deaf(srv, ask(deaf_key)))
        t.wait_for(lambda: srv.log().count("/head: ") >= len(socks), "answers")
    t.true(held_by(srv.roles()["api"]) > 24 << 20, "there are others")
    body = json.dumps({"to": c.head(), "limit": 1000}).encode().ljust(40000)
    longest = 0
    for _ in range(60):
        got = srv.raw("POST", "/v1/volumes/v/diff", body,
                      {"Authorization": "Bearer " + made["key"]})
        t.equal(200, got[0], "diff")
        longest = max(longest, len(got[2]))
    t.true(longest > 32 << 10, "long: %d" % longest)
    t.true("gives way" not in srv.log(), "they are held for nobody")
    for s in socks:
        s.close()
    srv.stop()


class Slow:
    """Who takes so many bytes a second of an answer."""

    def __init__(self, t, srv, data, rate, port=None):
        self.t, self.rate = t, rate
        self.sock = deaf(srv, data, 65536, port)
        self.began = time.monotonic()
        head, _, data = self.sock.recv(65536).partition(b"\r\n\r\n")
        self.length = int(
            head.lower().split(b"content-length: ")[1].split()[0])
        self.n = len(data)

    def take(self, size):
        more = self.sock.recv(size)
        self.t.true(more, "ended after %d of %d bytes" % (self.n, self.length))
        self.n += len(more)

    def go_on(self):
        while self.n < (time.monotonic() - self.began) * self.rate:
            self.take(16384)

    def finish(self):
        while self.n < self.length:
            self.take(1 << 20)
        self.sock.close()


def takes_little(t, authority=None):
    srv, key, ask = large_answers(t, "limits { idle 2s rate 64K }", authority)
    slow = Slow(t, srv, ask(key), 72000)
    bad = [deaf(srv, ask(key)) for _ in range(3)]
    words = "%s: a connection is too slow" % ("tls" if authority else "api")
    began = time.monotonic()
    while srv.log().count(words) < len(bad):
        took = time.monotonic() - began
        t.true(took < 45, "they were not ended")
        slow.go_on()
        bad[0].recv(50)
        bad[1].recv(2000)   # many buffers, and too few for the rate
        time.sleep(0.1)
    t.said = "they were ended after %.1f s" % (time.monotonic() - began)
    t.true(time.monotonic() > began + 1.5, t.said)
    slow.finish()
    for s in bad:
        s.close()
    srv.stop()


def test_deaf(t):
    """Who takes nothing of an answer, or next to nothing, is ended long before
    all of it would have had to be there; who takes it slowly gets all of it."""
    takes_little(t)


def test_deaf_tls(t):
    """The same by TLS."""
    takes_little(t, tls.Authority(t))


def test_slow_tls(t):
    """Who takes so little by TLS that buffers hide it for longer than he may be
    silent gets all that he takes at the rate that is asked for."""
    srv = server.Server(t, "limits { idle 2s rate 16K }",
                        authority=tls.Authority(t))
    if srv.store is not None:
        return
    t.equal(200, srv.s3.put("a", bytes(32 << 20)).status, "put")
    get = ("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (
        srv.s3.presign("GET", "a"), srv.s3.host)).encode()
    slow = Slow(t, srv, get, 20000, srv.store_port)
    while time.monotonic() < slow.began + 14:
        slow.go_on()
        time.sleep(0.1)
    slow.finish()
    srv.stop()


def test_two_sockets(t):
    """The limits hold for all sockets of the API together, those with TLS for
    themselves."""
    word = "tls " if os.environ.get("SAIL_TLS") == "yes" else ""
    srv = server.Server(t, FULL + '\nlisten on 127.0.0.1 %sport 0 port file '
                        '"%s"' % (word, t.path("second.port")))
    with open(t.path("second.port"), encoding="ascii") as f:
        second = int(f.read())
    held = fill(srv, 12, request(srv.key))
    held += fill(srv, 12, request(srv.key), second)
    t.equal(200, once(srv, "127.0.0.9", request(srv.key), second), "another")
    left = len(again(held, request(srv.key)))
    t.true(8 <= left <= 32, "%d of 72 connections are left" % left)
