# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A disk that does not take what is written to it, for a while: each program
hears of it, and what fsync(2) says is safe afterwards is safe."""

import errno
import json
import os
import signal
import sqlite3
import struct
import subprocess
import threading

from sailtest import power, stack

PAGE = 4096
BAD_PAGES = 16
BAD = (errno.EIO, errno.ENOSPC)


def stack_on_bad_disk(t):
    power.require(t)
    t.expect_deaths = True
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    disk = power.BadDisk(t, d.dir, 128)
    d.start()
    return s, d, disk


def found(d, folder, rule):
    """The one path below that folder of the mount that the rule is true of."""
    paths = [os.path.join(where, name)
             for where, _, names in os.walk(d.dir + "/state/mounts")
             for name in names if "/" + folder in where]
    paths = [p for p in paths if rule(p)]
    d.t.equal(1, len(paths), "files: %s" % paths)
    return paths[0]


def is_segment(path):
    return len(os.path.basename(path)) == 16


def synced(fd):
    """0, or why not."""
    try:
        os.fsync(fd)
        return 0
    except OSError as e:
        return e.errno


def bad_segment(t, d, disk, a):
    """The journal is on the disk, and then more names are made that do not come
    there: those, and who has synced."""
    one = os.open(a + "/one", os.O_WRONLY | os.O_CREAT)
    os.fsync(one)
    segment = found(d, "journal", is_segment)
    names = []
    while os.path.getsize(segment) < 3 * PAGE:
        names.append("name%d" % len(names))
        os.close(os.open(a + "/" + names[-1], os.O_WRONLY | os.O_CREAT))
    disk.fail([(power.extents(segment)[0][0], BAD_PAGES * PAGE)])
    return names, one


def lose(t, d, disk, a, names):
    d.kill_all()
    disk.cut()
    power.command("umount", a)
    disk.lose()
    d.start()
    t.wait_for(lambda: os.path.exists(a + "/.sailvol"), "it comes back", 60)
    t.equal(sorted(names), sorted(n for n in os.listdir(a) if n != ".sailvol"),
            "names")


def test_journal(t):
    """The names of several programs lie in the same pages.  When they could not
    be written, the one that hears of it is not the only one that it is about."""
    s, d, disk = stack_on_bad_disk(t)
    a = s.mount("v", "a", create=True)
    names, one = bad_segment(t, d, disk, a)
    other = os.open(a + "/other", os.O_WRONLY | os.O_CREAT)
    t.true(synced(one) in BAD, "one hears of it")
    t.true(synced(other) in BAD, "and the other")
    t.wait_for(lambda: synced(other) == 0, "it is safe elsewhere")
    disk.heal()
    after = os.open(a + "/after", os.O_WRONLY | os.O_CREAT)
    t.equal(0, synced(after), "what comes after it")
    for fd in (one, other, after):
        os.close(fd)
    lose(t, d, disk, a, names + ["one", "other", "after"])


def test_new_process(t):
    """It takes nothing for safe that the one before it may have been told."""
    s, d, disk = stack_on_bad_disk(t)
    a = s.mount("v", "a", create=True)
    names, one = bad_segment(t, d, disk, a)
    t.true(synced(one) in BAD, "it hears of it")
    disk.heal()
    d.kill("fuse")
    t.wait_for(lambda: synced(one) == 0, "it is safe elsewhere")
    os.close(one)
    lose(t, d, disk, a, names + ["one"])


def test_killed_meanwhile(t):
    """Nor where the one before it was killed before it could tell anybody: who
    has asked hears that it is safe, when it is."""
    s, d, disk = stack_on_bad_disk(t)
    a = s.mount("v", "a", create=True)
    names, one = bad_segment(t, d, disk, a)
    watch = subprocess.Popen(
        [os.path.join(t.repo, t.obj, "regress/hostile/journal_kill"),
         str(d.pids("fuse")[0]), "fdatasync", "after"],
        stdout=subprocess.PIPE, encoding="ascii")
    heard = []
    asks = threading.Thread(target=lambda: heard.append(synced(one)))
    with watch:
        t.equal("armed\n", watch.stdout.readline(), "fuse is watched")
        asks.start()
        t.equal("killed\n", watch.stdout.readline(), "fuse")
    asks.join()
    t.equal([0], heard, "who has asked")
    disk.heal()
    os.close(one)
    lose(t, d, disk, a, names + ["one"])


def test_nothing_changes(t):
    """Nor does it take more than that where nobody changes anything: a mount that
    is read-only."""
    s, d, disk = stack_on_bad_disk(t)
    a = s.mount("v", "a", create=True)
    stack.write(a + "/f", "f")
    s.commit(a)
    b = s.mount("v", "b", args=["-r"])
    segments = [os.path.join(where, name)
                for where, _, names in os.walk(d.dir + "/state/mounts")
                for name in names if "/journal" in where
                and is_segment(name)]
    newest = max(segments, key=os.path.getmtime)
    t.equal(50, os.path.getsize(newest), "bytes of an empty segment")
    disk.fail([(power.extents(newest)[0][0], BAD_PAGES * PAGE)])
    fd = os.open(b + "/f", os.O_RDONLY)
    t.true(synced(fd) in BAD, "one hears of it")
    t.wait_for(lambda: synced(fd) == 0, "it is safe elsewhere")
    os.close(fd)


class Waiting:
    """A commit through ctl that waits for its server, and whose segment of the
    journal cannot be synced."""

    def __init__(self, t):
        self.t = t
        s, self.d, self.disk = stack_on_bad_disk(t)
        self.a = a = s.mount("v", "a", create=True)
        self.server = [s.server.process.pid, *s.server.roles().values()]
        _, self.one = bad_segment(t, self.d, self.disk, a)
        self.segment = found(self.d, "journal", is_segment)
        self.lines = os.path.dirname(self.segment) + "/../lines"
        self.signal(signal.SIGSTOP)

    def signal(self, which):
        for pid in self.server:
            os.kill(pid, which)

    def begin(self):
        self.ctl = os.open(self.a + "/.sailvol/ctl", os.O_RDWR)
        os.write(self.ctl, b'{"request": "commit"}\n')
        first = json.loads(os.read(self.ctl, 1 << 16).splitlines()[0])
        self.t.true("progress" in first, first)
        self.t.true(synced(self.one) in BAD, "one hears of it")
        self.t.wait_for(lambda: synced(self.one) == 0, "it is safe elsewhere")
        self.t.true(not os.path.exists(self.segment), "its segment is gone")
        self.disk.heal()

    def kill(self, times):
        for _ in range(times):
            self.d.kill("fuse")
            os.stat(self.a + "/.sailvol/ctl")
            self.t.equal(0, synced(self.one), "a sync")

    def last(self):
        data = b""
        while more := os.read(self.ctl, 1 << 16):
            data += more
        return json.loads(data.splitlines()[-1])

    def end(self, commits):
        os.close(self.ctl)
        self.t.wait_for(lambda: not os.listdir(self.lines),
                        "what was kept of it goes")
        os.close(self.one)
        self.t.wait_for(lambda: len(self.d.ctl_json("log", self.a)["commits"])
                        == commits, "commits, with the empty one")


def test_line_of_ctl(t):
    """Who waits for a commit hears how it ended, though the segment with its line
    is gone, and fuse was killed twice since."""
    w = Waiting(t)
    try:
        w.begin()
        w.kill(2)
    finally:
        w.signal(signal.SIGCONT)
    last = w.last()
    t.true("result" in last, last)
    found(w.d, "lines", lambda p: True)
    w.end(2)


def begin_unkept(w):
    stack.write(w.lines, "not a folder")
    w.begin()
    w.t.wait_for(lambda: "a line of ctl cannot be kept" in w.d.log(), "it says")


def test_line_not_kept(t):
    """And the journal goes on where that line cannot be kept, which it is when it
    can be."""
    w = Waiting(t)
    try:
        begin_unkept(w)
        os.unlink(w.lines)
        t.wait_for(lambda: os.path.isdir(w.lines) and os.listdir(w.lines),
                   "it is kept")
        w.kill(1)
    finally:
        w.signal(signal.SIGCONT)
    last = w.last()
    t.true("result" in last, last)
    w.end(2)


def test_line_lost(t):
    """Who waits hears that it was not kept, when that comes to matter."""
    w = Waiting(t)
    try:
        begin_unkept(w)
        w.kill(1)
        last = w.last()
        t.equal("line_lost", last.get("error", {}).get("code"), last)
    finally:
        w.signal(signal.SIGCONT)
    os.unlink(w.lines)
    os.mkdir(w.lines)
    w.end(2)


def test_file(t):
    """Who has a file open hears once that what was written to it is lost,
    whoever wrote it, as on a file system of the kernel's own."""
    s, d, disk = stack_on_bad_disk(t)
    a = s.mount("v", "a", create=True)
    text = b"content" * 2000
    fds = [os.open(a + "/f", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    os.write(fds[0], text)
    os.fsync(fds[0])
    path = found(d, "files", lambda p: stack.read_bytes(p) == text)
    disk.fail(power.extents(path))
    os.pwrite(fds[0], b"C", 0)
    t.true(synced(fds[1]) in BAD, "who did not write")
    disk.heal()
    late = os.open(a + "/f", os.O_RDONLY)
    t.true(synced(fds[0]) in BAD, "who did")
    d.kill("fuse")
    t.true(synced(fds[2]) in BAD, "from another process")
    for fd in fds + [late]:
        t.equal(0, synced(fd), "once")
        os.close(fd)


class Server:
    """A server on such a disk, whose log of the database can be told what of it
    cannot be written."""

    def __init__(self, t):
        power.require(t)
        t.expect_deaths = "any"
        self.t = t
        self.server = stack.Stack(t, daemons=0).server
        self.server.stop()
        self.disk = power.BadDisk(t, self.server.dir, 128)
        # One that begins before what is bad does not fail.
        with open("/sys/block/%s/queue/max_sectors_kb" % self.disk.name, "w",
                  encoding="ascii") as f:
            f.write("%d\n" % (PAGE >> 10))
        self.server.start()
        self.log = os.path.join(self.server.database, "sailapi.db-wal")
        self.made = 0

    def key(self):
        """Durable: (status, secret)."""
        status, answer = self.server.call("POST", "/v1/keys", {"role": "read"})
        return status, answer.get("key")

    def session(self):
        """What may be lost."""
        self.made += 1
        return self.server.call(
            "PUT", "/v1/volumes/v/sessions/%032x" % self.made, {})[0]

    def end(self):
        """Where what stands in the log ends."""
        with open(self.log, "rb") as f:
            data = f.read()
        page, at = struct.unpack_from(">I", data, 8)[0] + 24, 32
        while data[at + 8:at + 16] == data[16:24]:
            at += page
        return at

    def copied(self):
        return os.stat(self.log[:-4]).st_mtime_ns

    def fail(self):
        """What comes behind that."""
        free = (self.end() + PAGE - 1) // PAGE * PAGE
        bad, at = [], 0
        for where, size in power.extents(self.log):
            skip = max(0, free - at)
            if skip < size:
                bad.append((where + skip, size - skip))
            at += size
        self.t.true(bad, "the log has room")
        self.disk.fail(bad)

    def lose(self, keys):
        t, server = self.t, self.server
        stack.kill_all(t, server.process, list(server.roles().values()))
        self.disk.cut()
        self.disk.lose()
        server.start()
        t.equal([200] * len(keys), [
            server.call("GET", "/v1/whoami", key=k)[0] for k in keys],
            "keys that were there")
        con = sqlite3.connect(os.path.join(server.database, "sailapi.db"))
        t.equal([("ok",)], con.execute("PRAGMA integrity_check").fetchall(),
                "the database")
        con.close()


def test_server_log(t):
    """What the server has answered, with what might be lost before it in its
    log."""
    s = Server(t)
    t.equal(201, s.server.call("POST", "/v1/volumes", {"name": "v"})[0], "made")
    while os.path.getsize(s.log) < 1 << 20:
        s.key()
    # It is begun anew, in blocks that are there, when all of it was copied.
    before = s.copied()
    t.equal(201, s.session(), "a session")
    t.wait_for(lambda: s.copied() != before, "all of it is copied")
    keys = [s.key()[1]]
    t.true(s.end() < 1 << 19, "it is begun anew")
    s.fail()
    mark = len(s.server.log())
    for _ in range(5):
        t.equal(201, s.session(), "what may be lost")
    t.wait_for(lambda: "checkpoint" in s.server.log()[mark:], "it hears of it")
    s.disk.heal()
    t.wait_for(lambda: s.key()[0] == 201, "it takes more")
    s.lose(keys + [s.key()[1]])


def test_server_new_blocks(t):
    """The same in blocks that nothing was in before: the kernel's memory says for
    ever that they are written."""
    s = Server(t)
    keys = [s.key()[1]]
    t.run(["fallocate", "-n", "-l", str(1 << 20), s.log])
    os.sync()
    s.fail()
    t.equal(503, s.key()[0], "a key")
    t.equal(503, s.key()[0], "another")
    s.disk.heal()
    t.wait_for(lambda: s.key()[0] == 201, "it takes more")
    s.lose(keys + [s.key()[1]])
