# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A key for a directory of a volume: mounts of it, sailvolctl without a mount,
and what it says where the key does not reach."""

import json
import os

from sailtest import bigvolume, deadline, stack, wire
from sailtest.stack import read, write

BOTH_STORES = True


def limited(s, path, role="write", volume="v", **more):
    """The secret of a new key for that path."""
    status, out = s.server.call("POST", "/v1/keys", dict({
        "role": role, "volumes": [{"volume": volume, "path": path}]}, **more))
    s.t.equal(201, status, out)
    return out["key"]


def volume(t, **kwargs):
    """A stack with a volume that has a/deep, b and top/sub, mounted whole."""
    s = stack.Stack(t, **kwargs)
    m = s.mount("v", "whole", create=True)
    for path in ("a/deep", "b", "top/sub"):
        os.makedirs(os.path.join(m, path))
    for path in ("a/f", "a/deep/f", "b/secret", "top/sub/f", "top/f", "f"):
        write(os.path.join(m, path), "in " + path)
    s.commit(m)
    return s, m


def test_mount(t):
    """What is below the path is mounted, committed and reloaded as with the
    owner's key; what others commit beside it changes nothing."""
    s, m = volume(t)
    d = s.add_daemon(key=limited(s, "a"))
    p = d.mount("v:/a", "part")
    stack.same(t, stack.look(os.path.join(m, "a")), stack.look(p), "mounted")
    write(os.path.join(p, "f"), "two")
    os.mkdir(os.path.join(p, "made"))
    os.rename(os.path.join(p, "deep"), os.path.join(p, "made/deep"))
    os.symlink("../b/secret", os.path.join(p, "link"))
    os.chmod(p, 0o750)
    t.equal(s.commit(p), s.reload(m), "the same commit")
    stack.same(t, stack.look(p), stack.look(os.path.join(m, "a")), "whole")
    t.equal(0o750, os.stat(os.path.join(m, "a")).st_mode & 0o7777, "its mode")
    t.equal("in b/secret", read(os.path.join(m, "b/secret")), "beside it")
    # Others work above and beside it, and in it.
    write(os.path.join(m, "b/new"), "new")
    os.rename(os.path.join(m, "top"), os.path.join(m, "bottom"))
    write(os.path.join(m, "a/theirs"), "theirs")
    t.equal(s.commit(m), s.reload(p), "reload")
    stack.same(t, stack.look(os.path.join(m, "a")), stack.look(p), "reloaded")
    write(os.path.join(m, "b/new"), "newer")
    s.commit(m)
    got = s.reload_json(p)
    t.equal("theirs", read(os.path.join(p, "theirs")), "nothing changed")
    t.true(got["commit"], got)
    write(os.path.join(p, "mine"), "mine")
    s.commit(p)
    s.reload(m)
    t.equal({"bottom", "a", "b", "f"}, set(os.listdir(m)), "all is there")


def test_large(t):
    """Many files, a large one that changes in a part, and a file that was
    renamed: what is not new is not uploaded again."""
    s, m = volume(t)
    d = s.add_daemon(key=limited(s, "a"))
    big = os.path.join(m, "a/big")
    with open(big, "wb") as f:
        for i in range(4):
            f.write(os.urandom(1 << 20) * 8)
    s.commit(m)
    p = d.mount("v:/a", "part")
    os.mkdir(os.path.join(p, "many"))
    for i in range(300):
        write(os.path.join(p, "many/%d" % i), "file %d of them" % i)
    with open(os.path.join(p, "big"), "r+b") as f:
        f.seek(20 << 20)
        f.write(b"changed")
    os.rename(os.path.join(p, "f"), os.path.join(p, "renamed"))
    before = s.objects()
    s.commit(p)
    new = {k: n for k, n in s.objects().items() if k not in before}
    t.true(sum(new.values()) < 10 << 20, "uploaded: %s" % new)
    t.true(len(new) <= 3, "objects: %s" % new)
    s.reload(m)
    stack.same(t, stack.look(p), stack.look(os.path.join(m, "a")), "same")
    # A cold daemon of the owner reads what the key has brought.
    e = s.add_daemon()
    q = e.mount("v", "cold")
    stack.same(t, stack.look(p), stack.look(os.path.join(q, "a")), "cold")
    os.rename(os.path.join(p, "big"), os.path.join(p, "bigger"))
    os.rename(os.path.join(p, "many/7"), os.path.join(p, "seven"))
    s.commit(p)
    s.reload(q)
    stack.same(t, stack.look(p), stack.look(os.path.join(q, "a")), "renamed")


