# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What the fuzzers begin with: good inputs, always the same, made by encoders
that are not the programs' own; and words that they may put together."""

import hashlib
import json
import os
import re
import struct

from sailtest import liar, wire

REPO = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
HASH, OTHER = b"\1" * 32, b"\2" * 32
SESSION = "0123456789abcdef0123456789abcdef"
# Flags and numbers of role.h.
FIT, ASKED, FD, LATER = 1, 2, 4, 16


def bytes16(data):
    return struct.pack("<H", len(data)) + data


def be16(data):
    return struct.pack(">H", len(data)) + data


def read(path):
    with open(os.path.join(REPO, path), "rb") as f:
        return f.read()


def sha(data):
    return hashlib.sha256(data).digest()


# ---- nodes, commits, bodies -------------------------------------------------

class Nodes(liar.Liar):
    """Encodes as the liar does, and serves nobody."""

    # pylint: disable=super-init-not-called
    def __init__(self, names):
        self.drop, self.url = set(), "http://127.0.0.1:9000"
        self.show(names)


def volume():
    return Nodes([(b"a", liar.File(b"one")),
                  (b"d", liar.Dir([(b"e", liar.Link(b"../a")),
                                   (b"f", liar.File(None, 20 << 20))])),
                  (b"x", liar.Dir(leaves=[[(b"1", liar.File(b"1"))],
                                          [(b"2", liar.File(b""))]]))])


def entries():
    """With nothing before them."""
    v = volume()
    return [e.encode(v) for e in (
        liar.File(b"one"), liar.File(None, 20 << 20), liar.File(b""),
        liar.Link(b"target"), liar.Dir([(b"n", liar.File(b"2"))]))]


def xattrs():
    pairs = [(b"user.a", b"1"), (b"user.b", b"")]
    return struct.pack("<I", len(pairs)) + b"".join(
        bytes16(n) + struct.pack("<I", len(v)) + v for n, v in pairs)


def formats():
    v = volume()
    out = [b"\0" + n for n in v.nodes.values()] + [b"\1" + v.commit]
    out.append(b"\2" + struct.pack("<HQQ", 1, 0, 0))
    out += [b"\3" + e for e in entries()]
    out += [b"\4" + xattrs()]
    out.append(b"\5" + struct.pack("<QB", 9 << 20, 23) + struct.pack(
        "<II", 1, 5) + HASH + OTHER)
    return out + [b"\6" + s for s in (wire.NOTHING, wire.SEEN_DIR,
                                      wire.seen_file())]


def deltas():
    pairs = [(HASH, 100)]
    return [
        wire.delta([]),
        wire.delta([wire.op(wire.PUT, b"a", wire.regular(pairs))], [HASH]),
        wire.delta([wire.op(wire.DELETE, b"a", seen=wire.seen_file()),
                    wire.op(wire.PUT, b"d/l", wire.symlink(b"x"))],
                   [HASH], [(b"d", wire.directory())]),
        wire.delta([wire.op(wire.PUT, b"m", wire.directory(),
                            ref=wire.tree(0, b"d")),
                    wire.op(wire.TREE, b"d", seen=wire.SEEN_DIR,
                            old=wire.tree(0, b"d"))], [HASH, OTHER]),
        wire.delta([wire.op(wire.ATTR, b"a", wire.directory())], [HASH])]


def bodies():
    v = volume()
    url = b"http://127.0.0.1:9000/sail/x"
    return [b"\0" + wire.nodes(HASH, b"d/e", b"f", OTHER),
            b"\1" + v.bundle(),
            b"\2" + wire.chunks([(HASH, 3), (OTHER, 100)]),
            b"\3" + wire.body(4) + struct.pack("<I", 3) + b"\0\2\1" + HASH +
            bytes16(url) + bytes16(b"x-amz-a: b\n"),
            b"\4" + wire.pack(HASH, 103, [(HASH, 3), (OTHER, 100)]),
            b"\5" + wire.locate(HASH, b"d/g", (0, 5), 65536),
            b"\6" + v.locate()]


# ---- messages between roles -------------------------------------------------

