# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What sailvol-fetch asks of the API takes as long as it does while bytes move,
however many they are; one that hangs, or brings a byte now and then, is given
up."""

import json
import socket
import threading
import time

from sailtest import role as r
from sailtest import proxy
from sailtest.fetch_site import MIB, start
from sailtest.store import Server
from system.test_fetch import api

DEADLINE_MS = 2000
RCVBUF = 64 << 10       # nothing is hidden in the buffers of the way


def slow(t):
    """A fetch with a line to its server that is slower than its deadline."""
    s = Server()
    p = proxy.Proxy(("127.0.0.1", s.http.server_port))
    p.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RCVBUF)
    f = start(t, s, deadline_ms=DEADLINE_MS, url=p.url)
    return s, p, f, f.peer(r.MANIFEST)


def test_large_body(t):
    """That of a large delta, in one try."""
    s, p, _, c = slow(t)
    p.throttle = 2 * MIB
    big = b"b" * (10 * MIB)
    began = time.monotonic()
    status, _, _, what, body = api(c, 1, 3, "/v1/x", big, retry=1,
                                   limit=16 * MIB)
    took = time.monotonic() - began
    t.equal((200, ""), (status, what), "answer after %.1f s" % took)
    t.equal(len(big), len(json.loads(body)["body"]), "bytes")
    t.equal(1, len(s.requests), "tries")
    t.true(took > 2 * DEADLINE_MS / 1000, "it took %.1f s" % took)


def test_large_answer(t):
    s, p, _, c = slow(t)
    p.throttle_answers = 2 * MIB
    s.faults["api"] = [(200, "x" * 10 * MIB)]
    began = time.monotonic()
    status, _, _, what, body = api(c, 1, 1, "/v1/x", limit=16 * MIB)
    took = time.monotonic() - began
    t.equal((200, ""), (status, what), "answer after %.1f s" % took)
    t.equal(10 * MIB, len(body), "bytes")
    t.true(took > 2 * DEADLINE_MS / 1000, "it took %.1f s" % took)


def test_hangs(t):
    """The bytes of a small request go out again with each try: that is no
    progress; nor does a large one wait longer for its answer."""
    s, _, _, c = slow(t)
    for fault in ("hang", "close", 503):
        s.faults["api"] = [fault] * 99
        began = time.monotonic()
        api(c, 1, 3, "/v1/x", b"{}", retry=1)
        took = time.monotonic() - began
        t.true(took < 3 * DEADLINE_MS / 1000, "%s: %.1f s" % (fault, took))
    s.faults["api"] = ["hang"] * 99
    began = time.monotonic()
    t.equal(0, api(c, 1, 3, "/v1/x", b"x" * MIB, retry=1)[0], "no answer")
    took = time.monotonic() - began
    t.true(took < 3 * DEADLINE_MS / 1000, "large: %.1f s" % took)


def trickle(listener):
    while True:
        try:
            c = listener.accept()[0]
            data = b""
            while b"\r\n\r\n" not in data:
                data += c.recv(65536)
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n")
            for line in data.split(b"\r\n"):
                if line.lower().startswith(b"sail-request:"):
                    c.sendall(line + b"\r\n")
            c.sendall(b"\r\n")
            while True:
                c.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            pass


def test_trickle(t):
    """A byte now and then is not enough."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=trickle, args=(listener,), daemon=True).start()
    f = start(t, deadline_ms=DEADLINE_MS,
              url="http://127.0.0.1:%d" % listener.getsockname()[1])
    c = f.peer(r.MANIFEST)
    began = time.monotonic()
    t.equal(0, api(c, 1, 1, "/v1/x")[0], "no answer")
    took = time.monotonic() - began
    t.true(took < 3 * DEADLINE_MS / 1000, "%.1f s" % took)
