# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A client of sailapi(7) by hand, who may say what is not so."""

import json
import os
import time

from sailtest import bigvolume, wire
from sailtest.bigvolume import BINARY
from sailtest.wire import sha


class Refused(Exception):
    """The server said no: status, code of the error, the error's text."""

    def __init__(self, status, code, text):
        super().__init__("%d %s: %s" % (status, code, text))
        self.status, self.code = status, code


class Signed:
    """A URL of the server, as a target, and the headers that go with it."""

    def __init__(self, url, headers):
        self.url = url
        self.target = url[url.index("/", 8):]
        self.headers = dict(line.split(": ", 1)
                            for line in headers.splitlines())


class Span:
    """of an object: chunks are [(slot, hash, offset, bytes)]."""

    def __init__(self, obj, offset, length, signed, chunks):
        self.object, self.offset, self.length = obj, offset, length
        self.signed, self.chunks = signed, chunks


class Client:
    """One key, one volume, one upload session at a time."""

    def __init__(self, srv, volume="v", key=None):
        self.srv, self.key = srv, key or srv.key
        self.base = "/v1/volumes/" + volume
        self.call("POST", "/v1/volumes",
                  {"name": volume, "mint_if_missing": True})
        self.begin()

    def raw(self, method, target, body, kind):
        status, _, out = self.srv.raw(method, target, body, {
            "Authorization": "Bearer " + self.key, "Content-Type": kind})
        if status >= 300:
            error = json.loads(out)["error"]
            raise Refused(status, error["code"], error["message"])
        return out

    def call(self, method, target, body):
        return json.loads(self.raw(method, target, json.dumps(body).encode(),
                                   "application/json"))

    def ask(self, target, body):
        return self.raw("POST", target, body, BINARY)

    def begin(self):
        """A new session."""
        self.session = self.base + "/sessions/" + os.urandom(16).hex()
        self.call("PUT", self.session, {})

    # ---- upload ----

    def _uploads(self, target, body):
        return [Signed(url, headers) if presence == wire.UPLOAD else presence
                for presence, _, url, headers in wire.uploads(
                    self.ask(self.session + target, body))]

    def chunks(self, pairs):
        """Of each (hash, bytes): wire.PRESENT, wire.PACK or a Signed."""
        return self._uploads("/chunks", wire.chunks(pairs))

    def pack(self, obj, length, pairs):
        """A claim: what lies in an object, one behind the other."""
        return self._uploads("/packs", wire.pack(obj, length, pairs))[0]

    def put(self, signed, data):
        """The store's answer."""
        return self.srv.s3.send("PUT", signed.target, dict(
            signed.headers, **{"content-length": str(len(data))}), data)

    def commit(self, files):
        """Files are {name: (bytes, [hashes])}; the RESULT."""
        delta = bigvolume.Delta()
        for name in sorted(files):
            size, hashes = files[name]
            delta.file(name.encode(), 0o644, 1700000000,
                       int.from_bytes(os.urandom(8), "little") | 2,
                       bigvolume.flat_chunks(size, hashes))
        out = json.loads(self.ask(self.session + "/commit",
                                  bytes(delta.encode())))
        self.begin()
        return out

    def write(self, name, data):
        """An honest commit of a file of one chunk; the RESULT."""
        (answer,) = self.chunks([(sha(data), len(data))])
        if answer != wire.PRESENT:
            a = self.put(answer, data)
            if a.status not in (200, 412):
                raise AssertionError("upload: %d %s" % (a.status, a.code))
        return self.commit({name: (len(data), [sha(data)])})

    # ---- download ----

    def head(self):
        return json.loads(self.raw("GET", self.base, None, BINARY))["head"]

    def locate(self, name, slots=(0,), budget=0, commit=None):
        """The Spans of a file's chunks."""
        body = wire.locate(bytes.fromhex(commit or self.head()),
                           name.encode(), slots, budget)
        return [Span(obj, offset, length, Signed(url, headers), chunks)
                for obj, offset, length, url, headers, chunks in wire.spans(
                    self.ask_patiently(self.base + "/locate", body))]

    def ask_patiently(self, target, body):
        """Again while the server is about to look for what was lost."""
        end = time.monotonic() + 30
        while True:
            try:
                return self.ask(target, body)
            except Refused as e:
                if e.code != "busy" or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def get(self, span):
        """The store's answer."""
        return self.srv.s3.send("GET", span.signed.target,
                                span.signed.headers)

    def read(self, name):
        """Of a file of one chunk: its bytes; None: they are nowhere.  What is
        wrong is reported, as a daemon does."""
        for _ in range(4):
            spans = self.locate(name)
            if not spans:
                return None
            (span,) = spans
            a = self.get(span)
            ((_, h, at, n),) = [c for c in span.chunks if c[0] == 0]
            if a.status in (200, 206) and sha(a.body[at:at + n]) == h:
                return a.body[at:at + n]
            self.report(span.object, h, "missing" if a.status == 404
                        else "corrupt")
        return None

    def report(self, obj, chunk, problem):
        self.raw("POST", self.base + "/report", json.dumps({
            "object": obj.hex(), "chunk": chunk.hex(),
            "problem": problem}).encode(), "application/json")
