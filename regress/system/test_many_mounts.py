# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A hundred mounts in one daemon: each is written to, committed, shown to
another mount and taken away, and none costs more than 4 MiB."""

import concurrent.futures
import os

from sailtest import deadline, stack
from sailtest.memory import memory_is_true

FIRST, MOUNTS = 10, 100
LIMIT_KIB = 4096
AT_ONCE = 4


def held(daemon):
    """KiB of memory that all processes of a daemon hold: the sum of their Pss,
    in which a page that several share counts once."""
    total = 0
    for pid, _ in [(daemon.process.pid, "parent")] + daemon.roles():
        try:
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f
                             if line.startswith("Pss:"))
        except OSError:
            pass    # notify, which comes and goes
    return total


def name(n):
    return "v%03d" % n


def one(s, n):
    """Mounts a volume of its own and leaves something committed and something
    dirty in it."""
    path = s.mount(name(n), name(n), create=True)
    os.mkdir(path + "/d")
    for i in range(20):
        with open("%s/d/f%d" % (path, i), "w", encoding="ascii") as f:
            f.write("%d of %d\n" % (i, n))
    os.rename(path + "/d/f0", path + "/moved")
    s.commit(path)
    with open(path + "/dirty", "w", encoding="ascii") as f:
        f.write("of %d\n" % n)
    return path


def check(t, path, n):
    with open(path + "/moved", encoding="ascii") as f:
        t.equal("0 of %d\n" % n, f.read(), "what was committed")
    with open(path + "/dirty", encoding="ascii") as f:
        t.equal("of %d\n" % n, f.read(), "what is dirty")
    t.equal(19, len(os.listdir(path + "/d")), "names")


@deadline(500)
def test_hundred(t):
    """Mounted, written, committed, killed and back, all taken away."""
    s = stack.Stack(t)
    d = s.daemon
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        paths = list(pool.map(lambda n: one(s, n), range(FIRST)))
        before = held(d)
        paths += list(pool.map(lambda n: one(s, n), range(FIRST, MOUNTS)))
        after = held(d)
        t.true(not memory_is_true(t) or
               after - before <= (MOUNTS - FIRST) * LIMIT_KIB,
               "KiB a further mount: %d" % (
                   (after - before) // (MOUNTS - FIRST)))
        t.equal(MOUNTS, len(d.pids("fuse")), "fuse processes")
        shown = d.ctl_json("status")["mounts"]
        t.equal(sorted(paths), sorted(m["path"] for m in shown), "status")
        # All of them come back.
        d.kill_all()
        d.start()
        for n, path in enumerate(paths):
            t.wait_for(lambda p=path: os.path.exists(p + "/.sailvol"), path)
            check(t, path, n)
        list(pool.map(lambda p: d.umount(p, "--force"), paths))
    t.equal([], d.ctl_json("status")["mounts"], "mounts that are left")
    t.wait_for(lambda: not d.pids("fuse"), "the fuse processes to go")
    again = s.mount(name(7), name(7))
    check(t, again, 7)
