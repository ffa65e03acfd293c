# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvol-fetch keeps nobody waiting for ever for a turn, or for what a store
refuses, and tells its own disk from the store."""

import os
import random
import struct
import threading
import time

from sailtest import role as r
from sailtest.fetch_site import (GET, GET_FILE, GET_RES, MIB, STILL,
                                 check_file, get, start, upload)
from sailtest.store import Server, sha

EACCES, NO_FILE = 13, 77        # FETCH_NO_FILE


def test_nothing_comes(t):
    """Of a store that gives nothing any more all hear in the same time, how many
    ever wait for their turn, and whatever it seems to take meanwhile."""
    s = Server()
    f = start(t, s, deadline_ms=8000)
    m, c = f.peer(r.MANIFEST), f.peer(r.CACHE)
    s.chunks = {i: b"%04d" % i * 100 for i in range(100)}
    s.objects = {sha(b): b for b in s.chunks.values()}
    s.faults["object GET"] = [None] * 5 + ["hang"] * 999
    s.faults["object PUT"] = ["hang"] * 999
    size = 256 << 10
    data = random.Random(7).randbytes(40 * size)
    p = t.write("f", data)
    began = time.monotonic()
    for i, b in s.chunks.items():
        c.send(GET, 1 + i, r.str16("vol_" + "0" * 32) + b"\1" * 32 +
               r.str16("f") + struct.pack(">IHQI", 0, 1, i, len(b)) + sha(b))
    sends = threading.Thread(target=upload, args=(m, 1, [p], [
        (0, i * size, size, sha(data[i * size:(i + 1) * size]))
        for i in range(40)]))
    sends.start()
    errors = [struct.unpack_from(">I", c.wait(GET_RES, 1 + i, 90).body)[0]
              for i in s.chunks]
    took = time.monotonic() - began
    t.equal([0] * 5 + [STILL] * 95, sorted(errors), "errors")
    t.said = "%.1f s" % took
    t.true(took < 12, "%.1f s, of 8" % took)
    tries = s.count("object GET")
    t.true(tries < 200, "%d tries, of 16 at a time" % tries)
    sends.join()
    s.faults.clear()
    t.equal(0, get(c, 200, t.path("a"), [(0, s.chunks[0])])[0], "then")


def test_old_urls(t):
    """A store that refuses each URL when it has waited is not asked for ever."""
    data = b"p" * 3 * MIB
    p = t.write("f", data)
    roles, ends = [], {}
    for name in ("get", "put", "pack"):
        s = Server()
        s.packing = name == "pack"
        s.faults["object GET"] = ["later", 403] * 40
        s.faults["object PUT"] = ["later", 403] * 40
        s.chunks = {0: data}
        s.objects = {sha(data): data} if name == "get" else {}
        roles.append((name, s, start(t, s, deadline_ms=60000)))

    def one(name, c):
        n = 1000 if name == "pack" else len(data)
        if name == "get":
            ends[name] = get(c, 1, t.path("a"), [(0, data)], 120)[0]
        else:
            ends[name] = upload(c, 1, [p], [(0, 0, n, sha(data[:n]))])[0]

    threads = [threading.Thread(target=one, args=(name, f.peer(
        r.CACHE if name == "get" else r.MANIFEST))) for name, _, f in roles]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    t.equal({"get": EACCES, "put": EACCES, "pack": EACCES}, ends, "ends")
    for name, s, _ in roles:
        n = s.count("object GET") + s.count("object PUT")
        t.true(16 <= n < 24, "%s: %d requests" % (name, n))


def test_turns(t):
    """Who reads has memory in its turn, however much one sends."""
    s = Server()
    f = start(t, s, memory=4 * MIB, deadline_ms=60000)
    m, c = f.peer(r.MANIFEST), f.peer(r.CACHE)
    rng, size = random.Random(6), 2 * MIB
    data = rng.randbytes(40 * size)
    p = t.write("f", data)
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    s.chunks = {0: rng.randbytes(size)}
    s.objects[sha(s.chunks[0])] = s.chunks[0]
    s.faults["object PUT"] = [0.4] * 40
    ends = []
    sends = threading.Thread(target=lambda: ends.append(upload(
        m, 1, [p], [(0, i * size, size, sha(b))
                    for i, b in enumerate(parts)])[0]))
    sends.start()
    t.wait_for(lambda: s.count("object PUT") > 1, "it is sent")
    t.equal(0, get(c, 1, t.path("a"), [(0, s.chunks[0])])[0], "read")
    n = s.count("object PUT")
    sends.join()
    t.equal([0], ends, "upload")
    check_file(t, t.path("a"), [(0, s.chunks[0])])
    t.true(n < 30, "%d of 40 were begun before" % n)


def test_no_file(t):
    """What a file does not take is not the store's fault."""
    s = Server()
    f = start(t, s)
    c = f.peer(r.CACHE)
    for number, size in enumerate((MIB, 2 * MIB)):
        data = os.urandom(size)
        s.chunks = {0: data}
        s.objects[sha(data)] = data
        c.send(GET_FILE, number, struct.pack(">Q", 0),
               os.open(t.write("f", ""), os.O_RDONLY))
        c.send(GET, number, r.str16("vol_" + "0" * 32) + b"\1" * 32 +
               r.str16("f") + struct.pack(">IHQI", 0, 1, 0, size) +
               sha(data))
        t.equal(NO_FILE, struct.unpack_from(
            ">I", c.wait(GET_RES, number).body)[0], "%d bytes" % size)
    t.equal([], s.reports, "reports")
