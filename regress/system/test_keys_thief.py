# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Somebody has got the key of a directory of a volume, talks to the server by
raw HTTP, and knows all hashes: whatever is tried, nothing of the rest is
learned, read or changed.  Each time the owner does the same and gets it."""

import base64
import hashlib
import http.client
import json
import os
import urllib.parse

from sailtest import server, stack, wire
from sailtest.bigvolume import put_object
from sailtest.wire import sha

BOTH_STORES = True

BINARY = "application/x-sailvol"
SECRET = b"the plans of the treasury " * 40
BIG = os.urandom(1 << 20) + b"large secret"
HIDDEN_NAMES = (b"vault-name", b"plan-name", b"target-name", b"attr-name",
                b"large-name", b"beside-name")
MESSAGE = "moved the gold to vault nine"


class Person:
    """One key, and all that the server has ever answered to it."""

    def __init__(self, srv, key, volume="v"):
        self.srv, self.key, self.volume = srv, key, volume
        self.heard = b""

    def raw(self, method, rest, data=None, kind="application/json"):
        status, _, out = self.srv.raw(method, "/v1" + rest, data, {
            "Authorization": "Bearer " + self.key, "Content-Type": kind})
        self.heard += out
        return status, out

    def volume_raw(self, method, rest, data=None, kind=BINARY):
        return self.raw(method, "/volumes/" + self.volume + rest, data, kind)

    def call(self, method, rest, body=None):
        status, out = self.raw(method, rest, None if body is None
                               else json.dumps(body).encode())
        return status, json.loads(out) if out else None

    def ask(self, method, rest, body=None):
        """Of the volume, JSON."""
        return self.call(method, "/volumes/" + self.volume + rest, body)

    def code(self, out):
        return json.loads(out)["error"]["code"]

    # ---- trees ----

    def head(self):
        status, out = self.volume_raw("GET", "/head")
        self.srv.t.equal(200, status, out)
        return wire.Bundle(out)

    def nodes(self, *args, **kwargs):
        return self.volume_raw("POST", "/nodes", wire.nodes(*args, **kwargs))

    def locate(self, *args, **kwargs):
        return self.volume_raw("POST", "/locate",
                               wire.locate(*args, **kwargs))

    # ---- commits ----

    def session(self, **words):
        key = os.urandom(16).hex()
        status, out = self.ask("PUT", "/sessions/" + key, words)
        self.srv.t.equal(201, status, out)
        return "/sessions/" + key

    def chunks(self, session, pairs):
        status, out = self.volume_raw("POST", session + "/chunks",
                                      wire.chunks(pairs))
        self.srv.t.equal(200, status, out)
        return wire.uploads(out)

    def pack(self, session, data, pairs):
        """Claims and uploads one."""
        status, out = self.volume_raw("POST", session + "/packs", wire.pack(
            sha(data), len(data), pairs))
        self.srv.t.equal(200, status, out)
        up = wire.uploads(out)[0]
        self.heard += up[2].encode()
        put_object(up[2], up[3], data)
        return up

    def commit(self, session, ops, **kwargs):
        return self.volume_raw("POST", session + "/commit",
                               wire.delta(ops, **kwargs))

    def publish(self, ops, **kwargs):
        """With the context of a, in a new session: (status, answer)."""
        kwargs.setdefault("context", [(b"a", wire.directory())])
        return self.commit(self.session(), ops, **kwargs)


def upload(person, session, *contents):
    """By packs or alone, as the server says."""
    pairs = [(sha(c), len(c)) for c in contents]
    small = []
    for c, (presence, _, url, headers) in zip(
            contents, person.chunks(session, pairs)):
        if presence == wire.UPLOAD:
            put_object(url, headers, c)
        elif presence == wire.PACK:
            small.append(c)
    if small:
        person.pack(session, b"".join(small),
                    [(sha(c), len(c)) for c in small])


def file_op(path, *contents):
    return wire.op(wire.PUT, path, wire.regular(
        [(sha(c), len(c)) for c in contents]))


class Scene:
    """A volume with a, which is the thief's, and other things beside it and
    above; the thief knows what is in them, but has it not."""

    def __init__(self, t, path="a", extra=""):
        self.t = t
        self.srv = srv = server.Server(t, extra)
        srv.call("POST", "/v1/volumes", {"name": "v"})
        srv.call("POST", "/v1/volumes", {"name": "other"})
        self.owner = o = Person(srv, srv.key)
        context = [(b"a", wire.directory()), (b"a/sub", wire.directory()),
                   (b"vault-name", wire.directory())]
        session = o.session(message=MESSAGE, author="the owner")
        upload(o, session, b"mine", b"in sub", SECRET, BIG, b"next to it")
        status, out = o.commit(session, [
            file_op(b"a/f", b"mine"), file_op(b"a/sub/g", b"in sub"),
            file_op(b"beside-name", b"next to it"),
            file_op(b"vault-name/large-name", BIG),
            wire.op(wire.PUT, b"vault-name/link",
                    wire.symlink(b"target-name")),
            file_op(b"vault-name/plan-name", SECRET)], context=context)
        t.equal(200, status, out)
        # Beside it alone.
        session = o.session(message=MESSAGE, author="the owner")
        upload(o, session, b"late secret")
        status, out = o.commit(session, [
            file_op(b"vault-name/vault-name", b"late secret")],
            context=context)
        t.equal(200, status, out)
        self.id = bytes.fromhex(json.loads(out)["commit"])
        self.first = bytes.fromhex(json.loads(out)["parent"])
        status, out = srv.call("POST", "/v1/keys", {
            "role": "write", "name": "thief",
            "volumes": [{"volume": "v", "path": path}]})
        t.equal(201, status, out)
        self.thief = Person(srv, out["key"])
        self.whole = o.head()

    def secrets(self):
        """Bytes that the thief must never hear."""
        out = [SECRET[:20], MESSAGE.encode(), b"the owner",
               b"target-name", self.whole.root]
        for h in (sha(SECRET), sha(BIG), sha(b"late secret"),
                  sha(b"next to it")):
            out += [h, h.hex().encode()]
        for name in HIDDEN_NAMES:
            out += [name, base64.b64encode(name)]
        status, data = self.owner.nodes(self.id, b"vault-name")
        self.t.equal(200, status, "the owner's nodes")
        out += wire.Bundle(data).hashes
        return out

    def heard_nothing(self):
        """...of what the owner has heard of, to a word."""
        for s in self.secrets():
            self.t.true(s not in self.thief.heard, "the thief heard %r" % s)
        heard = [s for s in self.secrets() if s in self.owner.heard]
        self.t.true(len(heard) > 12, "the owner heard %d of them" % len(heard))


def test_nodes(t):
    """Names, attributes and nodes, of any path, commit and first name, and by
    what one says that one has."""
    s = Scene(t)
    seen = s.thief.head()
    t.true(seen.cut and not s.whole.cut, "cut")
    t.equal(s.id, seen.id, "the commit has its id")
    t.true(seen.root != s.whole.root, "the root")
    t.true(sha(seen.commit) != seen.id, "its bytes are others")
    ways = [n for n in seen.hashes if n not in s.whole.hashes]
    t.equal(1, len(ways), "nodes that are not the owner's: the way")
    for path in (b"", b"a", b"a/sub", b"a/f", b"vault-name", b"vault-name/link",
                 b"vault-name/plan-name", b"beside-name", b"a/../vault-name",
                 b"A", b"a/", b"/"):
        for commit in (s.id, s.first):
            for have in (None, s.first, s.id):
                for first in (b"", b"a", b"v", b"vault-name", b"\xff"):
                    status, out = s.thief.nodes(commit, path, first, have)
                    t.true(status in (200, 400, 404), "%r: %d" % (path, status))
                    if path.startswith((b"vault", b"beside")):
                        t.equal(404, status, path)
                    s.owner.nodes(commit, path, first, have)
    # What is not there is answered like what may not be seen.
    a = s.thief.nodes(s.id, b"vault-name")
    b = s.thief.nodes(s.id, b"no-such-thing")
    t.equal(b, a, "the answers")
    t.equal(404, s.thief.nodes(sha(b"no commit"))[0], "an unknown commit")
    for rest in ("", "/head?have=" + s.first.hex(), "/head?budget=8388608"):
        t.equal(200, s.thief.volume_raw("GET", rest)[0], rest)
        s.owner.volume_raw("GET", rest)
    got = s.thief.ask("GET", "")[1]
    t.equal((2, len(b"mine") + len(b"in sub")), (got["files"], got["bytes"]),
            "sums")
    t.equal(7, s.owner.ask("GET", "")[1]["files"], "sums of the owner")
    s.heard_nothing()


def get_object(url, headers, change=None):
    """(status, bytes) of a signed URL; change: headers besides."""
    where = urllib.parse.urlsplit(url)
    fields = dict(line.split(": ", 1) for line in headers.splitlines())
    fields.update(change or {})
    conn = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    try:
        conn.request("GET", "%s?%s" % (where.path, where.query), headers={
            k: v for k, v in fields.items() if v is not None})
        res = conn.getresponse()
        return res.status, res.read()
    finally:
        conn.close()


def test_locate(t):
    """URLs: of files that may not be seen, of neighbours in the same pack, of
    another part of the object."""
    s = Scene(t)
    for path in (b"vault-name/plan-name", b"vault-name/large-name",
                 b"beside-name", b"vault-name/vault-name"):
        status, out = s.thief.locate(s.id, path)
        t.equal((404, "path_not_found"), (status, s.thief.code(out)), path)
        t.equal(200, s.owner.locate(s.id, path)[0], path)
    # The files of one commit lie in one pack, one behind the other.
    status, out = s.owner.locate(s.id, b"a/f", budget=8 << 20)
    chunks = {c[1] for span in wire.spans(out) for c in span[5]}
    t.true(sha(SECRET) in chunks, "the owner gets its neighbours")
    for commit in (s.id, s.first):
        status, out = s.thief.locate(commit, b"a/f", budget=8 << 20)
        t.equal(200, status, out)
        spans = wire.spans(out)
        chunks = {c[1] for span in spans for c in span[5]}
        t.equal({sha(b"mine"), sha(b"in sub")}, chunks, "the thief's chunks")
    status, data = get_object(spans[0][3], spans[0][4])
    t.equal((206, b"minein sub"), (status, data), "its bytes")
    for change in ({"range": "bytes=0-100000"}, {"range": None},
                   {"range": "bytes=4-2000"}):
        status, data = get_object(spans[0][3], spans[0][4], change)
        t.equal(403, status, "with %s" % change)
        t.true(SECRET[:20] not in data, "bytes")
    s.heard_nothing()


def told(person, commit, path, **words):
    """What locate says of a file, but for signatures and times."""
    status, out = person.locate(commit, path, **words)
    person.srv.t.equal(200, status, out)
    return [(span[3].split("?")[0], span[0], span[1], span[2], span[5])
            for span in wire.spans(out)]


def guess(s, person, names, **words):
    """Uploads contents and publishes them: the head, and where they lie."""
    session = person.session()
    upload(person, session, *names.values())
    status, out = person.commit(session, [
        file_op(path, c) for path, c in sorted(names.items())], **words)
    s.t.equal(200, status, out)
    head = bytes.fromhex(json.loads(out)["commit"])
    return head, {path: told(person, head, path) for path in names}


def test_guess_is_located(t):
    """The thief has guesses of what others have, publishes them as its own files
    and asks where they lie: the answer is the same whether a guess is right or
    not, for another key of that directory, too, while the object is in doubt,
    and for what lies next to its own files; what others do later changes
    nothing."""
    s = Scene(t)
    keys = {}
    for name, path in (("second", "a"), ("below", "a/sub"),
                       ("beside", "vault-name")):
        status, out = s.srv.call("POST", "/v1/keys", {
            "role": "write", "name": name,
            "volumes": [{"volume": "v", "path": path}]})
        t.equal(201, status, out)
        keys[name] = Person(s.srv, out["key"])
    way = [(b"a", wire.directory())]
    # Somebody of another directory has something, too.
    theirs = os.urandom(4096)
    guess(s, keys["beside"], {b"vault-name/t1": theirs,
                              b"vault-name/t2": b"of theirs alone"},
          context=[(b"vault-name", wire.directory())])
    names = {b"a/g1": SECRET, b"a/g2": b"late secret", b"a/g3": BIG,
             b"a/g4": theirs, b"a/g5": os.urandom(len(SECRET)),
             b"a/g6": os.urandom(len(BIG)), b"a/sub/g7": b"next to it",
             b"a/sub/g8": b"nobody's  "}
    head, first = guess(s, s.thief, names, context=way + [
        (b"a/sub", wire.directory())])
    # Each in the pack that it has uploaded, or alone, at the same place.
    places = {spans[0][0].split("/")[-3] for spans in first.values()}
    t.equal(1, len(places), "families that it hears of: %s" % first)
    (annex,) = places
    packs = {first[n][0][1] for n in names if len(names[n]) < 1 << 20}
    t.equal(1, len(packs), "packs")
    for n in (b"a/g3", b"a/g6"):
        t.equal(sha(names[n]), first[n][0][1], "an object of its own")
    # It is the thief's: what nobody else has lies there.
    t.true(annex not in told(s.owner, s.id, b"a/f")[0][0], "not the owner's")
    # Two keys together.
    for name, files in (("second", names), ("below", (b"a/sub/g7",
                                                      b"a/sub/g8"))):
        for n in files:
            t.equal(first[n], told(keys[name], head, n),
                    "%r, to the %s one" % (n, name))
    # While its object is read there is no other place.
    for n in (b"a/g3", b"a/g1"):
        for person in (s.thief, keys["second"]):
            for _ in range(4):
                person.volume_raw("POST", "/report", json.dumps({
                    "object": first[n][0][1].hex(),
                    "chunk": sha(names[n]).hex(),
                    "problem": "corrupt"}).encode(), "application/json")
                t.equal(first[n], told(person, head, n), "in doubt: %r" % n)
    # What lies behind its own file in the owner's pack is no proof either.
    whole = told(s.owner, head, b"a/f", budget=8 << 20)
    t.true(sha(SECRET) in {c[1] for span in whole for c in span[4]},
           "the owner hears of the guess in its own pack")
    for person in (s.thief, keys["second"]):
        spans = told(person, head, b"a/f", budget=8 << 20)
        t.equal([{sha(b"mine"), sha(b"in sub")}],
                [{c[1] for c in span[4]} for span in spans], "neighbours")
    # Its own lie side by side in its own pack.
    spans = told(s.thief, head, b"a/g1", budget=8 << 20)
    t.equal({sha(c) for c in names.values() if len(c) < 1 << 20},
            {c[1] for span in spans for c in span[4]}, "its own neighbours")
    # Others get what the thief had, or what the thief can see.
    before = told(s.thief, head, b"a/f")
    newer, _ = guess(s, keys["beside"], {
        b"vault-name/t3": names[b"a/g5"], b"vault-name/t4": names[b"a/g6"],
        b"vault-name/t5": b"mine"},
        context=[(b"vault-name", wire.directory())])
    for person in (s.thief, keys["second"]):
        for n in names:
            t.equal(first[n], told(person, newer, n), "later: %r" % n)
        t.equal(before, told(person, newer, b"a/f"), "later: a/f")
    # The owner reads all from where it lies best.
    for n in names:
        status, out = s.owner.locate(newer, n)
        span = wire.spans(out)[0]
        t.true(names[n] in get_object(span[3], span[4])[1], "bytes of %r" % n)


def test_seen_is_located(t):
    """What others have put where the key sees it is read by it as ever: a file of
    the owner's, of a key of another directory that the owner has moved, and of
    a key of the whole."""
    s = Scene(t)
    made = {}
    for path in (b"vault-name", b"a/sub"):
        status, out = s.srv.call("POST", "/v1/keys", {
            "role": "write", "volumes": [{"volume": "v",
                                          "path": path.decode()}]})
        made[path] = os.urandom(100)
        context = [(path[:i], wire.directory()) for i in range(len(path) + 1)
                   if i and (path + b"/")[i:i + 1] == b"/"]
        head, _ = guess(s, Person(s.srv, out["key"]), {
            path + b"/made": made[path]}, context=context)
    status, out = s.owner.publish([
        wire.op(wire.PUT, b"a/moved", wire.directory(),
                ref=wire.tree(0, b"vault-name"))], commits=[head])
    t.equal(200, status, out)
    head = bytes.fromhex(json.loads(out)["commit"])
    for path, data in ((b"a/f", b"mine"), (b"a/moved/plan-name", SECRET),
                       (b"a/moved/large-name", BIG),
                       (b"a/moved/made", made[b"vault-name"]),
                       (b"a/sub/made", made[b"a/sub"])):
        status, out = s.thief.locate(head, path)
        t.equal(200, status, out)
        (span,) = wire.spans(out)
        t.equal(data, get_object(span[3], span[4])[1], path)


def test_guess_of_a_pack(t):
    """The thief knows its own part of a pack, and has a guess of what else is in
    it, which is right: no name, sum or header tells so, whoever made the pack.
    The owner's own chunks come by it as ever."""
    s = stack.Stack(t)
    srv = s.server
    a = s.mount("v", "m", create=True)
    secret = b"the combination of vault nine is 4711"
    files = {"a/f": b"mine", "vault": secret}
    os.makedirs(t.path("put", "b"))
    for name, data in files.items():
        os.makedirs(os.path.dirname(os.path.join(a, name)), exist_ok=True)
        stack.write(os.path.join(a, name), data.decode())
        stack.write(t.path("put", "b" if name == "a/f" else "",
                           os.path.basename(name)), data.decode()[::-1])
    first = s.commit(a)
    # Another, by put: b/f, vault.
    t.run([s.program, "put", t.path("put"), "v:there"], env={
        "SAIL_API_URL": srv.url, "SAIL_API_KEY": srv.key})
    for path, top, mine, commit in (
            (b"a/f", "a", b"mine", first),
            (b"there/b/f", "there/b", b"enim", None)):
        status, out = srv.call("POST", "/v1/keys", {
            "role": "read", "name": "thief", "volumes": [
                {"volume": "v", "path": top}]})
        t.equal(201, status, out)
        thief = Person(srv, out["key"])
        status, out = thief.locate(
            bytes.fromhex(commit) if commit else thief.head().id, path,
            budget=8 << 20)
        t.equal(200, status, out)
        (span,) = wire.spans(out)
        heard = [out, span[3].encode()]
        where = urllib.parse.urlsplit(span[3])
        conn = http.client.HTTPConnection(where.hostname, where.port,
                                          timeout=60)
        conn.request("GET", "%s?%s" % (where.path, where.query), headers=dict(
            line.split(": ", 1) for line in span[4].splitlines()))
        res = conn.getresponse()
        t.equal((206, mine), (res.status, res.read()), "its own")
        heard.append(repr(res.getheaders()).encode())
        conn.close()
        heard = b"".join(heard).lower()
        t.true(span[0].hex().encode() in heard, "the name is heard")
        other = secret if mine == b"mine" else secret[::-1]
        for guess in (mine + other, other + mine, other):
            for name in ("sha256", "md5", "sha1"):
                d = hashlib.new(name, guess)
                for form in (d.digest(), d.hexdigest().encode(),
                             base64.b64encode(d.digest())):
                    t.true(form.lower() not in heard,
                           "%s tells of %r" % (name, guess))
    t.true(all(key.rsplit("/", 1)[1] == sha(s.server.s3.get(key).body).hex()
               for key in s.objects()), "their names are their hashes")