def message(which, body=b"", flags=0, number=0, content=None, kind=0):
    """content: what a descriptor has."""
    return bytes((which, flags, number)) + bytes16(body) + (
        b"" if content is None else bytes((kind,)) + bytes16(content))


def each_rule(count):
    """All at once, and one by one, of the least length."""
    return [message(i, flags=f) + bytes(8) for i in range(count)
            for f in (FIT, FIT | ASKED | FD)] + [
                b"".join(message(i, flags=FIT) for i in range(count))]


def wants(n=1):
    return HASH + be16(b"d/f") + bytes((23,)) + struct.pack(
        ">H", n) + b"".join(struct.pack(">QI", i, 3) + sha(b"one")
                            for i in range(n))


def cache_messages():
    get, put, cancel, done, bundle, res, verify = range(7)
    one = struct.pack(">H", 1) + struct.pack(">QI", 0, 3) + sha(b"one")
    # As many as may be asked for, and one more.
    return each_rule(7) + [
        message(get, wants(64), number=1), message(get, wants(65), number=1),
        message(get, wants(), number=1) + message(
            res, struct.pack(">I", 0) + be16(b""), ASKED),
        message(get, wants(2), number=1) + message(
            done, struct.pack(">Q", 0), ASKED) + message(
                res, struct.pack(">I", 5) + be16(b"gone"), ASKED),
        message(get, wants(), number=1) + message(
            bundle, one, ASKED, content=b"one") + message(
                res, struct.pack(">I", 0) + be16(b""), ASKED) + message(
                    get, wants(), number=2),
        message(put, wants(), number=3, content=b"one", kind=1) + message(
            verify, struct.pack(">I", 0), ASKED),
        message(get, wants(), number=1) + message(
            cancel, struct.pack(">I", 1))]


def record(kind, rest, unique=4):
    return bytes16(bytes((kind,)) + struct.pack("<Qi", unique, 0) + rest)


def records():
    """Of a journal, without lengths and sums."""
    entry = b"\1" + struct.pack("<Q", 0) + struct.pack("<I", 0)
    plain = entry + liar.File(b"").encode(Nodes([]))
    return [record(k, rest) for k in range(1, 20) for rest in (
        struct.pack("<Q", 2), struct.pack("<Q", 1) + bytes16(b"n"),
        struct.pack("<Q", 1) + bytes16(b"n") + struct.pack("<Q", 2) + plain,
        struct.pack("<Q", 1) + bytes16(b"b") + struct.pack("<qI", 1, 0))]


def manifest_messages():
    (segment, hello, _, _, _, load, obj, _, sync, _, opened, _, _, _, ctl,
     closed) = range(16)
    api_res = 17
    say = struct.pack(">QIIQ", 1, 0, 0, 0)
    lines = [json.dumps(r).encode() for r in requests()]
    begin = message(segment, struct.pack(">Q", 0), content=b"".join(
        records()[:12]))
    return [b"\1" + m for m in each_rule(23)] + [
        b"\0" + begin + message(hello, b"fuzzed mount id\0" + struct.pack(
            ">QB", 0, 1)),
        b"\0" + message(hello, b"fuzzed mount id\0" + struct.pack(
            ">QB", 100, 1)),
        b"\1" + message(load, struct.pack(">QQB", 0, 1, 0) + bytes(32) + be16(
            b"") + be16(b"") + struct.pack(">IB", 0, 0)),
        b"\1" + message(obj, struct.pack(">QQ", 0, 1))] + [
            b"\1" + message(ctl, say, content=line) + message(
                sync, struct.pack(">Q", 0), ASKED) + message(
                    opened, struct.pack(">IB", 0, 0), ASKED | FD,
                    content=b"x") + message(
                        api_res, bytes(14), ASKED | FD, content=b"{}") +
            message(closed, struct.pack(">Q", 1)) for line in lines]


def fuse_messages():
    lookup = b"\xe0\0\0" + bytes16(b"b")
    item = be16(b"")
    return [lookup, lookup + b"\xe0\2\0" + bytes16(b"") + b"\xe0\3\0" + bytes16(
        b"")] + [lookup + m for m in each_rule(18)] + [
            b"\xe0\x08\0" + bytes16(b"new") + b"\xe0\x09\0" + bytes16(
                b"content") + message(6, flags=FIT) + message(5, flags=FIT),
            lookup + message(2, struct.pack(">IB", 0, 1) + item, ASKED)]


