# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Big volumes for tests and measurements: trees of many files, one directory
of many names, files of many GiB, put there by the real commit path of the
server.  The same seed gives the same volume, fileids and times too; its files
share a few chunks, so that nothing but the names is large.

    v = BigVolume(Api(url, key), "vol")
    v.tree("t", 1000000); v.wide("w", 1000000); v.big_file("f", 10 << 30)
"""

import bisect
import hashlib
import http.client
import json
import math
import os
import random
import struct
import urllib.parse

MIB = 1 << 20
REGULAR, DIRECTORY = 1, 2
OP_PUT = 1
BINARY = "application/x-sailvol"
LOOKUP, LOOKUP_ANSWER = 3, 4

# What 57,562 files in 4,518 directories of a /usr/share measured: the sizes at
# these parts of all, 13 files a directory, most of them four names deep.
SIZES = ((0.02, 60), (0.05, 225), (0.15, 505), (0.25, 746), (0.35, 1024),
         (0.45, 1279), (0.55, 1625), (0.65, 2318), (0.75, 3799),
         (0.85, 9329), (0.95, 38839), (0.99, 180000), (0.998, 900000))
FILES_A_DIRECTORY = 13
A_LEAF = 40             # so many or fewer: no more directories
DEEPEST = 12
WORDS = """abi align arch async audio base batch bind block buffer build bus
cache call cell chart check class client clock codec color common compat conf
core curve data date debug decode delta device dist doc draw edge emit encode
entry error event extra fetch field file filter flag font format frame graph
grid guard hash header help hook icon image index info init input item iter
json kernel key label lang layer layout lib line link list loader local lock
log main map mask match math media memo menu merge meta mode model module name
net node object option order pack page panel parse patch path pipe plugin point
pool port proc proto query queue range raw react read record region render
request reset rule sample scale scan schema scope script search select server
session set shape share shell signal size slice socket sort source split stack
state step store stream string style sync syntax table tag target task test
text theme time token tool trace track tree type unit update url user util
value vector view watch widget window worker wrap write zone""".split()
ENDS = (".js", ".js", ".ts", ".d.ts", ".json", ".map", ".md", ".py", ".c",
        ".h", ".html", ".svg", ".png", ".mo", ".txt", ".xml", "")


class ApiError(Exception):
    pass


class Api:
    """A client of sailapi(7) that keeps its connection."""

    def __init__(self, url, key, timeout=900):
        where = urllib.parse.urlsplit(url)
        kind = (http.client.HTTPSConnection if where.scheme == "https"
                else http.client.HTTPConnection)
        self.conn = kind(where.hostname, where.port, timeout=timeout)
        self.key = key

    def close(self):
        self.conn.close()

    def raw(self, method, target, body=None, kind="application/json"):
        self.conn.request(method, target, body=body, headers={
            "Authorization": "Bearer " + self.key, "Content-Type": kind})
        res = self.conn.getresponse()
        data = res.read()
        if res.status >= 300:
            raise ApiError("%s %s: %d %s" % (
                method, target, res.status, data[:2000].decode("latin-1")))
        return data

    def call(self, method, target, body=None):
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self.raw(method, target, data))


# ---- encodings of sailvol-format(5) ------------------------------------------

def str16(data):
    return struct.pack("<H", len(data)) + data


def shift_of(size):
    """Of the chunk size of a new file."""
    return 23 if size <= 1 << 30 else 25 if size <= 1 << 36 else 26


def entry_head(kind, mode, seconds, fileid):
    return struct.pack("<BHIIqIqIQ", kind, mode, 0, 0, seconds, 0, seconds, 0,
                       fileid)


FILE_TAIL = struct.pack("<QBBH", 0, 23, 0, 0) + b"\0\0\0"
DIRECTORY_TAIL = bytes(32 + 8 + 8) + b"\0\0\0"


def flat_chunks(size, hashes):
    """A file without holes: the flat form of its chunk list."""
    runs = struct.pack("<I", len(hashes) << 1 | 1) if hashes else b""
    return struct.pack("<QB", size, shift_of(size)) + runs + b"".join(hashes)


class Delta:
    """Puts of new paths; they must come in the order of their components."""

    def __init__(self):
        self.data, self.count = bytearray(), 0

    def put(self, path, rest):
        self.data += b"\x01\x00" + str16(path) + b"\0" + rest
        self.count += 1

    def file(self, path, mode, seconds, fileid, chunks):
        self.put(path, entry_head(REGULAR, mode, seconds, fileid) + FILE_TAIL
                 + chunks)

    def directory(self, path, mode, seconds, fileid):
        self.put(path, entry_head(DIRECTORY, mode, seconds, fileid)
                 + DIRECTORY_TAIL)

    def encode(self):
        head = b"SVDL\x01\x01" + struct.pack("<III", 0, 0, self.count)
        return head + self.data


# ---- content ---------------------------------------------------------------

class Content:
    """A chunk that files share."""

    def __init__(self, data):
        self.data = data
        self.hash = hashlib.sha256(data).digest()
        self.chunks = flat_chunks(len(data), [self.hash] if data else [])


def contents():
    """[(part of all files up to here, Content)], the same at every call."""
    rng = random.Random(7)
    return [(part, Content(rng.randbytes(size))) for part, size in SIZES]


# ---- names -----------------------------------------------------------------

class Names:
    def __init__(self, rng):
        self.rng = rng

    def word(self):
        r = self.rng.random()
        name = WORDS[int(r * len(WORDS))]
        if r * 7 % 1 < 0.6:
            name += "-_."[int(r * 31 % 1 * 3)] + WORDS[
                int(self.rng.random() * len(WORDS))]
        return name

    def some(self, count, ends):
        """So many different names, sorted."""
        found = set()
        while len(found) < count:
            name = self.word()
            if name in found or count > 200:
                name += "%d" % int(self.rng.random() * 40 * count)
            found.add((name + ends[int(self.rng.random() * len(ends))]
                       if ends else name).encode())
        return sorted(found)


class BigVolume:
    def __init__(self, api, name, seed=1):
        self.api, self.name = api, name
        self.rng = random.Random(seed)
        self.names = Names(self.rng)
        self.parts = contents()
        api.call("POST", "/v1/volumes", {"name": name,
                                         "mint_if_missing": True})

    # ---- what is put there; each is one commit, and returns its RESULT ----

    def tree(self, top, files):
        """A tree of so many files, as real ones are."""
        delta = Delta()
        self._directory(delta, os_bytes(top))
        self._below(delta, os_bytes(top), files, 1)
        return self.commit(delta, [c for _, c in self.parts])

    def wide(self, top, names):
        """One directory of so many names."""
        delta, top = Delta(), os_bytes(top)
        self._directory(delta, top)
        digits = max(7, len(str(names)))
        for n in range(names):
            self._file(delta, top + b"/entry-%0*d" % (digits, n))
        return self.commit(delta, [c for _, c in self.parts])

    def big_file(self, path, size):
        """A file of so many bytes: one chunk, again and again."""
        step = 1 << shift_of(size)
        size -= size % step
        content = Content(random.Random(11).randbytes(MIB) * (step // MIB))
        delta = Delta()
        delta.file(os_bytes(path), 0o644, self._time(), self._fileid(),
                   flat_chunks(size, [content.hash] * (size // step)))
        return self.commit(delta, [content])

    # ---- how ----

    def _time(self):
        return 1600000000 + int(self.rng.random() * 1e8)

    def _fileid(self):
        return self.rng.getrandbits(64) | 2

    def _directory(self, delta, path):
        delta.directory(path, 0o755, self._time(), self._fileid())

    def _file(self, delta, path):
        r = self.rng.random()
        i = min(bisect.bisect(self.parts, r, key=lambda p: p[0]),
                len(self.parts) - 1)
        delta.file(path, 0o755 if r * 977 % 1 < 0.04 else 0o644, self._time(),
                   self._fileid(), self.parts[i][1].chunks)

    def _below(self, delta, top, files, depth):
        """Files in a directory, and the others in directories below it."""
        here, below = self._shares(files, depth)
        # One draw for both, so that no name stands twice.
        names = self.names.some(here + len(below), None)
        is_directory = set(self.rng.sample(range(len(names)), len(below)))
        shares, items = iter(below), []
        for i, name in enumerate(names):
            if i in is_directory:
                items.append((name, next(shares)))
            else:
                end = ENDS[int(self.rng.random() * len(ENDS))]
                items.append((name + end.encode(), 0))
        # Endings may make two names equal: the latter stays without.
        seen, final = {n for n, share in items if share}, []
        for (name, share), plain in zip(items, names):
            if not share and name in seen:
                name = plain + b"~%d" % len(seen)
            seen.add(name)
            final.append((name, share))
        for name, share in sorted(final):
            path = top + b"/" + name
            if share:
                self._directory(delta, path)
                self._below(delta, path, share, depth + 1)
            else:
                self._file(delta, path)

    def _shares(self, files, depth):
        """How many stay here, and how many go into each directory below."""
        if files <= A_LEAF or depth >= DEEPEST:
            return files, []
        here = min(files, int(self.rng.expovariate(1 / FILES_A_DIRECTORY)) + 1)
        rest = files - here
        if rest <= 4:
            return files, []
        # Wide at the top, as folders of packages are; a few below.
        count = min(rest, 1 + int(self.rng.expovariate(1) *
                                  max(3.0, math.sqrt(rest) / depth)))
        weights = [self.rng.expovariate(1) + 0.05 for _ in range(count)]
        total, left, out = sum(weights), rest, []
        for w in weights[1:]:
            share = min(left - 1, max(1, int(rest * w / total)))
            if share > 0:
                out.append(share)
                left -= share
        return here, out + [left]

    # ---- publishing ----

    def target(self, rest=""):
        return "/v1/volumes/%s%s" % (self.name, rest)

    def commit(self, delta, content=()):
        session = self.target("/sessions/" + os.urandom(16).hex())
        self.api.call("PUT", session, {"message": "generated"})
        self._upload(session, [c for c in content if c.data])
        return json.loads(self.api.raw("POST", session + "/commit",
                                       bytes(delta.encode()), BINARY))

    def _upload(self, session, content):
        """Each by itself: one small chunk alone is put into no pack."""
        for c in content:
            ask = b"SVWB" + struct.pack("<BBI", LOOKUP, 1, 1)
            ask += c.hash + struct.pack("<I", len(c.data))
            got = self.api.raw("POST", session + "/chunks", ask, BINARY)
            if got[:6] != b"SVWB" + bytes([LOOKUP_ANSWER, 1]):
                raise ApiError("not the answer to a look-up: %r" % got[:6])
            if got[10] == 0:
                continue
            url, at = self._str16(got, 11 + 32)
            headers, at = self._str16(got, at)
            put_object(url.decode(), headers.decode(), c.data)

    @staticmethod
    def _str16(data, at):
        n = struct.unpack_from("<H", data, at)[0]
        return data[at + 2:at + 2 + n], at + 2 + n


def os_bytes(name):
    return name if isinstance(name, bytes) else name.encode()


def put_object(url, headers, data):
    """Uploads as a signed URL and its headers say."""
    where = urllib.parse.urlsplit(url)
    kind = (http.client.HTTPSConnection if where.scheme == "https"
            else http.client.HTTPConnection)
    conn = kind(where.hostname, where.port, timeout=300)
    try:
        fields = dict(line.split(": ", 1) for line in headers.splitlines())
        conn.request("PUT", "%s?%s" % (where.path, where.query), body=data,
                     headers=fields)
        res = conn.getresponse()
        text = res.read()
        if res.status not in (200, 412):
            raise ApiError("PUT of a chunk: %d %r" % (res.status, text[:500]))
    finally:
        conn.close()