def test_presence(t):
    """Is that chunk there?  What the server answers, and what the store says to
    an upload, is the same for what others have and for what nobody has; the
    owner hears that it is there."""
    s = Scene(t)
    unknown = os.urandom(len(BIG))
    session = s.owner.session()
    t.equal([wire.PRESENT], [p[0] for p in s.owner.chunks(
        session, [(sha(BIG), len(BIG))])], "the owner is told")
    answers, stored = [], []
    for data in (BIG, unknown):
        session = s.thief.session()
        presence, _, url, headers = s.thief.chunks(
            session, [(sha(data), len(data))])[0]
        answers.append((presence, url.split("/")[3:5], len(url), [
            line.split(":")[0] for line in headers.splitlines()]))
        # To put other bytes there, or none.
        where = urllib.parse.urlsplit(url)
        fields = dict(line.split(": ", 1) for line in headers.splitlines())
        for wrong in (b"x" * len(data), b""):
            conn = http.client.HTTPConnection(where.hostname, where.port,
                                              timeout=60)
            conn.request("PUT", "%s?%s" % (where.path, where.query),
                         body=wrong, headers=fields)
            stored.append((data is BIG, conn.getresponse().status))
            conn.close()
        # To say another length.
        status, out = s.thief.volume_raw("POST", session + "/chunks",
                                         wire.chunks([(sha(data), 5)]))
        t.equal(200, status, out)
    t.equal(answers[1], answers[0], "answers")
    t.equal([x for was, x in stored if not was], [x for was, x in stored if was],
            "what the store says")
    # Many, and small ones, which go into packs.
    for data in (SECRET, b"late secret", b"next to it", b"nobody has it"):
        got = s.thief.chunks(s.thief.session(), [
            (sha(data), len(data)), (sha(b"another"), 7)])
        t.equal([wire.PACK, wire.PACK], [p[0] for p in got], data)
    # What it has brought itself is there; others do not see that it is asked
    # for again.
    session = s.thief.session()
    upload(s.thief, session, b"of the thief")
    t.equal(200, s.thief.commit(session, [file_op(b"a/new", b"of the thief")],
                                context=[(b"a", wire.directory())])[0],
            "its own")
    got = s.thief.chunks(s.thief.session(), [(sha(b"of the thief"), 12)])
    t.equal(wire.PRESENT, got[0][0], "its own is there")


