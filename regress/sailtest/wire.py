# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The binary bodies of the API and deltas, sailvol-format(5), for tests that
talk to the server by themselves."""

import hashlib
import struct

from sailtest.bigvolume import (DIRECTORY, DIRECTORY_TAIL, FILE_TAIL, REGULAR,
                                entry_head, flat_chunks, str16)

SYMLINK = 3
PUT, ATTR, DELETE, TREE = 1, 2, 3, 4
NOTHING = b"\0"
PRESENT, UPLOAD, PACK = 0, 1, 2
TAIL = 32  # random bytes at the end of a pack
EMPTY_DELTA = b"SVDL\x01\x01"


def sha(data):
    return hashlib.sha256(data).digest()


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        out = self.data[self.at:self.at + n]
        if len(out) != n:
            raise ValueError("the answer is too short")
        self.at += n
        return out

    def number(self, form):
        return struct.unpack("<" + form, self.bytes(struct.calcsize(form)))[0]

    def text(self, form="H"):
        return self.bytes(self.number(form))

    def end(self):
        if self.at != len(self.data):
            raise ValueError("something is left over of the answer")


def body(kind):
    return b"SVWB" + bytes([kind, 1])


# ---- requests ---------------------------------------------------------------

def nodes(commit, path=b"", first=b"", have=None, budget=8 << 20, depth=64):
    return body(1) + commit + (b"\1" + have if have else b"\0") + struct.pack(
        "<IH", budget, depth) + str16(path) + str16(first)


def chunks(pairs):
    """[(hash, bytes)]"""
    return body(3) + struct.pack("<I", len(pairs)) + b"".join(
        h + struct.pack("<I", n) for h, n in pairs)


def pack(whole, length, pairs):
    return body(7) + whole + struct.pack("<II", length, len(pairs)) + b"".join(
        h + struct.pack("<I", n) for h, n in pairs)


def locate(commit, path, slots=(0,), budget=0):
    return body(5) + commit + str16(path) + struct.pack(
        "<II", budget, len(slots)) + b"".join(
            struct.pack("<Q", s) for s in slots)


# ---- answers ----------------------------------------------------------------

class Bundle:
    def __init__(self, data):
        r = Reader(data)
        if r.bytes(6) != body(2):
            raise ValueError("not a bundle")
        flags, count = r.number("I"), r.number("I")
        self.complete, self.cut = bool(flags & 1), bool(flags & 2)
        self.id = r.bytes(32)
        self.commit = r.text("I")
        self.nodes = [r.text("I") for _ in range(count)]
        self.hashes = [sha(n) for n in self.nodes]

    @property
    def root(self):
        """The hash of the root directory."""
        r = Reader(self.commit)
        r.bytes(8 + 16 + 8)
        if r.number("B"):
            r.bytes(32)
        r.bytes(1 + 2 + 4 + 4 + 12 + 12 + 8)
        return r.bytes(32)


def uploads(data):
    """[(presence, object, url, headers)]"""
    r = Reader(data)
    if r.bytes(6) != body(4):
        raise ValueError("not an answer to a look-up")
    out = []
    for _ in range(r.number("I")):
        presence = r.number("B")
        out.append((presence, r.bytes(32), r.text().decode(),
                    r.text().decode()) if presence == UPLOAD
                   else (presence, b"", "", ""))
    r.end()
    return out


def spans(data):
    """[(object, offset, length, url, headers, [(slot, hash, offset, plain)])]"""
    r = Reader(data)
    if r.bytes(6) != body(6):
        raise ValueError("not locations")
    out = []
    for _ in range(r.number("I")):
        head = (r.bytes(32), r.number("Q"), r.number("Q"), r.text().decode(),
                r.text().decode())
        inside = []
        for _ in range(r.number("I")):
            slot, h, offset = r.number("Q"), r.bytes(32), r.number("Q")
            _, plain, _ = r.number("I"), r.number("I"), r.number("B")
            inside.append((slot, h, offset, plain))
        out.append(head + (inside,))
    r.end()
    return out


# ---- deltas -----------------------------------------------------------------

def directory(mode=0o755, seconds=1):
    return entry_head(DIRECTORY, mode, seconds, 77) + DIRECTORY_TAIL


def regular(pairs, mode=0o644):
    """pairs: [(hash, bytes)]; the entry and its chunks."""
    return entry_head(REGULAR, mode, 1, 78) + FILE_TAIL + flat_chunks(
        sum(n for _, n in pairs), [h for h, _ in pairs])


def symlink(target):
    return entry_head(SYMLINK, 0o777, 1, 79) + str16(target) + b"\0\0\0"


def tree(commit, path):
    """A tree of a delta without exceptions; commit: its number."""
    return struct.pack("<H", commit) + str16(path) + struct.pack("<I", 0)


def op(kind, path, rest=b"", seen=NOTHING, ref=b"", old=b""):
    return bytes([kind, bool(ref) | bool(old) << 1]) + str16(path) + seen + (
        rest + ref + old)


def delta(ops, commits=(), context=()):
    """ops in order; context: [(path, entry)]"""
    return EMPTY_DELTA + struct.pack(
        "<III", len(commits), len(context), len(ops)) + b"".join(
            commits) + b"".join(str16(p) + e for p, e in context) + b"".join(
                ops)


# Of a directory, whatever its attributes; of a file of that content.
SEEN_DIR = b"\2" + sha(b"some attributes")


def seen_file(content=b"\1" * 32, attr=b"\2" * 32):
    return b"\1" + content + attr