def fetch_messages():
    name = b"Sail-Request: 0123456789abcdef\r\n"
    answers = [
        b"HTTP/1.1 200 OK\r\n" + name + b"Content-Length: 2\r\nContent-Type: "
        b"application/json\r\nDate: Sun, 29 Nov 2026 17:00:00 GMT\r\n\r\n{}",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + name + (
            b"\r\n2\r\n{}\r\n0\r\n\r\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"]
    files = [message(1, content=b"nameserver 127.0.0.1\nsearch a.b\noptions "
                     b"ndots:2 timeout:1\n"),
             message(2, content=b"127.0.0.1 localhost\n::1 ip6 # x\n")]
    end = message(3, flags=FIT)
    settings = message(0, be16(b"http://127.0.0.1:1") + be16(
        b"sk_1") + struct.pack(">IIQ", 1, 100, 0))
    return [b"\xe0" + bytes16(a) for a in answers] + [
        settings + "".encode().join(files) + end] + files + each_rule(21)


def listings():
    head = (b'<?xml version="1.0"?><ListBucketResult xmlns="x"><IsTruncated>true'
            b"</IsTruncated>")
    key = (b"<Contents><Key>%s</Key><Size>1</Size><LastModified>2026-11-29T17:00"
           b":00.000Z</LastModified></Contents>")
    end = b"<EncodingType>url</EncodingType></ListBucketResult>"
    page = b"\1" + struct.pack("<H", 2) + b"".join(
        bytes16(k) + struct.pack("<Qq", 5, 1) for k in (b"a", b"b"))
    return [b"\0" + head + key % b"a" + key % b"b%2F+" + end, b"\1" + page,
            b"\0<!DOCTYPE x [<!ENTITY e 'e'>]>" + head + key % b"&e;" + end]


def sign_messages():
    base = b"\1" + be16(b"http://127.0.0.1:9000")
    one = base + be16(b"x/y") + be16(b"") + be16(
        b"range:bytes=0-1\n") + struct.pack(">Ii", 900, 0)
    page, acl = (base + be16(b"") + be16(q) + be16(b"") + struct.pack(
        ">Ii", 900, 0) for q in (b"list-type=2&start-after=a%20", b"acl="))
    # Nothing to sign was an offset from no memory.
    return [message(0, struct.pack(">H", 0)),
            message(0, struct.pack(">H", 1) + one),
            message(0, struct.pack(">H", 2) + one + page),
            message(0, struct.pack(">H", 1) + acl)]


def notify_messages():
    tell = b"\1" + struct.pack("<Q", 1) + bytes16(b"name") + b"\2" + struct.pack(
        "<Q", 2) + bytes16(b"") + b"\3" + struct.pack("<Q", 1) + bytes16(b"")
    return [message(0, content=tell), message(0, content=b"")]


def metrics_messages():
    parent = struct.pack("<QI", 1, 1) + struct.pack("<BIBI", 3, 0, 1, 1) + (
        struct.pack("<I", 0))
    return [message(0, content=parent) + message(
        1, content=struct.pack("<I", 0)) + message(2, flags=FIT) + message(
            3, flags=FIT)]


# ---- children to their parent (parent.h) ------------------------------------

READY, LOG, BLAME = range(3)


def child(which, rule, body=b"", flags=0, number=0, content=None):
    return bytes((which,)) + message(rule, body, flags, number, content)


def dies(which, how):
    return bytes((0xe0, which, how))


def its_time(which):
    return bytes((0xe1, which))


def own_words(which):
    """What every child may say, and its end, and its next life."""
    return [child(which, READY, b"none"), child(which, LOG, b"\3line\n\x1b["),
            child(which, BLAME), bytes((0xe2, which, 0)) * 8] + [
                dies(which, how) + its_time(which) + dies(which, how) +
                its_time(which) for how in range(6)]


def parent_request(verb, uid, path, flags=0, ids=(0, 0), at_end=0):
    # warrant_check() of sailvold_parent.c takes the uid from the ticket.
    return struct.pack(">BI28sIB", verb, uid, b"", 0, 0) + struct.pack(
        ">I16sII", 0, b"", flags, uid) + be16(b"v") + be16(b"") + be16(
            path) + bytes(33) + struct.pack(">IIIBQ", *ids, 0, at_end, 0)


def sailvold_parent():
    manifest, cache, fetch, _, metrics, fuse, notify = range(7)
    (mount_res, start_res, last_res, ends_res, dirty_res, do, start_notify,
     status, numbers) = range(3, 12)

    def asks(*args):
        return child(manifest, do, parent_request(*args), content=b"")
    backing, backing_close = 3, 4
    mount, umount, forget, restart = range(1, 5)
    ended = b"\xe4\xff"
    no = struct.pack(">I", 5) + be16(b"no")
    rest = [
        child(manifest, mount_res, no + be16(b""), 0, 1),
        child(manifest, mount_res, bytes(6) + be16(b"a/b"), 0, 1),
        child(manifest, start_res, no, 0, 1) + child(
            manifest, start_res, bytes(6), 0, 1),
        child(manifest, dirty_res, struct.pack(">IB", 1, 1)),
        child(manifest, start_notify, struct.pack(">I", 1)) * 2 + dies(
            notify, 0),
        child(manifest, status) * 3 + child(cache, 3, bytes(40)),
        child(metrics, 3) + child(manifest, numbers, content=b"x", number=1) +
        child(cache, 3, bytes(40), number=1) + child(
            fetch, 3, flags=FIT, number=1),
        child(fuse, backing, struct.pack(">HQQQ", 3, 2, 3, 4)) + child(
            fuse, backing_close, struct.pack(">HQQ", 2, 2, 9)),
        child(fuse, backing, struct.pack(">HQ", 1, 2)) + dies(fuse, 2),
        dies(fuse, 0), dies(fuse, 3) * 4,
        ended + child(manifest, last_res) + child(manifest, ends_res),
        ended + dies(manifest, 2), child(manifest, last_res) + child(
            manifest, ends_res),
        asks(umount, 0, b"/mnt/conf"),
        b"\xe4\x10" + asks(umount, 0, b"/mnt/conf") + b"\xe4\0\xe4\xfe",
        asks(restart, 0, b"")]
    rest += [asks(v, uid, b"/mnt//n", f, ids, e) +
             child(manifest, mount_res, struct.pack(">IH", 0, 0) + be16(b"w"),
                   0, 2) + child(manifest, start_res, bytes(6), 0, 2)
             for v, uid, f, ids, e in (
                 (mount, 0, 0xdf, (0, 0), 0), (mount, 7, 0xdd, (0, 0), 0),
                 (mount, 7, 1, (0, 0), 1), (mount, 7, 0, (100000, 10), 0),
                 (mount, 0, 0, (100000, 10), 1), (forget, 0, 0, (0, 0), 0))]
    return [bytes((first,)) + r for r in rest for first in (3, 0)] + [
        b"\3" + w for which in range(6) for w in own_words(which)]


def sailapid_parent():
    refuse = b"".join(child(which, 3) for which in (2, 3))
    again = b"".join(b"\xe4" + bytes((what,)) for what in range(4))
    return [bytes((first,)) + r for first in (0, 1, 2, 3, 6) for r in (
        refuse, dies(2, 2) + dies(3, 2) + refuse, again + its_time(4))] + [
            b"\2" + w for which in range(6) for w in own_words(which)]


def tls_clients():
    def do(what, which, *rest):
        return b"\xe0" + bytes((what, which)) + b"".join(rest)
    shaken = do(0, 0) + do(2, 0) * 4
    sent = shaken + do(4, 0, bytes16(b"GET / HTTP/1.1\r\n\r\n"))
    spoiled = [do(0, 0) + do(2, 0) * n + do(
        3, 0, struct.pack("<HB", at, 255)) + do(2, 0) * 2
               for n in range(3) for at in (0, 3, 9, 43)]
    old = b"\x16\x03\x01\0\x2e\1\0\0\x2a\3\3" + bytes(40)
    return spoiled + [
        sent, sent + do(6, 0, bytes16(b"answer")) + do(7, 0, b"\1"),
        sent + do(7, 0, b"\3") + do(2, 0), sent + do(5, 0, b"\1"),
        sent + do(5, 0, b"\2") + do(6, 0, bytes16(b"late")),
        sent + do(5, 0, b"\3") + do(7, 0, b"\0"),
        do(0, 1) + do(2, 1) * 4 + do(4, 1, bytes16(bytes(20000))) * 3,
        shaken + do(1, 0, bytes16(b"\x17\3\3\0\1x")),
        do(0, 0) + do(1, 0, bytes16(b"GET / HTTP/1.1\r\n\r\n")),
        do(0, 0) + do(1, 0, bytes16(old)) + do(5, 0, b"\0"),
        do(0, 0) + do(1, 0, bytes16(old[:7])) + do(5, 0, b"\2"),
        b"".join(do(0, n) for n in range(12)) + do(2, 3) * 4,
        shaken + b"\xf1" + do(8, 0, b"\x64", bytes16(b"x")) + do(0, 2),
        do(8, 3, b"\x85", bytes16(bytes(19))), b"\xf1\xf2" + sent]


# ---- answers to sailvolctl --------------------------------------------------

def all_members(word):
    """Of every answer, with that in each text."""
    entry = {"id": word, "name": word, "path": {"b64": "YQ=="}, "kind": word,
             "volume": word, "created": 1.5, "bytes": 3, "files": 1,
             "objects": 2, "number": 4, "time": 1e300, "author": word,
             "message": word, "role": word, "revoked": True, "expires": 2,
             "deleted": 1, "until": -1e300, word: {word: [1, word]},
             "volumes": [{"name": word, "path": word}], "list": [word, 1]}
    paths = [word, entry, 3] * 8
    return {"commit": word, "changed": False, "left_dirty": paths,
            "overwritten": {"count": 30, "paths": paths}, "not_kept": paths,
            "stash": entry, "open_writers": 2, "mounts": [entry, word, {}],
            "stashes": [entry, 1], "unmounted": [entry], "items": [entry],
            "restored": 1, "dropped": 1, "commits": [entry], "key": word,
            "volumes": [entry], "keys": [entry, None], "id": word, "next": word,
            "warning": word, "note": word, "diff": word, "head": word,
            word: {word: {word: word}}}


ESCAPES = "a\x1b[2J\r\x07\x9b2J\x7f"


def ctl_answers():
    def lines(*objects):
        return b"".join(json.dumps(o).encode() + b"\n" for o in objects)

    def answers(*bodies):
        return b"".join(bytes((0,)) + bytes16(
            b if isinstance(b, bytes) else json.dumps(b).encode())
                        for b in bodies)
    progress = {"progress": {
        "phase": ESCAPES, "bytes": 1 << 62, "bytes_total": 1, "files": -1,
        "files_total": 9, "hashed": 1, "skipped": 5, "seconds_left": 1,
        "bytes_per_s": 0, "answers": 3}}
    error = {"error": {"message": ESCAPES, "type": "refused", "code": ESCAPES},
             "overwritten": {"paths": [ESCAPES]}}
    v = volume()
    head = {"head": sha(v.commit).hex(), "path": "d", "id": "vol_1"}
    return [b"\0" + bytes((c,)) + lines(r) for c in range(32) for r in (
        {"result": all_members(ESCAPES)},)] + [
            b"\0\2" + lines(progress, progress, error),
            b"\0\3" + lines([], 1), b"\0\3{\"result\":", b"\0\3"] + [
                b"\1" + bytes((c,)) + answers(*a) for c in range(17) for a in (
                    (head, v.bundle()), (all_members(ESCAPES),) * 3)] + [
                        b"\1\3\5" + bytes16(json.dumps(error).encode()),
                        b"\1\3\7" + bytes16(b"")]


# ---- text -------------------------------------------------------------------

def requests():
    """Of the control protocol."""
    return [
        {"request": "status"}, {"request": "status", "path": "/mnt"},
        {"request": "commit", "path": "/mnt", "message": "m",
         "if_unchanged": True},
        {"request": "reload", "path": "/mnt", "keep": True},
        {"request": "reload", "path": "/mnt", "if_clean": True},
        {"request": "diff", "path": "/mnt", "limit": 10, "after": "b"},
        {"request": "diff", "path": "/mnt", "after": {"b64": "Yg=="}},
        {"request": "log", "path": "/mnt", "limit": 3, "before": "1" * 64},
        {"request": "stash", "action": "list", "path": "/mnt"},
        {"request": "stash", "action": "show", "id": 1},
        {"request": "stash", "action": "restore", "id": 1, "path": "/mnt"},
        {"request": "stash", "action": "drop", "id": 1},
        {"request": "attach", "path": "/mnt", "job": 1},
        {"request": "cancel", "path": "/mnt", "job": 1},
        {"request": "umount", "path": "/mnt", "force": True},
        {"request": "mount", "path": "/m", "volume": "v", "options": {
            "readonly": True, "create": False, "subpath": "a/b",
            "commit": "1" * 64, "uids": [1000, 10]}},
        {"request": "mount", "path": "/m", "volume": "v",
         "uids": [1000, 10], "subpath": {"b64": "YQ=="}},
        {"request": "api", "method": "GET", "target": "/v1/whoami"},
        {"request": "api", "method": "POST", "target": "/v1/volumes",
         "body": {"name": "x"}}]


def api_requests():
    """(method, target, body) in an order in which most are done."""
    v, s = "/v1/volumes/data", "/v1/volumes/data/sessions/" + SESSION

    def dump(x):
        return json.dumps(x).encode()
    return [
        (1, "/v1/whoami", b""), (1, "/v1/keys", b""),
        (3, "/v1/keys", dump({"role": "read", "name": "ci", "expires_in": 60,
                              "volumes": [{"volume": "data", "prefix": "d"}]})),
        (3, "/v1/volumes", dump({"name": "data", "mint_if_missing": True})),
        (1, "/v1/volumes?limit=10&after=a&deleted=1", b""), (1, v, b""),
        (1, v + "/head?budget=100&depth=1&have=" + "1" * 64, b""),
        (3, v + "/nodes", wire.nodes(HASH)),
        (1, v + "/commits?limit=5", b""), (1, v + "/commits/" + "1" * 64, b""),
        (3, v + "/diff", dump({"from": "1" * 64, "to": "2" * 64, "limit": 5})),
        (2, s, dump({"message": "m", "author": "a", "if_unchanged": False,
                     "mount": SESSION})),
        (1, s, b""), (3, s + "/chunks", wire.chunks([(HASH, 3)])),
        (3, s + "/packs", wire.pack(OTHER, 3, [(HASH, 3)])),
        (3, s + "/commit", deltas()[0]), (3, s + "/commit", deltas()[1]),
        (3, v + "/locate", wire.locate(HASH, b"a")),
        (3, v + "/report", dump({"object": "1" * 64, "chunk": "2" * 64,
                                 "what": "wrong"})),
        (2, v + "/leases/" + SESSION, dump({"commits": ["1" * 64]})),
        (4, v + "/leases/" + SESSION, b""),
        (3, v + "/fork", dump({"name": "copy", "commit": "1" * 64})),
        (3, v + "/rename", dump({"name": "other"})), (4, v, b""),
        (3, v + "/restore", dump({"name": "data"}))]


def meta_messages():
    made = [b"\xe0" + bytes((m - 1, 0)) + bytes16(t.encode()) + bytes16(b)
            for m, t, b in api_requests()]
    first = made[3]
    return made + [first + m for m in made] + [
        b"".join(made[:12]), b"".join(made[3:])] + each_rule(3)


def http_heads():
    return [("%s %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk_%s\r\n"
             "Content-Length: %d\r\nConnection: close\r\n\r\n" % (
                 ("GET", "PUT", "POST", "DELETE", "HEAD")[m - 1], t,
                 "0" * 64, len(b))).encode() + b
            for m, t, b in api_requests()] + [
                b"POST /v1/volumes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                b"chunked\r\nExpect: 100-continue\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]


def store_requests():
    key = b"0" * 32 + b"/" + sha(b"one").hex().encode()

    def signed(method, name, headers=b"", body=b""):
        return b"\1" + bytes((method,)) + bytes16(name) + bytes16(
            headers) + bytes16(body)
    put = signed(1, key, b"", b"one")
    return [put, put + signed(0, key) + signed(0, key, b"Range: bytes=1-2\r\n"),
            put + signed(2, key) + signed(3, key) + signed(0, key),
            put + signed(1, key, b"If-None-Match: *\r\n", b"one"),
            signed(1, key, b"x-amz-checksum-sha256: x\r\nContent-MD5: x\r\n",
                   b"two"),
            signed(0, b""), b"\0" + bytes16(
                b"GET /sail/?list-type=2&prefix=a&max-keys=1 HTTP/1.1\r\nHost:"
                b" a\r\nConnection: close\r\n\r\n"),
            b"\0" + bytes16(b"PUT /sail/x HTTP/1.1\r\nHost: a\r\n"
                            b"Authorization: AWS4-HMAC-SHA256 Credential=access"
                            b"/20261129/us-east-1/s3/aws4_request, "
                            b"SignedHeaders=host, Signature=" + b"0" * 64 +
                            b"\r\nx-amz-date: 20261129T000000Z\r\n\r\n")]


def signatures():
    query = (b"PUT\n/sail/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
             b"access%2F20231114%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date="
             b"20231114T221320Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&"
             b"X-Amz-Signature=" + b"0" * 64 + b"\nhost:store:9000\n")
    header = (b"GET\n/sail/k\nhost:store:9000\nx-amz-date:20231114T221320Z\n"
              b"x-amz-content-sha256:UNSIGNED-PAYLOAD\nauthorization:"
              b"AWS4-HMAC-SHA256 Credential=access/20231114/us-east-1/s3/"
              b"aws4_request, SignedHeaders=host;x-amz-content-sha256;"
              b"x-amz-date, Signature=" + b"0" * 64 + b"\n")
    return [b"\0\0\0" + query, b"\0\0\0" + header, b"\1\0\0/sail/a b",
            b"\2\0\0[default]\naws_access_key_id = a\n"
            b"aws_secret_access_key = b\naws_session_token=c\n"]


def examples(page, start):
    """The literal blocks of a manual that begin with one of its words."""
    text = read("man/" + page).decode()
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S)
    return [b.replace("\\e", "\\").encode() for b in blocks
            if b.lstrip().startswith(start)]


