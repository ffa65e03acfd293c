# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A compromised role of sailvold or sailapid sends whatever it likes: the
others live on, the bad one ends, and others' mounts and clients are served."""

import json
import os
import re
import socket
import struct
import subprocess
import threading
import time

from sailtest import Failure, deadline, hostile, role as r, stack

LIVES = int(os.environ.get("SAIL_LIVES", "4"))
LIES_S = float(os.environ.get("SAIL_LIES_S", "2"))
LEAST = 4               # lies, on a machine that does much else, too


class Sailvold:
    """A daemon with two mounts, of which a's fuse and notify may be bad."""

    def __init__(self, t):
        t.expect_deaths = True
        self.t = t
        self.s = s = hostile.Stack(
            t, extra='metrics listen on 127.0.0.1 port 0 port file "%s"\n' %
            t.path("port"))
        self.d = s.daemon
        self.a, self.b = s.mount("v", "a", create=True), s.mount(
            "w", "b", create=True)
        for top in (self.a, self.b):
            stack.fill(top + "/large", 3)
            for i in range(20):
                stack.write(top + "/f%d" % i, "%d\n" % i)
            s.commit(top)
        self.c = s.mount("v", "c")
        self.sha = {top: stack.sha256(top + "/large")
                    for top in (self.a, self.b)}
        self.turn, self.did = 0, {}

    def processes(self):
        """[(pid, role, instance)]"""
        return [(p["pid"], p["role"], p["instance"]) for p in
                self.d.ctl_json("status")["daemon"]["processes"]]

    def mine(self, role):
        if role not in ("fuse", "notify"):
            return "-"
        return str([m["instance"] for m in
                    self.d.ctl_json("status")["daemon"]["mounts"]
                    if m["path"] == self.a][0])

    def deaths(self, role):
        return len(re.findall(
            r'role "%s[^"]*" \(pid \d+\) (?:killed by|exited)' % (
                role + " v" if role in ("fuse", "notify") else role),
            self.d.log()))

    def local(self):
        """What asks nobody but the mount's own fuse."""
        self.turn += 1
        name = "%s/l%d" % (self.b, self.turn)
        stack.write(name, name)
        self.t.equal(name, stack.read(name), "what was written")
        os.rename(name, self.b + "/moved")
        os.unlink(self.b + "/moved")

    def all(self, top):
        s = self.s
        stack.write(top + "/x", "%d" % self.turn)
        s.commit(top)
        s.reload(top)
        for i in range(20):
            self.t.equal("%d\n" % i, stack.read(top + "/f%d" % i), "content")
        self.t.equal(self.sha[top], stack.sha256(top + "/large"), "content")

    def busy(self, enough):
        """What makes all roles of mount a talk; it may fail."""
        n = 0
        while not enough():
            n += 1
            try:
                with socket.create_connection(
                        ("127.0.0.1", int(stack.read(self.t.path("port")))),
                        2) as c:
                    c.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    c.recv(1)
            except OSError:
                pass
            try:
                stack.fill("%s/n%d" % (self.a, n % 3), 1)
                for i in range(5):
                    stack.write("%s/s%d" % (self.a, i), "%d" % n)
                self.s.ctl("commit", self.a, ok=None)
                self.s.ctl("reload", self.c, ok=None)
                for name in os.listdir(self.c):
                    with open(os.path.join(self.c, name), "rb") as f:
                        f.read()
                self.s.ctl("reload", self.a, ok=None)
            except OSError:
                pass

    def attack(self, role, mode, seed, percent=0):
        """For some lives of that role; how many it had."""
        t, d = self.t, self.d
        mine = self.mine(role)
        bad = [pid for pid, r, i in self.processes()
               if r == role and mine in ("-", str(i))]
        good = {pid: r for pid, r in d.roles()
                if pid not in bad and r != "notify"}
        good[d.process.pid] = "parent"
        died = self.deaths(role)
        what = "%s (%s, seed %d)" % (role, mode, seed)
        hostile.order(t, role, mode, seed, mine, percent)
        for pid in bad:
            hostile.kill(pid)
        end = time.monotonic() + (60 if mode == "noise" else LIES_S)
        # Of these one can be the last.
        hurt = mode in ("lies", "swaps") and role in ("fuse", "manifest")
        least = LEAST if mode == "lies" and not hurt else 1
        over = threading.Event()

        def enough():
            """Until the bad one has done something, too."""
            now = time.monotonic()
            return over.is_set() or now > end and (
                now > end + 60 or hostile.did(t, mode, least))
        # A notify that has ended by itself comes when there is a word to tell.
        others = [] if mode == "noise" and role != "notify" else [
            threading.Thread(target=self.busy, args=(enough,), daemon=True)]
        for thread in others:
            thread.start()
        while time.monotonic() < end and (
                mode != "noise" or self.deaths(role) - died < LIVES + 1):
            if mode != "swaps" or role != "manifest":
                self.local()
            else:  # whose answer has gone astray waits for it
                time.sleep(0.05)
            if role in ("fuse", "notify", "metrics"):
                self.all(self.b)
            self.alive(good, what)
        lives = self.deaths(role) - died
        t.true(mode != "noise" or lives > LIVES, "%s: %d lives" % (
            what, lives))
        self.more(role, good, lambda: hostile.did(t, mode, least), what)
        over.set()
        self.did[role] = hostile.done(t)
        hostile.order(t, None, None, None)
        for pid, r in d.roles(role):
            if pid not in good:
                hostile.kill(pid)
        self.ready(what)
        self.alive(good, what)
        # What it said of its own mount, or of all, stands: an offset of the
        # journal that never comes is waited for.
        for thread in others:
            if not hurt:
                thread.join(90)
                t.true(not thread.is_alive(),
                       what + ": somebody waits for ever")
        tops = [self.b, self.a]
        if hurt:
            tops = [self.b] if role == "fuse" else []
        for top in tops:
            t.wait_for(lambda: self.s.ctl("commit", top,
                                          ok=None).returncode == 0,
                       "%s: a commit of %s" % (what, top), 60)
            self.all(top)
        self.alive(good, what)
        t.wait_for(lambda: not self.leaks(good), "%s: descriptors are given "
                   "back" % what, 30)
        return lives

    def more(self, role, good, did, what):
        """Until it has done enough that is bad.  An answer that it has left out
        is waited for as long as it lives: its next life is asked again, and
        by others than those who wait."""
        end, again = time.monotonic() + 60, time.monotonic() + 5
        while not did():
            now = time.monotonic()
            self.t.true(now < end, what + ": it does something bad")
            if now > again:
                again = now + 5
                for pid, _ in self.d.roles(role):
                    if pid not in good:
                        hostile.kill(pid)
            for words in (["status"], ["stash", "list"]):
                try:
                    self.s.ctl(*words, ok=None, timeout=5)
                except (Failure, subprocess.SubprocessError):
                    pass

    def leaks(self, good):
        """What a bad role has sent is known by its name."""
        return [(role, fd) for pid, role in good.items()
                for fd in hostile.descriptors(pid)]

    def ready(self, what):
        def ready():
            r = self.d.ctl("-j", "status", ok=None)
            return r.returncode == 0 and all(
                p["ready"] for p in json.loads(r.stdout)["daemon"]["processes"]
                if p["role"] != "notify")
        self.t.wait_for(ready, "%s: all are ready again" % what, 60)

    def alive(self, good, what):
        now = [pid for pid, _ in self.d.roles()] + [self.d.process.pid]
        self.t.equal(None, self.d.process.poll(), "%s: the parent" % what)
        gone = [(pid, r) for pid, r in good.items() if pid not in now]
        self.t.equal([], gone, "%s: these have ended" % what)


