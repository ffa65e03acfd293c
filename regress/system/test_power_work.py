# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Loss of power in the middle of work, of the daemon's machine, of the server's
and of both: what fsync(2), msync(2) or a commit acknowledged is there, whole; what
is newer is there as it was made up to some moment, or not; the commit that was in
flight is done or can be done again, once; and no store is broken."""

import contextlib
import errno
import json
import mmap
import os
import random
import signal
import sqlite3
import threading
import time
import traceback

from sailtest import deadline, error_of, power, stack

ROUNDS = ("daemon", "both", "server") * int(os.environ.get("SAIL_LOSSES", "2"))
WARM = 2            # of each program's calls that are synced, before the cut
LATEST_S, IN_COMMIT_S = 0.3, 0.05   # after that, and in a commit
FILES = 6
LARGEST = 60000
ROW = 700
FIELDS = ("mode", "uid", "gid", "mtime")
PENDING_MIB = 4     # of each commit
POOL = 200          # published files of each round


def body(tag, version):
    """That names whose it is, and which."""
    mark = b"%s %d\n" % (tag.encode(), version)
    return mark * (random.Random(version).randrange(LARGEST) // len(mark) + 1)


def synced(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Program:
    """A process with a folder of its own, and a log outside: "b", n: it begins
    its n-th change; "s", n: the first n changes are synced; "e": it failed."""

    def __init__(self, t, top, name, seed):
        self.top = os.path.join(top, name)
        self.name = name
        self.seed = "%d %s" % (seed, name)
        self.rng = random.Random(self.seed)
        self.log = t.path("%s-%s.acks" % (os.path.basename(top), name))
        os.mkdir(self.top)
        synced(top)
        self.pid = None

    def start(self):
        self.pid = os.fork()
        if self.pid != 0:
            return
        try:
            self.out = os.open(self.log, os.O_WRONLY | os.O_CREAT |
                               os.O_APPEND, 0o644)
            self.run()
        except BaseException:
            self.say("e", traceback.format_exc())
        finally:
            os._exit(0)

    def say(self, *what):
        os.write(self.out, json.dumps(what).encode() + b"\n")

    def lines(self):
        try:
            return [json.loads(line) for line in
                    stack.read(self.log).splitlines()]
        except FileNotFoundError:
            return []

    def begun(self):
        return max([line[1] for line in self.lines() if line[0] == "b"],
                   default=0)

    def acked(self):
        return max([line[1] for line in self.lines() if line[0] == "s"],
                   default=0)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def failed(self):
        return [line[1] for line in self.lines() if line[0] == "e"]

    def path(self, name):
        return os.path.join(self.top, name)


class Replacer(Program):
    """Files that are replaced by others, which were synced before."""

    def run(self):
        n = 0
        while True:
            n += 1
            name = self.path("f%d" % (n % FILES))
            self.say("b", n)
            with open(name + ".new", "wb") as f:
                f.write(body(self.name, n))
                f.flush()
                os.fsync(f.fileno())
            os.rename(name + ".new", name)
            if self.rng.random() < 0.5:
                synced(self.top)
                self.say("s", n)

    def check(self, t):
        least, most, lost = self.acked(), self.begun(), 0
        for i in range(FILES):
            may = list(range(i or FILES, most + 1, FILES))
            must = max([v for v in may if v <= least], default=0)
            try:
                got = stack.read_bytes(self.path("f%d" % i))
            except FileNotFoundError:
                t.equal(0, must, "%s: f%d is there" % (self.top, i))
                lost += may != []
                continue
            found = [v for v in may if body(self.name, v) == got]
            t.true(found and found[0] >= must,
                   "%s: f%d: expected a version from %d to %s, actual %.60r "
                   "of %d bytes" % (self.top, i, must, may[-1:], got,
                                    len(got)))
            lost += found[0] != may[-1]
        return lost


class Appender(Program):
    """A file that grows, through one descriptor."""

    @staticmethod
    def records(n):
        return b"".join(b"%07d\n" % i * 40 for i in range(1, n + 1))

    def run(self):
        fd = os.open(self.path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        n = 0
        while True:
            n += 1
            self.say("b", n)
            os.write(fd, b"%07d\n" % n * 40)
            if self.rng.random() < 0.2:
                os.fsync(fd)
                self.say("s", n)

    def check(self, t):
        want = self.records(self.begun())
        least = len(self.records(self.acked()))
        try:
            got = stack.read_bytes(self.path("log"))
        except FileNotFoundError:
            got = b""
        t.true(least <= len(got) <= len(want) and want[:least] == got[:least],
               "%s: what was synced, %d bytes, of %d that are there" % (
                   self.top, least, len(got)))
        t.true(all(a in (b, 0) for a, b in zip(got, want)),
               "%s: what nobody wrote" % self.top)
        return got != want


class Mapper(Program):
    """A file that is written through a mapping."""

    SIZE = 1 << 16

    def run(self):
        fd = os.open(self.path("map"), os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, self.SIZE)
        os.fsync(fd)
        self.say("s", 0)
        m = mmap.mmap(fd, self.SIZE)
        n = 0
        while True:
            n += 1
            at = n * 4096 % self.SIZE
            self.say("b", n)
            m[at:at + 8] = b"%08d" % n
            if self.rng.random() < 0.3:
                # Both write back what the mapping has.
                m.flush() if n % 2 else os.fsync(fd)
                self.say("s", n)

    def check(self, t):
        least, most, lost = self.acked(), self.begun(), 0
        if not self.lines() or self.lines()[0][0] != "s":
            return 0
        got = stack.read_bytes(self.path("map"))
        t.equal(self.SIZE, len(got), self.top + ": size")
        slots = self.SIZE // 4096
        for i in range(slots):
            value = int(got[i * 4096:i * 4096 + 8].strip(b"\0") or 0)
            may = [v for v in range(i or slots, most + 1, slots)]
            must = max([v for v in may if v <= least], default=0)
            t.true(value >= must and value in [0] + may,
                   "%s: page %d: expected at least %d, actual %d" % (
                       self.top, i, must, value))
            lost += value != (may or [0])[-1]
        return lost


class Namer(Program):
    """Names, of which each change comes after all before."""

    def changes(self):
        """The same ones in the process and in check()."""
        rng = random.Random(self.seed)
        have, n = [], 0
        while True:
            n += 1
            what = rng.choice(("make", "make", "link", "move", "folder",
                               "replace", "remove")) if have else "make"
            name = rng.choice(have) if have else None
            if what in ("remove", "move", "replace"):
                have.remove(name)
            # Folders replace folders alone.
            new = "%s%d" % ("d" if what == "folder" else name[0] if what in (
                "move", "replace") else "f", n)
            if what == "replace":
                new = rng.choice([x for x in have if x[0] == name[0]] or [new])
            if what != "remove" and new not in have:
                have.append(new)
            yield what, name, new

    def run(self):
        for n, (what, name, new) in enumerate(self.changes(), 1):
            new = self.path(new)
            self.say("b", n)
            if what == "make":
                os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            elif what == "link":
                os.symlink(name, new)
            elif what in ("move", "replace"):
                os.rename(self.path(name), new)
            elif what == "folder":
                os.mkdir(new)
            else:
                self.remove(self.path(name))
            if self.rng.random() < 0.1:
                synced(self.top)
                self.say("s", n)

    @staticmethod
    def remove(path):
        try:
            os.unlink(path)
        except IsADirectoryError:
            os.rmdir(path)

    def check(self, t):
        """It is there as it was after some change."""
        least, most = self.acked(), self.begun()
        got, state = set(os.listdir(self.top)), set()
        last = 0 if not got and least == 0 else None
        for n, (what, name, new) in enumerate(self.changes(), 1):
            if n > most:
                break
            if what in ("move", "replace", "remove"):
                state.discard(name)
            if what != "remove":
                state.add(new)
            if n >= least and state == got:
                last = n
        t.true(last is not None, "%s: is as after no change from %d to %d: %s"
               % (self.top, least, most, sorted(got)))
        return most - last


class Database(Program):
    """SQLite, which relies on all of it."""

    def connect(self):
        db = sqlite3.connect(self.path("db"), isolation_level=None)
        db.execute("PRAGMA synchronous = EXTRA")
        return db

    def run(self):
        db = self.connect()
        db.execute("CREATE TABLE x (n INTEGER PRIMARY KEY, data TEXT)")
        self.say("s", 0)
        n = 0
        while True:
            n += 1
            self.say("b", n)
            db.execute("BEGIN")
            db.execute("INSERT INTO x VALUES (?, ?)", (n, "%07d" % n * ROW))
            db.execute("DELETE FROM x WHERE n = ?", (n - 20,))
            db.execute("COMMIT")
            self.say("s", n)

    def check(self, t):
        if not self.lines() or self.lines()[0][0] != "s":
            return 0
        db = self.connect()
        t.equal([("ok",)], db.execute("PRAGMA integrity_check").fetchall(),
                self.top + ": integrity")
        have = db.execute("SELECT n, data FROM x ORDER BY n").fetchall()
        db.close()
        last = have[-1][0] if have else 0
        t.true(self.acked() <= last <= self.begun(),
               "%s: expected %d to %d, actual %d" % (
                   self.top, self.acked(), self.begun(), last))
        t.equal([(n, "%07d" % n * ROW)
                 for n in range(max(1, last - 19), last + 1)], have,
                self.top + ": rows")
        return self.begun() - last


class Changer(Program):
    """Files that were published before: each gets a change, or none, and is not
    synced; other files are."""

    def pool(self, n):
        mount, folder = os.path.split(os.path.dirname(self.top))
        return "%s/pool/%s-%d" % (mount, folder, n)

    def changed(self, n):
        old = body("pool", n)
        return (old, old + b"x", b"x" + old[1:])[n % 3]

    def run(self):
        for n in range(1, POOL + 1):
            self.say("b", n)
            fd = os.open(self.pool(n), (os.O_RDWR, os.O_WRONLY | os.O_APPEND,
                                        os.O_RDWR)[n % 3])
            if n % 3 > 0:
                os.write(fd, b"x")
            os.close(fd)
            if self.rng.random() < 0.2 or n <= WARM:
                synced(self.top)
                self.say("s", n)

    def check(self, t):
        lost = 0
        for n in range(1, POOL + 1):
            got = stack.read_bytes(self.pool(n))
            old = body("pool", n)
            may = [old, self.changed(n)]
            # As of any file that is appended to.
            may += [old + b"\0"] if n % 3 == 1 else []
            t.true(got in may, "%s: %d bytes, %d of them zeros" % (
                self.pool(n), len(got), got.count(0)))
            lost += n <= self.begun() and got != may[1]
        return lost


PROGRAMS = (Replacer, Appender, Mapper, Namer, Database, Changer)


class Committer(threading.Thread):
    """Commits of the mount, one after another, each with files of its own that
    nobody syncs."""

    def __init__(self, s, a, folder, must):
        super().__init__(daemon=True)
        self.s, self.a, self.top = s, a, folder
        self.go, self.in_flight = True, False
        self.must = must    # the last one, too
        self.begun, self.done, self.errors = 0, [], []
        self.files = {}     # of those that are published

    def run(self):
        while self.go:
            try:
                made = self.make(self.begun)
            except OSError as e:
                # The power may go meanwhile.
                if self.go or self.must:
                    self.errors.append(str(e))
                return
            self.begun += 1
            self.in_flight = True
            r = self.s.ctl("commit", self.a, ok=None)
            self.in_flight = False
            if r.returncode == 0:
                self.done.append(r.stdout.strip())
                self.files.update(made)
            elif self.go or self.must:
                self.errors.append(r.stderr)

    def make(self, n):
        path = os.path.join(self.top, "large%d" % (n % 2))
        stack.fill(path, PENDING_MIB)
        small = os.path.join(self.top, "small%d" % n)
        stack.write(small, "small %d\n" % n * 50)
        # A large one is another when the next commit but one begins.
        return {small: "small %d\n" % n * 50}


class Site:
    def __init__(self, t):
        power.require(t)
        t.expect_deaths = True
        self.t, self.seed = t, t.seed()
        self.rng = random.Random(self.seed)
        self.s = s = stack.Stack(t, daemons=0)
        s.server.stop()
        self.server_disk = power.Disk(t, s.server.dir, 768)
        s.server.start()
        self.d = d = s.add_daemon(start=False)
        self.disk = power.Disk(t, d.dir, 768)
        d.start()
        self.a = s.mount("v", "a", create=True)
        os.mkdir(self.a + "/pool")
        for n in range(len(ROUNDS)):
            for i in range(1, POOL + 1):
                with open("%s/pool/%d-%d" % (self.a, n, i), "wb") as f:
                    f.write(body("pool", i))
        # In that commit alone.
        self.begun, self.known = 1, [s.commit(self.a)]
        s.reload(self.a)
        self.lost, self.in_flight, self.calls = [], 0, 0

    def commits(self):
        status, log = self.s.server.call("GET", "/v1/volumes/v/commits?limit=1000")
        self.t.equal(200, status, "commits")
        return [c["id"] for c in log["commits"]][::-1]

    def cut(self, who, programs):
        """All of its processes end in the middle of what they do, and then its
        disk, within the same millisecond: a file system that is stopped says of
        a last fsync(2) that it went well, and nobody may hear that."""
        s, d = self.s, self.d
        pids, disks = [], []
        if who != "server":
            pids += [p.pid for p in programs] + [d.process.pid] + [
                pid for pid, _ in d.roles()]
            disks.append(self.disk)
        if who != "daemon":
            pids += [s.server.process.pid] + list(s.server.roles().values())
            disks.append(self.server_disk)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for disk in disks:
            disk.cut()
        if who != "server":
            d.kill_all()
        if who != "daemon":
            stack.kill_all(self.t, s.server.process, [])
        self.t.wait_for(lambda: not any(map(stack.alive, pids)), "all ended")

    def back(self, who):
        if who != "daemon":
            self.server_disk.lose()
            self.s.server.start()
        if who == "server":
            return
        power.command("umount", self.a)
        self.disk.lose()
        self.d.start()
        self.t.wait_for(lambda: os.path.exists(self.a + "/.sailvol"),
                        "the mount comes back", 60)

    def round(self, n, who):
        t, top = self.t, "%s/%d" % (self.a, n)
        before = stack.look(self.a, fields=FIELDS)
        for path in (top, top + "/c"):
            os.mkdir(path)
        programs = [cls(t, top, cls.__name__.lower(), self.seed + n)
                    for cls in PROGRAMS]
        committer = Committer(self.s, self.a, top + "/c", who == "server")
        for p in programs:
            p.start()
        committer.start()
        t.wait_for(lambda: committer.in_flight and all(
            sum(line[0] == "s" for line in p.lines()) >= WARM
            for p in programs), "all work: %s" % [p.failed() for p in programs],
            60)
        time.sleep(self.rng.random() * LATEST_S)
        t.wait_for(lambda: committer.in_flight, "another commit")
        time.sleep(self.rng.random() * IN_COMMIT_S)
        self.in_flight += committer.in_flight
        committer.go = False
        self.cut(who, programs)
        # If it is the server's, the mount does not notice, and the commit that
        # is in flight waits for it.
        self.back(who)
        for p in programs:
            p.kill()
        committer.join(180)
        t.true(not committer.is_alive(), "the commit has ended")
        t.equal([], committer.errors, "before the loss")
        for p in programs:
            t.equal([], p.failed(), "before the loss")
            self.calls += p.acked()
        self.check(n, who, top, programs, committer, before)

    def check(self, n, who, top, programs, committer, before):
        t, s = self.t, self.s
        lost = [p.check(t) for p in programs]
        if who == "server":
            # Each was killed in the middle of one.
            t.true(max(lost) <= 1, "lost without a loss: %s" % lost)
        else:
            self.lost.append(sum(lost))
        for path, text in committer.files.items():
            t.equal(text, stack.read(path), "committed: " + path)
        # What was published in a round before.
        now = stack.look(self.a, fields=FIELDS)
        now.update((p, before[p]) for p in before
                   if p.startswith(b"pool/%d-" % n))    # Changer.check()
        stack.same(t, before, {p: now[p] for p in before if p in now},
                   "what was published before")
        # All that was acknowledged is there, and nothing more than was begun.
        for name in os.listdir(top + "/c"):
            if name.startswith("large"):
                os.unlink("%s/c/%s" % (top, name))
        self.begun += committer.begun + 1
        self.known += committer.done
        last = s.commit(self.a)
        have = self.commits()
        t.equal(self.known, [c for c in have if c in self.known],
                "the commits that were acknowledged")
        t.true(len(have) <= self.begun + 1, "%d commits were begun, %d are "
               "there" % (self.begun, len(have) - 1))
        self.known.append(last)
        self.known = [c for c in have if c in self.known]
        t.equal(last, have[-1], "the newest")
        b = s.mount("v", "b")
        stack.same(t, stack.look(self.a, fields=FIELDS),
                   stack.look(b, fields=FIELDS), "a and b")
        self.d.umount(b)
        os.sync()


@deadline(600)
def test_cut(t):
    site = Site(t)
    for n, who in enumerate(ROUNDS):
        site.round(n, who)
    t.true(sum(n > 0 for n in site.lost) * 2 >= len(site.lost),
           "little was at risk: changes lost by loss: %s" % site.lost)
    t.true(site.in_flight * 3 > len(ROUNDS), "nothing was at risk: a commit was "
           "in flight at %d of %d losses" % (site.in_flight, len(ROUNDS)))
    t.count("losses of power", len(ROUNDS))
    t.said = ("seed %d: %d losses of power, %d with a commit in flight; %d "
              "changes acknowledged as synced, newer ones lost by loss: %s; %d "
              "commits" % (site.seed, len(ROUNDS), site.in_flight, site.calls,
                           site.lost, len(site.known)))


def test_dead_disk(t):
    """The disk has stopped and the daemon lives: what cannot be looked at is an
    error, and never what was known of it before."""
    if os.environ.get("SAIL_PASSTHROUGH") == "no":
        t.skip("is about files that are passed through")
    power.require(t)
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    disk = power.Disk(t, d.dir)
    d.start()
    a = s.mount("v", "a", create=True)
    fd = os.open(a + "/f", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    os.fsync(fd)
    # One that has nothing open yet.
    d.kill("fuse")
    os.mkdir(a + "/d")
    os.write(fd, b"y" * 5000)
    disk.cut()
    for what, f in (("by descriptor", lambda: os.fstat(fd).st_size),
                    ("by path", lambda: os.stat(a + "/f").st_size)):
        try:
            t.equal(5001, f(), what)
        except OSError as e:
            t.equal(errno.EIO, e.errno, what)
    t.equal("EIO", error_of(os.write, fd, b"z"), "a write")
    t.equal("EIO", error_of(os.fsync, fd), "fsync")
    d.kill_all()
    os.close(fd)
    power.command("umount", a)
    disk.lose()
    d.start()
    t.wait_for(lambda: os.path.exists(a + "/.sailvol"), "it comes back", 60)
    text = stack.read(a + "/f")
    t.true(text in ("x", "x" + "y" * 5000), "what is there: %.20r" % text)
