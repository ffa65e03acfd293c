# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A proxy of a test's own between a daemon and a server: counts requests and
bytes, and cuts, delays, refuses or spoils what goes through it."""

import json
import re
import socket
import struct
import threading
import time

from sailtest import tls

CUT, CORRUPT, DELAY, REFUSE, CLOSE = "cut", "corrupt", "delay", "refuse", "close"
HOLD, LATE, WITHHOLD, LOSE = "hold", "late", "withhold", "lose"
ANSWER, HALF, RST = "answer", "half", "rst"
REPEAT, TWICE = "repeat", "twice"
SECOND_S = 0.05
REFUSAL = (b"HTTP/1.1 %d Faulty\r\nContent-Length: 0\r\n"
           b"Connection: close\r\n\r\n")


def s3_error(status, code="", more=""):
    """For ANSWER: an error as a store says it."""
    return answer(status, b"application/xml",
                  b"<Error><Code>%s</Code>%s</Error>" % (
                      code.encode(), more.encode()))


def api_error(status, code):
    """The same, as sailapid says it."""
    return answer(status, b"application/json", json.dumps({"error": {
        "message": code, "type": "unavailable", "code": code}},
        separators=(",", ":")).encode())


def answer(status, kind, body):
    return (b"HTTP/1.1 %d Error\r\nContent-Length: %d\r\n"
            b"Content-Type: %s\r\n"
            b"Connection: close\r\n\r\n" % (status, len(body), kind)) + body


class Request:
    """One request as it went through: bytes with their headers."""

    def __init__(self, method, target):
        self.method, self.target = method, target
        self.up = self.down = 0
        self.status = 0
        self.began = time.monotonic()

    def __repr__(self):
        return "%s %s: %d, %d up, %d down" % (
            self.method, self.target, self.status, self.up, self.down)


class Fault:
    """What happens to the requests that match, so many times.

    CUT: the answer ends after `at' bytes of its body.  CORRUPT: one bit of byte
    `at' of the body is turned.  DELAY: `at' seconds pass before.  LATE: the
    same, between the server's answer and the client.  REFUSE: the answer is
    status `at'.  ANSWER: it is the bytes `at', as one to this request.  CLOSE:
    the connection ends without an answer.  HOLD: it goes on when release() is
    called.  WITHHOLD: the same, between the server's answer, which sets
    `reached', and the client.  LOSE: the connection ends instead of the
    server's answer.  RST: the same, by a reset.  HALF: it ends in the middle of
    the answer's head.  REPEAT: the server gets the request twice, the second
    time by another connection.  TWICE: the answer comes twice, the second time
    a little later, and the connection stays.
    """

    def __init__(self, kind, pattern, at, times):
        self.kind, self.pattern, self.at = kind, re.compile(pattern), at
        self.left, self.done = times, 0
        self.released, self.reached = threading.Event(), threading.Event()

    def release(self):
        """Nothing more is held: another fault may have the next."""
        self.left = 0
        self.released.set()


class Proxy:
    """authority: it speaks TLS on both sides."""

    def __init__(self, upstream, host="127.0.0.2", port=0, authority=None):
        self.upstream = upstream
        self.authority = authority
        self.context = authority.server_context() if authority else None
        self.requests, self.faults = [], []
        self.lock = threading.Lock()
        self.open = set()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(128)
        self.host, self.port = self.socket.getsockname()
        self.down = False
        self.throttle = None    # bytes a second of the body of a request
        self.throttle_answers = None    # and of an answer
        self.without = None     # the name of a header that answers lose
        self.hidden = None      # targets that no test wants to see or hit
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return "%s://%s:%d" % ("https" if self.authority else "http",
                               self.host, self.port)

    # ---- what a test does with it ----

    def fault(self, kind, pattern=".", at=0, times=1):
        """pattern: a regular expression for "METHOD target"."""
        f = Fault(kind, pattern, at, times)
        with self.lock:
            self.faults.append(f)
        return f

    def set_down(self, down=True):
        """Down: open connections end, and new ones at once."""
        self.down = down
        if down:
            with self.lock:
                for s in list(self.open):
                    _shut(s)

    def reset(self):
        """Forgets what was counted, and all faults."""
        with self.lock:
            self.requests.clear()
            self.faults.clear()

    def no_faults(self):
        """All is well again, and counted on."""
        with self.lock:
            self.faults.clear()

    def count(self, pattern="."):
        """How many requests matched."""
        return len(self.matching(pattern))

    def matching(self, pattern="."):
        with self.lock:
            return [r for r in self.requests
                    if re.search(pattern, "%s %s" % (r.method, r.target))]

    def bytes(self, pattern="."):
        """Bytes both ways."""
        return sum(r.up + r.down for r in self.matching(pattern))

    # ---- the machinery ----

    def _accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,),
                             daemon=True).start()

    def _serve(self, client):
        server = None
        try:
            server = self._connect()
            server.settimeout(None)
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.authority:
                client = tls.plain_end(self.context.wrap_socket(
                    client, server_side=True))
                server = tls.plain_end(self.authority.context().wrap_socket(
                    server, server_hostname=self.upstream[0]))
            with self.lock:
                self.open |= {client, server}
            if self.down:
                return
            conn = _Connection(self, client, server)
            back = threading.Thread(target=conn.answers, daemon=True)
            back.start()
            conn.questions()
            back.join()
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= {client, server}
            for s in (client, server):
                if s is not None:
                    s.close()

    def _connect(self):
        return socket.create_connection(self.upstream, 30)

    def _again(self, data):
        """A whole request by a connection of its own; its answer is lost."""
        try:
            server = self._connect()
            if self.authority:
                server = self.authority.context().wrap_socket(
                    server, server_hostname=self.upstream[0])
            with server:
                server.sendall(data)
                answer = b""
                while b"\r\n\r\n" not in answer:
                    more = server.recv(65536)
                    if not more:
                        return
                    answer += more
        except OSError:
            pass

    def _began(self, method, target):
        request = Request(method, target)
        line = "%s %s" % (method, target)
        if self.hidden and re.search(self.hidden, line):
            return request, None
        with self.lock:
            self.requests.append(request)
            for f in self.faults:
                if f.left > 0 and f.pattern.search(line):
                    f.left -= 1
                    f.done += 1
                    return request, f
        return request, None


class Balancer(Proxy):
    """Each new connection goes to the next upstream that takes it."""

    def __init__(self, upstreams, host="127.0.0.2", port=0):
        self.next = 0
        super().__init__(upstreams, host, port)

    def _connect(self):
        with self.lock:
            first, self.next = self.next, self.next + 1
        for i in range(len(self.upstream)):
            try:
                return socket.create_connection(
                    self.upstream[(first + i) % len(self.upstream)], 30)
            except ConnectionRefusedError:
                pass
        raise ConnectionRefusedError


def _shut(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _shut_to_read(s):
    try:
        s.shutdown(socket.SHUT_RD)
    except OSError:
        pass


class _Connection:
    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.current = self.fault = None
        self.head = True     # the answer's head is not over yet
        self.head_bytes = b""
        self.body_at = 0     # bytes of the answer's body so far
        self.up = None       # REPEAT: the request's bytes so far
        self.whole = b""     # TWICE: the answer's
        self.second = b""    # and all of it, to be sent

    def questions(self):
        """Follows the requests by Content-Length or chunks."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = self._read(self.client)
                if not more:
                    return _shut(self.server)
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            head += b"\r\n\r\n"
            method, target = head.decode("latin-1").split(" ")[:2]
            self.current, self.fault = self.proxy._began(method, target)
            self.head, self.head_bytes, self.body_at = True, b"", 0
            self.up, self.whole = None, b""
            if self._before(head):
                return
            if self.fault is not None and self.fault.kind == REPEAT:
                self.up = []
            self._send_up(head)
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
                data = self._pass_chunks(data)
            else:
                data = self._pass_bytes(data, int(length[1]) if length else 0)
            if data is None:
                return _shut(self.server)
            if self.up is not None:
                threading.Thread(target=self.proxy._again,
                                 args=(b"".join(self.up),),
                                 daemon=True).start()

    def _before(self, question):
        """A fault before the request goes on; 1: it does not."""
        f = self.fault
        if f is None:
            return False
        if f.kind == DELAY:
            time.sleep(f.at)
        elif f.kind == HOLD:
            f.released.wait()
        elif f.kind == REFUSE:
            self.client.sendall(REFUSAL % f.at)
        elif f.kind == ANSWER:
            head, sep, body = f.at.partition(b"\r\n\r\n")
            name = re.search(rb"(?i)\r\nsail-request:[^\r]*", question)
            self.client.sendall(head + (name[0] if name else b"") + sep + (
                b"" if self.current.method == "HEAD" else body))
        if f.kind in (REFUSE, ANSWER, CLOSE):
            _shut(self.client)
            _shut(self.server)
            return True
        return False

    def _send_up(self, data):
        self.current.up += len(data)
        if self.up is not None:
            self.up.append(data)
        self.server.sendall(data)

    def _pass_bytes(self, data, left):
        while left > 0:
            if not data:
                data = self._read(self.client)
                if not data:
                    return None
            now, data = data[:left], data[left:]
            self._send_up(now)
            left -= len(now)
            if self.proxy.throttle:
                time.sleep(len(now) / self.proxy.throttle)
        return data

    def _pass_chunks(self, data):
        while True:
            while b"\r\n" not in data:
                more = self._read(self.client)
                if not more:
                    return None
                data += more
            size = int(data.partition(b"\r\n")[0].split(b";")[0], 16)
            line = data.index(b"\r\n") + 2
            data = self._pass_bytes(data, line + size + 2)
            if data is None or size == 0:
                return data

    def answers(self):
        while True:
            data = self._read(self.server)
            if not data:
                return _shut(self.client)
            if self.proxy.throttle_answers:
                time.sleep(len(data) / self.proxy.throttle_answers)
            if self.current is not None:
                self.current.down += len(data)
                if self.fault is not None or self.current.status == 0:
                    data, over = self._spoil(data)
                else:
                    over = False
            else:
                over = False
            second, self.second = self.second, b""
            try:
                self.client.sendall(data)
                if second:
                    # Together libcurl would see what is too much.
                    time.sleep(SECOND_S)
                    self.client.sendall(second)
            except OSError:
                over = True
            if over:
                _shut(self.client)
                return _shut(self.server)

    def _spoil(self, data):
        """(what goes on, whether that was all)"""
        out = b""
        if self.head:
            self.head_bytes += data
            if not self.head_bytes.startswith(b"HTTP/"[:len(self.head_bytes)]):
                # TWICE: it took a second answer for this one, and asked on.
                return b"", True
            out, sep, body = self.head_bytes.partition(b"\r\n\r\n")
            if not sep:
                return b"", False
            status = int(out.split(b" ")[1])
            out += sep
            if self.proxy.without:
                out = re.sub(rb"(?i)\r\n%s:[^\r]*" %
                             self.proxy.without.encode(), b"", out)
            if status == 100:
                self.head_bytes = b""
                return self._after_continue(out, body)
            self.current.status = status
            self.head, data = False, body
            if self.fault is not None and self._instead():
                return b"", True
            if self.fault is not None and self.fault.kind == HALF:
                return out[:len(out) // 2], True
        f = self.fault
        if f is not None and f.kind == CUT and (
                self.body_at + len(data) > f.at):
            return out + data[:max(0, f.at - self.body_at)], True
        if f is not None and f.kind == CORRUPT and (
                self.body_at <= f.at < self.body_at + len(data)):
            i = f.at - self.body_at
            data = data[:i] + bytes([data[i] ^ 1]) + data[i + 1:]
        self.body_at += len(data)
        if f is not None and f.kind == TWICE:
            self._twice(out + data)
        return out + data, False

    def _twice(self, data):
        """Behind the last byte of an answer all of it again."""
        self.whole += data
        head, _, body = self.whole.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length is not None and len(body) == int(length[1]):
            self.second = self.whole

    def _instead(self):
        """A fault before the answer goes on; 1: it does not."""
        f = self.fault
        f.reached.set()
        if f.kind == LATE:
            time.sleep(f.at)
        elif f.kind == WITHHOLD:
            f.released.wait()
        elif f.kind == RST:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack("ii", 1, 0))
            # The other thread waits for more of it, and would keep it open.
            _shut_to_read(self.client)
            self.client.close()
        return f.kind in (LOSE, RST)

    def _after_continue(self, out, rest):
        if not rest:
            return out, False
        more, over = self._spoil(rest)
        return out + more, over

    @staticmethod
    def _read(s):
        try:
            return s.recv(256 * 1024)
        except OSError:
            return b""
