# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""kill -9 of any process at any moment under load: no program's call fails, and
everything acknowledged is there, once; of all of them: after the next start."""

from sailtest import deadline, killer

KILLS = 300


@deadline(900)
def test_kills(t):
    site = killer.Site(t, t.seed())
    site.run(lambda: site.total() >= KILLS)
    site.finish()
    site.judge()
    t.said = site.said()
    t.count("kills survived", site.total())

