# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl restore: a file or directory of a commit is back in the mount as a
local change, whole or not at all, and nothing that no commit has is lost."""

import json
import os
import shutil
import signal
import stat
import subprocess

from sailtest import proxy, stack

BOTH_STORES = True

FIELDS = ("mode", "uid", "gid", "mtime")


def restore(s, mount, what, *args, ok=True, env=None):
    return s.t.run([s.program, "restore"] + list(args) + [mount, what], ok=ok,
                   env=env or {"SAIL_API_URL": s.url,
                               "SAIL_API_KEY": s.server.key})


def look(path):
    return stack.look(path, fields=FIELDS)


def leftovers(top):
    return [n for _, dirs, files in os.walk(top) for n in dirs + files
            if n.startswith(".sailvolctl")]


def fill(top):
    """A directory with one of each kind."""
    os.makedirs(top + "/sub/empty")
    stack.write(top + "/sub/text", "text\n")
    os.chmod(top + "/sub/text", 0o6751)
    os.utime(top + "/sub/text", ns=(1, 1234567890123456789))
    os.setxattr(top + "/sub/text", "user.a", b"\0\xff")
    os.setxattr(top + "/sub/text", "user.long", b"x" * 5000)
    os.chown(top + "/sub/text", 1234, 5678)
    os.chmod(top + "/sub/text", 0o6751)
    os.symlink("text", top + "/sub/link")
    os.lchown(top + "/sub/link", 7, 8)
    os.mkfifo(top + "/sub/fifo", 0o640)
    with open(os.fsencode(top) + b"/sub/\xff", "wb") as f:
        f.write(os.urandom(3 << 20))
    with open(top + "/sub/sparse", "wb") as f:
        f.truncate(30 << 20)
        f.seek(17 << 20)
        f.write(os.urandom(100000))
    for i in range(300):
        stack.write("%s/sub/empty/f%03d" % (top, i), "%d\n" % i)
    os.chmod(top + "/sub/empty", 0o555)


def test_file(t):
    """Content, mode, times, owner and attributes are those of the commit; who
    had the file open keeps what it was."""
    s = stack.Stack(t)
    a, b = s.mount("vol", "a", create=True), s.mount("vol", "b")
    fill(a)
    one, want = s.commit(a), look(a)
    stack.write(a + "/sub/text", "other\n")
    os.unlink(a + "/sub/link")
    two = s.commit(a)
    with open(a + "/sub/text", encoding="ascii") as f:
        r = restore(s, a, "sub/text@" + one)
        t.equal(("", ""), (r.stdout, r.stderr), "says nothing")
        t.equal("other\n", f.read(), "an open file")
    restore(s, a + "/sub", "/sub/link@" + one[:10])
    stack.same(t, want, look(a), "after restore")
    t.equal((b"\0\xff", 5000),
            (os.getxattr(a + "/sub/text", "user.a"),
             len(os.getxattr(a + "/sub/text", "user.long"))), "xattrs")
    t.equal(["A sub/link", "M sub/text"],
            s.ctl("diff", a).stdout.splitlines(), "local changes")
    s.share(a, b)
    stack.same(t, want, look(b), "in another mount")
    # Deleted here: back from the head; by sailvold's key.
    os.unlink(a + "/sub/text")
    s.ctl("-s", s.daemon.socket, "restore", a, "sub/text@head")
    s.reload(a)
    os.unlink(a + "/sub/text")
    restore(s, a, "sub/text@head")
    restore(s, a, "sub/sparse@" + two)
    stack.same(t, want, look(a), "deleted and back")
    t.true(os.stat(a + "/sub/sparse").st_blocks * 512 < 10 << 20, "holes")
    t.equal([], leftovers(a), "left over")


def test_directory(t):
    """A directory is as it was in the commit, with all that is below."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    fill(a)
    one, want = s.commit(a), look(a)
    shutil.rmtree(a + "/sub")
    r = json.loads(restore(s, a, "sub@" + one, "-j").stdout)
    t.equal(("sub", one, 305, 0),
            (r["restored"], r["commit"], r["files"], r["owners_not_kept"]),
            "answer")
    stack.same(t, want, look(a), "back")
    # Over what was changed, and published.
    stack.write(a + "/sub/more", "x\n")
    os.rename(a + "/sub/text", a + "/sub/empty2")
    s.commit(a)
    restore(s, a, "sub@" + one)
    stack.same(t, want, look(a), "over another state")
    # A file in the place of a directory, and the other way round.
    shutil.rmtree(a + "/sub")
    stack.write(a + "/sub", "a file\n")
    two = s.commit(a)
    restore(s, a, "sub@" + one)
    stack.same(t, want, look(a), "over a file")
    s.commit(a)
    restore(s, a, "sub@" + two)
    t.equal("a file\n", stack.read(a + "/sub"), "over a directory")
    t.equal([], leftovers(a), "left over")


