# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What people put into a volume comes out of another mount the same: trees of
the system, repositories, packages, databases, and names that are hard."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time

from sailtest import deadline, stack


class Clock:
    """Times of the steps; also added to the file SAIL_TIMES, if it is set."""

    def __init__(self, t):
        self.t, self.last = t, time.monotonic()

    def lap(self, what):
        now = time.monotonic()
        line = "%s: %s: %.1f s\n" % (self.t.name, what, now - self.last)
        self.last = now
        for path in (self.t.path("times.log"), os.environ.get("SAIL_TIMES")):
            if path:
                with open(path, "a", encoding="ascii") as f:
                    f.write(line)


def write(path, text, mode=None):
    data = text if isinstance(text, bytes) else text.encode()
    with open(path, "wb") as f:
        f.write(data)
    if mode is not None:
        os.chmod(path, mode)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


@deadline(600)
def test_system_trees(t):
    """/usr/include and /usr/share/doc, copied into A, are in B after commit
    and reload: content, modes, owners, times in ns, targets of links."""
    s = stack.Stack(t)
    snap = t.path("snap")
    os.mkdir(snap)
    # Others may be installing packages: what was copied counts.
    for src in ("/usr/include", "/usr/share/doc"):
        t.run(["cp", "-a", src, snap], ok=None, timeout=120)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    clock = Clock(t)
    for name in ("include", "doc"):
        if not os.path.isdir(os.path.join(snap, name)):
            continue
        t.run(["cp", "-a", os.path.join(snap, name), a], timeout=300)
        clock.lap("copy of " + name)
        s.commit(a, timeout=300)
        clock.lap("commit of " + name)
        s.reload(b, timeout=300)
        clock.lap("reload of " + name)
    fields = ("mode", "uid", "gid", "mtime", "dirtime")
    want = stack.look(snap, fields=fields)
    t.true(len(want) > 1000, "there is not much in %s" % snap)
    stack.same(t, want, stack.look(b, fields=fields), "the snapshot and B")
    clock.lap("reading all of B")
    r = t.run(["diff", "-r", "--no-dereference", snap, b], timeout=300)
    t.equal("", r.stdout, "diff -r")
    # And what B shows is A, inode numbers and times of change too.
    fields += ("ctime", "ino")
    stack.same(t, stack.look(a, content=False, fields=fields),
               stack.look(b, content=False, fields=fields), "A and B")


def make_hard_names(top):
    top = os.fsencode(top)
    names = [b"latin-\xe9\xff", b"\x80", b"new\nline", b" blank ", b"-rf",
             b"tab\there", b"quote'\"\\", b"\x01\x7f", b"*?[", b"x" * 255,
             b"\xff" * 255, "\u00fc\u4e2d\U0001f600".encode(),
             b"NFD-e\xcc\x81", b"NFC-\xc3\xa9", b".hidden", b"...",
             b"sailvol", b".sailvolx", b"Case", b"case"]
    for i, name in enumerate(names):
        write(os.path.join(top, name), b"%d" % i)
        os.mkdir(os.path.join(top, name[:200] + b".d"))
        write(os.path.join(top, name[:200] + b".d", name), name)
    deep = top
    for i in range(60):
        deep = os.path.join(deep, b"d%d\xfe" % i)
        os.mkdir(deep)
    write(os.path.join(deep, b"bottom"), b"here")
    os.symlink(b"../\xff\n/nowhere", os.path.join(top, b"link-bytes"))
    os.symlink(b"t" * 4000, os.path.join(top, b"link-long"))
    os.symlink(b"Case", os.path.join(top, b"link"))


