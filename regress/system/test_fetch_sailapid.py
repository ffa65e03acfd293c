# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What sailvol-fetch uploads by the word of a real sailapid is in its store,
and the store refuses what is not the bytes of its name."""

import json
import os
import random
import struct

from sailtest import role as r
from sailtest import server, wire
from sailtest.store import sha

API, API_RES = 210, 211
UPLOAD_FILE, UPLOAD, UPLOAD_RES = 214, 215, 217
EMBEDDED_STORE = ("test_upload",)  # counts its files
MIB = 1 << 20


def start(t, srv):
    os.makedirs(t.path("void"))
    f = r.Role(t, t.repo + "/sailvol-fetch/sailvol-fetch", "fetch", r.FETCH,
               t.path("void"))
    f.parent.send(200, 0, r.str16(srv.url) + r.str16(srv.key) +
                  struct.pack(">IIQ", 0, 10000, 0))
    for kind in (201, 202, 203):
        f.parent.send(kind, 0, b"", r.memfd(b""))
    f.parent.send(204)
    f.ready()
    return f


def api(c, method, target, body=None):
    c.send(API, 9, struct.pack(">BBIQ", method, 1, 0, MIB) + r.str16(target) +
           r.str16("application/json" if body is not None else ""),
           r.memfd(json.dumps(body).encode()) if body is not None else None)
    m = c.wait(API_RES, 9)
    status, = struct.unpack_from(">H", m.body)
    return status, json.loads(r.read_fd(m.fd))


def said(body):
    """What an UPLOAD_RES says."""
    return body[6:6 + struct.unpack_from(">H", body, 4)[0]].decode()


def upload(c, volume, session, files, chunks):
    for i, p in enumerate(files):
        c.send(UPLOAD_FILE, 1, struct.pack(">I", i), os.open(p, os.O_RDONLY))
    data = struct.pack("<I", len(chunks))
    for file, offset, n, d in chunks:
        data += struct.pack("<IQI", file, offset, n) + d
    c.send(UPLOAD, 1, r.str16(volume) + r.str16(session), r.memfd(data))
    m = c.wait(UPLOAD_RES, 1, timeout=60)
    return struct.unpack_from(">I", m.body)[0], said(m.body), \
        list(r.read_fd(m.fd))


def test_upload(t):
    srv = server.Server(t, extra="url life 2s")
    f = start(t, srv)
    c = f.peer(r.MANIFEST)
    status, volume = api(c, 3, "/v1/volumes", {"name": "v"})
    t.equal(201, status, "volume")
    session = "ab" * 16
    t.equal(201, api(c, 2, "/v1/volumes/v/sessions/" + session, {})[0],
            "session")
    rng = random.Random(7)
    small = [rng.randbytes(rng.randrange(1, 5000)) for _ in range(700)]
    large = rng.randbytes(20 * MIB)
    files = [t.write("small", b"".join(small)), t.write("large", large)]
    chunks, at = [], 0
    for b in small:
        chunks.append((0, at, len(b), sha(b)))
        at += len(b)
    for at in range(0, len(large), 8 * MIB):
        b = large[at:at + 8 * MIB]
        chunks.append((1, at, len(b), sha(b)))
    bad = [(1, 3, 100, sha(b"small lie")), (1, 3, 4 * MIB, sha(b"large lie"))]
    error, what, got = upload(c, volume["id"], session, files, chunks + bad)
    t.equal((0, "", [1] * len(chunks) + [2, 2]), (error, what, got), "sent")
    stored = {}
    for top, _, names in os.walk(srv.dir + "/objects"):
        # What marks the store is no object of a client.
        for name in [] if "/sailapid%" in top else names:
            with open(os.path.join(top, name), "rb") as o:
                stored[name] = o.read()
    pack = b"".join(small)
    packs = {name: b for name, b in stored.items()
             if b[:-wire.TAIL] == pack}
    t.equal(1, len(packs), "packs")
    want = dict(packs)
    for _, at, n, d in chunks[len(small):]:
        want[d.hex()] = large[at:at + n]
    t.true(all(sha(b).hex() == name for name, b in stored.items()), "names")
    t.true(want == stored, "one pack of the small ones, in their order, and "
           "an object for each large one: %s" % sorted(
               (len(b), name) for name, b in stored.items()))
    t.true(not any(sha(x).hex() in stored for x in (b"small lie",
                                                     b"large lie")), "lies")
    error, what, got = upload(c, volume["id"], "cd" * 16, files, chunks[:1])
    t.true(error != 0 and "404" in what, "no such session: " + what)
