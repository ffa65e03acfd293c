# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The cache gives whole, verified, read-only files, joins those who ask for the
same, keeps its limit, and outlives the death of sailvol-fetch."""

import hashlib
import os
import random
import struct
import time

import sailtest
from sailtest import role as r
from sailtest.store import Server, sha

CONFIG, STATUS, STATUS_RES, VOLUME = 130, 131, 132, 133
LIST, GET, GET_RES, PUT, PUT_RES, CANCEL = 190, 191, 192, 193, 194, 195
SHIFT = 23
MIB = 1 << 20
EIO, EBADMSG, ENOSPC, EROFS, ECANCELED = 5, 74, 28, 30, 125
KEY = "sk_" + "5a" * 32
VOL = "vol_" + "1" * 32
OTHER = "vol_" + "7" * 32


def flat_list(content):
    """The flat chunk list, the encoded slots alone, and the chunks."""
    chunks = [content[i:i + (1 << SHIFT)]
              for i in range(0, len(content), 1 << SHIFT)]
    runs, hashes = [], b""
    for c in chunks:
        is_hash = 1 if c.strip(b"\0") else 0
        if runs and runs[-1][1] == is_hash:
            runs[-1][0] += 1
        else:
            runs.append([1, is_hash])
        if is_hash:
            hashes += sha(c)
    slots = b"".join(struct.pack("<I", n << 1 | k) for n, k in runs) + hashes
    return struct.pack("<QB", len(content), SHIFT) + slots, slots, chunks


class Content:
    """A file of a volume: what the store and the messages say of it."""

    def __init__(self, server, data):
        self.data = data
        self.flat, self.slots, self.chunks = flat_list(data)
        self.hash = content_hash(len(data), self.slots)
        for i, c in enumerate(self.chunks):
            if c.strip(b"\0"):
                server.objects[sha(c)] = c

    def body(self, inline=True):
        return self.hash + struct.pack(">Q", len(self.data)) + \
            b"\2" * 32 + r.str16("dir/name") + \
            r.str32(self.flat if inline else b"")


def content_hash(size, slots):
    """sailvol-format(5), of a file whose chunks stand in its entry."""
    return hashlib.sha256(
        b"SVsc\1" + struct.pack("<QBBH", size, SHIFT, 0, len(slots)) +
        slots).digest()


class Site:
    def __init__(self, t, limit=1 << 40, keep=1, nfetch=1):
        program = t.repo + "/sailvold/sailvold"
        if not os.path.exists(program):
            t.skip("sailvold is not built")
        self.t, self.program = t, program
        self.limit, self.keep = limit, keep
        self.dir = t.path("cache")
        os.makedirs(self.dir, 0o700, exist_ok=True)
        os.chown(self.dir, r.UID, r.UID)
        os.makedirs(t.path("void"), exist_ok=True)
        self.server = Server()
        self.fetches = {}
        self.number = 0
        self.start_cache()
        for i in range(nfetch):
            self.start_fetch(i)

    def spawn_cache(self):
        c = r.Role(self.t, self.program, "cache", r.CACHE, self.dir)
        c.parent.send(CONFIG, 0, struct.pack(">QQ", self.limit, self.keep))
        return c

    def start_cache(self):
        self.cache = self.spawn_cache()
        self.cache.ready()
        self.fuse = self.mount(1)
        for i, f in self.fetches.items():
            r.connect(self.cache, r.CACHE, 0, f, r.FETCH, i)

    def mount(self, instance, volume=VOL):
        """The channel of the fuse of a new mount."""
        self.tell(instance, volume)
        return self.cache.peer(r.FUSE, instance)

    def tell(self, instance, volume):
        self.cache.parent.send(VOLUME, 0, struct.pack(">I", instance) +
                               r.str16(volume))

    def start_fetch(self, i):
        f = r.Role(self.t, self.t.repo + "/sailvol-fetch/sailvol-fetch",
                   "fetch", r.FETCH, self.t.path("void"), i)
        f.parent.send(200, 0, r.str16(self.server.url) + r.str16(KEY) +
                      struct.pack(">II", 0, 5000))
        for kind in (201, 202, 203):
            f.parent.send(kind, 0, b"", r.memfd(b""))
        f.parent.send(204)
        f.ready()
        self.fetches[i] = f
        r.connect(self.cache, r.CACHE, 0, f, r.FETCH, i)

    def ask(self, content, inline=True, channel=None):
        """Sends a GET; its number."""
        c = channel or self.fuse
        self.number += 1
        if not inline:
            c.send(LIST, self.number, b"", r.memfd(content.flat))
        c.send(GET, self.number, content.body(inline))
        return self.number

    def answer(self, number, channel=None):
        """(errno, bytes of the file or None)."""
        m = (channel or self.fuse).wait(GET_RES, number)
        error, = struct.unpack_from(">I", m.body)
        self.last_fd = m.fd and os.dup(m.fd)
        return error, r.read_fd(m.fd)

    def get(self, content, **kw):
        return self.answer(self.ask(content, **kw), kw.get("channel"))

    def status(self):
        self.cache.parent.send(STATUS)
        return struct.unpack(">5Q", self.cache.parent.wait(STATUS_RES).body)

    def path(self, content, volume=VOL):
        key = hashlib.sha256(volume.encode() + b"\0" + content.hash)
        h = key.hexdigest()
        return os.path.join(self.dir, h[:2], h[2:])

    def put(self, content, data):
        p = self.t.write("overlay", data)
        self.number += 1
        self.fuse.send(PUT, self.number, content.body(),
                       os.open(p, os.O_RDONLY))
        return struct.unpack(
            ">I", self.fuse.wait(PUT_RES, self.number).body)[0]

    def locate(self, content):
        """The store's server knows one file at a time."""
        self.server.chunks = dict(enumerate(content.chunks))


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
    t.true(s.get(large, inline=False) == (0, large.data), "again, by LIST")
    t.equal(n, s.server.count("locate"), "nothing was asked")
    used, _, files, hits, fetched = s.status()
    t.equal((2, 1), (files, hits), "files, hits")
    t.equal(5000 + 29 * MIB + 3, fetched, "fetched: holes are not")
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
        t.true(s.answer(n) == (0, a.data), "joined")
    t.true(s.answer(mine, other) == (0, a.data), "another mount")
    t.equal(1, s.server.count("locate"), "one fetch")
    b = Content(s.server, b"b" * 100000)
    s.locate(b)
    s.server.faults["object GET"] = ["slow", "slow"]
    n = s.ask(b)
    other.send(CANCEL, 0, struct.pack(">I", n))  # not its own
    time.sleep(0.2)
    s.fuse.send(CANCEL, 0, struct.pack(">I", n))
    t.equal(ECANCELED, s.answer(n)[0], "cancelled")
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
    os.waitpid(s.cache.pid, 0)
    t.true("malformed" in s.cache.logs(), "said")


