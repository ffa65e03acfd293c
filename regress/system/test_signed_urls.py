# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A URL of the server is good for one object, one method, one body or one span,
and its time: whatever else is tried with it is refused by the store, and nothing
is stored."""

import os
import urllib.parse

from sailtest import s3, server
from sailtest.client import Client, sha

BOTH_STORES = True

# Where the Ceph gateway (16.2) says yes and the embedded store no.  Both times
# what counts, and is done, is what was signed: of two Range headers, and of a
# parameter that stands twice, it looks at the last alone.
RANGE_BEFORE = "a range, then the signed"
TWICE_BEFORE = " before it another"


def on_gateway(srv):
    return srv.store is not None


class Misuse:
    """Counts refusals, and what was stored in spite of them."""

    def __init__(self, t, srv):
        self.t, self.srv = t, srv
        self.before = srv.s3.sizes()
        self.done = 0

    def refused(self, answer, what):
        self.t.true(answer.status in (400, 403, 405, 411, 501),
                    "%s: %d %r" % (what, answer.status, answer.body[:300]))
        self.done += 1

    def nothing_stored(self, what):
        self.t.equal(self.before, self.srv.s3.sizes(), "objects: " + what)


def changed_targets(target):
    """(what, another target) of every part of a signed URL."""
    path, _, query = target.partition("?")
    pairs = [p.split("=", 1) for p in query.split("&")]
    names = [n for n, _ in pairs]
    assert {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date",
            "X-Amz-Expires", "X-Amz-SignedHeaders",
            "X-Amz-Signature"} <= set(names), names

    def url(some):
        return path + "?" + "&".join("%s=%s" % tuple(p) for p in some)

    for i, (name, value) in enumerate(pairs):
        last = value[-1]
        other = value[:-1] + chr(ord(last) + (1 if last not in "9fzZ" else -1))
        rest = pairs[:i] + pairs[i + 1:]
        yield name + " changed", url(pairs[:i] + [[name, other]] +
                                     pairs[i + 1:])
        yield name + " removed", url(rest)
        yield name + " empty", url(pairs[:i] + [[name, ""]] + pairs[i + 1:])
        yield name + " twice", url(pairs + [[name, other]])
        yield name + TWICE_BEFORE, url([[name, other]] + pairs)
    yield "a longer life", target.replace("X-Amz-Expires=", "X-Amz-Expires=9")
    for extra in ("a=b", "acl", "versionId=null", "partNumber=1&uploadId=x",
                  "response-content-type=text%2Fhtml", "x-id=GetObject",
                  "X-Amz-Security-Token=x"):
        yield extra + " added", target + "&" + extra
        yield extra + " before it", path + "?" + extra + "&" + query
    yield "no query", path
    # Another object: of the same family, of another, of none, and the bucket.
    parts = path.split("/")
    name = parts[-1]
    for what, other in (
            ("hash", parts[:-1] + [name[:-1] + ("0" if name[-1] != "0"
                                                else "1")]),
            ("folder", parts[:-2] + ["zz", name]),
            ("family", parts[:-3] + ["0" * 32] + parts[-2:]),
            ("key behind it", parts + ["x"]), ("key above", parts[:-1]),
            ("key with ..", parts[:-1] + ["..", parts[-2], name])):
        yield "another " + what, "/".join(other) + "?" + query


def try_targets(m, signed, body):
    """body: of an upload, or what a download shall bring."""
    headers, method = dict(signed.headers), "GET"
    if "if-none-match" in headers:
        headers["content-length"], method = str(len(body)), "PUT"
    for what, target in changed_targets(signed.target):
        a = m.srv.s3.send(method, target, headers,
                          body if method == "PUT" else None)
        if not (on_gateway(m.srv) and what.endswith(TWICE_BEFORE) and
                a.status in (200, 206)):
            m.refused(a, "%s, %s" % (method, what))
        elif method == "GET":
            m.t.true(a.body == body, "what came: " + what)
        else:
            key = key_of(signed, body)
            m.t.true(m.srv.s3.get(key).body == body, "object: " + what)
            m.srv.s3.delete(key)


def try_methods(m, methods, signed, body):
    """As another method, with its headers and without."""
    for method in methods:
        for headers in (signed.headers, {}):
            data = body if method in ("PUT", "POST") else None
            if data is not None:
                headers = dict(headers,
                               **{"content-length": str(len(data))})
            m.refused(m.srv.s3.send(method, signed.target, headers, data),
                      "as " + method)


def try_headers(m, method, signed, body=None):
    """Each signed header as another, away, and twice."""
    headers = dict(signed.headers)
    if body is not None:
        headers["content-length"] = str(len(body))
    for name in signed.headers:
        rest = [(k, v) for k, v in headers.items() if k != name]
        value = headers[name]
        other = {"if-none-match": '"x"', "range": "bytes=0-0"}.get(
            name, ("A" if value[0] != "A" else "B") + value[1:])
        send = m.srv.s3.send
        m.refused(send(method, signed.target, rest, body), "without " + name)
        m.refused(send(method, signed.target, rest + [(name, other)], body),
                  "another " + name)
        m.refused(send(method, signed.target, rest + [(name, "")], body),
                  "empty " + name)
    m.refused(m.srv.s3.send(method, signed.target, dict(
        headers, Host="localhost:%d" % m.srv.s3.port), body), "another host")


def raw_put(m, signed, fields, body, wait=True):
    """Bytes as they are; the status line, or b"" when nobody waits."""
    lines = ["%s: %s" % f for f in dict(
        signed.headers, Connection="close", **fields).items()]
    head = "PUT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n" % (
        signed.target, m.srv.s3.host, "\r\n".join(lines))
    return m.srv.s3.raw(head.encode() + body, wait).split(b"\r\n")[0]


def try_bodies(m, signed, body):
    other = body[:-1] + bytes([body[-1] ^ 1])
    send = m.srv.s3.send

    def put(data, **more):
        fields = {k.replace("_", "-"): v for k, v in more.items()}
        return send("PUT", signed.target, dict(
            signed.headers, **{"content-length": str(len(data)), **fields}),
            data)

    m.refused(put(other), "a wrong body")
    m.refused(put(bytes(len(body))), "zeros")
    m.refused(put(body + b"x"), "a longer body")
    m.refused(put(body * 2), "the body twice")
    m.refused(put(body[:-1]), "a shorter body")
    m.refused(put(b""), "no body")
    # With the hashes of what is sent.
    for data in (other, body + b"x", body[:-1]):
        m.refused(put(data, x_amz_content_sha256=s3.sha256(data),
                      x_amz_checksum_sha256=s3.sha256_base64(data)),
                  "another body with its own hashes")
        m.refused(put(data, x_amz_content_sha256="UNSIGNED-PAYLOAD"),
                  "another body, unsigned")
    # What is announced does not come.
    n = str(len(body))
    for size in (0, 1, len(body) // 2, len(body) - 1):
        raw_put(m, signed, {"content-length": n}, body[:size], wait=False)
    for what, fields, data in (
            ("without a length", {}, body),
            ("in pieces", {"Transfer-Encoding": "chunked"},
             b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
            ("in pieces, with a length", {"Transfer-Encoding": "chunked",
                                          "content-length": n},
             b"%x\r\n%s\r\n0\r\n\r\n" % (len(other), other))):
        got = raw_put(m, signed, fields, data)
        m.t.true(b" 200 " not in got, "%s: %r" % (what, got))
        m.done += 1


def test_upload(t):
    """Of an upload nothing may be another: the body, its length, the key, the
    method, a parameter, a header."""
    srv = server.Server(t)
    c = Client(srv)
    c.write("other", b"what is there already" * 100)
    body = os.urandom(70000)
    (signed,) = c.chunks([(sha(body), len(body))])
    m = Misuse(t, srv)
    try_bodies(m, signed, body)
    m.nothing_stored("bodies")
    try_targets(m, signed, body)
    m.nothing_stored("targets")
    try_methods(m, ("GET", "HEAD", "DELETE", "POST"), signed, body)
    try_headers(m, "PUT", signed, body)
    m.nothing_stored("headers")
    # After all that it is still good for what it is for.
    t.equal(200, c.put(signed, body).status, "as signed")
    t.equal(412, c.put(signed, body).status, "again")
    # One more byte than announced is none of the object.
    more = os.urandom(5000)
    (signed,) = c.chunks([(sha(more), len(more))])
    raw_put(m, signed, {"content-length": str(len(more))}, more + b"x")
    want = dict(m.before)
    for data in (body, more):
        want[key_of(signed, data)] = len(data)
    t.equal(want, srv.s3.sizes(), "objects at the end")
    t.true(srv.s3.get(key_of(signed, body)).body == body, "its bytes")
    print("%d refusals" % m.done)


def key_of(signed, data):
    """Of the family of a URL."""
    path = urllib.parse.unquote(signed.target.partition("?")[0])
    name = s3.sha256(data)
    return "%s/%s/%s" % (path.split("/")[-3], name[:2], name)


def pack_files(c, count):
    """A commit of small files that lie in one pack; {name: bytes}."""
    datas = {"f%02d" % i: os.urandom(300 + i) for i in range(count)}
    pairs = [(sha(d), len(d)) for d in datas.values()]
    c.chunks(pairs)
    pack = b"".join(datas.values())
    a = c.put(c.pack(sha(pack), len(pack), pairs), pack)
    assert a.status == 200, a.body
    c.commit({n: (len(d), [sha(d)]) for n, d in datas.items()})
    return datas, pack


def test_download(t):
    """Of a download nothing may be another: the span, the key, the method, a
    parameter, a header; and the bytes beside the span are never shown."""
    srv = server.Server(t)
    c = Client(srv)
    datas, pack = pack_files(c, 20)
    (span,) = c.locate("f07")
    data, signed = datas["f07"], span.signed
    at = pack.index(data)
    good = "bytes=%d-%d" % (at, at + len(data) - 1)
    t.equal({"range": good}, signed.headers, "what is signed")
    m = Misuse(t, srv)
    others = ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=%d-" % at,
              "bytes=%d-%d" % (at, at + len(data)),
              "bytes=%d-%d" % (at - 1, at + len(data) - 1),
              "bytes=%d-%d" % (at + 1, at + len(data) - 1),
              "bytes=%d-%d,0-9" % (at, at + len(data) - 1),
              "bytes=0-9,%d-%d" % (at, at + len(data) - 1),
              "bytes=0-9,20-29", "bytes=", "bytes", good + ","]
    for other in others:
        m.refused(srv.s3.send("GET", signed.target, {"range": other}),
                  "range " + other)
    m.refused(srv.s3.send("GET", signed.target), "no range")
    for other in others[:6]:
        m.refused(srv.s3.send("GET", signed.target, [
            ("Range", good), ("Range", other)]), "the signed, then " + other)
        a = srv.s3.send("GET", signed.target, [("Range", other),
                                               ("Range", good)])
        if on_gateway(srv) and a.status == 206:
            t.equal(data, a.body, RANGE_BEFORE)
        else:
            m.refused(a, RANGE_BEFORE)
    try_targets(m, signed, data)
    try_methods(m, ("HEAD", "DELETE", "PUT", "POST"), signed, data)
    try_headers(m, "GET", signed)
    m.nothing_stored("downloads")
    a = c.get(span)
    t.equal((206, data), (a.status, a.body), "as signed")
    # A whole object is its own span.
    large = os.urandom(50000)
    c.write("large", large)
    (span,) = c.locate("large")
    t.equal({}, span.signed.headers, "of a whole object")
    m = Misuse(t, srv)
    try_targets(m, span.signed, large)
    try_methods(m, ("HEAD", "DELETE", "PUT", "POST"), span.signed, large)
    m.nothing_stored("downloads of a whole object")
    t.true(c.get(span).body == large, "the whole object")


def test_expired(t):
    """After its time a URL is good for nothing, and the server gives another."""
    srv = server.Server(t, "url life 4s")
    c = Client(srv)
    data, body = os.urandom(2000), os.urandom(3000)
    c.write("f", data)
    (span,) = c.locate("f")
    (signed,) = c.chunks([(sha(body), len(body))])
    # By a wrong body nothing is stored meanwhile.
    t.wait_for(lambda: c.put(signed, bytes(3000)).status == 403,
               "the upload expires")
    m = Misuse(t, srv)
    m.refused(c.put(signed, body), "upload")
    t.wait_for(lambda: c.get(span).status == 403, "the download expires")
    m.nothing_stored("expired")
    (again_,) = c.chunks([(sha(body), len(body))])
    t.true(again_.url != signed.url, "another URL")
    t.equal(200, c.put(again_, body).status, "upload with a new one")
    t.true(c.read("f") == data, "download with a new one")