def test_above(t):
    """Directories above that lack are made as the commit has them; a link in
    their place is not followed."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    os.makedirs(a + "/d/e/f")
    stack.write(a + "/d/e/f/g", "x\n")
    os.chmod(a + "/d/e", 0o710)
    os.chown(a + "/d/e", 12, 13)
    one = s.commit(a)
    shutil.rmtree(a + "/d")
    restore(s, a, "d/e/f/g@" + one)
    st = os.stat(a + "/d/e")
    t.equal((0o710, 12, 13), (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid),
            "made again")
    t.equal("x\n", stack.read(a + "/d/e/f/g"), "content")
    b = s.mount("vol:/d/e", "b")
    os.unlink(b + "/f/g")
    restore(s, b, "d/e/f/g@" + one)
    t.equal("x\n", stack.read(b + "/f/g"), "below a subpath")
    r = restore(s, b, "d/x@" + one, ok=1)
    t.true("not in this mount" in r.stderr, r.stderr)
    shutil.rmtree(a + "/d/e")
    os.mkdir(t.path("out"))
    os.symlink(t.path("out"), a + "/d/e")
    s.commit(a)
    r = restore(s, a, "d/e/f/g@" + one, ok=1)
    t.true("d/e: not a directory in the mount" in r.stderr, r.stderr)
    t.equal([], os.listdir(t.path("out")), "behind the link")


def test_refused(t):
    """Changes that no commit has are not lost; what makes no sense is said."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    os.mkdir(a + "/d")
    stack.write(a + "/d/f", "one\n")
    stack.write(a + "/d/g", "one\n")
    one = s.commit(a)
    stack.write(a + "/d/f", "two\n")
    for what in ("d/f@", "d@"):
        r = restore(s, a, what + one, ok=3)
        t.true("no commit has" in r.stderr and "--force" in r.stderr, r.stderr)
    restore(s, a, "d/g@" + one)
    t.equal("two\n", stack.read(a + "/d/f"), "still there")
    restore(s, a, "d@" + one, "--force")
    t.equal("one\n", stack.read(a + "/d/f"), "forced")
    for what, status, says in (("d/f", 2, "FILE@COMMIT"), ("d/f@", 2, "FILE@"),
                               ("@" + one, 2, "root"),
                               ("a/../b@" + one, 2, "a/../b"),
                               ("d/x@" + one, 1, "not in commit"),
                               ("d/f/x@" + one, 1, "not in commit"),
                               ("d/f@nothing", 1, "a commit is the digits"),
                               ("d/f@" + "0" * 64, 1, "no such commit")):
        r = restore(s, a, what, ok=status)
        t.true(says in r.stderr and r.stdout == "", r.stderr)
    r = restore(s, t.dir, "d/f@" + one, ok=1)
    t.true("not in a mount" in r.stderr, r.stderr)
    b = s.mount("vol", "b", args=("-r",))
    r = t.run([s.program, "-s", s.daemon.socket, "restore", b, "d/f@" + one],
              ok=1)
    t.true("read-only" in r.stderr, r.stderr)
    t.equal([], leftovers(a), "left over")


