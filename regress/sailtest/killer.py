# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Daemons, a server and programs that work in their mounts (crash), and one that
kills the processes of it all, by a seed."""

import collections
import contextlib
import os
import random
import select
import signal
import time

from sailtest import crash, stack, tls

PARK_S = 90         # for a call that is in flight when its process is killed
AGE_S = 1.1         # a role that dies younger than a second starts later
LONGEST_MS = 30 * 1000          # of one call, on a machine that is busy
# A call that is in flight when a process is killed is late, at most that; of
# those that are late so many in a hundred may take longer: a machine is busy.
LATER_MS, LATER_PERCENT = 1000, 5
ROLES = ("fuse", "manifest", "cache", "fetch", "notify", "metrics")
HERTZ = os.sysconf("SC_CLK_TCK")

Victim = collections.namedtuple("Victim", "owner role pid")


class Mount:
    """reloads: one of its writers commits and reloads, and so nobody looks at
    the numbers of links, which a reload changes."""

    def __init__(self, site, daemon, volume, where, reloads):
        self.daemon, self.where, self.reloads = daemon, where, reloads
        self.path = daemon.mount(volume, where, create=True)
        self.volume = volume
        self.writers = [
            crash.Writer(site, self, "%s%d" % (where, i),
                         commands=reloads and i == 0) for i in range(2)]
        self.racers = [] if reloads else [
            crash.Racer(site, self, "race%d" % i) for i in range(2)]

    @property
    def programs(self):
        return self.writers + self.racers


def age(pid):
    """Seconds; None: it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii",
                  errors="replace") as f:
            ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / HERTZ


class Site:
    def __init__(self, t, seed):
        self.t, self.seed = t, seed
        self.rng = random.Random(seed)
        t.expect_deaths = True
        self.s = stack.Stack(
            t, daemons=2, authority=tls.Authority(t),
            extra="metrics listen on 127.0.0.1 port 0\n")
        self.board = crash.Board(32)
        self.programs = []
        one, two = self.s.daemons
        self.mounts = [Mount(self, d, volume, where, reloads)
                       for d, volume, where, reloads in (
                           (one, "v", "a", True), (two, "v", "b", True),
                           (one, "w", "c", False), (two, "x", "d", False))]
        self.killed = collections.Counter()
        self.in_flight = self.kills_in_flight = self.kills_unsynced = 0
        self.checks = 0
        self.story = []
        for p in self.programs:
            p.begin()
            p.start()

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
            if m.racers:
                wrong = crash.check_race(m.racers)
                if wrong:
                    self.fail(wrong)

    # ---- killing ----

    def victims(self):
        out = []
        for d in self.s.daemons:
            out += [Victim(d, role, pid) for pid, role in d.roles()
                    if role in ROLES]
        out += [Victim(self.s.server, role, pid)
                for role, pid in self.s.server.roles().items()]
        # Seldom one that starts later then.
        return [v for v in out if v.role == "notify" or
                (age(v.pid) or 0) > AGE_S or self.rng.random() < 0.01]

    def choose(self, victims):
        """Roles are alike; there are more processes of some."""
        roles = sorted({(v.owner is self.s.server, v.role) for v in victims})
        weight = {"fuse": 6, "manifest": 3, "notify": 9}
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

    def count(self, what, owner, flight, unsynced):
        self.killed[what] += 1
        self.in_flight += flight
        self.kills_in_flight += flight > 0
        self.kills_unsynced += unsynced > 0
        self.story.append("kill -9 of %s of %s, %d in flight, %d not synced" % (
            what, owner.name, flight, unsynced))

    def kill_one(self, v):
        flight, unsynced = self.risk(v.owner)
        try:
            os.kill(v.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.count(v.role if v.owner is not self.s.server else
                   "sailapid's " + v.role, v.owner, flight, unsynced)

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

    def roles_die(self):
        have = self.victims()
        with self.working():
            for _ in range(self.rng.randrange(1, 6)):
                self.pause(0.012)
                if have:
                    have.remove(v := self.choose(have))
                    self.kill_one(v)
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
        a, b = self.mounts[:2]
        for m in (a, b):
            self.s.reload(m.path)
        # What one wrote the other reads, from the store.
        for m, other in ((a, b), (b, a)):
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

    def judge(self):
        """The claims, and that there was something to lose."""
        t, kills = self.t, self.total()
        ms, op = self.longest()
        t.true(ms < LONGEST_MS, "a call took %d ms: %s" % (ms, op))
        late, later = (sum(getattr(p, name) for p in self.programs)
                       for name in ("late", "later"))
        t.true(later * 100 <= late * LATER_PERCENT,
               "%d of %d calls that were late took over %d ms" % (
                   later, late, LATER_MS))
        t.true(self.kills_in_flight * 3 > kills, "nothing was at risk: %d of "
               "%d kills found a call in flight" % (
                   self.kills_in_flight, kills))
        t.true(self.kills_unsynced * 2 > kills, "nothing was at risk: %d of "
               "%d kills found a change that was not synced" % (
                   self.kills_unsynced, kills))
        # notify lives as long as a reload tells the kernel something.
        for role in set(ROLES + ("all", "parent")) - {"notify"}:
            t.true(self.killed[role] > 0, "no %s was killed" % role)
        won = [min(len(r.won) for r in m.racers) for m in self.mounts
               if m.racers]
        t.true(all(won), "races that one always won: %s" % won)

    def said(self):
        ms, op = self.longest()
        command = max(p.longest_command for p in self.programs)
        return ("%d kills survived (%s), %d operations acknowledged, %d in "
                "flight at a kill (%d kills), %d kills found unsynced changes, "
                "%d calls took 20 ms or more, %d over a second, the longest "
                "%.2f s (%s), the longest command %.1f s, %d mounts compared, seed %d" % (
                    self.total(), ", ".join(
                        "%s %d" % x for x in self.killed.most_common()),
                    sum(p.acknowledged for p in self.programs), self.in_flight,
                    self.kills_in_flight, self.kills_unsynced,
                    sum(p.late for p in self.programs),
                    sum(p.later for p in self.programs), ms / 1000, op,
                    command[0] / 1000, self.checks, self.seed))