def test_bounds(t):
    """One fuse has only so many questions open, and so many bytes of lists."""
    s = Site(t, nfetch=0)
    x = Content(s.server, b"x" * 1000)
    numbers = [s.ask(x) for _ in range(256)]
    s.status()
    s.fuse.send(CANCEL, 0, struct.pack(">I", numbers[0]))
    t.equal(ECANCELED, s.answer(numbers[0])[0], "one leaves")
    s.ask(x)
    s.status()
    other = s.mount(2)
    s.ask(x, channel=other)
    s.status()
    s.ask(x)
    t.true(s.fuse.receive() is None, "the 257th ends it")
    os.waitpid(s.cache.pid, 0)
    t.true("malformed" in s.cache.logs(), "said")


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
    t.equal(EIO, s.get(big)[0], "larger than the cache")
    t.equal(10, s.status()[2], "nothing was given up for it")
    # A smaller limit, at once.
    s.cache.parent.send(CONFIG, 0, struct.pack(">QQ", 3 * 68 * 1024, 1))
    t.wait_for(lambda: s.status()[2] == 3, "smaller")
    # What must stay free of the file system is more than there is.
    s.cache.parent.send(CONFIG, 0, struct.pack(">QQ", 1 << 40, 1 << 60))
    t.wait_for(lambda: s.status()[2] == 0, "all is given up")
    s.locate(cs[0])
    t.equal(EIO, s.get(cs[0])[0], "no room")


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
    t.equal(1, s.status()[2], "files")
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
    t.true(s.answer(n) == (0, a.data), "asked again")
    s.fetches.pop(0).kill()
    b = Content(s.server, b"b" * 1000)
    s.locate(b)
    n = s.ask(b)
    s.start_fetch(1)
    t.true(s.answer(n) == (0, b.data), "asked when there was none")
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
    # A list of other bytes under the name of a content.
    a = Content(s.server, b"a" * 1000)
    b = Content(s.server, b"b" * 1000)
    a.flat = b.flat
    s.ask(a)
    t.true(s.fuse.receive() is None, "ends")
    os.waitpid(s.cache.pid, 0)
    t.true("malformed" in s.cache.logs(), "said")


def test_hostile_messages(t):
    """Any body of any message ends the process by its own decision at worst."""
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print("SEED=%d" % seed)
    rng = random.Random(seed)
    s = Site(t, nfetch=0)
    good = Content(s.server, b"g" * 5000).body()
    for i in range(24):
        kind, fd = ((GET, 0), (PUT, 1), (LIST, 1), (CANCEL, 0))[i % 4]
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
            os.waitpid(s.cache.pid, 0)
            t.true("malformed" in s.cache.logs() or
                   " bytes, not" in s.cache.logs(), s.cache.logs())
        else:
            s.cache.kill()
        s.start_cache()
