# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Files of the overlay are read, written and mapped by the kernel itself, and
nobody sees a difference but in time."""

import ctypes
import errno
import mmap
import os
import random
import signal
import time
import traceback

import sailtest
from sailtest import stack

MIB = 1 << 20


def offered(t):
    """A Stack and its mount; skips where files cannot be passed through."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    state = s.daemon.ctl_json("status", a)["passthrough"]
    if os.environ.get("SAIL_PASSTHROUGH") == "no":
        t.equal("off", state, "status")
    elif state != "on":
        t.skip("no passthrough here")
    return s, a


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def pool(s):
    """How many files one mount has ready for new ones."""
    return s.daemon.ctl_json("status")["daemon"]["mounts"][0]["pool"]


def moved(pid):
    """Bytes that a process has read and written."""
    with open("/proc/%d/io" % pid, encoding="ascii") as f:
        words = dict(line.split(": ") for line in f)
    return int(words["rchar"]) + int(words["wchar"])


def pool_files(s):
    """Overlay files of all mounts of a daemon."""
    top = os.path.join(s.daemon.dir, "state", "mounts")
    return [os.path.join(w, n) for w, _, names in os.walk(top) for n in names
            if os.path.basename(os.path.dirname(w)) == "files"]


def test_past_us(t):
    """What is written to a new file, and to one that was published, and read
    again, does not pass through the daemon; where it is switched off, it
    does."""
    s, a = offered(t)
    f, block = os.path.join(a, "f"), os.urandom(MIB)
    on = s.daemon.ctl_json("status", a)["passthrough"] == "on"
    if on:
        t.wait_for(lambda: pool(s) > 0, "files made ahead")
    for what in ("new", "published"):
        before = moved(s.daemon.pids("fuse")[0])
        with open(f, "r+b" if what == "published" else "w+b",
                  buffering=0) as h:
            for _ in range(32):
                h.write(block)
            h.seek(0)
            t.equal(block, h.read(MIB), what)
        grown = moved(s.daemon.pids("fuse")[0]) - before
        t.equal(on, grown < MIB, "%s: %d bytes passed through the daemon" % (
            what, grown))
        s.commit(a)
    t.equal(32 * MIB, os.stat(f).st_size, "size")


def test_many(t):
    """Many processes open, map, write and copy up the same files, in every
    way, while they are committed: no call fails, and all is there."""
    seed = t.seed()
    s, a = offered(t)
    b = s.mount("v", "b")
    model = {}
    for n in range(3):
        # Some are clean in b, some its own; some are small.
        for i in range(12):
            name = "%d.%d" % (n, i)
            model[name] = bytearray(os.urandom(WORKERS * part(name)))
            with open(os.path.join(a if i < 9 else b, name), "wb") as f:
                f.write(model[name])
        s.commit(a)
        s.reload(b, "--keep")
        names = sorted(name for name in model if name.startswith("%d." % n))
        pids = [fork_worker(t, b, names, model, w, seed + 100 * n + w)
                for w in range(WORKERS)]
        s.commit(b)
        for pid in pids:
            t.equal(0, os.waitpid(pid, 0)[1], "a worker")
            s.commit(b)
        for w in range(WORKERS):
            for name in names:
                size = part(name)
                model[name][w * size:(w + 1) * size] = read(
                    t.path("model", "%s.%d" % (name, w)))
        for name in names:
            t.true(model[name] == read(b, name), name)
        s.share(b, a)
        for name in names:
            t.true(model[name] == read(a, name), name + " in a commit")


WORKERS, STEPS = 6, 300


def part(name):
    """Bytes of each worker."""
    return 12288 if name.endswith(("0", "3", "6", "9")) else 8192


def fork_worker(t, where, names, model, w, seed):
    os.makedirs(t.path("model"), exist_ok=True)
    mine = {n: bytearray(model[n][w * part(n):(w + 1) * part(n)])
            for n in names}
    pid = os.fork()
    if pid != 0:
        return pid
    status = 1
    try:
        Worker(where, mine, w, random.Random(seed)).run()
        for name, content in mine.items():
            with open(t.path("model", "%s.%d" % (name, w)), "wb") as f:
                f.write(content)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


