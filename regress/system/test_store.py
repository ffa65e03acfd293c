# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The embedded object store does what S3 does, and refuses what is not exactly
what was signed."""

import hashlib
import http.client
import os
import signal
import time

from sailtest import s3, server

EMBEDDED_STORE = True  # of sailapid's own role

DATA = b"0123456789" * 1000


def objects(srv):
    """Files of objects on disk, but the mark, and those that are still being
    written."""
    # It is written while the API answers already.
    srv.t.wait_for(lambda: os.path.isdir(srv.dir + "/objects/sailapid%") and
                   os.listdir(srv.dir + "/objects/sailapid%"), "the mark")
    done, tmp = [], []
    for root, _, files in os.walk(os.path.join(srv.dir, "objects")):
        if root.endswith("/sailapid%"):
            continue
        (tmp if root.endswith("%tmp") else done).extend(files)
    return done, tmp


def refused(t, answer, status, code, what):
    t.equal((status, code), (answer.status, answer.code), what)


def test_objects(t):
    srv = server.Server(t)
    c = srv.s3
    t.equal(200, c.put("a/b", DATA).status, "put")
    a = c.get("a/b")
    t.equal((200, DATA), (a.status, a.body), "get")
    t.equal(str(len(DATA)), a.headers["content-length"], "length")
    t.true("date" in a.headers and "last-modified" in a.headers, "dates")
    h = c.request("HEAD", "a/b")
    t.equal((200, b"", str(len(DATA)), a.headers["etag"]),
            (h.status, h.body, h.headers["content-length"], h.headers["etag"]),
            "head")
    t.equal(200, c.put("a/b", b"new").status, "put again")
    t.equal(b"new", c.get("a/b").body, "the new one")
    t.equal(200, c.put("empty", b"").status, "put of nothing")
    t.equal((200, b""), (c.get("empty").status, c.get("empty").body), "empty")
    for key in ("caf\u00e9 +&=%25/\u2603", "x" * 1024, "y/" * 63 + "z",
                "trailing/", "a//b", "%2F", "a"):
        t.equal(200, c.put(key, key.encode()).status, "put of " + key[:20])
        t.equal(key.encode(), c.get(key).body, "get of " + key[:20])
    t.equal(204, c.request("DELETE", "a/b").status, "delete")
    t.equal(204, c.request("DELETE", "a/b").status, "delete of nothing")
    refused(t, c.get("a/b"), 404, "NoSuchKey", "get of nothing")
    t.equal(404, c.request("HEAD", "a/b").status, "head of nothing")
    t.equal([], objects(srv)[1], "temporary files")
    # They are there after a new start.
    srv.stop()
    srv.start()
    t.equal(b"a", srv.s3.get("a").body, "after a new start")


def test_bad_requests(t):
    srv = server.Server(t)
    c = srv.s3
    for key in ("..", "a/../b", "./a", "a/..", "x" * 1025, "a\0b", "a/" * 64):
        t.equal(400, c.put(key, b"x").status, "key %r" % key[:10])
    t.equal(([], []), objects(srv), "files")
    for query in ({"acl": ""}, {"uploads": ""},
                  {"partNumber": "1", "uploadId": "x"}, {"versionId": "x"}):
        refused(t, c.put("k", b"x", query=query), 501, "NotImplemented",
                "put with %s" % query)
    refused(t, c.put("k", b"x", headers={"x-amz-copy-source": "/sail/a"}), 501,
            "NotImplemented", "copy")
    refused(t, c.put("k", b"x", headers={"If-Match": '"x"'}), 501,
            "NotImplemented", "put with If-Match")
    refused(t, c.request("POST", "k", body=b"x"), 405, "MethodNotAllowed",
            "post")
    refused(t, s3.S3(c.port, c.access_key, c.secret, "other",
                         c.context).get("k"), 404,
            "NoSuchBucket", "another bucket")
    # A body of unknown length.
    url = c.presign("PUT", "k")
    got = c.raw(("PUT %s HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked"
                 "\r\n\r\n1\r\nx\r\n0\r\n\r\n" % (url, c.host)).encode())
    t.true(b" 411 " in got.split(b"\r\n")[0], "chunked: %r" % got[:80])
    t.equal(([], []), objects(srv), "files")


def test_ranges(t):
    c = server.Server(t).s3
    c.put("k", DATA)
    size = len(DATA)
    for spec, first, last in (("0-0", 0, 0), ("5-14", 5, 14),
                              ("9990-", 9990, size - 1), ("-7", size - 7,
                              size - 1), ("100-99999999", 100, size - 1),
                              ("-99999999", 0, size - 1)):
        a = c.get("k", headers={"Range": "bytes=" + spec})
        t.equal((206, DATA[first:last + 1],
                 "bytes %d-%d/%d" % (first, last, size)),
                (a.status, a.body, a.headers["content-range"]), spec)
        h = c.request("HEAD", "k", headers={"Range": "bytes=" + spec})
        t.equal((206, str(last + 1 - first)),
                (h.status, h.headers["content-length"]), "head " + spec)
    for spec in ("10000-", "10000-10001", "-0"):
        a = c.get("k", headers={"Range": "bytes=" + spec})
        refused(t, a, 416, "InvalidRange", spec)
        t.equal("bytes */10000", a.headers["content-range"], spec)
    for spec in ("bytes=5-4", "bytes=1-2,5-6", "lines=1-2", "bytes=a-b",
                 "bytes=-", "bytes=99999999999999999999-"):
        refused(t, c.get("k", headers={"Range": spec}), 400,
                "InvalidArgument", spec)


def test_conditions(t):
    c = server.Server(t).s3
    put = c.put("k", b"one", headers={"If-None-Match": "*"})
    t.equal(200, put.status, "put of a new one")
    refused(t, c.put("k", b"two", headers={"If-None-Match": "*"}), 412,
            "PreconditionFailed", "put of one that is there")
    t.equal(b"one", c.get("k").body, "the first one stays")
    # Said when all of the body was read: the connection is used on.
    large = DATA * 40
    headers = c.upload_headers(large)
    sock = c.connect()
    for status in (200, 412, 412):
        sock.sendall(("PUT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (
            c.presign("PUT", "large", headers), c.host, "".join(
                "%s: %s\r\n" % h for h in headers.items()))).encode() + large)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        answer.read()
        t.equal(status, answer.status, "a large one")
    sock.close()
    etag = put.headers["etag"]
    t.equal(304, c.get("k", headers={"If-None-Match": etag}).status, "304")
    t.equal(200, c.get("k", headers={"If-Match": etag}).status, "If-Match")
    refused(t, c.get("k", headers={"If-Match": '"x"'}), 412,
            "PreconditionFailed", "If-Match of another")


def test_presigned(t):
    """A URL is for one method, one object, these headers, and its time."""
    srv = server.Server(t)
    c = srv.s3
    headers = c.upload_headers(DATA)
    url = c.presign("PUT", "f/ab/k", headers)
    t.equal(200, c.send("PUT", url, headers, DATA).status, "upload")
    refused(t, c.send("PUT", url, headers, DATA), 412, "PreconditionFailed",
            "upload again")
    get = c.presign("GET", "f/ab/k")
    t.equal(DATA, c.send("GET", get).body, "download")
    refused(t, c.send("GET", "/sail/f/ab/k"), 403, "AccessDenied", "unsigned")
    refused(t, c.send("PUT", "/sail/x", {"Content-Length": "1"}, b"x"), 403,
            "AccessDenied", "unsigned upload")
    refused(t, c.send("DELETE", get), 403, "SignatureDoesNotMatch",
            "another method")
    refused(t, c.send("GET", get.replace("f/ab/k", "f/ab/l")), 403,
            "SignatureDoesNotMatch", "another key")
    refused(t, c.send("GET", get + "&a=b"), 403, "SignatureDoesNotMatch",
            "another query")
    refused(t, c.send("GET", get.replace("Expires=900", "Expires=901")), 403,
            "SignatureDoesNotMatch", "another time")
    refused(t, c.send("GET", get[:-1] + ("0" if get[-1] != "0" else "1")), 403,
            "SignatureDoesNotMatch", "another signature")
    refused(t, c.send("GET", c.presign("GET", "f/ab/k", expires=604801)), 400,
            "AuthorizationQueryParametersError", "too long a life")
    refused(t, c.send("GET", c.presign("GET", "f/ab/k", expires=1,
                                       offset=-5)), 403, "AccessDenied",
            "expired")
    refused(t, c.send("GET", c.presign("GET", "f/ab/k", offset=960)), 403,
            "RequestTimeTooSkewed", "from the future")
    t.equal(200, c.send("GET", c.presign("GET", "f/ab/k", offset=840)).status,
            "from a clock that is a little fast")
    wrong = s3.S3(c.port, c.access_key, "0" * 64, context=c.context)
    refused(t, wrong.get("f/ab/k"), 403, "SignatureDoesNotMatch",
            "another secret")
    wrong = s3.S3(c.port, "SAIL" + "0" * 20, c.secret,
                  context=c.context)
    refused(t, wrong.get("f/ab/k"), 403, "InvalidAccessKeyId", "another key")
    wrong = s3.S3(c.port, c.access_key, c.secret, context=c.context)
    wrong.host = "elsewhere:1"
    refused(t, c.send("GET", wrong.presign("GET", "f/ab/k")), 403,
            "SignatureDoesNotMatch", "another host")
    refused(t, c.get("f/ab/k", offset=-1000), 403, "RequestTimeTooSkewed",
            "an old header")
    refused(t, c.get("f/ab/k", offset=1000), 403, "RequestTimeTooSkewed",
            "a header from the future")


def test_signed_headers(t):
    """Each header of an upload URL binds: length, hash, checksum, condition."""
    srv = server.Server(t)
    c = srv.s3
    headers = c.upload_headers(DATA)
    url = c.presign("PUT", "k", headers)
    for name in headers:
        if name == "content-length":
            continue
        less = {k: v for k, v in headers.items() if k != name}
        refused(t, c.send("PUT", url, less, DATA), 403, "AccessDenied",
                "without " + name)
    refused(t, c.send("PUT", url, dict(headers, **{"if-none-match": "x"}),
                      DATA), 403, "SignatureDoesNotMatch", "another condition")
    refused(t, c.send("PUT", url, dict(headers, **{"content-length": "5"}),
                      DATA[:5]), 403, "SignatureDoesNotMatch", "another length")
    other = DATA[:-1] + b"x"
    refused(t, c.send("PUT", url, headers, other), 400,
            "XAmzContentSHA256Mismatch", "another body")
    # Only the checksum is wrong.
    bad = dict(headers, **{"x-amz-checksum-sha256": s3.sha256_base64(other)})
    refused(t, c.send("PUT", c.presign("PUT", "k", bad), bad, DATA), 400,
            "BadDigest", "wrong checksum")
    bad = dict(headers, **{"x-amz-checksum-sha256": "AAAA"})
    refused(t, c.send("PUT", c.presign("PUT", "k", bad), bad, DATA), 400,
            "InvalidDigest", "malformed checksum")
    md5 = s3.base64.b64encode(hashlib.md5(other).digest()).decode()
    refused(t, c.put("k", DATA, headers={"Content-MD5": md5}), 400,
            "BadDigest", "wrong MD5")
    refused(t, c.put("k", DATA, payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            501, "NotImplemented", "signed pieces")
    t.equal(([], []), objects(srv), "nothing was stored")
    t.equal(200, c.send("PUT", url, headers, DATA).status, "as signed")


def test_signed_range(t):
    """A URL with a signed Range shows that span and nothing else."""
    c = server.Server(t).s3
    c.put("k", DATA)
    url = c.presign("GET", "k", {"range": "bytes=10-19"})
    a = c.send("GET", url, {"Range": "bytes=10-19"})
    t.equal((206, DATA[10:20]), (a.status, a.body), "as signed")
    refused(t, c.send("GET", url), 403, "AccessDenied", "without")
    refused(t, c.send("GET", url, {"Range": "bytes=10-20"}), 403,
            "SignatureDoesNotMatch", "another")
    refused(t, c.send("GET", url, {"Range": "bytes=10-19,30-39"}), 403,
            "SignatureDoesNotMatch", "two in one")
    for pairs in ([("Range", "bytes=10-19"), ("Range", "bytes=0-9")],
                  [("Range", "bytes=0-9"), ("Range", "bytes=10-19")],
                  [("Range", "bytes=10-19"), ("Range", "bytes=10-19")]):
        refused(t, c.send("GET", url, pairs), 403, "AccessDenied", "two")
    refused(t, c.send("GET", c.presign("GET", "k"), pairs), 400,
            "InvalidArgument", "two that are not signed")


def test_interrupted(t):
    """Half a body stores nothing and leaves nothing."""
    srv = server.Server(t)
    c = srv.s3
    c.put("k", b"old")
    headers = {"content-length": str(len(DATA)),
               "x-amz-content-sha256": s3.sha256(DATA)}
    url = c.presign("PUT", "k", headers)
    head = ("PUT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (url, c.host, "".join(
        "%s: %s\r\n" % h for h in headers.items()))).encode()

    def start(n):
        sock = c.connect()
        sock.sendall(head + DATA[:n])
        t.wait_for(lambda: len(objects(srv)[1]) == 1, "a temporary file")
        return sock

    for n in (0, 1, len(DATA) // 2, len(DATA) - 1):
        start(n).close()
        # A close in the moment in which the file is made is seen when the
        # connection has been silent for too long.
        t.wait_for(lambda: objects(srv)[1] == [], "it is removed", 150)
    t.equal(b"old", c.get("k").body, "the old object")
    t.equal(["k"], objects(srv)[0], "files")
    # Killed in the middle: cleaned at the next start.
    t.expect_deaths = True
    sock = start(100)
    os.kill(srv.roles()["store"], signal.SIGKILL)
    t.wait_for(lambda: objects(srv)[1] == [], "it is removed")
    sock.close()
    t.equal(b"old", c.get("k").body, "the store is back")


def test_expect(t):
    """100-continue comes before the body, and a refusal instead of it."""
    srv = server.Server(t)
    c = srv.s3
    headers = c.upload_headers(DATA)
    url = c.presign("PUT", "k", headers)

    def start():
        sock = c.connect()
        sock.sendall(("PUT %s HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\n"
                      "%s\r\n" % (url, c.host, "".join(
                          "%s: %s\r\n" % h for h in headers.items()))).encode())
        return sock, sock.recv(4096)

    sock, got = start()
    t.true(got.startswith(b"HTTP/1.1 100 "), "continue: %r" % got)
    sock.sendall(DATA)
    t.true(sock.recv(4096).startswith(b"HTTP/1.1 200 "), "then 200")
    sock.close()
    sock, got = start()
    t.true(got.startswith(b"HTTP/1.1 412 "), "there already: %r" % got)
    sock.close()


def test_list(t):
    c = server.Server(t).s3
    t.wait_for(lambda: c.sizes(marks=True), "the mark of the store")
    (mark,) = c.sizes(marks=True)
    c.delete(mark)
    keys = sorted(["a", "a/1", "a/2", "a/b/3", "a0", "b/1", "b/2", "c<&>\"",
                   "d e", "\u00e9", "x" * 250 + "/y"])
    for key in keys:
        t.equal(200, c.put(key, b"x").status, key)
    t.equal((keys, [], None), c.list(), "all")
    t.equal((["a/1", "a/2", "a/b/3"], [], None), c.list(prefix="a/"), "prefix")
    t.equal((["a/1", "a/2"], ["a/b/"], None),
            c.list(prefix="a/", delimiter="/"), "prefix and delimiter")
    t.equal(keys[3:], c.list(start_after=keys[2])[0], "start-after")
    t.equal(([], [], None), c.list(prefix="zz"), "nothing")
    quoted = c.list(encoding_type="url")[0]
    t.equal([s3.quote(k, "/") for k in keys], quoted, "encoding-type")
    for size in (1, 2, 3, 100):
        for delimiter in ("", "/"):
            got, token, query = [], None, {"max_keys": size}
            if delimiter:
                query["delimiter"] = delimiter
            while True:
                page = c.list(**query)
                t.true(len(page[0]) + len(page[1]) <= size, "page size")
                got += page[0] + page[1]
                token = page[2]
                if token is None:
                    break
                query["continuation_token"] = token
            want = keys if not delimiter else sorted(
                {k if "/" not in k else k[:k.index("/") + 1] for k in keys})
            t.equal(want, sorted(got), "pages of %d, %r" % (size, delimiter))
            t.equal(len(want), len(got), "nothing twice")
    for query in ({"list-type": "2", "max-keys": "x"},
                  {"list-type": "2", "continuation-token": "zz"},
                  {"list-type": "2", "unknown": "1"}, {"list-type": "1"}, {}):
        refused(t, c.request("GET", None, query=query), 400,
                "InvalidArgument", "%s" % query)
    t.equal(200, c.request("HEAD", None).status, "head of the bucket")


def test_large(t):
    """64 MiB both ways in bounded memory."""
    srv = server.Server(t)
    c = srv.s3
    data = os.urandom(1 << 20) * 64
    pid = srv.roles()["store"]
    began = time.monotonic()
    t.equal(200, c.put("big", data).status, "put")
    up = time.monotonic() - began
    t.true(c.get("big").body == data, "get")
    print("64 MiB: put %.2f s, get %.2f s" % (
        up, time.monotonic() - began - up))
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        peak = [x for x in f if x.startswith("VmHWM")][0].split()[1]
    t.true(int(peak) < 32 * 1024, "peak of the store: %s KiB" % peak)
