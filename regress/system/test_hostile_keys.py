# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Who has a key of little use, and means harm, keeps nobody else out."""

import os
import socket
import sqlite3
import struct
import threading
import time

from sailtest import bigvolume, deadline, server, wire
from sailtest.client import Client, sha


def begin_body(srv, key, length, first=b""):
    s = socket.create_connection(("127.0.0.1", srv.port))
    s.sendall(("POST /v1/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
               "Authorization: Bearer %s\r\n\r\n" % (length, key)).encode())
    s.sendall(first)
    return s


def reader(srv):
    return srv.call("POST", "/v1/keys", {"role": "read"})[1]["key"]


def test_held_bodies(t):
    """Two bodies that never come whole leave room for those of others."""
    srv = server.Server(t, "limits { body size 2M }")
    Client(srv)
    key, size = reader(srv), 2 << 20
    held = [begin_body(srv, key, size, bytes(size - 64)) for _ in range(2)]

    def other():
        return srv.raw("POST", "/v1/volumes/v/sessions/%s/commit" % ("0" * 32),
                       bytes(40000), {"Authorization": "Bearer " + srv.key})[0]

    time.sleep(0.5)
    # 404: no such session; it was taken, and looked at.
    t.equal(404, other(), "a body of another")
    for s in held:
        s.close()


def test_slow_large_body(t):
    """A body is slow by what comes of it, however much was announced."""
    srv = server.Server(t, "limits { idle 2s rate 64K }")
    s = begin_body(srv, reader(srv), 1 << 30)
    s.settimeout(1)
    began = time.monotonic()
    try:
        while time.monotonic() < began + 20:
            s.sendall(b"x")
            try:
                if s.recv(100) == b"":
                    break
            except TimeoutError:
                pass
    except OSError:
        pass
    took = time.monotonic() - began
    t.true(took < 15, "a byte a second went on for %.0f s" % took)


@deadline(240)
def test_huge_deltas(t):
    """Whoever publishes a million names at a time does not hold up a small
    commit to another volume."""
    srv = server.Server(t)
    clients = []
    for name in ("v", "w"):
        c = Client(srv, name)
        c.ask(c.session + "/commit", wire.delta(
            [wire.op(wire.PUT, b"a", wire.directory())]))
        key = srv.call("POST", "/v1/keys", {
            "role": "write", "volumes": [{"volume": name, "path": "a"}]})[1]
        clients.append(Client(srv, name, key["key"]))
    evil, good = clients
    link, context = wire.symlink(b"x"), [(b"a", wire.directory())]
    body = wire.delta([wire.op(wire.PUT, b"a/n%08d" % i, link)
                       for i in range(1000000)], context=context)
    sessions = []
    for _ in range(4):
        sessions.append(evil.session)
        evil.begin()

    def attack(session):
        try:
            evil.ask(session + "/commit", body)
        except OSError:
            pass

    threads = [threading.Thread(target=attack, args=(s,)) for s in sessions]
    for th in threads:
        th.start()
    longest = n = 0
    while any(th.is_alive() for th in threads):
        began = time.monotonic()
        good.ask(good.session + "/commit", wire.delta(
            [wire.op(wire.PUT, b"a/h%d" % n, link)], context=context))
        good.begin()
        longest, n = max(longest, time.monotonic() - began), n + 1
        time.sleep(0.2)
    t.true(longest < 5, "a commit of one link took %.1f s" % longest)


def test_scheme(t):
    """The name of the scheme has no case, with a large body, too."""
    srv = server.Server(t)
    for scheme in ("Bearer", "bearer", "BEARER"):
        for size in (100, 40000):
            name = "v%s%d" % (scheme, size)
            status = srv.raw("POST", "/v1/volumes", b'{"name":"%s"%s}' % (
                name.encode(), b" " * size),
                {"Authorization": scheme + " " + srv.key})[0]
            t.equal(201, status, name)


def test_wrong_reports(t):
    """Who reports what is all right has the server read some of it, and no
    more; the reports of others are followed."""
    srv = server.Server(t)
    c = Client(srv)
    datas = [os.urandom(8 << 20) for _ in range(18)]
    for i, data in enumerate(datas):
        c.write("f%d" % i, data)
    key = reader(srv)

    def reads():
        return srv.log().count("store: GET ")

    def report(i, by):
        name = sha(datas[i % len(datas)]).hex()
        return srv.call("POST", "/v1/volumes/v/report", {
            "object": name, "chunk": name, "problem": "corrupt"}, by)[0]

    ends = time.monotonic() + 6

    def flood(i):
        while time.monotonic() < ends:
            report(i, key)
            i += 1

    before = reads()
    threads = [threading.Thread(target=flood, args=(i * 4,)) for i in range(4)]
    for th in threads:
        th.start()
    honest = []
    while any(th.is_alive() for th in threads):
        if len(honest) < 3:
            honest.append(report(len(honest), srv.key))
        threads[0].join(1)
    t.equal([202] * 3, honest, "reports of another")
    # 16 for nothing, what is forgotten of them meanwhile, and three.
    t.true(reads() - before <= 24, "%d objects were read" % (
        reads() - before))
    t.wait_for(lambda: report(0, key) == 503, "a refusal")


