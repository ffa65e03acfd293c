# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What comes while a commit runs: another commit, a reload, an umount, SIGHUP,
a restart of the daemon, and commits of other mounts."""

import os
import signal
import time

from sailtest import proxy, stack
from sailtest.stack import end, read, spawn, write

BOTH_STORES = True

COMMIT = "^POST .*/commit$"


class Held:
    """A commit of path that waits at the server until let_go()."""

    def __init__(self, t, s, path):
        self.s = s
        s.api.fault(proxy.REFUSE, COMMIT, at=503, times=1000)
        seen = s.api.count(COMMIT)
        self.process = spawn(s, "commit", path)
        t.wait_for(lambda: s.api.count(COMMIT) > seen, "the commit to wait")

    def let_go(self):
        self.s.api.reset()
        return end(self.process)

    def number(self):
        """Exit status and the commit's number, once it was let go."""
        status, answer = self.let_go()
        return status, answer.get("number")


def start(t, daemons=1):
    """A mount a of v, with one file, published as "one" and changed since."""
    s = stack.Stack(t, daemons=daemons, proxied=True)
    a = s.mount("v", "a", create=True)
    write(os.path.join(a, "f"), "one")
    s.commit(a)
    write(os.path.join(a, "f"), "two")
    return s, a


def numbers(s, volume="v"):
    """Numbers of the commits of a volume, the newest first."""
    answer = s.server.call("GET", "/v1/volumes/%s/commits" % volume)[1]
    return [c["number"] for c in answer["commits"]]


def test_end(t):
    """SIGTERM lets the client go at once, and nobody waits for it: the mount
    goes, and the commit is done by the next start."""
    s, a = start(t)
    held = Held(t, s, a)
    began = time.monotonic()
    s.daemon.process.send_signal(signal.SIGTERM)
    status, answer = end(held.process)
    t.equal((1, "unavailable", "ending"), (
        status, answer["error"]["type"], answer["error"]["code"]), "client")
    t.equal(0, s.daemon.process.wait(30), "status of sailvold")
    took = time.monotonic() - began
    # Who waits for those elsewhere does so for 10 s.
    t.true(took < 9, "sailvold ended after %.1f s" % took)
    t.true("its session ends now" not in s.daemon.log(), "session ended hard")
    s.api.reset()
    s.daemon.start()
    t.wait_for(lambda: numbers(s) == [2, 1, 0], "the commit")


def waiting(s, a):
    job = s.daemon.ctl_json("status", a)["job"]
    return job["waiting"] if job else -1


def test_queue(t):
    """A reload and a commit that come meanwhile are done after it, in order;
    what is changed after the reload was asked for is as the one or the other
    takes it, and nothing is lost."""
    s, a = start(t)
    b = s.mount("v", "b")
    write(os.path.join(b, "theirs"), "theirs")
    s.commit(b)
    held = Held(t, s, a)
    reload = spawn(s, "reload", a)
    t.wait_for(lambda: waiting(s, a) == 1, "the reload in the queue")
    second = spawn(s, "commit", a)
    t.wait_for(lambda: waiting(s, a) == 2, "the commit in the queue")
    write(os.path.join(a, "after"), "after")
    t.equal("two", read(os.path.join(a, "f")), "meanwhile")
    t.equal((None, None), (reload.poll(), second.poll()), "both wait")
    status, first = held.let_go()
    t.equal((0, 3, 1), (status, first["number"], first["files"]), "commit")
    (r_status, r), (c_status, c) = end(reload), end(second)
    t.equal((0, 0), (r_status, c_status), "reload and commit: %r %r" % (r, c))
    t.equal("two", read(os.path.join(a, "f")), "the commit's")
    t.equal("theirs", read(os.path.join(a, "theirs")), "reloaded")
    stashed = r["stash"]["files"] if r["stash"] else 0
    t.equal(1, stashed + c["files"], "what came after: %r %r" % (r, c))
    s.reload(a)
    s.reload(b)
    stack.same(t, stack.look(a), stack.look(b), "A and B")


