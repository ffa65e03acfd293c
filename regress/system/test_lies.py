# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A client that lies about what it brings harms nobody else: others of its
family get the right bytes or a clear error, and the lie is found."""

import os
import sqlite3

from sailtest import client, error_of, server, stack, wire
from sailtest.client import Client, Refused, sha

BOTH_STORES = True

CLAIMED, CONFIRMED, VERIFIED, BAD = 1, 2, 3, 4


class Place:
    """A server, one client who lies and others who do not, all of one volume,
    with keys of their own."""

    def __init__(self, t, srv=None):
        self.t = t
        self.srv = srv or server.Server(t)
        self.liar, self.honest, self.third = (
            Client(self.srv, key=self.new_key()) for _ in range(3))

    def new_key(self):
        status, out = self.srv.call("POST", "/v1/keys", {"role": "write"})
        self.t.equal(201, status, "a new key")
        return out["key"]

    def states(self, h):
        """Those of all places of a chunk in the server's database."""
        db = sqlite3.connect("file:%s/db/sailapi.db?mode=ro" % self.srv.dir,
                             uri=True)
        try:
            return sorted(row[0] for row in db.execute(
                "SELECT state FROM location WHERE hash = ?", (h,)))
        finally:
            db.close()

    def refused(self, status, code, f, *args):
        try:
            self.t.fail("not refused, but %r" % (f(*args),))
        except Refused as e:
            self.t.equal((status, code), (e.status, e.code), str(e))

    def quarantined(self, h):
        self.t.wait_for(lambda: CONFIRMED not in self.states(h) and
                        BAD in self.states(h), "the lie is found")
        line = "chunk %s is lost in object" % h.hex()
        self.t.wait_for(lambda: line in self.srv.log(), "log: " + line)


def pairs_of(datas):
    return [(sha(d), len(d)) for d in datas]


def bring(c, pack, pairs):
    """Uploads a pack of which it says that."""
    c.chunks(pairs)
    a = c.put(c.pack(sha(pack), len(pack), pairs), pack)
    assert a.status in (200, 412), (a.status, a.body)


def file_of(data):
    return len(data), [sha(data)]


def test_wrong_index(t):
    """A pack has other bytes than its index says."""
    p = Place(t)
    x, y, other = (os.urandom(4000) for _ in range(3))
    bring(p.liar, other + y, pairs_of([x, y]))
    p.liar.commit({"lie": file_of(x), "true": file_of(y)})
    # Nobody is told that it is there because of that.
    (answer,) = p.third.chunks(pairs_of([x]))
    t.true(isinstance(answer, client.Signed), "x is not present")
    t.equal(None, p.honest.read("lie"), "the lie is an error")
    t.equal(y, p.honest.read("true"), "what is true in the same pack")
    p.quarantined(sha(x))
    t.equal([VERIFIED], p.states(sha(y)), "state of what is true")
    # Who has the bytes brings them, and with that heals the lie.
    p.honest.write("f", x)
    t.equal(x, p.third.read("f"), "the right bytes")
    t.equal(x, p.third.read("lie"), "the lie is none any more")


def test_all_wrong(t):
    """Nothing of a pack is as its index says: it is deleted, and may come
    again."""
    p = Place(t)
    x, y, z = (os.urandom(4000) for _ in range(3))
    pack = z + y
    bring(p.liar, pack, pairs_of([x, pack[:4000][::-1]]))
    p.liar.commit({"lie": file_of(x)})
    p.quarantined(sha(x))
    t.wait_for(lambda: p.srv.s3.sizes() == {}, "it is deleted")
    # The same object with its true index.
    bring(p.honest, pack, pairs_of([z, y]))
    p.honest.commit({"y": file_of(y), "z": file_of(z)})
    for name, data in (("y", y), ("z", z)):
        t.equal(data, p.third.read(name), name)


def test_index_of_another(t):
    """Of somebody else's pack it is said that other chunks lie there, with
    other borders; before it is verified, and after."""
    p = Place(t)
    datas = [os.urandom(3000 + i) for i in range(6)]
    pack, x = b"".join(datas), os.urandom(len(datas[0]))

    def lie():
        # One that nobody has, and the others shifted by one byte.
        pairs = pairs_of([x] + datas[1:5]) + [
            (sha(datas[5][:-1]), len(datas[5]) - 1), (sha(b"x"), 1)]
        bring(p.liar, pack, pairs)
        p.liar.commit({"lie": file_of(x)})

    def check():
        for i, data in enumerate(datas):
            t.equal(data, p.third.read("f%d" % i), "f%d" % i)
        t.equal(None, p.third.read("lie"), "the lie")
        p.quarantined(sha(x))
        t.equal([VERIFIED] * len(datas),
                [s for d in datas for s in p.states(sha(d)) if s != BAD],
                "states of what is true")

    p.honest.chunks(pairs_of(datas))
    signed = p.honest.pack(sha(pack), len(pack), pairs_of(datas))
    lie()
    t.equal(412, p.honest.put(signed, pack).status, "it is there")
    p.honest.commit({"f%d" % i: file_of(d) for i, d in enumerate(datas)})
    check()
    lie()
    check()


