# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""One random sequence of system calls does in a mount what it does in a native
directory: results, errors, attributes, contents; over commits, reloads,
restarts, kill -9 and a new mount.

    SAIL_SEED=n  that sequence   SAIL_STEPS=n  its length   SAIL_TRACE=1
"""

import errno
import fcntl
import hashlib
import mmap
import os
import random
import signal
import stat
import struct
import time

import ctypes

from sailtest import deadline, stack

BOTH_STORES = True

libc = ctypes.CDLL(None, use_errno=True)

KEEP_SIZE, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32
NOREPLACE, EXCHANGE = 1, 2
AT_FDCWD = -100
USERS = (0, 0, 0, 1000, 1001)


def c_call(name, *args):
    rc = getattr(libc, name)(*args)
    if rc == -1:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return rc


def rename2(a, b, flags):
    return c_call("renameat2", AT_FDCWD, ctypes.c_char_p(a), AT_FDCWD,
                  ctypes.c_char_p(b), ctypes.c_uint(flags))


def fallocate(fd, mode, off, size):
    return c_call("fallocate", ctypes.c_int(fd), ctypes.c_int(mode),
                  ctypes.c_long(off), ctypes.c_long(size))


class Side:
    """One of the two trees: a directory of the file system where, so that a
    symbolic link to ../n2 does not lead out of it."""

    def __init__(self, where):
        self.top = os.fsencode(os.path.join(where, "tree"))
        self.fds = {}

    def p(self, rel):
        return self.top + b"/" + rel

    def close_all(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}


def attributes(st):
    out = [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_uid,
           st.st_gid]
    if not stat.S_ISDIR(st.st_mode):
        out += [st.st_nlink, st.st_size]
    return tuple(out)


def content(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def xattrs(path):
    return {n: os.getxattr(path, n, follow_symlinks=False)
            for n in os.listxattr(path, follow_symlinks=False)
            if n.startswith("user.")}


def snapshot(side, links=True, times=(), sockets=True):
    """{path: what is there}."""
    out, groups = {}, {}

    def one(rel):
        path = side.p(rel) if rel else side.top
        st = os.lstat(path)
        what = list(attributes(st))
        if stat.S_ISSOCK(st.st_mode) and not sockets:
            return
        if not links and not stat.S_ISDIR(st.st_mode):
            what[4] = 1
        if stat.S_ISREG(st.st_mode):
            what.append(content(path))
            if links and st.st_nlink > 1:
                groups.setdefault(st.st_ino, []).append(rel)
        elif stat.S_ISLNK(st.st_mode):
            what.append(os.readlink(path))
        if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            what.append(xattrs(path))
        if rel in times:
            what.append(st.st_mtime_ns)
        out[rel] = tuple(what)
        if stat.S_ISDIR(st.st_mode):
            for name in sorted(os.listdir(path)):
                one(rel + b"/" + name if rel else name)

    one(b"")
    out["groups"] = sorted(sorted(g) for g in groups.values())
    return out


def all_times(side):
    out = {}

    def one(rel):
        path = side.p(rel) if rel else side.top
        st = os.lstat(path)
        out[rel] = (st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
        if stat.S_ISDIR(st.st_mode):
            for name in os.listdir(path):
                one(rel + b"/" + name if rel else name)

    one(b"")
    return out


def moved_times(before, after):
    """Which times of which paths moved; new and gone paths apart."""
    return sorted((p, a[0] != b[0], a[1] != b[1])
                  for p, a in before.items() for b in [after.get(p)]
                  if b is not None and a != b and a[2] == b[2])


class Run:
    def __init__(self, t, seed, native, mount):
        self.t, self.rnd = t, random.Random(seed)
        self.native, self.mount = Side(native), Side(mount)
        self.sides = (self.native, self.mount)
        self.uid = 0
        self.next = 0
        self.step = 0
        self.log = []
        self.trace = os.environ.get("SAIL_TRACE")
        self.holes = True

    # ---- names ----

    def paths(self, want=None):
        uid, out = os.geteuid(), []
        os.seteuid(0)
        for where, dirs, files in os.walk(self.native.top):
            rel = os.path.relpath(where, self.native.top)
            for name in dirs + files:
                path = name if rel == b"." else rel + b"/" + name
                st = os.lstat(self.native.p(path))
                if want is None or want(st.st_mode):
                    out.append(path)
        os.seteuid(uid)
        return sorted(out)

    def pick(self, want=None):
        """A path that is there, or, sometimes, one that is not."""
        if self.rnd.random() < 0.05:
            return self.fresh()
        all_paths = self.paths(want)
        return self.rnd.choice(all_paths) if all_paths else self.fresh()

    def fresh(self):
        dirs = [b""] + self.paths(stat.S_ISDIR)
        where = self.rnd.choice(dirs)
        r = self.rnd.random()
        name = b"n%d" % self.rnd.randrange(12)
        if r < 0.03:
            name = b"x" * self.rnd.choice((254, 255, 256))
        elif r < 0.06:
            name = self.rnd.choice((b"\xff\xfe", b"a\nb", b" ", b"-rf", b"\\",
                                    b"caf\xc3\xa9", b"cafe\xcc\x81"))
        elif r < 0.08:
            name += b"/n1"
        return where + b"/" + name if where else name

    def anything(self):
        return self.pick() if self.rnd.random() < 0.5 else self.fresh()

    # ---- doing it twice ----

    def both(self, what, call, *show):
        """call(side) on both sides; the results are compared."""
        results = []
        wrong = False
        for side in self.sides:
            try:
                signal.alarm(60)
                results.append(("ok", call(side)))
            except OSError as e:
                results.append(("error", errno.errorcode.get(e.errno, e.errno)))
            finally:
                signal.alarm(0)
        line = "%d uid %d %s %s: %.200r %.200r" % (
            self.step, self.uid, what, " ".join("%.100r" % (s,) for s in show),
            results[0], results[1])
        self.log.append(line)
        if self.trace:
            print(line, flush=True)
        if results[0] != results[1]:
            self.complain("the results differ: " + line)
            wrong = True
        return results[0] if not wrong else ("wrong", None)

    def complain(self, what):
        self.as_root()
        self.t.fail("%s\nlast steps:\n%s" % (
            what, "\n".join(self.log[-25:])))

    def become(self):
        uid = self.rnd.choice(USERS)
        if uid == self.uid:
            return
        self.as_root()
        if uid:
            os.setgroups([1000] if uid == 1001 else [])
            os.setegid(uid)
            os.seteuid(uid)
        self.uid = uid

    def as_root(self):
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])
        self.uid = 0

    # ---- operations ----

    def data(self):
        n = self.rnd.choice((0, 1, 10, 100, 4095, 4096, 4097, 10000, 70000))
        return self.rnd.randbytes(min(n, 16)) * (n // 16 + 1) if n else b""

    def off(self):
        return self.rnd.choice((0, 0, 1, 4095, 4096, 8192, 10000, 65536,
                                200000, 1 << 20))

    def op_create(self):
        path = self.fresh()
        flags = self.rnd.choice((os.O_RDWR, os.O_RDWR, os.O_WRONLY,
                                 os.O_RDONLY)) | os.O_CREAT | os.O_NONBLOCK
        for f, chance in ((os.O_EXCL, .3), (os.O_APPEND, .2), (os.O_TRUNC, .2),
                          (os.O_NOFOLLOW, .1), (os.O_DIRECTORY, .02)):
            if self.rnd.random() < chance:
                flags |= f
        self.open_it("create", path, flags,
                     self.rnd.choice((0o644, 0o600, 0o666, 0o4755, 0o2775,
                                      0o000, 0o1777)))

    def op_open(self):
        flags = self.rnd.choice((os.O_RDWR, os.O_WRONLY, os.O_RDONLY))
        for f, chance in ((os.O_APPEND, .2), (os.O_TRUNC, .15),
                          (os.O_NOFOLLOW, .1), (os.O_DIRECTORY, .05)):
            if self.rnd.random() < chance:
                flags |= f
        path = self.pick(lambda m: not stat.S_ISFIFO(m))
        self.open_it("open", path, flags | os.O_NONBLOCK, 0)

    def open_it(self, what, path, flags, mode):
        key = self.next
        self.next += 1

        def call(side):
            fd = os.open(side.p(path), flags, mode)
            st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode):
                os.close(fd)
                return "no file"
            side.fds[key] = fd
            return attributes(st)
        got = self.both(what, call, path, oct(flags), oct(mode))
        if got[0] == "wrong":
            for side in self.sides:
                if key in side.fds:
                    os.close(side.fds.pop(key))
        while len(self.native.fds) > 12:
            self.op_close()

    def key(self):
        return self.rnd.choice(sorted(self.native.fds)) \
            if self.native.fds else None

    def with_fd(self, what, call, *show):
        key = self.key()
        if key is None:
            return self.op_create()
        return self.both(what, lambda side: call(side.fds[key]), key, *show)

    def op_close(self):
        key = self.key()
        if key is not None:
            self.both("close", lambda s: os.close(s.fds.pop(key)), key)

    def op_write(self):
        data, off = self.data(), self.off()
        if self.rnd.random() < 0.5:
            self.with_fd("pwrite", lambda fd: os.pwrite(fd, data, off),
                         len(data), off)
        else:
            self.with_fd("write", lambda fd: (
                os.write(fd, data), os.lseek(fd, 0, os.SEEK_CUR)), len(data))

    def op_read(self):
        n, off = self.rnd.choice((1, 100, 5000, 100000)), self.off()
        self.with_fd("pread", lambda fd: hashlib.md5(
            os.pread(fd, n, off)).hexdigest(), n, off)

    def op_seek(self):
        # Of a commit, holes are whole chunks: looked at until a reload.
        whence = self.rnd.choice((os.SEEK_END, os.SEEK_SET) + (
            (os.SEEK_HOLE, os.SEEK_DATA) if self.holes else ()))
        off = self.off()
        self.with_fd("lseek", lambda fd: (os.fsync(fd),
                                          os.lseek(fd, off, whence))[1],
                     off, whence)

    def op_ftruncate(self):
        n = self.rnd.choice((0, 1, 4096, 5000, 100000, 3 << 20))
        self.with_fd("ftruncate", lambda fd: os.ftruncate(fd, n), n)

    def op_truncate(self):
        n = self.rnd.choice((0, 1, 4096, 5000, 100000, 3 << 30))
        if n > 1 << 30 and self.rnd.random() < .9:
            n = 7
        path = self.pick()
        self.both("truncate", lambda s: os.truncate(s.p(path), n), path, n)
        if n > 1 << 30:
            self.both("truncate back", lambda s: (
                os.stat(s.p(path)).st_size,
                os.stat(s.p(path)).st_blocks < 1000,
                os.truncate(s.p(path), 100)), path)

    def op_fallocate(self):
        mode = self.rnd.choice((0, KEEP_SIZE, PUNCH | KEEP_SIZE, ZERO,
                                ZERO | KEEP_SIZE, PUNCH))
        off, n = self.off(), self.rnd.choice((0, 1, 4096, 10000, 100000))
        self.with_fd("fallocate", lambda fd: fallocate(fd, mode, off, n),
                     mode, off, n)

    def op_copy_range(self):
        a, b = self.key(), self.key()
        if a is None:
            return
        n, src, dst = self.rnd.choice((1, 4096, 100000)), self.off(), self.off()
        self.both("copy_file_range", lambda s: os.copy_file_range(
            s.fds[a], s.fds[b], n, src, dst), a, b, n, src, dst)

    def op_fattr(self):
        kind = self.rnd.randrange(5)
        if kind == 0:
            mode = self.rnd.choice((0o644, 0o600, 0o755, 0o4755, 0o2755, 0o2654,
                                    0o6711, 0o777))
            self.with_fd("fchmod", lambda fd: os.fchmod(fd, mode), oct(mode))
        elif kind == 1:
            uid, gid = self.owner()
            self.with_fd("fchown", lambda fd: os.fchown(fd, uid, gid), uid, gid)
        elif kind == 2:
            ns = self.rnd.randrange(-10 ** 18, 4 * 10 ** 18)
            self.with_fd("futimens", lambda fd: (
                os.utime(fd, ns=(ns, ns)), os.fstat(fd).st_mtime_ns)[1])
        elif kind == 3:
            self.with_fd("fsync", os.fsync)
        else:
            self.with_fd("fstat", lambda fd: attributes(os.fstat(fd)))

    def owner(self):
        uid = self.rnd.choice((-1, 0, 1000, 1001))
        # Nothing at all: chown_nobody of regress/posix, and CAVEATS of
        # sailvold(8) where somebody has the file open for writing.
        return (uid, self.rnd.choice((0, 1000, 1001) if uid == -1 else
                                     (-1, 0, 1000, 1001)))

    def op_chmod(self):
        path = self.pick()
        mode = self.rnd.choice((0o644, 0o600, 0o755, 0o4755, 0o2775, 0o1777,
                                0o2654, 0o6711, 0o777, 0o777))
        self.both("chmod", lambda s: os.chmod(s.p(path), mode), path, oct(mode))

    def op_chown(self):
        path = self.pick()
        uid, gid = self.owner()
        follow = self.rnd.random() < 0.5
        self.both("chown", lambda s: os.chown(
            s.p(path), uid, gid, follow_symlinks=follow), path, uid, gid)

    def op_utime(self):
        path = self.pick()
        if self.rnd.random() < 0.3:
            self.both("touch", lambda s: os.utime(s.p(path)), path)
            return
        ns = self.rnd.randrange(-10 ** 18, 4 * 10 ** 18)
        follow = self.rnd.random() < 0.5

        def call(s):
            os.utime(s.p(path), ns=(ns, ns + 1), follow_symlinks=follow)
            st = os.stat(s.p(path), follow_symlinks=follow)
            return st.st_mtime_ns, st.st_atime_ns
        self.both("utimens", call, path, ns)

    def op_xattr(self):
        path = self.pick()
        name = self.rnd.choice(("user.a", "user.b", "user." + "n" * 100))
        r = self.rnd.random()
        if r < 0.5:
            value = self.rnd.choice((b"", b"v", b"w" * 300))
            flags = self.rnd.choice((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE))
            self.both("setxattr", lambda s: os.setxattr(
                s.p(path), name, value, flags, follow_symlinks=False), path,
                name, len(value), flags)
        elif r < 0.8:
            self.both("getxattr", lambda s: os.getxattr(
                s.p(path), name, follow_symlinks=False), path, name)
        else:
            self.both("removexattr", lambda s: os.removexattr(
                s.p(path), name, follow_symlinks=False), path, name)

    def op_mkdir(self):
        path, mode = self.fresh(), self.rnd.choice((0o755, 0o755, 0o777,
                                                    0o2775, 0o1777, 0o700))
        self.both("mkdir", lambda s: os.mkdir(s.p(path), mode), path, oct(mode))

    def op_rmdir(self):
        path = self.pick(stat.S_ISDIR)
        self.both("rmdir", lambda s: os.rmdir(s.p(path)), path)

    def op_unlink(self):
        path = self.pick()
        self.both("unlink", lambda s: os.unlink(s.p(path)), path)

    def op_rename(self):
        a, b = self.pick(), self.anything()
        flags = self.rnd.choice((0, 0, 0, NOREPLACE, EXCHANGE, 3, 4))
        if flags == 4:
            flags = 0 if self.rnd.random() < .9 else 8
        self.both("rename", lambda s: rename2(s.p(a), s.p(b), flags), a, b,
                  flags)

    def op_link(self):
        a, b = self.pick(), self.fresh()
        self.both("link", lambda s: os.link(
            s.p(a), s.p(b), follow_symlinks=False), a, b)

    def op_link_fd(self):
        key, b = self.key(), self.fresh()
        if key is not None and self.uid == 0:
            self.both("linkat fd", lambda s: os.link(
                "/proc/self/fd/%d" % s.fds[key], s.p(b),
                follow_symlinks=True), key, b)

    def op_symlink(self):
        path = self.fresh()
        target = self.rnd.choice((b"n1", b"../n2", b"n1/n2", b"missing",
                                  b"t" * 4000, b"t" * 4095, b"."))
        self.both("symlink", lambda s: os.symlink(target, s.p(path)), path)

    def op_mknod(self):
        path = self.fresh()
        kind = self.rnd.choice((stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK))
        self.both("mknod", lambda s: os.mknod(s.p(path), 0o644 | kind), path,
                  oct(kind))

    def op_list(self):
        path = self.rnd.choice([b""] + self.paths(stat.S_ISDIR))
        self.both("list", lambda s: sorted(
            (e.name, e.is_dir(follow_symlinks=False), e.is_symlink())
            for e in os.scandir(s.p(path))), path)

    def op_stat(self):
        path = self.anything()
        self.both("lstat", lambda s: attributes(os.lstat(s.p(path))), path)
        self.both("stat", lambda s: attributes(os.stat(s.p(path))), path)
        self.both("access", lambda s: os.access(
            s.p(path), os.W_OK, effective_ids=True), path)

    def op_mmap(self):
        off, byte = self.rnd.choice((0, 1, 5000)), self.data()[:1] or b"m"

        def call(fd):
            size = os.fstat(fd).st_size
            if size <= off:
                return "small"
            with mmap.mmap(fd, size, mmap.MAP_SHARED,
                           mmap.PROT_READ | mmap.PROT_WRITE) as m:
                m[off:off + 1] = byte
                m.flush()
                return hashlib.md5(m[:]).hexdigest()
        self.with_fd("mmap", call, off)

    def op_lock(self):
        a, kind = self.key(), self.rnd.randrange(3)
        if a is None:
            return
        how = self.rnd.choice((fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN))
        if kind == 0:
            self.both("flock", lambda s: fcntl.flock(
                s.fds[a], how | fcntl.LOCK_NB), a, how)
        else:
            lock = struct.pack("hhqqi", {
                fcntl.LOCK_SH: fcntl.F_RDLCK, fcntl.LOCK_EX: fcntl.F_WRLCK,
                fcntl.LOCK_UN: fcntl.F_UNLCK}[how], 0,
                self.rnd.randrange(100), self.rnd.randrange(100), 0)
            self.both("ofd lock", lambda s: fcntl.fcntl(
                s.fds[a], 37, lock)[:2], a, how)

    def op_rmtree(self):
        if self.rnd.random() < .7:
            return
        path = self.pick(stat.S_ISDIR)

        def gone(p):
            for e in list(os.scandir(p)):
                if e.is_dir(follow_symlinks=False):
                    gone(e.path)
                else:
                    os.unlink(e.path)
            os.rmdir(p)
        if self.uid == 0:
            self.both("rm -r", lambda s: gone(s.p(path)), path)

    WEIGHTS = (("create", 12), ("open", 8), ("close", 5),
               ("write", 14), ("read", 6), ("seek", 4), ("ftruncate", 3),
               ("truncate", 3), ("fallocate", 4), ("copy_range", 4),
               ("fattr", 6), ("chmod", 3), ("chown", 2), ("utime", 3),
               ("xattr", 5), ("mkdir", 6), ("rmdir", 2), ("unlink", 4),
               ("rename", 9), ("link", 4), ("link_fd", 1), ("symlink", 3),
               ("mknod", 2), ("list", 3), ("stat", 4), ("mmap", 3),
               ("lock", 3), ("rmtree", 1))

    def steps(self, n, times=0.2):
        names = [w[0] for w in self.WEIGHTS]
        weights = [w[1] for w in self.WEIGHTS]
        for _ in range(n):
            self.step += 1
            if self.rnd.random() < 0.2:
                self.become()
            op = getattr(self, "op_" + self.rnd.choices(names, weights)[0])
            if self.rnd.random() < times:
                self.timed(op)
            else:
                op()
        self.as_root()

    def timed(self, op):
        """And the times that move are the same."""
        uid = self.uid
        os.seteuid(0)
        before = [all_times(s) for s in self.sides]
        time.sleep(0.01)
        os.seteuid(uid)
        op()
        os.seteuid(0)
        after = [all_times(s) for s in self.sides]
        os.seteuid(uid)
        want, got = [moved_times(b, a) for b, a in zip(before, after)]
        if want != got:
            self.complain("moved times differ: native %r, mount %r" % (
                [w for w in want if w not in got],
                [w for w in got if w not in want]))

    def compare(self, what, sides=None, **kwargs):
        self.as_root()
        a, b = sides or self.sides
        want, got = snapshot(a, **kwargs), snapshot(b, **kwargs)
        if want != got:
            self.complain("%s: %s" % (what, "\n".join(
                "%r: expected %.300r, actual %.300r" % (
                    k, want.get(k), got.get(k))
                for k in sorted(set(want) | set(got), key=repr)
                if want.get(k) != got.get(k))))
        self.log.append("%d %s: the same" % (self.step, what))

    # ---- what a commit does not keep ----

    def part_links(self):
        """Each name gets a file of its own, on both sides, sockets go."""
        self.as_root()
        for rel in self.paths(lambda m: not stat.S_ISDIR(m)):
            st = os.lstat(self.native.p(rel))
            if stat.S_ISSOCK(st.st_mode):
                self.both("unlink socket", lambda s: os.unlink(s.p(rel)), rel)
            elif st.st_nlink > 1:
                self.both("unlink link", lambda s: os.unlink(s.p(rel)), rel)


@deadline(900)
def test_same_as_native(t):
    """1,500 steps, and a commit, reload, restart or death after some of them."""
    seed = t.seed()
    steps = int(os.environ.get("SAIL_STEPS", 1500))
    os.umask(0o022)
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    s.mount("vol", "b")
    native = t.path("native")
    os.mkdir(native)
    for top in (t.dir, t.path("mnt")):
        os.chmod(top, 0o711)
    run = Run(t, seed, native, a)
    for side in run.sides:
        os.mkdir(side.top)
        os.chmod(side.top, 0o777)
    try:
        life(t, s, run, steps, seed)
    finally:
        run.as_root()


def life(t, s, run, steps, seed):
    d, a, b = s.daemon, t.path("mnt", "a"), t.path("mnt", "b")
    bside = Side(b)
    rnd = random.Random(seed + 1)
    signal.signal(signal.SIGALRM, hang)
    done = 0
    while done < steps:
        n = rnd.randrange(50, 400)
        run.steps(n)
        done += n
        run.compare("after the steps")
        what = rnd.choice(("commit", "commit", "reload", "reload b", "reload b",
                           "restart", "kill all", "kill manifest", "kill cache",
                           "kill sailvol-fetch", "kill fuse", "kill fuse",
                           "remount", "kill parent"))
        run.log.append("%d ---- %s" % (run.step, what))
        run.holes = run.holes and what not in ("reload", "remount")
        if run.trace:
            print(run.log[-1], flush=True)
        if what == "commit":
            s.commit(a)
        elif what == "reload b":
            s.share(a, b)
            run.compare("b after reload", (run.native, bside), links=False,
                        sockets=False)
        elif what == "reload":
            for side in run.sides:
                side.close_all()
            run.part_links()
            s.commit(a)
            s.reload(a)
        elif what == "restart":
            for side in run.sides:
                side.close_all()
            d.stop()
            again(t, d, a, b)
        elif what in ("kill all", "kill parent"):
            for side in run.sides:
                side.close_all()
            if what == "kill all":
                d.kill_all()
            else:
                t.expect_deaths = True
                d.process.kill()
                d.process.wait()
            again(t, d, a, b)
        elif what == "remount":
            for side in run.sides:
                side.close_all()
            run.part_links()
            d.umount(a, "--commit")
            # Another test's mount namespace may have it a while.
            t.wait_for(lambda: d.mount("vol", "a", ok=None).returncode == 0,
                       "the mount point to be free")
        else:
            d.kill(what.split()[1])
        run.compare("after " + what)
    for side in run.sides:
        side.close_all()
    run.part_links()
    s.share(a, b)
    run.compare("b at the end", (run.native, bside))


def again(t, d, *paths):
    """The daemon, and its mounts come back by themselves."""
    d.start()
    for path in paths:
        t.wait_for(lambda: os.path.exists(path + "/.sailvol/ctl"),
                   "%s to come back" % path)


def hang(sig, frame):
    raise RuntimeError("a call of 60 s")
