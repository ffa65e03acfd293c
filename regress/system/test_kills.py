# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""kill -9 of any process at any moment under load: no program's call fails, and
everything acknowledged is there, once; of all of them: after the next start."""

import os
import signal

from sailtest import deadline, killer, stack

KILLS = 250


@deadline(900)
def test_kills(t):
    site = killer.Site(t, t.seed(), cold_files=KILLS)
    site.run(lambda: site.total() >= KILLS)
    site.finish()
    print(site.said())      # shown when it fails
    site.judge()
    t.said = site.said()
    t.count("kills survived", site.total())



@deadline(300)
def test_ends_by_itself(t):
    """A process that ends with 0, as SIGTERM has it do, is no umount: another
    one goes on, with the file that was open."""
    s = stack.Stack(t)
    top = s.mount("v", "a", create=True)
    t.expect_deaths = True
    with open(top + "/open", "w", encoding="ascii") as f:
        for n, role in enumerate(("fuse", "manifest", "cache", "fetch")):
            pids = [pid for pid, _ in s.daemon.roles(role)]
            t.true(pids, role)
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            f.write("%d\n" % n)
            f.flush()
            stack.write("%s/f%d" % (top, n), role)
            t.wait_for(lambda: not [pid for pid, _ in s.daemon.roles(role)
                                    if pid in pids], role + " has ended")
            s.commit(top)
            t.equal(role, stack.read("%s/f%d" % (top, n)), "what was written")
    t.equal("0\n1\n2\n3\n", stack.read(top + "/open"), "what was written")
    s.commit(top)
    s.daemon.umount(top)
    t.equal([], os.listdir(top), "what is below it")
