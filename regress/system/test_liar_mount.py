# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A server and a store that lie to a daemon with a mount: what they lie about is
an error in time, or right; nothing wrong is ever shown, in whatever way they say
it; other paths work on; and when the truth comes back, all is there."""

import contextlib
import errno
import os
import queue
import struct
import subprocess
import threading
import time

from sailtest import deadline, liar, stack
from sailtest.liar import Dir, File, Link

ID = "vol_" + "01" * 16
SIZE = 150000                   # of a file: an object of its own
READ_S = 30 * 3                 # a read is tried for 30 s
ENDLESS_MAX = 64 << 20          # taken of an answer that has no end


class Server(liar.Liar):
    """Of a volume for daemons.  lies: [Lie] of which the first that is meant
    answers instead."""

    def __init__(self, t):
        self.lies = []
        super().__init__(t)

    def answer(self, path, body):
        path = path.replace(ID, "vol", 1).partition("?")[0]
        kind = "object" if path.startswith("/object/") else (
            path.rsplit("/", 1)[1])
        for lie in list(self.lies):
            if lie.kind == kind and lie.mark(path, body):
                lie.met += 1
                return lie.answer(self, path, body)
        return self.truth(path, body)

    def truth(self, path, body):
        if path == "/v1/volumes/vol":
            return 200, b'{"id":"%s","name":"vol","head":"%s"}' % (
                ID.encode(), self.id.hex().encode())
        if path == "/v1/volumes/vol/head":
            return 200, self.head()
        if path.startswith("/v1/volumes/vol/leases/"):
            return 200, b'{"expires":%d}' % (time.time() + 600000)
        if path == "/v1/volumes/vol/nodes":
            return 200, bundle(self, [
                self.nodes[e.made(self)] for name, e in self.top.leaves[0]
                if name in body] or [self.nodes[self.top.made(self)]])
        return super().answer(path, body)

    def head(self):
        """The commit and its root alone: all else is asked for."""
        return bundle(self, [self.nodes[self.top.made(self)]], flags=0)


class Lie:
    """kind: the last word of the path that it is about; file: (name, File)."""

    def __init__(self, what, kind, spoil):
        self.what, self.kind, self.spoil, self.met = what, kind, spoil, 0
        self.taken = 0
        self.content = os.urandom(SIZE)
        self.digest = liar.sha(self.content)
        self.name = None

    def mark(self, path, body):
        if self.kind == "object":
            return path == "/object/" + self.digest.hex()
        return os.fsencode(self.name) in body

    def answer(self, server, path, body):
        status, data = server.truth(path, body)
        out = self.spoil(self, server, data)
        return out if isinstance(out, tuple) else (status, out)


# ---- lies --------------------------------------------------------------------

def turned(at):
    def spoil(_, __, data):
        i = at % len(data)
        return data[:i] + bytes((data[i] ^ 1,)) + data[i + 1:]
    return spoil


def instead(status, data):
    return lambda *_: (status, data)


def longer(_, __, data):
    return data + b"x"


def shorter(_, __, data):
    return data[:-1]


def endless(lie, _, data):
    """It begins as the truth does, and has no end."""
    def send(h):
        h.send_response(200)
        liar.name_answer(h)
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        piece = data[:1 << 16] or bytes(1 << 16)
        with contextlib.suppress(OSError):
            while lie.taken < 4 * ENDLESS_MAX:
                h.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                lie.taken += len(piece)
    return 200, send


def claims(length):
    """Of all that, nothing comes."""
    def spoil(_, __, data):
        def send(h):
            h.send_response(200)
            liar.name_answer(h)
            h.send_header("Content-Length", str(length(len(data))))
            h.end_headers()
            with contextlib.suppress(OSError):
                h.wfile.write(data)
        return 200, send
    return spoil


def other_node(lie, server, _):
    """Nodes that are right, of another directory, in its place."""
    return bundle(server, [n for n in own(lie, server) if lie.digest not in n])


def own(lie, server):
    """The root, and the directory of the lie."""
    return [n for n in server.nodes.values()
            if lie.digest in n or os.fsencode(lie.name) in n]


def bundle(server, nodes, count=None, ident=None, flags=1):
    return b"SVWB\2\1" + struct.pack(
        "<II", flags, len(nodes) if count is None else count) + (
            ident or server.id) + liar.str32(server.commit) + b"".join(
                liar.str32(n) for n in nodes)


def swapped(lie, server, _):
    """A node like it, with another's content: of another hash."""
    other = liar.sha(b"another")
    return bundle(server, [n.replace(lie.digest, other)
                           for n in own(lie, server)])


def of_another_commit(lie, server, _):
    return bundle(server, own(lie, server), ident=b"\7" * 32)


def too_many(lie, server, _):
    return bundle(server, own(lie, server), count=(1 << 32) - 1)


def none(_, server, __):
    return bundle(server, [])


def located(change):
    """What locate says of its chunk, in another way: digest of the object, its
    length, the URL, and the chunk's offset and bytes in it."""
    def spoil(lie, server, _):
        where = {"object": lie.digest, "length": SIZE, "offset": 0,
                 "stored": SIZE, "bytes": SIZE, "url": "%s/object/%s" % (
                     server.url, lie.digest.hex())}
        where.update(change(lie, server))
        return b"SVWB\6\1" + struct.pack("<I", 1) + where["object"] + (
            struct.pack("<QQ", 0, where["length"])) + liar.str16(
                where["url"].encode()) + liar.str16(b"") + struct.pack(
                    "<IQ", 1, 0) + lie.digest + struct.pack(
                        "<QIIB", where["offset"], where["stored"],
                        where["bytes"], 0)
    return spoil