def make_hard_attributes(top):
    for i, mode in enumerate((0o000, 0o444, 0o4755, 0o2755, 0o1777, 0o7777)):
        write(os.path.join(top, "mode%d" % i), "x", mode)
        os.mkdir(os.path.join(top, "dmode%d" % i))
        os.chmod(os.path.join(top, "dmode%d" % i), mode)
    for i, when in enumerate((0, 1, 999999999, -1, -123456789987654321,
                              2 ** 33 * 10 ** 9 + 7, 1700000000123456789)):
        path = write(os.path.join(top, "time%d" % i), "x")
        os.utime(path, ns=(when, when))
    for i, owner in enumerate((1, 65534, 2 ** 31, 2 ** 32 - 2)):
        path = write(os.path.join(top, "owner%d" % i), "x")
        os.chown(path, owner, owner)
    os.mkfifo(os.path.join(top, "fifo"))
    with open(os.path.join(top, "sparse"), "wb") as f:
        f.truncate(50 << 20)
        f.seek(20 << 20)
        f.write(b"middle")
    path = write(os.path.join(top, "attr"), "x")
    os.setxattr(path, "user.colour", b"blue\0\xff")
    os.setxattr(path, "user.empty", b"")
    os.link(path, os.path.join(top, "attr2"))
    write(os.path.join(top, "empty"), "")


def test_hard_names(t):
    """Names that are no UTF-8, 255 bytes long, with new lines, 60 directories
    deep; odd modes, times and owners, holes, xattrs, fifos, hard links."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    make_hard_names(a)
    make_hard_attributes(a)
    os.utime(os.path.join(a, "link"), ns=(5, 1234567890123456789),
             follow_symlinks=False)
    before = stack.look(a)
    s.share(a, b)
    after = stack.look(b)
    # link(2)'s name gets an inode number of its own, shown after a reload.
    for tree in (before, after):
        tree[b"./attr2"].pop("ino")
    stack.same(t, before, after, "A and B")
    t.equal(b"blue\0\xff", os.getxattr(os.path.join(b, "attr2"),
                                       "user.colour"), "xattr")
    t.equal(["user.colour", "user.empty"],
            sorted(os.listxattr(os.path.join(b, "attr"))), "xattrs")
    t.true(stat.S_ISFIFO(os.lstat(os.path.join(b, "fifo")).st_mode), "fifo")
    with open(os.path.join(b, "sparse"), "rb") as f:
        # A commit keeps holes by chunks of 8 MiB.
        t.equal(16 << 20, os.lseek(f.fileno(), 0, os.SEEK_DATA), "the hole")
        t.true(os.fstat(f.fileno()).st_blocks * 512 <= 8 << 20, "blocks")
    for name in (".sailvol", ".sail_volume.json"):
        for where in (a, os.path.join(a, "dmode4")):
            try:
                os.mkdir(os.path.join(where, name))
                t.fail("%s was made in %s" % (name, where))
            except (PermissionError, FileExistsError):
                pass
    try:
        os.mknod(os.path.join(a, "device"), 0o600 | stat.S_IFCHR,
                 os.makedev(1, 3))
        t.fail("a device was made")
    except OSError:
        pass


@deadline(400)
def test_git(t):
    """A clone of this repository is built in A; in B git finds every file
    unchanged by lstat(2) alone: no content but git's own is fetched."""
    if t.run(["git", "-C", t.repo, "rev-parse", "--git-dir"],
             ok=None).returncode != 0:
        t.skip("this tree is no git repository")
    s = stack.Stack(t, proxied=True)
    other = s.add_daemon()
    a, b = s.mount("v", "a", create=True), other.mount("v", "b")
    clock = Clock(t)
    src = os.path.join(a, "src")
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
           "GIT_CONFIG_VALUE_0": "*"}
    t.run(["git", "clone", "-q", "--no-hardlinks", t.repo, src], timeout=120,
          env=env)
    clock.lap("clone")
    t.run(["make", "-j2", "-C", src], timeout=300,
          env={"MAKEFLAGS": "", "MAKELEVEL": "0", "CFLAGS": "-O0"})
    clock.lap("make")
    t.run([os.path.join(src, "sailvolctl/sailvolctl")], ok=2)

    def git(where, *args):
        return t.run(["git", "-C", os.path.join(where, "src")] + list(args),
                     env=env, timeout=120).stdout

    git(a, "fsck", "--full")
    t.equal("", git(a, "status", "--porcelain"), "git status in A")
    fields = ("mode", "uid", "gid", "mtime", "ctime", "ino")
    want = stack.look(a, fields=fields)
    s.commit(a, timeout=300)
    other.ctl("reload", b, timeout=300)
    clock.lap("commit and reload")
    s.store.reset()
    # Plumbing, which does not look again where an lstat differs.
    t.equal("", git(b, "diff-files"), "git diff-files in B")
    t.equal("", git(b, "status", "--porcelain"), "git status in B")
    tracked = {os.fsencode("./src/" + name): name for name in
               git(b, "ls-files").splitlines()}
    content = {item["sha256"]: tracked[path] for path, item in want.items()
               if path in tracked and item.get("size")}
    own = {item["sha256"] for path, item in want.items()
           if path.startswith(b"./src/.git/") and "sha256" in item}
    read_again = sorted({content[sha] for sha in content if sha not in own and
                         s.store.count("^GET .*/" + sha)} - {".gitignore"})
    t.equal([], read_again, "files that git read again in B")
    t.true(s.store.count("^GET ") > 0, "the proxy counts")
    stack.same(t, want, stack.look(b, fields=fields), "A and B")
    git(b, "fsck", "--full")