SAILVOLD_CONF = b"""api "http://127.0.0.1:8470" { key file "/k" ca "/ca" }
cache "/c" size 20G keep free 1G
state "/s" stash size 1G total 9G
control "/run/c.sock" owner "root" group "sail" mode 0660
users from 61000
fetchers 4 transfers 8 transfer memory 64M
log debug
metrics listen on 127.0.0.1 port 9471
volume "v" { mount "/m" create read only subpath "a/b" commit every 60s
	commit on umount overlay size 50G noexec suid uids from 1000 size 10
	passthrough no }
"""
SAILAPID_CONF = b"""listen on 127.0.0.1 port 8470
listen on * tls port 8443
tls { certificate file "/c" key file "/k" }
database "/d"
store s3 "https://s3.example.org" { bucket "v" region "us-east-1" path style
	credentials file "/f" }
metrics listen on 127.0.0.1 port 9470
users from 61000
url life 900s
survey every 24h
survey never
limits { connections 10 per peer 5 body size 1G answers size 1G idle 60s handshake 10s }
"""


def of(name):
    made = {
        "imsg_frame": lambda: [
            b"\1\0" + bytes16(struct.pack("<IIII", 100, 20, 1, 1) + b"body"),
            b"\1\1" + bytes16(struct.pack("<IIII", 100, 0x80000010, 1, 1))],
        "lib_format": formats, "lib_delta": deltas, "lib_wire": bodies,
        "lib_text": lambda: [
            b"\0a/b/c", b"\1YQ==", b"\1" + HASH.hex().encode(), b"\0017d",
            b"\2SAILREST\1\0" + HASH + bytes16(b"a/b") + struct.pack(
                "<QB", 9 << 20, 23) + struct.pack("<II", 1, 5) + HASH + OTHER,
            b"\3one\ntwo\nthree\n\xffone\n2\nthree\n"],
        "sailapid_api": lambda: [b"\xe0" + bytes16(h) for h in http_heads()] +
        each_rule(2),
        "sailapid_conf": lambda: [SAILAPID_CONF, read("etc/sailapid.conf")] +
        examples("sailapid.conf.5", ("listen", "store", "database")),
        "sailapid_meta": meta_messages, "sailapid_parent": sailapid_parent,
        "sailapid_sign": sign_messages,
        "sailapid_sigv4": signatures, "sailapid_store": store_requests,
        "sailapid_tls": tls_clients,
        "sailvol-fetch_list": listings, "sailvol-fetch_role": fetch_messages,
        "sailvolctl_answers": ctl_answers,
        "sailvolctl_text": lambda: [
            b"\0vol@1234:a/b/", b"\1" + b"36 35 98:0 /r /mnt\\0401 rw,a - "
            b"fuse.sailvol src rw", b"\2ro,create,commit=1,uids=1000:10",
            b"\3one\n\x0ctwo\n"],
        "sailvold_cache": cache_messages,
        "sailvold_conf": lambda: [SAILVOLD_CONF, read("etc/sailvold.conf")] +
        examples("sailvold.conf.5", ("api", "volume", "cache")),
        "sailvold_control": lambda: [
            b"\0" + json.dumps(r).encode() + b"\n" for r in requests()] + [
                b"\1" + b"\n".join(json.dumps(r).encode()
                                   for r in requests()) + b"\n"],
        "sailvold_disk": lambda: [b"\0" + r for r in records()] + [
            b"\1SAILJNL1\1\0" + bytes(40), b"\3\1" + bytes16(b"a/b"),
            b"\3\1" + struct.pack("<Q", 1) + bytes16(b"n"),
            b"\4" + struct.pack("<QII", 1, 0, 0)],
        "sailvold_fuse": fuse_messages, "sailvold_manifest": manifest_messages,
        "sailvold_metrics": metrics_messages,
        "sailvold_notify": notify_messages,
        "sailvold_parent": sailvold_parent,
    }
    return made[name]() if name in made else [b""]


