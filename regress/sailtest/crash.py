# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Programs that work in mounts while processes are killed, and write into a log
outside what they have begun, and what was acknowledged; and what must be there
then by that log.

A log is a file with O_APPEND, a line for each of

    ["b", operation]    begun: before its system call
    ["a", ms, since]    acknowledged: after it, how long it took, and from when;
                        of one that may lose a race: whether it has won, too
    ["e", errno]        it failed, and so the program has ended
    ["s", done]         looked at after a crash: what was begun was done, or not
"""

import contextlib
import copy
import errno
import fcntl
import itertools
import json
import mmap
import os
import random
import select
import struct
import subprocess
import time
import traceback

from sailtest import histories, model

SLOT = struct.Struct("<QQQd")       # calls, kind, changes not synced, since
STOP = 0                            # byte of the board: all are to park
WANTED = 1                          # from here on: a command, by mount
INSIDE = 8                          # from here on: who has a lock, of each
FIRST = 64                          # where its slots begin
IDLE_S = 0.002                      # of a program between two calls, at most
ROUND_OPS = 300                     # of a program at most, between two parkings
SLOW_MS = 20                        # a call that took so long is remembered
# Kinds of what is in flight: nothing; a call on the mount; a command; a read of
# what nobody has here; several calls, with a lock.
IDLE, LOCAL, COMMAND, COLD, LOCKED = range(5)


COMMANDS = {"commit": ["commit"], "reload": ["reload", "--keep"]}


class Board:
    """Memory that programs and killer share: who has what in flight."""

    def __init__(self, slots):
        self.map = mmap.mmap(-1, FIRST + slots * SLOT.size)
        self.slots = slots
        self.parked_r, self.parked_w = os.pipe()

    def get(self, i):
        return SLOT.unpack_from(self.map, FIRST + i * SLOT.size)

    def put(self, i, *values):
        SLOT.pack_into(self.map, FIRST + i * SLOT.size, *values)

    def stop(self, yes):
        self.map[STOP] = yes

    def want(self, mount, command):
        """The one who gives them there gives it next."""
        self.map[WANTED + mount.number] = list(COMMANDS).index(command) + 1

    def wanted(self, mount):
        """The command's words; None."""
        n = self.map[WANTED + mount.number]
        self.map[WANTED + mount.number] = 0
        return list(COMMANDS.values())[n - 1] if n else None

    def stopped(self):
        return self.map[STOP] != 0


def described(e):
    """With the path, when it is open(2) and not what came later."""
    return "%s %s %s" % (errno.errorcode.get(e.errno), e.strerror,
                         e.filename or "")