def make_packages(t):
    for name, needs in (("one", {}), ("two", {"one": "file:../one"})):
        os.makedirs(t.path("packages", name, "lib"))
        t.write("packages/%s/package.json" % name, json.dumps(
            {"name": name, "version": "1.0.0", "main": "lib/index.js",
             "bin": {name + "-cmd": "lib/cmd.js"}, "dependencies": needs}))
        t.write("packages/%s/lib/index.js" % name,
                "module.exports = %r;\n" % name)
        t.write("packages/%s/lib/cmd.js" % name,
                "#!/usr/bin/env node\nconsole.log(%r);\n" % name, 0o755)


def test_npm(t):
    """npm installs a small tree of packages, and it runs in B."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        t.skip("no npm")
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    make_packages(t)
    write(os.path.join(a, "package.json"), json.dumps(
        {"name": "app", "version": "1.0.0", "dependencies": {
            name: "file:" + t.path("packages", name)
            for name in ("one", "two")}}))
    write(os.path.join(a, "index.js"),
          "console.log(require('one') + require('two'));\n")
    t.run(["npm", "install", "--offline", "--no-audit", "--no-fund",
           "--install-links"], cwd=a, timeout=100,
          env={"npm_config_cache": t.path("npm-cache"), "HOME": t.dir,
               "npm_config_update_notifier": "false"})
    t.true(not os.path.islink(os.path.join(a, "node_modules", "one")),
           "packages are copied")
    s.share(a, b)
    t.equal("onetwo\n", t.run(["node", "index.js"], cwd=b).stdout, "in B")
    t.equal("one\n", t.run(["node_modules/.bin/one-cmd"], cwd=b).stdout,
            "a command in B")
    stack.same(t, stack.look(a), stack.look(b), "A and B")


@deadline(240)
def test_venv(t):
    """A Python virtual environment is made in A, and works in B."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    r = t.run(["/usr/bin/python3", "-m", "venv", os.path.join(a, "venv")],
              ok=None, timeout=120)
    if "ensurepip is not" in r.stdout + r.stderr:
        t.skip("no python3-venv")
    t.equal(0, r.returncode, r.stdout + r.stderr)
    s.share(a, b)
    got = t.run([os.path.join(b, "venv/bin/python"), "-B", "-c",
                 "import pip, sys; print(pip.__file__, sys.prefix)"]).stdout
    t.equal([os.path.join(b, "venv")], got.split()[1:], "prefix")
    t.true(got.startswith(b), got)
    stack.same(t, stack.look(a), stack.look(b), "A and B")


SQLITE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60)
assert db.execute("pragma journal_mode=wal").fetchone()[0] == "wal"
db.execute("pragma synchronous=normal")
for i in range(150):
    with db:
        db.execute("insert into t values (?, ?)", (sys.argv[2], i))
"""


def test_sqlite(t):
    """An SQLite database in WAL mode, written by two processes at once."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    path = os.path.join(a, "data.db")
    db = sqlite3.connect(path)
    t.equal("wal", db.execute("pragma journal_mode=wal").fetchone()[0], "mode")
    db.execute("create table t (who text, i integer)")
    db.commit()
    both = [t.spawn([sys.executable, "-c", SQLITE, path, who],
                    "sqlite-%s.log" % who) for who in "xy"]
    for p in both:
        t.equal(0, p.wait(90), "a writer")
    t.equal([("x", 150), ("y", 150)], db.execute(
        "select who, count(*) from t group by who order by who").fetchall(),
        "rows in A")
    db.close()
    s.share(a, b)
    db = sqlite3.connect(os.path.join(b, "data.db"))
    t.equal(("ok",), db.execute("pragma integrity_check").fetchone(), "check")
    t.equal(300, db.execute("select count(*) from t").fetchone()[0],
            "rows in B")
    db.close()