class Worker:
    """Writes to a part of each file that nobody else writes to."""

    FLAGS = (os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR |
             os.O_APPEND)

    def __init__(self, where, mine, w, rand):
        self.where, self.mine, self.w, self.rand = where, mine, w, rand
        self.open = []  # [name, fd or None, flags, mapping or None]

    def run(self):
        for _ in range(STEPS):
            self.rand.choice((self.new, self.new, self.read, self.write,
                              self.write, self.map, self.close,
                              self.end, self.end))()
        while self.open:
            self.end()
        for name in self.mine:
            self.new(name, os.O_RDONLY)
            self.read(self.open.pop())

    def new(self, name=None, flags=None):
        name = name or self.rand.choice(sorted(self.mine))
        flags = self.rand.choice(self.FLAGS) if flags is None else flags
        self.open.append([name, os.open(os.path.join(self.where, name), flags),
                          flags, None])

    def one(self):
        return self.rand.choice(self.open) if self.open else None

    def read(self, h=None):
        h = h or self.one()
        if h is None:
            return
        size = part(h[0])
        at = self.w * size
        if h[3] is not None:
            got = h[3][at:at + size]
        elif h[1] is not None and h[2] & os.O_ACCMODE != os.O_WRONLY:
            got = os.pread(h[1], size, at)
        else:
            return
        if got != self.mine[h[0]]:
            raise AssertionError("%s: not what was written" % h[0])

    def write(self):
        h = self.one()
        if h is None or h[2] & os.O_ACCMODE == os.O_RDONLY:
            return
        size = self.rand.randrange(1, 5000)
        at = self.rand.randrange(part(h[0]) - size)
        top = self.w * part(h[0]) + at
        data = self.rand.randbytes(size)
        if h[3] is not None:
            h[3][top:top + size] = data
        elif h[1] is not None and not h[2] & os.O_APPEND:
            os.pwrite(h[1], data, top)
        else:
            return
        self.mine[h[0]][at:at + size] = data

    def map(self):
        h = self.one()
        if (h is None or h[1] is None or h[3] is not None or
                h[2] & os.O_ACCMODE == os.O_WRONLY):
            return
        prot = mmap.PROT_READ
        if h[2] & os.O_ACCMODE == os.O_RDWR:
            prot |= mmap.PROT_WRITE
        h[3] = mmap.mmap(h[1], 0, mmap.MAP_SHARED, prot)

    def close(self):
        """The mapping, if there is one, lives on."""
        h = self.one()
        if h is None or h[1] is None:
            return
        os.close(h[1])
        h[1] = None
        if h[3] is None:
            self.open.remove(h)

    def end(self):
        h = self.one()
        if h is None:
            return
        self.open.remove(h)
        if h[1] is not None:
            os.close(h[1])
        if h[3] is not None:
            h[3].close()


def test_mapped_times(t):
    """A store through a mapping shows in the times: at once when the file is
    closed, and within a moment while it is open."""
    _, a = offered(t)
    f = os.path.join(a, "f")
    with open(f, "wb") as h:
        h.write(b"x" * 65536)
    for left_open in (False, True):
        os.utime(f, (1, 1))
        t.equal(1, os.stat(f).st_mtime, "set")
        fd = os.open(f, os.O_RDWR)
        t.equal(1, os.fstat(fd).st_mtime, "opened")
        m = mmap.mmap(fd, 65536)
        m[5:6] = b"y"
        m.close()
        if left_open:
            t.wait_for(lambda: os.stat(f).st_mtime > 1, "the time of a store")
        os.close(fd)
        t.true(os.stat(f).st_mtime > 1, "closed")


