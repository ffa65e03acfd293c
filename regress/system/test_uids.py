# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A mount with a range of the machine's ids shows them as the volume's, 0 and
up, to who is in a user namespace with that range: what it commits has the
volume's ids alone, and what lies outside of the range is nobody's."""

import ctypes
import json
import os
import socket
import stat
import traceback

from sailtest import error_of, stack
from sailtest.stack import read, write

BASE, COUNT = 100000, 65536
CLONE_NEWUSER = 0x10000000
NOBODY = 65534


def run_child(t, mount, f, base, count, uid, gid):
    """What f() gives in a child, in mount.  With a count: in a user namespace
    of that range, where uid and gid are the namespace's."""
    result, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(mount)
            if count:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.unshare(CLONE_NEWUSER) != 0:
                    raise OSError(ctypes.get_errno(), "unshare")
            os.write(result[1], b"?")
            os.read(go[0], 1)
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            if count:
                os.setresuid(0, 0, 0)  # capabilities go when root does
            os.setresuid(uid, uid, uid)
            answer = ["", f()]
        except BaseException:  # pylint: disable=broad-except
            answer = [traceback.format_exc(), None]
        os.write(result[1], json.dumps(answer).encode())
        os._exit(0)
    os.close(result[1])
    try:
        if os.read(result[0], 1) == b"?" and count:
            for name in ("uid_map", "gid_map"):
                write("/proc/%d/%s" % (pid, name),
                      "0 %d %d" % (base, count))
        os.write(go[1], b"!")
        data = b""
        while True:
            more = os.read(result[0], 65536)
            if not more:
                break
            data += more
    finally:
        os.waitpid(pid, 0)
        for fd in (result[0], go[0], go[1]):
            os.close(fd)
    what, answer = json.loads(data[data.index(b"["):])
    t.equal("", what, "the child")
    return answer


def inside(t, mount, f, uid=0, gid=0, base=BASE, count=COUNT):
    """As that user of a user namespace."""
    return run_child(t, mount, f, base, count, uid, gid)


def as_ids(t, mount, f, uid, gid):
    """As that user of the machine."""
    return run_child(t, mount, f, 0, 0, uid, gid)


def owners(top="."):
    """{path: [uid, gid]}, of listings and of each."""
    found = {}
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            found[os.path.relpath(path, top)] = [st.st_uid, st.st_gid]
    return found


def mapped(s, volume, where, base=BASE, count=COUNT, create=False,
           daemon=None):
    return (daemon or s.daemon).mount(
        volume, where, create=create,
        args=["--uids", "%d:%d" % (base, count)])


def plus(base, ids):
    return {path: [uid + base, gid + base] for path, (uid, gid) in
            ids.items()}


def work():
    """All that makes or gives away something; by root, in the namespace."""
    for n, path in enumerate(("root", "one", "last")):
        write(path, path)
        os.chown(path, (0, 1, 65535)[n], (0, 2, 65535)[n])
    os.mkdir("dir")
    os.symlink("nowhere", "link")
    os.lchown("link", 3, 4)
    os.mkfifo("fifo")
    os.mknod("node", stat.S_IFREG | 0o600)
    os.mkdir("shared")
    os.chown("shared", 0, 50)
    os.chmod("shared", 0o2777)
    os.chown("one", -1, 7)
    return owners()


def user_work():
    """The same by a user, in a directory with its group."""
    write("shared/f", "x")
    os.mkdir("shared/d")
    os.mkdir("shared/d/e")
    os.symlink("x", "shared/l")
    return [os.lstat("shared/d").st_mode & 0o7000,
            error_of(os.chown, "shared/f", 0, 0),
            error_of(os.chmod, "root", 0o777)]


WANT = {"root": [0, 0], "one": [1, 7], "last": [65535, 65535], "dir": [0, 0],
        "link": [3, 4], "fifo": [0, 0], "node": [0, 0], "shared": [0, 50]}
WANT_USER = {"shared/f": [1000, 50], "shared/d": [1000, 50],
             "shared/d/e": [1000, 50], "shared/l": [1000, 50]}