def test_name_a_hash(t):
    """To publish a file that names the chunks of others, without their bytes,
    and to read it then: by the hash alone, after asking for an upload, by an
    upload of something else, and by a pack whose index lies."""
    s = Scene(t)
    for data in (SECRET, BIG, b"late secret", b"nobody has it"):
        status, out = s.thief.publish([file_op(b"a/stolen", data)])
        t.equal((409, "missing_chunks"), (status, s.thief.code(out)), data[:20])
        session = s.thief.session()
        s.thief.chunks(session, [(sha(data), len(data))])
        status, out = s.thief.commit(session, [file_op(b"a/stolen", data)],
                                     context=[(b"a", wire.directory())])
        t.equal((409, "missing_chunks"), (status, s.thief.code(out)), data[:20])
        if len(data) > 1 << 20:
            continue
        # A pack of something else, whose index says that it is that.
        session = s.thief.session()
        junk = os.urandom(len(data))
        s.thief.chunks(session, [(sha(data), len(data)), (sha(b"x"), 1)])
        s.thief.pack(session, junk + b"x", [(sha(data), len(data)),
                                            (sha(b"x"), 1)])
        status, out = s.thief.commit(session, [file_op(b"a/stolen", data)],
                                     context=[(b"a", wire.directory())])
        t.equal((409, "missing_chunks"), (status, s.thief.code(out)), data[:20])
        # The same again, now that the server has read it.
        status, out = s.thief.commit(session, [file_op(b"a/stolen", data)],
                                     context=[(b"a", wire.directory())])
        t.equal((409, "missing_chunks"), (status, s.thief.code(out)), data[:20])
        status, out = s.thief.publish([file_op(b"a/stolen", data)])
        t.equal((409, "missing_chunks"), (status, s.thief.code(out)), data[:20])
    # In a session of the owner that has brought it.
    session = s.owner.session()
    s.owner.chunks(session, [(sha(BIG), len(BIG))])
    status, out = s.thief.commit(session, [file_op(b"a/stolen", BIG)],
                                 context=[(b"a", wire.directory())])
    t.equal((404, "session_not_found"), (status, s.thief.code(out)), out)
    t.equal(s.id, s.owner.head().id, "nothing was published")
    # The owner names it by its hash.
    status, out = s.owner.publish([file_op(b"a/copy", BIG)])
    t.equal(200, status, out)
    # From then on the key sees it, as it lies below its path, and may name it.
    status, out = s.thief.publish([file_op(b"a/again", BIG)])
    t.equal(200, status, out)
    head = bytes.fromhex(json.loads(out)["commit"])
    for path in (b"a/again", b"a/copy"):
        status, out = s.thief.locate(head, path)
        t.equal(1, len(wire.spans(out)), "a URL for %r" % path)
    # With the bytes it may, and nobody tells that they were there before.
    session = s.thief.session()
    upload(s.thief, session, SECRET, b"late secret")
    status, out = s.thief.commit(
        session, [file_op(b"a/bytes", SECRET), file_op(b"a/late",
                                                       b"late secret")],
        context=[(b"a", wire.directory())])
    t.equal(200, status, out)
    head = bytes.fromhex(json.loads(out)["commit"])
    status, out = s.thief.locate(head, b"a/bytes")
    span = wire.spans(out)[0]
    t.true(SECRET in get_object(span[3], span[4])[1], "its own bytes")


