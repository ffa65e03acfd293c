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

from sailtest import Failure, deadline, hostile, killer, role as r, stack

LIVES = int(os.environ.get("SAIL_LIVES", "4"))
LIES_S = float(os.environ.get("SAIL_LIES_S", "2"))
LEAST = 2


class Sailvold:
    """A daemon with two mounts, of which a's fuse and notify may be bad."""

    def __init__(self, t):
        t.expect_deaths = "any"
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
        self.turn, self.asked, self.did = 0, 0, {}
        self.over = threading.Event()

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

    def get(self):
        """What makes metrics talk."""
        time.sleep(0.05)
        try:
            with socket.create_connection(
                    ("127.0.0.1", int(stack.read(self.t.path("port")))),
                    2) as c:
                c.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                c.recv(1)
        except OSError:
            pass

    def ask(self):
        """What makes the other roles of mount a talk."""
        self.asked += 1
        self.sh('head -c 1000000 /dev/urandom >"$1/n%d"; '
                'for i in 0 1 2 3 4; do echo %d >"$1/s$i"; done' % (
                    self.asked % 3, self.asked), self.a)
        self.patient("status")
        self.patient("commit", self.a)
        self.patient("reload", self.c)
        self.sh('cat "$1"/*', self.c)
        self.patient("reload", self.a)

    def patient(self, *words):
        if not self.over.is_set():
            hostile.patient(self.t, self.s.program, "-s", self.d.socket, *words)

    def sh(self, script, *args):
        if not self.over.is_set():
            hostile.patient(self.t, "sh", "-c", script, "sh", *args)

    def good(self, bad):
        """{pid: role}, of those that stay; not notify, and no process of a
        mount that comes and goes."""
        status = self.d.ctl_json("status")["daemon"]
        stay = [m["instance"] for m in status["mounts"]
                if m["path"] in (self.a, self.b, self.c)]
        good = {p["pid"]: p["role"] for p in status["processes"]
                if p["pid"] not in bad and p["role"] != "notify" and
                (p["role"] != "fuse" or p["instance"] in stay)}
        good[self.d.process.pid] = "parent"
        return good

    def attack(self, role, mode, seed, percent=0, beside=()):
        """For some lives of that role; how many it had.  Beside it these are
        done, again and again."""
        t, d = self.t, self.d
        mine = self.mine(role)
        bad = [pid for pid, r, i in self.processes()
               if r == role and mine in ("-", str(i))]
        good = self.good(bad)
        died = self.deaths(role)
        what = "%s (%s, seed %d)" % (role, mode, seed)
        order = hostile.Order(t, role, mode, seed, mine, percent)
        for pid in bad:
            hostile.kill(pid)
        end = time.monotonic() + (60 if mode == "noise" else LIES_S)
        # Of these one can be the last.
        hurt = mode in ("lies", "swaps") and role in ("fuse", "manifest")
        self.over.clear()

        def until_over(f):
            while not self.over.is_set():
                f()
        # A notify that has ended by itself comes when there is a word to tell.
        others = list(beside)
        if mode != "noise" or role == "notify":
            others += [self.ask, self.get]
        others = [threading.Thread(target=until_over, args=(f,), daemon=True)
                  for f in others]
        for thread in others:
            thread.start()
        while time.monotonic() < end and (
                mode != "noise" or self.deaths(role) - died < LIVES + 1):
            if not hurt or role != "manifest":
                self.local()
            else:  # whose answer has gone astray waits for it
                time.sleep(0.05)
            if role in ("fuse", "notify", "metrics"):
                self.all(self.b)
            self.alive(good, what)
        lives = self.deaths(role) - died
        t.true(mode != "noise" or lives > LIVES, "%s: %d lives" % (
            what, lives))
        order.insist(LEAST if mode == "lies" and not hurt else 1,
                     lambda: [pid for pid, _ in d.roles(role)
                              if pid not in good])
        self.over.set()
        self.did[role] = order.done()
        order.end()
        for pid, r in d.roles(role):
            if pid not in good:
                hostile.kill(pid)
        self.ready(what)
        self.alive(good, what)
        for thread in others:
            thread.join(90)
            t.true(not thread.is_alive(), what + ": somebody waits for ever")
        # What it said of its own mount, or of all, stands: an offset of the
        # journal that never comes is waited for.
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
        self.looks = self.seen = self.comings = 0

    def look(self):
        """At all that b has and should not have."""
        mine, others = b"that of volume w", b"this is of volume v"
        for top, word in ((self.b, others), (self.c, mine)):
            self.looks += 1
            r = subprocess.run(
                ["timeout", "-s", "KILL", "5", "cat", top + "/d/small"] +
                ["%s/own%d" % (top, i) for i in range(8)],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                check=False)
            self.seen += r.returncode == 0
            if word in r.stdout:
                self.wrong = top

    wrong = None

    def come_and_go(self):
        """What makes manifest talk to the parent."""
        self.comings += 1
        top = self.s.point("gone%d" % (self.comings % 2))
        for words in (["mount", "v", top], ["umount", top], ["stash", "list"]):
            self.patient(*words)

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
        before = self.d.log().count(IN_THE_WRONG_PLACE)
        lives = self.attack(role, "swaps", seed, percent,
                            (self.look, self.look, self.come_and_go))
        words = self.d.log().count(IN_THE_WRONG_PLACE) - before
        self.t.true(words > 0, "%s said something" % role)
        self.t.equal(None, self.wrong, "%s: content of another volume" % role)
        self.t.true(self.seen > 0, "something was read")
        self.t.true("mnt/gone" in self.d.log(), "mounts came and went")
        self.new_ones(role)
        self.t.said = "seed %d, %d words, died %d times, %d of %d reads " \
            "answered" % (seed, words, lives, self.seen, self.looks)


