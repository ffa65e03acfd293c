# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The whole service does what a model of some hundred lines does: three mounts
of two daemons, with lost answers and kill -9 of processes, in random order.

    SAIL_SEED=n  that seed alone   SAIL_STEPS=n  its length
"""

import collections
import os

from sailtest import deadline, histories, stack

BOTH_STORES = True

# Seeds, and their steps; one that make soak says is added here.
KEPT = tuple((seed, 60) for seed in range(1, 6))
STEPS = 60


@deadline(300)
def test_model(t):
    """One seed, one schedule: each of KEPT."""
    if "SAIL_SEED" in os.environ:
        seeds = [(int(os.environ["SAIL_SEED"]),
                  int(os.environ.get("SAIL_STEPS", STEPS)))]
    else:
        seeds = KEPT
    s = stack.Stack(t, daemons=2, proxied=True)
    killed = collections.Counter()
    for seed, steps in seeds:
        print("seed", seed, flush=True)
        h = histories.History(s, seed, steps)
        h.run()
        killed.update(h.killed)
    t.true(killed or len(seeds) == 1, "nothing was killed")
    t.count("kills survived", sum(killed.values()))
    t.said = "seeds %s; kills survived: %s" % (
        ", ".join(str(seed) for seed, _ in seeds), ", ".join(
            "%d %s" % (n, role) for role, n in sorted(killed.items())))
