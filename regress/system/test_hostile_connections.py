# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Who holds connections and means harm, with a key of little use or without
any, keeps nobody else out."""

import select
import socket

from sailtest import server, tls
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
