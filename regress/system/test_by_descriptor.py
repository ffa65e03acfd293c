# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Who holds a descriptor goes on as on a file system of the kernel's own: opens
again what lost its name, and reads on in a directory, also after fuse died."""

import ctypes
import os
import struct

from sailtest import stack

LIBC = ctypes.CDLL(None, use_errno=True)
GETDENTS64 = {"x86_64": 217, "aarch64": 61}
NAMES = 800


def getdents(fd, size=4096):
    """[(name, number)] of one call."""
    buf = ctypes.create_string_buffer(size)
    n = LIBC.syscall(GETDENTS64[os.uname().machine], fd, buf, size)
    if n < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    found, at = [], 0
    while at < n:
        ino, _, length = struct.unpack_from("<QqH", buf.raw, at)
        found.append((buf.raw[at + 19:at + length].split(b"\0")[0].decode(),
                      ino))
        at += length
    return found


def published(t):
    """A stack and a mount where all is clean, and nothing is in memory."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    os.makedirs(os.path.join(a, "p", "d"))
    for name in "fghklq":
        stack.write(os.path.join(a, name), name * 9)
    for n in range(NAMES):
        stack.write(os.path.join(a, "p", "n%04d" % n), "")
    s.commit(a)
    s.daemon.umount(a)
    return s, s.mount("v", "a")


def other_fuse(t, s):
    old = s.daemon.pids("fuse")
    s.daemon.kill("fuse")
    t.wait_for(lambda: s.daemon.pids("fuse") not in ([], old), "another fuse")


def test_opened_again(t):
    """A clean file that is open and loses its name, removed or replaced, read or
    not: it is opened again for writing, and by another fuse."""
    s, a = published(t)
    fds = {n: os.open(os.path.join(a, n), os.O_RDONLY) for n in "fghk"}
    os.pread(fds["f"], 9, 0)
    os.unlink(os.path.join(a, "f"))
    os.unlink(os.path.join(a, "g"))
    os.rename(os.path.join(a, "l"), os.path.join(a, "h"))
    os.unlink(os.path.join(a, "k"))
    for name, fd in fds.items():
        if name == "k":
            other_fuse(t, s)
        again = os.open("/proc/self/fd/%d" % fd, os.O_RDWR)
        os.pwrite(again, b"XY", 3)
        want = name.encode() * 3 + b"XY" + name.encode() * 4
        for one in (fd, again):
            t.equal(want, os.pread(one, 99, 0), name)
        t.equal(0, os.fstat(again).st_nlink, "names of " + name)
        os.close(again)
        t.equal(want, os.pread(fd, 99, 0), name + ", closed")
        os.close(fd)
    t.equal(["h", "p", "q"], sorted(os.listdir(a)), "names")
    t.equal("lllllllll", stack.read(os.path.join(a, "h")), "what replaced it")
    s.commit(a)
    t.equal(0, s.daemon.ctl_json("status", a)["dirty"]["objects"], "dirty")


def test_opened_after_reload(t):
    """The same where a reload brings the name back: that is another file."""
    s, a = published(t)
    path = os.path.join(a, "q")
    fd = os.open(path, os.O_RDONLY)
    os.unlink(path)
    s.reload(a)
    t.equal("qqqqqqqqq", stack.read(path), "what came back")
    again = os.open("/proc/self/fd/%d" % fd, os.O_RDWR)
    os.pwrite(again, b"XY", 3)
    for one in (fd, again):
        t.equal(b"qqqXYqqqq", os.pread(one, 99, 0), "what is open")
        os.close(one)
    t.equal("qqqqqqqqq", stack.read(path), "what came back, after the write")
    t.equal(0, s.daemon.ctl_json("status", a)["dirty"]["objects"], "dirty")


def test_list_goes_on(t):
    """A directory is read on behind a name that was removed, by another fuse; and
    ".." has its number."""
    s, a = published(t)
    fd = os.open(os.path.join(a, "p"), os.O_RDONLY)
    inner = os.open(os.path.join(a, "p", "d"), os.O_RDONLY)
    seen = [name for name, _ in getdents(fd) + getdents(fd)]
    os.unlink(seen[-1], dir_fd=fd)
    other_fuse(t, s)
    t.equal({"..": os.fstat(fd).st_ino, ".": os.fstat(inner).st_ino},
            dict(getdents(inner)), "numbers")
    while more := getdents(fd):
        seen += [name for name, _ in more]
    t.equal([], sorted({n for n in seen if seen.count(n) > 1})[:9],
            "names more than once")
    t.equal(NAMES + 3, len(seen), "names")
    os.close(fd)
    os.close(inner)
