# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The extended attributes of the root directory itself are those of the
volume: committed, reloaded and mounted anew, however long they are."""

import os

from sailtest import stack


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
