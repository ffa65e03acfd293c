# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl diff and show: what a mount would publish, what differs between
two commits, and patches that patch(1) takes."""

import base64
import json
import os
import pty
import random
import re
import shutil
import stat
import sys

from sailtest import stack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "python"))
from sail import Volume, errors, mount  # noqa: E402
from sail.api import Client  # noqa: E402

BOTH_STORES = True


def env_of(s, key=None):
    return {"SAIL_API_URL": s.url, "SAIL_API_KEY": key or s.server.key}


def ctl(s, *args, ok=True, env=None):
    return s.t.run([s.program] + list(args), ok=ok,
                   env=env_of(s) if env is None else env)


def lines(s, *args):
    return ctl(s, *args).stdout.splitlines()


def changes(s, *args):
    return json.loads(ctl(s, "-j", *args).stdout)["changes"]


def raw(name):
    """The bytes of a name of an answer."""
    if isinstance(name, dict):
        return base64.b64decode(name["b64"])
    return name.encode()


def tree(path):
    """{name: (type, content)} of all below path."""
    found = {}
    top = os.fsencode(path)
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            p = os.path.join(where, name)
            st = os.lstat(p)
            content = None
            if stat.S_ISREG(st.st_mode):
                with open(p, "rb") as f:
                    content = f.read()
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(p)
            found[os.path.relpath(p, top)] = (stat.S_IFMT(st.st_mode), content)
    return found


def letters(a, b):
    """[(letter, name)] by two trees, in the order of diff."""
    out = []
    for name in set(a) | set(b):
        if name not in a:
            out.append(("A", name))
        elif name not in b:
            out.append(("D", name))
        elif a[name][0] != b[name][0]:
            out.append(("T", name))
        elif a[name] != b[name]:
            out.append(("M", name))
    return sorted(out, key=lambda x: x[1].split(b"/"))


def some_text(rng):
    return "".join("%d\n" % rng.randrange(20)
                   for _ in range(rng.randrange(60)))[:-1 if rng.random() < .3
                                                      else None]


def change_some(top, rng, names, texts=False):
    """Adds, changes, removes and replaces at random; with texts alone nothing
    becomes something else."""
    for _ in range(rng.randrange(4, 25)):
        where = os.path.join(top, rng.choice(["", "d", "d/e", "x y"]))
        if os.path.lexists(where) and not os.path.isdir(where):
            os.unlink(where)
        os.makedirs(where, exist_ok=True)
        p = os.path.join(where, rng.choice(names))
        act = rng.choice((0, 3, 4, 5)) if texts else rng.randrange(6)
        if os.path.isdir(p) and not os.path.islink(p):
            shutil.rmtree(p)
        elif os.path.lexists(p) and act < 4:
            os.unlink(p)
        if act == 0:
            continue
        if act == 1:
            os.mkdir(p)
            with open(os.path.join(p, "in"), "w", encoding="ascii") as f:
                f.write("in\n")
        elif act == 2:
            os.symlink(rng.choice(["here", "there"]), p)
        elif not os.path.lexists(p) or act == 4:
            if os.path.islink(p):
                os.unlink(p)
            with open(p, "w", encoding="ascii") as f:
                f.write(some_text(rng))
        elif not os.path.islink(p):
            with open(p, "a", encoding="ascii") as f:
                f.write(some_text(rng))


def test_random(t):
    """The letters are those of two trees, in a mount and between commits."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    names = ["f", "g.c", "with space", "z", "e", "quo\"te", "new\nline",
             b"\xff\xfe".decode("utf-8", "surrogateescape")]
    states, commits = [{}], [json.loads(ctl(
        s, "-j", "log", "vol").stdout)["commits"][0]["id"]]
    rng = random.Random(7)
    for _ in range(4):
        change_some(a, rng, names)
        now = tree(a)
        want = letters(states[-1], now)
        have = [(c["change"], raw(c["path"])) for c in changes(s, "diff", a)]
        # A mount names a directory that is gone alone, takes a link for a
        # file, and what was written to for changed.
        gone = {n for x, n in want if x in "DT"}
        tops = {n for n in gone if os.path.dirname(n) not in gone}
        t.equal([n for x, n in want if x in "AMT" or n in tops],
                [n for x, n in have if n in dict((b, a) for a, b in want)
                 and (x != "D" or n in tops)], "names that are dirty")
        t.equal([], [n for x, n in have if x == "A" and ("A", n) not in want],
                "names that are new")
        states.append(now)
        commits.append(s.commit(a))
        t.equal([], changes(s, "diff", a), "after a commit")
    for i, j in ((0, 4), (4, 0), (1, 2), (2, 3), (3, 1), (2, 2)):
        want = letters(states[i], states[j])
        have = changes(s, "diff", "vol", commits[i], commits[j])
        t.equal(want, [(c["change"], raw(c["path"])) for c in have
                       if c["change"] != "m"], "%d to %d" % (i, j))
        for c in have:
            for side, state in (("was", states[i]), ("now", states[j])):
                there = state.get(raw(c["path"]))
                t.equal(there is None, c[side] is None, side)
                if there and stat.S_ISREG(there[0]):
                    t.equal(len(there[1]), c[side]["size"], "size")
    s.reload(a)
    t.equal([], lines(s, "diff", a), "after a reload")


