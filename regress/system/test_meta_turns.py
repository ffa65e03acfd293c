# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Requests that wait for meta at the same time share one transaction, and so
one sync of the disk."""

import json
import os
import signal
import struct

from sailtest import role as r
from sailtest import server

CONFIG, REQUEST, RESPONSE = 105, 110, 111
PUT, POST = 2, 3
N = 60
# A turn ends after a while, so that a slow machine may need some of them.
FEW = N // 4


def transactions(wal):
    """How many the write-ahead log of SQLite holds."""
    with open(wal, "rb") as f:
        data = f.read()
    if len(data) < 32:
        return 0
    page, = struct.unpack_from(">I", data, 8)
    salts, n = data[16:24], 0
    for at in range(32, len(data) - 24 - page + 1, 24 + page):
        _, pages_after = struct.unpack_from(">II", data, at)
        if data[at + 8:at + 16] != salts:
            break
        n += pages_after != 0
    return n


def start_meta(t):
    """meta alone, with the database of a server that was here before."""
    srv = server.Server(t)
    t.equal(201, srv.call("POST", "/v1/volumes", {"name": "v"})[0], "volume")
    srv.stop()
    folder = os.path.join(srv.dir, "db")
    for path in [folder] + [os.path.join(folder, name)
                            for name in os.listdir(folder)]:
        os.chown(path, r.UID, r.UID)
    m = r.Role(t, srv.program, "meta", r.META, folder)
    m.parent.send(CONFIG, 0, struct.pack(">HB", 9, 0) +
                  r.str16("http://127.0.0.1:9") + struct.pack(">II", 900, 0))
    m.ready()
    return m, srv.key, os.path.join(folder, "sailapi.db-wal")


def request(key, method, target, body):
    """Body and descriptor of a message."""
    return (bytes([method, 0]) + r.str16(target) + r.str16("127.0.0.1:1") +
            r.str16("Bearer " + key) + r.str16("127.0.0.1"), r.memfd(body))


def ask_all(t, m, c, requests):
    """Sends all while meta does not run; the answers, in their order."""
    os.kill(m.pid, signal.SIGSTOP)
    try:
        for n, (body, fd) in enumerate(requests):
            c.send(REQUEST, n + 1, body, fd)
    finally:
        os.kill(m.pid, signal.SIGCONT)
    out = []
    for n in range(len(requests)):
        got = c.wait(RESPONSE, n + 1)
        status, = struct.unpack_from(">H", got.body)
        out.append((status, json.loads(got.body[8:])))
    return out


def test_one_transaction(t):
    m, key, wal = start_meta(t)
    c = m.peer(r.API)
    sessions = ["%032x" % n for n in range(N)]
    before = transactions(wal)
    answers = ask_all(t, m, c, [
        request(key, PUT, "/v1/volumes/v/sessions/" + s, b"{}")
        for s in sessions])
    t.equal([201] * N, [status for status, _ in answers], "sessions")
    middle = transactions(wal)
    t.true(before < middle <= before + FEW, "%d transactions of %d sessions" % (
        middle - before, N))
    # One that is refused takes nothing from the others.
    answers = ask_all(t, m, c, [
        request(key, POST, "/v1/volumes", json.dumps(
            {"name": "v" if n % 3 == 0 else "v%d" % n}).encode())
        for n in range(N)])
    t.equal([409 if n % 3 == 0 else 201 for n in range(N)],
            [status for status, _ in answers], "volumes")
    after = transactions(wal)
    t.true(middle < after <= middle + FEW, "%d transactions of %d volumes" % (
        after - middle, N))
    t.equal(0, m.stop(), "exit status of meta")
