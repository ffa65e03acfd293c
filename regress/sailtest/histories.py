# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Random histories of mounts of one volume, by a seed: programs, commits,
reloads, lost answers and kill -9, next to the model of it all."""

import collections
import ctypes
import errno
import os
import random
import stat
import subprocess
import time
import traceback

from sailtest import Failure, model, proxy, stack

NAMES = ("a", "b", "c", "d", "e")
DEPTH = 3
HANDLES = 6         # that a mount has open at most
COMMIT = "POST .*/commit$"
LIBC = ctypes.CDLL(None, use_errno=True)
KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l",
         stat.S_IFIFO: "p"}
REALTIME_COARSE = 5         # clock_gettime(2): the one that files have

# kept: what one that only reads showed at the last reload.  What is passed through
# may be a file of its own from then on (sailvold(8), CAVEATS).
Handle = collections.namedtuple("Handle", "fd inode writes kept",
                                defaults=(None,))


def rename2(path, to, flags):
    if LIBC.renameat2(-100, os.fsencode(path), -100, os.fsencode(to),
                      ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def attempt(f, *args):
    """What it returns, or the name of its errno."""
    try:
        return f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def look(top):
    """{path: (what is there, st_nlink, st_ino)}"""
    out = {}
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            kind = KINDS[stat.S_IFMT(st.st_mode)]
            data, mtime = None, 0
            if kind == "f":
                mtime = st.st_mtime_ns
                with open(path, "rb") as f:
                    data = f.read()
            elif kind == "l":
                data = os.readlink(path)
            attributes = ()
            if kind in "df":
                attributes = tuple(sorted(
                    (n, os.getxattr(path, n)) for n in os.listxattr(path)))
            out[os.path.relpath(path, top)] = (
                model.Entry(kind, data, stat.S_IMODE(st.st_mode), st.st_uid,
                            attributes, mtime, None),
                1 if kind == "d" else st.st_nlink, st.st_ino)
    return out


class Actor:
    """One mount, and its part of the model."""

    def __init__(self, history, daemon, name):
        self.h, self.rng, self.daemon, self.name = (
            history, history.rng, daemon, name)
        self.path = daemon.mount(history.volume,
                                 "%s-%s" % (history.volume, name), create=True)
        self.m = model.Mount({}, history.log()[0])
        self.handles = []

    def at(self, path):
        return os.path.join(self.path, path)

    # ---- what to take ----

    def some(self, kinds="dflp"):
        """A path that is there; None: there is none."""
        have = sorted(p for p, i in self.m.view.items() if i.kind in kinds)
        return self.rng.choice(have) if have else None

    def name_in(self, kinds=None):
        """A path in a directory that is there, or seldom one that is none."""
        dirs = [""] + sorted(p for p, i in self.m.view.items()
                             if i.kind == "d" and p.count("/") < DEPTH - 1)
        d = self.rng.choice(dirs)
        if self.rng.random() < 0.03:
            d = self.some("fp") or ""
        p = os.path.join(d, self.rng.choice(NAMES))
        i = self.m.view.get(p)
        return p if kinds is None or i is None or i.kind in kinds else None

    def data(self, size=None):
        """No two files begin alike, so that the same bytes are the same file."""
        size = size or self.rng.choice((1, 30, 4000, 4096, 5000, 70000))
        mark = b"%d " % self.h.number()
        return (mark * (size // len(mark) + 1))[:max(size, len(mark))]

    # ---- both do it ----

    def both(self, what, real, ideal):
        """Both end alike; true: with success."""
        self.h.tell("%s: %s" % (self.name, what))
        got, want = attempt(real), attempt(ideal)
        bad = [x for x in (got, want) if isinstance(x, str)]
        if bad and got != want:
            self.h.fail("%s in %s: expected %.100r, actual %.100r" % (
                what, self.name, want, got))
        return not bad

    def settle(self, inode, path=None, fd=None):
        """The time of a file that was changed just now: set, or the clock's,
        and from then on it stays."""
        if self.rng.random() < 0.5:
            inode.mtime = self.h.number() * 1000003
            os.utime(path if fd is None else fd, ns=(inode.mtime,) * 2)
            return
        now = time.time_ns()
        inode.mtime = os.fstat(fd).st_mtime_ns if fd is not None else (
            os.lstat(path).st_mtime_ns)
        if not self.h.before <= inode.mtime <= now:
            self.h.fail("mtime of %s in %s: %d, between %d and %d" % (
                path, self.name, inode.mtime, self.h.before, now))

    # ---- operations ----

    def create(self):
        p = self.name_in()
        mode = self.rng.choice((0o644, 0o600, 0o755))
        data = self.data()
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        held = len(self.handles) < HANDLES and self.rng.random() < 0.3

        def real():
            fd = os.open(self.at(p), flags, mode)
            os.write(fd, data)
            return fd

        made = []

        def ideal():
            made.append(self.m.make(p, model.Inode("f", data, mode)))

        fds = []
        if self.both("create %s, %d bytes%s" % (
                p, len(data), ", held" if held else ""),
                lambda: fds.append(real()), ideal):
            self.settle(made[0], p, fds[0])
            if held:
                self.handles.append(Handle(fds[0], made[0], True))
            else:
                os.close(fds[0])

    def rewrite(self):
        """O_TRUNC, or a change of what is there."""
        p = self.some("f")
        if p is None:
            return
        inode = self.m.get(p)
        whole = self.rng.random() < 0.3
        self.h.tell("%s: %s %s" % (self.name,
                                   "write" if whole else "change", p))
        fd = os.open(self.at(p), os.O_RDWR | (os.O_TRUNC if whole else 0))
        inode.written = True
        if whole:
            inode.data = b""
            self.change(fd, inode, 0)
        else:
            self.change(fd, inode)
        os.close(fd)

    def change(self, fd, inode, where=None):
        """A write, or a truncation, through a descriptor."""
        if where is None and self.rng.random() < 0.3 and len(inode.data) > 40:
            size = self.rng.randrange(20, len(inode.data) + 5000)
            self.h.tell("  truncate to %d" % size)
            os.truncate(fd, size)
            inode.truncate(size)
        else:
            data = self.data()
            if where is None:
                where = self.rng.choice((len(inode.data), 20, 4096, 60000))
            self.h.tell("  %d bytes at %d" % (len(data), where))
            os.pwrite(fd, data, where)
            inode.pwrite(data, where)
        if self.rng.random() < 0.2:
            os.fsync(fd)
        self.settle(inode, fd=fd)

    def mkdir(self):
        p = self.name_in()
        mode = self.rng.choice((0o755, 0o700))
        self.both("mkdir %s" % p, lambda: os.mkdir(self.at(p), mode),
                  lambda: self.m.make(p, model.Inode("d", None, mode)))

    def symlink(self):
        p = self.name_in()
        target = "%s%d" % (self.rng.choice(NAMES), self.h.number())
        self.both("symlink %s" % p, lambda: os.symlink(target, self.at(p)),
                  lambda: self.m.make(p, model.Inode("l", target, 0o777)))

    def fifo(self):
        p = self.name_in()
        self.both("mkfifo %s" % p, lambda: os.mkfifo(self.at(p), 0o600),
                  lambda: self.m.make(p, model.Inode("p", None, 0o600)))

    def link(self):
        p, q = self.some("fd"), self.name_in()
        if p is not None:
            self.both("link %s %s" % (p, q),
                      lambda: os.link(self.at(p), self.at(q)),
                      lambda: self.m.link(p, q))

    def unlink(self):
        p = self.some() if self.rng.random() < 0.9 else self.name_in()
        if p is not None:
            self.both("unlink %s" % p, lambda: os.unlink(self.at(p)),
                      lambda: self.m.unlink(p))

    def rmdir(self):
        p = self.some("d") if self.rng.random() < 0.9 else self.name_in()
        if p is not None:
            self.both("rmdir %s" % p, lambda: os.rmdir(self.at(p)),
                      lambda: self.m.rmdir(p))

    def remove_tree(self):
        p = self.some("d")
        if p is None:
            return
        for q in reversed(model.in_order([p] + model.below(self.m.view, p))):
            if self.m.view[q].kind == "d":
                self.both("rmdir %s" % q, lambda q=q: os.rmdir(self.at(q)),
                          lambda q=q: self.m.rmdir(q))
            else:
                self.both("unlink %s" % q, lambda q=q: os.unlink(self.at(q)),
                          lambda q=q: self.m.unlink(q))
        if self.rng.random() < 0.4:
            mode = self.rng.choice((0o755, 0o711))
            self.both("mkdir %s" % p, lambda: os.mkdir(self.at(p), mode),
                      lambda: self.m.make(p, model.Inode("d", None, mode)))

    def rename(self):
        p, q = self.some(), self.name_in()
        flags = self.rng.choice((0, 0, 0, 0, model.NOREPLACE, model.EXCHANGE))
        if flags == model.EXCHANGE:
            q = self.some()
        if p is None or any(
                max(x.count("/") for x in [y] + model.below(self.m.view, y)) -
                y.count("/") + z.count("/") >= DEPTH
                for y, z in ((p, q), (q, p))):
            return
        self.both("rename %s %s %d" % (p, q, flags),
                  lambda: rename2(self.at(p), self.at(q), flags),
                  lambda: self.m.rename(p, q, flags))

    def attributes(self):
        p = self.some("df")
        if p is None:
            return
        inode = self.m.get(p)
        what = self.rng.choice(("mode", "owner", "time", "set", "create",
                                "replace", "remove"))
        name = "user." + self.rng.choice("xyz")
        value = b"%d" % self.h.number() * self.rng.choice((1, 200))
        flags = {"create": os.XATTR_CREATE, "replace": os.XATTR_REPLACE}
        self.h.tell("%s: %s of %s" % (self.name, what, p))
        if what == "mode":
            inode.mode = self.rng.choice((0o755, 0o700, 0o711, 0o1755))
            os.chmod(self.at(p), inode.mode)
        elif what == "owner":
            inode.uid = self.rng.choice((0, 7, 8))
            os.chown(self.at(p), inode.uid, -1)
        elif what == "time":
            inode.mtime = self.h.number() * 1000003
            os.utime(self.at(p), ns=(1, inode.mtime))
        elif what == "remove":
            self.both("removexattr %s" % name,
                      lambda: os.removexattr(self.at(p), name),
                      lambda: self.m.removexattr(p, name))
        else:
            flag = flags.get(what, 0)
            self.both("setxattr %s" % name,
                      lambda: os.setxattr(self.at(p), name, value, flag),
                      lambda: self.m.setxattr(p, name, value, flag))

    # ---- open files ----

    def hold(self):
        p = self.some("f")
        if p is None or len(self.handles) >= HANDLES:
            return
        writes = self.rng.random() < 0.6
        self.h.tell("%s: open %s%s" % (self.name, p,
                                       " to write" if writes else ""))
        fd = os.open(self.at(p), os.O_RDWR if writes else os.O_RDONLY)
        inode = self.m.get(p)
        inode.written |= writes
        self.handles.append(Handle(fd, inode, writes))

    def use(self):
        if not self.handles:
            return
        n = self.rng.randrange(len(self.handles))
        handle = self.handles[n]
        if self.rng.random() < 0.3:
            self.h.tell("%s: close" % self.name)
            os.close(self.handles.pop(n).fd)
        elif handle.writes:
            self.h.tell("%s: through a handle" % self.name)
            self.change(handle.fd, handle.inode)
        self.check_handle(handle)

    def check_handle(self, handle):
        if handle in self.handles:
            got = os.pread(handle.fd, 1 << 24, 0)
            if got not in (handle.inode.data, handle.kept):
                self.h.fail("%s: an open file: %s" % (
                    self.name, differs(handle.inode.data, got)))
            return got
        return None

    def written(self):
        """What handles that are open may write to."""
        return {h.inode for h in self.handles if h.writes}

    def look_unsure(self):
        """At a commit: of a file that was open to be written, and that others
        still read, nobody can tell whether it has been mapped: a reload may
        take it for changed."""
        for inode in self.m.view.values():
            inode.unsure = (inode.written or inode.unsure) and any(
                h.inode is inode for h in self.handles)

    def make_sure(self):
        for p, inode in list(self.m.view.items()):
            if inode.unsure:
                self.h.tell("%s: change %s" % (self.name, p))
                with open(self.at(p), "r+b") as f:
                    self.change(f.fileno(), inode, len(inode.data))
                inode.written = True

    def drop_handles(self):
        """They ended with the session, or end now."""
        for handle in self.handles:
            try:
                os.close(handle.fd)
            except OSError:
                pass
        self.handles = []

    def change_some(self, count):
        for _ in range(count):
            self.h.before = time.clock_gettime_ns(REALTIME_COARSE)
            self.rng.choice(OPERATIONS)(self)

    # ---- comparing ----

    def compare(self):
        want = self.m.shown()
        found = look(self.path)
        wrong = []
        for p in model.in_order(set(want) | set(found)):
            e = want.get(p)
            got = found[p][0] if p in found else None
            if e is None or got is None or e._replace(ident=None) != got:
                wrong.append("%s: %s" % (p, differs(e, got)))
                continue
            inode = self.m.view[p]
            if inode.kind != "d":
                names = [q for q, i in self.m.view.items() if i is inode]
                if found[p][1] != len(names):
                    wrong.append("%s: expected %d links, actual %d" % (
                        p, len(names), found[p][1]))
                if any(q in found and found[q][2] != found[p][2]
                       for q in names):
                    wrong.append("%s: st_ino of %s" % (p, names))
        if wrong:
            self.h.fail("%s differs from the model:\n%s" % (
                self.name, "\n".join(wrong[:20])))
        for handle in list(self.handles):
            self.check_handle(handle)


OPERATIONS = (
    [Actor.create] * 6 + [Actor.rewrite] * 5 + [Actor.mkdir] * 4 +
    [Actor.attributes] * 5 + [Actor.rename] * 6 + [Actor.unlink] * 6 +
    [Actor.use] * 4 + [Actor.hold] * 2 + [Actor.link] * 2 +
    [Actor.remove_tree] * 2 + [Actor.symlink, Actor.fifo, Actor.rmdir])


def differs(want, got):
    """Two values, short: bytes by where they begin to differ."""
    if isinstance(want, model.Entry) and isinstance(got, model.Entry):
        return ", ".join("%s: %s" % (f, differs(a, b)) for f, a, b in zip(
            want._fields, want, got) if a != b and f != "ident")
    if isinstance(want, bytes) and isinstance(got, bytes):
        at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b),
                  min(len(want), len(got)))
        return "expected %d bytes, actual %d, from %d on %.40r and %.40r" % (
            len(want), len(got), at, want[at:], got[at:])
    return "expected %.200r, actual %.200r" % (want, got)


def brief(e):
    return e and e._replace(data=e.data and e.data[:20])


class Wrong(Failure):
    """A history that is not as the model has it: with its seed."""


class History:
    """kills: processes are killed as well."""

    def __init__(self, s, seed, steps, kills=True, mounts=3):
        self.s, self.t, self.seed, self.kills = s, s.t, seed, kills
        self.rng = random.Random(seed)
        self.volume = "v%d" % seed
        self.story, self.serial, self.steps = [], 10 ** 6, steps
        self.killed = collections.Counter()
        self.before = 0
        self.head = {}
        self.s.daemon.mount(self.volume, self.volume + "-0", create=True)
        self.actors = [
            Actor(self, s.daemons[i % len(s.daemons)], "ABCDEFGH"[i])
            for i in range(mounts)]
        self.s.daemon.umount(self.s.point(self.volume + "-0"))

    def number(self):
        """Never the same again."""
        self.serial += 1
        return self.serial

    def tell(self, what):
        self.story.append(what)

    def fail(self, why):
        with open(self.t.path("schedule.%d" % self.seed), "w",
                  encoding="utf-8") as f:
            f.write("\n".join(self.story) + "\n")
        raise Wrong("seed %d: %s\nto be kept in system/test_model.py:\n%s\n"
                    "its schedule ends with\n%s" % (
                        self.seed, why, self.line(why),
                        "\n".join(self.story[-80:])))

    def line(self, why):
        """What KEPT gets, so that what was found is looked for ever after."""
        return "    (%d, %d, %s),  # %s" % (
            self.seed, self.steps, self.kills, why.split("\n")[0][:100])

    def log(self):
        """Ids of the volume's commits, the newest first."""
        status, answer = self.s.server.call(
            "GET", "/v1/volumes/%s/commits" % self.volume)
        self.t.equal(200, status, "the log")
        return [c["id"] for c in answer["commits"]] or [None]

    # ---- commits ----

    def commit(self, a, *args, during=None):
        """One commit, of which the answer may be lost, or the daemon killed
        while it runs; it is in the history once."""
        before = self.log()
        self.tell("%s: commit %s%s" % (a.name, " ".join(args), " while " +
                                       during.__name__ if during else ""))
        process = stack.spawn(self.s, "commit", *args, a.path)
        if during is not None:
            during(self, a, process)
        status, answer = stack.end(process)
        if status == 1 and during is not None and during in ENDING:
            status, answer = stack.end(
                stack.spawn(self.s, "commit", *args, a.path))
        self.judge(a, args, before, status, answer,
                   during is None or during not in ENDING)

    def judge(self, a, args, before, status, answer, complete=True):
        """complete: the answer is of all that was done."""
        shown = a.m.shown()
        ops = model.delta(a.m.seen, shown)
        head, lost = model.merge(self.head, a.m.seen, shown)
        log = self.log()
        if "--if-unchanged" in args and lost and status == 3:
            self.tell("  refused")
            if log != before:
                self.fail("a refused commit was published")
            return
        if status != 0 or ("--if-unchanged" in args and lost and complete):
            self.fail("commit in %s: status %d, %.500r; overwritten: %s" % (
                a.name, status, answer, sorted(lost)))
        ident = answer["commit"]
        if ops and any(p not in self.head or p not in head or not model.same(
                self.head[p], head[p]) for p in set(self.head) | set(head)):
            if log[:2] != [ident, before[0]]:
                self.fail("commit in %s: %s: the log was %s, is %s" % (
                    a.name, ident, before[:2], log[:3]))
        elif log != before and log[1] != before[0]:
            self.fail("commit in %s: published twice" % a.name)
        if not ops and (log != before or ident != a.m.last):
            self.fail("nothing to commit in %s: %s, expected %s" % (
                a.name, ident, a.m.last))
        if ops and complete:
            got = sorted(answer["overwritten"]["paths"])
            if got != sorted(lost):
                self.fail("overwritten by %s: expected %s, actual %s\n%s" % (
                    a.name, sorted(lost), got, "\n".join(
                        "%s: head %s\n  seen %s\n  shown %s, %s" % (
                            p, brief(self.head.get(p)), brief(a.m.seen.get(p)),
                            brief(shown.get(p)), ops.get(p))
                        for p in sorted(lost ^ set(got)))))
        self.head = head
        a.look_unsure()
        a.m.committed(head, ident, a.written())

    def two_commits(self, a, b):
        """The second overtakes the first, whose delta is at the server's
        door."""
        self.tell("%s: commit, overtaken" % a.name)
        before = self.log()
        self.s.api.reset()      # nothing is published, and its answer lost
        held = self.s.api.fault(proxy.HOLD, COMMIT)
        first = stack.spawn(self.s, "commit", a.path)
        self.t.wait_for(lambda: held.done or first.poll() is not None,
                        "a commit that is held")
        if held.done:
            self.commit(b)
            before = self.log()
        held.release()
        status, answer = stack.end(first)
        self.judge(a, (), before, status, answer)

    # ---- reloads ----

    def reload(self, a, *args):
        if "--keep" in args or "--if-clean" in args:
            a.make_sure()
        dirty = bool(a.m.delta())
        # Names of one file part: which of them its handles have is not said.
        for handle in list(a.handles):
            if a.m.links(handle.inode) > 1:
                a.handles.remove(handle)
                os.close(handle.fd)
        self.tell("%s: reload %s" % (a.name, " ".join(args)))
        status, answer = stack.end(
            stack.spawn(self.s, "reload", *args, a.path))
        if "--if-clean" in args and dirty:
            if status != 3:
                self.fail("--if-clean in %s, with %s: status %d" % (
                    a.name, a.m.delta(), status))
            return
        if status == 3 and "--if-clean" in args and a.written():
            return      # open to be written, and not written
        if status != 0:
            self.fail("reload in %s: status %d, %.500r" % (
                a.name, status, answer))
        if answer["commit"] != self.log()[0]:
            self.fail("reload in %s: %s is not the newest" % (
                a.name, answer["commit"]))
        if "--keep" in args:
            a.m.keep(self.head, answer["commit"])
        else:
            a.m.load(self.head, answer["commit"], a.written())
        # A file that is another one by now is only read by its old handles.
        shown = set(map(id, a.m.view.values()))
        for handle in list(a.handles):
            got = a.check_handle(handle)
            if handle.writes:
                continue
            a.handles.remove(handle)
            if id(handle.inode) in shown:
                a.handles.append(handle._replace(kept=got))
            else:
                os.close(handle.fd)

    def remount(self, a):
        self.tell("%s: umount --commit, mount" % a.name)
        a.drop_handles()
        before = self.log()
        a.daemon.umount(a.path, "--commit")
        ident = self.log()[0]
        if a.m.delta():
            self.head, _ = model.merge(self.head, a.m.seen, a.m.shown())
        elif ident != before[0]:
            self.fail("a commit of nothing in " + a.name)
        a.daemon.mount(self.volume, os.path.basename(a.path))
        a.m.load(self.head, ident)

    # ---- faults ----

    def kill_role(self, a):
        role = self.rng.choice(("fuse", "fuse", "manifest", "cache", "fetch"))
        found = a.daemon.pids(role)
        if not found:
            return
        self.tell("kill -9 of %s of %s" % (role, a.daemon.name))
        self.t.expect_deaths = self.t.expect_deaths or True
        for pid in found:
            os.kill(pid, 9)
            self.killed[role] += 1

    def kill_in_call(self, a):
        """Each fuse of that daemon dies when it has next written down that a
        name changed, before it answers: the kernel asks again."""
        self.tell("kill -9 of fuse of %s in a call" % a.daemon.name)
        self.t.expect_deaths = True
        armed = [subprocess.Popen(
            [os.path.join(self.t.repo, self.t.obj,
                          "regress/hostile/journal_kill"), str(pid), "name",
             "after"], stdout=subprocess.PIPE) for pid in a.daemon.pids("fuse")]
        try:
            for process in armed:
                process.stdout.readline()   # "armed", or it died meanwhile
            a.change_some(3)
        finally:
            for process in armed:
                process.kill()
                self.killed["fuse in a call"] += (
                    process.communicate()[0] == b"killed\n")

    def kill_daemon(self, a):
        self.tell("kill -9 of all of %s" % a.daemon.name)
        a.daemon.kill_all()
        self.killed["all"] += 1
        self.start(a.daemon)

    def stop_daemon(self, a):
        self.tell("SIGTERM to %s" % a.daemon.name)
        a.daemon.stop()
        self.start(a.daemon)

    def start(self, daemon):
        mine = [a for a in self.actors if a.daemon is daemon]
        for a in mine:
            a.drop_handles()
        daemon.start()
        for a in mine:
            self.t.wait_for(lambda a=a: os.path.exists(a.at(".sailvol")),
                            "mount %s comes back" % a.name)

    def restart_server(self):
        self.tell("the server starts again")
        self.s.server.stop()
        self.s.server.start()

    def lose_answers(self, count):
        kind = self.rng.choice((proxy.LOSE, proxy.LOSE, proxy.CLOSE,
                                proxy.CUT))
        where = self.rng.choice((self.s.api, self.s.api, self.s.store))
        self.tell("%s of %d answers of the %s" % (
            kind, count, "API" if where is self.s.api else "store"))
        where.fault(kind, times=count)

    # ---- all of it ----

    def step(self):
        a = self.rng.choice(self.actors)
        what = self.rng.random()
        if what < 0.60:
            a.change_some(self.rng.randrange(2, 9))
        elif what < 0.70:
            policy = ["--if-unchanged"] if self.rng.random() < 0.3 else []
            self.commit(a, *policy)
        elif what < 0.73:
            self.commit(a, during=self.rng.choice(
                WHILE if self.kills else (lost_answer,)))
        elif what < 0.76:
            self.two_commits(a, self.rng.choice(
                [b for b in self.actors if b is not a]))
        elif what < 0.85:
            self.reload(a)
        elif what < 0.88:
            self.reload(a, self.rng.choice(("--keep", "--keep", "--if-clean")))
        elif what < 0.895:
            self.remount(a)
        elif what < 0.92:
            self.lose_answers(self.rng.randrange(1, 3))
        elif not self.kills:
            pass
        elif what < 0.965:
            self.kill_role(a)
            a.change_some(self.rng.randrange(3))
        elif what < 0.985:
            self.kill_in_call(a)
        else:
            self.rng.choice((History.kill_daemon, History.kill_daemon,
                             History.stop_daemon,
                             lambda h, _: h.restart_server()))(self, a)
        if self.rng.random() < 0.5:
            a.compare()

    def run(self):
        try:
            self.all_steps()
        except Wrong:
            raise
        except Exception:
            self.fail(traceback.format_exc())

    def all_steps(self):
        for _ in range(self.steps):
            self.step()
        for proxied in (self.s.api, self.s.store):
            proxied.reset()
        for a in self.actors:
            self.commit(a)
        for a in self.actors:
            self.reload(a)
            a.compare()
            a.drop_handles()
        first = stack.look(self.actors[0].path)
        for a in self.actors[1:]:
            stack.same(self.t, first, stack.look(a.path), "seed %d: A and %s"
                       % (self.seed, a.name))
        for a in self.actors:
            a.daemon.umount(a.path)