def test_deep(t):
    """A path of two names."""
    s, m = volume(t)
    d = s.add_daemon(key=limited(s, "top/sub"))
    p = d.mount("v:/top/sub", "part")
    before = os.stat(os.path.join(m, "top")).st_mtime_ns
    write(os.path.join(p, "g"), "g")
    os.mkdir(os.path.join(p, "d"))
    t.equal(s.commit(p), s.reload(m), "commit")
    t.equal("g", read(os.path.join(m, "top/sub/g")), "there")
    t.equal(before, os.stat(os.path.join(m, "top")).st_mtime_ns, "above it")
    # Below its path, too.
    q = d.mount("v:/top/sub/d", "below")
    write(os.path.join(q, "x"), "x")
    s.commit(q)
    s.reload(p)
    t.equal("x", read(os.path.join(p, "d/x")), "below")


def test_gone(t):
    """The directory of the key was moved away: the mount goes on, and neither
    reload nor commit makes it again."""
    s, m = volume(t)
    d = s.add_daemon(key=limited(s, "top/sub"))
    p = d.mount("v:/top/sub", "part")
    write(os.path.join(p, "mine"), "mine")
    os.rename(os.path.join(m, "top"), os.path.join(m, "moved"))
    head = s.commit(m)
    t.equal("not_found", s.reload_json(p, ok=1)["error"]["type"], "reload")
    got = s.commit_json(p, ok=1)
    t.equal("path_gone", got["error"]["code"], "commit")
    t.equal(head, s.reload(m), "nothing was published")
    t.equal("in top/sub/f", read(os.path.join(p, "f")), "what it showed")
    os.rename(os.path.join(m, "moved"), os.path.join(m, "top"))
    s.commit(m)
    s.commit(p)
    s.reload(m)
    t.equal("mine", read(os.path.join(m, "top/sub/mine")), "published now")


def test_words(t):
    """Without the path, or with another, an error says what the key is for."""
    s, _ = volume(t)
    key = limited(s, "a", role="read")
    d = s.add_daemon(key=key)
    for what in ("v", "v:/b", "v:/top", "v:/ab", "v:/nothing"):
        r = d.mount(what, "x", ok=1)
        t.true("limited to a directory of it: v:/a" in r.stderr,
               "%s: %s" % (what, r.stderr))
    d.mount("v:/a/deep", "x")
    p = d.mount("v:/a", "y")
    write(os.path.join(p, "new"), "new")
    t.equal("role", s.commit_json(p, ok=1)["error"]["code"], "a reader")


def test_sailvolctl(t):
    """ls, get, put, rm, log, diff and show with such a key."""
    s, m = volume(t)
    keyfile = t.write("box.key", limited(s, "a") + "\n", 0o600)

    def ctl(*words, ok=True):
        return t.run([s.program, "-u", s.server.url, "-k", keyfile]
                     + list(words), ok=ok)

    t.equal(["deep", "f"], ctl("ls", "-1", "v:/a").stdout.split(), "ls")
    t.equal("in a/deep/f", ctl("get", "v:a/deep/f", "-").stdout, "get")
    for what in ("v:", "v:/b", "v:b/secret", "v:/f"):
        for words in (("ls", what), ("get", what, "-")):
            r = ctl(*words, ok=1)
            t.true("limited to a directory of it: v:/a" in r.stderr,
                   "%s: %s" % (words, r.stderr))
    source = t.write("put", "put")
    first = ctl("put", "-m", "mine", source, "v:/a/new/f").stdout.strip()
    s.reload(m)
    t.equal("put", read(os.path.join(m, "a/new/f")), "put")
    for words in (("put", source, "v:/b/f"), ("rm", "v:/b/secret"),
                  ("rm", "-r", "v:/top")):
        r = ctl(*words, ok=1)
        t.true("limited to a directory of it: v:/a" in r.stderr,
               "%s: %s" % (words, r.stderr))
    ctl("rm", "-r", "v:/a/deep")
    s.reload(m)
    t.equal({"f", "new"}, set(os.listdir(os.path.join(m, "a"))), "rm")
    ctl("rm", "-r", "v:/a", ok=1)
    # History: what did nothing there is not shown.
    write(os.path.join(m, "b/x"), "x")
    beside = s.ctl("commit", "-m", "beside", m).stdout.strip()
    write(os.path.join(m, "b/y"), "y")
    write(os.path.join(m, "a/y"), "y")
    both = s.ctl("commit", "-m", "both", m).stdout.strip()
    log = json.loads(ctl("-j", "log", "v").stdout)["commits"]
    ids = [c["id"] for c in log]
    t.true(beside not in ids and both in ids and first in ids, str(log))
    words = {c["id"]: c["message"] for c in log}
    t.equal(("mine", ""), (words[first], words[both]), "messages")
    r = ctl("show", "v", both)
    t.true("a/y" in r.stdout and "b/" not in r.stdout, r.stdout)
    r = ctl("diff", "v", first, both)
    t.true("b/" not in r.stdout and "a/deep" in r.stdout, r.stdout)
    t.equal("in a/deep/f", ctl("get", "v@%s:a/deep/f" % first, "-").stdout,
            "an older commit")
    r = ctl("get", "v@%s:b/secret" % first, "-", ok=1)
    t.true("limited to a directory of it: v:/a" in r.stderr, r.stderr)
    got = json.loads(ctl("-j", "volume", "get", "v").stdout)
    t.equal(("a", 3), (got["path"], got["files"]), "the volume")


