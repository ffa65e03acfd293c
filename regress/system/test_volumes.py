# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Volumes are renamed, forked, deleted and restored, and what their mounts do
meanwhile is as the manual says."""

import json
import os
import re
import shutil
import sys
import threading

from sailtest import bigvolume, proxy, stack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "python"))
from sail import Volume, errors  # noqa: E402
from sail.api import Client  # noqa: E402

BOTH_STORES = True


def ctl(s, *args, ok=True, key=None):
    return s.t.run([s.program] + list(args), ok=ok, env={
        "SAIL_API_URL": s.url, "SAIL_API_KEY": key or s.server.key})


def names(s, *args):
    got = json.loads(ctl(s, "-j", "volume", "list", *args).stdout)
    return [v["name"] for v in got["volumes"]]


def code(s, *args, key=None):
    r = ctl(s, "-j", *args, ok=1, key=key)
    return json.loads(r.stdout)["error"]["code"]


def test_rename(t):
    """A mount goes on, and is taken up by the name that it was made by; the old
    name is free, and another volume of it is never mixed up."""
    s = stack.Stack(t)
    a = s.mount("one", "a", create=True)
    stack.write(a + "/f", "x\n")
    ctl(s, "volume", "create", "taken")
    t.equal("", ctl(s, "volume", "rename", "one", "two").stdout, "output")
    ctl(s, "volume", "rename", "two", "two")
    t.equal(["taken", "two"], names(s), "names")
    t.equal("volume_exists", code(s, "volume", "rename", "two", "taken"),
            "taken")
    t.equal("volume_not_found", code(s, "volume", "rename", "one", "x"),
            "the old name")
    t.equal("bad_name", code(s, "volume", "rename", "two", ".x"), "no name")
    t.equal("role", code(s, "volume", "rename", "two", "x",
                         key=s.new_key("write")), "no admin")
    s.commit(a)
    stack.write(a + "/f", "y\n")
    s.daemon.stop()
    s.daemon.start()
    t.wait_for(lambda: os.path.exists(a + "/f"), "the mount to be back")
    t.equal("y\n", stack.read(a + "/f"), "after a start")
    s.commit(a)
    b = s.mount("two", "b")
    t.equal("y\n", stack.read(b + "/f"), "by the new name")
    stack.write(a + "/f", "z\n")
    s.daemon.umount(a, "--force")
    ctl(s, "volume", "create", "one")
    c = s.mount("one", "c")
    t.equal([], os.listdir(c), "the new one of the old name")
    r = s.mount("one", "a", ok=1)
    t.true("belongs to the old one" in r.stderr, r.stderr)
    t.true("renamed" in r.stderr, r.stderr)
    # As the manual says: under the old name again.
    s.daemon.umount(c)
    ctl(s, "volume", "delete", "one")
    ctl(s, "volume", "rename", "two", "one")
    s.mount("one", "a")
    t.equal("z\n", stack.read(a + "/f"), "taken up")


def test_renamed_with_namesake(t):
    """Mounts of a volume that was renamed, made by a command and configured,
    are back after a start of the daemon, where another volume has its old name
    too; each goes on with its own."""
    s = stack.Stack(t)
    a, b = s.point("a"), s.point("b")
    s.daemon.configure('volume "one" {\n\tmount "%s"\n\tcreate\n}\n' % b)
    s.daemon.hup()
    t.wait_for(lambda: os.path.ismount(b), "the configured mount")
    s.mount("one", "a")
    stack.write(a + "/f", "x\n")
    s.commit(a)
    clean = s.mount("one", "clean")
    stack.write(a + "/h", "x\n")
    stack.write(b + "/g", "y\n")
    ctl(s, "volume", "rename", "one", "two")
    ctl(s, "volume", "create", "one")
    s.daemon.stop()
    s.daemon.start()
    t.wait_for(lambda: os.path.ismount(a) and os.path.ismount(b),
               "both mounts to be back")
    t.wait_for(lambda: os.path.ismount(clean), "the clean one")
    t.equal("x\n", stack.read(a + "/h"), "what was not published")
    t.equal(["f"], os.listdir(clean), "the clean one")
    s.commit(a)
    s.commit(b)
    t.equal({"f", "g", "h"}, set(os.listdir(s.mount("two", "c"))), "the renamed")
    t.equal([], os.listdir(s.mount("one", "d")), "its namesake")


def test_fork(t):
    """A fork begins as its origin, shares its bytes, and goes its own way."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    with open(a + "/big", "wb") as f:
        f.write(os.urandom(20 << 20))
    for i in range(200):
        stack.write("%s/f%03d" % (a, i), "%d\n" % i)
    one = s.commit(a)
    stack.write(a + "/f000", "later\n")
    s.commit(a)
    before = s.objects()
    ident = ctl(s, "volume", "fork", "vol", "fork").stdout
    t.true(re.fullmatch("vol_[0-9a-f]{32}\n", ident), ident)
    ctl(s, "volume", "fork", "-c", one[:10], "vol", "old")
    b, c = s.mount("fork", "b"), s.mount("old", "c")
    stack.same(t, stack.look(a), stack.look(b), "the fork")
    t.equal("0\n", stack.read(c + "/f000"), "of an older commit")
    t.equal(before, s.objects(), "nothing was copied")
    log = json.loads(ctl(s, "-j", "log", "fork").stdout)["commits"]
    origin = json.loads(ctl(s, "-j", "volume", "get", "vol").stdout)
    t.equal([(0, None, "fork of %s at %s" % (origin["id"], origin["head"]))], [
        (x["number"], x["parent"], x["message"]) for x in log], "log")
    # One chunk of the large file is new, in the fork alone.
    with open(b + "/big", "r+b") as f:
        f.write(b"changed")
    stack.write(b + "/f001", "fork\n")
    sent = s.commit_json(b)["bytes_uploaded"]
    t.true(sent < 9 << 20, "uploaded %d" % sent)
    s.daemon.umount(b)
    b = s.mount("fork", "b")
    with open(b + "/big", "rb") as f:
        t.equal(b"changed", f.read(7), "in the fork")
    s.reload(a)
    t.equal("1\n", stack.read(a + "/f001"), "not in the origin")
    t.equal("commit_not_found", code(s, "show", "fork", one), "its commits")
    t.equal("volume_exists", code(s, "volume", "fork", "vol", "old"), "taken")
    t.equal("bad_commit", code(s, "volume", "fork", "-c", "x", "vol", "y"),
            "no commit")
    t.equal("role", code(s, "volume", "fork", "vol", "y",
                         key=s.new_key("read")), "a reader")
    # The origin may go.
    s.daemon.umount(a)
    ctl(s, "volume", "delete", "vol")
    s.daemon.umount(c)
    c = s.mount("old", "c")
    t.equal(20 << 20, len(open(c + "/big", "rb").read()), "all bytes")