def test_changed_meanwhile(t):
    """What is changed at the path while the restored one is downloaded is not
    lost either; with --force it is."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    os.mkdir(a + "/d")
    with open(a + "/d/f", "wb") as f:
        f.write(os.urandom(3 << 20))
    one = s.commit(a)
    stack.write(a + "/d/f", "two\n")
    s.commit(a)
    for what in ("d/f", "d"):
        for force in (False, True):
            s.store.reset()
            s.store.fault(proxy.DELAY, "^GET", at=3)
            seen = s.store.count("^GET")
            p = subprocess.Popen(
                [s.program, "restore"] + ["--force"] * force +
                [a, "%s@%s" % (what, one)], text=True, stderr=subprocess.PIPE,
                env={"SAIL_API_URL": s.url, "SAIL_API_KEY": s.server.key})
            t.wait_for(lambda n=seen: s.store.count("^GET") > n,
                       "the download")
            stack.write(a + "/d/f", "mine\n")
            err = p.communicate(timeout=60)[1]
            t.equal(0 if force else 3, p.returncode, err)
            if not force:
                t.true("no commit has" in err, err)
                t.equal("mine\n", stack.read(a + "/d/f"), what)
                s.reload(a)
                t.equal("two\n", stack.read(a + "/d/f"), "the head")
            else:
                t.equal(3 << 20, os.stat(a + "/d/f").st_size, what)
                s.reload(a)
            t.equal([], leftovers(a), "left over")


def test_changed_at_once(t):
    """What is written below the path between the last look for changes and the
    new one's taking its place is kept beside it, and said; with --force it is
    lost."""
    if t.run(["strace", "-o", t.path("trace"), "true"], ok=None).returncode:
        t.skip("strace does not work here")
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    os.makedirs(a + "/d/e")
    stack.write(a + "/d/e/f", "one\n")
    stack.write(a + "/d/e/g", "one\n")
    os.chmod(a + "/d/e/g", 0o640)
    one = s.commit(a)
    stack.write(a + "/d/e/f", "two\n")
    s.commit(a)
    renameat2 = {"x86_64": 316, "aarch64": 276}[os.uname().machine]

    def change_late(what, change, *args):
        p = subprocess.Popen(
            ["strace", "-o", t.path("trace"), "-e", "trace=renameat2", "-e",
             "inject=renameat2:delay_enter=4000000:when=1", s.program,
             "restore"] + list(args) + [a, what + "@" + one], text=True,
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env={"SAIL_API_URL": s.url, "SAIL_API_KEY": s.server.key,
                 "ASAN_OPTIONS": "detect_leaks=0"})

        def waits():
            for pid, _ in stack.children(p.pid):
                try:
                    with open("/proc/%d/syscall" % pid, encoding="ascii") as f:
                        if f.read().split()[0] == str(renameat2):
                            return True
                except (FileNotFoundError, ProcessLookupError):
                    pass  # strace(1) has tried what works here
            return False

        t.wait_for(waits, "the rename")
        change()
        return p.communicate(timeout=60)[1], p.returncode

    def one_left(said):
        left = [os.path.join(where, n) for where, dirs, files in os.walk(a)
                for n in dirs + files if n in leftovers(a)]
        t.equal(1, len(left), "left beside")
        t.true(os.path.basename(left[0]) in said and
               "at the same moment" in said, said)
        return left[0]

    def same_size(top):
        times = os.stat(top + "/d/e/f")
        stack.write(top + "/d/e/f", "own\n")
        os.utime(top + "/d/e/f", ns=(times.st_atime_ns, times.st_mtime_ns))

    for change, path, want in (
            (lambda: stack.write(a + "/d/e/f", "mine\n"), "e/f", "mine\n"),
            (lambda: same_size(a), "e/f", "own\n"),
            (lambda: stack.write(a + "/d/e/new", "mine\n"), "e/new",
             "mine\n")):
        said, status = change_late("d", change)
        t.equal(1, status, said)
        left = one_left(said)
        t.equal(want, stack.read(os.path.join(left, path)), "what was written")
        t.equal("one\n", stack.read(a + "/d/e/f"), "restored")
        t.equal(["f", "g"], sorted(os.listdir(a + "/d/e")), "restored")
        s.reload(a)
        t.equal([], leftovers(a), "after a reload")
    # A file; one that is made where there was none.
    said, status = change_late(
        "d/e/f", lambda: stack.write(a + "/d/e/f", "mine\n"))
    t.equal(1, status, said)
    t.equal("mine\n", stack.read(one_left(said)), "what was written")
    t.equal("one\n", stack.read(a + "/d/e/f"), "restored")
    s.reload(a)
    os.unlink(a + "/d/e/f")
    said, status = change_late(
        "d/e/f", lambda: stack.write(a + "/d/e/f", "mine\n"))
    t.equal(3, status, said)
    t.equal("mine\n", stack.read(a + "/d/e/f"), "what was written")
    t.equal([], leftovers(a), "left over")
    # Nothing is changed; or it is wanted.
    s.reload(a)
    for change, args in ((lambda: None, []), (lambda: same_size(a),
                                              ["--force"])):
        said, status = change_late("d", change, *args)
        t.equal((0, []), (status, leftovers(a)), said)
        t.equal("one\n", stack.read(a + "/d/e/f"), "restored")
        s.reload(a)


def test_faults(t):
    """A chunk that does not come, or an interrupt: the old file stays, and
    nothing is left beside it."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    for name in ("/f", "/g"):
        with open(a + name, "wb") as f:
            f.write(os.urandom(20 << 20))
    one = s.commit(a)
    for name in ("/f", "/g"):
        stack.write(a + name, "new\n")
    s.commit(a)
    s.store.fault(proxy.REFUSE, "GET", 404, times=100)
    r = restore(s, a, "f@" + one, ok=1)
    t.true("missing in the store" in r.stderr or "no good copy" in r.stderr,
           r.stderr)
    t.equal(("new\n", []), (stack.read(a + "/f"), leftovers(a)), "not there")
    # What is missing the server has found missing, too.
    for sig in (signal.SIGINT, signal.SIGTERM):
        s.store.reset()
        s.store.fault(proxy.DELAY, "GET", 20, times=100)
        p = subprocess.Popen(
            [s.program, "restore", a, "g@" + one], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=dict(os.environ, SAIL_API_URL=s.url,
                     SAIL_API_KEY=s.server.key))
        t.wait_for(lambda: leftovers(a), "the file beside")
        t.wait_for(lambda: s.store.faults[0].done > 0, "a request")
        p.send_signal(sig)
        _, err = p.communicate(timeout=30)
        t.equal(1, p.returncode, err)
        t.true(b"interrupted" in err, err)
        t.equal(("new\n", []), (stack.read(a + "/g"), leftovers(a)),
                "interrupted")