def test_patch(t):
    """patch(1) makes the later of two states of the earlier."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    rng = random.Random(3)
    names = ["f", "g.c", "with space", "z", "quo\"te"]

    def only_texts():
        # Directories and empty files are nothing to patch(1).
        return {n: v[1] for n, v in tree(a).items()
                if stat.S_ISREG(v[0]) and v[1] != b""}

    change_some(a, rng, names, True)
    commits, states = [s.commit(a)], [only_texts()]
    for n in range(3):
        change_some(a, rng, names, True)
        by_mount = ctl(s, "diff", "-p", a).stdout
        states.append(only_texts())
        commits.append(s.commit(a))
        for text in (by_mount,
                     ctl(s, "diff", "-p", "vol", commits[-2][:12],
                         "head").stdout,
                     ctl(s, "show", "-p", "vol").stdout):
            where = t.path("patched")
            shutil.rmtree(where, ignore_errors=True)
            os.mkdir(where)
            for name, content in states[-2].items():
                p = os.path.join(os.fsencode(where), name)
                os.makedirs(os.path.dirname(p), exist_ok=True)
                with open(p, "wb") as f:
                    f.write(content)
            if "@@" in text:
                t.run(["patch", "-p1", "-s", "-E", "-d", where, "-i",
                       t.write("text.patch", text)])
            have = {k: v[1] for k, v in tree(where).items()
                    if stat.S_ISREG(v[0]) and v[1] != b""}
            t.equal(states[-1], have, "after patch %d" % n)
        if n == 1:
            s.reload(a)


def test_contents(t):
    """Binary and large files are named; what a mount saw in its own commit is
    what its patch is against; -j has patches as strings or base64."""
    s = stack.Stack(t)
    a, b = s.mount("vol", "a", create=True), s.mount("vol", "b")
    stack.write(a + "/t", "one\n")
    with open(a + "/bin", "wb") as f:
        f.write(b"\0\1")
    with open(a + "/large", "wb") as f:
        f.truncate(9 << 20)
    with open(a + "/latin", "wb") as f:
        f.write(b"\xe4\n")
    os.mkdir(a + "/empty")
    s.commit(a)
    stack.write(a + "/t", "two\n")
    with open(a + "/bin", "wb") as f:
        f.write(b"\0\2")
    with open(a + "/large", "ab") as f:
        f.write(b"x")
    with open(a + "/latin", "wb") as f:
        f.write(b"\xf6\n")
    os.symlink("a\nb", a + "/link")
    os.chmod(a + "/empty", 0o700)
    want = {"t": "--- a/t\n+++ b/t\n@@ -1 +1 @@\n-one\n+two\n",
            "bin": "Binary files a/bin and b/bin differ\n",
            "link": "--- /dev/null\n+++ b/link\n@@ -0,0 +1,2 @@\n+a\n+b\n"
                    "\\ No newline at end of file\n"}
    have = {c["path"]: c for c in changes(s, "diff", "-p", a)}
    t.equal(want, {n: have[n]["patch"] for n in want}, "patches of the mount")
    t.equal(("m", None), (have["empty"]["change"], have["empty"].get("patch")),
            "attributes alone")
    t.true("large" in have["large"]["no_patch"], "too large")
    t.equal(b"--- a/latin\n+++ b/latin\n@@ -1 +1 @@\n-\xe4\n+\xf6\n",
            raw(have["latin"]["patch"]), "no UTF-8")
    s.commit(a)
    have = {c["path"]: c for c in changes(s, "show", "-p", "vol")}
    t.equal(want, {n: have[n]["patch"] for n in want}, "patches of the commit")
    # Somebody else was there meanwhile: what this mount saw counts.
    s.reload(b)
    stack.write(b + "/t", "three\n")
    s.commit(b)
    stack.write(a + "/t", "four\n")
    t.true("-two\n+four\n" in ctl(s, "diff", "-p", a).stdout, "against its own")


def test_moves(t):
    """A directory that was moved says from where; one that is gone is one
    line; below a subpath the names are those in the volume."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    for n in ("old", "gone", "sub"):
        os.mkdir("%s/%s" % (a, n))
        for i in range(5):
            stack.write("%s/%s/f%d" % (a, n, i), "%d\n" % i)
    s.commit(a)
    s.reload(a)
    os.rename(a + "/old", a + "/new")
    shutil.rmtree(a + "/gone")
    t.equal(["D gone/", "A new/ (from old)", "D old/"], lines(s, "diff", a),
            "moved")
    s.commit(a)
    c = changes(s, "show", "vol")
    t.equal(6 * 3, len(c), "names of the commit")
    b = s.mount("vol:/sub", "b")
    stack.write(b + "/f3", "x\n")
    os.unlink(b + "/f1")
    t.equal(["D sub/f1", "M sub/f3"], lines(s, "diff", b), "below a subpath")
    t.true("-3\n+x\n" in ctl(s, "diff", "-p", b).stdout, "its patch")
    # From inside, without an operand; and by root with sailvold's own key.
    r = t.run([s.program, "diff"], cwd=b, env={})
    t.equal("D sub/f1\nM sub/f3\n", r.stdout, "of the working directory")
    r = t.run([s.program, "-s", s.daemon.socket, "diff", "-p", b], env={})
    t.true("-3\n+x\n" in r.stdout, "by sailvold's settings: " + r.stderr)


