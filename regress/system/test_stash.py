# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What a reload takes out of view is in a stash, all of it, and comes back."""

import json
import os
import signal
import socket
import sqlite3
import stat
import threading
import time

from sailtest import bigvolume, deadline, proxy, stack

BOTH_STORES = True


def put(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def ask(path, request, first=None):
    """The answer to one request through ctl; first is done just before it."""
    fd = os.open(os.path.join(path, ".sailvol", "ctl"), os.O_RDWR)
    try:
        if first is not None:
            first()
        os.write(fd, json.dumps(request).encode() + b"\n")
        with os.fdopen(os.dup(fd), "rb") as f:
            for line in f:
                answer = json.loads(line)
                if "progress" not in answer:
                    return answer
        raise AssertionError("no answer")
    finally:
        os.close(fd)


def test_at_once(t):
    """A change made just before a reload to the commit that the mount shows is
    put away, and refuses if_clean, like one made long before."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)

    def change():
        put(os.path.join(a, "f"), "x")

    for n in range(10):
        time.sleep(0.2)
        if n % 2:
            answer = ask(a, {"request": "reload", "if_clean": True}, change)
            t.equal("refused", answer.get("error", {}).get("type"),
                    "%d: %s" % (n, answer))
        answer = ask(a, {"request": "reload"}, change)
        t.true(answer["result"]["stash"] is not None, "%d: %s" % (n, answer))
        t.equal([], os.listdir(a), "names after reload %d" % n)


def ask_socket(s, request, daemon=None):
    """The answer to one request on the control socket."""
    with socket.socket(socket.AF_UNIX) as x:
        x.connect((daemon or s.daemon).socket)
        x.sendall(json.dumps(request).encode() + b"\n")
        with x.makefile("rb") as f:
            for line in f:
                answer = json.loads(line)
                if "progress" not in answer:
                    return answer
    raise AssertionError("no answer")


@deadline(240)
def test_umount(t):
    """An umount that is asked for a stash makes one and goes, at once, also
    where the server does not answer; the answer names it, and it comes back at
    the same place."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    put(os.path.join(a, "f"), "published")
    os.mkdir(os.path.join(a, "d"))
    s.commit(a)
    s.reload(a)
    put(os.path.join(a, "f"), "changed")
    put(os.path.join(a, "g"), "new")
    os.rename(os.path.join(a, "d"), os.path.join(a, "e"))
    umount = {"request": "umount", "path": a}
    for other in ("commit", "force"):
        answer = ask_socket(s, dict(umount, stash=True, **{other: True}))
        t.equal("invalid_request", answer["error"]["type"], other)
    s.api.set_down()
    start = time.monotonic()
    answer = ask_socket(s, dict(umount, stash=True))
    took = time.monotonic() - start
    t.true("result" in answer, answer)
    t.true(took < 10, "took %.1f s" % took)
    stash = answer["result"]["stash"]
    t.equal((2, a), (stash["files"], stash["path"]), "the stash")
    t.true("commit" not in answer["result"], "a commit: %s" % answer)
    t.true(not os.path.ismount(a), "still mounted")
    got = s.daemon.ctl_json("stash", "list")
    t.equal(([stash["id"]], []), ([x["id"] for x in got["stashes"]],
                                  got["unmounted"]), "list")
    s.api.set_down(False)
    s.mount("v", "a")
    t.equal(["d", "f"], sorted(os.listdir(a)), "the next mount there")
    t.equal("published", stack.read(os.path.join(a, "f")), "its content")
    s.ctl("stash", "restore", a, str(stash["id"]))
    t.equal(["e", "f", "g"], sorted(os.listdir(a)), "restored")
    t.equal("changed", stack.read(os.path.join(a, "f")), "its content")
    s.commit(a)
    # Nothing to put away.
    answer = ask_socket(s, dict(umount, stash=True))
    t.equal({"result": {}}, answer, "of a clean one")


@deadline(240)
def test_umount_uncommitted(t):
    """Where `commit on umount' is configured, an umount that says so does not
    commit."""
    s = stack.Stack(t, daemons=0)
    a = s.point("a")
    s.add_daemon(extra="volume \"v\" { mount \"%s\" create "
                 "commit on umount }" % a)
    t.wait_for(lambda: os.path.ismount(a), "the mount")
    put(os.path.join(a, "f"), "x")
    umount = {"request": "umount", "path": a, "commit": False}
    t.equal("refused", ask_socket(s, umount)["error"]["type"], "dirty")
    answer = ask_socket(s, dict(umount, stash=True))
    t.equal(1, answer["result"]["stash"]["files"], "the stash")
    t.equal([], os.listdir(s.mount("v", "b")), "the volume")


@deadline(240)
def test_umount_late(t):
    """An umount that keeps what is there waits half a minute: what it was to do
    then is said, and nothing else; what was to be put away is not, later."""
    s = stack.Stack(t, daemons=2, proxied=True)
    a = s.mount("v", "a", create=True)
    b = s.daemons[1].mount("w", "b", create=True)
    put(os.path.join(a, "f"), "x")
    put(os.path.join(b, "f"), "x")
    s.api.fault(proxy.DELAY, "^PUT .*/sessions/[0-9a-f]+$", at=60, times=9)
    answers = {}

    def umount(d, path, **how):
        answers[path] = ask_socket(s, dict(
            {"request": "umount", "path": path, "keep": True}, **how), d)

    # It does not say how far its journal is.
    s.daemons[1].kill("fuse", signal.SIGSTOP)
    one = threading.Thread(target=umount, args=(s.daemons[1], b))
    one.start()
    commit = threading.Thread(target=ask_socket, args=(
        s, {"request": "commit", "path": a}))
    commit.start()
    t.wait_for(lambda: s.api.count("/sessions/") > 0, "the commit")
    put(os.path.join(a, "g"), "made meanwhile")
    umount(s.daemon, a, stash=True)
    one.join()
    s.daemons[1].kill("fuse", signal.SIGCONT)
    t.true("seconds" not in answers[b]["result"].get("kept", ""), answers[b])
    said = answers[a]["result"]["kept"]
    t.true("not put away in 30 seconds" in said and
           "kept for the next mount there" in said, said)
    t.true("stash" not in answers[a]["result"], answers[a])
    commit.join()  # it was told that the mount went away
    s.api.reset()
    s.mount("v", "a")
    s.commit(a)
    t.equal(["f", "g"], sorted(os.listdir(a)), "the next mount there")
    t.equal([], s.daemon.ctl_json("stash", "list")["stashes"], "stashes")


@deadline(240)
def test_limit(t):
    """The limit of size is each mount's: its oldest stashes go first, the one
    that was just made stays, and those of another mount are not touched."""
    s = stack.Stack(t, extra="stash size 1M")
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")

    def stash(path, size):
        put(os.path.join(path, "f"), "x" * size)
        return s.reload_json(path)["stash"]["id"]

    def left():
        return [x["id"] for x in s.daemon.ctl_json("stash", "list")["stashes"]]

    first = stash(b, 600000)
    one, two = stash(a, 400000), stash(a, 500000)
    t.equal([first, one, two], left(), "below the limit, each")
    three = stash(a, 500000)
    t.equal([first, two, three], left(), "the oldest of its mount goes")
    four = stash(a, 3000000)
    t.equal([first, four], left(), "larger than the limit")
    s.ctl("stash", "restore", a, str(four))
    t.equal(3000000, os.stat(os.path.join(a, "f")).st_size, "restored")


@deadline(240)
def test_total(t):
    """The limit of all mounts: the oldest go first, but not the newest of a
    mount; a reload that would need that is refused, and loses nothing."""
    s = stack.Stack(t, extra="stash size 10M stash total 1M")
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")

    def stash(path, size, ok=True):
        put(os.path.join(path, "f"), "x" * size)
        answer = s.reload_json(path, ok=ok)
        return answer["stash"]["id"] if ok is True else answer["error"]

    def left():
        return [x["id"] for x in s.daemon.ctl_json("stash", "list")["stashes"]]

    one, two = stash(a, 300000), stash(b, 300000)
    three = stash(a, 300000)
    t.equal([one, two, three], left(), "below the limit")
    four = stash(b, 300000)
    t.equal([two, three, four], left(), "the oldest of all goes")
    five = stash(b, 300000)
    t.equal([three, four, five], left(), "and the next")
    error = stash(a, 900000, ok=3)
    t.equal(("refused", "stash_full"), (error["type"], error["code"]), error)
    t.true("stash total" in error["message"] and
           "--keep" in error["message"], error)
    t.equal(900000, os.stat(os.path.join(a, "f")).st_size, "it stays in view")
    t.equal([three, four, five], left(), "none went for it")
    answer = ask_socket(s, {"request": "umount", "path": a, "stash": True,
                            "keep": True})
    t.true("not put away: " in answer["result"]["kept"], answer)
    s.mount("v", "a")
    t.equal(900000, os.stat(os.path.join(a, "f")).st_size, "taken up")
    # There is room again; its own newest is not in the way.
    for ident in (four, five):
        s.ctl("stash", "drop", b, str(ident))
    six = json.loads(s.ctl("-j", "reload", a).stdout)["stash"]["id"]
    t.equal([six], left(), "put away")
    s.ctl("stash", "restore", a, str(six))
    t.equal(900000, os.stat(os.path.join(a, "f")).st_size, "and back")


def bind(*path):
    top = os.open(os.path.join(*path[:-1]), os.O_PATH)
    with socket.socket(socket.AF_UNIX) as x:
        x.bind("/proc/self/fd/%d/%s" % (top, path[-1]))
    os.close(top)


def test_sockets(t):
    """A reload names the sockets that it removes, also when a commit was before
    it; --if-clean and --keep let them stay where the new state has their
    directory, and what others made under such a name is not removed by that."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for d in ("d", "e"):
        os.mkdir(os.path.join(a, d))
    s.share(a, b)
    for path in ((a, "s"), (a, "d", "s"), (a, "e", "s")):
        bind(*path)
    t.equal(["d/s", "e/s", "s"], s.commit_json(a)["not_kept"], "a commit")
    t.equal(["d/s", "e/s", "s"], s.commit_json(a)["not_kept"], "the next")
    put(os.path.join(b, "s"), "of b")
    os.rmdir(os.path.join(b, "e"))
    put(os.path.join(b, "e"), "of b")
    s.commit(b)
    t.equal(["e/s"], s.reload_json(a, "--if-clean")["not_kept"], "if clean")
    t.true(stat.S_ISSOCK(os.stat(os.path.join(a, "s")).st_mode), "a/s")
    t.equal(["s"], os.listdir(os.path.join(a, "d")), "a/d")
    put(os.path.join(a, "d", "f"), "of a")
    os.rename(os.path.join(b, "d"), os.path.join(b, "moved"))
    s.commit(b)
    t.equal(["d/s"], s.reload_json(a, "--keep")["not_kept"], "kept")
    s.commit(a)
    t.equal(["s"], s.reload_json(a)["not_kept"], "a plain reload")
    t.equal({"d", "e", "moved", "s"}, set(os.listdir(a)), "names")
    for name in ("s", "e"):
        with open(os.path.join(a, name), encoding="ascii") as f:
            t.equal("of b", f.read(), name)
    t.equal(["f"], os.listdir(os.path.join(a, "d")), "a/d")


@deadline(240)
def test_at_once_back(t):
    """A stash comes back while the files of the reload that made it still move
    into the cache, and goes again: nothing is lost, and the mount goes on."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    os.mkdir(os.path.join(a, "d"))
    for n in range(1500):
        put(os.path.join(a, "d", str(n)), "content of %d" % n)
    s.commit(a)
    put(os.path.join(a, "d", "7"), "changed")
    put(os.path.join(a, "new"), "new")
    ident = str(s.reload_json(a)["stash"]["id"])
    s.ctl("stash", "restore", a, ident)
    for name, want in (("d/7", "changed"), ("new", "new")):
        with open(os.path.join(a, name), encoding="ascii") as f:
            t.equal(want, f.read(), name)
    ident = str(s.reload_json(a)["stash"]["id"])
    s.ctl("stash", "drop", a, ident)
    for n in range(200, 300):
        os.unlink(os.path.join(a, "d", str(n)))
    # By then all files of the first reload were let go.
    time.sleep(3)
    s.commit(a)
    t.true("journal at" not in s.daemon.log(), "the journal is refused")
    t.equal(1400, len(os.listdir(os.path.join(a, "d"))), "names")


def test_list(t):
    """stash list without a path: the stashes of all mounts, and the changes of
    a mount that was taken away by force, until it is mounted there again."""
    s = stack.Stack(t)
    d = s.daemon
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    t.equal({"stashes": [], "unmounted": []}, d.ctl_json("stash", "list"),
            "nothing yet")
    put(os.path.join(a, "f"), "12345")
    s.reload(a)
    put(os.path.join(b, "g"), "1")
    with open(os.path.join(b, "g"), encoding="ascii"):
        r = d.umount(b, "--force")
        t.true("still in use elsewhere" in r.stderr, r.stderr)
        t.equal([], d.ctl_json("stash", "list")["unmounted"], "in use")
    b = s.mount("v", "b")
    d.umount(b, "--force")
    # Another test that begins has all mounts, too, for a moment.
    t.wait_for(lambda: d.ctl_json("stash", "list")["unmounted"],
               "the session of b to end")
    got = d.ctl_json("stash", "list")
    t.equal([(a, "v", 1, 5)], [(x["path"], x["volume"], x["files"], x["bytes"])
                               for x in got["stashes"]], "stashes")
    t.equal([(b, "v", 1, 1)], [(x["path"], x["volume"], x["names"],
                                x["objects"]) for x in got["unmounted"]],
            "of mounts that are gone")
    lines = [x.split("\t") for x in
             d.ctl("stash", "list").stdout.splitlines()]
    ident = str(got["stashes"][0]["id"])
    t.equal([[ident, "1 files", "5 bytes", "v", a],
             ["-", "1 files", "-", "v", b]],
            [x[:1] + x[2:] for x in lines], "lines")
    t.equal([ident], [x.split("\t")[0] for x in s.ctl(
        "stash", "list", a).stdout.splitlines()], "of one mount")
    s.mount("v", "b")
    t.equal([], d.ctl_json("stash", "list")["unmounted"], "taken up")
    with open(os.path.join(b, "g"), encoding="ascii") as f:
        t.equal("1", f.read(), "taken up")
    s.ctl("-s", d.socket, "stash", "show", "nowhere", "1", ok=1)


def test_words(t):
    """What reload, restore and drop did is said, also of changes that are no
    files; a refusal names the mount and what to do."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    put(os.path.join(a, "f"), "1")
    s.commit(a)
    os.unlink(os.path.join(a, "f"))
    os.mkdir(os.path.join(a, "d"))
    said = s.ctl("reload", "--if-clean", a, ok=3).stderr
    t.true(a in said and "--keep" in said and "commit" in said, said)
    r = s.ctl("reload", a)
    t.true("2 unpublished changes (0 files) were put away: stash 1" in r.stderr,
           r.stderr)
    one = s.daemon.ctl_json("stash", "list", a)["stashes"][0]
    t.equal((2, 0), (one["changes"], one["files"]), "stash list")
    said = s.ctl("stash", "restore", a, "1").stderr
    t.true("stash 1 is in view again" in said, said)
    t.equal(["d"], [x for x in os.listdir(a) if x[0] != "."], "restored")
    t.equal(2, s.reload_json(a)["stash"]["changes"], "changes")
    said = s.ctl("stash", "drop", a, "2").stderr
    t.equal("sailvolctl: stash 2 was dropped\n", said, "drop")


def forget_nodes(s):
    """What is remembered of trees is not here any more."""
    s.daemon.stop()
    db = sqlite3.connect(s.daemon.dir + "/state/db/sailvold.db", timeout=60)
    with db:
        db.execute("DELETE FROM node")
    db.close()
    s.daemon.start()


def test_nodes_missing(t):
    """Where a reload or a restore needs a directory that is not here, programs
    go on while the network is asked for it, however long that takes; what they
    change meanwhile counts."""
    s = stack.Stack(t, proxied=True)
    volume = bigvolume.BigVolume(
        bigvolume.Api(s.server.url, s.server.key), "vol")
    volume.tree("tree", 5000)
    a = s.mount("vol", "a")
    deep = max((where for where, _, _ in os.walk(a)),
               key=lambda w: (w.count("/"), w))
    stack.write(deep + "/new", "x")

    def begun(name, *words):
        """The command, which has asked; and programs do not wait for it."""
        forget_nodes(s)
        t.wait_for(lambda: os.path.ismount(a), "the mount")
        held = s.api.fault(proxy.HOLD, "POST .*/nodes")
        p = stack.spawn(s, *words)
        t.wait_for(lambda: held.done or p.poll() is not None, "held")
        t.equal(None, p.poll(), name + " has asked")
        began = time.monotonic()
        stack.write("%s/%s" % (a, name), "y")
        took = time.monotonic() - began
        t.true(took < 15, "%s: a change took %.1f s" % (name, took))
        held.release()
        return stack.end(p)

    status, answer = begun("reload", "reload", a)
    t.equal(0, status, "reload: %s" % answer)
    t.equal(["tree"], os.listdir(a), "all is in the stash")
    stash = str(answer["stash"]["id"])
    # Which would lose what was written meanwhile.
    status, answer = begun("restore", "stash", "restore", a, stash)
    t.equal("dirty", answer["error"]["code"], "restore")
    os.unlink(a + "/restore")
    s.ctl("stash", "restore", a, stash)
    t.equal(("x", "y"), (stack.read(deep + "/new"), stack.read(a + "/reload")),
            "what is restored")
    t.equal({"tree", "reload"}, set(os.listdir(a)), "the rest")
