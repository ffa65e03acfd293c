# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The cache alone, with sailvol-fetch and a server that plays API and store: a
test plays the parent and fuse."""

import hashlib
import os
import struct

from sailtest import role as r
from sailtest.store import Server, sha

CONFIG, STATUS, STATUS_RES, VOLUME = 130, 131, 132, 133
GET, GET_RES, PUT, PUT_RES, CANCEL = 191, 192, 193, 194, 195
SHIFT = 23
MIB = 1 << 20
EIO, EBADMSG, ENOSPC, EROFS, ECANCELED = 5, 74, 28, 30, 125
KEY = "sk_" + "5a" * 32
VOL = "vol_" + "1" * 32
OTHER = "vol_" + "7" * 32


class Content:
    """A file of a volume: its chunks in the store, and in messages."""

    def __init__(self, server, data):
        self.data = data
        self.chunks = [data[i:i + (1 << SHIFT)]
                       for i in range(0, len(data), 1 << SHIFT)]
        self.real = [(i, c) for i, c in enumerate(self.chunks)
                     if c.strip(b"\0")]
        for _, c in self.real:
            server.objects[sha(c)] = c

    def body(self, slots=None):
        want = [(i, c) for i, c in self.real
                if slots is None or i in slots]
        return b"\2" * 32 + r.str16("dir/name") + \
            struct.pack(">BH", SHIFT, len(want)) + \
            b"".join(struct.pack(">QI", i, len(c)) + sha(c) for i, c in want)


class Site:
    def __init__(self, t, limit=1 << 40, keep=1, nfetch=1):
        program = t.repo + "/sailvold/sailvold"
        if not os.path.exists(program):
            t.skip("sailvold is not built")
        self.t, self.program = t, program
        self.limit, self.keep = limit, keep
        self.dir = t.path("cache")
        os.makedirs(self.dir, 0o700, exist_ok=True)
        os.chown(self.dir, r.UID, r.UID)
        os.makedirs(t.path("void"), exist_ok=True)
        self.server = Server()
        self.fetches = {}
        self.number = 0
        self.start_cache()
        for i in range(nfetch):
            self.start_fetch(i)

    def spawn_cache(self):
        c = r.Role(self.t, self.program, "cache", r.CACHE, self.dir)
        c.parent.send(CONFIG, 0, struct.pack(">QQ", self.limit, self.keep))
        return c

    def start_cache(self):
        self.cache = self.spawn_cache()
        self.cache.ready()
        self.fuse = self.mount(1)
        for i, f in self.fetches.items():
            r.connect(self.cache, r.CACHE, 0, f, r.FETCH, i)

    def mount(self, instance, volume=VOL):
        """The channel of the fuse of a new mount."""
        self.tell(instance, volume)
        return self.cache.peer(r.FUSE, instance)

    def tell(self, instance, volume):
        self.cache.parent.send(VOLUME, 0, struct.pack(">I", instance) +
                               r.str16(volume))

    def start_fetch(self, i):
        f = r.Role(self.t, self.t.repo + "/sailvol-fetch/sailvol-fetch",
                   "fetch", r.FETCH, self.t.path("void"), i)
        f.parent.send(200, 0, r.str16(self.server.url) + r.str16(KEY) +
                      struct.pack(">IIQ", 0, 5000, 0))
        for kind in (201, 202, 203):
            f.parent.send(kind, 0, b"", r.memfd(b""))
        f.parent.send(204)
        f.ready()
        self.fetches[i] = f
        r.connect(self.cache, r.CACHE, 0, f, r.FETCH, i)

    def ask(self, content, channel=None, slots=None):
        """Sends a GET; its number."""
        self.number += 1
        (channel or self.fuse).send(GET, self.number, content.body(slots))
        return self.number

    def chunk(self, number, channel=None):
        """(slot, errno, bytes or None)."""
        m = (channel or self.fuse).wait(GET_RES, number)
        slot, error = struct.unpack_from(">QI", m.body)
        if m.fd is not None:
            self.last_fd = os.dup(m.fd)
        return slot, error, r.read_fd(m.fd)

    def answer(self, number, content, channel=None):
        """(the first errno, bytes of the file or None)."""
        got, error = {}, 0
        for _ in content.real:
            slot, e, data = self.chunk(number, channel)
            error = error or e
            got[slot] = data
        if error:
            return error, None
        return 0, b"".join(got.get(i, c)
                           for i, c in enumerate(content.chunks))

    def get(self, content, channel=None):
        return self.answer(self.ask(content, channel), content, channel)

    def status(self):
        self.cache.parent.send(STATUS)
        return struct.unpack(">5Q", self.cache.parent.wait(STATUS_RES).body)

    def path(self, content, volume=VOL, slot=0):
        key = hashlib.sha256(volume.encode() + b"\0" +
                             sha(content.chunks[slot]))
        h = key.hexdigest()
        return os.path.join(self.dir, h[:2], h[2:])

    def put(self, content, data):
        p = self.t.write("overlay", data)
        self.number += 1
        self.fuse.send(PUT, self.number, content.body(),
                       os.open(p, os.O_RDONLY))
        return struct.unpack(
            ">I", self.fuse.wait(PUT_RES, self.number).body)[0]

    def locate(self, content):
        """The store's server knows one file at a time."""
        self.server.chunks = dict(enumerate(content.chunks))
