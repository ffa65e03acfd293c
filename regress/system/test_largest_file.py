# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A file has at most 2^53 bytes: no way to write makes it longer, and where the
kernel does so past us, that file alone is in no commit."""

import errno
import os

from sailtest import stack

MOST = 1 << 53
PLAIN = 0o4644      # a set-id bit: it is not passed through


def site(t):
    """A stack, its daemon, and a mount whose state is where such sizes are."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    state = os.path.join(d.dir, "state")
    os.mkdir(state)
    t.run(["mount", "-t", "tmpfs", "-o", "size=80m,mode=0711", "none", state])
    d.start()
    return s, d, d.mount("v", "a", create=True)


def left_dirty(s, a):
    return s.commit_json(a)["left_dirty"]


def error_of(call, *args):
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "none"


def test_refused(t):
    """write, fallocate, copy_file_range and truncate end there."""
    s, _, a = site(t)
    f = os.open(os.path.join(a, "f"), os.O_RDWR | os.O_CREAT, PLAIN)
    g = os.open(os.path.join(a, "g"), os.O_RDWR | os.O_CREAT, PLAIN)
    os.write(g, b"1234")
    for what, call, args in (
            ("write", os.pwrite, (f, b"x", MOST)),
            ("write far behind", os.pwrite, (f, b"x", MOST << 1)),
            ("allocate", os.posix_fallocate, (f, MOST - 4096, 4097)),
            ("allocate behind", os.posix_fallocate, (f, MOST, 1)),
            ("copy", os.copy_file_range, (g, f, 4, 0, MOST)),
            ("truncate", os.ftruncate, (f, MOST + 1))):
        t.equal("EFBIG", error_of(call, *args), what)
        t.equal(0, os.fstat(f).st_size, "size after: " + what)
    # What there is room for is done.
    t.equal(2, os.pwrite(f, b"xyz", MOST - 2), "a write across the end")
    t.equal(MOST, os.fstat(f).st_size, "size")
    t.equal(b"xy", os.pread(f, 9, MOST - 2), "its end")
    t.equal(1, os.copy_file_range(g, f, 4, 0, MOST - 1), "a copy across it")
    t.equal(b"x1", os.pread(f, 9, MOST - 2), "its end")
    os.ftruncate(f, 0)
    os.close(f)
    os.close(g)
    s.commit(a)


def test_past_us(t):
    """Where the kernel writes to the file below it is not asked: the mount goes
    on, over the death of all processes, and commits all else."""
    s, d, a = site(t)
    # Made before: one that no file was ready for is not passed through at first.
    stack.write(os.path.join(a, "f"), "")
    f = os.open(os.path.join(a, "f"), os.O_RDWR)
    on = d.ctl_json("status", a)["passthrough"] == "on"
    t.equal("none" if on else "EFBIG", error_of(os.pwrite, f, b"x", MOST),
            "a write behind")
    for name in ("g", "h"):
        stack.write(os.path.join(a, name), name)
        t.equal(["f"] if on else [], left_dirty(s, a), "left dirty")
        t.true(os.fstat(f).st_size <= MOST, "size")
    d.kill_all()
    d.start()
    t.wait_for(lambda: os.path.exists(os.path.join(a, "f")), "the mount")
    error_of(os.close, f)
    os.truncate(os.path.join(a, "f"), 3)
    stack.write(os.path.join(a, "i"), "i")
    t.equal([], left_dirty(s, a), "left dirty, then cut")
    b = d.mount("v", "b")
    t.equal(["f", "g", "h", "i"], sorted(os.listdir(b)), "names")
    t.equal(3, os.stat(os.path.join(b, "f")).st_size, "size in a commit")
