# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Daemons, a server and programs that work in their mounts (crash), and one that
kills the processes of it all, by a seed."""

import bisect
import collections
import contextlib
import os
import random
import select
import signal
import threading
import time

from sailtest import control, crash, stack, tls

PARK_S = 90         # for a call that is in flight when its process is killed
# A role that dies younger than that starts later: the second time in a row 0.1 s,
# then twice as much each time.  So many of a daemon may be in so many seconds.
AGE_S, YOUNG, YOUNG_S = 1.1, 2, 2.5
YOUNG_PERCENT = 5               # of all kills, at least
LONGEST_MS = 30 * 1000          # of one call, on a machine that is busy
# A call in flight at a kill, or begun just after it, ends so long after it, and
# a machine that is busy adds what its control says.
LATE_S, BUSY = 1, 2
ROLES = ("fuse", "manifest", "cache", "fetch", "notify", "metrics")
STARTING = ("exe", "sailvol-fetch")     # the name of one that has none yet
HERTZ = os.sysconf("SC_CLK_TCK")

Victim = collections.namedtuple("Victim", "owner role pid starts",
                                defaults=(False,))


class Mount:
    """reloads: one of its writers commits and reloads, and so nobody looks at
    the numbers of links, which a reload changes."""

    def __init__(self, site, daemon, volume, where, reloads):
        self.daemon, self.where, self.reloads = daemon, where, reloads
        self.number = len(site.mounts)
        self.path = daemon.mount(volume, where, create=True)
        self.volume = volume
        self.writers = [
            crash.Writer(site, self, "%s%d" % (where, i),
                         commands=reloads and i == 0)
            for i in range(site.writers)]
        self.racers = [] if reloads else [
            crash.Racer(site, self, "race%d" % i) for i in range(2)]
        self.lockers = [] if reloads else [
            crash.Locker(site, self, "lock%d" % i) for i in range(2)]

    @property
    def programs(self):
        return self.writers + self.racers + self.lockers


def age(pid):
    """Seconds; None: it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii",
                  errors="replace") as f:
            ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / HERTZ


