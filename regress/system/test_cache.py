# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The cache gives verified chunks as read-only files, joins those who ask for the
same, keeps its limit, and outlives the death of sailvol-fetch."""

import fcntl
import os
import random
import shutil
import struct
import subprocess
import time

import sailtest
from sailtest import role as r
from sailtest.cache_site import (CANCEL, CONFIG, EBADMSG, ECANCELED, EIO,
                                 ENOSPC, EROFS, GET, MIB, OTHER, PUT, VOL,
                                 Content, Site)
from sailtest.store import sha


def test_get(t):
    s = Site(t)
    rng = random.Random(4)
    small = Content(s.server, rng.randbytes(5000))
    large = Content(s.server, rng.randbytes(17 * MIB) + b"\0" * (20 * MIB) +
                    b"end")
    for content in (small, large):
        s.locate(content)
        error, data = s.get(content)
        t.equal(0, error, "errno")
        t.true(data == content.data, "bytes")
    # Nobody can write to it, not through /proc either.
    for flags in (os.O_RDWR, os.O_WRONLY):
        try:
            os.close(os.open("/proc/self/fd/%d" % s.last_fd, flags))
            t.fail("opened for writing")
        except OSError as e:
            t.equal(EROFS, e.errno, "errno")
    n = s.server.count("locate")
    t.true(s.get(large) == (0, large.data), "again")
    t.equal(n, s.server.count("locate"), "nothing was asked")
    used, _, files, hits, fetched = s.status()
    t.equal((5, 4), (files, hits), "files, hits")
    t.equal(5000 + 29 * MIB + 3, fetched, "fetched: holes are not")
    n = s.server.count("object GET")
    end = s.ask(large, slots=[4])
    slot, error, data = s.chunk(end)
    t.equal((4, 0, b"end"), (slot, error, data[-3:]), "one alone")
    t.equal(n, s.server.count("object GET"), "of those that are there")
    t.equal(["lock", "tmp"], sorted(
        x for x in os.listdir(s.dir) if len(x) != 2), "directory")
    t.equal([], os.listdir(s.dir + "/tmp"), "tmp")
    t.equal(0, s.cache.stop(), "status")


def test_joined_and_cancelled(t):
    s = Site(t)
    a = Content(s.server, b"a" * 100000)
    s.locate(a)
    s.server.faults["object GET"] = ["slow"]
    other = s.mount(2)
    numbers = [s.ask(a) for _ in range(20)]
    mine = s.ask(a, channel=other)
    for n in numbers:
        t.true(s.answer(n, a) == (0, a.data), "joined")
    t.true(s.answer(mine, a, other) == (0, a.data), "another mount")
    t.equal(1, s.server.count("locate"), "one fetch")
    b = Content(s.server, b"b" * 100000)
    s.locate(b)
    s.server.faults["object GET"] = ["slow", "slow"]
    n = s.ask(b)
    other.send(CANCEL, 0, struct.pack(">I", n))  # not its own
    time.sleep(0.2)
    s.fuse.send(CANCEL, 0, struct.pack(">I", n))
    t.equal(ECANCELED, s.answer(n, b)[0], "cancelled")
    s.ask(b)
    s.fuse.close()
    s.fuse = s.mount(3)
    t.true(s.get(b) == (0, b.data), "after the death of a fuse")
    t.equal([], os.listdir(s.dir + "/tmp"), "tmp")


def test_walls(t):
    """Who knows the hash of a file of another volume does not get it."""
    s = Site(t)
    a = Content(s.server, b"secret" * 1000)
    s.locate(a)
    t.true(s.get(a) == (0, a.data), "fetched")
    same = s.mount(2)
    t.true(s.get(a, channel=same) == (0, a.data), "the same volume")
    t.equal(1, s.server.count("locate"), "shared")
    other = s.mount(3, OTHER)
    t.true(s.get(a, channel=other) == (0, a.data), "it has the same file")
    t.true(os.path.exists(s.path(a)) and os.path.exists(s.path(a, OTHER)),
           "one of each")
    t.equal([VOL, OTHER], [p.split("/")[3] for k, p in
            s.server.requests if k == "locate"], "the server was asked, and as whom")
    # The volume of a mount that is gone is forgotten with its channel.
    s.tell(3, "")
    t.true(s.get(a, channel=other) == (0, a.data), "on its way still")
    other.close()
    other = s.cache.peer(r.FUSE, 3)
    s.ask(a, channel=other)
    t.true(other.receive() is None, "ends")
    s.cache.blames("malformed")


def test_bounds(t):
    """One fuse has only so many chunks asked for."""
    s = Site(t, nfetch=0)
    x = Content(s.server, b"x" * 1000)
    numbers = [s.ask(x) for _ in range(512)]
    s.status()
    s.fuse.send(CANCEL, 0, struct.pack(">I", numbers[0]))
    t.equal(ECANCELED, s.answer(numbers[0], x)[0], "one leaves")
    s.ask(x)
    s.status()
    other = s.mount(2)
    s.ask(x, channel=other)
    s.status()
    s.ask(x)
    t.true(s.fuse.receive() is None, "the 513th ends it")
    s.cache.blames("malformed")


def test_restart_and_corruption(t):
    s = Site(t)
    rng = random.Random(5)
    cs = [Content(s.server, rng.randbytes(30000)) for _ in range(4)]
    for c in cs:
        s.locate(c)
        t.equal(0, s.get(c)[0], "fetched")
    s.cache.kill()
    with open(s.path(cs[1]), "r+b") as f:
        f.write(b"xx")
    os.truncate(s.path(cs[2]), 7)
    open(s.dir + "/tmp/7", "w").close()
    # Of a version that did not ask whose it is.
    old = os.path.join(s.dir, "ab", "ab" * 32)
    os.makedirs(os.path.dirname(old), exist_ok=True)
    os.chown(os.path.dirname(old), r.UID, r.UID)
    open(old, "w").close()
    n = s.server.count("object GET")
    s.start_cache()
    t.wait_for(lambda: s.status()[2] == 4, "scan")
    t.equal([], os.listdir(s.dir + "/tmp"), "tmp is empty")
    t.wait_for(lambda: not os.path.exists(old), "the old name goes")
    t.true(s.get(cs[0]) == (0, cs[0].data), "good")
    t.equal(n, s.server.count("object GET"), "verified, not fetched")
    for c in cs[1:3]:
        s.locate(c)
        t.true(s.get(c) == (0, c.data), "corrupt")
    t.equal(n + 2, s.server.count("object GET"), "fetched again")
    t.true("thrown away" in s.cache.logs(), "log")
    os.unlink(s.path(cs[3]))
    s.locate(cs[3])
    t.true(s.get(cs[3]) == (0, cs[3].data), "taken away")


def test_emptied(t):
    """Somebody removes all that is in the directory, and then the directory."""
    s = Site(t)
    cs = [Content(s.server, bytes([i + 1]) * size)
          for i, size in enumerate((30000, 2 * MIB, 30000, 2 * MIB))]
    s.locate(cs[0])
    t.equal(0, s.get(cs[0])[0], "fetched")
    for name in os.listdir(s.dir):
        subprocess.run(["rm", "-r", os.path.join(s.dir, name)], check=True)
    for c in cs[:2]:
        s.locate(c)
        t.true(s.get(c) == (0, c.data), "fetched again")
        t.true(os.path.exists(s.path(c)), "is kept")
    shutil.rmtree(s.dir)
    for c in cs[2:]:
        s.locate(c)
        t.true(s.get(c) == (0, c.data), "without a directory")
    t.true("is not kept" in s.cache.logs(), s.cache.logs())
    t.equal(0, s.cache.stop(), "status")


def test_limit(t):
    s = Site(t, limit=10 * 68 * 1024)
    cs = [Content(s.server, bytes([i + 1]) * 65536) for i in range(30)]
    for c in cs[:9]:
        s.locate(c)
        t.equal(0, s.get(c)[0], "fetched")
    t.equal(0, s.get(cs[0])[0], "used again")
    for c in cs[9:12]:
        s.locate(c)
        t.equal(0, s.get(c)[0], "fetched")
    have = [i for i, c in enumerate(cs) if os.path.exists(s.path(c))]
    t.equal([0] + list(range(3, 12)), have, "the longest unused went")
    for c in cs[12:]:
        s.locate(c)
        t.equal(0, s.get(c)[0], "fetched")
        used, limit = s.status()[:2]
        t.true(used <= limit, "limit")
    big = Content(s.server, b"B" * MIB)
    s.locate(big)
    t.true(s.get(big) == (0, big.data), "larger than the cache")
    t.true(not os.path.exists(s.path(big)), "is not kept")
    t.equal(10, s.status()[2], "nothing was given up for it")
    # A smaller limit, at once.
    s.cache.parent.send(CONFIG, 0, struct.pack(">QQ", 3 * 68 * 1024, 1))
    t.wait_for(lambda: s.status()[2] == 3, "smaller")
    # What must stay free of the file system is more than there is.
    s.cache.parent.send(CONFIG, 0, struct.pack(">QQ", 1 << 40, 1 << 60))
    t.wait_for(lambda: s.status()[2] == 0, "all is given up")
    s.locate(cs[0])
    t.true(s.get(cs[0]) == (0, cs[0].data), "read without room")
    # Nobody can change what others read, too.
    for flags in (fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_SEAL):
        t.true(fcntl.fcntl(s.last_fd, fcntl.F_GET_SEALS) & flags, "sealed")
    t.equal(0, s.status()[2], "not kept")
    t.equal([], os.listdir(s.dir + "/tmp"), "tmp")
    t.equal(ENOSPC, s.put(cs[1], cs[1].data), "a PUT")


def test_put(t):
    s = Site(t)
    rng = random.Random(6)
    data = rng.randbytes(20 * MIB) + b"\0" * (16 * MIB) + b"tail"
    c = Content(s.server, data)
    t.equal(0, s.put(c, data), "taken")
    t.true(s.get(c) == (0, data), "served")
    t.equal(0, s.server.count("locate"), "without the server")
    t.equal(0, s.put(c, data), "there already")
    d = Content(s.server, b"d" * 70000)
    t.equal(EBADMSG, s.put(d, b"e" * 70000), "other bytes")
    t.equal(EBADMSG, s.put(d, b"d" * 69999), "shorter")
    t.equal(4, s.status()[2], "files")
    t.equal([], os.listdir(s.dir + "/tmp"), "tmp")
    s.locate(d)
    t.true(s.get(d) == (0, d.data), "then from the store")


def test_death_of_fetch(t):
    s = Site(t)
    s.t.expect_deaths = True
    a = Content(s.server, b"a" * 100000)
    s.locate(a)
    s.server.faults["object GET"] = ["slow", "slow"]
    n = s.ask(a)
    time.sleep(0.5)
    s.fetches.pop(0).kill()
    time.sleep(0.1)
    t.true(s.cache.alive(), "alive")
    s.start_fetch(0)
    t.true(s.answer(n, a) == (0, a.data), "asked again")
    s.fetches.pop(0).kill()
    b = Content(s.server, b"b" * 1000)
    s.locate(b)
    n = s.ask(b)
    s.start_fetch(1)
    t.true(s.answer(n, b) == (0, b.data), "asked when there was none")
    s.server.faults["object GET"] = ["wrong"] * 9
    c = Content(s.server, b"c" * 1000)
    s.locate(c)
    t.equal(EIO, s.get(c)[0], "corrupt in the store")
    s.server.faults.clear()
    s.server.places.clear()
    t.true(s.get(c) == (0, c.data), "healed")


def test_one_owner_and_hostile(t):
    s = Site(t)
    second = s.spawn_cache()
    m = second.parent.receive()
    while m is not None:
        second.take_logs(m)
        m = second.parent.receive()
    os.waitpid(second.pid, 0)
    t.true("in use by another sailvold" in second.logs(), second.logs())
    # The bytes of a hash have one length.
    a = Content(s.server, b"a" * 1000)
    s.locate(a)
    n = s.ask(a)
    short = a.body()[:-36] + struct.pack(">I", 999) + sha(a.data)
    s.fuse.send(GET, 77, short)
    t.true(s.answer(n, a) == (0, a.data), "good")
    t.true(s.chunk(77)[1] != 0, "not of that length")
    # The same slot twice.
    s.fuse.send(GET, 78, a.body()[:-46] + struct.pack(">H", 2) +
                a.body()[-44:] * 2)
    t.true(s.fuse.receive() is None, "ends")
    s.cache.blames("malformed")


def test_hostile_messages(t):
    """Any body of any message ends the channel at worst."""
    rng = random.Random(t.seed())
    s = Site(t, nfetch=0)
    good = Content(s.server, b"g" * 5000).body()
    for i in range(24):
        kind, fd = ((GET, 0), (PUT, 1), (CANCEL, 0))[i % 3]
        body = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            body = body[:rng.randrange(len(body))]
        s.fuse.send(kind, 1, bytes(body),
                    r.memfd(rng.randbytes(64)) if fd else None)
        try:
            ended = s.fuse.receive(0.3) is None
        except sailtest.Failure:
            ended = False
        if ended:
            s.cache.blames("malformed", " bytes, not")
        s.cache.kill()
        s.start_cache()
