# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A server behind a line that loses, delays, reorders and repeats packets, or
is dead for a while: all is done in the end, nothing hangs, and what needs no
server does not wait for it."""

import os
import signal
import subprocess
import time

from sailtest import badnet, deadline, stack, tls

# A gateway is not on the line.
EMBEDDED_STORE = True

# Of a machine that does much else.
SOON_S = 10


class Server(stack.FixedServer):
    def configure(self, extra):
        self.certificate = self.authority.issue(
            tls.NAMES + ",IP:" + badnet.SERVER)
        conf = super().configure(extra)
        text = stack.read(conf).replace("listen on 127.0.0.1 ", "listen on * ")
        return self.t.write("%s/sailapid.conf" % self.name, text)


class Daemon(stack.Daemon):
    """Its network is the other end of the line."""

    def start(self, wait=True):
        self.process = self.t.spawn(
            self.stack.line.inside([self.program, "-d", "-f", self.conf]),
            self.log_name)
        if wait:
            self.t.wait_for(self.up, "%s answers" % self.name, 60)


class Stack(stack.Stack):
    server_class, daemon_class = Server, Daemon

    def __init__(self, t, line):
        self.line = line
        super().__init__(t, daemons=0, authority=tls.Authority(t))
        self.url = "https://%s:%d" % (badnet.SERVER, self.server.port)
        for _ in range(2):
            self.add_daemon()


def reader(path):
    return subprocess.Popen(["cat", path], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)


def soon(t, what, f, *args):
    begun = time.monotonic()
    value = f(*args)
    took = time.monotonic() - begun
    t.true(took < SOON_S, "%s took %.1f s" % (what, took))
    return value


@deadline(300)
def test_bad_line(t):
    """Mount, commit, reload and cold reads over a line that loses a tenth of
    its packets; then it is dead for a while."""
    seed = t.seed()
    line = badnet.Line(t, seed)
    s = Stack(t, line)
    here, there = s.daemons
    a = here.mount("v", "a", create=True)
    stack.fill(a + "/first", 2)
    for i in range(30):
        stack.write(a + "/f%d" % i, "%d\n" % i)
    s.ctl("commit", a)

    # A tenth is lost, each way; a packet takes 40 to 80 ms, so many overtake.
    line.set(loss=0.1, delay_s=0.04, jitter_s=0.04, twice=0.03)
    begun = time.monotonic()
    b = there.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "mounted and read")
    stack.fill(a + "/second", 1)
    os.rename(a + "/f0", a + "/g0")
    s.ctl("commit", a)
    s.ctl("reload", b)
    stack.same(t, stack.look(a), stack.look(b), "committed and reloaded")
    lossy_s = time.monotonic() - begun
    carried, lost, repeated, overtaken = line.done()
    t.true(min(lost, repeated, overtaken) > 10,
           "what the line did: %r" % (line.done(),))

    # Known there by name, and nothing of it is there.
    line.set()
    stack.fill(a + "/cold", 2)
    s.ctl("commit", a)
    s.ctl("reload", b)
    names = sorted(os.listdir(b))
    warm = stack.sha256(b + "/first")
    line.set(loss=1.0)
    time_of_death = time.monotonic()
    readers = [reader(b + "/cold") for _ in range(4)]
    stack.write(a + "/theirs", "theirs")
    commits = [stack.spawn(s, "-s", here.socket, "commit", a)]
    stack.write(b + "/mine", "mine")
    commits.append(stack.spawn(s, "-s", there.socket, "commit", b))
    t.equal(sorted(names + ["mine"]), sorted(soon(t, "ls", os.listdir, b)),
            "ls")
    soon(t, "df", os.statvfs, b)
    t.equal(0, t.run(["df", b], timeout=SOON_S).returncode, "df")
    t.equal(0, t.run(["ls", "-l", b], timeout=SOON_S).returncode, "ls -l")
    t.equal(warm, soon(t, "a cached file", stack.sha256, b + "/first"), "warm")
    soon(t, "a change", stack.write, b + "/other", "other")
    soon(t, "status", there.ctl, "status")
    for p in readers:
        t.equal(None, p.poll(), "a reader of what is not there waits")
    for p, sig in zip(readers, (signal.SIGINT, signal.SIGTERM,
                                signal.SIGKILL)):
        p.send_signal(sig)
        t.equal(-sig, p.wait(SOON_S), "a reader that is interrupted")
    t.wait_for(lambda: time.monotonic() > time_of_death + 5, "a while")
    for p in commits + readers[3:]:
        t.equal(None, p.poll(), "it is tried again")
    line.set(loss=0.02, delay_s=0.01)
    out, _ = readers[3].communicate(timeout=60)
    t.equal(2 << 20, len(out), "the reader that went on waiting")
    for p in commits:
        status, answer = stack.end(p)
        t.equal(0, status, "a commit: %s" % answer)
    line.set()
    s.ctl("commit", b)
    for top in (a, b):
        s.ctl("reload", top)
    stack.same(t, stack.look(a), stack.look(b), "at the end")
    t.said = ("seed %d, %d packets, %d lost, %d repeated, %d overtaken, "
              "%.1f s" % (seed, carried, lost, repeated, overtaken, lossy_s))
