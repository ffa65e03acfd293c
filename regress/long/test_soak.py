# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""New seeds of the model (system/test_model) for SOAK_SECONDS, until one fails;
and memory stays flat over them: make soak."""

import collections
import copy
import os
import statistics
import time

from sailtest import deadline, histories, memory, stack

STEPS = 100
WARM, SAMPLES = 6, 12       # histories before memory counts, and then at least
GROWTH_KIB = 1024


def stack_below(t, name):
    """A Stack in a folder of its own."""
    t = copy.copy(t)
    t.dir = t.path(name)
    os.mkdir(t.dir, 0o755)
    return stack.Stack(t, daemons=2, proxied=True)


def sample(s, kib):
    s.t.wait_for(lambda: not any(d.pids("fuse") for d in s.daemons),
                 "the mounts' processes to end")
    for (n, role, pid), (_, used) in memory.everybody(s).items():
        kib[n, role, pid].append(used)


def grown(kib, rounds):
    """Who lived through all rounds and uses more in the last third of them,
    by the median, than in the first: {who: (KiB, KiB)}."""
    out, third = {}, max(1, (rounds - WARM) // 3)
    for who, all_used in kib.items():
        if len(all_used) == rounds:
            used = all_used[WARM:]
            a = statistics.median(used[:third])
            b = statistics.median(used[-third:])
            out[who] = a, b
    return out


@deadline(10000000)
def test_soak(t):
    """Every second history is without kills, on a server and daemons of its
    own: what grows there has leaked."""
    if "SOAK_SECONDS" not in os.environ:
        t.skip("make soak runs it")
    end = time.monotonic() + int(os.environ["SOAK_SECONDS"])
    t.expect_deaths = True
    killed, calm = stack_below(t, "killed"), stack_below(t, "calm")
    kib, kills = collections.defaultdict(list), collections.Counter()
    seed = t.seed()
    first = seed
    while time.monotonic() < end:
        for s in (killed, calm):
            h = histories.History(s, seed, STEPS, kills=s is killed)
            h.run()
            kills.update(h.killed)
            seed += 1
        sample(calm, kib)
    rounds = max(map(len, kib.values()))
    found = grown(kib, rounds)
    if rounds >= WARM + SAMPLES:
        for who, (a, b) in found.items():
            t.true(b <= a + GROWTH_KIB, "%s of %d, pid %d: %d KiB, then %d: %s"
                   % (who[1], who[0], who[2], a, b, kib[who]))
    t.said = "%d seeds from %d, %d kills; KiB %s" % (
        seed - first, first, sum(kills.values()),
        ", ".join("%s of %d: %d, then %d" % (who[1], who[0], a, b)
                  for who, (a, b) in sorted(found.items()))
        if rounds >= WARM + SAMPLES else "not judged, %d samples" % rounds)