def test_never_uploaded(t):
    """What the store does not have is in no commit, and present for nobody."""
    p = Place(t)
    x, y, z = os.urandom(4000), os.urandom(5000), os.urandom(2 << 20)
    p.liar.chunks(pairs_of([z]))
    p.refused(409, "missing_chunks", p.liar.commit, {"z": file_of(z)})
    p.liar.chunks(pairs_of([x, y]))
    p.liar.pack(sha(x + y), 9000, pairs_of([x, y]))
    p.refused(409, "missing_chunks", p.liar.commit, {"x": file_of(x)})
    # Nor what it only knows the hash of.
    p.refused(409, "missing_chunks", p.third.commit, {"x": file_of(x)})
    t.equal({}, p.srv.s3.sizes(), "objects")
    p.honest.write("z", z)
    bring(p.honest, x + y, pairs_of([x, y]))
    p.honest.commit({"x": file_of(x), "y": file_of(y)})
    for name, data in (("x", x), ("y", y), ("z", z)):
        t.equal(data, p.third.read(name), name)


def test_lengths(t):
    """Of an object that others are to bring another length is said, before they
    ask, and before they upload: it is none of what the store has, and they are
    not held up."""
    p = Place(t)
    small = pairs_of([b"12345", b"abcdef"])
    for i, when in enumerate(("before", "between", "both")):
        x, y, z = os.urandom(4000), os.urandom(5000), os.urandom(2 << 20)
        pack = x + y

        def lie():
            p.liar.chunks([(sha(z), 100)])
            for obj in (sha(z), sha(pack)):
                p.liar.pack(obj, 11, small)

        if when != "between":
            lie()
        p.honest.chunks(pairs_of([x, y]))
        signed = p.honest.pack(sha(pack), len(pack), pairs_of([x, y]))
        (large,) = p.honest.chunks(pairs_of([z]))
        if when != "before":
            # It may be refused, too.
            try:
                lie()
            except Refused:
                pass
        t.equal(200, p.honest.put(signed, pack).status, "pack: " + when)
        t.equal(200, p.honest.put(large, z).status, "chunk: " + when)
        files = {"%s%d" % (n, i): file_of(d)
                 for n, d in (("x", x), ("y", y), ("z", z))}
        if when == "both":
            # Asked again, as after a lost connection: nothing is sent twice.
            t.equal([wire.PRESENT] * 3, p.honest.chunks(pairs_of([x, y, z])),
                    "it is there: " + when)
        p.honest.commit(files)
        for name, data in (("x", x), ("y", y), ("z", z)):
            t.equal(data, p.third.read("%s%d" % (name, i)),
                    "%s: %s" % (name, when))
    # One that is known has the length that it has.
    t.wait_for(lambda: p.states(sha(x)) == [VERIFIED], "x is verified")
    p.refused(400, "bad_delta", p.liar.commit, {"lie": (4001, [sha(x)])})


def test_reports(t):
    """Reports of what is not so: readers go on, nothing is deleted."""
    p = Place(t)
    datas = [os.urandom(3000 + i) for i in range(4)]
    pack, large = b"".join(datas), os.urandom(100000)
    bring(p.honest, pack, pairs_of(datas))
    p.honest.commit({"f%d" % i: file_of(d) for i, d in enumerate(datas)})
    p.honest.write("large", large)
    before = p.srv.s3.sizes()
    for problem in ("missing", "corrupt"):
        for obj, data in [(pack, d) for d in datas] + [(large, large)]:
            try:
                p.liar.report(sha(obj), sha(data), problem)
            except Refused as e:
                t.equal((503, "busy"), (e.status, e.code), "refused")
            t.equal(large, p.third.read("large"), "large")
            t.equal(datas[0], p.third.read("f0"), "f0")
    p.refused(404, "chunk_not_found", p.liar.report, sha(large),
              sha(datas[0]), "missing")
    t.wait_for(lambda: all(p.states(sha(d)) == [VERIFIED]
                           for d in datas + [large]), "all are verified")
    t.equal(before, p.srv.s3.sizes(), "objects")


def test_mounts(t):
    """Mounts beside a liar: an error that names the chunk, and the right bytes
    once somebody has them; a fork too, which is of the same family."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    p = Place(t, s.server)
    x, y, other = (os.urandom(4000) for _ in range(3))
    bring(p.liar, other + y, pairs_of([x, y]))
    p.liar.commit({"lie": file_of(x), "true": file_of(y)})
    status, _ = s.server.call("POST", "/v1/volumes/v/fork", {"name": "w"})
    t.equal(201, status, "fork")
    s.reload(a)
    b = s.daemons[1].mount("w", "b")

    def content(where, name):
        with open(os.path.join(where, name), "rb") as f:
            return f.read()

    for n, where in enumerate((a, b)):
        t.equal(y, content(where, "true"), "what is true")
        t.equal("EIO", error_of(content, where, "lie"), "the lie")
        t.wait_for(lambda n=n: sha(x).hex() in s.daemons[n].log(),
                   "the log names the chunk")
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(x)
    s.commit(a)
    for where in (a, b):
        t.wait_for(lambda: error_of(content, where, "lie") == "done",
                   "the lie is healed")
        t.true(content(where, "lie") == x, "its bytes")
    t.equal(x, content(a, "f"), "what was committed")