# ---- what happens while a commit runs ----

def published(h, process, fault):
    """Until the server has published, and its answer is not given on; false:
    there was nothing to publish."""
    h.t.wait_for(lambda: fault.reached.is_set() or process.poll() is not None,
                 "a commit that is published")
    return fault.reached.is_set()


def lost_answer(h, _a, process):
    h.s.api.fault(proxy.LOSE, COMMIT)
    process.wait()


def role_killed(h, a, process):
    fault = h.s.api.fault(proxy.WITHHOLD, COMMIT)
    if published(h, process, fault):
        h.kill_role(a)
    fault.release()


def daemon_killed(h, a, process):
    fault = h.s.api.fault(proxy.WITHHOLD, COMMIT)
    if published(h, process, fault):
        a.daemon.kill_all()
        h.killed["all"] += 1
        fault.release()
        h.start(a.daemon)
    fault.release()


def server_killed(h, _a, process):
    fault = h.s.api.fault(proxy.WITHHOLD, COMMIT)
    if published(h, process, fault):
        stack.kill_all(h.t, h.s.server.process,
                       list(h.s.server.roles().values()))
        h.killed["server"] += 1
        h.s.server.start()
    fault.release()


WHILE = (lost_answer, role_killed, role_killed, daemon_killed, server_killed)
ENDING = (daemon_killed,)
