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
from sailtest import role as r
from sailtest.store import Server, sha

CONFIG, CA, RESOLV, HOSTS, END = 200, 201, 202, 203, 204
API, API_RES, HASH, HASH_RES = 210, 211, 212, 213
UPLOAD_FILE, UPLOAD, PROGRESS, UPLOAD_RES = 214, 215, 216, 217
GET, GET_DONE, GET_RES = 218, 219, 220
VERIFY_LIST, VERIFY, VERIFY_RES = 221, 222, 223
URL, URL_RES, CANCEL = 224, 225, 226
ECANCELED, EIO, EBADMSG, ETIMEDOUT, ENOENT = 125, 5, 74, 110, 2
KEY = "sk_" + "5a" * 32
SHIFT = 23
MIB = 1 << 20


def configure(f, url, key, deadline_ms, ca):
    f.parent.send(CONFIG, 0, r.str16(url) + r.str16(key) +
                  struct.pack(">II", 0, deadline_ms))
    f.parent.send(CA, 0, b"", r.memfd(ca))
    f.parent.send(RESOLV, 0, b"", r.memfd(b"nameserver 127.0.0.1\n"))
    f.parent.send(HOSTS, 0, b"", r.memfd(b"127.0.0.1 localhost x.test\n"))
    f.parent.send(END)
    time.sleep(0.05)


def start(t, server=None, deadline_ms=8000, url=None, ca=b""):
    os.makedirs(t.path("void"), exist_ok=True)
    f = r.Role(t, t.repo + "/sailvol-fetch/sailvol-fetch", "fetch", r.FETCH,
               t.path("void"))
    configure(f, url or (server.url if server else ""), KEY, deadline_ms, ca)
    f.ready()
    return f


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
    status, kind, skew = struct.unpack_from(">HBq", m.body)
    return status, kind, skew, m.body[13:].decode(), r.read_fd(m.fd)


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
    for fault in (500, 502, 503, 504, 429, "close", "short"):
        s.faults["api"] = [fault, fault]
        t.equal(200, api(c, 1, 3, "/v1/x", b"{}", retry=1)[0],
                "%s twice" % fault)
    s.faults["api"] = ["close"]
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
    t.equal(503, api(c, 1, 1, "/v1/x", deadline=1500)[0], "only 503")
    t.true(time.monotonic() - began < 2.5, "deadline of retries")
    t.true(f.alive(), "alive")


def test_new_settings(t):
    """A new configuration counts for what is asked after it; a bad one does
    not count."""
    one, two = Server(), Server()
    f = start(t, one)
    c = f.peer(r.MANIFEST)
    t.equal(200, api(c, 1, 1, "/v1/x")[0], "first")
    configure(f, two.url, "sk_other", 8000, b"")
    t.equal(200, api(c, 2, 1, "/v1/x")[0], "second")
    t.equal((1, 1), (one.count("api"), two.count("api")), "who was asked")
    t.equal({("api", "Bearer sk_other")}, two.keys, "key")
    configure(f, "http://10.0.0.1/", "sk_third", 8000, b"")
    t.equal(200, api(c, 3, 1, "/v1/x")[0], "third")
    t.equal({("api", "Bearer sk_other")}, two.keys, "key")
    t.true("settings before stay" in f.logs(), "said")


def test_bad_settings_and_messages(t):
    f = start(t, url="http://10.1.2.3/")
    c = f.peer(r.MANIFEST)
    t.equal(0, api(c, 1, 1, "/v1/x")[0], "plain HTTP is for loopback")
    c.send(URL, 1, b"")
    t.true(c.receive() is None, "manifest may not send URL")
    os.waitpid(f.pid, 0)
    t.true("not allowed" in f.logs(), "said: " + f.logs())
    s = Server()
    f = start(t, s, url="http://localhost:%d" % s.http.server_port)
    c = f.peer(r.MANIFEST)
    t.equal(200, api(c, 1, 1, "/v1/x")[0], "localhost")
    m = f.peer(r.META)
    for url in ("http://93.184.216.34/x", "http://x.test/", "file:///etc/x",
                "http://user@127.0.0.1/", "gopher://127.0.0.1/"):
        m.send(URL, 2, b"\5" + r.str16(url) + b"\0" * 32 +
               struct.pack(">QB", 1, 0))
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


def hash_file(c, number, path, shift=0):
    c.send(HASH, number, struct.pack(">B", shift), os.open(path, os.O_RDONLY))
    m = c.wait(HASH_RES, number, timeout=60)
    error, size, cs, cn, bs, bn, changed = struct.unpack(">IQqIqIB", m.body)
    data = r.read_fd(m.fd)
    if error:
        return error, None
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
        want = []
        for i in range(0, len(content), 8 * MIB):
            b = content[i:i + 8 * MIB]
            want.append(sha(b) if b.strip(b"\0") else None)
        t.equal((len(content), SHIFT, want), got[:3], name)
        verify(t, f, p, got[3], len(content))
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
    c.send(HASH, 9, b"\0", os.open(t.dir, os.O_RDONLY))
    t.true(c.wait(HASH_RES, 9).body[:4] != b"\0\0\0\0", "a directory")


verifier = {}


