# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What reload --keep keeps while it is open to be read."""

import os

from sailtest import stack

BOTH_STORES = True


def test_links(t):
    """A file that was written to through its own descriptor, published, and is
    kept: its name shows a link while it is open, and it stays when it is closed
    and the kernel forgets it."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    b = s.mount("vol", "b")
    f = a + "/f"
    stack.write(f, "one\n")
    with open(f, "r+b") as w:
        w.write(b"two\n")
    r = open(f, "rb")
    s.commit(a)
    os.chmod(f, 0o600)
    stack.write(a + "/other", "dirty\n")
    stack.write(b + "/new", "x\n")
    s.commit(b)
    s.reload(a, "--keep")
    t.equal("x\n", stack.read(a + "/new"), "the other's")
    t.equal(1, os.fstat(r.fileno()).st_nlink, "of what is open")
    t.equal(1, os.stat(f).st_nlink, "by name")
    t.equal(b"two\n", r.read(), "what is read")
    r.close()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as c:
        c.write("2\n")
    t.equal("two\n", stack.read(f), "kept")
    t.equal((1, 0o100600), (os.stat(f).st_nlink, os.stat(f).st_mode), "kept")
    s.daemon.stop()
    s.daemon.start()
    t.wait_for(lambda: os.path.ismount(a), "it comes back")
    t.equal("two\n", stack.read(f), "after a restart")
    s.commit(a)
    s.reload(b)
    stack.same(t, stack.look(a), stack.look(b), "as published")