IN_THE_WRONG_PLACE = "in the wrong place"


class Neighbours(Sailvold):
    """Each mount's content says whose it is.  What manifest says of all mounts
    stands; bytes of another volume it cannot give to any."""

    def __init__(self, t):
        super().__init__(t)
        self.words = {self.a: "this is of volume v\n" * 5000,
                      self.b: "and that of volume w\n" * 5000}
        for top, word in self.words.items():
            for i in range(8):
                stack.write("%s/own%d" % (top, i), "%d " % i + word)
            os.mkdir(top + "/d")
            stack.write(top + "/d/small", word[:20])
            self.s.commit(top)
        # Published and not looked at: these come from manifest and cache.
        self.s.reload(self.c)
        self.looks = self.seen = 0
        self.said = {}

    def look(self, end):
        """At all that b has and should not have, as long as it lasts."""
        mine, others = b"that of volume w", b"this is of volume v"
        while time.monotonic() < end:
            for top, word in ((self.b, others), (self.c, mine)):
                try:
                    names = os.listdir(top) + ["d/small"]
                except OSError:
                    names = ["own%d" % i for i in range(8)]
                for name in names:
                    self.look_at(os.path.join(top, name), word)

    def look_at(self, path, word):
        self.looks += 1
        try:
            with open(path, "rb") as f:
                data = f.read()
        except OSError:
            return
        self.seen += 1
        if word in data:
            self.wrong = path

    wrong = None

    def come_and_go(self, end):
        """What makes manifest talk to the parent."""
        n = 0
        while time.monotonic() < end:
            n += 1
            top = self.s.point("gone%d" % (n % 2))
            for words in (["mount", "v", top], ["status"], ["umount", top],
                          ["stash", "list"]):
                try:
                    self.s.ctl(*words, ok=None, timeout=30)
                except (Failure, OSError, subprocess.SubprocessError):
                    pass

    def new_ones(self, role):
        """Nothing stays of it for those that come after."""
        top = self.s.mount("w", "new-%s-%d" % (role, self.turn))
        stack.write(top + "/x", role)
        self.s.commit(top)
        for i in range(8):
            self.t.equal("%d " % i + self.words[self.b],
                         stack.read(top + "/own%d" % i), "content")
        self.s.daemon.umount(top)

    def swap(self, role, seed, percent):
        end = time.monotonic() + LIES_S
        for what in (self.look, self.look, self.come_and_go):
            threading.Thread(target=what, args=(end,), daemon=True).start()
        before = self.d.log().count(IN_THE_WRONG_PLACE)
        lives = self.attack(role, "swaps", seed, percent)
        words = self.d.log().count(IN_THE_WRONG_PLACE) - before
        self.said[role] = self.said.get(role, 0) + words
        self.t.equal(None, self.wrong, "%s: content of another volume" % role)
        self.new_ones(role)
        return "%s %d %%: %d words, died %d times" % (
            role, percent, words, lives)


