# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Small chunks that come together go on together: to fuse as one descriptor that
nobody can write to, into the cache as one file, verified once after a restart."""

import errno
import fcntl
import os
import random
import struct

from sailtest import role as r
from sailtest.cache_site import CONFIG, MIB, OTHER, VOL, Content, Site
from sailtest.store import sha

BUNDLE = 196
FETCH_GET, GET_BUNDLE = 218, 228


def together(s, sizes, seed=1):
    """Contents that lie in one object of the store."""
    rng = random.Random(seed)
    cs = [Content(s.server, rng.randbytes(n)) for n in sizes]
    s.server.together = [c.data for c in cs]
    return cs


class Bundle:
    def __init__(self, m):
        n, = struct.unpack_from(">H", m.body)
        self.fd = os.dup(m.fd)
        data = r.read_fd(m.fd)
        self.chunks = {}
        for i in range(n):
            at, size = struct.unpack_from(">II", m.body, 2 + 40 * i + 32)
            self.chunks[m.body[2 + 40 * i:34 + 40 * i]] = data[at:at + size]


def get(t, s, content, channel=None):
    """The bundle that came before the answer."""
    s.locate(content)
    number = s.ask(content, channel)
    b = Bundle((channel or s.fuse).wait(BUNDLE))
    t.equal((0, 0, None), s.chunk(number, channel), "answer")
    for h, data in b.chunks.items():
        t.equal(h, sha(data), "hash")
    t.true(b.chunks[sha(content.data)] == content.data, "bytes")
    return b


def files(s):
    """Of bundles, in the directory."""
    return sorted(os.path.join(where, n) for where, _, names in os.walk(s.dir)
                  for n in names if n.endswith(".b"))


def test_together(t):
    s = Site(t)
    cs = together(s, [4096, 1, 70000, 300, 4096])
    b = get(t, s, cs[2])
    t.equal({sha(c.data) for c in cs}, set(b.chunks), "all of them")
    for f in (lambda: os.pwrite(b.fd, b"x", 0), lambda: os.ftruncate(b.fd, 1),
              lambda: fcntl.fcntl(b.fd, fcntl.F_ADD_SEALS, 0)):
        try:
            f()
            t.fail("changed")
        except OSError as e:
            t.true(e.errno in (errno.EPERM, errno.EBADF), e)
    n = len(s.server.requests)
    for c in cs:
        get(t, s, c)
    get(t, s, cs[0], s.mount(2))
    t.equal(n, len(s.server.requests), "nobody was asked")
    t.wait_for(lambda: len(files(s)) == 1, "a file")
    get(t, s, cs[1])
    used, _, count, hits, fetched = s.status()
    t.equal((1, 7, 78493), (count, hits, fetched), "files, hits, bytes")
    t.true(used >= 78493, "used")
    # Of another volume it is another.
    get(t, s, cs[0], s.mount(3, OTHER))
    t.true(len(s.server.requests) > n, "the server is asked")
    t.wait_for(lambda: len(files(s)) == 2, "one of each")
    t.equal(0, s.put(cs[3], cs[3].data), "it has it")
    t.equal(2, s.status()[2], "files")
    t.equal([], os.listdir(s.dir + "/tmp"), "tmp")
    t.equal(0, s.cache.stop(), "status")


def test_many_wait(t):
    """All who wait for chunks that come together are answered by one bundle a
    mount; what was not asked for comes with it."""
    s = Site(t)
    cs = together(s, [1000 + i for i in range(20)])
    s.locate(cs[0])
    s.server.faults["object GET"] = ["slow"]
    other = s.mount(2)
    mine = [s.ask(cs[0]) for _ in range(5)]
    theirs = s.ask(cs[0], other)
    for c in (s.fuse, other):
        t.equal(20, len(Bundle(c.wait(BUNDLE)).chunks), "chunks")
    for n in mine:
        t.equal((0, 0, None), s.chunk(n), "mine")
    t.equal((0, 0, None), s.chunk(theirs, other), "another's")
    t.equal([], [m.kind for m in s.fuse.backlog if m.kind == BUNDLE], "more")
    t.equal(1, s.server.count("locate"), "one question")


def test_restart(t):
    """A bundle from before is verified once, and thrown away when it is not
    what it was."""
    s = Site(t)
    sets = [together(s, [5000, 4096, 100], seed) for seed in range(4)]
    paths = []
    for cs in sets:
        s.server.together = [c.data for c in cs]
        get(t, s, cs[0])
        t.wait_for(lambda: len(files(s)) == len(paths) + 1, "its file")
        paths += [p for p in files(s) if p not in paths]
    s.cache.kill()
    with open(paths[1], "r+b") as f:
        f.seek(6000)
        byte = f.read(1)
        f.seek(6000)
        f.write(bytes([byte[0] ^ 1]))
    os.truncate(paths[2], 5100)
    with open(paths[3], "r+b") as f:  # the hash of a chunk
        f.seek(9196)
        f.write(b"\0\0\0")
    n = s.server.count("locate")
    s.start_cache()
    t.wait_for(lambda: s.status()[2] == 3, "scan")
    t.true(not os.path.exists(paths[2]), "none of ours")
    b = get(t, s, sets[0][1])
    try:
        os.close(os.open("/proc/self/fd/%d" % b.fd, os.O_RDWR))
        t.fail("opened for writing")
    except OSError as e:
        t.equal(errno.EROFS, e.errno, "errno")
    for c in sets[0]:
        get(t, s, c)
    t.equal(n, s.server.count("locate"), "verified, not fetched")
    for i in (1, 2):
        s.server.together = [c.data for c in sets[i]]
        get(t, s, sets[i][2])
        t.equal(n + i, s.server.count("locate"), "fetched again")
    t.true("thrown away" in s.cache.logs(), "log")
    s.server.together = [c.data for c in sets[3]]
    get(t, s, sets[3][0])
    for i in range(4):
        get(t, s, sets[i][1])
    t.equal(n + 3, s.server.count("locate"), "all are there")


def test_limit(t):
    """A bundle that the cache has no room for is handed out all the same; the
    longest unused go first."""
    s = Site(t, limit=3 * 16384)
    sets = [together(s, [4096, 4096], seed) for seed in range(5)]
    for i, cs in enumerate(sets[:4]):
        s.server.together = [c.data for c in cs]
        get(t, s, cs[0])
        t.wait_for(lambda: len(files(s)) == min(i + 1, 4), "its file")
        get(t, s, sets[0][0])
    t.true(s.status()[0] <= 3 * 16384, "limit")
    s.cache.parent.send(CONFIG, 0, struct.pack(">QQ", 25000, 1))
    t.wait_for(lambda: s.status()[2] == 2, "smaller")
    n = s.server.count("locate")
    get(t, s, sets[0][1])
    t.equal(n, s.server.count("locate"), "the one used last stays")
    big = together(s, [9000] * 10, 9)
    get(t, s, big[3])
    t.true(s.status()[0] <= 25000, "it is not kept")
    n = s.server.count("locate")
    get(t, s, sets[0][1])
    t.equal(n, s.server.count("locate"), "nothing was given up for it")


def test_small_cache(t):
    """What is still to be written of a bundle is in the way of another chunk for
    a moment: it waits, and does not fail."""
    s = Site(t, limit=10 * MIB)
    rng = random.Random(3)

    def warm(seed):
        """More and more of them come, while questions follow soon."""
        for i in range(6):
            get(t, s, together(s, [100, 200], seed=seed + i)[0])
    warm(50)
    late = 0
    alone = [Content(s.server, rng.randbytes(4 * MIB)) for _ in range(12)]
    for i, c in enumerate(alone):
        cs = together(s, [900000] * 8, seed=100 + i)
        s.locate(cs[0])
        first = s.ask(cs[0])
        if s.fuse.receive().kind != BUNDLE:
            # The last question was too long ago.
            late += 1
            warm(1000 + 10 * i)
            continue
        s.locate(c)
        number = s.ask(c)
        t.equal((0, 0, None), s.chunk(first), "the bundle's")
        t.true(s.answer(number, c) == (0, c.data), "round %d" % i)
    t.true(s.status()[0] <= 10 * MIB, "limit")
    t.said = "%d rounds" % (len(alone) - late)


def bundle_file(s, name, chunks, data, volume=VOL):
    """Like those of the cache: chunks are (hash, offset, bytes)."""
    path = os.path.join(s.dir, name[:2], name[2:] + ".b")
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
        for h, at, n in chunks:
            f.write(h + struct.pack("<II", at, n))
        f.write(volume.encode() + struct.pack("<HHI", len(volume), len(chunks),
                                              0x31424353))
    for p in (os.path.dirname(path), path):
        os.chown(p, r.UID, r.UID)
    return path


def test_hostile_files(t):
    """A file of the cache that is larger than any bundle is thrown away, and
    kills nobody."""
    s = Site(t)
    c = Content(s.server, b"c" * 4096)
    s.cache.kill()
    far = bundle_file(s, "ab" * 32, [(sha(c.data), 9 * MIB, 4096)],
                      b"\0" * (9 * MIB) + c.data)
    s.start_cache()
    t.wait_for(lambda: not os.path.exists(far), "too large")
    s.locate(c)
    t.true(s.get(c) == (0, c.data), "from the store")


def test_broken_without_fetch(t):
    """A bundle that is broken is thrown away, and its chunks are fetched, also
    when there was no sailvol-fetch when they were asked for."""
    s = Site(t, nfetch=0)
    c = Content(s.server, b"c" * 4096)
    s.cache.kill()
    path = bundle_file(s, "ab" * 32, [(sha(c.data), 0, 4096)], c.data)
    s.start_cache()
    t.wait_for(lambda: s.status()[2] == 1, "it is found")
    os.truncate(path, 100)
    s.locate(c)
    number = s.ask(c)
    s.status()
    s.start_fetch(0)
    t.true(s.answer(number, c) == (0, c.data), "fetched")
    t.true("thrown away" in s.cache.logs(), s.cache.logs())
    t.equal([], files(s), "bundles")


def test_broken_in_use(t):
    """A bundle that broke after it was verified, or could not be written, is not
    left in the directory, where nobody would count it."""
    s = Site(t)
    cs = together(s, [4096, 300])
    get(t, s, cs[0])
    t.wait_for(lambda: len(files(s)) == 1, "its file")
    get(t, s, cs[0])
    os.truncate(files(s)[0], 100)
    s.server.together = []
    s.locate(cs[0])
    t.true(s.get(cs[0]) == (0, cs[0].data), "fetched again")
    t.equal([], files(s), "bundles")


def test_chunk_like_the_end_of_a_bundle(t):
    """A file whose bytes are those that a bundle ends with, of which its name is
    made, is no bundle."""
    s = Site(t)
    cs = together(s, [4096, 300])
    get(t, s, cs[0])
    t.wait_for(lambda: len(files(s)) == 1, "its file")
    with open(files(s)[0], "rb") as f:
        end = f.read()[4096 + 300:]
    s.server.together = []
    c = Content(s.server, end)
    s.locate(c)
    t.true(s.get(c) == (0, end), "the file")
    get(t, s, cs[1])
    t.true(s.get(c) == (0, end), "again")


def hostile(t, chunks, data, seal=True):
    """A sailvol-fetch that answers with that is blamed by cache."""
    s = Site(t, nfetch=0)
    fetch = s.cache.peer(r.FETCH, 0)
    c = Content(s.server, b"c" * 4096)
    s.ask(c)
    number = fetch.wait(FETCH_GET).number
    fd = r.memfd(data)
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE |
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    fetch.send(GET_BUNDLE, number, struct.pack(">H", len(chunks)) + b"".join(
        h + struct.pack(">II", at, n) for h, at, n in chunks), fd)
    t.true(fetch.receive() is None, "its channel ends")
    s.cache.blames("malformed")


def test_hostile_bundles(t):
    h = sha(b"c" * 4096)
    two = [(h, 0, 4096), (sha(b"x"), 4096, 1)]
    hostile(t, two, b"c" * 4096 + b"x", seal=False)
    hostile(t, two, b"c" * 4096)
    hostile(t, [(h, 0, 4096), (h, 2 ** 32 - 1, 4096)], b"c" * 8192)
    hostile(t, [(h, 0, 4096), (h, 4096, 0)], b"c" * 8192)
    hostile(t, [(h, 0, 4096)], b"c" * 4095)