def test_pages(t):
    """More than a page, of a mount and of commits; `head' may leave."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    names = ["%s/f%05d" % (d, i) for d in ("a", "a.b", "b") for i in
             range(500)]
    for d in ("a", "a.b", "b"):
        os.mkdir("%s/%s" % (a, d))
    for n in names:
        with open("%s/%s" % (a, n), "w", encoding="ascii"):
            pass
    want = []
    for d in ("a", "a.b", "b"):
        want += ["A %s/" % d] + ["A " + n for n in names if
                                 n.startswith(d + "/")]
    t.equal(want, lines(s, "diff", a), "a mount")
    have, after = [], {}
    while after is not None:
        page = mount.ask(a, dict({"request": "diff", "limit": 499}, **after))
        t.equal(len(want), page["count"], "count")
        have += [c["path"] for c in page["changes"]]
        after = {"after": page["next"]} if page["more"] else None
    t.equal([x[2:].rstrip("/") for x in want], have, "pages of the door")
    for bad in ({"limit": 0}, {"limit": 10001}, {"after": "/"},
                {"after": {"b64": "?"}}, {"limit": "1"}):
        try:
            mount.ask(a, dict({"request": "diff"}, **bad))
            t.fail("%s: taken" % bad)
        except errors.SailError as e:
            t.equal("invalid_request", e.type, str(e))
    s.commit(a)
    t.equal(want, [x for x in lines(s, "show", "vol") if x[:2] == "A "],
            "a commit")
    r = t.run(["sh", "-c", '"$0" diff vol "$1" head | head -n 1',
               s.program, lines(s, "log", "vol")[-1].split()[0]],
              env=env_of(s))
    t.equal(("A a/\n", ""), (r.stdout, r.stderr), "head")


def test_show(t):
    """What a commit is, by its id, its first digits, or as the head."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/f", "x\n")
    one = s.commit(a, "-m", "the first\nof all")
    os.unlink(a + "/f")
    two = s.commit(a)
    j = json.loads(ctl(s, "-j", "show", "vol", one[:10]).stdout)
    t.equal((one, 1, "the first\nof all", ["f"]),
            (j["id"], j["number"], j["message"],
             [c["path"] for c in j["changes"]]), "by its first digits")
    out = ctl(s, "show", "vol", one).stdout
    t.true("commit      %s\nnumber      1\n" % one in out, out)
    t.true(out.endswith("\n\nA f\n"), out)
    t.true(ctl(s, "show", "vol").stdout.endswith("\n\nD f\n"), "the head")
    j = json.loads(ctl(s, "-j", "show", "vol", j["parent"]).stdout)
    t.equal((None, [], 0), (j["parent"], j["changes"], j["number"]),
            "the first")
    for words, status, what in (
            (("show", "vol", "zz"), 1, "a commit is the digits"),
            (("show", "vol", one[:5]), 1, "a commit is the digits"),
            (("show", "vol", "0" * 64), 1, "no such commit"),
            (("show", "vol", "000000000000"), 1, "no commit that begins"),
            (("show", "nothing"), 1, "no such volume"),
            (("show", "a b"), 1, "forbidden character"),
            (("diff", "vol", one), 2, "two commits"),
            (("diff", "vol", one, "x"), 1, "a commit is the digits"),
            (("diff", t.dir), 1, "not in a mount")):
        r = ctl(s, *words, ok=status)
        t.true(what in r.stderr and r.stdout == "", "%s: %s" % (words,
                                                               r.stderr))
    t.equal([], lines(s, "diff", "vol", two, two), "with itself")


