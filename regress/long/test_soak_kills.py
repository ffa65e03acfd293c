# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Kills (system/test_kills) by new seeds for a quarter of SOAK_SECONDS, until
something is lost: make soak."""

import collections
import copy
import os
import time

from sailtest import deadline, killer

KILLS = 400     # of one seed
# Of a run that is long enough to tell: so many in an hour, or the test has grown
# so slow that it does not do what it is for.
RATE, RATE_FROM_S = 2000, 600


@deadline(10000000)
def test_soak(t):
    if "SOAK_SECONDS" not in os.environ:
        t.skip("make soak runs it")
    seconds = int(os.environ["SOAK_SECONDS"])
    begun = time.monotonic()
    end = begun + seconds / 4
    t.expect_deaths = True
    killed, seeds, acknowledged = collections.Counter(), [], 0
    longest = 0, ""
    while time.monotonic() < end:
        one = copy.copy(t)
        seeds.append(t.seed())
        one.dir = t.path(str(seeds[-1]))
        os.mkdir(one.dir, 0o755)
        site = killer.Site(one, seeds[-1])
        site.run(lambda s=site: s.total() >= KILLS or time.monotonic() >= end)
        site.finish()
        if site.total() >= KILLS:
            site.judge()
        site.s.server.stop()
        killed.update(site.killed)
        longest = max(longest, site.longest())
        acknowledged += sum(p.acknowledged for p in site.programs)
    total = sum(killed.values())
    rate = total * 3600 / (time.monotonic() - begun)
    t.true(seconds < RATE_FROM_S or rate >= RATE,
           "%d kills an hour, expected %d" % (rate, RATE))
    t.said = "%d kills survived, %d an hour (%s) in %d seeds, %d operations " \
        "acknowledged, the longest call %.2f s (%s)" % (
            total, rate, ", ".join(
                "%s %d" % x for x in killed.most_common()), len(seeds),
            acknowledged, longest[0] / 1000, longest[1])
