# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""An API server that says what a test likes: trees by an encoder of its own,
after sailvol-format(5), which encodes what no volume can have, too.

    api = Liar(t)
    api.show([(b"name", File(b"content")), (b"dir", Dir([...]))])
    ... sailvolctl ls vol: with api.env ...
"""

import contextlib
import hashlib
import http.server
import json
import os
import struct
import threading

from sailtest.store import name_answer

SHIFT = 23
CHUNK = 1 << SHIFT
FILE, DIR, LINK, FIFO = 1, 2, 3, 4


def sha(data):
    return hashlib.sha256(data).digest()


def str16(data):
    return struct.pack("<H", len(data)) + data


def str32(data):
    return struct.pack("<I", len(data)) + data


def header(kind, level=0):
    return b"SVol" + bytes((kind, 1, 1, level))


class Entry:
    """files and bytes: the sums that are claimed."""

    kind, mode, mtime = FILE, 0o644, 1000000000

    def __init__(self):
        self.files, self.bytes = 1, 0

    def encode(self, nodes):
        return struct.pack("<BHIIqIqIQ", self.kind, self.mode, os.geteuid(),
                           os.getegid(), self.mtime, 0, self.mtime, 0,
                           7) + self.part(nodes) + b"\0" + str16(b"")

    def part(self, nodes):
        return b""


class File(Entry):
    """content: bytes of one chunk, or None: holes of that size."""

    def __init__(self, content=b"", size=None, mode=0o644):
        super().__init__()
        self.content, self.mode = content, mode
        self.size = self.bytes = len(content or b"") if size is None else size

    def part(self, nodes):
        slots = (self.size + CHUNK - 1) >> SHIFT
        runs = b""
        if self.content:
            digest = nodes.chunk(self.content)
            runs = struct.pack("<I", 3)
            if slots > 1:
                runs += struct.pack("<I", 2 * (slots - 1))
            runs += digest
        elif slots > 0:
            runs = struct.pack("<I", 2 * slots)
        return struct.pack("<QBB", self.size, SHIFT, 0) + str16(runs)


class Link(Entry):
    kind, mode = LINK, 0o777

    def __init__(self, target):
        super().__init__()
        self.target = target

    def part(self, nodes):
        return str16(self.target)


class Dir(Entry):
    """names: [(name, entry)] as they shall stand there; or leaves: a list of
    such lists, below an index."""

    kind, mode = DIR, 0o755

    def __init__(self, names=(), leaves=None, sums=None):
        super().__init__()
        self.leaves = [list(names)] if leaves is None else leaves
        self.indexed = leaves is not None
        entries = [e for leaf in self.leaves for _, e in leaf]
        self.files, self.bytes = sums or (
            min(sum(e.files for e in entries), (1 << 64) - 1),
            min(sum(e.bytes for e in entries), (1 << 64) - 1))
        self.root = None

    def part(self, nodes):
        return self.made(nodes) + struct.pack("<QQ", self.files, self.bytes)

    def made(self, nodes):
        """The hash of its root; once, so that what is inside of a deep one may
        be made before."""
        if self.root not in nodes.nodes:
            self.root = self.make(nodes)
        return self.root

    def make(self, nodes):
        made = [nodes.node(header(1) + struct.pack("<I", len(leaf)) + b"".join(
            bytes((len(name),)) + name + e.encode(nodes)
            for name, e in leaf)) for leaf in self.leaves]
        if not self.indexed:
            return made[0]
        data = header(2, 1) + struct.pack("<I", len(made))
        for digest, leaf in zip(made, self.leaves):
            last = leaf[-1][0]
            data += bytes((len(last),)) + last + digest + struct.pack(
                "<QQQ", len(leaf), sum(e.files for _, e in leaf),
                sum(e.bytes for _, e in leaf))
        return nodes.node(data)


class Liar:
    """nodes, chunks: what it has, by hash; answers: {path: (status, body)} that
    are given instead; drop: nodes that are never brought.  A body may be a
    function: it is called with the handler, and answers by itself."""

    def __init__(self, t):
        self.nodes, self.chunks = {}, {}
        self.answers, self.drop = {}, set()
        self.asked = []
        self.show([])
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                status, data = liar.answer(self.path, body)
                if callable(data):
                    self.close_connection = True
                    data(self)
                    return
                self.send_response(status)
                name_answer(self)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                # Whoever has had enough of it takes no more.
                with contextlib.suppress(OSError):
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                      Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()
        self.env = dict(os.environ, SAIL_API_URL=self.url,
                        SAIL_API_KEY="sk_" + "0" * 64)

    def node(self, data):
        self.nodes[sha(data)] = data
        return sha(data)

    def chunk(self, data):
        self.chunks[sha(data)] = data
        return sha(data)

    def show(self, names=(), root=None):
        """The volume vol has these names, and nothing else is there; or that
        directory as its root."""
        if root is None:
            self.nodes, self.chunks = {}, {}
            root = Dir(names)
        self.top = root
        self.commit = header(6) + b"\1" * 16 + struct.pack("<QB", 0, 0) + (
            root.encode(self)) + struct.pack("<qI", 0, 0) + str16(b"") + (
                str16(b"") + struct.pack("<QQQ", 0, 0, 0) + str16(b""))
        self.id = sha(self.commit)

    def answer(self, path, body):
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        # Of a session by what is asked of it: its key is the client's.
        last = path.rsplit("/", 1)[1]
        if "/sessions/" in path:
            last = last if last in ("chunks", "packs", "commit") else "session"
            if last in self.answers:
                return self.answers[last]
        if path == "/v1/volumes/vol":
            return 200, json.dumps({"id": "0" * 32, "name": "vol",
                                    "head": self.id.hex()}).encode()
        if path == "/v1/volumes/vol/nodes":
            return 200, self.bundle()
        if path == "/v1/volumes/vol/locate":
            return 200, self.locate()
        if path.startswith("/v1/volumes/vol/sessions/"):
            return self.session(path.split("/")[5:], body)
        if path.startswith("/object/"):
            return 200, self.chunks[bytes.fromhex(path[8:])]
        return 404, json.dumps({"error": {
            "type": "not_found", "code": "none", "message": path}}).encode()

    def session(self, words, body):
        """Honest: all chunks are there."""
        if words[1:] == ["chunks"]:
            n, = struct.unpack_from("<I", body, 6)
            return 200, b"SVWB\4\1" + struct.pack("<I", n) + bytes(n)
        if words[1:] == ["commit"]:
            return 200, json.dumps({"commit": "1" * 64, "changed": True,
                                    "puts": 1}).encode()
        return 201, json.dumps({"key": words[0], "state": "open"}).encode()

    def bundle(self):
        """All that there is, whatever was asked for."""
        nodes = [n for h, n in self.nodes.items() if h not in self.drop]
        return b"SVWB\2\1" + struct.pack("<II", 1, len(nodes)) + self.id + (
            str32(self.commit) + b"".join(str32(n) for n in nodes))

    def locate(self):
        """Each chunk as an object of its own, at slot 0."""
        data = b"SVWB\6\1" + struct.pack("<I", len(self.chunks))
        for digest, chunk in self.chunks.items():
            data += digest + struct.pack("<QQ", 0, len(chunk)) + str16(
                ("%s/object/%s" % (self.url, digest.hex())).encode()) + str16(
                    b"") + struct.pack("<IQ", 1, 0) + digest + struct.pack(
                        "<QIIB", 0, len(chunk), len(chunk), 0)
        return data
