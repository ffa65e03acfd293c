# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The extended attributes of the root directory itself are those of the
volume: committed, reloaded and mounted anew, however long they are."""

import os

from sailtest import stack

MOST = 64 * 1024


def check(t, path, want, what):
    got = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    t.equal(sorted(want), sorted(got), what + ": names")
    for name, value in want.items():
        t.true(value == got[name], "%s: %s: %d bytes" % (
            what, name, len(got[name])))


def test_node(t):
    """Over 1 KiB they are a node of their own, which hangs on no leaf."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    want = {"user.long": b"x" * 2000}
    os.setxattr(a, "user.long", want["user.long"])
    s.share(a, b)
    check(t, b, want, "reload")
    other = s.add_daemon()
    c = other.mount("v", "c")
    check(t, c, want, "a new mount")
    other.kill("manifest")
    want["user.more"] = b"y" * 3000
    os.setxattr(c, "user.more", want["user.more"])
    s.share(c, a, b)
    check(t, a, want, "reload of a")
    check(t, b, want, "reload of b")


def test_most(t):
    """As many as an entry may have."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    want = {}
    for n in range(4):
        want["user.%d" % n] = bytes([n]) * (MOST // 4 - 64)
        os.setxattr(a, "user.%d" % n, want["user.%d" % n])
    # To the last byte that is taken.
    size = 256
    while size > 0:
        try:
            os.setxattr(a, "user.rest", b"z" * size)
            want["user.rest"] = b"z" * size
            break
        except OSError:
            size -= 1
    t.true(size > 0, "something fits behind them")
    s.share(a, b)
    check(t, b, want, "reload")
    check(t, s.add_daemon().mount("v", "c"), want, "a new mount")