def test_write_outside(t):
    """Operations, trees, references and contexts that reach out of the path."""
    s = Scene(t)
    up = [(b"vault-name", wire.directory())]
    none = []
    of_a = [(b"a", wire.directory())]
    link = wire.symlink(b"x")
    for what, ops, context in (
            ("a put beside it", [wire.op(wire.PUT, b"new", link)], none),
            ("a put in another directory",
             [wire.op(wire.PUT, b"vault-name/new", link)], up),
            ("a name that begins like it", [wire.op(wire.PUT, b"ab", link)],
             none),
            ("a new directory", [wire.op(wire.PUT, b"new", wire.directory())],
             none),
            ("a delete", [wire.op(wire.DELETE, b"beside-name",
                                  seen=wire.seen_file())], none),
            ("a delete tree", [wire.op(wire.TREE, b"vault-name", seen=wire.
                                       SEEN_DIR, old=wire.tree(
                                           0, b"vault-name"))], none),
            ("attributes of the root", [wire.op(
                wire.ATTR, b"", wire.directory(0o777), seen=wire.SEEN_DIR)],
             none),
            ("attributes beside it", [wire.op(
                wire.ATTR, b"vault-name", wire.directory(0o777),
                seen=wire.SEEN_DIR)], none),
            ("its directory becomes a link", [wire.op(
                wire.PUT, b"a", link, seen=wire.SEEN_DIR,
                old=wire.tree(0, b"a"))], none),
            ("its directory goes", [wire.op(
                wire.TREE, b"a", seen=wire.SEEN_DIR, old=wire.tree(0, b"a"))],
             none),
            ("a reference to another directory", [wire.op(
                wire.PUT, b"a/stolen", wire.directory(),
                ref=wire.tree(0, b"vault-name"))], of_a),
            ("a reference to the root", [wire.op(
                wire.PUT, b"a/stolen", wire.directory(),
                ref=wire.tree(0, b""))], of_a),
            ("a tree of another directory", [wire.op(
                wire.TREE, b"a/sub", seen=wire.SEEN_DIR,
                old=wire.tree(0, b"vault-name"))], none),
            ("one good, one bad", [
                wire.op(wire.PUT, b"a/good", link),
                wire.op(wire.PUT, b"beside-name", link,
                        seen=wire.seen_file())], of_a),
            ("a context beside it", [wire.op(wire.PUT, b"a/x", link)],
             of_a + up)):
        status, out = s.thief.publish(ops, commits=[s.id], context=context)
        t.equal((403, "key_limited"), (status, s.thief.code(out)), what)
        # It is no other error that hides it: for the owner it is a delta.
        owner = Person(s.srv, s.srv.key)
        fork = "f%d" % len(s.owner.heard)
        s.owner.ask("POST", "/fork", {"name": fork})
        owner.volume = fork
        head = owner.head().id
        status, out = owner.publish(ops, commits=[head], context=context)
        t.equal(200, status, "%s, by the owner: %s" % (what, out))
    t.equal(s.id, s.owner.head().id, "nothing was published")
    # What lies below is published.
    status, out = s.thief.publish([
        wire.op(wire.PUT, b"a/moved", wire.directory(),
                ref=wire.tree(0, b"a/sub")),
        wire.op(wire.TREE, b"a/sub", seen=wire.SEEN_DIR,
                old=wire.tree(0, b"a/sub"))], commits=[s.id])
    t.equal(200, status, out)
    t.equal(200, s.thief.publish([wire.op(
        wire.ATTR, b"a", wire.directory(0o700), seen=wire.SEEN_DIR)],
        context=[])[0], "attributes of its own directory")


