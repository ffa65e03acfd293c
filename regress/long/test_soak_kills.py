# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Kills (system/test_kills) by new seeds for SOAK_SECONDS, until something is
lost: make soak."""

import collections
import copy
import os
import time

from sailtest import deadline, killer

KILLS = 400     # of each seed, also of the last
# So many in an hour, with all that is between them, or the test has grown so slow
# that it does not do what it is for.
RATE = 2000


@deadline(10000000)
def test_soak(t):
    if "SOAK_SECONDS" not in os.environ:
        t.skip("make soak runs it")
    begun = time.monotonic()
    end = begun + int(os.environ["SOAK_SECONDS"])
    t.expect_deaths = True
    killed, seeds, acknowledged = collections.Counter(), [], 0
    longest, young = (0, ""), 0
    while time.monotonic() < end:
        one = copy.copy(t)
        seeds.append(t.seed())
        one.dir = t.path(str(seeds[-1]))
        os.mkdir(one.dir, 0o755)
        site = killer.Site(one, seeds[-1], cold_files=KILLS)
        site.run(lambda s=site: s.total() >= KILLS)
        site.finish()
        site.judge()
        site.s.server.stop()
        killed.update(site.killed)
        longest = max(longest, site.longest())
        acknowledged += sum(p.acknowledged for p in site.programs)
        young += sum(map(len, site.young.values()))
    total = sum(killed.values())
    took = time.monotonic() - begun
    rate = total * 3600 / took
    t.true(total >= RATE * took / 3600 and total >= KILLS * len(seeds),
           "%d kills in %d s, %d an hour, expected %d" % (
               total, took, rate, RATE))
    t.count("kills survived", total)
    t.said = "%d kills survived, %d an hour (%s), %d of young ones, in %d " \
        "seeds, %d operations acknowledged, the longest call %.2f s (%s)" % (
            total, rate, ", ".join(
                "%s %d" % x for x in killed.most_common()), young, len(seeds),
            acknowledged, longest[0] / 1000, longest[1])