def in_force(pid):
    """Whether its filter is: about then it has started."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii",
                  errors="replace") as f:
            return "\nSeccomp:\t2\n" in f.read()
    except (FileNotFoundError, ProcessLookupError):
        return False


# Daemon, volume, folder, with commits and reloads
PLAN = ((0, "v", "a", True), (1, "v", "b", True),
        (0, "w", "c", False), (1, "x", "d", False))


class Site:
    def __init__(self, t, seed, plan=PLAN, writers=2,
                 round_ops=crash.ROUND_OPS):
        self.t, self.seed = t, seed
        self.writers, self.round_ops = writers, round_ops
        self.rng = random.Random(seed)
        t.expect_deaths = t.expect_deaths or True
        self.s = stack.Stack(
            t, daemons=1 + max(x[0] for x in plan), authority=tls.Authority(t),
            extra="metrics listen on 127.0.0.1 port 0\n")
        self.board = crash.Board(32)
        self.programs, self.mounts = [], []
        for number, volume, where, reloads in plan:
            self.mounts.append(Mount(self, self.s.daemons[number], volume,
                                     where, reloads))
        self.killed = collections.Counter()
        self.kills = collections.defaultdict(list)      # when, by owner
        self.young = collections.defaultdict(list)      # those of young ones
        self.starting = self.locks_held = 0
        self.in_flight = self.kills_in_flight = self.kills_unsynced = 0
        self.checks = 0
        self.story = []
        self.lock = threading.Lock()
        for p in self.programs:
            p.begin()
            p.start()
        d = self.s.daemons[0]
        self.control = control.Control(t, [d.program, "-n", "-f", d.conf])

    def lock_byte(self, mount, kind):
        """Where the board says who has a lock of a mount."""
        return crash.INSIDE + mount.number * len(crash.LOCKS) + sorted(
            crash.LOCKS).index(kind)

    # ---- the programs ----

    def describe(self):
        """What is waited for, and who runs."""
        out = []
        for p in self.programs:
            p.replay()
            _, kind, _, since = self.board.get(p.index)
            if kind != crash.IDLE:
                out.append("%s: %s since %.1f s" % (
                    p, p.begun, time.monotonic() - since))
        for d in self.s.daemons:
            out.append("%s: %s" % (d.name, d.roles()))
        out.append("sailapid: %s" % self.s.server.roles())
        return "\n".join(out + self.story[-20:])

    def fail(self, why):
        self.t.fail("seed %d: %s\n%s" % (self.seed, why, self.describe()))

    def park(self, programs, dead=()):
        """Until each has ended its call; those of the dead daemons may have
        failed: the set of them."""
        left, failed = {p.index for p in programs}, set()
        end = time.monotonic() + PARK_S
        while left:
            wait = end - time.monotonic()
            if wait <= 0:
                self.fail("not back within %d s: %s" % (PARK_S, ", ".join(
                    str(self.programs[i]) for i in left)))
            if not select.select([self.board.parked_r], [], [], wait)[0]:
                continue
            for byte in os.read(self.board.parked_r, 64):
                p = self.programs[byte & 0x7f]
                left.discard(p.index)
                if byte & 0x80:
                    failed.add(p)
        for p in failed:
            p.replay()
            if p.mount.daemon not in dead:
                self.fail("%s: %s failed: %s" % (p, p.begun, p.error))
        return failed

    def look(self, mounts):
        for m in mounts:
            self.checks += 1
            for p in m.writers:
                wrong = p.check()
                if wrong:
                    self.fail(wrong)
            for check, pair in ((crash.check_race, m.racers),
                                (crash.check_locks, m.lockers)):
                wrong = pair and check(pair)
                if wrong:
                    self.fail(wrong)

    # ---- killing ----

    def victims(self):
        """Those of now: what the kill before this one has started, too."""
        out, now = [], time.monotonic()
        for owner in list(self.s.daemons) + [self.s.server]:
            few = sum(x > now - YOUNG_S for x in self.young[owner]) < YOUNG
            names = STARTING + (() if owner is self.s.server else ROLES)
            for pid, role in stack.children_now(owner.process.pid):
                if owner is not self.s.server and role not in names:
                    continue
                young = (age(pid) or 0) <= AGE_S
                if few or not young or role == "notify":
                    out.append(Victim(
                        owner, "starting" if role in STARTING else role, pid,
                        young and not in_force(pid)))
        return out

    def choose(self, victims):
        """Roles are alike; there are more processes of some; what just starts
        is for a short time only."""
        early = [v for v in victims if v.starts]
        if early and self.rng.random() < 0.5:
            return self.rng.choice(early)
        roles = sorted({(v.owner is self.s.server, v.role) for v in victims})
        weight = {"fuse": 6, "manifest": 3, "notify": 9, "starting": 9}
        weights = [0.5 if server else weight.get(role, 1)
                   for server, role in roles]
        role = self.rng.choices(roles, weights)[0]
        return self.rng.choice([v for v in victims if
                                (v.owner is self.s.server, v.role) == role])

    def risk(self, owner):
        """What is in flight of programs that the owner serves, and not synced:
        counted just before the kill."""
        flight, unsynced = 0, 0
        for p in self.programs:
            _, kind, n, _ = self.board.get(p.index)
            if owner is self.s.server:
                flight += kind == crash.COMMAND
            elif p.mount.daemon is owner:
                flight += kind != crash.IDLE
                unsynced += n
        return flight, unsynced

    def held(self, owner):
        """How many locks of its mounts programs have."""
        return sum(self.board.map[self.lock_byte(m, kind)] != 0
                   for m in self.mounts if m.daemon is owner
                   for kind in crash.LOCKS)

    def count(self, what, owner, flight, unsynced):
        self.killed[what] += 1
        self.in_flight += flight
        self.kills_in_flight += flight > 0
        self.kills_unsynced += unsynced > 0
        self.story.append("kill -9 of %s of %s, %d in flight, %d not synced" % (
            what, owner.name, flight, unsynced))

    def kill_one(self, v):
        """Returns whether it was younger than AGE_S, and just starting."""
        flight, unsynced = self.risk(v.owner)
        held = self.held(v.owner) if v.role == "fuse" else 0
        lived = age(v.pid)
        young = lived is not None and lived <= AGE_S
        starting = young and not in_force(v.pid)
        now = time.monotonic()
        try:
            os.kill(v.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False, False
        with self.lock:
            self.kills[v.owner].append(now)
            if young and v.role != "notify":
                self.young[v.owner].append(now)
            self.starting += starting
            self.locks_held += held > 0
            self.count(v.role if v.owner is not self.s.server else
                       "sailapid's " + v.role, v.owner, flight, unsynced)
            self.story[-1] += ", %.2f s old" % (lived or 0)
        return young, starting

    def pause(self, most):
        time.sleep(self.rng.random() * most)

    @contextlib.contextmanager
    def working(self, dead=()):
        """The programs work meanwhile."""
        self.board.stop(False)
        for p in self.programs:
            p.release()
        yield
        self.board.stop(True)
        self.failed = self.park(self.programs, dead)

    def go_on(self):
        """While they work: those that have done their part work more."""
        with self.lock:
            while select.select([self.board.parked_r], [], [], 0)[0]:
                for byte in os.read(self.board.parked_r, 64):
                    if byte & 0x80:
                        self.fail("%s failed" % self.programs[byte & 0x7f])
                    self.programs[byte].release()

    def roles_die(self):
        with self.working():
            for _ in range(self.rng.randrange(1, 6)):
                self.pause(0.012)
                have = self.victims()
                if have:
                    self.kill_one(self.choose(have))
            self.pause(0.02)

    def parents_die(self):
        """kill -9 of all processes of some, or of their parents, whose others
        end then; a start; everything is there."""
        owners = self.rng.choice(
            [[d] for d in self.s.daemons] * 2 +
            [list(self.s.daemons), [self.s.server],
             list(self.s.daemons) + [self.s.server]])
        dead = [o for o in owners if o is not self.s.server]
        with self.working(dead):
            self.pause(0.03)
            for owner in owners:
                self.kill_parent(owner)
            # Others go on meanwhile; a commit waits for the server.
            self.pause(0.03)
            if self.s.server in owners:
                self.s.server.start()
        # What is passed through works on; the others notice soon.
        end = time.monotonic() + PARK_S
        while left := [p for p in self.programs if p.mount.daemon in dead and
                       p not in self.failed]:
            if time.monotonic() >= end:
                self.fail("without its daemon it works on: %s" % left[0])
            self.board.stop(False)
            for p in left:
                p.release()
            self.failed |= self.park(left, dead)
        for owner in dead:
            self.restart(owner)

    def kill_parent(self, owner):
        whole = self.killed["all"] <= 2 * self.killed["parent"]
        if owner is self.s.server:
            roles = list(owner.roles().values())
        else:
            roles = [pid for pid, _ in owner.roles()]
        flight, unsynced = self.risk(owner)
        if whole:
            stack.kill_all(self.t, owner.process, roles)
        else:
            owner.process.kill()
            owner.process.wait()
            self.t.wait_for(lambda: not any(map(stack.alive, roles)),
                            "%s: its roles end without the parent: %s" % (
                                owner.name, roles), 60)
        self.count("all" if whole else "parent", owner, flight, unsynced)

    def restart(self, d):
        d.start()
        mine = [m for m in self.mounts if m.daemon is d]
        for m in mine:
            self.t.wait_for(
                lambda m=m: os.path.exists(m.path + "/.sailvol"),
                "%s comes back after a kill of all" % m.path, 60)
        for m in mine:
            for p in m.programs:
                p.end()
        self.look(mine)
        for m in mine:
            for p in m.programs:
                p.start()

    # ---- all of it ----

    def run(self, enough):
        """Until enough() says so."""
        rounds = 0
        while not enough():
            rounds += 1
            if rounds % 12 == 0:
                self.parents_die()
            else:
                self.roles_die()
            if rounds % 25 == 0:
                self.look(self.mounts)

    def finish(self):
        self.look(self.mounts)
        for p in self.programs:
            p.end()
        for m in self.mounts:
            self.s.commit(m.path)
        # What one wrote the other reads, from the store.
        shared = [m for m in self.mounts if m.reloads]
        for m in shared:
            self.s.reload(m.path)
        for m, other in zip(shared, reversed(shared)):
            for p in m.writers:
                p.mount = other
                wrong = p.check()
                if wrong:
                    self.fail("as committed: " + wrong)
        for d in self.s.daemons:
            for m in self.mounts:
                if m.daemon is d:
                    d.umount(m.path)
            d.stop()

    # ---- what came of it ----

    def total(self):
        return sum(self.killed.values())

    def longest(self):
        return max(p.longest for p in self.programs)

    def judge_calls(self):
        """Those that waited for what was killed: how long after it they ended,
        [(seconds, so many would be good, what)], the worst last."""
        self.control.stop()
        waited = []
        for p in self.programs:
            kills = sorted(self.kills[p.mount.daemon])
            for since, until, op in p.slow:
                n = bisect.bisect(kills, until)
                if n == 0 or kills[n - 1] <= since - LATE_S:
                    continue
                since = max(since, kills[n - 1])
                waited.append((
                    until - since,
                    LATE_S + BUSY * self.control.worst(since, until),
                    "%s: %s" % (p, op)))
        return sorted(waited)

    def judge(self):
        """The claims, and that there was something to lose."""
        t, kills = self.t, self.total()
        ms, op = self.longest()
        t.true(ms < LONGEST_MS, "a call took %d ms: %s" % (ms, op))
        waited = self.judge_calls()
        later = [x for x in waited if x[0] > x[1]]
        t.true(not later,
               "%d of %d calls ended later than %d s after a kill:\n%s" % (
                   len(later), len(waited), LATE_S, "\n".join(
                       "%.2f s, good: %.2f: %s" % x for x in later[-20:])))
        t.true(self.kills_in_flight * 3 > kills, "nothing was at risk: %d of "
               "%d kills found a call in flight" % (
                   self.kills_in_flight, kills))
        t.true(self.kills_unsynced * 2 > kills, "nothing was at risk: %d of "
               "%d kills found a change that was not synced" % (
                   self.kills_unsynced, kills))
        young = sum(map(len, self.young.values()))
        t.true(young * 100 >= kills * YOUNG_PERCENT and self.starting > 0,
               "%d of %d kills were of young ones, %d of those that just "
               "started" % (young, kills, self.starting))
        t.true(self.locks_held > 0, "no lock was held over a death of fuse")
        # notify lives as long as a reload tells the kernel something.
        for role in set(ROLES + ("all", "parent")) - {"notify"}:
            t.true(self.killed[role] > 0, "no %s was killed" % role)
        won = [min(len(r.won) for r in m.racers) for m in self.mounts
               if m.racers]
        t.true(all(won), "races that one always won: %s" % won)

    def said(self):
        ms, op = self.longest()
        command = max(p.longest_command for p in self.programs)
        waited = self.judge_calls() or [(0, 0, "")]
        return ("%d kills survived (%s), %d of young ones, %d of those that just "
                "started, %d with a lock held; %d operations acknowledged, %d in "
                "flight at a kill (%d kills), %d kills found unsynced changes; "
                "%d calls waited 20 ms or more for what was killed, %d over a "
                "second, the longest %.2f s (%s; the control %.2f s); the longest call "
                "%.2f s (%s), the longest command %.1f s, %d mounts compared, "
                "seed %d" % (
                    self.total(), ", ".join(
                        "%s %d" % x for x in self.killed.most_common()),
                    sum(map(len, self.young.values())), self.starting,
                    self.locks_held,
                    sum(p.acknowledged for p in self.programs), self.in_flight,
                    self.kills_in_flight, self.kills_unsynced,
                    len(waited), sum(x[0] > LATE_S for x in waited),
                    waited[-1][0], waited[-1][2], self.control.worst_of_all(),
                    ms / 1000, op, command[0] / 1000, self.checks, self.seed))