def another_object(lie, server):
    other = next(h for h in server.chunks if h != lie.digest)
    return {"object": other, "url": "%s/object/%s" % (server.url,
                                                      other.hex())}


LIES = {
    "nodes": {
        "one bit of a node": turned(-40), "one bit of the head": turned(20),
        "shorter": shorter, "longer": longer, "none": none,
        "other nodes": other_node, "another content": swapped,
        "of another commit": of_another_commit, "too many": too_many,
        "empty": instead(200, b""), "a page": instead(200, b"<html>"),
        "large": instead(200, bytes(17 << 20)), "endless": endless,
        "claims more": claims(lambda n: n + 1000),
        "claims all": claims(lambda n: 1 << 60), "302": instead(302, b""),
    },
    "locate": {
        "one bit": turned(45), "shorter": shorter, "longer": longer,
        "empty": instead(200, b""), "endless": endless,
        "another object": located(another_object),
        "behind its end": located(lambda *_: {"offset": SIZE}),
        "offset": located(lambda *_: {"offset": (1 << 64) - 1}),
        "length": located(lambda *_: {"length": 1 << 60}),
        "longer chunk": located(lambda *_: {"bytes": SIZE + 1,
                                            "stored": SIZE + 1}),
        "shorter chunk": located(lambda *_: {"bytes": 1, "stored": 1}),
        "a file": located(lambda *_: {"url": "file:///etc/passwd"}),
        "no URL": located(lambda *_: {"url": "\r\nHost: x"}),
    },
    "object": {
        "one bit": turned(77777), "last bit": turned(-1), "shorter": shorter,
        "longer": longer, "empty": instead(200, b""), "endless": endless,
        "another": lambda lie, server, _: next(
            c for c in server.chunks.values() if c != lie.content),
        "zeros": instead(200, bytes(SIZE)), "206": instead(206, b"x" * SIZE),
        "claims more": claims(lambda n: n + 1),
        "claims less": claims(lambda n: n - 1),
        "302": instead(302, b""),
    },
}


class Reader:
    """A program that reads a file: its end, and what it has read."""

    def __init__(self, t, top, lie):
        self.out, self.lie = t.path(lie.name + ".out"), lie
        with open(self.out, "wb") as f:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                ["cat", os.path.join(top, lie.name, "f")], stdout=f,
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def end(self, t):
        """Whether it was right; else an error."""
        what = "%s: %s" % (self.lie.kind, self.lie.what)
        try:
            _, err = self.process.communicate(timeout=READ_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            t.fail("%s: a read has not ended in %d s" % (what, READ_S))
        got = stack.read_bytes(self.out)
        if self.process.returncode == 0:
            t.true(got == self.lie.content, "%s: wrong bytes are shown: %d of "
                   "%d, %.40r" % (what, len(got), SIZE, got))
            return True
        t.equal(b"", got, what + ": a part of it is shown")
        t.true(os.strerror(errno.EIO).encode() in err, "%s: %s" % (what, err))
        return False


class Place:
    def __init__(self, t):
        self.t = t
        self.s = stack.Stack(t, daemons=0)
        self.api = Server(t)
        self.d = self.s.add_daemon(api=self.api.url)
        self.lies = [Lie(what, kind, spoil) for kind, lies in LIES.items()
                     for what, spoil in lies.items()]
        for n, lie in enumerate(self.lies):
            lie.name = "lie%03d" % n

    def tree(self):
        """A directory of each lie, and others."""
        names = [(os.fsencode(lie.name), Dir([(b"f", File(lie.content))]))
                 for lie in self.lies]
        self.cold = {"n%02d" % n: os.urandom(2000 + n) for n in range(30)}
        names += [(n.encode(), Dir([(b"f", File(data))]))
                  for n, data in self.cold.items()]
        self.api.show(sorted(names, key=lambda x: x[0]))


@deadline(300)
def test_lies(t):
    p = Place(t)
    p.tree()
    a = p.d.mount("vol", "a")
    p.api.lies = list(p.lies)
    readers = [Reader(t, a, lie) for lie in p.lies]
    # What nobody lies about comes at once meanwhile.
    for name, data in p.cold.items():
        begun = time.monotonic()
        t.true(stack.read_bytes("%s/%s/f" % (a, name)) == data, name)
        t.true(time.monotonic() - begun < 30, "%s took %.1f s" % (
            name, time.monotonic() - begun))
    right = [r.lie for r in readers if r.end(t)]
    for lie in p.lies:
        t.true(lie.met > 0, "%s: %s: nobody met it" % (lie.kind, lie.what))
        t.true(lie.taken < ENDLESS_MAX, "%s: %s: %d bytes were taken" % (
            lie.kind, lie.what, lie.taken))
    t.true(len(right) * 4 < len(p.lies), "these were no lies: %s" % [
        "%s: %s" % (lie.kind, lie.what) for lie in right])
    # The same ones, once more: no part of a lie was kept.
    p.api.lies = []
    for lie in p.lies:
        t.wait_for(lambda x=lie: "done" == reads(a, x), "%s: %s: heals" % (
            lie.kind, lie.what), 60)
    t.equal(sorted([lie.name for lie in p.lies] + list(p.cold)),
            sorted(n for n in os.listdir(a)), "names")
    t.said = "%d lies, met %d times; right in spite of them: %s" % (
        len(p.lies), sum(lie.met for lie in p.lies), ", ".join(
            "%s: %s" % (lie.kind, lie.what) for lie in right) or "none")
    t.count("lies told to a mount", len(p.lies))


def reads(top, lie):
    """done, wrong, or the errno."""
    try:
        got = stack.read_bytes(os.path.join(top, lie.name, "f"))
    except OSError as e:
        return errno.errorcode[e.errno]
    return "done" if got == lie.content else "wrong"