def test_ids_of_the_volume(t):
    """Every way to make or give away a file: inside, on the machine, and in
    what is committed, which another mount shows; it takes and reloads them."""
    s = stack.Stack(t)
    a, b = mapped(s, "v", "a", create=True), s.mount("v", "b")
    t.equal(WANT, inside(t, a, work), "inside")
    t.equal([0o2000, "EPERM", "EPERM"], inside(t, a, user_work, 1000, 1001),
            "a user")
    want = {**WANT, **WANT_USER}
    t.equal(plus(BASE, want), owners(a), "on the machine")
    t.equal([BASE, BASE], [os.stat(a).st_uid, os.stat(a).st_gid], "the root")
    os.chmod(t.path(), 0o711)  # it looks for the root from where it is
    ident = inside(t, a, lambda: s.ctl("commit", a).stdout.strip())
    t.equal(ident, s.reload(b), "commit by the door, inside")
    t.equal(want, owners(b), "what was committed")
    t.equal("uid 0", json.loads(s.ctl("-j", "log", a).stdout)["commits"][0][
        "author"], "the author")
    # From there, with ids that one who is inside gave.
    os.chown(os.path.join(b, "one"), 12, 13)
    write(os.path.join(b, "new"), "new")
    os.chown(os.path.join(b, "new"), 65534, 5)
    os.chown(b, 9, 10)
    s.share(b, a)
    t.equal([9, 10], inside(t, a, lambda: [os.stat(".").st_uid,
                                           os.stat(".").st_gid]), "the root")
    got = inside(t, a, owners)
    t.equal([[12, 13], [65534, 5]], [got["one"], got["new"]], "after a reload")


def test_outside(t):
    """An id outside of the range is nobody, is not lost by a change of
    anything else, and cannot be set; who is outside makes nothing."""
    s = stack.Stack(t)
    b = s.mount("v", "b", create=True)
    ids = {"in": 65535, "just": 65536, "far": 4000000000, "own": 0}
    for name, uid in ids.items():
        write(os.path.join(b, name), name)
        os.chmod(os.path.join(b, name), 0o666)
        os.chown(os.path.join(b, name), uid, uid)
    os.mkdir(os.path.join(b, "group"))
    os.chown(os.path.join(b, "group"), 0, 70000)
    os.chmod(os.path.join(b, "group"), 0o2777)
    s.commit(b)
    a = mapped(s, "v", "a")
    t.equal({"in": [65535, 65535], "just": [NOBODY, NOBODY],
             "far": [NOBODY, NOBODY], "own": [0, 0], "group": [0, NOBODY]},
            inside(t, a, owners), "inside")
    t.equal(BASE + NOBODY, os.stat(os.path.join(a, "far")).st_uid,
            "on the machine")

    def change():
        os.chmod("far", 0o640)
        write("far", "changed")
        os.truncate("far", 3)
        os.chown("far", -1, 6)
        os.utime("just", (1, 1))
        os.setxattr("just", "user.x", b"1")
        os.link("just", "linked")
        os.rename("just", "renamed")
        write("group/f", "x")
        return [error_of(os.chown, "own", COUNT, -1),
                error_of(os.chown, "own", -1, COUNT)]

    t.equal(["EINVAL", "EINVAL"], inside(t, a, change), "chown inside")
    s.share(a, b)
    got = owners(b)
    t.equal([[4000000000, 6], [65536, 65536], [65536, 65536], [0, 70000]],
            [got[n] for n in ("far", "renamed", "linked", "group/f")],
            "what was committed")
    t.equal("cha", read(os.path.join(b, "far")), "content")
    # Root of the machine is outside.
    own = os.path.join(a, "own")
    for uid, gid in ((0, -1), (-1, 0), (BASE - 1, -1), (BASE + COUNT, -1),
                     (-1, NOBODY)):
        t.equal("EINVAL", error_of(os.chown, own, uid, gid),
                "chown %d %d" % (uid, gid))
    os.chown(own, BASE + 4, BASE + 5)
    os.chmod(own, 0o600)
    new = os.path.join(a, "new")
    for what, f, args in (("open", os.open, (new, os.O_CREAT | os.O_RDWR)),
                          ("mkdir", os.mkdir, (new,)),
                          ("symlink", os.symlink, ("x", new)),
                          ("mkfifo", os.mkfifo, (new,))):
        t.equal("EOVERFLOW", error_of(f, *args), what)
    t.equal("done", error_of(os.unlink, os.path.join(a, "linked")), "unlink")
    s.share(a, b)
    got = owners(b)
    t.equal([4, 5], got["own"], "what root of the machine gave")
    t.true("new" not in got and "linked" not in got, str(got))


