# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Small files go to the store and come back in packs."""

import hashlib
import os

from sailtest import deadline, stack

BOTH_STORES = True

MIB = 1 << 20


def fill(path, dirs, files, size=4096):
    """{path: bytes} of so many files in so many directories."""
    out = {}
    for d in range(dirs):
        where = os.path.join(path, "d%03d" % d)
        os.mkdir(where)
        for i in range(files):
            out[os.path.join(where, "f%03d" % i)] = os.urandom(size)
    for name, data in out.items():
        with open(name, "wb") as f:
            f.write(data)
    return out


def check(t, wrote, a, b):
    """What was written in a is read in b."""
    for name in sorted(wrote):
        with open(b + name[len(a):], "rb") as f:
            t.true(f.read() == wrote[name], name)


@deadline(240)
def test_few_requests(t):
    """3,000 files of 4 KiB are a few objects, and a few requests to read, in
    the order of their paths; the same again is none."""
    s = stack.Stack(t, daemons=2, proxied=True)
    a = s.mount("v", "a", create=True)
    b = s.daemons[1].mount("v", "b")
    wrote = fill(a, 30, 100)
    s.store.reset()
    s.api.reset()
    s.commit(a)
    t.true(len(s.objects()) <= 4, "objects: %r" % s.objects())
    t.equal(len(s.objects()), s.store.count("^PUT "), "uploads")
    t.true(s.api.count() < 20, "requests: %r" % s.api.matching())
    s.daemons[1].ctl("reload", b)
    s.store.reset()
    s.api.reset()
    check(t, wrote, a, b)
    n = s.store.count("^GET "), s.api.count("/locate")
    t.true(max(n) <= 16, "GETs and questions: %r" % (n,))
    check(t, wrote, a, b)
    t.equal(n, (s.store.count("^GET "), s.api.count("/locate")), "again")


def pack_of(s):
    """The key of the only object, and its bytes."""
    (key,) = s.objects()
    return key, s.server.s3.get(key).body


def test_one_wrong_chunk(t):
    """One chunk of a pack is damaged in the store: that file is an error, the
    others are read; the next commit that has its bytes heals it."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    b = s.daemons[1].mount("v", "b")
    wrote = fill(a, 1, 20)
    s.commit(a)
    key, data = pack_of(s)
    bad = sorted(wrote)[7]
    s.server.s3.spoil(key, data.index(wrote[bad]) + 100)
    s.daemons[1].ctl("reload", b)

    def lost():
        try:
            with open(b + bad[len(a):], "rb") as f:
                return f.read() and False
        except OSError as e:
            return e.strerror
    t.equal("Input/output error", t.wait_for(lost, "an error"), "its error")
    good = {k: v for k, v in wrote.items() if k != bad}
    check(t, good, a, b)
    with open(os.path.join(a, "again"), "wb") as f:
        f.write(wrote[bad])
    s.commit(a)
    t.equal([4096, len(data)], sorted(s.objects().values()), "objects")
    check(t, wrote, a, b)


def test_verified_later(t):
    """Another key is told to bring what lies in a pack until the server has
    read it; then nothing is sent twice."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    b = s.daemons[1].mount("v", "b")
    wrote = fill(a, 1, 20)
    s.commit(a)
    key, data = pack_of(s)
    t.equal(key.rsplit("/", 1)[1], hashlib.sha256(data).hexdigest(),
            "its name is its hash")
    t.wait_for(s.server.packs_read, "the server has read it")
    os.mkdir(os.path.join(b, "copy"))
    for name, bytes_ in wrote.items():
        with open(os.path.join(b, "copy", os.path.basename(name)), "wb") as f:
            f.write(bytes_)
    s.daemons[1].ctl("commit", b)
    t.equal(1, len(s.objects()), "objects")