ROLES = ("fuse", "notify", "manifest", "cache", "fetch", "metrics")
SELDOM = ("notify", "metrics")  # do they say anything


@deadline(300)
def test_noise(t):
    """Each role of sailvold in turn says READY and then sends garbage."""
    x = Sailvold(t)
    seed = t.seed()
    lives = {}
    for n, role in enumerate(ROLES):
        lives[role] = x.attack(role, "noise", seed + n)
    t.said = "seed %d, %s; %s" % (seed, ", ".join(
        "%s died %d times" % item for item in lives.items()),
        hostile.said(x.did))


@deadline(300)
def test_lies(t):
    """Each role of sailvold in turn does its work, and spoils a part of what it
    says: bits, lengths, kinds, numbers, descriptors, or all of it."""
    x = Sailvold(t)
    seed = t.seed()
    lives = {}
    for n, role in enumerate(("notify", "cache", "fetch", "metrics", "fuse",
                              "manifest")):
        lives[role] = x.attack(role, "lies", seed + n,
                               20 if role in SELDOM else 5)
    t.said = "seed %d, %s; %s" % (seed, ", ".join(
        "%s died %d times" % item for item in lives.items()),
        hostile.said(x.did))


@deadline(300)
def test_silence(t):
    """Each role of sailvold in turn says READY, and nothing more."""
    x = Sailvold(t)
    seed = t.seed()
    for n, role in enumerate(ROLES):
        x.attack(role, "silent", seed + n)
    t.said = "seed %d, %s" % (seed, hostile.said(x.did))


@deadline(300)
def test_swaps(t):
    """Who has no content of other mounts does its work, and each word that it
    says could be true, but some are of another question, another time or another
    mount: the others live, no byte of one volume is read in another, and new
    mounts are served."""
    x = Neighbours(t)
    seed = t.seed()
    done = [x.swap(role, seed + n, percent) for n, (role, percent) in enumerate((
        ("fuse", 10), ("manifest", 5), ("manifest", 30)))]
    t.true(x.said["manifest"] > 0, "manifest said something: %r" % x.said)
    t.true(x.seen > 0, "something was read")
    t.said = "seed %d, %s, %d of %d reads answered" % (
        seed, "; ".join(done), x.seen, x.looks)


SESSION, TELL, TOLD = 123, 176, 177


def test_notifications_of_a_liar(t):
    """What manifest hands on from a hostile fuse is not manifest's doing:
    notify neither blames it nor ends."""
    os.mkdir(t.path("root"))
    n = r.Role(t, os.path.join(t.repo, "sailvold", "sailvold"), "notify",
               r.NOTIFY, t.path("root"))
    n.parent.send(SESSION, 0, b"", os.open("/dev/null", os.O_RDWR))
    n.ready()
    manifest = n.peer(r.MANIFEST)
    for number, fd in enumerate((r.memfd(b""), os.pipe()[0],
                                 r.memfd(b"\xff" * 100),
                                 os.open("/", os.O_RDONLY)), 1):
        manifest.send(TELL, number, b"", fd)
        m = manifest.wait(TOLD, number)
        t.equal((0, 0), struct.unpack(">II", m.body), "told")
    t.true(n.alive(), "it lives")
    t.equal(0, n.stop(), "its end")