def entries(s, commit):
    """Of the root, by the owner's diff with the first commit."""
    status, out = s.owner.ask("POST", "/diff", {
        "from": s.first.hex(), "to": commit})
    s.t.equal(200, status, out)
    return {c["path"]: c for c in out["changes"]}


def test_above(t):
    """What a context says of directories above the path changes nothing, and
    does not make them again."""
    s = Scene(t, path="a/sub")
    far = wire.directory(0o777, 2000000000)
    way = [(b"a", far), (b"a/sub", wire.directory())]
    status, out = s.thief.publish([wire.op(wire.PUT, b"a/sub/x",
                                           wire.symlink(b"y"))], context=way)
    t.equal(200, status, out)
    commit = json.loads(out)["commit"]
    status, out = s.owner.ask("POST", "/diff", {"from": s.id.hex(),
                                                "to": commit})
    t.equal(["a/sub/x"], [c["path"] for c in out["changes"]], "changes")
    # Its directory goes away.
    status, out = s.owner.publish([wire.op(
        wire.TREE, b"a", seen=wire.SEEN_DIR, old=wire.tree(0, b"a"))],
        commits=[bytes.fromhex(commit)], context=[])
    t.equal(200, status, out)
    gone = json.loads(out)["commit"]
    status, out = s.thief.publish([wire.op(wire.PUT, b"a/sub/y",
                                           wire.symlink(b"y"))], context=way)
    t.equal((409, "path_gone"), (status, s.thief.code(out)), out)
    t.equal(gone, s.owner.head().id.hex(), "nothing was published")
    t.equal(200, s.thief.volume_raw("GET", "/head")[0], "an empty view")
    t.equal(404, s.thief.nodes(bytes.fromhex(gone), b"a/sub")[0], "a/sub")
    status, out = s.owner.publish([wire.op(wire.PUT, b"a/sub/y",
                                           wire.symlink(b"y"))], context=way)
    t.equal(200, status, "the owner makes it again")


