# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A server that plays the API and the store for sailvol-fetch, with faults."""

import hashlib
import http.server
import json
import re
import ssl
import struct
import threading
import time

from sailtest import wire


HEAD_MAX = 64 << 20


def sha(b):
    return hashlib.sha256(b).digest()


def le_str16(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack("<H", len(s)) + s


def name_answer(h):
    """In the answer's head, as sailapi(7) has it: to which request it is."""
    if "Sail-Request" in h.headers:
        h.send_header("Sail-Request", h.headers["Sail-Request"])


class Server:
    """The API and the store, with faults: faults[kind] is a list of what the
    next requests of that kind meet."""

    def __init__(self, tls=None):
        """tls: (certificate file, key file)."""
        self.objects = {}   # hash: bytes
        self.packing = False  # small chunks are to be put into packs
        self.packs = {}     # hash: [hash of a chunk], as claimed
        self.places = {}    # slot: [object names], the first is told
        self.chunks = {}    # slot: bytes, of the one file
        self.together = []  # chunks that lie in one object, of several files
        self.faults = {}
        self.requests = []  # (kind, path)
        self.numbers = []   # (kind, Sail-Request)
        self.twice = 0      # second answers that were sent
        self.connections = 0
        self.reports = []
        self.keys = set()
        self.lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *args):
                pass

            def setup(self):
                super().setup()
                with server.lock:
                    server.connections += 1

            def do(self):
                server.handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

        class Threaded(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args):
                pass

        self.http = Threaded(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.http.server_port
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(
                self.http.socket, server_side=True,
                do_handshake_on_connect=False)
            self.url = "https://x.test:%d" % self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def kind(self, h):
        p = h.path.split("?")[0]
        for name in ("chunks", "packs", "locate", "report"):
            if p.endswith("/" + name):
                return name
        if p.startswith("/obj/"):
            return "object " + h.command
        return "api"

    def handle(self, h):
        kind = self.kind(h)
        body = b""
        n = int(h.headers.get("content-length") or 0)
        while len(body) < n:
            b = h.rfile.read(min(n - len(body), 1 << 20))
            if not b:
                return
            body += b
        with self.lock:
            self.requests.append((kind, h.path))
            if "Sail-Request" in h.headers:
                self.numbers.append((kind, h.headers["Sail-Request"]))
            faults = self.faults.get(kind, [])
            fault = faults.pop(0) if faults else None
            if h.headers.get("authorization"):
                self.keys.add((kind.split()[0], h.headers["authorization"]))
        status, out, ctype = 0, b"", "text/plain"
        if not isinstance(fault, int) and fault not in ("later", "busy"):
            status, out, ctype = getattr(
                self, "on_" + kind.split()[0])(h, body)
        self.answer(h, fault, status, out, ctype)

    def answer(self, h, fault, status, out, ctype):
        if isinstance(fault, tuple):
            status, out = fault[0], fault[1].encode()
            fault = fault[2] if len(fault) > 2 else None
        if isinstance(fault, int):
            status, out = fault, b'{"error":{}}'
        if fault == "wrong":
            out = bytes([out[0] ^ 1]) + out[1:]
        if fault == "close":
            h.close_connection = True
            return
        if fault in ("slow", "hang"):
            time.sleep(3 if fault == "slow" else 600)
        if fault in ("heads", "hints"):
            return self.endless_head(h, fault)
        if isinstance(fault, float):
            time.sleep(fault)
        if fault == "later":
            status, out = 503, b""
        if fault == "busy":
            status, out = 503, b"<Error><Code>SlowDown</Code></Error>"
        if fault == "head":
            h.wfile.write(b"HTTP/1.1 %d OK\r\nContent-Ty" % status)
            h.close_connection = True
            return
        h.send_response(status)
        if fault == "another":
            h.send_header("Sail-Request", "0123456789abcdef")
        elif fault != "nameless":
            name_answer(h)
        if fault == "redirect":
            h.send_header("Location", self.url + "/obj/elsewhere")
        if fault in ("later", "busy"):
            h.send_header("Retry-After", "2" if fault == "later" else "1")
        h.send_header("Content-Type", ctype)
        etag = '"%s"' % h.path[5:37] if (
            h.path.startswith("/obj/") and status in (200, 206)) else None
        if etag:
            h.send_header("ETag", etag)
        length = len(out)
        if fault == "endless":
            h.send_header("Connection", "close")
        else:
            h.send_header("Content-Length", str(length))
        h.end_headers()
        if h.command == "HEAD":
            out = b""
        if fault == "short":
            out = out[:len(out) // 2]
            h.close_connection = True
        h.wfile.write(out)
        if fault == "twice":
            # Later, or libcurl would see it with the first.
            time.sleep(0.1)
            h.wfile.write(
                b"HTTP/1.1 %d OK\r\nSail-Request: %s\r\n%s"
                b"Content-Length: %d\r\n\r\n" % (
                    status, h.headers.get("Sail-Request", "").encode(),
                    b"ETag: %s\r\n" % etag.encode() if etag else b"",
                    length) + out)
            self.twice += 1
        while fault == "endless":
            h.wfile.write(b"x" * 65536)

    @staticmethod
    def endless_head(h, fault):
        """Until it is cut off, or so much has come."""
        h.close_connection = True
        line = b"X-Long: " + b"x" * 4000 + b"\r\n"
        if fault == "heads":
            h.wfile.write(b"HTTP/1.1 200 OK\r\n")
        else:
            line = b"HTTP/1.1 103 Early Hints\r\n" + line + b"\r\n"
        for _ in range(HEAD_MAX // len(line)):
            h.wfile.write(line)

    def on_api(self, h, body):
        if h.path.endswith("/nothing"):
            return 404, b'{"error":{"code":"x"}}', "application/json"
        out = json.dumps({"method": h.command, "path": h.path,
                          "body": body.decode("latin-1"),
                          "type": h.headers.get("content-type")}).encode()
        return 200, out, "application/json; charset=utf-8"

    def on_chunks(self, h, body):
        assert body[:6] == b"SVWB\x03\x01"
        n, = struct.unpack_from("<I", body, 6)
        out = b"SVWB\x04\x01" + struct.pack("<I", n)
        for i in range(n):
            d = body[10 + 36 * i:42 + 36 * i]
            size, = struct.unpack_from("<I", body, 42 + 36 * i)
            if d in self.objects or any(
                    d in chunks and pack in self.objects
                    for pack, chunks in self.packs.items()):
                out += b"\0"
            elif self.packing and size < 1 << 20:
                out += b"\2"
            else:
                out += self.upload(d)
        return 200, out, "application/x-sailvol"

    def upload(self, d):
        return b"\1" + d + le_str16("%s/obj/%s?sig=1" % (
            self.url, d.hex())) + le_str16(
                "x-amz-content-sha256: %s\nif-none-match: *\n" % d.hex())

    def on_packs(self, h, body):
        assert body[:6] == b"SVWB\x07\x01"
        d = body[6:38]
        length, n = struct.unpack_from("<II", body, 38)
        chunks = [body[46 + 36 * i:78 + 36 * i] for i in range(n)]
        assert len(body) == 46 + 36 * n and length == sum(
            struct.unpack_from("<I", body, 78 + 36 * i)[0]
            for i in range(n)) + (wire.TAIL if n > 1 else 0)
        with self.lock:
            self.packs[d] = chunks
        return 200, b"SVWB\x04\x01" + struct.pack("<I", 1) + \
            self.upload(d), "application/x-sailvol"

    def on_locate(self, h, body):
        assert body[:6] == b"SVWB\x05\x01"
        n, = struct.unpack_from("<H", body, 38)
        at = 44 + n  # behind the budget
        nslots, = struct.unpack_from("<I", body, at)
        slots = struct.unpack_from("<%dQ" % nslots, body, at + 4)
        spans = []
        with self.lock:
            for slot in slots:
                c = self.chunks[slot]
                if c in self.together:
                    spans.append(self.pack_span(slot, c))
                    continue
                places = self.places.get(slot, [sha(c).hex()])
                if not places:
                    continue
                spans.append(
                    sha(c) + struct.pack("<QQ", 0, len(c)) +
                    le_str16("%s/obj/%s" % (self.url, places[0])) +
                    le_str16("range: bytes=0-%d\n" % (len(c) - 1)) +
                    struct.pack("<IQ", 1, slot) + sha(c) +
                    struct.pack("<QIIB", 0, len(c), len(c), 0))
        out = b"SVWB\x06\x01" + struct.pack("<I", len(spans))
        return 200, out + b"".join(spans), "application/x-sailvol"

    def pack_span(self, slot, wanted):
        """All that lies together; what nobody asked for has no slot."""
        pack = b"".join(self.together)
        self.objects[sha(pack)] = pack
        out = sha(pack) + struct.pack("<QQ", 0, len(pack)) + \
            le_str16("%s/obj/%s" % (self.url, sha(pack).hex())) + \
            le_str16("range: bytes=0-%d\n" % (len(pack) - 1)) + \
            struct.pack("<I", len(self.together))
        at = 0
        for c in self.together:
            out += struct.pack("<Q", slot if c == wanted else 2 ** 64 - 1) + \
                sha(c) + struct.pack("<QIIB", at, len(c), len(c), 0)
            at += len(c)
        return out

    def on_report(self, h, body):
        with self.lock:
            rep = json.loads(body)
            self.reports.append(rep)
            for slot, c in self.chunks.items():
                places = self.places.get(slot)
                if places and sha(c).hex() == rep["chunk"]:
                    places.pop(0)
        return 202, b"{}", "application/json"

    def on_object(self, h, body):
        name = h.path[5:].split("?")[0]
        if h.command == "PUT":
            d = bytes.fromhex(name)
            if h.headers.get("if-none-match") == "*" and d in self.objects:
                return 412, b"", "text/plain"
            if sha(body) != d:
                return 400, b"XAmzContentSHA256Mismatch", "text/plain"
            with self.lock:
                self.objects[d] = body
            return 200, b"", "text/plain"
        if name.startswith("wrong"):
            return 200, b"w" * int(name[5:]), "text/plain"
        out = self.objects.get(bytes.fromhex(name)) \
            if re.fullmatch("[0-9a-f]{64}", name) else None
        if out is None:
            return 404, b"", "text/plain"
        if h.command == "DELETE":
            del self.objects[bytes.fromhex(name)]
            return 204, b"", "text/plain"
        return 206 if h.headers.get("range") else 200, out, "text/plain"

    def count(self, kind):
        with self.lock:
            return sum(1 for k, _ in self.requests if k == kind)
