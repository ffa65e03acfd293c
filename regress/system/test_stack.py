# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The smallest whole: mount, write, commit, and see it in a second mount after
a reload; and the tests' proxy counts and spoils what it should."""

import http.client
import json
import os
import socket

from sailtest import proxy, server, stack

BOTH_STORES = True


def test_smoke(t):
    """Written in one mount, committed, and read in another after reload."""
    s = stack.Stack(t)
    a = s.mount("shared", "a", create=True)
    b = s.mount("shared", "b")
    with open(os.path.join(a, "hello"), "w", encoding="ascii") as f:
        f.write("from a\n")
    t.equal([], os.listdir(b), "b before the commit")
    ident = s.commit(a)
    t.equal([], os.listdir(b), "b before the reload")
    t.equal(ident, s.reload(b), "ids")
    with open(os.path.join(b, "hello"), encoding="ascii") as f:
        t.equal("from a\n", f.read(), "content in b")
    t.equal(["hello"], os.listdir(b), "names in b")
    t.equal(ident, s.commit(a), "a commit of nothing")
    with open(os.path.join(b, ".sailvol", "volume.json"),
              encoding="utf-8") as f:
        volume = json.load(f)
    t.equal(("shared", ident), (volume["volume"], volume["base"]),
            "volume.json")
    s.daemon.umount(a)
    s.daemon.umount(b)
    t.equal([], os.listdir(a), "an unmounted mount point")
    s.daemon.stop()
    s.server.stop()


def get(port, target):
    conn = http.client.HTTPConnection("127.0.0.2", port, timeout=10)
    try:
        conn.request("GET", target)
        r = conn.getresponse()
        return r.status, r.read()
    finally:
        conn.close()


def test_proxy(t):
    """Requests are counted; each fault does what it says, so often."""
    srv = server.Server(t)
    p = proxy.Proxy(("127.0.0.1", srv.port))
    status, body = get(p.port, "/v1/whoami")
    t.equal(401, status, "status")
    t.equal((1, 0), (p.count("GET /v1/whoami"), p.count("PUT")), "counts")
    r = p.matching()[0]
    t.equal(401, r.status, "counted status")
    t.true(r.down > len(body), "bytes down")
    f = p.fault(proxy.CORRUPT, "whoami", at=5)
    spoilt = get(p.port, "/v1/whoami")[1]
    t.equal(bytes([body[5] ^ 1]), spoilt[5:6], "turned bit")
    t.equal(body[6:], spoilt[6:], "the rest")
    t.equal(body, get(p.port, "/v1/whoami")[1], "only once")
    t.equal(1, f.done, "done")
    p.fault(proxy.CUT, at=3)
    try:
        get(p.port, "/v1/whoami")
        t.fail("a cut answer was whole")
    except http.client.IncompleteRead as e:
        t.equal(body[:3], e.partial, "what came before the cut")
    p.fault(proxy.REFUSE, at=503)
    t.equal(503, get(p.port, "/v1/whoami")[0], "refused")
    p.set_down()
    try:
        get(p.port, "/v1/whoami")
        t.fail("an answer of what is down")
    except (OSError, http.client.HTTPException):
        pass
    p.set_down(False)
    t.equal(401, get(p.port, "/v1/whoami")[0], "up again")
    with socket.create_connection(("127.0.0.2", p.port), 10) as c:
        c.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
                  b"GETxGET /v1/whoami HTTP/1.1\r\nHost: x\r\n"
                  b"Connection: close\r\n\r\n")
        while c.recv(65536):
            pass
    t.equal(1, p.count("PUT /x"), "requests are told apart by their length")
