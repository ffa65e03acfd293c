# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""kill -9 of what has just begun to start, again and again, and in the middle of
sailvolctl restart, under load: no program's call fails, and everything that was
acknowledged is there, once."""

import collections
import contextlib
import os
import random
import signal
import threading
import time

from sailtest import deadline, killer, stack
from sailtest.supervisor import Busy, Store, progress, workers

TIMES = 10          # in a row, of each role
AFTER_S = 0.05      # it has started
AGAIN_S = 60        # until one that died is started again, at most
PAUSE_S = 1         # before that, of one that is killed again and again, at most
ROUNDS = 12
# Of a call over restarts with kills in them: pauses of back-off, and starts.
LONGEST_S, STARTS = 10, 20


class Series(threading.Thread):
    """A role dies, and then TIMES what was started for it, at any moment of its
    start."""

    def __init__(self, site, d, role, seed):
        super().__init__()
        self.site, self.d, self.role = site, d, role
        self.rng = random.Random("%d %s" % (seed, role))
        self.ages, self.starting, self.starts_s = [], 0, 0.0
        self.error = None

    def run(self):
        try:
            self.all()
        except Exception as e:
            self.error = "%s: %r" % (self.role, e)

    def all(self):
        kill = self.site.kill_one
        known = set(stack.child_pids_now(self.d.process.pid))
        kill(killer.Victim(self.d, self.role, self.d.pids(self.role)[0]))
        pid = self.next(known)
        self.measure(pid)
        parts = list(range(TIMES))
        self.rng.shuffle(parts)
        for i in parts:
            # The first one has started already.
            if self.ages:
                span = max(AFTER_S, min(2 * self.starts_s,
                                        self.starts_s + AFTER_S))
                at = span * (i + self.rng.random()) / TIMES
                time.sleep(max(0, self.seen + at - time.monotonic()))
            lived = time.monotonic() - self.seen
            starting = kill(killer.Victim(self.d, self.role, pid))[1]
            self.starting += starting
            if not starting:
                # It starts faster when others do less.
                self.starts_s = min(self.starts_s, lived)
            self.ages.append(lived)
            pid = self.next(known)

    def next(self, known):
        """The one that is started for the one that died."""
        end = time.monotonic() + AGAIN_S
        while time.monotonic() < end:
            for pid in stack.child_pids_now(self.d.process.pid):
                if pid not in known:
                    known.add(pid)
                    self.seen = time.monotonic()
                    self.site.go_on()
                    return pid
            time.sleep(0.002)
        raise TimeoutError("not started again")

    def measure(self, pid):
        self.site.t.wait_for(lambda: killer.in_force(pid), "it has started")
        self.starts_s = time.monotonic() - self.seen

    def __str__(self):
        return "%s: %d kills at an age of %s ms, %d of them while it started" % (
            self.role, len(self.ages), " ".join(
                "%.0f" % (x * 1000) for x in sorted(self.ages)), self.starting)


class Reader(threading.Thread):
    """Reads files that nobody has read here, until it is told to end."""

    def __init__(self, top, names):
        super().__init__()
        self.top, self.names = top, names
        self.ends, self.error, self.read = threading.Event(), None, 0

    def run(self):
        try:
            for name in self.names:
                if self.ends.wait(0.1):
                    break
                want = content(name)
                if stack.read(os.path.join(self.top, name)) != want:
                    raise ValueError("content of " + name)
                self.read += 1
        except Exception as e:
            self.error = repr(e)


def content(name):
    return (name + "\n") * 1000


@deadline(400)
def test_young(t):
    """Ten times in a row what is started for a fuse, a manifest and a cache,
    each of a daemon of its own."""
    seed = t.seed()
    site = killer.Site(t, seed, writers=1, round_ops=40, plan=(
        (0, "v", "a", False), (1, "w", "b", False), (2, "x", "c", False)))
    first = site.s.mount("cold", "first", create=True)
    names = ["f%d" % i for i in range(300)]
    for name in names:
        stack.write(os.path.join(first, name), content(name))
    site.s.commit(first)
    reader = Reader(site.s.daemons[2].mount("cold", "cold"), names)
    series = [Series(site, d, role, seed) for d, role in zip(
        site.s.daemons, ("fuse", "manifest", "cache"))]
    with site.working():
        for one in [reader] + series:
            one.start()
        for one in series:
            one.join()
        reader.ends.set()
        reader.join()
    t.equal([], [x.error for x in [reader] + series if x.error], "errors")
    for one in series:
        t.equal(TIMES, len(one.ages), "kills of " + one.role)
        t.true(one.starting > 0, "none while it started: %s" % one)
    t.true(sum(one.starting for one in series) >= 2 * len(series),
           "few while they started: %s" % ", ".join(map(str, series)))
    t.true(reader.read > 0, "cold files were read")
    site.finish()
    waited = site.judge_calls()
    later = [x for x in waited if x[0] > x[1] + PAUSE_S]
    t.true(waited and not later, "%d of %d calls ended too late after the last "
           "kill: %s" % (len(later), len(waited), later[-10:]))
    t.count("kills survived", site.total())
    t.said = ("%s; %d cold files read, %d calls in flight, the longest %.1f s, "
              "%.1f s after the last kill" % (
                  "; ".join(map(str, series)), reader.read, site.in_flight,
                  site.longest()[0] / 1000, waited[-1][0]))


PHASES = ("asked", "stopping", "starting")


def reach(t, d, phase, before):
    """Until a daemon that is told to restart is asking the program that is there
    now; stops the workers from before; starts others."""
    begin = os.stat(t.path(d.log_name)).st_size

    def becomes():
        with open(t.path(d.log_name), "rb") as f:
            f.seek(begin)
            return b"restart: becomes" in f.read()

    def there():
        if phase == "starting":
            return becomes() and not before & {
                pid for pid, _ in stack.children_now(d.process.pid)}
        return becomes() or phase == "asked" and "sailvold" in [
            name for _, name in stack.children_now(d.process.pid)]

    end = time.monotonic() + 60
    while not there():
        t.true(time.monotonic() < end, "not within 60 s: " + phase)
        time.sleep(0.0005)
    return "stopping" if phase == "asked" and becomes() else phase


def kill_some(d, role, before, rng, starts_s):
    """Of a daemon that restarts; what was hit: {"old", "starting", "young"}"""
    hit = collections.Counter()
    for _ in range(3):
        found = [(pid, name) for pid, name in stack.children_now(d.process.pid)
                 if name in killer.STARTING + killer.ROLES and
                 (role == "any" or name in killer.STARTING + (role,))]
        if found:
            pid, name = rng.choice(found)
            starting = not killer.in_force(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                hit["old" if pid in before else
                    "starting" if starting else "young"] += 1
        time.sleep(rng.random() * starts_s / 3)
    return hit


@deadline(400)
def test_restart(t):
    """Roles, and the parent, under a supervisor that keeps the descriptors."""
    t.expect_deaths = True
    rng = random.Random(t.seed())
    s = stack.Stack(t)
    d = s.daemon
    d.stop()
    store = Store(t)
    hit = collections.Counter()
    with contextlib.closing(store):
        store.start(d)
        a = s.mount("vol", "a", create=True)
        busy = Busy(a + "/busy", 0.002)
        before = workers(d)
        ctl = stack.spawn(s, "-s", d.socket, "restart")
        reach(t, d, "starting", before)
        begun = time.monotonic()
        t.wait_for(lambda: d.pids("fuse") and all(
            map(killer.in_force, workers(d))), "they have started")
        starts_s = time.monotonic() - begun
        t.equal(0, stack.end(ctl)[0], "an undisturbed restart")
        for i in range(ROUNDS):
            role = ("parent", "fuse", "any", "manifest")[i % 4]
            progress(t, busy)
            before = workers(d)
            ctl = stack.spawn(s, "-s", d.socket, "restart")
            phase = reach(t, d, PHASES[i // 4 % len(PHASES)], before)
            # Its stop takes a moment, its start longer.
            time.sleep(rng.random() * (starts_s / 2 if phase == "starting"
                                       else 0.005))
            if role == "parent":
                os.kill(d.process.pid, signal.SIGKILL)
                d.process.wait()
                hit["parent, " + phase] += 1
                store.start(d)
                ctl.kill()      # it waits for a restart that there is not
            else:
                hit.update(kill_some(d, role, before, rng, starts_s))
            ctl.communicate(timeout=120)
            t.wait_for(d.up, "it answers", 60)
            progress(t, busy)
        busy.stop(t)
        busy.close()
        s.commit(a)
        b = s.mount("vol", "b")
        stack.same(t, stack.look(a), stack.look(b), "as published")
        for path in (a, b):
            d.umount(path)
        d.stop()
    t.true(hit["old"] > 0 and hit["starting"] > 0 and
           hit["parent, starting"] > 0 and hit["parent, stopping"] > 0,
           "what was hit: %s" % hit)
    t.true(busy.longest < LONGEST_S + STARTS * starts_s,
           "a call took %.1f s; the roles' start %.2f s" % (
               busy.longest, starts_s))
    t.count("kills survived", sum(hit.values()))
    t.said = "%d kills during %d restarts (%s), the longest call %.2f s" % (
        sum(hit.values()), ROUNDS, ", ".join(
            "%s %d" % x for x in hit.most_common()), busy.longest)