def test_small_range(t):
    """One without 65534 shows the machine's nobody."""
    s = stack.Stack(t)
    b = s.mount("v", "b", create=True)
    for name, uid in (("ten", 10), ("last", 99), ("out", 100), ("no", 65534)):
        write(os.path.join(b, name), name)
        os.chown(os.path.join(b, name), uid, uid)
    s.commit(b)
    a = mapped(s, "v", "a", 300000, 100)
    want = {"ten": [10, 10], "last": [99, 99], "out": [NOBODY, NOBODY],
            "no": [NOBODY, NOBODY]}
    t.equal(want, inside(t, a, owners, base=300000, count=100), "inside")
    t.equal([[300010, 300010], [NOBODY, NOBODY]],
            [owners(a)[n] for n in ("ten", "out")], "on the machine")

    def change():
        # Not even root there has a right in what is outside.
        return [error_of(os.chmod, "out", 0o777),
                error_of(os.chown, "out", 1, 1),
                error_of(os.chown, "ten", 11, 11)]

    t.equal(["EPERM", "EPERM", "done"],
            inside(t, a, change, base=300000, count=100), "changes")


def uids_of(s, path):
    return json.loads(s.ctl("-j", "status", path).stdout).get("uids")


def test_it_lasts(t):
    """A fuse that takes over, a new manifest, a reload, a stash, a restart of
    all and a mount after umount have the same range, or the new one."""
    s = stack.Stack(t)
    d = s.daemon
    a, b = mapped(s, "v", "a", create=True), s.mount("v", "b")
    inside(t, a, work)
    want = {"base": BASE, "count": COUNT}

    def check(what, ids, base=BASE):
        t.equal(ids, inside(t, a, owners, base=base), what)
        t.equal(plus(base, ids), owners(a), what + ", on the machine")
        t.equal({"base": base, "count": COUNT}, uids_of(s, a), what)

    t.equal(None, uids_of(s, b), "a mount without")
    shown = d.ctl("status").stdout
    t.true("uids: base 100000, count 65536" in shown, shown)
    d.kill("fuse")
    check("takeover", WANT)
    inside(t, a, lambda: write("shared/after", "x"), 8, 9)
    ids = {**WANT, "shared/after": [8, 50]}
    d.kill("manifest")
    check("a new manifest", ids)
    d.kill_all()
    d.start()
    t.wait_for(lambda: os.path.exists(os.path.join(a, "one")), "the mount")
    check("a restart", ids)
    s.share(a, b)
    t.equal(ids, owners(b), "what was committed")

    inside(t, a, lambda: [write("mine", "x"), os.chown("mine", 20, 21),
                          os.chown("one", 22, 23)] and None)
    stash = s.reload_json(a)["stash"]
    check("a reload", ids)
    s.ctl("stash", "restore", a, str(stash["id"]))
    ids.update({"mine": [20, 21], "one": [22, 23]})
    check("a stash", ids)

    d.umount(a, "--force")
    t.equal(want, json.loads(d.ctl("-j", "status").stdout)["mounts"][0].get(
        "uids", want), "the other")
    mapped(s, "v", "a", 400000)
    check("another range, the same changes", ids, 400000)
    s.share(a, b)
    t.equal(ids, owners(b), "what was committed at last")