def test_umount(t):
    """umount refuses while it runs, --commit waits for it; --force takes the
    mount away, and the commit ends all the same."""
    s, a = start(t)
    held = Held(t, s, a)
    s.daemon.umount(a, ok=3)
    umount = spawn(s, "-s", s.daemon.socket, "umount", "--commit", a)
    time.sleep(0.3)
    t.equal(None, umount.poll(), "umount --commit waits")
    t.equal((0, 2), held.number(), "commit")
    code, answer = end(umount)
    t.equal(0, code, "umount --commit: %s" % answer)
    t.equal([], os.listdir(a), "gone")
    s.mount("v", "a")
    write(os.path.join(a, "f"), "three")
    held = Held(t, s, a)
    s.daemon.umount(a, "--force")
    t.equal((0, 3), held.number(), "commit")
    t.wait_for(lambda: not s.daemon.pids("fuse"), "the session's end")
    s.mount("v", "a")
    t.equal("three", read(os.path.join(a, "f")), "mounted again")
    t.equal(0, s.daemon.ctl_json("status", a)["dirty"]["names"], "dirty")
    t.equal([3, 2, 1, 0], numbers(s), "commits")


def test_hup(t):
    """SIGHUP, without and with a typo, does not disturb it."""
    s, a = start(t)
    held = Held(t, s, a)
    s.daemon.hup()
    t.wait_for(lambda: ": taken" in s.daemon.log(), "SIGHUP")
    with open(s.daemon.conf, "a", encoding="ascii") as f:
        f.write("typo\n")
    s.daemon.hup()
    t.wait_for(lambda: "not taken" in s.daemon.log(), "SIGHUP with a typo")
    t.equal((0, 2), held.number(), "commit")
    t.equal([2, 1, 0], numbers(s), "commits")


def test_restart(t):
    """A daemon that is ended meanwhile goes on with it when it starts again,
    and publishes once."""
    s, a = start(t)
    held = Held(t, s, a)
    s.daemon.stop()
    status, answer = held.let_go()
    t.equal((1, "unavailable"), (status, answer["error"]["type"]), "answer")
    s.daemon.start()
    t.wait_for(lambda: numbers(s) == [2, 1, 0], "the commit, once")
    t.equal("two", read(os.path.join(a, "f")), "what is shown")
    again = s.commit_json(a)
    t.equal((2, False), (again["number"], again["changed"]), "a commit then")
    t.equal([2, 1, 0], numbers(s), "commits")


def test_others(t):
    """Two daemons with one key, six mounts of three volumes: all commit at the
    same time, again and again; every commit is there, and all see the same."""
    s = stack.Stack(t, daemons=2)
    volumes = ["v", "v", "v", "v", "w", "x"]
    mounts = [s.daemons[i % 2].mount(volume, "m%d" % i, create=True)
              for i, volume in enumerate(volumes)]
    for n in range(5):
        for i, m in enumerate(mounts):
            write(os.path.join(m, "own%d" % i), "%d" % n)
            write(os.path.join(m, "same"), "%d %d" % (n, i))
        for p in [spawn(s, "commit", m) for m in mounts]:
            status, answer = end(p)
            t.equal((0, 2), (status, answer.get("files")), "%r" % answer)
    for m in mounts:
        s.reload(m)
    for m in mounts[1:4]:
        stack.same(t, stack.look(mounts[0]), stack.look(m), "same volume")
    t.equal({"own0", "own1", "own2", "own3", "same"},
            set(os.listdir(mounts[0])), "names")
    t.equal({"own5", "same"}, set(os.listdir(mounts[5])), "another volume")
    t.equal(list(range(20, -1, -1)), numbers(s), "commits of the first")
    t.equal(list(range(5, -1, -1)), numbers(s, "x"), "commits of the last")
