# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Cold reads of many small files: what comes with the first of them is read
without asking anybody, whatever happens to those that have it."""

import os
import random
import threading

from sailtest import caches, deadline, stack

BOTH_STORES = True

PUSHED = 64 * 1024


def fill(top, dirs, files, size, seed=1):
    """{path below top: bytes}"""
    rng = random.Random(seed)
    out = {}
    for d in range(dirs):
        os.mkdir("%s/d%02d" % (top, d))
        for i in range(files):
            out["d%02d/f%03d" % (d, i)] = rng.randbytes(size)
    for name, data in out.items():
        with open(top + "/" + name, "wb") as f:
            f.write(data)
    return out


def read(path):
    with open(path, "rb", buffering=0) as f:
        data = f.read(1 << 20)
        return data + f.read(1)


def check(t, top, wrote, names=None):
    for name in names or sorted(wrote):
        t.true(read(top + "/" + name) == wrote[name], name)


def requests(d, path):
    for m in d.ctl_json("status")["daemon"]["mounts"]:
        if m["path"] == path:
            return m["requests"]
    return None


class Since:
    def __init__(self, d, path):
        caches.keep()
        self.d, self.path, self.was = d, path, requests(d, path)

    def __call__(self, name):
        now = requests(self.d, self.path)
        return now.get(name, 0) - self.was.get(name, 0)


def held(pid):
    """(descriptors that are bundles, bytes of them that are memory)"""
    n = size = 0
    for fd in os.listdir("/proc/%d/fd" % pid):
        path = "/proc/%d/fd/%s" % (pid, fd)
        try:
            to = os.readlink(path)
            st = os.stat(path)
        except FileNotFoundError:
            continue
        if "memfd:chunks" in to:
            n += 1
            size += st.st_size
        elif to.endswith(".b"):
            n += 1
    return n, size


@deadline(240)
def test_requests(t):
    """Of 300 small files of one directory a few are asked for with READ, cold;
    none once their neighbours have come, warm, after a restart too."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    d = s.daemons[1]
    b = d.mount("v", "b")
    wrote = fill(a, 1, 300, 3000)
    wrote["d00/large"] = os.urandom(PUSHED + 1)
    with open(a + "/d00/large", "wb") as f:
        f.write(wrote["d00/large"])
    s.commit(a)
    d.ctl("reload", b)
    os.listdir(b + "/d00")
    n = Since(d, b)
    check(t, b, wrote)
    t.equal(301, n("OPEN"), "opens")
    t.true(n("READ") <= 8, "READs, cold: %d" % n("READ"))
    for tries_left in (2, 1, 0):
        n = Since(d, b)
        check(t, b, wrote)
        t.equal(301, n("OPEN"), "opens, warm")
        # A kernel may reclaim any page at any time (DAMON does): only what is
        # missed each time is missed by us.
        if not n("READ") or not tries_left:
            break
    t.equal(0, n("READ"), "the kernel has all")
    caches.drop()
    n = Since(d, b)
    check(t, b, wrote)
    t.true(n("READ") <= 4, "READs, the kernel has forgotten: %d" % n("READ"))
    d.stop()
    d.start()
    t.wait_for(lambda: os.path.ismount(b), "the mount")
    os.listdir(b + "/d00")
    n = Since(d, b)
    check(t, b, wrote)
    t.true(n("READ") <= 8, "READs, after a restart: %d" % n("READ"))


def test_ahead(t):
    """Who has read half of what came gets what lies behind it before he comes
    there, also of the next directory."""
    s = stack.Stack(t, daemons=2, proxied=True)
    d = s.daemons[1]
    a = s.mount("v", "a", create=True)
    wrote = fill(a, 6, 40, 4096)
    s.commit(a)
    b = d.mount("v", "b")
    names = sorted(wrote)
    for where, _, _ in os.walk(b):
        os.listdir(where)
    s.api.reset()
    check(t, b, wrote, names[:25])
    t.equal(1, s.api.count("/locate"), "questions")
    check(t, b, wrote, names[25:40])
    pid = d.pids("fuse")[0]
    t.wait_for(lambda: held(pid)[0] == 2, "what comes next")
    t.equal(2, s.api.count("/locate"), "questions")
    n = Since(d, b)
    check(t, b, wrote, names[40:120])
    t.equal((80, 0), (n("OPEN"), n("READ")), "nobody waits")


