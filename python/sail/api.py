# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Requests to the API server, sailapi(7)."""

import http.client
import ipaddress
import json
import os
import random
import ssl
import time
from typing import Any, Dict, Optional
from urllib.parse import SplitResult, urlsplit

from sail.errors import AuthError, SailError, UnavailableError, from_answer

TRIES = 4
TIMEOUT_S = 30
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
        for n in range(TRIES):
            last = not retry or n == TRIES - 1
            try:
                return self._once(method, target, body)
            except UnavailableError:
                if last:
                    raise
            time.sleep(0.1 * 2 ** n * (0.5 + random.random()))
        raise AssertionError("not reached")

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S,
                                           context=self._context)

    def _once(self, method: str, target: str,
              body: Optional[Dict[str, Any]]) -> Dict[str, Any]:
        headers = {"Authorization": "Bearer " + self._key,
                   "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        conn = self._connect()
        try:
            conn.request(method, self._parts.path.rstrip("/") + target, data,
                         headers)
            answer = conn.getresponse()
            status, raw = answer.status, answer.read(ANSWER_MAX + 1)
            if not raw and status != 204 and (
                    "Content-Length" not in answer.headers):
                # To http.client a head that breaks off is one with no body.
                raise http.client.IncompleteRead(raw)
        except ssl.SSLCertVerificationError as e:
            raise SailError("%s: %s" % (self.url, e.verify_message), "client",
                            "bad_certificate") from e
        except (OSError, http.client.HTTPException) as e:
            raise UnavailableError("%s: %s" % (self.url, e or type(e).__name__),
                                   "unavailable", "no_answer") from e
        finally:
            conn.close()
        return _result(status, raw)


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
    if status >= 500:
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
