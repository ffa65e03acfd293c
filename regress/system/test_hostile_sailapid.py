# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A compromised role of sailapid sends whatever it likes: the others live on,
the bad one ends, and what does not need it is served meanwhile."""

import copy
import http.client
import os
import queue
import re
import ssl
import threading
import time

from sailtest import Failure, deadline, hostile, stack, tls

LIVES = int(os.environ.get("SAIL_LIVES", "4"))
LIES_S = float(os.environ.get("SAIL_LIES_S", "2"))
SWAPS = 5           # of each role, at least
EMBEDDED_STORE = True  # its role is one of them

ROLES = ("tls", "api", "meta", "sign", "fetch", "store")
# store has nothing to say to another role: it speaks HTTP.
LIARS = ("sign", "fetch", "tls", "api", "meta")


class Sailapid:
    def __init__(self, t):
        t.expect_deaths = "any"
        self.t = t
        plain = t.path("plain")
        self.s = s = hostile.ServerStack(
            t, server_extra='listen on 127.0.0.1 port 0 port file "%s"' % plain,
            authority=tls.Authority(t))
        self.srv = s.server
        self.plain = int(stack.read(plain))
        self.a, self.b = s.mount("v", "a", create=True), s.mount("v", "b")
        stack.write(self.a + "/f", "f")
        s.share(self.a, self.b)
        self.turn, self.asked, self.did = 0, 0, {}

    def served(self, bad):
        """What goes on without that role."""
        if bad in ("api", "meta"):
            self.t.equal(200, self.srv.s3.put("k", b"x").status, "store")
        elif bad == "tls":
            c = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=60)
            c.request("GET", "/v1/whoami", headers={
                "Authorization": "Bearer " + self.srv.key})
            self.t.equal(200, c.getresponse().status, "plain")
            c.close()
        else:
            self.t.equal(200, self.srv.call("GET", "/v1/whoami")[0], "API")

    def ask(self):
        """What makes all roles talk; it may fail."""
        self.asked += 1
        stack.fill("%s/n%d" % (self.a, self.asked % 3), 1)
        stack.write("%s/s%d" % (self.a, self.asked % 3), "%d" % self.asked)
        hostile.patient(self.t, self.s.program, "-s", self.s.daemon.socket,
                        "commit", self.a)

    def call(self):
        """Also what a daemon does not ask for."""
        try:
            self.srv.call("GET", "/v1/volumes")
            self.srv.s3.put("k", os.urandom(1000))
        except (OSError, ValueError, http.client.HTTPException, ssl.SSLError):
            pass

    def attack(self, role, mode, seed, percent=0, least=1):
        t, srv = self.t, self.srv
        what = "%s (%s, seed %d)" % (role, mode, seed)
        t.wait_for(lambda: len(srv.roles()) == len(ROLES), "all roles", 60)
        good = {pid: r for r, pid in srv.roles().items() if r != role}
        good[srv.process.pid] = "parent"
        t.equal(len(ROLES), len(good), "roles")
        died = self.deaths(role)
        order = hostile.Order(t, role, mode, seed, "-", percent)
        hostile.kill(srv.roles()[role])
        end = time.monotonic() + (60 if mode == "noise" else LIES_S)
        over = threading.Event()

        def until_over(f):
            while not over.is_set():
                f()
        others = [] if mode == "noise" else [
            threading.Thread(target=until_over, args=(f,), daemon=True)
            for f in (self.ask, self.call)]
        for thread in others:
            thread.start()
        while time.monotonic() < end and (
                mode != "noise" or self.deaths(role) - died < LIVES + 1):
            if mode == "noise":
                self.served(role)
            self.alive(good, what)
            time.sleep(0.02)
        lives = self.deaths(role) - died
        t.true(mode != "noise" or lives > LIVES, "%s: %d lives" % (
            what, lives))
        order.insist(least, lambda: [pid for r, pid in srv.roles().items()
                                 if r == role])
        over.set()
        self.did[role] = order.done()
        order.end()
        last = srv.roles().get(role)
        if last is not None:
            hostile.kill(last)
        t.wait_for(self.works, what + ": it works again", 60)
        for thread in others:
            thread.join(90)
            t.true(not thread.is_alive(), what + ": somebody waits for ever")
        self.alive(good, what)
        self.turn += 1
        stack.write(self.a + "/f", "%d" % self.turn)
        t.wait_for(lambda: self.s.ctl("commit", self.a,
                                      ok=None).returncode == 0, what, 60)
        self.s.reload(self.b)
        t.equal("%d" % self.turn, stack.read(self.b + "/f"), what)
        t.wait_for(lambda: not [
            (r, fd) for pid, r in good.items() for fd in
            hostile.descriptors(pid)], what + ": descriptors", 60)
        self.alive(good, what)
        return lives

    def works(self):
        try:
            return (self.srv.call("GET", "/v1/volumes")[0] == 200 and
                    self.srv.s3.put("k", b"x").status == 200)
        except (OSError, http.client.HTTPException, Failure):
            return False

    def deaths(self, role):
        return len(re.findall(
            r'role "%s" \(pid \d+\) (?:killed by|exited)' % role,
            self.srv.log()))

    def alive(self, good, what):
        now = list(self.srv.roles().values()) + [self.srv.process.pid]
        self.t.equal(None, self.srv.process.poll(), what + ": the parent")
        self.t.equal([], [(pid, r) for pid, r in good.items()
                          if pid not in now], what + ": these have ended")


@deadline(300)
def test_noise(t):
    """Each role of sailapid in turn says READY and then sends garbage."""
    x = Sailapid(t)
    seed = t.seed()
    lives = {}
    for n, role in enumerate(ROLES):
        lives[role] = x.attack(role, "noise", seed + n)
    t.said = "seed %d, %s; %s" % (seed, ", ".join(
        "%s died %d times" % item for item in lives.items()),
        hostile.said(x.did))


@deadline(300)
def test_lies(t):
    """Each role of sailapid in turn does its work, and spoils a part of what it
    says."""
    x = Sailapid(t)
    seed = t.seed()
    lives = {}
    for n, role in enumerate(LIARS):
        lives[role] = x.attack(role, "lies", seed + n, 5)
    t.said = "seed %d, %s; %s" % (seed, ", ".join(
        "%s died %d times" % item for item in lives.items()),
        hostile.said(x.did))


@deadline(300)
def test_swaps(t):
    """Each role of sailapid in turn does its work, and each word that it says
    could be true, but some are of another question, another time or another
    peer.  sign and fetch, who see no names, hurt nobody's content by that."""
    x = Sailapid(t)
    seed = t.seed()
    lives = {}
    for n, role in enumerate(LIARS):
        lives[role] = x.attack(role, "swaps", seed + n, 20, SWAPS)
        if role in ("sign", "fetch"):
            stack.same(t, stack.look(x.a), stack.look(x.b), role)
    t.said = "seed %d, %s; %s" % (seed, ", ".join(
        "%s died %d times" % item for item in lives.items()),
        hostile.said(x.did))


