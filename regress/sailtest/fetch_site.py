# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvol-fetch alone, with a server that plays API and store: a test plays the
parent, manifest and cache."""

import os
import struct
import time

from sailtest import role as r
from sailtest.store import sha

CONFIG, CA, RESOLV, HOSTS, END = 200, 201, 202, 203, 204
API, API_RES, HASH, HASH_RES = 210, 211, 212, 213
UPLOAD_FILE, UPLOAD, PROGRESS, UPLOAD_RES = 214, 215, 216, 217
GET, GET_DONE, GET_RES, GET_FILE, GET_BUNDLE = 218, 219, 220, 227, 228
VERIFY, VERIFY_RES = 222, 223
HASH_PROGRESS, HASH_REST, HASH_CHUNKS = 229, 230, 231
URL, URL_RES, CANCEL = 224, 225, 226
ECANCELED, EIO, EBADMSG, ETIMEDOUT, ENOENT = 125, 5, 74, 110, 2
STILL = 112                     # FETCH_STILL
KEY = "sk_" + "5a" * 32
SHIFT = 23
MIB = 1 << 20


def configure(f, url, key, deadline_ms, ca, memory=0):
    f.parent.send(CONFIG, 0, r.str16(url) + r.str16(key) +
                  struct.pack(">IIQ", 0, deadline_ms, memory))
    f.parent.send(CA, 0, b"", r.memfd(ca))
    f.parent.send(RESOLV, 0, b"", r.memfd(b"nameserver 127.0.0.1\n"))
    f.parent.send(HOSTS, 0, b"", r.memfd(b"127.0.0.1 localhost x.test\n"))
    f.parent.send(END)
    time.sleep(0.05)


def start(t, server=None, deadline_ms=8000, url=None, ca=b"", memory=0):
    os.makedirs(t.path("void"), exist_ok=True)
    f = r.Role(t, t.repo + "/sailvol-fetch/sailvol-fetch", "fetch", r.FETCH,
               t.path("void"))
    configure(f, url or (server.url if server else ""), KEY, deadline_ms, ca,
              memory)
    f.ready()
    return f


def said(body):
    """What an UPLOAD_RES says."""
    return body[6:6 + struct.unpack_from(">H", body, 4)[0]].decode()


def upload(c, number, files, chunks):
    for i, p in enumerate(files):
        c.send(UPLOAD_FILE, number, struct.pack(">I", i),
               os.open(p, os.O_RDONLY))
    data = struct.pack("<I", len(chunks))
    for file, offset, n, d in chunks:
        data += struct.pack("<IQI", file, offset, n) + d
    c.send(UPLOAD, number, r.str16("vol_" + "0" * 32) + r.str16("a" * 32),
           r.memfd(data))
    m = c.wait(UPLOAD_RES, number, timeout=60)
    return struct.unpack_from(">I", m.body)[0], list(r.read_fd(m.fd)), \
        said(m.body)


def get(c, number, path, chunks, timeout=60):
    """Chunks into files path.SLOT, the small ones as the bundles say."""
    body = r.str16("vol_" + "0" * 32) + b"\1" * 32 + r.str16("dir/file") + \
        struct.pack(">IH", 0, len(chunks))
    slots = {}
    for slot, b in chunks:
        body += struct.pack(">QI", slot, len(b)) + sha(b)
        slots.setdefault(sha(b), []).append(slot)
        p = "%s.%d" % (path, slot)
        if os.path.exists(p):
            os.unlink(p)
        if len(b) >= MIB:
            c.send(GET_FILE, number, struct.pack(">Q", slot),
                   os.open(p, os.O_RDWR | os.O_CREAT, 0o600))
    c.send(GET, number, body)
    m = c.wait(GET_RES, number, timeout)
    for x in c.backlog:
        if x.kind == GET_BUNDLE and x.fd is not None:
            unpack(path, x, slots)
    return struct.unpack_from(">I", m.body)[0], m.body[6:].decode()


def unpack(path, m, slots):
    data = r.read_fd(m.fd)
    m.fd = None
    n, = struct.unpack_from(">H", m.body)
    for i in range(n):
        digest, off, size = struct.unpack_from(">32sII", m.body, 2 + 40 * i)
        for slot in slots.get(digest, []):
            with open("%s.%d" % (path, slot), "wb") as f:
                f.write(data[off:off + size])


def check_file(t, path, chunks):
    for slot, b in chunks:
        with open("%s.%d" % (path, slot), "rb") as f:
            t.true(f.read() == b, "slot %d" % slot)
