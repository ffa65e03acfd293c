# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Kills (system/test_kills) by new seeds for a quarter of SOAK_SECONDS, until
something is lost: make soak."""

import collections
import copy
import os
import time

from sailtest import deadline, killer

KILLS = 400     # of one seed


@deadline(10000000)
def test_soak(t):
    if "SOAK_SECONDS" not in os.environ:
        t.skip("make soak runs it")
    end = time.monotonic() + int(os.environ["SOAK_SECONDS"]) / 4
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
    t.said = "%d kills survived (%s) in %d seeds, %d operations " \
        "acknowledged, the longest call %.2f s (%s)" % (
            sum(killed.values()), ", ".join(
                "%s %d" % x for x in killed.most_common()), len(seeds),
            acknowledged, longest[0] / 1000, longest[1])