def test_history(t):
    """Logs, single commits, differences and their pages, results."""
    s = Scene(t)
    status, out = s.thief.ask("GET", "/commits")
    t.equal([s.first.hex()], [c["id"] for c in out["commits"]],
            "commits that did something there")
    t.equal(("", "", 0, 2), (out["commits"][0]["message"],
                             out["commits"][0]["author"],
                             out["commits"][0]["puts"],
                             out["commits"][0]["files"]),
            "the one that did more, too")
    status, out = s.owner.ask("GET", "/commits")
    t.equal([MESSAGE, MESSAGE, ""], [c["message"] for c in out["commits"]],
            "the owner's log")
    for commit in (s.id, s.first):
        status, out = s.thief.ask("GET", "/commits/" + commit.hex())
        t.equal((200, "", 2), (status, out["message"], out["files"]), "one")
    for rest in ("/commits?limit=1", "/commits?before=" + s.id.hex(),
                 "/commits?before=%s&limit=1" % s.id.hex()):
        t.equal(200, s.thief.ask("GET", rest)[0], rest)
    for question in ({"to": s.id.hex()}, {"to": s.first.hex()},
                     {"from": s.first.hex(), "to": s.id.hex()},
                     {"from": s.id.hex(), "to": s.first.hex()}):
        for more in ({}, {"path": "vault-name"}, {"path": "a"}, {"path": ""},
                     {"path": "beside-name"}, {"after": "a"}, {"limit": 1},
                     {"after": "b"}, {"after": "vault-name"}):
            ask = dict(question, **more)
            status, out = s.thief.ask("POST", "/diff", ask)
            t.true(status in (200, 400, 404), "%s: %s" % (ask, out))
            s.owner.ask("POST", "/diff", ask)
    # Its own words it sees.
    session = s.thief.session(message="mine", author="me")
    status, out = s.thief.commit(session, [wire.op(
        wire.PUT, b"a/l", wire.symlink(b"x"))],
        context=[(b"a", wire.directory())])
    t.equal(200, status, out)
    out = s.thief.ask("GET", "/commits")[1]["commits"][0]
    t.equal(("mine", "me", 1), (out["message"], out["author"], out["puts"]),
            "its own")
    # What it overwrites it is told of, and of nothing else.
    s.owner.publish([wire.op(wire.PUT, b"a/l", wire.symlink(b"owner")),
                     wire.op(wire.PUT, b"vault-name/l", wire.symlink(b"o"))],
                    context=[(b"a", wire.directory()),
                             (b"vault-name", wire.directory())])
    status, out = s.thief.publish([wire.op(wire.PUT, b"a/l",
                                           wire.symlink(b"again"))])
    t.equal(["a/l"], json.loads(out)["overwritten"]["paths"], "overwritten")
    s.heard_nothing()