def test_who(t):
    """Names of a mount need no key; contents say what they need; a key of
    another org sees nothing."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    os.chmod(a, 0o777)
    stack.write(a + "/f", "x\n")
    one = s.commit(a)
    stack.write(a + "/f", "y\n")
    t.equal("M f\n", t.run([s.program, "diff", a], env={}).stdout, "no key")
    for d in (t.dir, t.path("mnt")):
        os.chmod(d, 0o755)
    r = t.run(["setpriv", "--reuid=64123", "--regid=64123", "--clear-groups",
               s.program, "diff", "-p", a], ok=None, env={})
    if r.returncode == 126 or "setpriv" in r.stderr:
        t.skip("another user cannot run the programs of this folder")
    t.equal(1, r.returncode, r.stderr)
    t.true("-u and -k" in r.stderr, r.stderr)
    r = ctl(s, "diff", "vol", one, "head", ok=1,
            env=env_of(s, s.new_key(org="other")))
    t.true("no such volume" in r.stderr, r.stderr)
    t.equal([], lines(s, "diff", "vol", one, "head"), "one key")


def on_terminal(argv, env):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, env)
    out = b""
    while True:
        try:
            got = os.read(fd, 65536)
        except OSError:
            break
        if not got:
            break
        out += got
    os.waitpid(pid, 0)
    os.close(fd)
    return out


def test_terminal(t):
    """Colours on a terminal, without NO_COLOR; nothing of a file or a name
    reaches it that could do harm."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    with open(a + "/f\033[2J", "wb") as f:
        f.write(b"\033]0;x\007\tt\xc3\xa4\xc2\x9b\xff\r\n")
    s.commit(a)
    argv = [s.program, "show", "-p", "vol"]
    env = dict(env_of(s), TERM="xterm", PATH=os.environ["PATH"])
    out = on_terminal(argv, env)
    t.true(b"\033[32m+" in out, out)
    t.true(b"\\033]0;x\\007\tt\xc3\xa4\\302\\233\\377\\015" in out, out)
    t.equal(b"", re.sub(rb"[^\033\007\x9b]", b"", re.sub(
        rb"\033\[(0|3\d)m", b"", out)), "what moves the cursor")
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
        out = on_terminal(argv, dict(env, **more))
        t.true(b"\033" not in out and b"+\\033]0" in out, out)
    t.true("\033]0" in t.run(argv, env=env).stdout.encode(
        "utf-8", "surrogateescape").decode("latin1"), "a pipe gets it all")


def test_python(t):
    """Volume.changes(), .log() and .diff() say the same."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/f", "x\n")
    with open(os.fsencode(a) + b"/\xff", "wb"):
        pass
    v = Volume.from_mount(a)
    t.equal([("A", "f"), ("A", "\udcff")],
            [(c["change"], c["path"]) for c in v.changes()], "changes")
    one = v.commit("first")
    for i in range(1100):
        with open("%s/n%04d" % (a, i), "w", encoding="ascii"):
            pass
    two = v.commit()
    v = Volume.get("vol", client=Client(s.url, s.server.key))
    t.equal([two, one], [c["id"] for c in v.log(2)], "log")
    t.equal([2, 1, 0], [c["number"] for c in v.log()], "the whole log")
    t.equal(["n%04d" % i for i in range(1100)],
            [c["path"] for c in v.diff(two)], "against its parent")
    t.equal(["D"] * 1100, [c["change"] for c in v.diff(one, since=two)],
            "back")
    t.equal(["\udcff"], [c["path"] for c in v.diff(
        one, path=b"\xff")], "of a path")
    try:
        list(v.diff("0" * 64))
        t.fail("a commit that is none")
    except errors.NotFoundError as e:
        t.equal("commit_not_found", e.code, "code")
