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

NEEDED = ("manifest", "cache", "fetch")     # by a cold read
IN_FLIGHT_S = 5     # until a program has begun a read or a command, at most
TRIES = 4           # to see it while it is in flight

Victim = collections.namedtuple("Victim", "owner role pid starts",
                                defaults=(False,))


class Mount:
    """reloads: one of its writers commits and reloads, and so nobody looks at
    the numbers of links, which a reload changes."""

    def __init__(self, site, daemon, volume, where, reloads):
        self.daemon, self.where, self.reloads = daemon, where, reloads
        self.number = len(site.mounts)
        before = folders(daemon)
        self.path = daemon.mount(volume, where, create=True)
        self.folder = (folders(daemon) - before).pop()
        self.volume = volume
        self.writers = [
            crash.Writer(site, self, "%s%d" % (where, i),
                         commands=reloads and i == 0)
            for i in range(site.writers)]
        self.racers = [] if reloads else [
            crash.Racer(site, self, "race%d" % i) for i in range(2)]
        self.lockers = [] if reloads else [
            crash.Locker(site, self, "lock%d" % i) for i in range(2)]
        self.readers = [crash.Reader(site, self, "reader")] if (
            reloads and site.cold_files) else []

    @property
    def programs(self):
        return self.writers + self.racers + self.lockers + self.readers


def folders(daemon):
    """Of its mounts: the root directory of the fuse of each is one."""
    top = daemon.dir + "/state/mounts"
    return {os.path.join(top, name) for name in os.listdir(top)}


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


