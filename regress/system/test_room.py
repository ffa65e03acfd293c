# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""When the disk is full the cache is given up first: who writes gets its room,
who reads what is not here gets it all the same; and a mount comes back."""

import errno
import glob
import os
import signal
import time

from sailtest import caches, deadline, stack

MIB = 1 << 20


def site(t, size, keep="1M", passthrough=True):
    """(stack, daemon with state and cache in a memory of that many MiB)."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    disk = os.path.join(d.dir, "disk")
    os.mkdir(disk)
    t.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=0711" % size, "none",
           disk])
    conf = stack.read(d.conf)
    for name in ("state", "cache"):
        conf = conf.replace('%s "%s/%s"' % (name, d.dir, name),
                            '%s "%s/%s"' % (name, disk, name))
    if not passthrough:
        conf = conf.replace("passthrough yes", "passthrough no")
    t.write(os.path.relpath(d.conf, t.dir),
            conf.replace("keep free 1M", "keep free " + keep))
    d.start()
    return s, d, disk


def publish(s, sizes):
    """Files of random bytes in volume v, made by another daemon: {name: bytes}."""
    far = s.add_daemon()
    top = far.mount("v", "far", create=True)
    files = {}
    for i, size in enumerate(sizes):
        files["f%d" % i] = data = os.urandom(size)
        with open(os.path.join(top, "f%d" % i), "wb") as f:
            f.write(data)
    far.ctl("commit", top)
    far.stop()
    return files


def read_all(t, top, files):
    """Each has what was published: {name: bytes}."""
    for name, data in files.items():
        with open(os.path.join(top, name), "rb") as f:
            t.true(data == f.read(), name)


def cached(d):
    return d.ctl_json("status")["daemon"]["cache"]["used"]


def fill(top, name, most, step=MIB):
    """Bytes that are written to it before ENOSPC."""
    done = 0
    with open(os.path.join(top, name), "wb", 0) as f:
        while done < most:
            try:
                done += f.write(os.urandom(step))
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise
                break
    return done


@deadline(120)
def test_writer(t):
    """State and cache on one disk, which the cache has filled: a writer has its
    room before ENOSPC, also that of files that the mount holds open."""
    s, d, _ = site(t, 192, passthrough=False)
    files = publish(s, [8 * MIB] * 17)
    a = d.mount("v", "a")
    read_all(t, a, files)
    before = cached(d)
    t.true(before > 100 * MIB, "cached: %d" % before)
    # 48 MiB of it are kept for journal and database.
    wrote = fill(a, "new", 120 * MIB)
    t.equal(120 * MIB, wrote, "was written")
    t.true(cached(d) < before - 80 * MIB, "cached now: %d" % cached(d))
    # The cache is no reason for it, but nothing else gives way.
    wrote += fill(a, "more", 120 * MIB)
    t.true(wrote < 160 * MIB, "ENOSPC after %d" % wrote)
    caches.drop(caches.PAGES)
    read_all(t, a, files)
    d.ctl("commit", a, timeout=60)
    d.ctl("reload", a)
    t.equal(120 * MIB, os.path.getsize(os.path.join(a, "new")), "committed")


@deadline(120)
def test_passed_through(t):
    """Nobody asks for the room of what the kernel writes past us: the cache looks
    often enough to keep free what it is told to."""
    s, d, _ = site(t, 256, "100M")
    files = publish(s, [8 * MIB] * 17)
    a = d.mount("v", "a")
    read_all(t, a, files)
    before = cached(d)
    t.true(before > 100 * MIB, "cached: %d" % before)
    t.equal(150 * MIB, fill(a, "new", 150 * MIB), "was written")
    t.true(cached(d) < before - 40 * MIB, "cached now: %d" % cached(d))


@deadline(120)
def test_keep_free(t):
    """Others fill the disk: the cache leaves free what it is told to, without
    being asked for anything."""
    s, d, disk = site(t, 192, "64M")
    files = publish(s, [8 * MIB] * 12)
    a = d.mount("v", "a")
    read_all(t, a, files)
    before = cached(d)

    def free():
        st = os.statvfs(disk)
        return st.f_bavail * st.f_frsize

    with open(os.path.join(disk, "other"), "wb", 0) as f:
        f.write(bytes(free() - 16 * MIB))
    t.wait_for(lambda: free() >= 64 * MIB, "64 MiB free")
    t.true(MIB < cached(d) < before, "and no more than that: %d of %d" % (
        cached(d), before))


@deadline(240)
def test_deleted_as_fuse_dies(t):
    """The room of a file that is deleted is there again, also when fuse dies
    before it has given back what the kernel had of it."""
    t.expect_deaths = True
    s, d, disk = site(t, 192)
    publish(s, [1])
    a = d.mount("v", "a")
    files = glob.glob(disk + "/state/mounts/*/files")[0]

    def used():
        st = os.statvfs(disk)
        return (st.f_blocks - st.f_bfree) * st.f_frsize

    before = used()
    for _ in range(4):
        with open(a + "/new", "wb", 0) as f:
            f.write(bytes(16 * MIB))
        mine, = [n for n in glob.glob(files + "/*/*")
                 if os.path.getsize(n) == 16 * MIB]
        os.unlink(a + "/new")
        end = time.monotonic() + 60
        while os.path.exists(mine) and time.monotonic() < end:
            pass
        was = d.pids("fuse")
        os.kill(was[0], signal.SIGKILL)
        t.wait_for(lambda was=was: d.pids("fuse") not in ([], was), "another")
        t.equal(["f0"], sorted(n for n in os.listdir(a) if n[0] != "."), "it")
    t.wait_for(lambda: used() < before + 16 * MIB,
               "the room of what is deleted")


@deadline(120)
def test_no_room(t):
    """Less is free than the cache is to leave free, then nothing at all: what is
    not here can be read, and is not kept."""
    s, d, disk = site(t, 96, "1G")
    files = publish(s, [8 * MIB, 40 * MIB, 100, 100000, 3 * MIB])
    a = d.mount("v", "a")
    for filled in (False, True):
        if filled:
            with open(os.path.join(disk, "other"), "wb", 0) as f:
                while True:
                    try:
                        f.write(bytes(4096))
                    except OSError:
                        break
        read_all(t, a, files)
        t.equal(0, cached(d), "cached")
        caches.drop(caches.PAGES)
    os.unlink(os.path.join(disk, "other"))
    read_all(t, a, files)


def changed(top):
    """Whether something can be written there: else there is no room."""
    try:
        with open(os.path.join(top, "new"), "wb", 0) as f:
            f.write(b"new")
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
        return False
    return True


@deadline(120)
def test_full_at_start(t):
    """A mount comes back on a disk that is full: what is there can be read, who
    writes hears so, and can when there is room."""
    s, d, disk = site(t, 96)
    a = d.mount("v", "a", create=True)
    with open(os.path.join(a, "f"), "wb", 0) as f:
        f.write(b"mine")
    d.kill_all()
    t.run(["umount", "-l", a])
    with open(os.path.join(disk, "other"), "wb", 0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError as e:
            t.equal(errno.ENOSPC, e.errno, "filled")
    d.start()
    t.wait_for(lambda: os.path.exists(os.path.join(a, "f")), "it comes back")
    t.equal(b"mine", stack.read_bytes(os.path.join(a, "f")), "what is there")
    t.equal(False, changed(a), "written to")
    os.unlink(os.path.join(disk, "other"))
    t.wait_for(lambda: changed(a), "room")
    t.equal(b"new", stack.read_bytes(os.path.join(a, "new")), "written")
    d.ctl("commit", a, timeout=60)