# Whom a silent role does not concern; the others hear of it in time.
UNTOUCHED = {"tls": (), "api": ("store",), "meta": ("store",),
             "sign": ("api", "store", "ls"), "fetch": ("api", "store", "ls"),
             "store": ("api", "ls")}
# A sailvolctl waits for 10 s for what somebody waits for before a terminal.
COMMAND_S = 10 * 6


class Silent:
    """A server with a role that says nothing more, and its clients."""

    def __init__(self, t, role):
        self.t, self.role = copy.copy(t), role
        self.t.dir = t.path(role)
        os.mkdir(self.t.dir, 0o755)
        self.srv = hostile.Server(self.t, authority=tls.Authority(self.t))
        self.env = dict(os.environ, SAIL_API_URL=self.srv.url,
                        SAIL_API_KEY=self.srv.key,
                        SAIL_CA_FILE=self.srv.authority.ca)
        self.file = self.t.write("f", os.urandom(2 << 20))
        for words in (("volume", "create", "v"), ("put", self.file, "v:")):
            self.ctl(*words, ok=0)

    def ctl(self, *words, ok=None):
        return self.t.run([os.path.join(self.t.repo, "sailvolctl",
                                        "sailvolctl"), *words], env=self.env,
                          ok=ok, timeout=COMMAND_S)

    def silence(self, seed):
        self.order = hostile.Order(self.t, self.role, "silent", seed)
        old = self.srv.roles()[self.role]
        hostile.kill(old)
        self.pid = self.t.wait_for(
            lambda: self.srv.roles().get(self.role, old) != old and
            self.srv.roles()[self.role], self.role + " is silent")
        # Of the one that died.
        self.t.wait_for(lambda: self.srv.roles().get(self.role) == self.pid,
                        self.role)
        self.good = dict(self.srv.roles())
        self.t.wait_for(lambda: self.order.done()[0] > 0,
                        self.role + ": it is the silent one")

    def command(self, *words):
        """Done, or an error that says with whom."""
        r = self.ctl(*words)
        if r.returncode != 0:
            self.t.equal(1, r.returncode, "%s: %s" % (self.role, words))
            self.t.true(r.stderr.startswith("sailvolctl: ") and
                        "127.0.0.1" in r.stderr, "%s: %s: %s" % (
                            self.role, words, r.stderr))
        return r.returncode == 0

    def clients(self):
        """{name: whether it was served}"""
        def api():
            return self.srv.call("GET", "/v1/volumes")[0] == 200

        def store():
            return self.srv.s3.put("k", b"x").status == 200

        calls = {"api": api, "store": store,
                 "ls": lambda: self.command("ls", "v:"),
                 "get": lambda: self.command("get", "v:f", self.t.path("g")),
                 "put": lambda: self.command("put", self.file, "v:g")}
        out = {name: calls[name]() for name in UNTOUCHED[self.role]}
        # Those of http.client have no deadlines but their own.
        names = [n for n in ("ls", "get", "put") if n not in out]
        threads = []
        for name in names:
            threads.append(threading.Thread(
                target=lambda n=name: out.update({n: calls[n]()}),
                daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(2 * COMMAND_S)
        self.t.equal(set(names) | set(UNTOUCHED[self.role]), set(out),
                     self.role + ": who has ended as it should")
        return out

    def ends(self):
        """It is killed, and all is well."""
        self.t.equal(self.good, self.srv.roles(), self.role + ": the others")
        self.order.end()
        hostile.kill(self.pid)

        def works():
            try:
                return self.srv.call("GET", "/v1/volumes")[0] == 200
            except (OSError, http.client.HTTPException):
                return False
        self.t.wait_for(works, self.role + ": it works again", 60)
        self.ctl("put", self.file, "v:last", ok=0)
        self.ctl("get", "v:last", self.t.path("last"), ok=0)
        self.t.equal(stack.read_bytes(self.file),
                     stack.read_bytes(self.t.path("last")), self.role)


@deadline(300)
def test_silence_clients(t):
    """Whoever needs a role that is silent hears so in time, and by words; the
    rest is served; and all is, when it has been killed."""
    t.expect_deaths = "any"
    seed, ends, out = t.seed(), queue.Queue(), {}

    def run(n, role):
        try:
            one = Silent(t, role)
            one.silence(seed + n)
            served = one.clients()
            one.ends()
            ends.put((role, served))
        except BaseException as e:
            ends.put((role, e))

    # Nearly all of it is waiting.
    for n, role in enumerate(ROLES):
        threading.Thread(target=run, args=(n, role), daemon=True).start()
    for _ in ROLES:
        role, served = ends.get()
        if isinstance(served, BaseException):
            raise served
        t.true(all(served[n] for n in UNTOUCHED[role]), "%s: %s" % (
            role, served))
        out[role] = [n for n, well in served.items() if not well]
    t.true(all(out[role] for role in ("tls", "api", "meta", "sign", "store")),
           "nobody heard of it: %s" % out)
    t.said = "who heard of it: %s" % out


@deadline(300)
def test_silence(t):
    """Each role of sailapid in turn says READY, and nothing more."""
    x = Sailapid(t)
    seed = t.seed()
    for n, role in enumerate(ROLES):
        x.attack(role, "silent", seed + n)
    t.said = "seed %d, %s" % (seed, hostile.said(x.did))