def test_new_key(t):
    """A daemon whose key changes from a path to all, and to another path,
    shows what the new key sees."""
    s, m = volume(t)
    d = s.add_daemon(key=limited(s, "a"))
    p = d.mount("v:/a", "part")
    t.equal("in a/f", read(os.path.join(p, "f")), "with the first")
    t.write("%s/key" % d.name, s.server.key + "\n", 0o600)
    d.hup()
    t.wait_for(lambda: d.mount("v", "all", ok=None).returncode == 0, "a mount")
    stack.same(t, stack.look(m), stack.look(t.path("mnt", "all")), "all of it")
    d.umount(p)
    t.write("%s/key" % d.name, limited(s, "b") + "\n", 0o600)
    d.hup()
    t.wait_for(lambda: d.mount("v:/b", "b", ok=None).returncode == 0,
               "a mount")
    t.equal("in b/secret", read(t.path("mnt", "b", "secret")), "the other")
    # A mount of the whole is never given a part for it.
    write(os.path.join(m, "f"), "two")
    s.commit(m)
    got = s.reload_json(t.path("mnt", "all"), ok=1)
    t.equal("key_limited", got["error"]["code"], "reload of the whole")
    t.equal({"a", "b", "f", "top"}, set(os.listdir(t.path("mnt", "all"))),
            "what it showed")


def test_history_of_mount(t):
    """What a mount says of its history, and gives back of it."""
    s, m = volume(t)
    key = limited(s, "a")
    keyfile = t.write("box.key", key + "\n", 0o600)
    d = s.add_daemon(key=key)
    p = d.mount("v:/a", "part")
    write(os.path.join(p, "f"), "two")
    first = s.ctl("commit", "-m", "mine", p).stdout.strip()
    write(os.path.join(m, "b/x"), "x")
    beside = s.commit(m)
    s.reload(p)
    log = json.loads(s.ctl("-j", "log", p).stdout)["commits"]
    t.equal(first, log[0]["id"], "the log")
    t.true(beside not in [c["id"] for c in log], "what is beside it")
    write(os.path.join(p, "f"), "three")
    write(os.path.join(p, "new"), "new")
    r = s.ctl("diff", p)
    t.true("new" in r.stdout and "secret" not in r.stdout, r.stdout)
    r = s.ctl("diff", "-p", "-u", s.server.url, "-k", keyfile, p)
    t.true("-two" in r.stdout and "+three" in r.stdout, r.stdout)
    s.commit(p)
    s.ctl("restore", "-u", s.server.url, "-k", keyfile, p, "a/f@" + first)
    t.equal("two", read(os.path.join(p, "f")), "restored")
    s.ctl("reload", p)
    t.equal("three", read(os.path.join(p, "f")), "reloaded")
    listed = json.loads(s.ctl("-j", "stash", "list", p).stdout)["stashes"]
    s.ctl("stash", "restore", p, str(listed[0]["id"]))
    t.equal("two", read(os.path.join(p, "f")), "from the stash")


@deadline(300)
def test_long_history(t):
    """A log of a path goes on over a thousand commits that did nothing there."""
    s, _ = volume(t)
    srv = s.server
    first = srv.call("GET", "/v1/volumes/v")[1]["head"]
    keyfile = t.write("box.key", limited(s, "a") + "\n", 0o600)
    api = bigvolume.Api(srv.url, srv.key)
    for i in range(1005):
        session = "/v1/volumes/v/sessions/%032x" % i
        api.call("PUT", session)
        api.raw("POST", session + "/commit", wire.delta(
            [wire.op(wire.PUT, b"l", wire.symlink(b"%d" % i))]),
            bigvolume.BINARY)
    api.close()
    status, out = srv.call("GET", "/v1/volumes/v/commits", key=read(
        keyfile).strip())
    t.equal((200, []), (status, out["commits"]), "a page")
    t.true(out["next"], "goes on")
    out = json.loads(t.run([s.program, "-j", "-u", srv.url, "-k", keyfile,
                            "log", "v"]).stdout)
    t.equal([first], [c["id"] for c in out["commits"]], "the log")