def verify(t, f, path, flat, size):
    c = verifier.setdefault(f, None) or f.peer(r.CACHE)
    verifier[f] = c

    def ask():
        c.send(VERIFY_LIST, 3, b"", r.memfd(flat))
        c.send(VERIFY, 3, struct.pack(">Q", size), os.open(path, os.O_RDONLY))
        return struct.unpack(">I", c.wait(VERIFY_RES, 3).body)[0]

    t.equal(0, ask(), path + " is good")
    if size == 0:
        return
    with open(path, "r+b") as w:
        w.seek(size // 2)
        b = w.read(1)
        w.seek(size // 2)
        w.write(bytes([b[0] ^ 1]))
    t.equal(EBADMSG, ask(), path + " was changed")
    with open(path, "r+b") as w:
        w.truncate(size - 1)
    t.equal(EBADMSG, ask(), path + " was cut")


def upload(c, number, files, chunks):
    for i, p in enumerate(files):
        c.send(UPLOAD_FILE, number, struct.pack(">I", i),
               os.open(p, os.O_RDONLY))
    data = struct.pack("<I", len(chunks))
    for file, offset, n, d in chunks:
        data += struct.pack("<IQI", file, offset, n) + d
    c.send(UPLOAD, number, r.str16("vol_" + "0" * 32) + r.str16("a" * 32),
           r.memfd(data))
    m = c.wait(UPLOAD_RES, number, timeout=60)
    return struct.unpack_from(">I", m.body)[0], list(r.read_fd(m.fd)), \
        m.body[6:].decode()


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
    s.faults["object PUT"] = [403] * 9
    t.true(upload(c, 6, [r1], [(0, 0, 4, sha(b"xxxx"))])[0] != 0, "only 403")
    t.true(f.alive(), "alive")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def get(c, number, path, chunks, timeout=60):
    body = r.str16("vol_" + "0" * 32) + b"\1" * 32 + r.str16("dir/file") + \
        struct.pack(">BH", SHIFT, len(chunks))
    for slot, b in chunks:
        body += struct.pack(">QI", slot, len(b)) + sha(b)
    c.send(GET, number, body, os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    m = c.wait(GET_RES, number, timeout)
    return struct.unpack_from(">I", m.body)[0], m.body[6:].decode()


def check_file(t, path, chunks):
    with open(path, "rb") as f:
        for slot, b in chunks:
            f.seek(slot << SHIFT)
            t.true(f.read(len(b)) == b, "slot %d" % slot)


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
    t.equal([k for k, _ in chunks], sorted(done), "done")
    s.faults["object GET"] = ["wrong", "short", "close", 500, 503, 403, 404]
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
        with open(t.path("four"), "rb") as four:
            four.seek(8 << SHIFT)
            t.true(not four.read(100).strip(b"\0"), "not a byte of it")
        os.unlink(t.path("four"))
    t.true(good in f.logs() and "dir/file" in f.logs(), "log")
    s.places = {}
    s.faults["object GET"] = ["endless"]
    t.equal((0, ""), get(c, 5, t.path("five"), chunks[4:6]), "endless")
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
    s.faults["object GET"] = ["slow"] * 9
    body = r.str16("vol_" + "0" * 32) + b"\1" * 32 + r.str16("f") + \
        struct.pack(">BHQI", SHIFT, 1, 0, 1000) + sha(b"x" * 1000)
    c.send(GET, 2, body, os.open(t.path("a"), os.O_RDWR))
    time.sleep(0.3)
    c.send(CANCEL, 0, struct.pack(">I", 2))
    m = c.wait(GET_RES, 2, 2)
    t.equal(ECANCELED, struct.unpack_from(">I", m.body)[0], "cancelled")
    # The end of a peer ends its requests, and nothing else.
    c.send(GET, 3, body, os.open(t.path("a"), os.O_RDWR))
    c.close()
    s.http.shutdown()
    s.http.server_close()
    c = f.peer(r.CACHE, 1)
    error, what = get(c, 4, t.path("a"), [(0, b"x" * 1000)])
    t.equal(ETIMEDOUT, error, "nobody there: " + what)
    t.true(f.alive(), "alive")
    t.wait_for(lambda: not files(f), "descriptors to be closed", 10)


def test_url(t):
    s = Server()
    f = start(t, s)
    m = f.peer(r.META)
    b = b"object" * 1000
    s.objects[sha(b)] = b

    def ask(method, name, length, verify=0, digest=sha(b)):
        m.send(URL, 1, struct.pack(">B", method) +
               r.str16(s.url + "/obj/" + name) + digest +
               struct.pack(">QB", length, verify))
        return struct.unpack_from(">HB", m.wait(URL_RES, 1).body)

    name = sha(b).hex()
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
    t.equal(set(), s.keys, "no key")


def test_hostile_messages(t):
    """Any body of any message ends the process by its own decision at worst."""
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print("SEED=%d" % seed)
    rng = random.Random(seed)
    kinds = ((r.MANIFEST, API, 0), (r.MANIFEST, UPLOAD, 1), (r.CACHE, GET, 1),
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
            os.waitpid(f.pid, 0)
            t.true("malformed" in f.logs() or " bytes, not" in f.logs(),
                   "it said why: " + f.logs())
        else:
            f.stop()
