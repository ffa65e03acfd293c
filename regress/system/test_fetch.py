# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvol-fetch brings, sends and hashes what it is asked to, and only good
bytes, whatever the server and the store do."""

import json
import os
import random
import shutil
import struct
import time

import sailtest
from sailtest import role as r, wire
from sailtest.fetch_site import (API, API_RES, CA, CANCEL, EBADMSG, ECANCELED,
                                 EIO, ENOENT, ETIMEDOUT, GET, GET_DONE,
                                 GET_FILE, GET_RES, HASH, HASH_CHUNKS,
                                 HASH_PROGRESS, HASH_RES, HASH_REST, KEY, MIB,
                                 SHIFT, STILL, UPLOAD, UPLOAD_FILE, URL,
                                 URL_RES, VERIFY, VERIFY_RES, check_file,
                                 configure, get, start, unpack, upload)
from sailtest.store import Server, sha


# Which a store means to be asked again, and one of that status that it does not.
PASSING = [(status, "<Error><Code>%s</Code></Error>" % code)
           for status, code in ((409, "ConditionalRequestConflict"),
                                (400, "RequestTimeout"),
                                (409, "OperationAborted"))]
FINAL = (409, "<Error><Code>InvalidBucketState</Code></Error>")


def files(f):
    """What it has open besides its sockets and its own."""
    out = []
    for fd in os.listdir("/proc/%d/fd" % f.pid):
        try:
            link = os.readlink("/proc/%d/fd/%s" % (f.pid, fd))
        except OSError:
            continue
        if not link.startswith(("socket:", "anon_inode:", "pipe:")) and \
                int(fd) > 2:
            out.append(link)
    return out


def api(c, number, method, target, body=None, retry=0, deadline=0,
        limit=MIB, ctype="application/json"):
    c.send(API, number, struct.pack(">BBIQ", method, retry, deadline, limit) +
           r.str16(target) + r.str16(ctype if body is not None else ""),
           r.memfd(body) if body is not None else None)
    m = c.wait(API_RES, number)
    status, kind, _, skew = struct.unpack_from(">HBBq", m.body)
    return status, kind, skew, m.body[14:].decode(), r.read_fd(m.fd)


def test_api(t):
    s = Server()
    f = start(t, s)
    c = f.peer(r.MANIFEST)
    status, kind, skew, what, body = api(c, 1, 3, "/v1/volumes", b'{"a":1}')
    t.equal((200, 1), (status, kind), "answer")
    t.true(abs(skew) < 2500, "skew %d" % skew)
    got = json.loads(body)
    t.equal(("POST", "/v1/volumes", '{"a":1}', "application/json"),
            (got["method"], got["path"], got["body"], got["type"]), "request")
    t.equal({("api", "Bearer " + KEY)}, s.keys, "key")
    t.equal(404, api(c, 2, 1, "/v1/nothing")[0], "404 is an answer")
    big = b"b" * (3 * MIB)
    got = json.loads(api(c, 3, 2, "/v1/put", big, limit=8 * MIB)[4])
    t.equal(("PUT", len(big)), (got["method"], len(got["body"])), "large PUT")
    t.equal(len(big), len(json.loads(
        api(c, 3, 3, "/v1/post", big, limit=8 * MIB)[4])["body"]), "POST")
    t.equal("DELETE", json.loads(api(c, 4, 4, "/v1/x")[4])["method"], "DELETE")
    t.equal(0, api(c, 5, 3, "/v1/post", big, limit=1000)[0], "limit")
    t.equal(0, f.stop(), "status")
    t.true(KEY not in f.logs(), "the key is in the log")


def test_api_faults(t):
    s = Server()
    f = start(t, s)
    c = f.peer(r.MANIFEST)
    for fault in (500, 502, 503, 504, 429, "close", "short", "head"):
        s.faults["api"] = [fault, fault]
        t.equal(200, api(c, 1, 3, "/v1/x", b"{}", retry=1)[0],
                "%s twice" % fault)
    for fault in "close", "head":
        s.faults["api"] = [fault]
        status, _, _, what, body = api(c, 1, 3, "/v1/x", b"{}")
        t.equal((0, None), (status, body), "a lost answer is not repeated")
        t.true(what, "and said")
    s.faults["api"] = [500]
    t.equal(500, api(c, 1, 3, "/v1/x", b"{}")[0], "nor is 500")
    s.faults["api"] = ["redirect", "redirect"]
    s.requests.clear()
    s.faults["api"] = [302]
    t.equal(302, api(c, 1, 1, "/v1/x")[0], "no redirect")
    t.equal(1, len(s.requests), "nothing followed")
    s.faults["api"] = ["endless"]
    t.equal(0, api(c, 1, 1, "/v1/x", limit=100000)[0], "endless")
    s.faults["api"] = ["slow"]
    began = time.monotonic()
    t.equal(0, api(c, 1, 1, "/v1/x", deadline=700)[0], "too slow")
    t.true(time.monotonic() - began < 2.5, "deadline")
    s.faults["api"] = [503] * 100
    began = time.monotonic()
    # 0: the deadline came within a try.
    t.true(api(c, 1, 1, "/v1/x", deadline=1500)[0] in (503, 0), "only 503")
    t.true(time.monotonic() - began < 3, "deadline of retries")
    t.true(f.alive(), "alive")


def test_long_head(t):
    """A head without an end is cut off, and takes no memory; that says nothing
    of the object."""
    s = Server()
    f = start(t, s)
    c = f.peer(r.MANIFEST)
    m = f.peer(r.META)
    b = b"object"
    s.objects[sha(b)] = b
    for fault in "heads", "hints":
        s.faults["api"] = [fault] * 12
        status, _, _, what, _ = api(c, 1, 1, "/v1/x", retry=1)
        t.equal((0, True), (status, "too long" in what), what)
        t.equal(11, len(s.faults["api"]), "tries")
        s.faults["object GET"] = [fault] * 12
        m.send(URL, 1, b"\1" + r.str16(s.url + "/obj/" + sha(b).hex()) +
               sha(b) + struct.pack(">QBI", len(b), 1, 0))
        t.equal((0, 0), struct.unpack_from(">HB", m.wait(URL_RES, 1).body),
                "no answer")
        t.equal(11, len(s.faults["object GET"]), "tries of the object")
    t.true(f.alive(), "alive")


def test_url_cancelled(t):
    """What the server does not want any more is let go, of an object and of a
    pack."""
    s = Server()
    f = start(t, s)
    m = f.peer(r.META)
    b = b"object"
    s.objects[sha(b)] = b
    s.faults["object GET"] = ["hang"] * 40
    ask = b"\1" + r.str16(s.url + "/obj/" + sha(b).hex()) + sha(b) + \
        struct.pack(">QBI", len(b), 1, 0)
    part = struct.pack("<I", 1) + sha(b) + struct.pack("<II", 0, len(b))
    # Of 40 most have no place.
    for i in range(1, 41):
        m.send(URL, i, ask, r.memfd(part) if i % 2 else None)
    t.wait_for(lambda: len(s.requests) == 16, "all places are taken")
    for i in range(1, 41):
        m.send(CANCEL, 0, struct.pack(">I", i))
        t.equal(0, struct.unpack_from(">H", m.wait(URL_RES, i, 5).body)[0],
                "cancelled")
    s.faults["object GET"] = []
    m.send(URL, 41, ask)
    t.equal((200, 1), struct.unpack_from(">HB", m.wait(URL_RES, 41, 5).body),
            "a place for another")


def test_which_request(t):
    """An answer to another request is a lost one, as is one of success that does
    not say to which it is."""
    s = Server()
    f = start(t, s)
    c = f.peer(r.MANIFEST)
    commit = "/v1/volumes/v/sessions/s/commit"
    for i in range(3):
        s.faults["api"] = ["twice"]
        t.equal(200, api(c, 1, 3, "/v1/x", b"first", retry=1)[0], "twice")
        t.wait_for(lambda: s.twice == i + 1, "second answer")
        got = json.loads(api(c, 1, 3, commit, b"next%d" % i, retry=1)[4])
        t.equal("next%d" % i, got["body"], "a commit")
        # The next of the others has it.
        api(c, 1, 3, "/v1/x", b"x", retry=1)
    t.true(("api", commit) in s.requests, "it was asked")
    for fault in "another", "nameless":
        before = len(s.requests)
        s.faults["api"] = [fault]
        t.equal(200, api(c, 1, 1, "/v1/x")[0], fault)
        t.equal(before + 2, len(s.requests), fault)
        s.faults["api"] = [fault]
        status, _, _, what, body = api(c, 1, 3, "/v1/x", b"{}")
        t.equal((0, None), (status, body), fault + ": not to be repeated")
        t.true({"another": "another request",
                "nameless": "no Sail-Request"}[fault] in what, what)
        t.equal(before + 3, len(s.requests), fault)
    # What is between may refuse by itself.
    s.faults["api"] = [(404, "not here", "nameless")]
    t.equal(404, api(c, 1, 1, "/v1/x")[0], "an error of another's")
    s.faults["api"] = [(404, "not here", "another")]
    t.equal(200, api(c, 1, 1, "/v1/x")[0], "an error to another request")
    t.equal(len(s.requests), len({n for _, n in s.numbers}), "one for each try")
    s.chunks[0] = b"chunk"
    s.objects[sha(b"chunk")] = b"chunk"
    t.equal(0, get(f.peer(r.CACHE), 1, t.path("x"), [(0, b"chunk")])[0], "get")
    t.equal({"api", "locate"}, {k for k, _ in s.numbers}, "not the store")


def test_new_settings(t):
    """A new configuration counts for what is asked after it; a bad one does
    not count."""
    one, two = Server(), Server()
    f = start(t, one)
    c = f.peer(r.MANIFEST)
    t.equal(200, api(c, 1, 1, "/v1/x")[0], "first")
    configure(f, two.url, "sk_other", 8000, b"")
    # Answered behind them, on the same channel.
    t.equal(0, hash_file(f.parent, 9, t.write("x", b"x"))[0], "they are there")
    t.equal(200, api(c, 2, 1, "/v1/x")[0], "second")
    t.equal((1, 1), (one.count("api"), two.count("api")), "who was asked")
    t.equal({("api", "Bearer sk_other")}, two.keys, "key")
    configure(f, "http://10.0.0.1/", "sk_third", 8000, b"")
    t.wait_for(lambda: "settings before stay" in f.logs(), "said")
    t.equal(200, api(c, 3, 1, "/v1/x")[0], "third")
    t.equal({("api", "Bearer sk_other")}, two.keys, "key")


def test_bad_settings_and_messages(t):
    f = start(t, url="http://10.1.2.3/")
    c = f.peer(r.MANIFEST)
    t.equal(0, api(c, 1, 1, "/v1/x")[0], "plain HTTP is for loopback")
    c.send(URL, 1, b"")
    t.true(c.receive() is None, "manifest may not send URL")
    f.blames("not allowed")
    f.stop()
    s = Server()
    f = start(t, s, url="http://localhost:%d" % s.http.server_port)
    c = f.peer(r.MANIFEST)
    t.equal(200, api(c, 1, 1, "/v1/x")[0], "localhost")
    m = f.peer(r.META)
    for url in ("http://93.184.216.34/x", "http://x.test/", "file:///etc/x",
                "http://user@127.0.0.1/", "gopher://127.0.0.1/"):
        m.send(URL, 2, b"\5" + r.str16(url) + b"\0" * 32 +
               struct.pack(">QBI", 1, 0, 0))
        t.equal(b"\0\0\0", m.wait(URL_RES, 2).body[:3], url)
    t.true(f.alive(), "alive")


def test_resolver(t):
    """https to a name: resolved by the hosts file, refused by the CA."""
    f = start(t, url="https://x.test:1/")
    c = f.peer(r.MANIFEST)
    status, _, _, what, _ = api(c, 1, 1, "/v1/x", deadline=500)
    t.equal(0, status, "status")
    t.true("connect" in what.lower(), "resolved: " + what)
    f.kill()
    f = start(t, url="https://nowhere.test:1/")
    c = f.peer(r.MANIFEST)
    status, _, _, what, _ = api(c, 1, 1, "/v1/x", deadline=500)
    t.equal(0, status, "status")
    t.true(f.alive(), "alive")


def certificate(t, name, host):
    """A certificate of its own authority; (certificate file, key file)."""
    if not shutil.which("openssl"):
        t.skip("no openssl(1)")
    cert, key = t.path(name + ".pem"), t.path(name + ".key")
    t.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
           "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
           "/CN=" + host, "-addext", "subjectAltName=DNS:" + host,
           "-keyout", key, "-out", cert])
    return cert, key


def test_tls(t):
    tls = certificate(t, "good", "x.test")
    s = Server(tls)
    with open(tls[0], "rb") as f:
        ca = f.read()
    f = start(t, s, ca=ca)
    c = f.peer(r.MANIFEST)
    for _ in range(3):
        t.equal(200, api(c, 1, 1, "/v1/x")[0], "verified")
    g = f.peer(r.CACHE)
    s.chunks = {0: os.urandom(3 * MIB)}
    s.objects[sha(s.chunks[0])] = s.chunks[0]
    t.equal((0, ""), get(g, 2, t.path("f"), [(0, s.chunks[0])]), "object")
    check_file(t, t.path("f"), [(0, s.chunks[0])])
    f.stop()
    with open(certificate(t, "other", "x.test")[0], "rb") as o:
        other = o.read()
    for what, ca2 in (("another authority", other), ("none", b"")):
        f = start(t, s, ca=ca2)
        status, _, _, why, _ = api(f.peer(r.MANIFEST), 1, 1, "/v1/x")
        t.equal(0, status, what + ": " + why)
        f.stop()
    s = Server(certificate(t, "name", "y.test"))
    with open(t.path("name.pem"), "rb") as o:
        f = start(t, s, ca=o.read())
    status, _, _, why, _ = api(f.peer(r.MANIFEST), 1, 1, "/v1/x")
    t.equal(0, status, "another name: " + why)
    t.true("key" not in s.keys and not s.keys, "no key was sent")


def hash_file(c, number, path, shift=0, keep=0):
    c.send(HASH, number, struct.pack(">BB", shift, keep),
           os.open(path, os.O_RDONLY))
    m = c.wait(HASH_RES, number, timeout=60)
    head = ">IQqIqIBBH"
    error, size, cs, cn, _, _, changed, kept, n = struct.unpack_from(
        head, m.body)
    data = m.body[struct.calcsize(head):]
    if error:
        return error, None
    if len(data) != n or (n == 0) != (m.fd is not None):
        return -2, None
    if m.fd is not None:
        data = r.read_fd(m.fd)
    lsize, lshift = struct.unpack_from("<QB", data)
    slots = (size + (1 << lshift) - 1) >> lshift
    at, runs, chunks = 9, [], []
    while sum(n for n, _ in runs) < slots:
        run, = struct.unpack_from("<I", data, at)
        runs.append((run >> 1, run & 1))
        at += 4
    for n, is_hash in runs:
        for _ in range(n):
            chunks.append(data[at:at + 32] if is_hash else None)
            at += 32 if is_hash else 0
    t_ok = at == len(data) and lsize == size and not changed
    t_ok = t_ok and kept == (keep & 1 and 0 < size < MIB and
                             chunks != [None])
    st = os.stat(path)
    t_ok = t_ok and (cs, cn) == divmod(st.st_ctime_ns, 10 ** 9)
    return (0 if t_ok else -1), (size, lshift, chunks, data)


def test_hash(t):
    f = start(t)
    c = f.peer(r.MANIFEST)
    rng = random.Random(1)
    for name, content in (
            ("empty", b""), ("small", b"hello"), ("zeros", b"\0" * 5000),
            ("two", rng.randbytes(9 * MIB)),
            ("hole", b"\0" * (8 * MIB) + b"x" + b"\0" * (20 * MIB)),
            ("late", b"a" * (16 * MIB) + b"\0" * (8 * MIB) + b"b")):
        p = t.write(name, content)
        error, got = hash_file(c, 7, p)
        t.equal(0, error, name)
        t.equal((0, got), hash_file(c, 7, p, keep=1), name + ", kept")
        want = []
        for i in range(0, len(content), 8 * MIB):
            b = content[i:i + 8 * MIB]
            want.append(sha(b) if b.strip(b"\0") else None)
        t.equal((len(content), SHIFT, want), got[:3], name)
    p = t.path("sparse")
    with open(p, "wb") as s:
        s.truncate(1 << 40)
        s.seek(1 << 39)
        s.write(b"x")
    began = time.monotonic()
    error, got = hash_file(c, 8, p)
    t.equal((0, 1 << 40, 26), (error, got[0], got[1]), "sparse")
    t.true(got[2][(1 << 39) >> 26] == sha(b"x" + b"\0" * (64 * MIB - 1)),
           "its chunk")
    t.equal(1, sum(1 for x in got[2] if x), "one")
    t.true(time.monotonic() - began < 10, "holes are not read")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)
    c.send(HASH, 9, b"\0\0", os.open(t.dir, os.O_RDONLY))
    t.true(c.wait(HASH_RES, 9).body[:4] != b"\0\0\0\0", "a directory")


def test_hash_tells(t):
    """What is hashed of a file of several chunks is told before its end: each
    chunk once, in their order, but those that lack and holes."""
    f = start(t)
    c = f.peer(r.MANIFEST)
    rng = random.Random(3)
    parts = [rng.randbytes(8 * MIB) for _ in range(4)] + [b"the end"]
    data = b"".join(parts[:2]) + b"\0" * (8 * MIB) + b"".join(parts[2:])
    p = t.write("f", data)

    def told(number, path, rest=None):
        if rest is not None:
            c.send(HASH_REST, number, b"", r.memfd(rest))
        error, got = hash_file(c, number, path, keep=4)
        t.equal(0, error, "hash")
        found = []
        for m in c.backlog:
            t.equal(number, m.number, "number of the message")
            if m.kind == HASH_PROGRESS:
                continue
            t.equal(HASH_CHUNKS, m.kind, "message")
            size, shift, n = struct.unpack_from(">QBH", m.body)
            t.equal((os.stat(path).st_size, SHIFT), (size, shift), "its file")
            t.equal(11 + 40 * n, len(m.body), "its length")
            found += [(struct.unpack_from(">Q", m.body, 11 + 40 * i)[0],
                       m.body[19 + 40 * i:51 + 40 * i]) for i in range(n)]
        c.backlog.clear()
        return got[2], found

    want = [sha(b) for b in parts]
    chunks, found = told(1, p)
    t.equal(want[:2] + [None] + want[2:], chunks, "the list")
    t.equal(list(zip((0, 1, 3, 4, 5), want)), found, "what was told")
    t.equal((want[4:], []), told(2, t.write("one", parts[4])), "of one chunk")
    os.chmod(p, 0o1600)
    t.equal([0, 1, 4, 5],
            [slot for slot, _ in told(3, p, rest_file(data, {3}))[1]],
            "of a file that is not whole")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def rest_file(data, absent, shift=SHIFT):
    """What lacks of a file with these bytes: lib/rest.h."""
    chunks = [data[i:i + (1 << shift)]
              for i in range(0, len(data), 1 << shift)]
    head = b"SAILREST" + struct.pack("<H", 1) + b"\1" * 32 + \
        struct.pack("<H", 1) + b"f" + struct.pack("<QBI", len(data), shift,
                                                 len(chunks) << 1 | 1) + \
        b"".join(sha(c) for c in chunks)
    return head + struct.pack("<I", crc32c(head)) + \
        bytes(int(i in absent) for i in range(len(chunks)))


def crc32c(data):
    crc = 0xffffffff
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def test_hash_not_whole(t):
    """Of a file that is not whole the chunks that lack are those of before, and
    nobody takes its holes for zeros."""
    f = start(t)
    c = f.peer(r.MANIFEST)
    rng = random.Random(2)
    old = rng.randbytes(3 * 8 * MIB + 77)
    new = bytearray(old)
    new[8 * MIB:8 * MIB + 3] = b"new"
    p = t.path("part")
    with open(p, "wb") as w:
        w.truncate(len(old))
        w.seek(8 * MIB)
        w.write(new[8 * MIB:16 * MIB])
    os.chmod(p, 0o1600)
    want = [sha(bytes(new[i:i + 8 * MIB])) for i in range(0, len(new), 8 * MIB)]

    def ask(number, rest):
        if rest is not None:
            c.send(HASH_REST, number, b"", r.memfd(rest))
        return hash_file(c, number, p)

    error, got = ask(1, rest_file(old, {0, 2, 3}))
    t.equal((0, want), (error, got[2]), "with what lacks")
    t.true(ask(2, None)[0] != 0, "without")
    t.true(ask(3, rest_file(old, {0, 2, 3})[:-1])[0] != 0, "a torn one")
    # It grew, and its last chunk with it, but that lacks.
    os.truncate(p, len(old) + 5)
    t.true(ask(4, rest_file(old, {0, 2, 3}))[0] != 0, "another length")
    error, got = ask(5, rest_file(old, {0, 2}))
    t.equal((0, want[:3] + [None]), (error, got[2]), "zeros at the end")
    # Cut: what lacked behind is nothing.
    os.truncate(p, 16 * MIB)
    error, got = ask(6, rest_file(old, {0, 2, 3}))
    t.equal((0, want[:2]), (error, got[2]), "cut")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def test_verify(t):
    f = start(t)
    c = f.peer(r.CACHE)
    data = random.Random(9).randbytes(300000)

    def ask(path, n, digest):
        c.send(VERIFY, 3, struct.pack(">I", n) + digest,
               os.open(path, os.O_RDONLY))
        return struct.unpack(">I", c.wait(VERIFY_RES, 3).body)[0]

    p = t.write("good", data)
    t.equal(0, ask(p, len(data), sha(data)), "good")
    t.equal(EBADMSG, ask(p, len(data) - 1, sha(data[:-1])), "longer")
    t.equal(EBADMSG, ask(p, len(data) + 1, sha(data + b"\0")), "shorter")
    p = t.write("bad", data[:77] + b"x" + data[78:])
    t.equal(EBADMSG, ask(p, len(data), sha(data)), "other bytes")
    t.equal(EBADMSG, ask(t.dir, 5, sha(data)), "a directory")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def test_upload(t):
    s = Server()
    f = start(t, s)
    c = f.peer(r.MANIFEST)
    rng = random.Random(2)
    small = [rng.randbytes(rng.randrange(1, 9000)) for _ in range(1200)]
    p = t.write("many", b"".join(small))
    chunks, at = [], 0
    for b in small:
        chunks.append((0, at, len(b), sha(b)))
        at += len(b)
    big = rng.randbytes(11 * MIB)
    q = t.write("big", big)
    chunks.append((1, 0, 8 * MIB, sha(big[:8 * MIB])))
    chunks.append((1, 8 * MIB, 3 * MIB, sha(big[8 * MIB:])))
    chunks.append((0, 0, len(small[0]), sha(small[0])))  # twice
    chunks.append((1, 5, 10, sha(b"something else")))    # changed
    chunks.append((1, 5, 3 * MIB, sha(b"large else")))   # changed, large
    s.objects[sha(small[5])] = small[5]
    s.faults["object PUT"] = [403, 503, "close", 500, 403]
    s.faults["chunks"] = [503]
    error, status, what = upload(c, 1, [p, q], chunks)
    t.equal((0, ""), (error, what), "result")
    want = [1] * 1203 + [2, 2]
    want[5] = 0
    got = [1 if w == 1 and g == 0 else g for w, g in zip(want, status)]
    t.equal(want, got, "statuses")
    t.equal(1202, len(s.objects), "objects")
    t.true(all(sha(b) == d for d, b in s.objects.items()), "their bytes")
    t.equal(set(), {k for k, _ in s.keys} - {"chunks"}, "no key to the store")
    n = s.count("object PUT")
    error, status, what = upload(c, 2, [p, q], chunks[:1203])
    t.equal((0, [0] * 1203), (error, status), "again: all there")
    t.equal(n, s.count("object PUT"), "nothing sent")
    t.equal((0, []), upload(c, 3, [], [])[:2], "nothing")
    # The same bytes in another file, when the first has changed.
    r1 = t.write("r1", b"xxxx")
    r2 = t.write("r2", b"yyyy")
    t.equal((0, [2, 1]), upload(c, 4, [r1, r2], [
        (0, 0, 4, sha(b"yyyy")), (1, 0, 4, sha(b"yyyy"))])[:2], "second file")
    s.faults["chunks"] = [404]
    t.equal(ENOENT, upload(c, 5, [r1], [(0, 0, 4, sha(b"xxxx"))])[0], "404")
    # Another sends the same at the same time; one large, one small.
    for i, data in enumerate((rng.randbytes(3 * MIB), b"small")):
        q = t.write("q%d" % i, data)
        s.faults["object PUT"] = list(PASSING)
        t.equal((0, [0], ""), upload(
            c, 7, [q], [(0, 0, len(data), sha(data))]), "errors that pass: it is there")
        t.equal([], s.faults["object PUT"], "all were met")
        t.true(s.objects.pop(sha(data)) == data, "what came")
        s.faults["object PUT"] = [FINAL, FINAL]
        error, _, what = upload(c, 8, [q], [(0, 0, len(data), sha(data))])
        t.true(error != 0 and "409" in what, what)
        t.equal(1, len(s.faults.pop("object PUT")), "tries of another error")
        s.objects.pop(sha(data), None)
    s.faults["object PUT"] = [403] * 9
    t.true(upload(c, 6, [r1], [(0, 0, 4, sha(b"xxxx"))])[0] != 0, "only 403")
    t.true(f.alive(), "alive")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def test_upload_deadline(t):
    """A store that takes the bytes and never answers: that they flow again with
    each try is no progress."""
    s = Server()
    f = start(t, s, deadline_ms=4000)
    c = f.peer(r.MANIFEST)
    # Few: curl's speed is that of some seconds.
    data = os.urandom(500)
    p = t.write("f", data)
    s.faults["object PUT"] = ["hang"] * 99
    began = time.monotonic()
    error, _, what = upload(c, 1, [p], [(0, 0, len(data), sha(data))])
    t.equal(ETIMEDOUT, error, what)
    tries = s.count("object PUT")
    t.true(1 < tries < 4, "%d tries in %.1f s" % (
        tries, time.monotonic() - began))
    # Nor is it where the store refuses them each time.
    s.faults["object PUT"] = ["busy"] * 99
    before, began = s.count("object PUT"), time.monotonic()
    s.objects.clear()
    error, _, what = upload(c, 1, [p], [(0, 0, len(data), sha(data))])
    t.true(error != 0 and "503" in what, what)
    t.true(time.monotonic() - began < 9, "deadline, with words")
    t.true(1 < s.count("object PUT") - before < 5, "tries")
    s.faults.clear()
    t.equal(0, upload(c, 2, [p], [(0, 0, len(data), sha(data))])[0], "later")


def test_upload_from_disk(t):
    """A large chunk whose bytes are not in memory, or only some of them, and
    whose sending begins anew; and one whose file has become shorter."""
    s = Server()
    f = start(t, s)
    c = f.peer(r.MANIFEST)
    big = random.Random(4).randbytes(16 * MIB + 5)
    p = t.write("big", big)
    chunks = [(0, i, len(big[i:i + 8 * MIB]), sha(big[i:i + 8 * MIB]))
              for i in range(0, len(big), 8 * MIB)]
    fd = os.open(p, os.O_RDONLY)
    os.fsync(fd)
    for number, there in enumerate((0, MIB + 4096, 8 * MIB, len(big))):
        s.objects.clear()
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(fd, there, 0)
        s.faults["object PUT"] = [503, "close"] if number % 2 else []
        error, status, _ = upload(c, number, [p], chunks)
        # 0: the answer to the first time was lost.
        t.true(error == 0 and set(status) <= {0, 1},
               "%d bytes in memory: %s" % (there, status))
        t.true(all(s.objects.get(d) == big[i:i + n]
                   for _, i, n, d in chunks), "what came")
    os.close(fd)
    s.objects.clear()
    os.truncate(p, 12 * MIB)
    t.equal((0, [1, 2, 2]), upload(c, 9, [p], chunks)[:2], "shorter")
    t.true(f.alive(), "alive")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def test_get(t):
    s = Server()
    f = start(t, s)
    c = f.peer(r.CACHE)
    rng = random.Random(3)
    s.chunks = {i * 2: rng.randbytes(8 * MIB if i < 4 else 100 + i)
                for i in range(40)}
    for b in s.chunks.values():
        s.objects[sha(b)] = b
    chunks = sorted(s.chunks.items())
    t.equal((0, ""), get(c, 1, t.path("one"), chunks), "plain")
    check_file(t, t.path("one"), chunks)
    t.equal(1, s.count("locate"), "one question")
    done = [struct.unpack(">Q", m.body)[0] for m in c.backlog
            if m.kind == GET_DONE]
    t.equal([0, 2, 4, 6], sorted(done), "done: those with files")
    s.faults["object GET"] = ["wrong", "short", "close", "head", 500, 503,
                              403, 404]
    s.faults["locate"] = [502]
    t.equal((0, ""), get(c, 2, t.path("two"), chunks), "with faults")
    check_file(t, t.path("two"), chunks)
    t.equal(["corrupt", "missing"],
            sorted(x["problem"] for x in s.reports), "reports")
    # A wrong place is reported, and another asked for.
    s.reports.clear()
    good = sha(s.chunks[8]).hex()
    s.places = {8: ["wrong%d" % len(s.chunks[8]), good]}
    t.equal((0, ""), get(c, 3, t.path("three"), chunks), "second place")
    t.equal(1, len(s.reports), "one report")
    check_file(t, t.path("three"), chunks)
    # No good place: EIO, named in the log; the others are there.
    for places in (["wrong9"] * 9, ["f" * 64] * 9, []):
        s.places = {8: list(places)}
        error, what = get(c, 4, t.path("four"), chunks)
        t.equal(EIO, error, what)
        t.true(good in what, "names it: " + what)
        check_file(t, t.path("four"), [x for x in chunks if x[0] != 8])
        t.true(not os.path.exists(t.path("four.8")), "not a byte of it")
    t.true(good in f.logs() and "dir/file" in f.logs(), "log")
    s.places = {}
    s.faults["object GET"] = ["endless"]
    t.equal((0, ""), get(c, 5, t.path("five"), chunks[4:6]), "endless")
    # The same of large ones, whose bytes go to the file as they come.
    for fault in "endless", "wrong", "short":
        s.faults["object GET"] = [fault] * 2
        t.equal((0, ""), get(c, 6, t.path("six"), chunks[:2]), fault)
        check_file(t, t.path("six"), chunks[:2])
    done = len([m for m in c.backlog if m.kind == GET_DONE])
    s.faults["object GET"] = ["wrong"] * 9
    t.equal(EIO, get(c, 7, t.path("seven"), chunks[:1])[0], "only wrong")
    t.equal(done, len([m for m in c.backlog if m.kind == GET_DONE]),
            "what is wrong is not done")
    s.faults["object GET"] = []
    t.equal(set(), {k for k, _ in s.keys} - {"locate", "report"}, "keys")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def test_get_deadline_and_cancel(t):
    s = Server()
    f = start(t, s, deadline_ms=2000)
    c = f.peer(r.CACHE)
    s.chunks = {0: b"x" * 1000}
    s.objects[sha(b"x" * 1000)] = b"x" * 1000
    s.faults["object GET"] = [500] * 99
    began = time.monotonic()
    t.true(get(c, 1, t.path("a"), [(0, b"x" * 1000)])[0] != 0, "only 500")
    t.true(time.monotonic() - began < 6, "deadline")
    # What the store says of it is no byte of the object.
    s.faults["object GET"] = ["busy"] * 99
    before, began = s.count("object GET"), time.monotonic()
    t.true(get(c, 1, t.path("a"), [(0, b"x" * 1000)])[0] != 0, "only busy")
    t.true(time.monotonic() - began < 6, "deadline, with words")
    t.true(s.count("object GET") - before < 3, "tries in two seconds")
    s.faults["object GET"] = ["slow"] * 9
    body = r.str16("vol_" + "0" * 32) + b"\1" * 32 + r.str16("f") + \
        struct.pack(">IHQI", 0, 1, 0, 1000) + sha(b"x" * 1000)
    c.send(GET, 2, body)
    time.sleep(0.3)
    c.send(CANCEL, 0, struct.pack(">I", 2))
    m = c.wait(GET_RES, 2, 2)
    t.equal(ECANCELED, struct.unpack_from(">I", m.body)[0], "cancelled")
    # The end of a peer ends its requests, and nothing else.
    c.send(GET_FILE, 4, struct.pack(">Q", 0),
           os.open(t.dir, os.O_RDONLY))  # and of a question that never comes
    c.send(GET, 3, body)
    c.close()
    s.http.shutdown()
    s.http.server_close()
    c = f.peer(r.CACHE, 1)
    error, what = get(c, 4, t.path("a"), [(0, b"x" * 1000)])
    t.equal(STILL, error, "nobody there: " + what)
    t.true(f.alive(), "alive")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def test_get_files(t):
    """A file is of a chunk that is asked for, and a large chunk has one."""
    large = b"L" * MIB
    head = r.str16("vol_" + "0" * 32) + b"\1" * 32 + r.str16("f")
    one = head + struct.pack(">IHQI", 0, 1, 0, MIB) + sha(large)

    def ends(what, *messages):
        f = start(t)
        c = f.peer(r.CACHE)
        for kind, body in messages:
            c.send(kind, 1, body, os.open("/dev/null", os.O_RDWR)
                   if kind == GET_FILE else None)
        t.true(c.receive() is None, what)
        f.blames("malformed")
        f.stop()

    ends("no file", (GET, one))
    ends("of another slot", (GET_FILE, struct.pack(">Q", 1)), (GET, one))
    ends("two", (GET_FILE, bytes(8)), (GET_FILE, bytes(8)), (GET, one))
    ends("too many", *[(GET_FILE, struct.pack(">Q", i))
                       for i in range(2049)])


def test_given_up(t):
    """Files that came for a question which is given up before it is put are let
    go, however often, and its number may be used again."""
    f = start(t)
    m, c = f.peer(r.MANIFEST), f.peer(r.CACHE)

    def send(peer, kind, number, body, count=1):
        for i in range(count):
            peer.send(kind, number, body(i), os.open(t.dir, os.O_RDONLY))

    def cancel(peer, number):
        peer.send(CANCEL, 0, struct.pack(">I", number))

    for _ in range(12):
        send(m, UPLOAD_FILE, 1, lambda i: struct.pack(">I", i), 200)
        cancel(m, 1)
        send(c, GET_FILE, 1, lambda i: struct.pack(">Q", i), 200)
        cancel(c, 1)
        send(m, HASH_REST, 2, lambda i: b"")
        cancel(m, 2)
    # Of others nothing goes.
    send(m, UPLOAD_FILE, 3, lambda i: struct.pack(">I", i))
    send(c, GET_FILE, 3, lambda i: struct.pack(">Q", i))
    send(m, HASH_REST, 4, lambda i: b"")
    cancel(m, 5)
    cancel(c, 1)
    p = t.path("f")
    with open(p, "wb") as w:
        w.write(b"data")
    t.equal((0, [sha(b"data")]), (lambda a, b: (a, b[2]))(*hash_file(m, 2, p)),
            "the number again")
    t.wait_for(lambda: len(files(f)) == 3, "descriptors to be closed", 10)
    t.true(f.alive(), "alive")


def test_url(t):
    s = Server()
    f = start(t, s)
    m = f.peer(r.META)
    b = b"object" * 1000
    s.objects[sha(b)] = b

    def ask(method, name, length, verify=0, digest=sha(b), deadline=0):
        m.send(URL, 1, struct.pack(">B", method) +
               r.str16(s.url + "/obj/" + name) + digest +
               struct.pack(">QBI", length, verify, deadline))
        return struct.unpack_from(">HB", m.wait(URL_RES, 1).body)

    def parts(name, length, *want):
        """What is said of each part: 1 when that hash lies there."""
        data = struct.pack("<I", len(want)) + b"".join(
            d + struct.pack("<II", at, n) for d, at, n in want)
        m.send(URL, 1, b"\1" + r.str16(s.url + "/obj/" + name) + sha(b) +
               struct.pack(">QBI", length, 1, 0), r.memfd(data))
        got = m.wait(URL_RES, 1)
        return struct.unpack_from(">HB", got.body), r.read_fd(got.fd)

    name = sha(b).hex()
    one, two = (sha(b[:10]), 0, 10), (sha(b[10:]), 10, len(b) - 10)
    t.equal(((200, 1), b"\1\1"), parts(name, len(b), one, two), "a pack")
    t.equal(((200, 1), b"\0\1"), parts(name, len(b), (sha(b"x"), 0, 10), two),
            "a pack, one part is another")
    t.equal(((200, 0), b"\1"), parts(name, len(b) + 1, one), "too short")
    t.equal(((200, 0), b"\1"), parts(name, len(b) - 1, one), "too long")
    t.equal(((404, 0), None), parts("f" * 64, len(b), one), "a pack, none")
    t.equal((200, 1), ask(5, name, len(b)), "HEAD")
    t.equal((200, 0), ask(5, name, len(b) + 1), "HEAD, other length")
    t.equal((404, 0), ask(5, "f" * 64, len(b)), "HEAD, none")
    t.equal((200, 1), ask(1, name, len(b), 1), "GET")
    t.equal((200, 0), ask(1, name, len(b), 1, sha(b"x")), "GET, other hash")
    t.equal((200, 0), ask(1, name, len(b) - 1, 1), "GET, longer")
    s.faults["object GET"] = ["short", 500, "wrong"]
    t.equal((200, 0), ask(1, name, len(b), 1), "GET, wrong at last")
    s.faults["object HEAD"] = [503]
    t.equal((200, 1), ask(5, name, len(b)), "HEAD after 503")
    t.equal((204, 0), ask(4, name, len(b)), "DELETE")
    t.equal({}, s.objects, "gone")
    t.equal(200, ask(2, sha(b"").hex(), 0)[0], "PUT of nothing")
    t.equal({sha(b""): b""}, s.objects, "an empty one")
    s.faults["object GET"] = [503] * 100
    began = time.monotonic()
    t.equal(503, ask(1, name, 0, deadline=1000)[0], "GET, in a second")
    # Without it the tries would go on for eight.
    t.true(time.monotonic() - began < 6, "its end came late")
    t.equal(set(), s.keys, "no key")


def test_which_object(t):
    """An answer of the store that comes twice is not taken for that to the next
    question: no object is there by it, none is wrong, whatever comes between."""
    s = Server()
    f = start(t, s)
    m = f.peer(r.META)
    here = [b"%d" % i * 1000 for i in range(3)]
    for b in here:
        s.objects[sha(b)] = b
    one, two, _ = here
    none = b"none" * 250

    def ask(method, b, part=False):
        data = struct.pack("<I", 1) + sha(b[:10]) + struct.pack("<II", 0, 10)
        m.send(URL, 1, struct.pack(">B", method) +
               r.str16(s.url + "/obj/" + sha(b).hex()) + sha(b) +
               struct.pack(">QBI", len(b), method == 1, 0),
               r.memfd(data) if part else None)
        return struct.unpack_from(">HB", m.wait(URL_RES, 1).body)

    def twice(method, b, status, *args):
        s.faults["object " + {1: "GET", 5: "HEAD", 4: "DELETE"}[method]] = [
            "twice"]
        t.equal(status, ask(method, b, *args)[0], "twice")

    for _ in range(3):
        before = s.twice
        twice(5, one, 200)
        t.equal((404, 0), ask(5, none), "HEAD of none behind HEAD")
        twice(5, none, 404)
        t.equal((200, 1), ask(5, one), "HEAD behind 404")
        t.equal((404, 0), ask(5, none), "HEAD of none behind that")
        twice(1, one, 200)
        t.equal((404, 0), ask(5, none), "HEAD of none behind GET")
        twice(1, one, 200)
        t.equal((200, 1), ask(1, two), "GET behind GET")
        twice(1, one, 200, True)
        t.equal((404, 0), ask(5, none), "HEAD of none behind GET of a pack")
        twice(5, one, 200)
        t.equal((200, 1), ask(1, two, True), "GET of a pack behind HEAD")
        s.objects[sha(b"x")] = b"x"
        twice(4, b"x", 204)
        ask(5, two)
        t.equal((404, 0), ask(5, none), "HEAD of none behind DELETE")
        t.wait_for(lambda n=before: s.twice == n + 7, "second answers")
    # All of that is rare: a connection is used again.
    before = s.connections
    for _ in range(20):
        for b in here:
            t.equal((200, 1), ask(5, b), "HEAD")
    t.true(s.connections - before < 3, "connections")


def test_url_error(t):
    """What the store says of an error is told: its code, and where the bucket
    is; and nothing that is neither."""
    s = Server()
    f = start(t, s)
    m = f.peer(r.META)
    url = s.url + "/obj/" + "f" * 64

    def told(body):
        s.faults["object GET"] = [body]
        m.send(URL, 1, b"\1" + r.str16(url) + b"\0" * 32 +
               struct.pack(">QBI", 0, 0, 0))
        body, out = m.wait(URL_RES, 1).body[20:], []
        while body:
            n, = struct.unpack_from(">H", body)
            out.append(body[2:2 + n].decode())
            body = body[2 + n:]
        return out[1:]
    error = "<Error><Code>%s</Code>%s</Error>"
    t.equal(["NoSuchKey", ""], told((404, error % ("NoSuchKey", ""))), "none")
    t.equal(["AuthorizationHeaderMalformed", "eu-west-1"], told((
        400, error % ("AuthorizationHeaderMalformed",
                      "<Region>eu-west-1</Region>"))), "a region")
    t.equal(["PermanentRedirect", "b.s3.example"], told((
        301, error % ("PermanentRedirect",
                      "<Endpoint>b.s3.example</Endpoint>"))), "an endpoint")
    t.equal(["", ""], told((400, error % ("a b", "<Region>%s</Region>" % (
        "x" * 65)))), "neither")


def test_packs(t):
    """Small chunks go up in packs of at most 8 MiB, in the order of the list,
    each with random bytes behind them; what has changed is left out, what was
    kept by HASH needs no file."""
    s = Server()
    s.packing = True
    f = start(t, s)
    c = f.peer(r.MANIFEST)
    rng = random.Random(3)
    small = [rng.randbytes(rng.randrange(1, 200000)) for _ in range(150)]
    p = t.write("many", b"".join(small))
    chunks, at = [], 0
    for b in small:
        chunks.append((0, at, len(b), sha(b)))
        at += len(b)
    chunks.insert(70, (0, 3, 5000, sha(b"another")))
    big = rng.randbytes(MIB)
    chunks.append((1, 0, MIB, sha(big)))
    s.faults["object PUT"] = [403, 503, "close"]
    s.faults["packs"] = [503, "close"]
    error, status, what = upload(c, 1, [p, t.write("big", big)], chunks)
    t.equal((0, ""), (error, what), "result")
    t.equal([1] * 70 + [2] + [1] * 81, [1 if x == 0 else x for x in status],
            "statuses")
    t.true(s.objects.pop(sha(big)) == big, "a large one is an object")
    t.equal((len(small) * 100000 >> 23) + 1, len(s.objects), "packs")
    t.true(all(len(b) <= 8 * MIB for b in s.objects.values()), "sizes")
    t.true(b"".join(small) == b"".join(
        s.objects[d][:-wire.TAIL] for d in sorted(s.objects, key=lambda d: next(
            i for i, k in enumerate(chunks) if k[3] == s.packs[d][0]))),
           "their order")
    t.equal(len(s.objects), len({b[-wire.TAIL:] for b in s.objects.values()}),
            "ends that are different")
    n = s.count("object PUT")
    chunks.pop(70)
    t.equal((0, [0] * 150), upload(c, 2, [p], chunks[:150])[:2], "again")
    t.equal(n, s.count("object PUT"), "nothing sent")

    data = b"x" * 1000
    q = t.write("x", data)
    s.faults["object PUT"] = list(PASSING)
    t.equal((0, [0], ""), upload(c, 6, [q], [(0, 0, 1000, sha(data))]),
            "errors that pass: it is there")
    t.equal([], s.faults["object PUT"], "all were met")
    s.objects.pop(sha(data))

    # Kept: no file goes with the upload; twice: it has to be read again.
    kept = [t.write("k%d" % i, b"kept %d" % i) for i in range(3)]
    for i, name in enumerate(kept):
        t.equal(0, hash_file(c, 10 + i, name, keep=1)[0], "kept")
    lost = sha(b"never hashed")
    chunks = [(0xffffffff, 0, 6, sha(b"kept %d" % i)) for i in range(3)]
    t.equal((0, [1, 1, 1, 4]), upload(
        c, 3, [], chunks + [(0xffffffff, 0, 12, lost)])[:2], "kept")
    t.equal([b"kept 0kept 1kept 2"], [
        b[:-wire.TAIL] for b in s.objects.values() if b[:4] == b"kept"],
            "in one object")
    s.packs.clear()
    t.equal((0, [4, 4, 4]), upload(c, 4, [], chunks)[:2], "not any more")
    # An upload that fails takes nothing away.
    hash_file(c, 10, kept[0], keep=1)
    s.faults["packs"] = [404]
    t.equal(ENOENT, upload(c, 5, [], chunks[:1])[0], "fails")
    t.equal((0, [1]), upload(c, 5, [], chunks[:1])[:2], "again")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)
    t.true(f.alive(), "alive")


def test_hostile_messages(t):
    """Any body of any message ends the channel at worst."""
    rng = random.Random(t.seed())
    kinds = ((r.MANIFEST, API, 0), (r.MANIFEST, UPLOAD, 1), (r.CACHE, GET, 0),
             (r.META, URL, 0), (r.CACHE, VERIFY, 1), (r.MANIFEST, HASH, 1))
    for i in range(24):
        f = start(t)
        peer, kind, fd = kinds[i % len(kinds)]
        c = f.peer(peer)
        body = rng.randbytes(rng.choice((0, 1, 4, 18, 39, 45, 60, 300)))
        c.send(kind, 1, body, r.memfd(rng.randbytes(64)) if fd else None)
        try:
            ended = c.receive(2) is None
        except sailtest.Failure:
            ended = False
        if ended:
            f.blames("malformed", " bytes, not")
        f.stop()
