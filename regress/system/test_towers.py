# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Directories that are equal a thousand times on each level are small, and have
more names than anybody could look at: who makes them holds up nobody else."""

import json
import os
import threading
import time

from sailtest import client, deadline, server, stack, wire

WIDE = 1000
# Of a machine that does much else.
SOON_S = 20
PAD = b"x" * 200  # fewer names are as many bytes of paths


def commit(c, ops, commits=(), context=()):
    """The commit's id."""
    out = json.loads(c.ask(c.session + "/commit",
                           wire.delta(ops, commits, context)))
    c.begin()
    return bytes.fromhex(out["commit"])


def tower(c, names, mode, pad=b""):
    """Each name is a directory of WIDE: empty ones, then the name before."""
    last = None
    for n, name in enumerate(names):
        ops = [wire.op(wire.PUT, name, wire.directory())]
        for i in range(WIDE):
            path = name + b"/%04d" % i + pad
            ops.append(
                wire.op(wire.PUT, path, wire.directory(mode)) if n == 0 else
                wire.op(wire.PUT, path, wire.directory(),
                        ref=wire.tree(0, names[n - 1])))
        last = commit(c, ops, [last] if last else [])
    return last


class Soon:
    """A call in a thread."""

    def __init__(self, call):
        self.out = None
        self.began = time.monotonic()
        self.took = None
        self.thread = threading.Thread(target=self.run, args=(call,),
                                       daemon=True)
        self.thread.start()

    def run(self, call):
        try:
            self.out = call()
        except Exception as e:
            self.out = e
        self.took = time.monotonic() - self.began

    def get(self, t, what):
        self.thread.join(SOON_S)
        t.true(self.took is not None, "%s: no answer in %d s" % (what, SOON_S))
        return self.out


@deadline(200)
def test_read(t):
    """The head, a part of it, and what changed are told in time."""
    srv = server.Server(t)
    c = client.Client(srv)
    tower(c, [b"b", b"c", b"d"], 0o755)
    first = tower(c, [b"B", b"C", b"D"], 0o755)
    last = commit(c, [wire.op(wire.PUT, b"e", wire.directory(),
                              ref=wire.tree(0, b"D"))], [first])
    head = {"Authorization": "Bearer " + srv.key}
    for what, call in (
            ("head", lambda: srv.raw("GET", "/v1/volumes/v/head", None, head)),
            ("all", lambda: srv.raw("GET", "/v1/volumes/v/head?budget=8388608",
                                    None, head)),
            ("diff", lambda: srv.raw(
                "POST", "/v1/volumes/v/diff",
                json.dumps({"from": first.hex(), "to": last.hex()}).encode(),
                head))):
        slow = Soon(call)
        other = Soon(lambda: srv.call("GET", "/v1/whoami")[0])
        t.equal(200, other.get(t, "another beside " + what), what)
        t.equal(200, slow.get(t, what)[0], what)
        t.said += "%s%s %.2f s, another %.2f s" % (
            "; " if t.said else "", what, slow.took, other.took)


@deadline(200)
def test_merge(t):
    """A merge of two of them is refused, not before others; a revoked key's
    ends."""
    srv = server.Server(t)
    other = client.Client(srv, "other")
    bad, keys = [], []
    for name in ("v1", "v2", "v3"):
        key = srv.call("POST", "/v1/keys", {"role": "write", "name": name})[1]
        keys.append(key["id"])
        srv.call("POST", "/v1/volumes", {"name": name})
        c = client.Client(srv, name, key["key"])
        tower(c, [b"b", b"c", b"d"], 0o755)
        last = tower(c, [b"B", b"C", b"D"], 0o700)
        delta = wire.delta([wire.op(wire.PUT, b"d", wire.directory(),
                                    ref=wire.tree(0, b"D"))], commits=[last])
        bad.append(Soon(lambda c=c, delta=delta: c.ask(
            c.session + "/commit", delta)))
    commit(other, [wire.op(wire.PUT, b"a", wire.directory())])
    key = srv.call("POST", "/v1/keys", {
        "role": "write", "name": "limited",
        "volumes": [{"volume": "other", "path": "a"}]})[1]["key"]
    limited = client.Client(srv, "other", key)
    honest = Soon(lambda: commit(
        limited, [wire.op(wire.PUT, b"a/l", wire.symlink(b"x"))],
        context=[(b"a", wire.directory())]))
    t.true(isinstance(honest.get(t, "a commit beside them"), bytes),
           "it was refused: %r" % (honest.out,))
    t.said = "another's commit took %.2f s" % honest.took
    for key in keys:
        t.equal(204, srv.call("DELETE", "/v1/keys/" + key)[0], "revoke")
    for b in bad:
        b.get(t, "a merge of a revoked key")
        t.true(isinstance(b.out, client.Refused) and b.out.status in (400, 401),
               "%r" % (b.out,))
    t.said += "; they ended after %s s with %s" % (
        ", ".join("%.1f" % b.took for b in bad), [b.out.code for b in bad])


class Looks:
    """What changed in another mount, and ls of it, again and again."""

    def __init__(self, s, path):
        self.s, self.path = s, path
        self.ended, self.longest, self.n = False, 0, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended:
            began = time.monotonic()
            os.listdir(self.path)
            self.s.ctl("diff", self.path)
            self.longest = max(self.longest, time.monotonic() - began)
            self.n += 1

    def end(self):
        self.ended = True
        self.thread.join(SOON_S)


@deadline(400)
def test_mount(t):
    """A reload that would differ at 10^9 names is refused, nobody waits for it,
    and the mount goes on; mounted again it shows it."""
    s = stack.Stack(t)
    a, other = s.mount("v", "a", create=True), s.mount("o", "o", create=True)
    c = client.Client(s.server, "v")
    first = tower(c, [b"b", b"c", b"d"], 0o755, PAD)
    s.reload(a)
    t.equal(WIDE, len(os.listdir(os.path.join(a, "d"))), "ls d")
    tower(c, [b"B", b"C", b"D"], 0o700, PAD)
    s.reload(a)
    # d becomes D, which differs in each leaf.
    commit(c, [wire.op(wire.PUT, b"d", wire.directory(), seen=wire.SEEN_DIR,
                       ref=wire.tree(0, b"D"), old=wire.tree(1, b"d"))],
           [json_head(s), first])
    looks = Looks(s, other)
    began = time.monotonic()
    out = s.ctl("-j", "reload", a, ok=False, timeout=300).stdout
    took = time.monotonic() - began
    looks.end()
    t.equal("reload_too_large", json.loads(out)["error"]["code"], out)
    t.said = ("refused after %.1f s; meanwhile %d looks into another mount, "
              "the longest %.2f s" % (took, looks.n, looks.longest))
    t.true(looks.longest < took / 2, "another mount waited: " + t.said)
    for what, call in (
            ("write", lambda: stack.write(os.path.join(a, "new"), "x")),
            ("diff", lambda: s.ctl("diff", a).stdout),
            ("commit", lambda: s.commit(a))):
        soon = Soon(call)
        t.true(not isinstance(soon.get(t, what), Exception),
               "%s: %r" % (what, soon.out))
    s.daemon.umount(a)
    a = s.mount("v", "a")
    t.equal(0o700, os.stat(os.path.join(
        a, "d", *(name + PAD.decode() for name in (
            "0999", "0000", "0500")))).st_mode & 0o7777, "d shows D")
    t.true(os.path.exists(os.path.join(a, "new")), "new was published")


def json_head(s):
    """The volume's newest commit."""
    return bytes.fromhex(s.server.call("GET", "/v1/volumes/v")[1]["head"])