def test_delete(t):
    """A deleted volume is gone, and its name is free; its mount shows what it
    has, fails to commit, and goes on when the volume is back."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    os.mkdir(a + "/d")
    for i in range(3):
        os.mkdir("%s/d/e%d" % (a, i))
        stack.write("%s/d/e%d/f" % (a, i), "%d\n" % i)
    stack.write(a + "/f", "x\n")
    s.commit(a)
    s.daemon.umount(a)
    a = s.mount("vol", "a")
    t.equal("x\n", stack.read(a + "/f"), "read before")
    stack.write(a + "/new", "local\n")
    ident = json.loads(ctl(s, "-j", "volume", "get", "vol").stdout)["id"]
    t.equal("role", code(s, "volume", "delete", "vol",
                         key=s.new_key("write")), "no admin")
    ctl(s, "volume", "delete", "vol")
    t.equal(([], ["vol"]), (names(s), names(s, "--deleted")), "lists")
    line = ctl(s, "volume", "list", "--deleted").stdout
    t.true(ident in line and "kept until" in line, line)
    t.equal("volume_not_found", code(s, "volume", "get", ident), "by its id")
    t.equal("volume_not_found", code(s, "log", "vol"), "its log")
    t.equal(("x\n", "local\n"), (stack.read(a + "/f"), stack.read(a + "/new")),
            "what the mount has")
    r = s.ctl("commit", a, ok=1)
    t.true("no such volume" in r.stderr, r.stderr)
    r = s.ctl("reload", a, ok=1)
    t.true("no such volume" in r.stderr, r.stderr)
    # Another takes the name; the first comes back beside it.
    ctl(s, "volume", "create", "vol")
    t.equal("volume_exists", code(s, "volume", "restore", ident), "taken")
    t.equal("volume_not_found", code(s, "volume", "restore", "vol"),
            "by its name")
    t.equal("volume_not_found", code(
        s, "volume", "restore", ident, key=s.new_key(org="other")), "other org")
    ctl(s, "volume", "restore", ident, "back")
    t.equal((["back", "vol"], []), (names(s), names(s, "--deleted")), "lists")
    t.equal("volume_not_found", code(s, "volume", "restore", ident), "again")
    for i in range(3):
        t.equal("%d\n" % i, stack.read("%s/d/e%d/f" % (a, i)), "the rest")
    s.commit(a)
    b = s.mount("back", "b")
    t.equal("local\n", stack.read(b + "/new"), "committed")


def test_lost_answers(t):
    """Who does not hear that a volume was renamed or deleted asks again: of that
    one, whoever has its name by then; and it was no error."""
    s = stack.Stack(t, proxied=True)
    client = Client(s.url, s.server.key)

    def by_python(what, *args):
        getattr(Volume.get(args[0], client=client), what)(*args[1:])

    def asks(how, what, *args):
        return {
            "python": lambda: by_python(what, *args),
            "direct": lambda: ctl(s, "volume", what, *args),
            "daemon": lambda: s.ctl("-s", s.daemon.socket, "volume", what,
                                    *args)}[how]

    for how in "direct", "daemon", "python":
        s.server.call("POST", "/v1/volumes", {"name": "one"})
        for pattern, ask, there in (
                ("^POST .*/rename$", asks(how, "rename", "one", "two"),
                 ["one", "two"]),
                ("^DELETE ", asks(how, "delete", "two"), ["one", "two"])):
            lost = s.api.fault(proxy.LOSE, pattern)
            again = s.api.fault(proxy.HOLD, pattern)
            failed = []
            asker = threading.Thread(target=quietly, args=(ask, failed))
            asker.start()
            t.wait_for(lambda f=again: f.done, "the second try", 30)
            t.equal(1, lost.done, "the first")
            # Of the name that it had.
            old = "one" if "rename" in pattern else "two"
            t.equal(201, s.server.call("POST", "/v1/volumes", {
                "name": old})[0], "another of that name")
            again.release()
            asker.join()
            t.equal([], failed, "%s: %s" % (how, pattern))
            t.equal(there, names(s), "%s: %s" % (how, pattern))
        for name in "one", "two":
            ctl(s, "volume", "delete", name)
    ident = s.server.call("POST", "/v1/volumes", {"name": "x"})[1]["id"]
    for name, status in ("x", 204), (ident, 204), ("x", 404), (
            "vol_" + "0" * 32, 404):
        t.equal(status, s.server.call("DELETE", "/v1/volumes/" + name)[0],
                "deleted by " + name)
    t.equal(404, s.server.raw("DELETE", "/v1/volumes/" + ident, None, {
        "Authorization": "Bearer " + s.new_key(org="other")})[0], "other org")


def quietly(f, failed):
    try:
        f()
    except Exception as e:
        failed.append(e)


def test_unknown_names(t):
    """A name that a mount has not asked for before is an error while the volume
    is deleted, not a name that is not there."""
    s = stack.Stack(t)
    volume = bigvolume.BigVolume(
        bigvolume.Api(s.server.url, s.server.key), "vol")
    volume.tree("tree", 20000)
    a = s.mount("vol", "a")
    files = []
    for where, _, found in os.walk(a):
        files += [os.path.join(where, f) for f in found]
    s.daemon.umount(a)
    s.daemon.stop()
    shutil.rmtree(s.daemon.dir + "/state")
    s.daemon.start()
    s.mount("vol", "a")
    ident = json.loads(ctl(s, "-j", "volume", "get", "vol").stdout)["id"]
    ctl(s, "volume", "delete", "vol")
    missed = 0
    for f in files[::200]:
        try:
            os.stat(f)
        except FileNotFoundError as e:
            t.fail("not there: %s" % e)
        except OSError:
            missed += 1
    ctl(s, "volume", "restore", ident)
    for f in files[::200]:
        os.stat(f)
    t.true(missed > 0, "something was not here")


def test_python(t):
    """Volume.rename, fork, delete, list and restore."""
    s = stack.Stack(t)
    client = Client(s.url, s.server.key)
    v = Volume.get("one", mint_if_missing=True, client=client)
    v.rename("two")
    t.equal(("two", v.id), (v.name, Volume.get("two", client=client).id),
            "renamed")
    f = v.fork("three")
    t.true(f.id != v.id and f.name == "three", repr(f))
    g = v.fork("four", commit=next(v.log())["id"])
    t.equal(["four", "three", "two"], [x.name for x in Volume.list(
        client=client)], "list")
    f.delete()
    t.equal([f.id], [x.id for x in Volume.list(True, client)], "deleted")
    try:
        list(f.log())
        t.fail("a log of a deleted volume")
    except errors.NotFoundError as e:
        t.equal("volume_not_found", e.code, "code")
    try:
        g.rename("two")
        t.fail("a name that is taken")
    except errors.ConflictError as e:
        t.equal("volume_exists", e.code, "code")
    t.equal("five", Volume.restore(f.id, "five", client=client).name,
            "restored")
