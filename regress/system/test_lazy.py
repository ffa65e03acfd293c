# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Of a large file only what is needed comes: for a read the chunks that it
touches, for a change the chunk that it is in, and for a commit nothing."""

import ctypes
import os
import random
import subprocess

from sailtest import deadline, error_of, stack

BOTH_STORES = True

MIB = 1 << 20
CHUNK = 8 * MIB
LARGE = (10 << 30) + 5000
PUNCH, ZERO, KEEP = 2, 16, 1
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, off, size):
    if libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(size)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def make_large(path):
    """10 GiB, of which ten chunks of 32 MiB and the tail have data; {offset:
    bytes}."""
    have = {}
    with open(path, "wb") as f:
        f.truncate(LARGE)
        for i in range(10):
            at = i * (LARGE // 10) + 12345 * i
            have[at] = os.urandom(70000)
            f.seek(at)
            f.write(have[at])
        have[LARGE - 5] = b"tail!"
        f.seek(LARGE - 5)
        f.write(b"tail!")
    return have


def check_large(t, path, have, what):
    with open(path, "rb") as f:
        for at, b in have.items():
            t.true(os.pread(f.fileno(), len(b), at) == b,
                   "%s: bytes at %d" % (what, at))
        t.true(not os.pread(f.fileno(), 100000, 500 * MIB).strip(b"\0"),
               what + ": a hole")


@deadline(240)
def test_large(t):
    """First byte: two round trips to the server and one chunk.  Append, and one
    byte in the middle: one chunk each; a commit of it moves these alone."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    have = make_large(os.path.join(a, "f"))
    s.commit(a)
    d = s.add_daemon()
    leases = s.api.count("PUT .*/leases/")
    b = d.mount("v", "b")
    t.wait_for(lambda: s.api.count("PUT .*/leases/") > leases, "its lease")
    f = os.path.join(b, "f")
    t.equal(LARGE, os.stat(f).st_size, "size")
    s.api.reset()
    s.store.reset()
    with open(f, "rb") as r:
        t.true(r.read(1) == have[0][:1], "the first byte")
    t.true(len(s.api.requests) <= 2, "round trips: %s" % s.api.requests)
    t.equal(1, s.store.count("^GET "), "chunks")
    # A read over the border of two chunks brings both.
    with open(f, "rb") as r:
        os.posix_fadvise(r.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        t.true(os.pread(r.fileno(), 9000, LARGE - 5100) ==
               b"\0" * 5095 + b"tail!", "end")
        t.equal(2, s.store.count("^GET "), "chunks")
    s.store.reset()
    c = s.add_daemon().mount("v", "c")
    f = os.path.join(c, "f")
    with open(f, "ab") as w:
        w.write(b"x")
    t.equal(1, s.store.count("^GET "), "append: %s" % s.store.requests)
    st = os.stat(f)
    t.equal(LARGE + 1, st.st_size, "size")
    t.true(st.st_blocks > 0, "it is not one hole to who asks for blocks")
    mid = sorted(have)[5]
    with open(f, "r+b") as w:
        w.seek(mid + 7)
        w.write(b"Y")
    t.equal(2, s.store.count("^GET "), "one byte: %s" % s.store.requests)
    s.store.reset()
    s.commit(c)
    t.equal(0, s.store.count("^GET "), "of the rest nothing is read")
    t.true(s.store.count("^PUT ") <= 3, "what is sent: %s" % s.store.requests)
    have[mid] = have[mid][:7] + b"Y" + have[mid][8:]
    have[LARGE] = b"x"
    check_large(t, f, have, "after the commit")
    s.reload(b)
    check_large(t, os.path.join(b, "f"), have, "elsewhere")
    s.reload(c)
    check_large(t, f, have, "after the reload")


class Model:
    """A file, and what is in it."""

    def __init__(self, t, path, data, rng):
        self.t, self.path, self.data, self.rng = t, path, bytearray(data), rng

    def place(self, most):
        """Somewhere, often at the border of a chunk."""
        r = self.rng
        off = r.randrange(len(self.data) + MIB)
        if r.random() < 0.5:
            off = max(0, r.randrange(7) * CHUNK + r.randrange(-9, 10))
        return off, r.randrange(1, most)

    def put(self, off, b):
        if off > len(self.data):
            self.data += b"\0" * (off - len(self.data))
        self.data[off:off + len(b)] = b

    def write(self, fd):
        off, n = self.place(3 * MIB)
        b = self.rng.randbytes(n)
        t = 0
        while t < n:
            t += os.pwrite(fd, b[t:], off + t)
        self.put(off, b)

    def truncate(self, fd):
        off, _ = self.place(2)
        if self.rng.random() < 0.5:
            off = max(0, len(self.data) - off)
        os.ftruncate(fd, off)
        del self.data[off:]
        self.put(off, b"")

    def zeros(self, fd):
        off, n = self.place(20 * MIB)
        mode = self.rng.choice((PUNCH | KEEP, ZERO | KEEP, ZERO, 0))
        fallocate(fd, mode, off, n)
        if not mode & KEEP and off + n > len(self.data):
            self.put(off + n, b"")
        n = max(0, min(n, len(self.data) - off))
        if mode & (PUNCH | ZERO):
            self.put(off, b"\0" * n) if n else None

    def copy(self, fd):
        src, n = self.place(9 * MIB)
        dst, _ = self.place(2)
        n = max(0, min(n, len(self.data) - src))
        if src < dst + n and dst < src + n:
            return
        done = 0
        while done < n:
            k = os.copy_file_range(fd, fd, n - done, src + done, dst + done)
            if k == 0:
                break
            done += k
        self.t.equal(n, done, "copied")
        if n:
            self.put(dst, bytes(self.data[src:src + n]))

    def read(self, fd):
        off, n = self.place(2 * MIB)
        self.t.true(os.pread(fd, n, off) == self.data[off:off + n],
                    "bytes at %d, %d" % (off, n))

    def seek(self, fd):
        """What SEEK_HOLE says is zeros is."""
        off, _ = self.place(2)
        if off >= len(self.data):
            return
        hole = os.lseek(fd, off, os.SEEK_HOLE)
        self.t.true(off <= hole <= len(self.data), "hole")
        try:
            end = os.lseek(fd, hole, os.SEEK_DATA)
        except OSError:
            end = len(self.data)
        self.t.true(not self.data[hole:end].strip(b"\0"),
                    "a hole from %d to %d" % (hole, end))

    def check(self, path=None, what=""):
        path = path or self.path
        self.t.equal(len(self.data), os.stat(path).st_size, what + " size")
        with open(path, "rb") as f:
            got = f.read()
        if got != self.data:
            at = next(i for i in range(0, len(got), 4096)
                      if got[i:i + 4096] != self.data[i:i + 4096])
            self.t.fail("%s: other bytes at %d (chunk %d)" % (
                what, at, at // CHUNK))


@deadline(400)
def test_random(t):
    """Whatever is done to a cold file, it is what it would be on any other file
    system: while processes die, after a commit, and after a stash."""
    rng = random.Random(t.seed())
    t.expect_deaths = True
    s = stack.Stack(t, extra="")
    a = s.mount("v", "a", create=True)
    data = rng.randbytes(2 * CHUNK) + b"\0" * CHUNK + rng.randbytes(
        2 * CHUNK + 3 * MIB + 17)
    for i in range(4):
        with open(os.path.join(a, "f%d" % i), "wb") as f:
            f.write(data)
    s.commit(a)
    d = s.add_daemon()
    b = d.mount("v", "b")
    ms = [Model(t, os.path.join(b, "f%d" % i), data, rng) for i in range(4)]
    for step in range(4):
        for m in ms:
            fd = os.open(m.path, os.O_RDWR)
            for _ in range(6):
                op = rng.choice((m.write, m.write, m.truncate, m.zeros,
                                 m.copy, m.read, m.read, m.seek))
                print(step, m.path, op.__name__)
                op(fd)
                if rng.random() < 0.06:
                    d.kill(rng.choice(("fuse", "cache", "fetch", "manifest")))
            os.close(fd)
        m = rng.choice(ms)
        os.rename(m.path, m.path + "x")
        m.path += "x"
        if step == 1:
            d.kill_all()
            d.start()
            t.wait_for(lambda: os.path.ismount(b) and any(
                m["path"] == b and m.get("fuse_runs", True)
                for m in d.ctl_json("status")["mounts"]),
                       "the mount comes back")
        for m in ms:
            m.check(what="step %d, %s" % (step, m.path))
        if step == 2:
            s.commit(b)
            s.reload(a)
            for m in ms:
                m.check(os.path.join(a, os.path.basename(m.path)), "in A")
                m.check(what="committed")


def test_keep_and_stash(t):
    """A file that lacks chunks goes through a reload that keeps it, a stash and
    its return, and is committed as it is."""
    rng = random.Random(8)
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    data = rng.randbytes(4 * CHUNK + 5000)
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(data)
    s.commit(a)
    d = s.add_daemon()
    b = d.mount("v", "b")
    m = Model(t, os.path.join(b, "f"), data, rng)

    def change(at):
        with open(m.path, "r+b") as f:
            f.seek(at)
            f.write(b"changed")
        m.put(at, b"changed")

    change(CHUNK + 5)
    with open(os.path.join(a, "other"), "w", encoding="ascii") as f:
        f.write("x")
    s.commit(a)
    s.reload(b, "--keep")
    m.check(what="kept")
    change(3 * CHUNK - 3)
    stashed = s.reload_json(b)
    t.true("stash" in str(stashed), str(stashed))
    with open(m.path, "rb") as f:
        t.true(f.read() == data, "the base")
    number = s.ctl("stash", "list", b).stdout.split()[0]
    s.ctl("stash", "restore", b, number)
    s.store.reset()
    s.commit(b)
    t.equal(0, s.store.count("^GET "), "nothing is fetched for the commit")
    m.check(what="restored")
    s.reload(a)
    m.check(os.path.join(a, "f"), "in A")


def test_tail(t):
    """The end of a file whose last chunk is not here yet: it ends where the file
    does, though the kernel asks for whole pages; read, and copied."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    data = os.urandom(2 * CHUNK + 5000)
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(data)
    s.commit(a)
    b = s.add_daemon().mount("v", "b")
    with open(os.path.join(b, "f"), "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"mine", 100)
        data = data[:100] + b"mine" + data[104:]
        t.true(os.pread(f.fileno(), 1 << 17, 2 * CHUNK) == data[2 * CHUNK:],
               "the last chunk")
        t.equal(b"", os.pread(f.fileno(), 5000, len(data)), "behind it")
        with open(os.path.join(b, "copy"), "w+b", buffering=0) as to:
            t.equal(5000, os.copy_file_range(f.fileno(), to.fileno(), MIB,
                                             2 * CHUNK, 0), "copied")
            t.true(os.pread(to.fileno(), 6000, 0) == data[2 * CHUNK:], "copy")
        t.equal(0, os.copy_file_range(f.fileno(), f.fileno(), 10, len(data),
                                      0), "from the end")
    with open(os.path.join(b, "f"), "rb") as f:
        t.true(f.read() == data, "all of it")


def test_unlinked(t):
    """A file that is unlinked while it is open goes on to bring what it lacks,
    and nothing of it stays."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    data = os.urandom(3 * CHUNK)
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(data)
    s.commit(a)
    d = s.add_daemon()
    b = d.mount("v", "b")
    path = os.path.join(b, "f")
    with open(path, "r+b") as f:
        f.seek(5)
        f.write(b"x")
        f.flush()
        os.unlink(path)
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        got = os.pread(f.fileno(), len(data), 0)
        t.true(got == data[:5] + b"x" + data[6:], "bytes")
    s.commit(b)
    s.reload(b)

    def left():
        return [n for _, _, names in os.walk(os.path.join(d.dir, "state"))
                for n in names if n.endswith(".rest")]

    t.wait_for(lambda: not left(), "the file beside it goes")


def test_nothing_lacks(t):
    """A process that died before it noted that nothing lacks any more: the next
    one does."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    data = os.urandom(3 * CHUNK)
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(data)
    s.commit(a)
    d = s.add_daemon()
    b = d.mount("v", "b")

    def beside():
        return [os.path.join(w, n)
                for w, _, names in os.walk(os.path.join(d.dir, "state"))
                for n in names if n.endswith(".rest")]

    with open(os.path.join(b, "f"), "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"x", 5)
        rest, = beside()
        gone = set(d.pids("fuse"))
        # All that it did of a truncation.
        os.truncate(rest[:-len(".rest")], CHUNK - 7)
        d.kill("fuse")
        t.wait_for(lambda: set(d.pids("fuse")) - gone, "fuse again")
        t.equal(b"\0" * 0, os.pread(f.fileno(), 9, CHUNK - 7), "the end")
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        t.true(os.pread(f.fileno(), CHUNK, 0) ==
               data[:5] + b"x" + data[6:CHUNK - 7], "content")
        t.equal([], beside(), "what lacks")
        mode = os.stat(rest[:-len(".rest")]).st_mode
        t.equal(oct(0o100600), oct(mode), "mode of the overlay file")


def allow(t, pid, descriptors):
    """As many as its own user may."""
    done = stack.as_user(stack.real_uid_of(pid), [
        "prlimit", "--pid=%d" % pid, "--nofile=%d:" % descriptors])
    t.equal((0, ""), (done.returncode, done.stderr), "prlimit")


def test_true_error(t):
    """A change whose chunk cannot be copied says why: no descriptor is left in
    the process that would.  What it has open for a moment while they are
    counted leaves one too many; then the next chunk is changed."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    data = bytearray(os.urandom(6 * CHUNK))
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(data)
    s.commit(a)
    d = s.add_daemon()
    b = d.mount("v", "b")
    with open(os.path.join(b, "f"), "r+b", buffering=0) as f:
        pid, = d.pids("fuse")
        errors = []
        for at in range(CHUNK, len(data), CHUNK):
            t.true(os.pread(f.fileno(), CHUNK, at) == data[at:at + CHUNK],
                   "the chunk is here")
            # One is for where it goes, the other for where it is.
            used = set(map(int, os.listdir("/proc/%d/fd" % pid)))
            free = [n for n in range(max(used) + 3) if n not in used]
            allow(t, pid, free[1])
            errors.append(error_of(os.pwrite, f.fileno(), b"x", at + 5))
            allow(t, pid, 1024)
            data[at + 5:at + 6] = b"x"
            if errors[-1] != "done":
                os.pwrite(f.fileno(), b"x", at + 5)
                break
        t.equal("EMFILE", errors[-1], "no descriptor")
    with open(os.path.join(b, "f"), "rb") as f:
        t.true(f.read() == data, "content")


def resident(top):
    """Bytes of the files below it that the kernel has in memory."""
    files = [os.path.join(w, n) for w, _, names in os.walk(top) for n in names]
    out = subprocess.run(["fincore", "-nbr", "-o", "RES", *files], check=True,
                         stdout=subprocess.PIPE).stdout
    return sum(map(int, out.split()))


@deadline(240)
def test_pages_not_twice(t):
    """What was read through the mount, the kernel has as pages of the mount;
    the cache's own files give theirs up."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    data = os.urandom(4 * CHUNK)
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(data)
    s.commit(a)
    d = s.add_daemon()
    f, cache = os.path.join(d.mount("v", "b"), "f"), d.dir + "/cache"
    with open(f, "rb") as h:
        t.true(h.read() == data, "content")
        t.true(resident(cache) > CHUNK, "read from the cache's files")
        t.wait_for(lambda: resident(cache) < len(data) // 16,
                   "the cache's pages are given up", deadline_s=120)
        h.seek(0)
        t.true(h.read() == data, "content again")