def bytes_of(tag, size):
    mark = b"%d " % tag
    return (mark * (size // len(mark) + 1))[:size]


# ---- operations: what they do, and what comes of it --------------------------

def write_at(path, flags, data, at):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        done = os.write(fd, data) if at is None else os.pwrite(fd, data, at)
    finally:
        os.close(fd)
    if done != len(data):
        raise OSError(errno.EIO, "a short write")


def check_read(path, want):
    with open(path, "rb") as f:
        if f.read() != want:
            raise OSError(errno.EILSEQ, "other content")


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Real:
    """Operations in a mount."""

    def __init__(self, program, top, model_):
        self.program, self.top, self.m = program, top, model_
        self.held = None

    def at(self, path):
        return os.path.join(self.top, path)

    def create(self, p, mode):
        os.close(os.open(self.at(p), os.O_CREAT | os.O_EXCL | os.O_WRONLY,
                         mode))

    def pwrite(self, p, tag, size, at):
        write_at(self.at(p), 0, bytes_of(tag, size), at)

    def append(self, p, tag, size):
        write_at(self.at(p), os.O_APPEND, bytes_of(tag, size), None)

    def hold(self, p):
        """Appends from now on go through this descriptor."""
        self.held = os.open(self.at(p), os.O_CREAT | os.O_EXCL | os.O_WRONLY |
                            os.O_APPEND, 0o644)

    def held_append(self, _, tag, size):
        if os.write(self.held, bytes_of(tag, size)) != size:
            raise OSError(errno.EIO, "a short write")

    def held_sync(self, _):
        os.fsync(self.held)

    def truncate(self, p, size):
        os.truncate(self.at(p), size)

    def read(self, p):
        check_read(self.at(p), self.m.view[p].data)

    def fsync(self, p):
        sync(self.at(p))

    def mkdir(self, p, mode):
        os.mkdir(self.at(p), mode)

    def symlink(self, p, target):
        os.symlink(target, self.at(p))

    def link(self, p, q):
        os.link(self.at(p), self.at(q))

    def unlink(self, p):
        os.unlink(self.at(p))

    def rmdir(self, p):
        os.rmdir(self.at(p))

    def rename(self, p, q, flags):
        histories.rename2(self.at(p), self.at(q), flags)

    def chmod(self, p, mode):
        os.chmod(self.at(p), mode)

    def utime(self, p, ns):
        os.utime(self.at(p), ns=(ns, ns))

    def setxattr(self, p, name, value):
        os.setxattr(self.at(p), name, value.encode())

    def command(self, *args):
        done = subprocess.run([self.program] + list(args) + [self.top],
                              check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise OSError(errno.EIO, "%s: %s" % (args, done.stderr))


class Ideal:
    """The same in the model."""

    def __init__(self, view=None):
        self.m = model.Mount({}, None)
        self.m.view = view or {}

    def copy(self):
        return Ideal(copy.deepcopy(self.m.view))

    def do(self, name, *args):
        getattr(self, name)(*args)

    def create(self, p, mode):
        self.m.make(p, model.Inode("f", b"", mode, mtime=None))

    def pwrite(self, p, tag, size, at):
        inode = self.m.view[p]
        inode.pwrite(bytes_of(tag, size), at)
        inode.mtime = None

    def append(self, p, tag, size):
        self.pwrite(p, tag, size, len(self.m.view[p].data))

    def hold(self, p):
        self.create(p, 0o644)

    held_append = append

    def truncate(self, p, size):
        self.m.view[p].truncate(size)
        self.m.view[p].mtime = None

    def nothing(self, *_):
        pass

    read = fsync = held_sync = command = nothing

    def mkdir(self, p, mode):
        self.m.make(p, model.Inode("d", None, mode, mtime=None))

    def symlink(self, p, target):
        self.m.make(p, model.Inode("l", target, 0o777))

    def link(self, p, q):
        self.m.link(p, q)

    def unlink(self, p):
        self.m.unlink(p)

    def rmdir(self, p):
        self.m.rmdir(p)

    def rename(self, p, q, flags):
        self.m.rename(p, q, flags)

    def chmod(self, p, mode):
        self.m.view[p].mode = mode

    def utime(self, p, ns):
        self.m.view[p].mtime = ns

    def setxattr(self, p, name, value):
        self.m.setxattr(p, name, value.encode())

    # ---- what is found, and what it should be ----

    def outcomes(self, op):
        """What may be there when that was in flight: [(done, Ideal)].  Of a
        write any part of its beginning."""
        out = [(False, self)]
        if op is not None:
            after = self.copy()
            after.do(*op)
            out.append((True, after))
        return out

    def wrong(self, found, links):
        """How what is found differs: [text]"""
        out = []
        names = {}
        for p, i in self.m.view.items():
            names.setdefault(id(i), []).append(p)
        for p in sorted(set(self.m.view) | set(found)):
            inode = self.m.view.get(p)
            want = inode and inode.entry()._replace(ident=None)
            got = found[p][0] if p in found else None
            if want and got and want.mtime is None:
                got = got._replace(mtime=None)
            if want and got and inode.kind == "d":
                want, got = want._replace(mtime=0), got._replace(mtime=0)
            if want != got:
                out.append("%s: %s" % (p, histories.differs(want, got)))
            elif links and inode.kind != "d" and (
                    found[p][1] != len(names[id(inode)])):
                out.append("%s: expected %d links, actual %d" % (
                    p, len(names[id(inode)]), found[p][1]))
        return out

    def partly(self, op, found):
        """It with as much of a write as is found."""
        if op is None or op[0] not in ("pwrite", "append", "held_append"):
            return None
        p = op[1]
        inode = self.m.view[p]
        data = bytes_of(op[2], op[3])
        at = op[4] if op[0] == "pwrite" else len(inode.data)
        have = found[p][0].data[at:] if p in found else b""
        n = next((i for i, (a, b) in enumerate(zip(data, have)) if a != b),
                 min(len(data), len(have)))
        some = self.copy()
        if n > 0:
            some.m.view[p].pwrite(data[:n], at)
        some.m.view[p].mtime = None
        return some


class Unsynced:
    """How many changes of each file were acknowledged, and not synced since: what
    is only read, or synced, or failed, is none."""

    def __init__(self):
        self.of = {}

    def total(self):
        return sum(self.of.values())

    def add(self, p, n=1):
        self.of[p] = self.of.get(p, 0) + n

    def take(self, p):
        """That of it and of all below, under its names relative to it."""
        taken = {q[len(p):]: self.of.pop(q) for q in list(self.of)
                 if q == p or q.startswith(p + "/")}
        return taken

    def put(self, p, taken):
        for q, n in taken.items():
            self.add(p + q, n)

    def done(self, op):
        """That was acknowledged."""
        name, *args = op
        if name in ("fsync", "held_sync"):
            self.of.pop(args[0], None)
        elif name == "command":
            if args[0] == "commit":
                self.of.clear()
        elif name == "rename":
            p, q, flags = args
            mine, its = self.take(p), self.take(q)
            self.put(q, mine)
            if flags == model.EXCHANGE:
                self.put(p, its)
                self.add(p)
            self.add(q)
        elif name in ("unlink", "rmdir"):
            self.take(args[0])
            self.add(os.path.dirname(args[0]))
        elif name == "link":
            self.add(args[1])
        elif name != "read":
            self.add(args[0])


# ---- programs -----------------------------------------------------------------

class Program:
    """A process that works while the board does not say stop.  Its log stays
    the same one when it is started again after a crash."""

    def __init__(self, site, mount, name):
        self.site, self.mount, self.name = site, mount, name
        self.index = len(site.programs)
        site.programs.append(self)
        self.log_path = site.t.path("%s-%s.acks" % (mount.where, name))
        self.log = os.open(self.log_path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.seen = 0               # bytes of the log that were replayed
        self.begun, self.error = None, None
        self.go = self.pid = None
        self.lives, self.acknowledged = 0, 0
        self.longest, self.longest_command = (0, None), (0, None)
        self.slow = []                  # (since, until, operation)

    def __str__(self):
        return "%s in %s" % (self.name, self.mount.path)

    # ---- of the killer ----

    def start(self):
        r, self.go = os.pipe()
        self.lives += 1
        self.site.board.put(self.index, 0, IDLE, 0, 0)
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.go)
                self.rng = random.Random("%d %s %d" % (
                    self.site.seed, self, self.lives))
                self.real = Real(self.site.s.program, self.mount.path, None)
                self.prepare()
                self.run(r)
                status = 0
            except Exception:
                self.say("e", traceback.format_exc())
                os.write(self.site.board.parked_w, bytes([0x80 | self.index]))
            finally:
                os._exit(status)
        os.close(r)
        self.error = None

    def release(self):
        os.write(self.go, b"g")

    def end(self):
        # Others have the pipe too, so that its end would not be seen.
        with contextlib.suppress(BrokenPipeError):
            os.write(self.go, b"q")
        os.close(self.go)
        os.waitpid(self.pid, 0)
        self.pid = None

    def lines(self):
        """Those of the log since the last time."""
        size = os.fstat(self.log).st_size
        data = os.pread(self.log, size - self.seen, self.seen)
        self.seen = size
        for line in data.splitlines():
            yield json.loads(line)

    def replay(self):
        for kind, *what in self.lines():
            if kind == "b":
                self.begun, self.error = what[0], None
            elif kind == "a":
                self.acknowledged += 1
                self.took(self.begun, *what)
                self.applied(self.begun)
                self.begun = None
            elif kind == "e":
                self.error = what[0]

    def took(self, op, ms, since):
        if op[0] == "command":
            self.longest_command = max(self.longest_command, (ms, str(op)))
            return
        self.longest = max(self.longest, (ms, str(op)))
        if ms >= SLOW_MS:
            self.slow.append((since, since + ms / 1000, str(op)))

    # ---- of the process itself ----

    def say(self, *what):
        os.write(self.log, json.dumps(what).encode() + b"\n")

    def run(self, go):
        board = self.site.board
        while os.read(go, 1) == b"g":
            if not self.turn():
                board.put(self.index, 0, IDLE, 0, 0)
                os.write(board.parked_w, bytes([0x80 | self.index]))
                return
            os.write(board.parked_w, bytes([self.index]))

    def changed(self, op):
        """That was acknowledged."""

    def unsynced(self):
        """How many changes of its own are not synced."""
        return 0

    def turn(self):
        """From one parking to the next; False: it has failed."""
        for _ in range(self.site.round_ops):
            if not self.step():
                return False
            if self.site.board.stopped():
                break
            # There is one processor for all of them, or two.
            time.sleep(self.rng.random() * IDLE_S)
        return True

    def call(self, kind, op, f, *args):
        """What it returns or its OSError; how many ms it took, from when."""
        board = self.site.board
        n = board.get(self.index)[0]
        self.say("b", op)
        before = time.monotonic()
        board.put(self.index, n + 1, kind, self.unsynced(), before)
        try:
            result = f(*args)
            self.changed(op)
        except OSError as e:
            result = e
        after = time.monotonic()
        board.put(self.index, n + 1, IDLE, self.unsynced(), after)
        return result, (round((after - before) * 1000, 1), before)


NAMES = ["a", "b", "c", "d", "e"]
SIZES = (1, 30, 4096, 5000, 20000)
MODES = (0o600, 0o640, 0o644, 0o755)


class Writer(Program):
    """Random operations below a folder of its own, next to the model."""

    def __init__(self, site, mount, name, commands=False):
        super().__init__(site, mount, name)
        self.commands = commands
        self.ideal = Ideal()
        self.ideal.do("mkdir", name, 0o755)

    def begin(self):
        os.mkdir(os.path.join(self.mount.path, self.name), 0o755)

    def applied(self, op):
        self.ideal.do(*op)

    def prepare(self):
        self.m = self.real.m = self.ideal.m
        self.serial = itertools.count(self.lives * 10 ** 6 +
                                      self.index * 10 ** 8)
        self.last = None
        self.changes = Unsynced()
        self.holding = "%s/held%d" % (self.name, self.lives)

    def changed(self, op):
        self.changes.done(op)

    def unsynced(self):
        return self.changes.total()

    def path(self):
        d = self.name
        if self.rng.random() < 0.5:
            dirs = [p for p, i in self.m.view.items()
                    if i.kind == "d" and p.count("/") == 1]
            d = self.rng.choice(sorted(dirs)) if dirs else d
        return d + "/" + self.rng.choice(NAMES)

    def some(self, kinds):
        have = sorted(p for p, i in self.m.view.items()
                      if i.kind in kinds and "/" in p and "held" not in p)
        return self.rng.choice(have) if have else None

    def choose(self):
        """An operation that must succeed; the model has done it."""
        if self.real.held is None:
            self.ideal.do("hold", self.holding)
            return ["hold", self.holding]
        words = self.commands and (self.site.board.wanted(self.mount) or (
            self.rng.random() < 0.004 and
            COMMANDS["commit" if self.rng.random() < 0.6 else "reload"]))
        if words:
            return ["command"] + words
        while True:
            op = self.rng.choice(CHOICES)(self)
            if op is not None:
                with contextlib.suppress(OSError):
                    self.ideal.do(*op)
                    return op

    def step(self):
        op = self.choose()
        kind = COMMAND if op[0] == "command" else LOCAL
        result, took = self.call(kind, op, getattr(self.real, op[0]), *op[1:])
        if isinstance(result, OSError):
            self.say("e", described(result))
            return False
        self.say("a", *took)
        if op[0] in ("create", "pwrite", "append", "rename"):
            self.last = op[2] if op[0] == "rename" else op[1]
        return True

    # ---- what to do ----

    def c_create(self):
        return ["create", self.path(), self.rng.choice(MODES)]

    def c_mkdir(self):
        p = self.name + "/" + self.rng.choice(NAMES)
        return ["mkdir", p, self.rng.choice((0o700, 0o755))]

    def c_symlink(self):
        return ["symlink", self.path(), "to%d" % next(self.serial)]

    def c_pwrite(self):
        p = self.some("f")
        return p and ["pwrite", p, next(self.serial), self.rng.choice(SIZES),
                      self.rng.choice((0, 10, 4096, 30000))]

    def c_append(self):
        p = self.some("f")
        return (p and len(self.m.view[p].data) < 200000 and
                ["append", p, next(self.serial), self.rng.choice(SIZES)] or
                None)

    def c_held(self):
        if self.rng.random() < 0.1:
            return ["held_sync", self.holding]
        return ["held_append", self.holding, next(self.serial), 24]

    def c_truncate(self):
        p = self.some("f")
        return p and ["truncate", p, self.rng.choice((0, 5, 4096, 9000))]

    def c_fsync(self):
        p = self.last if self.last in self.m.view else self.some("fd")
        return p and self.m.view[p].kind in "fd" and ["fsync", p] or None

    def c_read(self):
        p = self.some("f")
        return p and ["read", p]

    def c_link(self):
        p = self.some("f")
        return p and not self.mount.reloads and ["link", p, self.path()] or None

    def c_unlink(self):
        p = self.some("fl")
        return p and ["unlink", p]

    def c_rmdir(self):
        p = self.some("d")
        return p and ["rmdir", p]

    def c_rename(self):
        p, q = self.some("fld"), self.path()
        flags = self.rng.choice((0, 0, 0, model.NOREPLACE, model.EXCHANGE))
        if flags == model.EXCHANGE:
            q = self.some("fld")
        # Not deeper than it is.
        if p is None or q is None or any(
                x in self.m.view and self.m.view[x].kind == "d" and
                y.count("/") > 1 for x, y in ((p, q), (q, p))):
            return None
        return ["rename", p, q, flags]

    def c_setattr(self):
        p = self.some("fd")
        if p is None:
            return None
        what = self.rng.random()
        if what < 0.4:
            return ["chmod", p, self.rng.choice((0o700, 0o711, 0o1755))]
        if what < 0.7 and self.m.view[p].kind == "f":
            return ["utime", p, next(self.serial) * 1000003]
        return ["setxattr", p, "user.x", str(next(self.serial))]

    # ---- after a crash ----

    def check(self):
        """What is there is what was acknowledged, and all or nothing of what
        was in flight; the text of what is wrong, or None."""
        self.replay()
        top = os.path.join(self.mount.path, self.name)
        found = {os.path.join(self.name, p): x
                 for p, x in histories.look(top).items()}
        tries = self.ideal.outcomes(self.begun)
        some = self.ideal.partly(self.begun, found)
        if some is not None:
            tries.append((True, some))
        first = []
        for done, ideal in tries:
            below = Ideal({p: i for p, i in ideal.m.view.items() if "/" in p})
            wrong = below.wrong(found, not self.mount.reloads)
            if not wrong:
                if self.begun is not None:
                    self.say("s", done)
                self.ideal, self.begun = ideal, None
                return None
            if self.begun is None or not done:
                first = wrong
        return "%s: in flight %s\n%s" % (self, self.begun,
                                         "\n".join(first[:20]))


class Reader(Program):
    """Reads a file that nobody has read here, each time that the killer wants
    one to be in flight."""

    def __init__(self, site, mount, name):
        super().__init__(site, mount, name)
        self.wanted_r, self.wanted_w = os.pipe()
        self.next = 0

    def want(self):
        os.write(self.wanted_w, b"r")

    def left(self):
        """Whether there are such files."""
        self.replay()
        return self.next < self.site.cold_files

    def begin(self):
        pass

    def start(self):
        self.replay()
        self.begun = None
        super().start()

    def prepare(self):
        pass

    def turn(self):
        while not self.site.board.stopped():
            if select.select([self.wanted_r], [], [], 0.01)[0]:
                os.read(self.wanted_r, 1)
                if not self.step():
                    return False
        return True

    def step(self):
        name = cold_name(self.next)
        result, took = self.call(COLD, ["cold", self.next], check_read,
                                 self.real.at(name), cold_content(self.next))
        self.next += 1
        if isinstance(result, OSError):
            self.say("e", described(result))
            return False
        self.say("a", *took)
        return True

    def replay(self):
        super().replay()
        if self.begun is not None:
            self.next = self.begun[1] + 1

    def applied(self, op):
        self.next = op[1] + 1


def cold_name(i):
    """In a directory of its own: nothing comes with another."""
    return "cold/%d/f" % i


def cold_content(i):
    return bytes_of(i, 20000)


def make_cold(top, count):
    """The files that Readers read, below a folder that is to be published."""
    for i in range(count):
        path = os.path.join(top, cold_name(i))
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as f:
            f.write(cold_content(i))


CHOICES = (
    [Writer.c_create] * 6 + [Writer.c_pwrite] * 4 + [Writer.c_append] * 4 +
    [Writer.c_held] * 4 + [Writer.c_rename] * 6 + [Writer.c_unlink] * 4 +
    [Writer.c_fsync] * 2 + [Writer.c_setattr] * 4 + [Writer.c_truncate] * 2 +
    [Writer.c_mkdir] * 3 + [Writer.c_link] * 2 + [Writer.c_read] * 3 +
    [Writer.c_symlink, Writer.c_rmdir])

RACES = ("create", "mkdir", "symlink", "link")
FOLDER = 200


class Racer(Program):
    """One of two that make the same names, of which one must win each."""

    def __init__(self, site, mount, name):
        super().__init__(site, mount, name)
        self.won, self.lost, self.doubt = set(), set(), set()
        self.first = 0

    def begin(self):
        top = os.path.join(self.mount.path, "race")
        os.makedirs(top, exist_ok=True)
        os.close(os.open(top + "/src", os.O_CREAT | os.O_WRONLY))

    def prepare(self):
        self.next = self.first

    def attempt(self, kind, p):
        path = self.real.at(p)
        if kind == "create":
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        elif kind == "mkdir":
            os.mkdir(path)
        elif kind == "symlink":
            os.symlink("x", path)
        else:
            os.link(self.real.at("race/src"), path)

    def step(self):
        i = self.next
        self.next += 1
        kind = RACES[i % len(RACES)]
        if i % FOLDER == 0:
            kind = "mkdir"
        path = "race/%d" % (i // FOLDER)
        if i % FOLDER != 0:
            path += "/%d" % i
        result, took = self.call(LOCAL, [kind, i], self.attempt, kind, path)
        if isinstance(result, OSError) and result.errno != errno.EEXIST:
            self.say("e", described(result))
            return False
        self.say("a", *took, result is None)
        return True

    def took(self, op, ms, since, won):
        super().took(op, ms, since)
        (self.won if won else self.lost).add(op[1])

    def applied(self, op):
        pass


def check_race(pair):
    """Each name has one winner, and is there; the text of what is wrong."""
    one, two = pair
    for r in pair:
        r.replay()
        if r.begun is not None:
            r.doubt.add(r.begun[1])
            r.begun = None
    top = os.path.join(one.mount.path, "race")
    there = set()
    for k in os.listdir(top):
        if k != "src":
            there.add(int(k) * FOLDER)
            there |= {int(n) for n in os.listdir(os.path.join(top, k))}
    twice = one.won & two.won
    none = (one.lost | two.lost) - (one.won | two.won) - one.doubt - two.doubt
    missing = (one.won | two.won) - there
    extra = there - one.won - two.won - one.doubt - two.doubt
    # The next ones have a folder of their own.
    last = max(one.won | two.won | one.lost | two.lost | one.doubt |
               two.doubt, default=-1)
    for r in pair:
        r.first = (last // FOLDER + 1) * FOLDER
    if twice or none or missing or extra:
        return ("races in %s: two winners %s, no winner %s, missing %s, made "
                "by nobody %s" % (top, sorted(twice), sorted(none),
                                  sorted(missing), sorted(extra)))
    return None


LOCKS = {"flock": (fcntl.flock, fcntl.LOCK_EX, fcntl.LOCK_UN),
         "fcntl": (fcntl.lockf, fcntl.LOCK_EX, fcntl.LOCK_UN)}


class Locker(Program):
    """One of some that exclude each other by locks of files of the mount, and
    count in it, one up each time: never are two inside, and no count is lost.
    The locks are held for a while, and so when processes die."""

    def __init__(self, site, mount, name):
        super().__init__(site, mount, name)
        self.counted = dict.fromkeys(LOCKS, 0)      # of its own
        self.inside = {kind: site.lock_byte(mount, kind) for kind in LOCKS}

    def begin(self):
        top = os.path.join(self.mount.path, "lock")
        os.makedirs(top, exist_ok=True)
        for kind in LOCKS:
            os.close(os.open("%s/%s" % (top, kind), os.O_CREAT | os.O_RDWR))
            with open("%s/%s.count" % (top, kind), "wb") as f:
                f.write(b"%08d" % 0)

    def start(self):
        for at in self.inside.values():
            if self.site.board.map[at] == self.index + 1:
                self.site.board.map[at] = 0     # its last life ended there
        super().start()

    def prepare(self):
        self.files = {kind: os.open(self.real.at("lock/" + kind), os.O_RDWR)
                      for kind in LOCKS}
        self.counts = {kind: os.open(self.real.at("lock/%s.count" % kind),
                                     os.O_RDWR) for kind in LOCKS}

    def section(self, kind):
        """What it counted: with the lock until it is out again."""
        take, exclusive, leave = LOCKS[kind]
        board, at = self.site.board.map, self.inside[kind]
        take(self.files[kind], exclusive)
        if board[at] != 0:
            raise OSError(errno.EDEADLK, "%d is inside, too" % board[at])
        board[at] = self.index + 1
        number = int(os.pread(self.counts[kind], 8, 0)) + 1
        time.sleep(self.rng.random() * IDLE_S)
        os.pwrite(self.counts[kind], b"%08d" % number, 0)
        with open(self.real.at("lock/%s.count" % kind), "rb") as f:
            found = int(f.read())
        if board[at] != self.index + 1 or found != number:
            raise OSError(errno.EDEADLK, "%d came in, %d for %d" % (
                board[at], found, number))
        board[at] = 0
        take(self.files[kind], leave)

    def step(self):
        kind = self.rng.choice(sorted(LOCKS))
        result, took = self.call(LOCKED, [kind], self.section, kind)
        if isinstance(result, OSError):
            self.say("e", described(result))
            return False
        self.say("a", *took)
        return True

    def applied(self, op):
        self.counted[op[0]] += 1


def check_locks(lockers):
    """The count is how often they were inside; the text of what is wrong."""
    doubt = dict.fromkeys(LOCKS, 0)
    for p in lockers:
        p.replay()
        if p.begun is not None:
            doubt[p.begun[0]] += 1
            p.begun = None
    top = os.path.join(lockers[0].mount.path, "lock")
    for kind in LOCKS:
        with open("%s/%s.count" % (top, kind), "rb") as f:
            found = int(f.read())
        least = sum(p.counted[kind] for p in lockers)
        if not least <= found <= least + doubt[kind]:
            return "%s in %s: counted to %d, expected %d, and %d in doubt" % (
                kind, top, found, least, doubt[kind])
        # What was in flight is known now.
        lockers[0].counted[kind] += found - least
    return None
