# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl put and rm at a server that lies or is broken: each answer that they
read, malformed, too long, of another type or with other numbers, ends soon, with
words and status 1; no identifier is printed that is none."""

import json
import os
import resource
import struct

from sailtest import deadline, liar
from sailtest.liar import Dir, File
from system import test_liar

ESCAPE = b'{"error":{"type":"x","code":"y","message":"\\u001b]0;evil' \
    b'\\u0007 \\u001b[2J"}}'
MEMORY_KIB = 128 * 1024
UPLOADS = b"SVWB\4\1"


class Place:
    def __init__(self, t):
        self.t = t
        self.program = os.path.join(t.repo, "sailvolctl", "sailvolctl")
        self.api = liar.Liar(t)
        self.api.env["XDG_STATE_HOME"] = t.path("state")
        self.api.show([(b"d", Dir([(b"f", File(b"content"))])),
                       (b"g", File(b"x"))])
        t.write("small", "small\n")
        t.write("large", os.urandom(9 << 20))

    on_terminal = test_liar.Place.on_terminal

    def put(self, name="small"):
        return ("put", self.t.path(name), "vol:new")

    def tool(self, *args, ok=None):
        return self.t.run([self.program] + list(args), ok=ok,
                          env=self.api.env, timeout=60)

    def refused(self, what, says, commands):
        for command in commands:
            r = self.tool(*command)
            what_now = "%s: %s: %s" % (what, command, r.stderr)
            self.t.equal(1, r.returncode, what_now)
            self.t.true(any(s in r.stderr for s in says), what_now)
            self.t.equal("", r.stdout, what_now)
            # As one object for programs.
            r = self.tool("-j", *command)
            self.t.equal((1, True), (r.returncode,
                                     "error" in json.loads(r.stdout)),
                         what_now + r.stdout)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self.t.true(peak < MEMORY_KIB, "%s: %d KiB" % (what, peak))


def test_honest(t):
    """What the server of these tests says is believed when it does not lie."""
    p = Place(t)
    for command in (p.put(), p.put("large"), ("rm", "vol:g"),
                    ("rm", "-r", "vol:d")):
        t.equal("1" * 64 + "\n", p.tool(*command, ok=0).stdout, command)


def test_volume(t):
    """The head and its tree, as they are read before anything is published."""
    p = Place(t)
    both = (p.put(), ("rm", "vol:g"), ("rm", "-r", "vol:d"))
    for path, status, body, says in (
            ("/v1/volumes/vol", 200, b"", "head"),
            ("/v1/volumes/vol", 200, b'{"head":["%s"]}' % (b"0" * 64), "head"),
            ("/v1/volumes/vol", 200, b"[" * 100000, "head"),
            ("/v1/volumes/vol", 200, b'"' + b"x" * (17 << 20), ""),
            ("/v1/volumes/vol", 403, ESCAPE, "evil"),
            ("/v1/volumes/vol/nodes", 200, b"SVWB\2\1", "answer"),
            ("/v1/volumes/vol/nodes", 200, p.api.bundle()[:-1], "answer"),
            ("/v1/volumes/vol/nodes", 200, p.api.bundle() + b"x", "answer"),
            ("/v1/volumes/vol/nodes", 200, bytes(17 << 20), "answer")):
        p.api.answers = {path: (status, body)}
        p.refused("%s %d %r" % (path, status, body[:40]), (says,), both)
    t.true(not any("/sessions/" in a for a in p.api.asked), "nothing is begun")


def test_session(t):
    """A session that is none."""
    p = Place(t)
    both = (p.put(), ("rm", "vol:g"))
    for status, body, says in (
            (200, b"", "session"), (201, b"null", "session"),
            (200, b'{"state":7}', "session"), (200, b'[{"state":"open"}]',
                                               "session"),
            (200, b'{"state":"OPEN"}', "session"), (200, b"[" * 100000,
                                                    "session"),
            (200, b'{"state":"' + b"x" * (17 << 20) + b'"}', ""),
            (409, ESCAPE, "evil"), (404, b"<html>", "404"), (302, b"", "302")):
        p.api.answers = {"session": (status, body)}
        p.refused("session %d %r" % (status, body[:40]), (says,), both)


@deadline(300)
def test_published(t):
    """A commit that is none; and one whose other members are not what they
    should be is shown as far as it is known."""
    p = Place(t)
    both = (p.put(), ("rm", "vol:g"), ("rm", "-r", "vol:d"))
    for status, body, says in (
            (200, b"", "answer"), (200, b"{}", "not a commit"),
            (200, b'{"commit":7}', "not a commit"),
            (200, b'{"commit":"%s"}' % (b"G" * 64), "not a commit"),
            (200, b'{"commit":"%s"}' % (b"1" * 63), "not a commit"),
            (200, b'{"commit":"\\u001b[2J"}', "not a commit"),
            (200, b'{"commit":"%s\\u0000"}' % (b"1" * 63), "not a commit"),
            (200, b'[{"commit":"%s"}]' % (b"1" * 64), "not a commit"),
            (200, b"[" * 100000, "not a commit"), (200, bytes(17 << 20), ""),
            (409, ESCAPE, "evil"), (409, b'{"error":{"code":["x"]}}', "409"),
            (409, b'{"error":{"type":"refused","code":"overwritten",'
             b'"message":"no"},"overwritten":{"count":-1,"paths":7}}', "no"),
            (302, b"", "302")):
        p.api.answers = {"commit": (status, body)}
        # refused is status 3 only where it was asked for.
        if b'"refused"' in body:
            for command in both:
                r = p.tool(*command)
                t.equal((3, ""), (r.returncode, r.stdout), r.stderr)
            continue
        p.refused("commit %d %r" % (status, body[:40]), (says,), both)
    for more in ({"changed": "x", "overwritten": 7},
                 {"overwritten": {"count": 1 << 62, "paths": "x"}},
                 {"overwritten": {"count": "x", "paths": [7, None, [], {}]}},
                 {"overwritten": {"count": 1, "paths": [
                     "\x1b]0;evil\x07", {"b64": "%%"}, {"b64": 7}, {"path": {}}]}},
                 {"not_kept": 7, "left_dirty": {}, "warning": 7, "note": {}},
                 {"overwritten": {"count": 1, "paths": ["x" * 100000] * 20}}):
        p.api.answers = {"commit": (200, json.dumps(
            dict(more, commit="1" * 64)).encode())}
        for command in both:
            r = p.tool(*command)
            t.equal((0, "1" * 64 + "\n"), (r.returncode, r.stdout),
                    "%s: %s" % (more, r.stderr))
            json.loads(p.tool("-j", *command, ok=0).stdout)
        t.equal([], [c for c in p.on_terminal("rm", "vol:g") if c == 7],
                "on a terminal")
    # An answer that is lost, and a session that says what never was.
    p.api.answers = {"commit": (503, b""), "session": (
        200, b'{"state":"published","result":{"commit":"x"}}')}
    r = p.tool("rm", "vol:g")
    t.true(r.returncode == 1 and r.stdout == "", r.stderr)


def test_chunks(t):
    """What is to be sent, and where to."""
    p = Place(t)
    url = p.api.url.encode()

    def upload(digest, where, headers=b"", n=1):
        return UPLOADS + struct.pack("<I", n) + b"\1" + digest + (
            liar.str16(where) + liar.str16(headers))
    for what, body in (
            ("empty", b""), ("short", UPLOADS), ("long", bytes(17 << 20)),
            ("none", UPLOADS + struct.pack("<I", 0)),
            ("too many", UPLOADS + struct.pack("<I", 2) + bytes(2)),
            ("very many", UPLOADS + struct.pack("<I", 0xffffffff)),
            ("unknown", UPLOADS + struct.pack("<I", 1) + b"\3"),
            ("more", UPLOADS + struct.pack("<I", 1) + b"\0x"),
            ("another kind", b"SVWB\2\1" + struct.pack("<I", 1) + b"\0"),
            ("another version", b"SVWB\4\2" + struct.pack("<I", 1) + b"\0"),
            ("another object", upload(bytes(32), url + b"/o")),
            ("cut", upload(bytes(32), url + b"/o")[:-3])):
        p.api.answers = {"chunks": (200, body)}
        p.refused("chunks: " + what, ("upload",), (p.put(),))
    small = liar.sha(b"small\n")
    for where in (b"", b"file:///etc/passwd", b"http://192.0.2.1/x", b"x" * 60000,
                  b"gopher://127.0.0.1/x", url + b"/a b\r\nx: y"):
        p.api.answers = {"chunks": (200, upload(small, where))}
        p.refused("a URL: %r" % where[:40], ("upload",), (p.put(),))
    for headers in (b"host: evil\n", b"x", b"a: b\r\nc: d\n", b"\0: x\n"):
        p.api.answers = {"chunks": (200, upload(small, url + b"/o", headers))}
        p.refused("headers: %r" % headers, ("upload",), (p.put(),))
    # It is to be in a pack, and then of the pack no answer.
    for body in (b"", UPLOADS + struct.pack("<I", 1) + b"\2",
                 upload(bytes(32), url + b"/o"), bytes(9 << 20)):
        p.api.answers = {"chunks": (200, UPLOADS + struct.pack("<I", 1) +
                                    b"\2"), "packs": (200, body)}
        p.refused("packs: %r" % body[:20], ("upload",), (p.put(),))
    # One that no pack has room for.
    p.api.answers = {}
    honest = p.api.session
    p.api.session = lambda words, body: (
        200, UPLOADS + body[6:10] + b"\2" * struct.unpack_from(
            "<I", body, 6)[0]) if words[1:] == ["chunks"] else (
                honest(words, body))
    p.refused("a large chunk in a pack", ("pack",), (p.put("large"),))
    p.api.session = honest
    p.api.answers = {"chunks": (403, ESCAPE)}
    # Its words, as of any refusal; on a terminal without what that obeys.
    p.refused("chunks 403", ("evil",), (p.put(), p.put("large")))
    said = p.on_terminal(*p.put())
    t.true(b"evil" in said and b"\x1b]" not in said, repr(said))