def test_two_ranges(t):
    """Two mounts of one daemon with ranges of their own share by commit and
    reload; a user of one is nobody in the other."""
    s = stack.Stack(t)
    a = mapped(s, "v", "a", create=True)
    c = mapped(s, "v", "c", 200000)
    inside(t, a, work)
    inside(t, a, user_work, 1000, 1001)
    s.share(a, c)
    want = {**WANT, **WANT_USER}
    t.equal(want, inside(t, c, owners, base=200000), "the other")
    t.equal(plus(200000, want), owners(c), "the other, on the machine")
    os.chmod(a, 0o777)
    t.equal("EOVERFLOW", as_ids(t, a, lambda: error_of(write, "x", "x"),
                                200000, 200000), "by a user of the other")
    t.equal("done", as_ids(t, a, lambda: error_of(write, "x", "x"),
                           BASE + 5, BASE + 6), "by one of its own")
    t.equal([5, 6], inside(t, a, owners)["x"], "its owner")
    inside(t, c, lambda: os.chown("one", 77, 78), base=200000)
    s.share(c, a)
    t.equal([77, 78], inside(t, a, owners)["one"], "and back")


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as x:
        x.connect(path)
        x.sendall(json.dumps(request).encode() + b"\n")
        with x.makefile() as f:
            for line in f:
                answer = json.loads(line)
                if "progress" not in answer:
                    return answer
    return None


def test_who_may(t):
    """Only root mounts with a range, and only one that can be one; who may
    write in the root, as it is shown, may commit, by the door and by the
    control socket."""
    s = stack.Stack(t)
    d = s.daemon
    s.mount("v", "b", create=True)
    path = s.point("a")
    for uids in ([], [1], [1, 2, 3], ["1", 2], [0, 10], [10, 0], [10, 65537],
                 [4294967295, 1], [-1, 1], [1.5, 2], [65000, 1000],
                 [4294967296, 1], [1 << 62, 1]):
        answer = ask(d.socket, {"request": "mount", "volume": "v",
                                "path": path, "uids": uids})
        t.equal("invalid_request", answer["error"]["type"],
                "%s: %s" % (uids, answer))
    for uids in ("", "1", "1:", ":1", "1:2:3", "a:b", "-1:5", "1: 5", " 1:5",
                 "99999999999999999999:1"):
        done = d.mount("v", "a", args=["--uids", uids], ok=False)
        t.equal(2, done.returncode, "--uids %r: %s" % (uids, done.stderr))
    os.chmod(d.socket, 0o666)
    os.chown(path, 1000, 1000)
    answer = as_ids(t, path, lambda: ask(d.socket, {
        "request": "mount", "volume": "v", "path": path,
        "uids": [BASE, COUNT]}), 1000, 1000)
    t.equal("permission", answer["error"]["type"], str(answer))

    a = mapped(s, "v", "a")
    os.chown(a, BASE + 5, BASE + 6)
    os.chmod(a, 0o770)

    def commit(uid, gid):
        def door():
            return error_of(os.open, ".sailvol/ctl", os.O_RDWR)

        def control():
            answer = ask(d.socket, {"request": "commit", "path": a})
            return answer.get("error", {}).get("type", "done")

        os.chmod(a, 0o771)
        os.chmod(a, 0o770)
        return [as_ids(t, a, f, uid, gid) for f in (door, control)]

    for uid, gid, want in ((BASE + 5, BASE, ["done", "done"]),
                           (BASE + 7, BASE + 6, ["done", "done"]),
                           (5, 6, ["EACCES", "permission"]),
                           (BASE, BASE, ["EACCES", "permission"]),
                           (200005, 200006, ["EACCES", "permission"])):
        t.equal(want, commit(uid, gid), "%d %d" % (uid, gid))
    authors = {c["author"] for c in json.loads(
        s.ctl("-j", "log", a).stdout)["commits"]}
    t.true("uid 5" in authors and not [
        x for x in authors if x.startswith("uid ") and
        int(x.split()[1]) >= 65536], str(authors))


def test_configured(t):
    """`uids' of sailvold.conf; another range after SIGHUP."""
    s = stack.Stack(t)
    d = s.daemon
    s.mount("v", "b", create=True)
    a = s.point("a")

    def configure(base):
        d.configure('volume "v" {\n\tmount "%s"\n\tuids %d 65536\n}\n' % (
            a, base))
        d.hup()
        t.wait_for(lambda: os.stat(a).st_uid == base, "the range %d" % base)

    configure(100000)
    inside(t, a, work)
    s.commit(a)
    configure(200000)
    t.equal(WANT, inside(t, a, owners, base=200000), "another range")
