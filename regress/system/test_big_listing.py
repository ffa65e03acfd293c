# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A directory that takes more memory than a mount gives to names is listed to
its end, each name once, though the process that lists it dies in between."""

import os

from sailtest import bigvolume, deadline, stack

NAMES = 160000      # of some 400 bytes each in memory; it gives 24 MiB


@deadline(120)
def test_takeover(t):
    s = stack.Stack(t)
    volume = bigvolume.BigVolume(
        bigvolume.Api(s.server.url, s.server.key), "v")
    volume.wide("wide", NAMES)
    d = s.daemon
    a = s.mount("v", "a")
    seen = []
    with os.scandir(a + "/wide") as entries:
        for entry in entries:
            seen.append(entry.name)
            # What the kernel has of it is gone by then.
            if len(seen) in (NAMES // 2, NAMES * 3 // 4):
                gone = set(d.pids("fuse"))
                d.kill("fuse")
                t.wait_for(lambda: set(d.pids("fuse")) - gone, "fuse again")
    t.equal(NAMES, len(seen), "names")
    t.equal(NAMES, len(set(seen)), "names, each once")