def map_closed(path, size):
    """A shared mapping of a file that nobody has open: its address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                          ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fd = os.open(path, os.O_RDWR)
    at = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE,
                   mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    return libc, at


def test_mapped_and_closed(t):
    """What is stored through a mapping whose descriptor is closed is in the
    next commit, however many commits were between, and who read the file: of a
    new file, and of one that was as it is published, small or large."""
    s, a = offered(t)
    b = s.mount("v", "b")
    for size in (5000, 200000):
        path = os.path.join(a, "f%d" % size)
        want = bytearray(b"." * size)
        with open(path, "wb") as f:
            f.write(want)
        for letters in (b"0123", b"abcd"):
            made = os.stat(path).st_mtime_ns
            libc, at = map_closed(path, size)
            held = None
            for letter in letters:
                ctypes.memmove(at + 4096, bytes([letter]), 1)
                want[4096] = letter
                s.share(a, b)
                t.equal(chr(letter), chr(read(b, "f%d" % size)[4096]), "in B")
                t.true(want == read(b, "f%d" % size), "all of it")
                # Who reads it is registered anew, and may hold it open.
                t.true(want == read(path), "in A")
                if letter in b"1c":
                    held = open(path, "rb")
                s.commit(a)
            held.close()
            moved = os.stat(path).st_mtime_ns
            t.true(moved > made, "the time of the last store")
            s.share(a, b)
            t.equal(moved, os.stat(os.path.join(b, "f%d" % size)).st_mtime_ns,
                    "time in B")
            t.equal(0, libc.munmap(at, size), "munmap")
            s.commit(a)
            s.reload(a)


def test_set_id_bits(t):
    """Writing takes the bits of set ids away, however the file is open."""
    _, a = offered(t)
    os.chmod(a, 0o777)
    f = os.path.join(a, "f")
    for when in ("before", "while"):
        with open(f, "wb") as h:
            h.write(b"one")
        os.chown(f, 1234, 1234)
        if when == "before":
            os.chmod(f, 0o6755)
        fd = os.open(f, os.O_RDWR)
        os.write(fd, b"t")  # root may keep them
        os.chmod(f, 0o6755)
        t.equal(0o6755, os.stat(f).st_mode & 0o7777, "set " + when)
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setresgid(1234, 1234, 1234)
            os.setresuid(1234, 1234, 1234)
            os._exit(0 if os.write(fd, b"two") == 3 else 1)
        t.equal(0, os.waitpid(pid, 0)[1], "the writer")
        t.equal(0o755, os.stat(f).st_mode & 0o7777, "bits set " + when)
        os.close(fd)
        t.equal(b"ttwo", read(a, "f"), "content")


def test_old_pages(t):
    """Pages that the kernel has of a file from before it was passed through are
    not shown after it."""
    _, a = offered(t)
    f = os.path.join(a, "f")
    with open(f, "wb") as h:
        h.write(b"old" * 1000)
    for n in range(3):
        # With such a bit it is not passed through.
        os.chmod(f, 0o4755)
        first = read(f)
        os.chmod(f, 0o755)
        with open(f, "r+b") as h:
            h.write(b"%d" % n)
        os.chmod(f, 0o4755)
        second = read(f)
        t.equal((b"%d" % n, first[1:]), (second[:1], second[1:]), "read again")


def test_ranges(t):
    """fallocate, holes, copy_file_range, truncate and O_APPEND of files that
    are open as they come."""
    _, a = offered(t)
    f = os.open(os.path.join(a, "f"), os.O_CREAT | os.O_RDWR)
    g = os.open(os.path.join(a, "g"), os.O_CREAT | os.O_RDWR | os.O_APPEND)
    os.pwrite(f, b"a" * 4096, 0)
    os.pwrite(f, b"b" * 4096, MIB)
    t.equal(MIB, os.lseek(f, 65536, os.SEEK_DATA), "data")
    t.true(os.lseek(f, 0, os.SEEK_HOLE) < MIB, "hole")
    os.posix_fallocate(f, 2 * MIB, 4096)
    t.equal(2 * MIB + 4096, os.fstat(f).st_size, "allocated")
    os.truncate(os.path.join(a, "f"), MIB + 10)
    t.equal(MIB + 10, os.fstat(f).st_size, "cut by its path")
    t.equal(b"b" * 10, os.pread(f, 100, MIB), "what is left")
    h = os.open(os.path.join(a, "h"), os.O_CREAT | os.O_RDWR)
    t.equal(10, os.copy_file_range(f, h, 100, MIB, 5), "copied")
    t.equal(b"\0" * 5 + b"b" * 10, os.pread(h, 100, 0), "the copy")
    for n in range(3):
        os.write(g, b"%d" % n)
        with open(os.path.join(a, "g"), "ab", buffering=0) as other:
            other.write(b"-")
    t.equal(b"0-1-2-", read(a, "g"), "appended")
    m = mmap.mmap(g, 6)
    m[0:1] = b"X"
    t.equal(b"X-1-2-", os.pread(g, 6, 0), "through a mapping")
    os.fsync(f)
    os.fdatasync(g)
    os.truncate(os.path.join(a, "g"), 0)
    t.equal(0, os.fstat(g).st_size, "emptied")
    for fd in (f, g, h):
        os.close(fd)


def test_fuse_dies(t):
    """Files that are open go on while their process is killed, and those who
    open them again get the same."""
    s, a = offered(t)
    f = os.path.join(a, "f")
    fd = os.open(f, os.O_CREAT | os.O_RDWR)
    gone = os.open(os.path.join(a, "gone"), os.O_CREAT | os.O_RDWR)
    os.write(fd, b"one")
    os.write(gone, b"lost")
    os.unlink(os.path.join(a, "gone"))
    for n in range(3):
        old = s.daemon.pids("fuse")
        s.daemon.kill("fuse")
        os.write(fd, b"two")
        t.wait_for(lambda: s.daemon.pids("fuse") not in ([], old),
                   "another fuse")
        t.equal(3 * n + 6, os.stat(f).st_size, "size")
        with open(f, "r+b") as h:
            t.equal(b"one" + b"two" * (n + 1), h.read(), "opened again")
        t.equal(b"lost", os.pread(gone, 9, 0), "a file without a name")
        t.equal(4, os.fstat(gone).st_size, "its size")
        for k in range(20):
            with open(os.path.join(a, "%d.%d" % (n, k)), "wb") as h:
                h.write(b"new")
    os.close(fd)
    os.close(gone)
    b = s.mount("v", "b")
    s.share(a, b)
    t.equal(b"onetwotwotwo", read(b, "f"), "published")


def test_all_die(t):
    """What was written after a commit settled the file, past the daemon, is
    there after all processes were killed, with its size, and in the next
    commit."""
    s, a = offered(t)
    f = os.path.join(a, "f")
    fd = os.open(f, os.O_CREAT | os.O_RDWR)
    os.write(fd, b"one")
    s.commit(a)
    os.write(fd, b", and")
    t.equal(8, os.stat(f).st_size, "size after a commit")
    s.commit(a)
    os.write(fd, b" more")
    s.daemon.kill_all()
    try:
        os.close(fd)
    except OSError as e:
        t.equal(errno.ENOTCONN, e.errno, "close")
    s.daemon.start()
    t.wait_for(lambda: os.path.exists(f), "the mount comes back")
    t.wait_for(lambda: os.stat(f).st_size == 13, "the size of what is there")
    t.equal(b"one, and more", read(f), "content")
    b = s.mount("v", "b")
    s.share(a, b)
    t.equal(b"one, and more", read(b, "f"), "the next commit")


def test_pool(t):
    """Files that were made ahead are gone after an umount, and after all
    processes were killed when the mount is there again."""
    s, a = offered(t)
    if s.daemon.ctl_json("status", a)["passthrough"] != "on":
        t.equal([], pool_files(s), "a pool, though it is off")
        return
    for n in range(100):
        with open(os.path.join(a, "f%d" % n), "wb") as f:
            f.write(b"x")
    t.wait_for(lambda: len(pool_files(s)) > 100, "files made ahead")
    before = set(pool_files(s))
    s.daemon.kill_all()
    s.daemon.start()
    t.wait_for(lambda: os.path.exists(os.path.join(a, "f0")), "the mount")
    t.wait_for(lambda: len(before & set(pool_files(s))) == 100,
               "those that nobody had are removed")
    for n in range(100):
        t.equal(b"x", read(a, "f%d" % n), "a file that was used")
    s.daemon.umount(a, "--force")
    t.wait_for(lambda: len(pool_files(s)) == 100, "after umount")


def test_reload_under_readers(t):
    """A published file that is open while a reload makes it clean, or another:
    it stays what it was, and can be opened and written to."""
    s, a = offered(t)
    b = s.mount("v", "b")
    for name in ("same", "other"):
        with open(os.path.join(a, name), "wb") as f:
            f.write(name.encode() * 30000)
    s.share(a, b)
    with open(os.path.join(b, "other"), "wb") as f:
        f.write(b"new")
    s.commit(b)
    held = {n: open(os.path.join(a, n), "rb") for n in ("same", "other")}
    s.reload(a)
    for name, f in held.items():
        t.true(f.read() == name.encode() * 30000, "open " + name)
    t.equal(b"new", read(a, "other"), "opened now")
    for name in held:
        with open(os.path.join(a, name), "r+b") as f:
            f.write(b"W")
            held[name].seek(0)
            t.equal(name.encode(), held[name].read(len(name)), "still open")
        t.equal(b"W", read(a, name)[:1], "written")
    s.share(a, b)
    t.equal(b"Wame", read(b, "same")[:4], "published")
    for f in held.values():
        f.close()


def test_reload_after_death(t):
    """The same of a fuse that knows of what is open but what its predecessor
    left in the table of node ids; and of a file that nobody has open."""
    s, a = offered(t)
    t.expect_deaths = True
    for name in ("held", "not"):
        with open(os.path.join(a, name), "wb") as f:
            f.write(b"x" * 200000)
    s.commit(a)
    with open(os.path.join(a, "held"), "rb") as held:
        t.equal(b"x", held.read(1), "before")
        old = s.daemon.pids("fuse")
        s.daemon.kill("fuse")
        t.wait_for(lambda: s.daemon.pids("fuse") not in ([], old),
                   "another fuse")
        s.reload(a)
        for name in ("held", "not"):
            t.true(read(a, name) == b"x" * 200000, name + ", opened again")
            with open(os.path.join(a, name), "r+b") as f:
                f.write(b"W")
            t.equal(b"W", read(a, name)[:1], "written")
        held.seek(0)
        t.equal(b"x", held.read(1), "still open")
