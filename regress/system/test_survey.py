# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The server lists its store now and then, and compares that with its database:
what the store has lost is known, and healed by who has it, before anybody reads
it; what it has for nothing is counted, and stays."""

import concurrent.futures
import os
import re
import sqlite3
import time

from sailtest import gateway, proxy, stack
from sailtest.stack import write

BOTH_STORES = ("test_lost_and_found",)
DONE = re.compile(r"survey: the store has (\d+) objects, (\d+) bytes; (\d+) were "
                  r"missing or wrong; (\d+) older than a day are unknown, "
                  r"(\d+) bytes")


def ask(t, srv):
    t.run([srv.program, "-f", srv.conf, "store", "survey"])


def survey(t, *servers):
    """What one that is asked for finds: objects, bytes, missing, unknown, bytes
    of these."""
    def done():
        return [DONE.findall(srv.log()) for srv in servers]
    before = done()
    ask(t, servers[0])
    t.wait_for(lambda: done() != before, "a survey", 120)
    found = [m for a, b in zip(before, done()) for m in b[len(a):]]
    t.equal(1, len(found), "surveys")
    return [int(n) for n in found[0]]


def strangers(srv, n):
    """Objects of somebody else, with names that are not easy, before the
    server's own and behind them."""
    keys = ["!%05d +%%&=?é\t~" % i for i in range(n - 1)] + ["zz/" + "~ü" * 300]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for a in pool.map(lambda k: srv.s3.put(k, b"x"), keys):
            if a.status != 200:
                raise AssertionError("put: %d %s" % (a.status, a.code))
    return keys


def age(srv, keys):
    """The embedded store's are two days old; 1 if that could be done."""
    if srv.store is not None:
        return 0
    then = time.time() - 2 * 86400
    for where, _, names in os.walk(os.path.join(srv.dir, "objects")):
        for name in names:
            if name.startswith("!") or "zz%" in where:
                os.utime(os.path.join(where, name), (then, then))
    return 1


def objects_where(srv, what):
    """Hashes of objects in the database."""
    db = sqlite3.connect("file:%s/db/sailapi.db?mode=ro" % srv.dir, uri=True)
    try:
        return {row[0].hex() for row in db.execute(
            "SELECT hash FROM object WHERE " + what)}
    finally:
        db.close()


def test_lost_and_found(t):
    """Objects that somebody deleted, cut short or brought are found among
    several pages; a commit of the same bytes heals what was lost."""
    s = stack.Stack(t)
    srv = s.server
    a = s.mount("v", "a", create=True)
    for i in range(3):
        stack.fill(os.path.join(a, "big%d" % i), 9)
    for i in range(20):
        write(os.path.join(a, "small%d" % i), "small %d " % i * 5000)
    s.commit(a)
    t.wait_for(srv.packs_read, "the packs to be verified", 60)
    ours = s.objects()
    keys = strangers(srv, 1010)
    aged = age(srv, keys)
    n, total = len(ours) + len(keys), sum(ours.values()) + len(keys)
    unknown = [aged * len(keys)] * 2
    t.equal([n, total, 0] + unknown, survey(t, srv), "all is there")

    packs = objects_where(srv, "pack = 1")
    lost = [k for k in ours if k[-64:] in packs][:1]
    big = [k for k in ours if k not in lost]
    lost, short = lost + big[:1], big[1]
    for key in lost:
        srv.s3.delete(key)
    t.equal(200, srv.s3.put(short, b"short").status, "cut short")
    total += len(b"short") - sum(ours[k] for k in lost + [short])
    t.equal([n - 2, total, 3] + unknown, survey(t, srv), "lost and short")
    t.equal({k[-64:] for k in lost + [short]},
            objects_where(srv, "state = 4"), "quarantined")
    for key in lost[1:] + [short]:
        t.true("is lost in object " + key[-64:] in srv.log(), "the log: " + key)
    found = s.objects()
    t.true(set(keys) <= set(found), "what is unknown stays")
    t.true(short not in found, "what is short makes room")
    t.equal([n - 3, total - len(b"short"), 0] + unknown, survey(t, srv),
            "once is enough")

    # New files with the old bytes.
    for name in sorted(os.listdir(a)):
        with open(os.path.join(a, name), "rb") as f:
            data = f.read()
        with open(os.path.join(a, name + ".again"), "wb") as f:
            f.write(data)
    s.commit(a)
    for key in (lost[1], short):
        t.equal(ours[key], s.objects().get(key), "brought anew: " + key)
    b = s.add_daemon().mount("v", "b")
    stack.same(t, stack.look(a, fields=()), stack.look(b, fields=()),
               "what another reads")
    t.equal([0] + unknown, survey(t, srv)[2:], "healed")


def test_store_away(t):
    """The store goes away between two pages, and comes again: the survey goes on
    where it was, and nothing is taken for lost."""
    s = stack.Stack(t, daemons=1, proxied=True, store=gateway.Gateway(t))
    srv = s.server
    a = s.mount("v", "a", create=True)
    stack.fill(os.path.join(a, "big"), 9)
    s.commit(a)
    ours = s.objects()
    keys = strangers(srv, 1010)
    f = s.store.fault(proxy.WITHHOLD, "list-type=2.*start-after")
    before = srv.log().count("survey: the store has")
    ask(t, srv)
    t.wait_for(f.reached.is_set, "the second page", 60)
    s.store.set_down()
    f.release()
    t.wait_for(lambda: "survey: waits, for" in srv.log(), "it waits", 90)
    s.store.set_down(False)
    t.wait_for(lambda: srv.log().count("survey: the store has") > before,
               "the survey", 120)
    t.equal([len(ours) + len(keys), sum(ours.values()) + len(keys), 0, 0, 0],
            [int(n) for n in DONE.findall(srv.log())[-1]], "found")
    t.equal(1, s.store.count("list-type=2(?!.*start-after)"), "first pages")
    t.equal(set(), objects_where(srv, "state = 4"), "nothing is lost")

    # Who may not list, or hears nonsense, says so and lets it be.
    for answer, times, said in (
            (proxy.s3_error(403, "AccessDenied"), 3,
             "does not let itself be listed (403 AccessDenied)"),
            (proxy.answer(200, b"text/html", b"<!DOCTYPE html><html/>"), 1,
             "has a DOCTYPE")):
        s.store.fault(proxy.ANSWER, "list-type=2", answer, times)
        ask(t, srv)
        t.wait_for(lambda w=said: "survey: given up" in srv.log() and
                   w in srv.log(), said, 60)


def test_one_of_two(t):
    """Of two servers one does it, and no other later; where the bucket is a
    label of the host's name."""
    g = gateway.Gateway(t)
    g.style, g.host = "virtual", "localhost"
    s = stack.Stack(t, daemons=0, store=g)
    other = stack.FixedServer(t, name="second", beside=s.server)
    for i in range(3):
        t.equal(200, g.s3.put("f %d" % i, b"x" * i).status, "put")
        t.equal([i + 1, i * (i + 1) // 2, 0, 0, 0],
                survey(t, s.server, other), "what is there")
    t.equal(3, sum(len(DONE.findall(srv.log()))
                   for srv in (s.server, other)), "surveys")