def test_reports(t):
    """A report says nothing of whether there is such a chunk."""
    s = Scene(t)
    answers = set()
    for h in (sha(BIG), sha(b"nobody has it"), sha(SECRET)):
        for obj in (h, sha(b"no object")):
            ask = {"object": obj.hex(), "chunk": h.hex(), "problem": "missing"}
            status, out = s.thief.volume_raw(
                "POST", "/report", json.dumps(ask).encode(),
                "application/json")
            answers.add((status, out))
    t.equal({(202, b"")}, answers, "answers")
    for h, want in ((sha(BIG), 202), (sha(b"nobody has it"), 404)):
        status, _ = s.owner.ask("POST", "/report", {
            "object": h.hex(), "chunk": h.hex(), "problem": "missing"})
        t.equal(want, status, "the owner")
    t.wait_for(lambda: s.owner.locate(s.id, b"vault-name/large-name")[0] == 200,
               "it is still there")


def test_the_rest(t):
    """Other volumes, keys, forks, sessions and leases; volumes by guessing
    their names."""
    s = Scene(t)
    names = [v["name"] for v in s.thief.call("GET", "/volumes")[1]["volumes"]]
    t.equal(["v"], names, "volumes")
    t.equal(2, len(s.owner.call("GET", "/volumes")[1]["volumes"]), "the owner")
    for name in ("other", "nothing"):
        t.equal((404, "volume_not_found"), (
            s.thief.call("GET", "/volumes/" + name)[0],
            s.thief.call("GET", "/volumes/%s/head" % name)[1]["error"][
                "code"]), name)
        for mint in (False, True):
            status, out = s.thief.call("POST", "/volumes", {
                "name": name, "mint_if_missing": mint})
            t.equal((403, "key_limited"), (status, out["error"]["code"]), name)
    t.equal(200, s.thief.call("POST", "/volumes", {
        "name": "v", "mint_if_missing": True})[0], "its own")
    for method, rest, body, want in (
            ("GET", "/keys", None, "role"),
            ("POST", "/keys", {"role": "read"}, "role"),
            ("POST", "/volumes/v/fork", {"name": "x"}, "key_limited"),
            ("POST", "/volumes/other/fork", {"name": "x"}, "key_limited"),
            ("POST", "/volumes/v/rename", {"name": "x"}, "role"),
            ("DELETE", "/volumes/v", None, "role")):
        status, out = s.thief.call(method, rest, body)
        t.equal((403, want), (status, out["error"]["code"]), rest)
    # A key of a path is no admin's.
    status, out = s.owner.call("POST", "/keys", {
        "role": "admin", "volumes": [{"volume": "v", "path": "a"}]})
    t.equal((400, "bad_role"), (status, out["error"]["code"]), out)
    for path in ("nothing", "a/f", "beside-name/x"):
        status, out = s.owner.call("POST", "/keys", {
            "role": "read", "volumes": [{"volume": "v", "path": path}]})
        t.equal((404, "path_not_found"), (status, out["error"]["code"]), path)
    for path in ("/a", "a/", "a//b", "..", "a/../b", ".sailvol"):
        status, out = s.owner.call("POST", "/keys", {
            "role": "read", "volumes": [{"volume": "v", "path": path}]})
        t.equal((400, "bad_json"), (status, out["error"]["code"]), path)
    # Sessions of others are as none.
    session = s.owner.session()
    for method in ("GET", "PUT"):
        status, out = s.thief.ask(method, session, {} if method == "PUT"
                                  else None)
        t.true(status in (404, 400), "%s: %s" % (method, out))
        t.true(s.owner.ask(method, session, {} if method == "PUT" else None)[0]
               == 200, "the owner")
    status, out = s.thief.ask("PUT", "/leases/" + 32 * "a", {
        "commits": [sha(b"none").hex()]})
    t.equal(404, status, out)
    t.equal(200, s.thief.ask("PUT", "/leases/" + 32 * "a", {
        "commits": [s.id.hex()]})[0], "a lease of its own")
    s.heard_nothing()