def sent(pid):
    """Whether it was there to be killed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


# Daemon, volume, folder, with commits and reloads
PLAN = ((0, "v", "a", True), (1, "v", "b", True),
        (0, "w", "c", False), (1, "x", "d", False))


class Site:
    """cold_files: so many there are that a mount which reloads has not read when
    the programs begin; its readers read one when one of NEEDED dies."""

    def __init__(self, t, seed, plan=PLAN, writers=2,
                 round_ops=crash.ROUND_OPS, cold_files=0):
        self.t, self.seed, self.cold_files = t, seed, cold_files
        self.writers, self.round_ops = writers, round_ops
        self.rng = random.Random(seed)
        t.expect_deaths = t.expect_deaths or True
        self.s = stack.Stack(
            t, daemons=1 + max(x[0] for x in plan), authority=tls.Authority(t),
            extra="metrics listen on 127.0.0.1 port 0\n")
        self.board = crash.Board(32)
        self.programs, self.mounts = [], []
        if cold_files:
            self.publish_cold(plan)
        for number, volume, where, reloads in plan:
            self.mounts.append(Mount(self, self.s.daemons[number], volume,
                                     where, reloads))
        self.killed = collections.Counter()
        self.kills = collections.defaultdict(list)      # when, by owner
        self.young = collections.defaultdict(list)      # those of young ones
        self.starting = self.locks_held = 0
        # By role: kills of it, those of them that found what uses it in
        # flight, or a change that was not synced.
        self.kills_of = collections.Counter()
        self.found_flight = collections.Counter()
        self.found_unsynced = collections.Counter()
        self.in_flight = 0
        self.checks = 0
        self.story = []
        self.lock = threading.Lock()
        for p in self.programs:
            p.begin()
            p.start()
        d = self.s.daemons[0]
        self.control = control.Control(t, [d.program, "-n", "-f", d.conf])

    def publish_cold(self, plan):
        """Into the volumes that are reloaded, by no daemon."""
        top = self.t.path("cold-source")
        crash.make_cold(top, self.cold_files)
        for volume in sorted({v for _, v, _, reloads in plan if reloads}):
            self.s.server.call("POST", "/v1/volumes", {"name": volume})
            self.t.run([self.s.program, "put", top + "/cold", volume + ":/"],
                       env=dict(os.environ, SAIL_API_URL=self.s.url,
                                SAIL_API_KEY=self.s.server.key,
                                SAIL_CA_FILE=self.s.server.authority.ca,
                                XDG_STATE_HOME=self.t.path("put-state")))

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

    def users(self, owner, role, pid):
        """Programs, and the kinds of calls, that need this process: what they
        have in flight then is what its death may spoil."""
        mine = [p for p in self.programs if p.mount.daemon is owner]
        if owner is self.s.server:
            return self.programs, (crash.COMMAND, crash.COLD)
        if role in ("all", "parent"):
            return mine, (crash.LOCAL, crash.COMMAND, crash.COLD)
        if role == "fuse":
            try:
                folder = os.readlink("/proc/%d/root" % pid)
            except OSError:
                folder = None
            return [p for p in mine if p.mount.folder == folder], (
                crash.LOCAL, crash.COMMAND, crash.COLD)
        return mine, {"manifest": (crash.COMMAND, crash.COLD),
                      "fetch": (crash.COMMAND, crash.COLD),
                      "cache": (crash.COLD,),
                      "notify": (crash.COMMAND,)}.get(role, ())

    def flight(self, users):
        """{(program, number of its call)}"""
        programs, kinds = users
        found = set()
        for p in programs:
            n, kind, _, _ = self.board.get(p.index)
            if kind in kinds:
                found.add((p, n))
        return found

    def unsynced(self, role, users):
        """Changes that could be lost with it."""
        if role not in ("fuse", "manifest", "all", "parent"):
            return 0
        return sum(self.board.get(p.index)[2] for p in users[0])

    def read_cold(self, owner):
        """A read of what must be fetched is in flight; the machine may be so busy
        that one is over before we see it."""
        for p in self.programs:
            if p.mount.daemon is not owner or p not in p.mount.readers:
                continue
            end = time.monotonic() + IN_FLIGHT_S
            for _ in range(TRIES):
                n, kind, _, _ = self.board.get(p.index)
                if kind == crash.COLD or not p.left():
                    break
                p.want()
                while (self.board.get(p.index)[0] == n and
                       time.monotonic() < end):
                    time.sleep(0.0002)

    def held(self, owner):
        """How many locks of its mounts programs have."""
        return sum(self.board.map[self.lock_byte(m, kind)] != 0
                   for m in self.mounts if m.daemon is owner
                   for kind in crash.LOCKS)

    def reload_now(self, owner):
        """A reload is in flight, and has been for a moment; what the others have
        is published, for the next one."""
        for m in self.mounts:
            if not m.reloads:
                continue
            self.board.want(m, "reload" if m.daemon is owner else "commit")
            slot = m.writers[0].index
            end = time.monotonic() + IN_FLIGHT_S
            while (m.daemon is owner and time.monotonic() < end and
                   self.board.get(slot)[1] != crash.COMMAND):
                time.sleep(0.001)
        self.pause(0.02)

    def kill(self, owner, role, pids):
        """All of these at once, and what that put at risk: calls that are in
        flight before and after it.  Those of them that still were there."""
        users = self.users(owner, role, pids[0])
        # Another fetch might go on with it.
        spared = role == "fetch" and owner is not self.s.server and not (
            set(pids) >= self.fetches(owner))
        if owner is not self.s.server and role in NEEDED + ("all", "parent"):
            self.read_cold(owner)
        before, unsynced = self.flight(users), self.unsynced(role, users)
        dead = [pid for pid in pids if sent(pid)]
        flight = len(before & self.flight(users))
        what = "sailapid's " + role if owner is self.s.server else role
        with self.lock:
            self.killed[what] += 1 if role == "all" else len(dead)
            if dead and users[0] and not spared:
                self.kills_of[what] += 1
                self.found_flight[what] += flight > 0
                self.found_unsynced[what] += unsynced > 0
                self.in_flight += flight
            self.story.append(
                "kill -9 of %s of %s, %d in flight, %d not synced" % (
                    what, owner.name, flight, unsynced))
        return dead

    def fetches(self, owner):
        return {pid for pid, role in stack.children_now(owner.process.pid)
                if role == "fetch"}

    def chosen(self, v):
        """What dies for it.  Of the fetches of a daemon some die alone, some
        together; notify waits for more long after it was needed."""
        if v.role == "notify" and self.mounts[0].reloads:
            self.reload_now(v.owner)
            return [x.pid for x in self.victims() if
                    (x.owner, x.role) == (v.owner, v.role)][:1] or [v.pid]
        if v.role != "fetch" or v.owner is self.s.server or (
                not self.cold_files or self.rng.random() < 0.3):
            return [v.pid]
        return sorted({v.pid} | {x.pid for x in self.victims() if
                                 (x.owner, x.role) == (v.owner, v.role)})

    def kill_one(self, v):
        """Returns whether it was younger than AGE_S, and just starting.  When one
        of NEEDED dies a cold read is in flight."""
        pids = self.chosen(v)
        held = self.held(v.owner) if v.role == "fuse" else 0
        lived = {pid: age(pid) for pid in pids}
        young = {pid for pid in pids if (lived[pid] or AGE_S) < AGE_S}
        starting = pids[0] in young and not in_force(pids[0])
        now = time.monotonic()
        dead = self.kill(v.owner, v.role, pids)
        if not dead:
            return False, False
        with self.lock:
            self.kills[v.owner].append(now)
            if v.role != "notify":
                self.young[v.owner] += [now] * len(young)
            self.starting += starting
            self.locks_held += held > 0
            self.story[-1] += ", %.2f s old" % (lived[pids[0]] or 0)
        return pids[0] in young, starting

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
        # What is passed through works on; the others notice soon, and a reader
        # when it is told to read.
        end = time.monotonic() + PARK_S
        while left := [p for p in self.programs if p.mount.daemon in dead and
                       p not in self.failed]:
            if time.monotonic() >= end:
                self.fail("without its daemon it works on: %s" % left[0])
            self.board.stop(False)
            for p in left:
                if p in p.mount.readers:
                    p.want()
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
        self.kill(owner, "all" if whole else "parent",
                  [owner.process.pid] + (roles if whole else []))
        owner.process.wait()
        self.t.wait_for(lambda: not any(map(stack.alive, roles)),
                        "%s: its roles end without the parent: %s" % (
                            owner.name, roles), 60)

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
            # What is fetched waits for the server, too, whose deaths are others'.
            if p in p.mount.readers:
                continue
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

    def judge_risk(self):
        """There was something to lose at the kills of each role."""
        at_risk = ["fuse", "notify", "parent"] + list(
            NEEDED if self.cold_files else ())
        for what, roles, counter in (
                ("a call that needs it in flight", at_risk, self.found_flight),
                ("a change that was not synced", ["fuse", "manifest", "parent"],
                 self.found_unsynced)):
            for role in roles:
                both = ("parent", "all") if role == "parent" else (role,)
                found = sum(counter[x] for x in both)
                kills = sum(self.kills_of[x] for x in both)
                # notify is there to be killed only at times.
                self.t.true(found * 3 > kills or role == "notify" and not kills,
                            "nothing was at risk: %d of %d kills of %s found %s"
                            % (found, kills, role, what))

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
        self.judge_risk()
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

    def of_kills(self, found):
        return ", ".join("%s %d of %d" % (what, n, self.kills_of[what])
                         for what, n in sorted(found.items()) if n)

    def said(self):
        ms, op = self.longest()
        command = max(p.longest_command for p in self.programs)
        waited = self.judge_calls() or [(0, 0, "")]
        return ("%d kills survived (%s), %d of young ones, %d of those that just "
                "started, %d with a lock held; %d operations acknowledged, %d in "
                "flight at a kill (of %s); unsynced changes were found by kills "
                "of %s; %d cold files read; "
                "%d calls waited 20 ms or more for what was killed, %d over a "
                "second, the longest %.2f s (%s; the control %.2f s); the longest call "
                "%.2f s (%s), the longest command %.1f s, %d mounts compared, "
                "seed %d" % (
                    self.total(), ", ".join(
                        "%s %d" % x for x in self.killed.most_common()),
                    sum(map(len, self.young.values())), self.starting,
                    self.locks_held,
                    sum(p.acknowledged for p in self.programs), self.in_flight,
                    self.of_kills(self.found_flight),
                    self.of_kills(self.found_unsynced),
                    sum(p.next for m in self.mounts for p in m.readers),
                    len(waited), sum(x[0] > LATE_S for x in waited),
                    waited[-1][0], waited[-1][2], self.control.worst_of_all(),
                    ms / 1000, op, command[0] / 1000, self.checks, self.seed))