def make_tree(top, seed=1):
    """A tree of some hundred files; the same for the same seed."""
    n = seed
    for i in range(20):
        where = os.path.join(top, "dir%d" % (i % 7), "sub%d" % i)
        os.makedirs(where, exist_ok=True)
        for k in range(10):
            n = (n * 1103515245 + 12345) % 2 ** 31
            path = write(os.path.join(where, "file%d" % k),
                         ("%d " % n) * (n % 500), 0o600 + n % 64)
            os.utime(path, ns=(n, n * 10 ** 6 + 123))
        link = os.path.join(where, "link")
        os.symlink("file0", link)
        os.utime(link, ns=(n, n), follow_symlinks=False)


def test_tar_and_rsync(t):
    """tar in and out, and rsync -a --delete, which copies nothing twice."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    os.mkdir(t.path("src"))
    make_tree(t.path("src"))
    t.run(["tar", "-C", t.path("src"), "--format=posix", "-cf",
           t.path("in.tar"), "."])
    os.mkdir(os.path.join(a, "tar"))
    t.run(["tar", "-C", os.path.join(a, "tar"), "-xpf", t.path("in.tar")])
    t.run(["rsync", "-a", "--delete", t.path("src") + "/",
           os.path.join(a, "rsync")])
    s.share(a, b)
    fields = ("mode", "uid", "gid", "mtime")
    want = stack.look(t.path("src"), fields=fields)
    for name in ("tar", "rsync"):
        stack.same(t, want, stack.look(os.path.join(b, name), fields=fields),
                   name + " in B")
    os.mkdir(t.path("out"))
    t.run(["tar", "-C", os.path.join(b, "tar"), "--format=posix",
           "-cf", t.path("out.tar"), "."])
    t.run(["tar", "-C", t.path("out"), "-xpf", t.path("out.tar")])
    stack.same(t, want, stack.look(t.path("out"), fields=fields), "out of B")
    # In B, where all is as in A: nothing to do.
    r = t.run(["rsync", "-ai", "--omit-dir-times", "--delete",
               t.path("src") + "/", os.path.join(b, "rsync")])
    t.equal("", r.stdout, "what rsync does in B")
    shutil.rmtree(os.path.join(t.path("src"), "dir3"))
    write(os.path.join(t.path("src"), "dir0", "sub0", "file1"), "changed")
    r = t.run(["rsync", "-ai", "--omit-dir-times", "--delete",
               t.path("src") + "/", os.path.join(b, "rsync")])
    t.equal(1, len([x for x in r.stdout.splitlines() if x[1:2] == "f"]),
            "files that rsync copied: " + r.stdout)
    s.share(b, a)
    stack.same(t, stack.look(t.path("src"), fields=fields),
               stack.look(os.path.join(a, "rsync"), fields=fields),
               "rsync in A")


def test_vim(t):
    """vim saves by renaming, and by writing in place."""
    vim = shutil.which("vim.tiny") or shutil.which("vim")
    if vim is None:
        t.skip("no vim")
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for how in ("no", "yes"):
        path = write(os.path.join(a, how), "one\n")
        before = os.stat(path).st_ino
        subprocess.run([vim, "-u", "NONE", "-es", "--cmd",
                        "set backup backupskip= backupcopy=%s" % how, "-c",
                        "s/one/two/", "-c", "wq", path], check=False,
                       stdin=subprocess.DEVNULL, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        t.equal(b"two\n", read(path), how)
        t.equal(b"one\n", read(path + "~"), "the backup")
        t.equal(how == "yes", before == os.stat(path).st_ino,
                "backupcopy=%s keeps the file" % how)
    s.share(a, b)
    for how in ("no", "yes"):
        t.equal(b"two\n", read(os.path.join(b, how)), how + " in B")
    t.equal(["no", "no~", "yes", "yes~"], sorted(os.listdir(b)), "names in B")