def test_many_sessions(t):
    """A key opens so many sessions and no more, of whatever volumes; others
    are not hindered, and what it publishes makes room."""
    srv = server.Server(t)
    for name in ("v", "w"):
        c = Client(srv, name)
        c.ask(c.session + "/commit", wire.delta(
            [wire.op(wire.PUT, b"a", wire.directory())]))
    key = srv.call("POST", "/v1/keys", {
        "role": "write", "volumes": [{"volume": v, "path": "a"}
                                     for v in ("v", "w")]})[1]["key"]

    def put(i, by):
        target = "/v1/volumes/%s/sessions/%032x" % ("vw"[i % 2], i)
        status, out = srv.call("PUT", target, {"message": "m" * 4096}, by)
        return status, out.get("error", {}).get("code")

    for i in range(2):
        t.equal((201, None), put(i, key), "session %d" % i)
    # As many as 9,998 more, in less time.
    db = sqlite3.connect(os.path.join(srv.database, "sailapi.db"), 60)
    with db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 9999) INSERT INTO session(volume, key, state, created, "
            "message, author, if_unchanged, owner, maker) SELECT volume, "
            "randomblob(16), 1, created, message, author, 0, owner, maker "
            "FROM n, session WHERE key = ?", (bytes(16),))
    db.close()
    t.equal((409, "too_many_sessions"), put(2, key), "one more")
    t.equal((200, None), put(1, key), "one that is there")
    t.equal((201, None), put(3, srv.key), "another's")
    t.equal(200, srv.raw(
        "POST", "/v1/volumes/v/sessions/%032x/commit" % 0, wire.delta(
            [wire.op(wire.PUT, b"a/x", wire.symlink(b"x"))],
            context=[(b"a", wire.directory())]),
        {"Authorization": "Bearer " + key})[0], "a commit")
    t.equal((201, None), put(4, key), "in its place")


def meta_cpu(srv):
    with open("/proc/%d/stat" % srv.roles()["meta"]) as f:
        return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])) / 100


@deadline(300)
def test_same_volume(t):
    """Whoever publishes at the same time to one volume merges once each, with
    whatever keys."""
    srv = server.Server(t)
    c = Client(srv)
    link, n = wire.symlink(b"x" * 100), 60000
    context = [(b"d%04d" % d, wire.directory()) for d in range(n // 400)]
    names = [b"d%04d/n%07d" % (i // 400, i) for i in range(n)]
    c.ask(c.session + "/commit", wire.delta(
        [wire.op(wire.PUT, name, link) for name in names], context=context))

    def writer(i):
        key = srv.call("POST", "/v1/keys", {"role": "write"})[1]["key"]
        return Client(srv, key=key), wire.delta(
            [wire.op(wire.PUT, name, wire.symlink(b"y"))
             for name in names[i::66]], context=context)

    def publish(client, body, out):
        out.append(srv.raw("POST", client.session + "/commit", body,
                           {"Authorization": "Bearer " + client.key})[0])

    def cost(writers):
        out, began = [], meta_cpu(srv)
        threads = [threading.Thread(target=publish, args=(*w, out))
                   for w in writers]
        for th in threads:
            th.start()
        for th in threads:
            th.join()
        t.equal([200] * len(writers), out, "commits")
        return meta_cpu(srv) - began

    # One after the other, then together.
    alone = sum(cost([writer(i)]) for i in range(3)) / 3
    same = [writer(i) for i in range(3, 11)]
    together = cost(same)
    t.said = "a commit costs %.2f s, eight together %.2f s" % (alone, together)
    t.true(together < 8 * 2 * alone + 0.3, "%.2f s of %.2f s" % (
        together, alone))


def test_huge_file(t):
    """To find a chunk of a file costs no more for all the others that it
    has."""
    srv = server.Server(t)
    c = Client(srv)
    data = bytes(8 << 20)
    (a,) = c.chunks([(sha(data), len(data))])
    t.equal(200, c.put(a, data).status, "the chunk")
    d = bigvolume.Delta()
    for name, n in ((b"huge", 1 << 19), (b"small", 1)):
        d.file(name, 0o644, 1700000000, 2, struct.pack(
            "<QBI", n << 23, 23, n << 1 | 1) + sha(data) * n)
    c.ask(c.session + "/commit", bytes(d.encode()))
    head = bytes.fromhex(c.head())

    def cost(name):
        began = meta_cpu(srv)
        for _ in range(80):
            c.ask("/v1/volumes/v/locate", wire.locate(head, name, (0,)))
        return meta_cpu(srv) - began

    small, huge = cost(b"small"), cost(b"huge")
    t.said = "small %.2f s, huge %.2f s" % (small, huge)
    t.true(huge < 5 * small + 0.2, t.said)
