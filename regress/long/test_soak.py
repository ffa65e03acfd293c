# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""New seeds of the model (system/test_model) for SOAK_SECONDS, until one fails;
and memory stays flat over them: make soak."""

import collections
import copy
import os
import statistics
import time
import urllib.request

from sailtest import deadline, histories, memory, stack, tls

STEPS = 100
WARM, SAMPLES = 6, 12       # histories before memory counts, and then at least
JUDGED_FROM_S = 1800        # a shorter run may have no such number of samples
GROWTH_KIB = 1024
# Who is judged: whose, and what.  The server, whose metrics are api's, and two
# daemons; of these the first has a mount that stays.  notify ends when it has told
# what there was, and none may be left.
SERVER = {(0, role) for role in ("parent", "tls", "api", "meta", "sign",
                                 "fetch", "store")}
DAEMONS = {(n, role) for n in (1, 2)
           for role in ("parent", "manifest", "cache", "fetch", "metrics")}
JUDGED = SERVER | DAEMONS | {(1, "fuse")}
FILES = 60                  # of the mount that stays


def stack_below(t, name):
    """A Stack in a folder of its own."""
    t = copy.copy(t)
    t.dir = t.path(name)
    os.mkdir(t.dir, 0o755)
    s = stack.Stack(t, proxied=True, daemons=0, authority=tls.Authority(t),
                    server_extra=metrics(t, 0))
    for n in (1, 2):
        s.add_daemon(extra=metrics(t, n))
    return s


def metrics(t, n):
    return 'metrics listen on 127.0.0.1 port 0 port file "%s"\n' % (
        t.path("metrics%d" % n))


def ask_metrics(t):
    """Of the server and of both daemons."""
    for n in range(3):
        with urllib.request.urlopen("http://127.0.0.1:%s/metrics" % stack.read(
                t.path("metrics%d" % n)).strip(), timeout=60) as answer:
            t.true(b"# HELP" in answer.read(), "metrics of %d" % n)


def notifiers(s):
    return [pid for d in s.daemons for pid in d.pids("notify")]


class Stays:
    """A mount with the same fuse from the first round to the last, which does
    the same amount of work in each."""

    def __init__(self, s):
        self.s, self.d = s, s.daemons[0]
        self.path = s.mount("stays", "stays", create=True)
        self.fuse = self.d.pids("fuse")
        s.t.equal(1, len(self.fuse), "a fuse")

    def work(self, n):
        for i in range(FILES):
            top = "%s/d%d" % (self.path, i % 7)
            os.makedirs(top, exist_ok=True)
            path = "%s/f%d" % (top, i)
            with open(path + ".new", "wb") as f:
                f.write(b"%d %d " % (n, i) * 1000)
            os.rename(path + ".new", path)
            os.setxattr(path, "user.n", b"%d" % n)
        # Names that the kernel and fuse have not seen, and do not see again.
        for i in range(FILES):
            os.mkdir("%s/r%d-%d" % (self.path, n, i))
        self.s.commit(self.path)
        self.s.reload(self.path)
        for i in range(FILES):
            os.rmdir("%s/r%d-%d" % (self.path, n, i))
        found = stack.look(self.path)
        self.s.t.equal(7 + FILES, len(found), "names")


def sample(s, stays, kib):
    s.t.wait_for(lambda: [d.pids("fuse") for d in s.daemons] ==
                 [stays.fuse, []], "the other mounts' processes to end")
    s.t.wait_for(lambda: not notifiers(s), "notify to end")
    ask_metrics(s.t)
    for (n, role, pid), (_, used) in memory.everybody(s).items():
        kib[n, role, pid].append(used)


def grown(kib, rounds):
    """Of those that lived through all rounds what they use in the first third of
    them, by the median, and in the last: {who: (KiB, KiB)}."""
    out, third = {}, max(1, (rounds - WARM) // 3)
    for who, all_used in kib.items():
        if len(all_used) == rounds:
            used = all_used[WARM:]
            a = statistics.median(used[:third])
            b = statistics.median(used[-third:])
            out[who] = a, b
    return out


def judge(t, kib, rounds):
    found = grown(kib, rounds)
    t.equal(set(), JUDGED - {who[:2] for who in found},
            "who has not lived through all rounds: %s" % sorted(kib))
    for who, (a, b) in found.items():
        t.true(b <= a + GROWTH_KIB, "%s of %d, pid %d: %d KiB, then %d: %s"
               % (who[1], who[0], who[2], a, b, kib[who]))
    return ", ".join("%s of %d: %d, then %d" % (who[1], who[0], a, b)
                     for who, (a, b) in sorted(found.items()))


@deadline(10000000)
def test_soak(t):
    """Every second history is without kills, on a server and daemons of its
    own, beside a mount that stays: what grows there has leaked."""
    if "SOAK_SECONDS" not in os.environ:
        t.skip("make soak runs it")
    seconds = int(os.environ["SOAK_SECONDS"])
    end = time.monotonic() + seconds
    t.expect_deaths = True
    killed, calm = stack_below(t, "killed"), stack_below(t, "calm")
    kib, kills = collections.defaultdict(list), collections.Counter()
    stays = Stays(calm)
    seed = t.seed()
    first, rounds = seed, 0
    while time.monotonic() < end:
        for s in (killed, calm):
            h = histories.History(s, seed, STEPS, kills=s is killed)
            h.run()
            kills.update(h.killed)
            seed += 1
        stays.work(rounds)
        sample(calm, stays, kib)
        rounds += 1
    said = "%d seeds from %d, %d kills" % (
        seed - first, first, sum(kills.values()))
    if rounds < WARM + SAMPLES:
        t.true(seconds < JUDGED_FROM_S, "%d rounds are too few in %d s" % (
            rounds, seconds))
        t.skip("%s without a failure, but memory was not judged: %d rounds, %d "
               "are needed" % (said, rounds, WARM + SAMPLES))
    for d in calm.daemons:
        t.true("notify" in d.log(), "no notify of %s ever ran" % d.name)
    said += "; KiB " + judge(t, kib, rounds)
    t.count("kills survived", sum(kills.values()))
    t.said = said