@deadline(300)
def test_blames(t):
    """A fuse that says of each peer that it broke the rules does not keep others
    from it: those are there again at once, and after six times in a minute they
    stay; and when that is over it begins again."""
    x = Sailvold(t)
    t.equal(3, len(x.d.roles("fuse")), "mounts")
    order = hostile.Order(t, "fuse", "blames", 1, x.mine("fuse"))
    peers = ("manifest", "cache")
    before = {role: x.deaths(role) for role in peers}

    def blamed(role):
        return x.deaths(role) - before[role]
    hostile.kill([pid for pid, role, i in x.processes() if role == "fuse" and
                  str(i) == x.mine(role)][0])
    t.wait_for(lambda: all(blamed(role) == 6 for role in peers) and
               x.d.log().count("and is not heard") == 2, "six each", 60)
    begun, there, looks = time.monotonic(), 0, 0
    # Nothing of b and c waits for the liar.
    stack.write(x.b + "/f", "b")
    t.wait_for(lambda: x.s.ctl("commit", x.b, ok=None).returncode == 0,
               "a commit", 60)
    x.all(x.b)
    while any(blamed(role) < 12 for role in peers):
        t.true(time.monotonic() < begun + 120, "it is heard again")
        looks += 1
        there += all(killer.in_force(pid) for role in peers
                     for pid in x.d.pids(role) or [0])
        time.sleep(0.05)
    t.equal({role: 12 for role in peers}, {role: blamed(role)
                                           for role in peers}, "deaths")
    t.true("starts again in" not in x.d.log(), "at once")
    order.end()
    for pid in x.d.pids("fuse"):
        hostile.kill(pid)
    x.ready("blames")
    for top in (x.a, x.b):
        t.wait_for(lambda: x.s.ctl("commit", top, ok=None).returncode == 0,
                   "a commit", 60)
        x.all(top)
    t.said = "the blamed were there at %d of %d looks" % (there, looks)


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


# Who has no content of other mounts does its work, and each word that it says
# could be true, but some are of another question, another time or another mount:
# the others live, no byte of one volume is read in another, and new mounts are
# served.

@deadline(300)
def test_swaps_of_fuse(t):
    Neighbours(t).swap("fuse", t.seed(), 10)


