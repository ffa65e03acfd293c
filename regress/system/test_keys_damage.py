# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What a key of a directory has brought, and the store has damaged, is found and
deleted, and comes again with the next upload, as that of other keys does."""

import os
import sqlite3

from sailtest import server, wire
from sailtest.client import Client, Refused, sha

BOTH_STORES = True

VERIFIED, BAD = 3, 4


def pairs_of(datas):
    return [(sha(d), len(d)) for d in datas]


def commit(client, datas):
    """A file of each in a."""
    client.ask(client.session + "/commit", wire.delta(
        [wire.op(wire.PUT, b"a/f%d" % i, wire.regular(pairs_of([d])))
         for i, d in enumerate(datas)], context=[(b"a", wire.directory())]))
    client.begin()


class Place:
    """A volume, and a client that may see its directory a alone."""

    def __init__(self, t):
        self.t = t
        self.srv = server.Server(t)
        self.owner = Client(self.srv)
        (signed,) = self.owner.chunks(pairs_of([b"first"]))
        self.owner.put(signed, b"first")
        commit(self.owner, [b"first"])
        status, out = self.srv.call("POST", "/v1/keys", {
            "role": "write", "volumes": [{"volume": "v", "path": "a"}]})
        t.equal(201, status, out)
        self.client = Client(self.srv, key=out["key"])

    def bring(self, datas):
        """By a pack, as an honest client does: a commit of them all."""
        c, whole = self.client, b"".join(datas)
        answers = c.chunks(pairs_of(datas))
        if wire.PRESENT not in answers:
            self.t.equal([wire.PACK] * len(datas), answers, "to be packed")
            a = c.put(c.pack(sha(whole), len(whole), pairs_of(datas)), whole)
            self.t.true(a.status in (200, 412), a.status)

    def commit(self, datas):
        """None, or why not."""
        try:
            commit(self.client, datas)
        except Refused as e:
            return e.code
        return None

    def again(self, datas):
        """1: brought and published; what is being read is waited for."""
        try:
            self.bring(datas)
        except Refused as e:
            self.t.equal("busy", e.code, str(e))
            return 0
        return self.commit(datas) is None

    def pack(self, datas):
        """Its key in the store."""
        name = sha(b"".join(datas)).hex()
        (key,) = [k for k in self.srv.s3.sizes() if k.endswith(name)]
        return key

    def heals(self, datas):
        self.t.wait_for(lambda: self.again(datas), "it comes again")
        for i, d in enumerate(datas):
            self.t.equal(d, self.owner.read("a/f%d" % i), "f%d" % i)

    def states(self, h):
        db = sqlite3.connect("file:%s/db/sailapi.db?mode=ro" % self.srv.dir,
                             uri=True)
        try:
            return {row[0] for row in db.execute(
                "SELECT state FROM location WHERE hash = ?", (h,))}
        finally:
            db.close()


def test_all(t):
    """All of a pack is wrong before it was read for the first time."""
    p = Place(t)
    datas = [os.urandom(3000 + i) for i in range(4)]
    p.bring(datas)
    key = p.pack(datas)
    for at in range(0, 12000, 1000):
        p.srv.s3.spoil(key, at)
    t.equal("missing_chunks", p.commit(datas), "a damaged pack")
    t.wait_for(lambda: key not in p.srv.s3.sizes(), "it is deleted")
    p.heals(datas)


def test_some(t):
    """One chunk is: the others count, and that one comes alone."""
    p = Place(t)
    datas = [os.urandom(3000 + i) for i in range(4)]
    p.bring(datas)
    p.srv.s3.spoil(p.pack(datas), 3500)
    t.equal("missing_chunks", p.commit(datas), "a damaged pack")
    t.wait_for(lambda: p.states(sha(datas[1])) == {BAD}, "it is found")
    for i in (0, 2, 3):
        t.equal({VERIFIED}, p.states(sha(datas[i])), "state of f%d" % i)
    (answer,) = p.client.chunks(pairs_of(datas[1:2]))
    t.equal(200, p.client.put(answer, datas[1]).status, "it comes alone")
    t.equal(None, p.commit(datas[1:2]), "commit")
    t.equal(datas[1], p.owner.read("a/f0"), "what came again")


def test_later(t):
    """It was read, published and then damaged: a reader says so."""
    p = Place(t)
    datas = [os.urandom(3000 + i) for i in range(4)]
    p.bring(datas)
    t.equal(None, p.commit(datas), "commit")
    key = p.pack(datas)
    for at in range(0, 12000, 1000):
        p.srv.s3.spoil(key, at)
    t.equal(None, p.owner.read("a/f2"), "it is nowhere")
    t.wait_for(lambda: key not in p.srv.s3.sizes(), "it is deleted")
    p.heals(datas)