def test_forks(t):
    """A key of a whole volume learns nothing of what its fork, which shares
    chunks with it, has got since."""
    s = Scene(t)
    s.owner.ask("POST", "/fork", {"name": "fork"})
    status, out = s.srv.call("POST", "/v1/keys", {
        "role": "write", "volumes": [{"volume": "v"}]})
    thief = Person(s.srv, out["key"])
    owner = Person(s.srv, s.srv.key, "fork")
    data = b"of the fork alone" * 70000
    session = owner.session()
    upload(owner, session, data)
    status, out = owner.commit(session, [file_op(b"x", data)])
    t.equal(200, status, out)
    pair = (sha(data), len(data))
    t.equal(wire.PRESENT, s.owner.chunks(s.owner.session(), [pair])[0][0],
            "the owner is told")
    t.equal(wire.UPLOAD, thief.chunks(thief.session(), [pair])[0][0], "thief")
    status, out = thief.commit(thief.session(), [file_op(b"stolen", data)])
    t.equal((409, "missing_chunks"), (status, thief.code(out)), out)
    # What its own volume has it may name.
    status, out = thief.commit(thief.session(), [file_op(b"copy", BIG)])
    t.equal(200, status, out)
    status, out = s.owner.commit(s.owner.session(), [file_op(b"copy2", data)])
    t.equal(200, status, out)


def test_forked_meanwhile(t):
    """A key of a whole volume goes on with the session that it has when its
    volume is forked by another."""
    s = Scene(t)
    status, out = s.srv.call("POST", "/v1/keys", {
        "role": "write", "volumes": [{"volume": "v"}]})
    own = Person(s.srv, out["key"])
    session = own.session()
    data = b"before and after" * 70000
    upload(own, session, data)
    s.owner.ask("POST", "/fork", {"name": "fork"})
    t.equal(200, own.ask("GET", session)[0], "its session")
    status, out = own.commit(session, [file_op(b"x", data)])
    if status == 409:
        t.equal("missing_chunks", own.code(out), "what it is told")
        upload(own, session, data)
        status, out = own.commit(session, [file_op(b"x", data)])
    t.equal(200, status, out)


def test_expired(t):
    """Revoked, the key gets no more URLs; those that it has live on."""
    s = Scene(t)
    status, out = s.thief.locate(s.id, b"a/f")
    span = wire.spans(out)[0]
    t.equal(206, get_object(span[3], span[4])[0], "a URL")
    ident = s.thief.call("GET", "/whoami")[1]["key"]["id"]
    t.equal(204, s.owner.raw("DELETE", "/keys/" + ident)[0], "revoked")
    for method, rest, data in (
            ("POST", "/locate", wire.locate(s.id, b"a/f")),
            ("POST", "/nodes", wire.nodes(s.id)), ("GET", "/head", None),
            ("GET", "/commits", None), ("GET", "", None)):
        status, out = s.thief.volume_raw(method, rest, data)
        t.equal((401, "bad_key"), (status, s.thief.code(out)), rest)
    t.equal(206, get_object(span[3], span[4])[0], "as the manual says")
