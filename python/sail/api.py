# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Requests to the API server, sailapi(7)."""

import http.client
import io
import ipaddress
import json
import os
import random
import secrets
import socket
import ssl
import time
from typing import Any, Dict, Optional
from urllib.parse import SplitResult, urlsplit

from sail.errors import AuthError, SailError, UnavailableError, from_answer

TRIES = 4
CONNECT_S = 10          # to one address
TIMEOUT_S = 30          # without a byte
DEADLINE_S = 60         # all tries of a request
RETRY_AFTER_MAX_S = 30
ANSWER_MAX = 16 * 1024 * 1024


class Client:
    """One API server and one key.  Proxies of the environment are not used and
    redirects are not followed."""

    def __init__(self, url: Optional[str] = None,
                 key: Optional[str] = None) -> None:
        url = url or os.environ.get("SAIL_API_URL")
        key = key or os.environ.get("SAIL_API_KEY")
        if not url:
            raise SailError("SAIL_API_URL is not set", "client", "no_url")
        if not key:
            raise AuthError("SAIL_API_KEY is not set", "client", "no_key")
        parts = _split(url)
        if not key.isascii() or not key.isprintable():
            # Which is not shown.
            raise AuthError("SAIL_API_KEY has characters that no key has",
                            "client", "bad_key")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise SailError("%s: plain HTTP is for loopback only" % url,
                            "client", "bad_url")
        self.url = url
        self._context = _context() if parts.scheme == "https" else None
        self._parts = parts
        self._key = key

    def request(self, method: str, target: str,
                body: Optional[Dict[str, Any]] = None,
                retry: Optional[bool] = None) -> Dict[str, Any]:
        """The answer's object.  retry: it may be sent again when an answer was
        lost; by default what only reads: of a name, another thing may have it
        by then."""
        if retry is None:
            retry = method == "GET"
        end = time.monotonic() + DEADLINE_S
        for n in range(TRIES):
            asked = 0.0
            try:
                answer = self._once(method, target, body, end)
                asked = answer.pause()
                return answer.result()
            except UnavailableError as e:
                pause = _pause(n, asked)
                # Of the API's store nothing else is to be had.
                if (not retry or n == TRIES - 1 or
                        e.code == "store_unusable" or
                        time.monotonic() + pause >= end):
                    raise
            time.sleep(pause)
        raise AssertionError("not reached")

    def _connect(self, end: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        conn = (http.client.HTTPConnection(host, port) if self._context is None
                else http.client.HTTPSConnection(host, port,
                                                 context=self._context))
        sock = socket.create_connection((host, conn.port),
                                        min(CONNECT_S, _left(end)))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock.settimeout(_left(end))
                sock = self._context.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        conn.sock = _Socket(sock, end)
        return conn

    def _once(self, method: str, target: str, body: Optional[Dict[str, Any]],
              end: float) -> "_Answer":
        number = secrets.token_hex(8)
        headers = {"Authorization": "Bearer " + self._key,
                   "Accept": "application/json", "Sail-Request": number}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        conn = None
        try:
            conn = self._connect(end)
            conn.request(method, self._parts.path.rstrip("/") + target, data,
                         headers)
            answer = conn.getresponse()
            status, raw = answer.status, answer.read(ANSWER_MAX + 1)
            if not raw and status != 204 and (
                    "Content-Length" not in answer.headers):
                # To http.client a head that breaks off is one with no body.
                raise http.client.IncompleteRead(raw)
            _check_number(status, answer.headers.get("Sail-Request"), number)
            return _Answer(status, raw, answer.headers.get("Retry-After"))
        except ssl.SSLCertVerificationError as e:
            raise SailError("%s: %s" % (self.url, e.verify_message), "client",
                            "bad_certificate") from e
        except (OSError, http.client.HTTPException) as e:
            raise UnavailableError("%s: %s" % (self.url, e or type(e).__name__),
                                   "unavailable", "no_answer") from e
        finally:
            if conn is not None:
                conn.close()


class _Answer:
    """What came, with its end."""

    def __init__(self, status: int, raw: bytes, after: Optional[str]) -> None:
        self._status, self._raw, self._after = status, raw, after

    def pause(self) -> float:
        """Seconds that the server asks for; a date is passed over."""
        after = self._after or ""
        return float(after) if after.isdecimal() and len(after) < 10 else 0.0

    def result(self) -> Dict[str, Any]:
        return _result(self._status, self._raw)


class _Socket:
    """For http.client: what it sends and gets has an end, be it by a byte at a
    time."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock, self._end = sock, end

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._end))
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._end))

    def close(self) -> None:
        self._sock.close()


class _Reader(io.RawIOBase):
    """It keeps the socket open, which http.client closes before the answer is
    read."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        super().__init__()
        self._sock, self._end = sock, end
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        self._sock.settimeout(_left(self._end))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(end: float) -> float:
    """How long may be waited for the next byte."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return min(left, TIMEOUT_S)


def _pause(n: int, asked: float) -> float:
    """After so many tries, and what the server asked for; those that are sent
    away together do not come together."""
    pause = 0.1 * 2 ** n * (0.5 + random.random())
    if asked == 0:
        return pause
    asked = min(asked, RETRY_AFTER_MAX_S)
    return asked + random.uniform(0, max(pause, asked / 2))


def _check_number(status: int, got: Optional[str], number: str) -> None:
    """An answer that is not that to the request is a lost one.  An error may
    come from something on the way to the server."""
    if got is None and 200 <= status < 300:
        raise http.client.HTTPException(
            "answer has no Sail-Request: an older server, or something on the "
            "way to it")
    if got is not None and got != number:
        raise http.client.HTTPException("answer to another request")


def _result(status: int, raw: bytes) -> Dict[str, Any]:
    if len(raw) > ANSWER_MAX:
        raise SailError("the server's answer is too long")
    try:
        value = json.loads(raw) if raw else {}
    except ValueError:
        value = None
    if 200 <= status < 300:
        if not isinstance(value, dict):
            raise UnavailableError("the server's answer is no JSON object",
                                   "unavailable", "bad_answer")
        return value
    if isinstance(value, dict) and "error" in value:
        raise from_answer(value)
    if status >= 500 or status in (408, 429):
        raise UnavailableError("the server answered with status %d" % status,
                               "unavailable", "status_%d" % status)
    raise SailError("the server answered with status %d" % status, "",
                    "status_%d" % status)


def _context() -> ssl.SSLContext:
    """What the server's certificate is checked with."""
    ca = os.environ.get("SAIL_CA_FILE")
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as e:
        raise SailError("SAIL_CA_FILE: %s: %s" % (ca, e), "client",
                        "bad_ca_file") from e
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = (parts.scheme in ("http", "https") and parts.hostname and
                parts.port != 0 and url.isascii())
    except ValueError:
        good = False
    if not good:
        raise SailError("%s: not the URL of a server" % url, "client",
                        "bad_url")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