@deadline(300)
def test_swaps_of_manifest(t):
    Neighbours(t).swap("manifest", t.seed(), 5)


@deadline(300)
def test_many_swaps_of_manifest(t):
    Neighbours(t).swap("manifest", t.seed(), 30)


USER = 54322


class Forged:
    """Two folders for mounts: mine is the user's, ours is root's."""

    def __init__(self, t):
        t.expect_deaths = "any"
        self.t = t
        self.s = s = hostile.Stack(t)
        self.d = s.daemon
        for path in (t.dir, t.path("mnt"), self.d.dir):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        os.chmod(self.d.socket, 0o666)
        self.first = s.mount("v", "first", create=True)
        self.mine, self.ours = s.point("mine"), s.point("ours")
        os.chown(self.mine, USER, USER)
        self.forged = 0

    def manifest(self):
        """A new life of it."""
        old = self.d.pids("manifest")[0]
        hostile.kill(old)
        self.t.wait_for(lambda: self.d.ctl("status", ok=None).returncode == 0
                        and self.d.pids("manifest") not in ([], [old]),
                        "manifest to be there again", 60)

    def forges(self, whose):
        self.order = hostile.Order(self.t, "manifest", "forges", 1, "-", whose)
        self.manifest()
        self.t.equal(1, self.order.done()[0], "lives of the forger")
        self.forged = 0

    def is_forged(self):
        self.forged += 1
        self.t.equal(self.forged, self.order.done()[1],
                     "what it has forged")

    def mounted(self, *want):
        self.t.equal(list(want), [p for p in (self.mine, self.ours)
                                  if os.path.ismount(p)], "mounts")

    def refused(self, done, why):
        self.mounted()
        self.t.true(done.returncode != 0, "it is refused")
        self.t.true(why in done.stderr, "%s: %s" % (why, done.stderr))
        self.is_forged()

    def user(self, *words):
        return stack.as_user(USER, [self.s.program, "-s", self.d.socket] +
                             list(words), timeout=60)

    def root(self, *words):
        return self.d.ctl(*words, ok=None)


@deadline(120)
def test_forged(t):
    """A manifest that asks its parent for what nobody asked it gets nothing of
    what root may: not with words of its own on a connection of root's, not
    with its own channel, which root made, not with what it has kept of a client
    of root's, and not later, when root has left, what root did ask for."""
    x = Forged(t)
    t.equal(0, x.user("mount", "v", x.mine).returncode, "a mount of a user")
    t.equal(0, x.user("umount", x.mine).returncode, "its umount")

    x.forges(0)
    for words, want in (("mount", "v", x.mine), [x.mine]), (
            ("umount", x.mine), []):
        t.equal(0, x.root(*words).returncode, words[0])
        x.mounted(*want)
        x.is_forged()
    x.refused(x.user("mount", "v", x.mine), x.ours)

    x.forges(1)
    for ask in x.root, x.user:
        x.refused(ask("mount", "v", x.mine), "not a client")
    x.refused(x.root("restart"), "not a client")
    x.refused(x.root("umount", x.first), "not a client")

    x.forges(2)
    t.equal(0, x.root("mount", "v", x.s.point("second")).returncode, "mount")
    for ask in x.user, x.root:
        x.refused(ask("mount", "v", x.mine), "root has left")
    x.refused(x.root("restart"), "root has left")
    x.refused(x.root("umount", x.first), "root has left")

    x.forges(3)
    root = t.spawn([x.s.program, "-s", x.d.socket, "restart"], "root.log")
    t.wait_for(lambda: x.order.done()[1] == 1, "it has what root asks for")
    root.kill()
    root.wait()
    x.forged = 1
    x.refused(x.user("mount", "v", x.mine), "root has left")
    t.equal(0, x.d.ctl_json("status")["daemon"]["restarts"], "restarts")

    x.order.end()
    x.manifest()
    t.equal(0, x.root("umount", x.first).returncode, "umount")
    t.equal(0, x.user("mount", "v", x.mine).returncode, "a mount of a user")


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
