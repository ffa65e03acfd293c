# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""`overlay size': what local changes take has a limit.  Who writes more gets
ENOSPC; what is there can be read, removed, committed, and taken back."""

import errno
import os

from sailtest import Failure, error_of, stack
from sailtest.stack import write

BOTH_STORES = True

MIB = 1 << 20
BLOCK = 64 * 1024


def configure(s, size, *options, extra="passthrough no", where="a"):
    path = s.point(where)
    size = "\toverlay size %s\n" % size if size else ""
    s.daemon.configure('%s\nvolume "v" {\n\tmount "%s"\n\tcreate\n%s%s}\n' % (
        extra, path, size, "".join("\t%s\n" % o for o in options)))
    s.daemon.hup()
    s.t.wait_for(lambda: os.path.ismount(path), "the mount")
    return path


def overlay(s, path):
    return s.daemon.ctl_json("status", path)["overlay"]


def wait_use(s, path, check, what):
    try:
        s.t.wait_for(lambda: check(overlay(s, path).get("used", -1)), what)
    except Failure as e:
        raise Failure("%s: %s" % (e, overlay(s, path))) from e


def fill(path, most=64 * MIB, size=BLOCK):
    """Bytes that are written until it is full."""
    data, done, fd = os.urandom(size), 0, -1
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        while done < most:
            n = os.write(fd, data)
            done += n
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
    finally:
        if fd != -1:
            os.close(fd)
    return done


def put(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def test_writes(t):
    """Each write that reaches us is held against the limit: what was there
    stays, and can be written over, read, removed, and cut."""
    s = stack.Stack(t)
    a = configure(s, "4M")
    f = os.path.join(a, "f")
    done = fill(f)
    t.true(4 * MIB - 2 * BLOCK <= done <= 4 * MIB, "%d bytes fit" % done)
    t.equal(done, os.stat(f).st_size, "size")
    fd = os.open(f, os.O_RDWR)
    t.equal(BLOCK, os.pwrite(fd, b"x" * BLOCK, 0), "written over")
    t.equal("ENOSPC", error_of(os.pwrite, fd, b"x" * BLOCK, done), "more")
    t.equal("ENOSPC", error_of(os.posix_fallocate, fd, 0, 8 * MIB),
            "fallocate")
    other = os.path.join(a, "other")
    t.equal("ENOSPC", error_of(put, other, b"x" * 2 * BLOCK), "another file")
    wait_use(s, a, lambda used: used >= 4 * MIB - 2 * BLOCK, "use")
    t.equal(4 * MIB, overlay(s, a)["limit"], "limit")
    st = os.statvfs(a)
    t.equal(4 * MIB, st.f_blocks * st.f_frsize, "statfs: all")
    t.true(st.f_bavail * st.f_frsize <= 2 * BLOCK, "statfs: left")
    # What needs no room.
    os.mkdir(os.path.join(a, "d"))
    os.rename(f, os.path.join(a, "d/f"))
    os.chmod(os.path.join(a, "d/f"), 0o600)
    os.setxattr(os.path.join(a, "d/f"), "user.x", b"1")
    # Cut, and there is room.
    os.ftruncate(fd, MIB)
    t.equal("done", error_of(put, other, b"y" * MIB), "after a cut")
    got = os.posix_fallocate(fd, MIB, MIB)
    t.equal(None, got, "fallocate")
    to = os.open(os.path.join(a, "copy"), os.O_CREAT | os.O_WRONLY)
    t.true(fill(os.path.join(a, "rest")) <= MIB + BLOCK, "the rest")
    t.equal("ENOSPC", error_of(os.copy_file_range, fd, to, MIB, 0, 0),
            "copy_file_range")
    os.close(to)
    os.close(fd)
    for name in ("d/f", "rest", "copy"):
        os.unlink(os.path.join(a, name))
    wait_use(s, a, lambda used: used <= MIB + BLOCK, "after unlink")
    t.true(fill(f) >= 2 * MIB, "room again")


def test_commit(t):
    """At the limit a commit works; after it a reload gives the room back."""
    s = stack.Stack(t)
    a = configure(s, "2M")
    f = os.path.join(a, "f")
    done = fill(f)
    t.true(done < 3 * MIB, "full")
    # status is told once a second.
    wait_use(s, a, lambda used: used >= MIB, "counted")
    s.commit(a)
    t.equal("ENOSPC", error_of(put, os.path.join(a, "g"), b"x" * MIB),
            "after the commit alone")
    s.reload(a)
    wait_use(s, a, lambda used: used < BLOCK, "after the reload")
    put(os.path.join(a, "g"), b"x" * MIB)
    b = s.mount("v", "b")
    t.equal(done, os.stat(os.path.join(b, "f")).st_size, "published")
    # A published file that does not fit is not copied up, but may be cut.
    t.equal("ENOSPC", error_of(os.open, f, os.O_RDWR), "too large to change")
    t.equal("done", error_of(os.unlink, os.path.join(a, "g")), "unlink")
    wait_use(s, a, lambda used: used < BLOCK, "after unlink")
    put(f, b"short")
    s.commit(a)
    s.reload(b)
    t.equal(5, os.stat(os.path.join(b, "f")).st_size, "cut and published")


def test_counted_again(t):
    """A new fuse, a restart, and a limit that comes later count what is there;
    another limit counts at once, and without one nothing is said."""
    s = stack.Stack(t)
    a = configure(s, "3M")
    f = os.path.join(a, "f")
    done = fill(f)
    s.daemon.kill("fuse")
    t.wait_for(lambda: error_of(put, os.path.join(a, "g"), b"x" * MIB) ==
               "ENOSPC", "a new fuse")
    s.daemon.kill_all()
    s.daemon.start()
    t.wait_for(lambda: os.path.exists(f), "the mount")
    t.wait_for(lambda: error_of(put, os.path.join(a, "g"), b"x" * MIB) ==
               "ENOSPC", "a restart")
    wait_use(s, a, lambda used: used >= done - MIB, "use")
    # The limit is another.
    device = os.stat(a).st_dev
    configure(s, "8M")
    t.wait_for(lambda: error_of(put, os.path.join(a, "g"), b"x" * MIB) ==
               "done", "a larger one")
    configure(s, None)
    t.wait_for(lambda: "limit" not in overlay(s, a), "none")
    t.equal(10 * MIB, fill(os.path.join(a, "h"), 10 * MIB), "without")
    configure(s, "4M")
    t.wait_for(lambda: error_of(put, os.path.join(a, "i"), b"x" * MIB) ==
               "ENOSPC", "it comes back")
    t.equal(device, os.stat(a).st_dev, "the same mount all the time")


def test_passthrough(t):
    """What is passed through is looked at when it is closed, and once a second:
    then no more is opened that way, and who writes gets ENOSPC."""
    s = stack.Stack(t)
    a = configure(s, "16M", extra="")
    done = 0
    for n in range(64):
        got = fill(os.path.join(a, "f%d" % n), MIB)
        done += got
        if got < MIB:
            break
    t.true(14 * MIB <= done <= 17 * MIB, "%d bytes of files" % done)
    # One handle that was open before.
    for n in range(64):
        if os.path.exists(os.path.join(a, "f%d" % n)):
            os.unlink(os.path.join(a, "f%d" % n))
    wait_use(s, a, lambda used: used < MIB, "after unlink")
    fd = os.open(os.path.join(a, "long"), os.O_CREAT | os.O_WRONLY)
    for _ in range(15):
        os.write(fd, os.urandom(MIB))
    wait_use(s, a, lambda used: used >= 15 * MIB, "it is seen while open")
    t.true(fill(os.path.join(a, "late")) <= MIB + BLOCK, "the others")
    os.close(fd)
    s.commit(a)
    write(os.path.join(s.mount("w", "w", create=True), "f"), "no limit there")