def test_user(t):
    """A user restores what they may write; owners that only root may give are
    said, and no rights come with them."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    os.chmod(a, 0o777)
    os.mkdir(a + "/d")
    stack.write(a + "/d/f", "x\n")
    os.chown(a + "/d/f", 1234, 1234)
    os.chmod(a + "/d/f", 0o6755)
    one = s.commit(a)
    shutil.rmtree(a + "/d")
    for d in (t.dir, t.path("mnt")):
        os.chmod(d, 0o755)
    r = stack.as_user(64123, [s.program, "restore", a, "d@" + one],
                      env=dict(os.environ, SAIL_API_URL=s.url,
                               SAIL_API_KEY=s.server.key))
    if r.returncode == 126 or "setpriv" in r.stderr:
        t.skip("another user cannot run the programs of this folder")
    t.equal(0, r.returncode, r.stderr)
    t.true("2 owners are not kept" in r.stderr, r.stderr)
    st = os.stat(a + "/d/f")
    t.equal((64123, 0o755), (st.st_uid, stat.S_IMODE(st.st_mode)), "the file")
    os.chmod(a, 0o755)
    os.unlink(a + "/d/f")
    r = stack.as_user(64123, [s.program, "restore", a, "d/f@" + one],
                      env=dict(os.environ, SAIL_API_URL=s.url,
                               SAIL_API_KEY=s.server.key))
    t.equal(1, r.returncode, r.stderr)
    t.true("who may write in the root" in r.stderr, r.stderr)
