# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A client of S3 that signs by itself, and can do everything wrong on purpose."""

import base64
import errno
import hashlib
import hmac
import http.client
import socket
import time
import urllib.parse
import xml.etree.ElementTree

from sailtest import tls

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def sha256_base64(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """Of an error in XML."""
        if not self.body:
            return ""
        return xml.etree.ElementTree.fromstring(self.body).findtext("Code")


class S3:
    region = "us-east-1"

    def __init__(self, port, access_key, secret, bucket="sail", context=None):
        self.host = "127.0.0.1:%d" % port
        self.port, self.context = port, context
        self.access_key, self.secret, self.bucket = access_key, secret, bucket

    def date(self, offset=0):
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + offset))

    def path(self, key):
        return quote("/%s/%s" % (self.bucket, key) if key is not None
                     else "/" + self.bucket, "/")

    def signature(self, method, path, query, headers, payload, date):
        lower = {k.lower(): " ".join(str(v).split()) for k, v in headers.items()}
        names = ";".join(sorted(lower))
        pairs = sorted((quote(k), quote(v)) for k, v in query.items())
        canonical = "\n".join([
            method, path, "&".join("%s=%s" % p for p in pairs),
            "".join("%s:%s\n" % (k, lower[k]) for k in sorted(lower)), names,
            payload])
        scope = "%s/%s/s3/aws4_request" % (date[:8], self.region)
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope,
                          sha256(canonical.encode())])
        key = ("AWS4" + self.secret).encode()
        for part in (date[:8], self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return names, scope, hmac.new(key, text.encode(),
                                      hashlib.sha256).hexdigest()

    def presign(self, method, key, headers=None, query=None, expires=900,
                offset=0, payload=None):
        """A target; the headers must be sent with it as they are."""
        headers = dict(headers or {})
        date = self.date(offset)
        if payload is None:
            payload = headers.get("x-amz-content-sha256", UNSIGNED)
        signed = dict(headers, host=self.host)
        names = ";".join(sorted(k.lower() for k in signed))
        query = dict(query or {})
        query.update({
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": "%s/%s/%s/s3/aws4_request" % (
                self.access_key, date[:8], self.region),
            "X-Amz-Date": date, "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": names})
        path = self.path(key)
        sig = self.signature(method, path, query, signed, payload, date)[2]
        return "%s?%s&X-Amz-Signature=%s" % (
            path, "&".join("%s=%s" % (quote(k), quote(v))
                           for k, v in query.items()), sig)

    def send(self, method, target, headers=None, body=None):
        """headers: a dict, or a list of pairs; Host is added."""
        pairs = list(headers.items() if isinstance(headers, dict)
                     else headers or [])
        if self.context:
            conn = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=60, context=self.context)
        else:
            conn = http.client.HTTPConnection("127.0.0.1", self.port,
                                              timeout=60)
        try:
            conn.putrequest(method, target, skip_host=True,
                            skip_accept_encoding=True)
            if not any(k.lower() == "host" for k, v in pairs):
                conn.putheader("Host", self.host)
            for k, v in pairs:
                conn.putheader(k, v)
            conn.endheaders(body)
            res = conn.getresponse()
            data = res.read()
            return Answer(res.status, {k.lower(): v for k, v in
                                       res.getheaders()}, data)
        finally:
            conn.close()

    def connect(self):
        """A socket to the store, by TLS if it speaks that."""
        s = socket.create_connection(("127.0.0.1", self.port), 30)
        if self.context is None:
            return s
        return tls.plain_end(self.context.wrap_socket(
            s, server_hostname="127.0.0.1"))

    def raw(self, data, wait=True):
        """Bytes as they are; what came back, to the end of the connection,
        which may be that of a server that does not want the rest."""
        with self.connect() as s:
            out = b""
            try:
                s.sendall(data)
                if not wait:
                    return b""
                s.shutdown(socket.SHUT_WR)
            except OSError as e:
                if e.errno not in (errno.ENOTCONN, errno.EPIPE,
                                   errno.ECONNRESET):
                    raise
            while True:
                try:
                    piece = s.recv(65536)
                except ConnectionResetError:
                    return out
                if not piece:
                    return out
                out += piece

    def request(self, method, key, query=None, body=None, headers=None,
                payload=None, offset=0):
        """Signed in the header."""
        date = self.date(offset)
        query = dict(query or {})
        path = self.path(key)
        payload = payload or sha256(body or b"")
        headers = dict(headers or {})
        headers.update({"x-amz-date": date, "x-amz-content-sha256": payload})
        names, scope, sig = self.signature(
            method, path, query, dict(headers, host=self.host), payload, date)
        headers["Authorization"] = (
            "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"
            % (self.access_key, scope, names, sig))
        if body is not None:
            headers["Content-Length"] = str(len(body))
        if query:
            path += "?" + "&".join("%s=%s" % (quote(k), quote(v))
                                   for k, v in query.items())
        return self.send(method, path, headers, body)

    def put(self, key, body, **kwargs):
        return self.request("PUT", key, body=body, **kwargs)

    def get(self, key, **kwargs):
        return self.request("GET", key, **kwargs)

    def delete(self, key):
        a = self.request("DELETE", key)
        if a.status != 204:
            raise AssertionError("delete: %d %s" % (a.status, a.code))

    def spoil(self, key, at):
        """One bit of an object is another."""
        data = bytearray(self.get(key).body)
        data[at] ^= 1
        a = self.put(key, bytes(data))
        if a.status != 200:
            raise AssertionError("spoil: %d %s" % (a.status, a.code))

    def upload_headers(self, body):
        """What an upload URL of sailapid signs, besides the host."""
        return {"content-length": str(len(body)), "if-none-match": "*",
                "x-amz-checksum-sha256": sha256_base64(body),
                "x-amz-content-sha256": sha256(body)}

    def _page(self, query):
        """An answer of ListObjectsV2, parsed."""
        query = dict(query, **{"list-type": "2"})
        a = self.request("GET", None, query=query)
        if a.status != 200:
            raise AssertionError("list: %d %s" % (a.status, a.code))
        return xml.etree.ElementTree.fromstring(a.body)

    def list(self, **query):
        """(keys, common prefixes, next token or None)"""
        root = self._page({k.replace("_", "-"): str(v)
                           for k, v in query.items()})
        return ([e.findtext(NS + "Key") for e in root.iter(NS + "Contents")],
                [e.findtext(NS + "Prefix")
                 for e in root.iter(NS + "CommonPrefixes")],
                root.findtext(NS + "NextContinuationToken"))

    def sizes(self, marks=False):
        """{key: bytes} of all; marks: also what a server marks its store by."""
        found, query = {}, {}
        while True:
            root = self._page(query)
            for e in root.iter(NS + "Contents"):
                found[e.findtext(NS + "Key")] = int(e.findtext(NS + "Size"))
            token = root.findtext(NS + "NextContinuationToken")
            if not token:
                return {k: n for k, n in found.items()
                        if marks or not k.startswith("sailapid/")}
            query["continuation-token"] = token
