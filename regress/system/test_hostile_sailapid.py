# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A compromised role of sailapid sends whatever it likes: the others live on,
the bad one ends, and what does not need it is served meanwhile."""

import http.client
import os
import re
import ssl
import threading
import time

from sailtest import Failure, deadline, hostile, stack, tls

LIVES = int(os.environ.get("SAIL_LIVES", "4"))
LIES_S = float(os.environ.get("SAIL_LIES_S", "2"))
EMBEDDED_STORE = True  # its role is one of them

ROLES = ("tls", "api", "meta", "sign", "fetch", "store")


class Sailapid:
    def __init__(self, t):
        t.expect_deaths = True
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
        self.turn = 0

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

    def busy(self, end):
        """What makes all roles talk; it may fail."""
        n = 0
        while time.monotonic() < end:
            n += 1
            stack.fill("%s/n%d" % (self.a, n % 3), 1)
            stack.write("%s/s%d" % (self.a, n % 3), "%d" % n)
            p = self.s.t.spawn([self.s.program, "commit", self.a], "busy.log")
            while p.poll() is None and time.monotonic() < end + 60:
                time.sleep(0.02)
                try:
                    self.srv.call("GET", "/v1/volumes")
                    self.srv.s3.put("k", os.urandom(1000))
                except (OSError, ValueError, http.client.HTTPException,
                        ssl.SSLError):
                    pass

    def attack(self, role, mode, seed, percent=0):
        t, srv = self.t, self.srv
        what = "%s (%s, seed %d)" % (role, mode, seed)
        t.wait_for(lambda: len(srv.roles()) == len(ROLES), "all roles", 60)
        good = {pid: r for r, pid in srv.roles().items() if r != role}
        good[srv.process.pid] = "parent"
        t.equal(len(ROLES), len(good), "roles")
        died = self.deaths(role)
        hostile.order(t, role, mode, seed, "-", percent)
        hostile.kill(srv.roles()[role])
        end = time.monotonic() + (60 if mode == "noise" else LIES_S)
        others = [] if mode == "noise" else [
            threading.Thread(target=self.busy, args=(end,), daemon=True)]
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
        hostile.order(t, None, None, None)
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
    t.said = "seed %d, %s" % (seed, ", ".join(
        "%s died %d times" % item for item in lives.items()))


@deadline(300)
def test_lies(t):
    """Each role of sailapid in turn does its work, and spoils a part of what it
    says."""
    x = Sailapid(t)
    seed = t.seed()
    lives = {}
    for n, role in enumerate(ROLES):
        lives[role] = x.attack(role, "lies", seed + n, 5)
    t.said = "seed %d, %s" % (seed, ", ".join(
        "%s died %d times" % item for item in lives.items()))


@deadline(300)
def test_silence(t):
    """Each role of sailapid in turn says READY, and nothing more."""
    x = Sailapid(t)
    seed = t.seed()
    for n, role in enumerate(ROLES):
        x.attack(role, "silent", seed + n)
    t.said = "seed %d" % seed
