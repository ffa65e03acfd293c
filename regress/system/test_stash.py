# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What a reload takes out of view is in a stash, all of it, and comes back."""

import json
import os
import time

from sailtest import stack


def put(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def ask(path, request, first=None):
    """The answer to one request through ctl; first is done just before it."""
    fd = os.open(os.path.join(path, ".sailvol", "ctl"), os.O_RDWR)
    try:
        if first is not None:
            first()
        os.write(fd, json.dumps(request).encode() + b"\n")
        data = b""
        while b"\n" not in data:
            data += os.read(fd, 65536)
        return json.loads(data.split(b"\n")[0])
    finally:
        os.close(fd)


def test_at_once(t):
    """A change made just before a reload to the commit that the mount shows is
    put away, and refuses if_clean, like one made long before."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)

    def change():
        put(os.path.join(a, "f"), "x")

    for n in range(10):
        time.sleep(0.2)
        if n % 2:
            answer = ask(a, {"request": "reload", "if_clean": True}, change)
            t.equal("refused", answer.get("error", {}).get("type"),
                    "%d: %s" % (n, answer))
        answer = ask(a, {"request": "reload"}, change)
        t.true(answer["result"]["stash"] is not None, "%d: %s" % (n, answer))
        t.equal([], os.listdir(a), "names after reload %d" % n)
