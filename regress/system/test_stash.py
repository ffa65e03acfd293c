# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What a reload takes out of view is in a stash, all of it, and comes back."""

import json
import os
import time

from sailtest import deadline, stack


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


@deadline(240)
def test_at_once_back(t):
    """A stash comes back while the files of the reload that made it still move
    into the cache, and goes again: nothing is lost, and the mount goes on."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    os.mkdir(os.path.join(a, "d"))
    for n in range(1500):
        put(os.path.join(a, "d", str(n)), "content of %d" % n)
    s.commit(a)
    put(os.path.join(a, "d", "7"), "changed")
    put(os.path.join(a, "new"), "new")
    ident = str(s.reload_json(a)["stash"]["id"])
    s.ctl("stash", "restore", a, ident)
    for name, want in (("d/7", "changed"), ("new", "new")):
        with open(os.path.join(a, name), encoding="ascii") as f:
            t.equal(want, f.read(), name)
    ident = str(s.reload_json(a)["stash"]["id"])
    s.ctl("stash", "drop", a, ident)
    for n in range(200, 300):
        os.unlink(os.path.join(a, "d", str(n)))
    # By then all files of the first reload were let go.
    time.sleep(3)
    s.commit(a)
    t.true("journal at" not in s.daemon.log(), "the journal is refused")
    t.equal(1400, len(os.listdir(os.path.join(a, "d"))), "names")