def words(path, form):
    return sorted(set(re.findall(form, read(path).decode())))


def dictionary(name):
    if name.endswith("_conf"):
        return words("%s/parse.y" % name.split("_")[0], r'\{ "([a-z0-9]+)",')
    if name in ("sailvold_control", "sailvold_manifest"):
        return sorted({k for r in requests() for k in r} | {
            str(v) for r in requests() for v in r.values()
            if isinstance(v, str)} | {"true", "null", '{"b64":"YQ=="}'})
    if name in ("sailapid_meta", "sailapid_api"):
        return ["/v1/", "/v1/volumes/data/", "/sessions/" + SESSION, "/commit",
                "/chunks", "/packs", "name", "role", "volumes", "prefix",
                "message", "mount", "limit=", "before=", "after=", "have=",
                "b64", "1" * 64, "Content-Length: ", "Host: a",
                "Transfer-Encoding: chunked", "Expect: 100-continue"]
    if name == "sailvol-fetch_list":
        return ["<Contents>", "</Contents>", "<Key>", "</Key>", "<Size>",
                "<LastModified>", "<IsTruncated>", "<EncodingType>", "&amp;",
                "<!DOCTYPE", "<![CDATA[", "ListBucketResult"]
    if name in ("sailapid_store", "sailapid_sigv4"):
        return ["X-Amz-Signature=", "X-Amz-Date=", "X-Amz-Credential=",
                "X-Amz-SignedHeaders=", "X-Amz-Expires=", "list-type=2",
                "prefix=", "delimiter=", "continuation-token=", "max-keys=",
                "start-after=", "Range: bytes=", "If-None-Match: *",
                "Content-MD5: ", "x-amz-content-sha256: ",
                "x-amz-checksum-sha256: ", "Expect: 100-continue"]
    return []