@deadline(240)
def test_changes(t):
    """Files are read, changed and reloaded at random while what has their bytes
    is at hand: each shows what was written last, there and here."""
    rng = random.Random(t.seed())
    s = stack.Stack(t, daemons=2)
    d = s.daemons[1]
    a = s.mount("v", "a", create=True)
    wrote = fill(a, 3, 40, 700)
    s.commit(a)
    b = d.mount("v", "b")
    names = sorted(wrote)
    for _ in range(12):
        mine = {}
        for name in rng.sample(names, 30):
            what = rng.randrange(5)
            if what == 0:      # elsewhere
                wrote[name] = rng.randbytes(rng.randrange(1, 9000))
                with open(a + "/" + name, "wb") as f:
                    f.write(wrote[name])
            elif what == 1:    # here, a part of it
                data = bytearray(wrote[name])
                at = rng.randrange(len(data))
                data[at:at + 5] = b"mine!"
                mine[name] = bytes(data)
                with open(b + "/" + name, "r+b") as f:
                    f.seek(at)
                    f.write(b"mine!")
                t.true(read(b + "/" + name) == mine[name], "changed " + name)
            elif what == 2:    # here, cut
                size = rng.randrange(9000)
                seen = read(b + "/" + name)
                os.truncate(b + "/" + name, size)
                t.true(read(b + "/" + name) ==
                       seen[:size].ljust(size, b"\0"), "cut " + name)
            else:
                read(b + "/" + name)
        if rng.randrange(3) == 0:
            caches.drop(rng.choice((1, 2, 3)))
        for name, data in mine.items():
            if len(read(b + "/" + name)) == len(data):
                t.true(read(b + "/" + name) == data, "mine " + name)
        s.commit(a)
        d.ctl("reload", b)
        check(t, b, wrote)


def test_corrupt_on_the_way(t):
    """A pack that is spoilt on its way is fetched again: nobody sees a wrong
    byte."""
    s = stack.Stack(t, daemons=2, proxied=True)
    d = s.daemons[1]
    a = s.mount("v", "a", create=True)
    wrote = fill(a, 1, 50, 5000)
    s.commit(a)
    b = d.mount("v", "b")
    s.store.fault("corrupt", "^GET ", at=20000, times=1)
    check(t, b, wrote)
    caches.drop()
    check(t, b, wrote)


@deadline(240)
def test_deaths(t):
    """cache, sailvol-fetch and fuse die while many read: no read fails, and none
    is wrong."""
    s = stack.Stack(t, daemons=2)
    t.expect_deaths = True
    d = s.daemons[1]
    a = s.mount("v", "a", create=True)
    wrote = fill(a, 6, 60, 4000)
    s.commit(a)
    b = d.mount("v", "b")
    errors, stop = [], threading.Event()

    def reader(seed):
        rng = random.Random(seed)
        names = sorted(wrote)
        try:
            while not stop.is_set():
                at = rng.randrange(len(names))
                for name in names[at:at + 40]:
                    if read(b + "/" + name) != wrote[name]:
                        raise ValueError("wrong bytes of " + name)
        except (OSError, ValueError) as e:
            errors.append(e)
    threads = [threading.Thread(target=reader, args=(i,)) for i in range(3)]
    for th in threads:
        th.start()
    for role in ("cache", "fetch", "fuse", "cache"):
        pids = d.pids(role)
        d.kill(role)
        caches.drop()
        t.wait_for(lambda: d.pids(role) and not set(d.pids(role)) & set(pids),
                   "another " + role)
    stop.set()
    for th in threads:
        th.join()
    t.equal([], errors, "errors")
    check(t, b, wrote)


@deadline(240)
def test_memory(t):
    """What is held at hand is bounded, and given up soon."""
    s = stack.Stack(t, daemons=2)
    d = s.daemons[1]
    a = s.mount("v", "a", create=True)
    wrote = fill(a, 4, 150, 100000)
    s.commit(a)
    b = d.mount("v", "b")
    pid = d.pids("fuse")[0]
    most = 0, 0
    for name in sorted(wrote):
        t.true(read(b + "/" + name) == wrote[name], name)
        most = max(most, held(pid))
    print("held: %d bundles, %d bytes of memory" % most)
    t.true(most[0] > 0, "some")
    t.true(most[0] <= 16 and most[1] <= 32 << 20, "bounds: %r" % (most,))
    t.wait_for(lambda: held(pid) == (0, 0), "nothing is held")
