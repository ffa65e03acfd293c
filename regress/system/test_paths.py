# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl ls, get and rm show, bring and remove what is at a path of a volume
without a mount, whole or not at all, and never outside of where it was to go."""

import json
import os
import pty
import signal
import stat
import subprocess

from sailtest import proxy, stack

BOTH_STORES = True

FIELDS = ("mode", "uid", "gid", "mtime")
ODD = [b"with\nnewline", b"\xff\xfe", b" blank ", b"-dash", b"'quote\"", b"$x",
       "\u00fc".encode(), b"n" * 255]


def env_of(s, key=None):
    return dict(os.environ, SAIL_API_URL=s.url,
                SAIL_API_KEY=key or s.server.key)


def tool(s, *args, ok=True, key=None, **kwargs):
    """sailvolctl by a key, without a daemon."""
    return s.t.run([s.program] + list(args), ok=ok, env=env_of(s, key),
                   **kwargs)


def start(s, *args, **kwargs):
    return subprocess.Popen(
        [s.program] + list(args), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env_of(s), **kwargs)


def look(path):
    return stack.look(path, fields=FIELDS)


def temps(top):
    return [n for n in os.listdir(top) if n.startswith(".sailvolctl-get-")]


def random_file(path, size):
    with open(path, "wb") as f:
        f.write(os.urandom(size))


def fill(top):
    """A directory d with one of each kind, and odd names."""
    os.makedirs(top + "/d/sub/empty")
    stack.write(top + "/d/text", "text\n")
    os.setxattr(top + "/d/text", "user.a", b"\0\xff")
    os.setxattr(top + "/d/text", "user.long", b"x" * 2000)
    os.chown(top + "/d/text", 1234, 5678)
    os.chmod(top + "/d/text", 0o6751)
    os.utime(top + "/d/text", ns=(1, 1234567890123456789))
    os.symlink("/etc/passwd", top + "/d/link")
    os.symlink("..", top + "/d/up")
    os.lchown(top + "/d/link", 7, 8)
    os.mkfifo(top + "/d/fifo", 0o640)
    with open(top + "/d/sparse", "wb") as f:
        f.truncate(30 << 20)
        f.seek(17 << 20)
        f.write(os.urandom(100000))
    random_file(top + "/d/large", 20 << 20)
    stack.write(top + "/d/nothing", "")
    for name in ODD:
        with open(os.fsencode(top) + b"/d/sub/" + name, "wb") as f:
            f.write(name)
    for i in range(300):
        stack.write("%s/d/sub/empty/f%03d" % (top, i), "%d\n" % i)
    deep = top + "/d/deep" + "/x" * 60
    os.makedirs(deep)
    stack.write(deep + "/end", "end\n")
    os.chmod(top + "/d/sub/empty", 0o555)


def test_ls(t):
    """Names come in their order, one a line, or long, or as lines of JSON."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    fill(a)
    one = s.commit(a)
    os.unlink(a + "/d/text")
    s.commit(a)
    names = ["deep", "fifo", "large", "link", "nothing", "sparse", "sub", "up"]
    for args in (("ls", "vol:d"), ("ls", "-1", "vol:/d/"),
                 ("-s", s.daemon.socket, "ls", "vol:d")):
        r = tool(s, *args)
        t.equal(names, r.stdout.splitlines(), " ".join(args))
    t.equal("d\n", tool(s, "ls", "vol:").stdout, "the root")
    t.equal("d\n", tool(s, "ls", "vol:/").stdout, "the root")
    t.equal("d/link\n", tool(s, "ls", "vol:d/link").stdout, "a link")
    t.true("text" in tool(s, "ls", "vol@%s:d" % one[:8]).stdout, "of before")
    out = subprocess.run([s.program, "ls", "vol:d/sub"], env=env_of(s),
                         stdout=subprocess.PIPE, check=True).stdout
    t.equal(b"\n".join(sorted(ODD + [b"empty"])) + b"\n", out, "odd names")
    lines = tool(s, "ls", "-l", "vol@%s:d" % one).stdout.splitlines()
    t.equal(9, len(lines), "lines")
    t.true(lines[3].startswith("lrwxrwxrwx     7     8           11 ")
           and lines[3].endswith(" link -> /etc/passwd"), lines[3])
    t.true(lines[7].startswith("-rwsr-s--x  1234  5678            5 2009-02-1")
           and lines[7].endswith(" text"), lines[7])
    t.true(lines[0].startswith("drwxr-xr-x     0     0            4 "), lines[0])
    out = tool(s, "ls", "-R", "vol:d/deep").stdout
    t.true(out.startswith("d/deep:\nx\n\nd/deep/x:\nx\n\nd/deep/x/x:\n"), out)
    t.true(out.endswith("\nd/deep%s:\nend\n" % ("/x" * 60)), out)
    lines = [json.loads(x) for x in
             tool(s, "ls", "-jR", "vol@%s:d/" % one).stdout.splitlines()]
    t.equal(len(look(a)), len(lines), "all of them")  # d, but not text
    by = {json.dumps(x["path"]): x for x in lines}
    t.equal(("file", 0o6751, 1234, 5678, 5), tuple(
        by['"d/text"'][k] for k in ("type", "mode", "uid", "gid", "size")),
        "a file")
    t.equal("/etc/passwd", by['"d/link"']["target"], "a link")
    t.equal((300, 1090), (by['"d/sub/empty"']["files"],
                          by['"d/sub/empty"']["bytes"]), "a directory")
    t.true('{"b64": "ZC9zdWIv//4="}' in by, "not UTF-8")


def terminal(s, *args, columns="40"):
    """What a terminal gets."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve("/bin/sh", ["sh", "-c", 'stty cols "$1"; shift; exec "$@"',
                              "sh", columns, s.program] + list(args),
                  dict(env_of(s), TERM="vt100", LC_ALL="C.UTF-8"))
    out = b""
    while True:
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        out += more
    os.close(fd)
    os.waitpid(pid, 0)
    return out


def test_terminal(t):
    """On a terminal names stand in columns, and none of them moves it."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    for i in range(12):
        stack.write("%s/f%02d" % (a, i), "")
    os.symlink("x\033[2Jy", a + "/z\033[H")
    s.commit(a)
    out = terminal(s, "ls", "vol:")
    t.true(b"\033" not in out, out)
    lines = out.decode().splitlines()
    t.equal(3, len(lines), out)
    t.equal(["f00", "f03", "f06", "f09", "z\\^[[H"], lines[0].split(), "first")
    out = terminal(s, "ls", "-l", "vol:")
    t.true(b"\033" not in out and b"x\\^[[2Jy" in out, out)
    t.equal(13, len(terminal(s, "ls", "-1", "vol:").splitlines()), "-1")


def test_get(t):
    """What comes is what was committed, of every kind; standard output gets a
    file's bytes."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    fill(a)
    one, want = s.commit(a), look(a + "/d")
    out = t.path("out")
    os.mkdir(out)
    r = tool(s, "get", "vol:d", out + "/copy")
    t.equal(("", ""), (r.stdout, r.stderr), "says nothing")
    stack.same(t, want, look(out + "/copy"), "a directory")
    t.equal((b"\0\xff", 2000),
            (os.getxattr(out + "/copy/text", "user.a"),
             len(os.getxattr(out + "/copy/text", "user.long"))), "xattrs")
    t.equal(os.stat(a + "/d").st_mode, os.stat(out + "/copy").st_mode, "mode")
    t.true(os.stat(out + "/copy/sparse").st_blocks * 512 < 10 << 20, "holes")
    tool(s, "get", "vol:d/", out)
    stack.same(t, want, look(out + "/d"), "into a directory")
    tool(s, "get", "vol:", cwd=out)
    stack.same(t, want, look(out + "/vol/d"), "the root, here")
    for name in ("text", "link", "fifo", "large"):
        tool(s, "get", "vol@%s:d/%s" % (one[:10], name), cwd=out)
        tool(s, "get", "vol:/d/" + name, out + "/of-" + name)
        got = look(out)
        item = want[b"./" + name.encode()]
        t.equal(item, got[b"./" + name.encode()], name)
        t.equal(item, got[b"./of-" + name.encode()], name)
    for name in ("text", "large", "sparse", "nothing"):
        with open(t.path("stdout"), "wb") as f:
            subprocess.run([s.program, "get", "vol:d/" + name, "-"], stdout=f,
                           env=env_of(s), check=True)
        t.equal(stack.sha256(a + "/d/" + name),
                stack.sha256(t.path("stdout")), name)
    r = json.loads(tool(s, "get", "-j", "vol:d/sub", out).stdout)
    t.equal(("d/sub", one, 308), (r["path"], r["commit"], r["files"]), "-j")
    t.equal([], temps(out), "left over")


def test_get_over(t):
    """A file takes the place of a file; what else is there stays, unless told:
    no link is followed, and nothing is mixed."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    fill(a)
    s.commit(a)
    out = t.path("out")
    os.makedirs(out + "/d/old")
    stack.write(t.path("outside"), "outside\n")
    stack.write(out + "/file", "old\n")
    os.symlink(t.path("outside"), out + "/link")
    os.mkdir(out + "/text")
    os.symlink(t.path("outside-dir"), out + "/large")
    os.mkdir(t.path("outside-dir"))
    tool(s, "get", "vol:d/text", out + "/file")
    t.equal("text\n", stack.read(out + "/file"), "a file over a file")
    for target, source in (("link", "d/text"), ("", "d/text"), ("", "d"),
                           ("file", "d")):
        r = tool(s, "get", "vol:" + source, out + "/" + target, ok=3)
        t.true("it is there" in r.stderr and "--force" in r.stderr, r.stderr)
    t.equal(["old"], os.listdir(out + "/d"), "as it was")
    t.equal("outside\n", stack.read(t.path("outside")), "behind the link")
    tool(s, "get", "--force", "vol:d/text", out + "/link")
    t.true(not os.path.islink(out + "/link"), "the link was replaced")
    tool(s, "get", "--force", "vol:d", out)
    stack.same(t, look(a + "/d"), look(out + "/d"), "as a whole")
    tool(s, "get", "--force", "vol:d", out + "/file")
    stack.same(t, look(a + "/d"), look(out + "/file"), "over a file")
    # A directory behind a link that was typed is one.
    tool(s, "get", "vol:d/large", out + "/large")
    t.equal(["large"], os.listdir(t.path("outside-dir")), "typed")
    t.equal("outside\n", stack.read(t.path("outside")), "behind the link")
    os.mknod(out + "/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    r = tool(s, "get", "--force", "vol:d/text", out + "/null", ok=3)
    t.true("a device" in r.stderr, r.stderr)
    t.equal([], temps(out), "left over")


def test_get_refused(t):
    """What is typed wrongly or cannot be had is said, with what to do."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    fill(a)
    s.commit(a)
    other = s.new_key(org="other")
    for words, status, says, key in (
            (("ls", "vol"), 2, "VOLUME:PATH is needed, as in vol:", None),
            (("ls", "vol@:d"), 2, "no commit behind the @", None),
            (("ls", ":d"), 2, "volume", None),
            (("ls", "vol:a/../b"), 2, "a/../b", None),
            (("ls", "vol:.sailvol"), 2, ".sailvol", None),
            (("get", "vol:d/text", "-", "-j"), 2, "both want standard", None),
            (("ls", "vol:d/none"), 1, "d/none: not in commit", None),
            (("ls", "vol:d/text/x"), 1, "not in commit", None),
            (("ls", "vol:d/text/"), 1, "not a directory", None),
            (("ls", "vol@abcdef:d"), 1, "sailvolctl log vol", None),
            (("ls", "none:"), 1, "sailvolctl volume list", None),
            (("ls", "vol:"), 1, "sailvolctl volume list", other),
            (("ls", "vol:"), 1, "no such API key", "sk_" + "0" * 64),
            (("get", "vol:d", "-"), 1, "only a file goes", None),
            (("get", "vol:d/link", "-"), 1, "a symbolic link", None),
            (("get", "vol:d", t.path("no/such")), 1, "No such file", None),
            (("get", "vol:d", t.path("no") + "/"), 1, "make it first", None)):
        r = tool(s, *words, ok=status, key=key)
        t.true(says in (r.stdout if "-j" in words else r.stderr),
               "%s: %s" % (words, r.stderr))
    t.equal(False, os.path.exists(t.path("no")), "nothing made")
    # For a user who is nobody here a key is enough.
    for d in (t.dir, t.path("mnt")):
        os.chmod(d, 0o755)
    os.mkdir(t.path("theirs"))
    os.chown(t.path("theirs"), 64123, 64123)
    r = stack.as_user(64123, [s.program, "get", "vol:d", t.path("theirs")],
                      env=env_of(s))
    if r.returncode == 126 or "setpriv" in r.stderr:
        t.skip("another user cannot run the programs of this folder")
    t.equal((0, ""), (r.returncode, r.stderr), "another user")
    st = os.stat(t.path("theirs/d/text"))
    t.equal((64123, 0o751), (st.st_uid, stat.S_IMODE(st.st_mode)), "rights")
    env = {k: v for k, v in os.environ.items() if not k.startswith("SAIL")}
    r = stack.as_user(64123, [s.program, "ls", "vol:"], env=env)
    t.equal(1, r.returncode, "no key")
    t.true("SAIL_API_KEY" in r.stderr, r.stderr)
    s.server.stop()
    r = tool(s, "ls", "vol:", ok=1)
    t.true(s.url in r.stderr, r.stderr)


def hold_after(s, method, count):
    """So many requests to the store pass; what comes behind them is held."""
    s.store.reset()
    s.store.fault(proxy.DELAY, method, 0, times=count)
    return s.store.fault(proxy.DELAY, method, 30, times=1000)


def interrupted(t, s, target, sig, count):
    """A get of vol:d that ends by a signal behind so many requests."""
    held = hold_after(s, "GET", count)
    p = start(s, "get", "vol:d", target)
    t.wait_for(lambda: held.done > 0 or p.poll() is not None, "a held request")
    p.send_signal(sig)
    _, err = p.communicate(timeout=30)
    t.equal(-sig if sig == signal.SIGKILL else 1, p.returncode, err)
    return err


def test_get_resumes(t):
    """A get that was interrupted or killed goes on with what is whole; another
    commit in between does no harm."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    os.makedirs(a + "/d/sub")
    stack.write(a + "/d/a", "a\n")
    stack.write(a + "/d/sub/old", "old\n")
    os.chmod(a + "/d/sub", 0o500)
    random_file(a + "/d/m", 100 << 20)
    os.symlink("m", a + "/d/l")
    s.commit(a)
    out = t.path("out")
    os.mkdir(out)
    # A small file, or two, then four chunks at a time.
    err = interrupted(t, s, out + "/d", signal.SIGINT, 6)
    t.true(b"interrupted" in err and b"goes on from there" in err, err)
    t.true(not os.path.exists(out + "/d"), "nothing half")
    interrupted(t, s, out + "/d", signal.SIGKILL, 5)
    t.equal(1, len(temps(out)), "kept")
    temp = "%s/%s" % (out, temps(out)[0])
    have = os.stat(temp + "/m").st_blocks * 512
    t.true(have >= 64 << 20, "some of it: %d" % have)
    # Damage, and a newer commit: only what is right is taken up.
    with open(temp + "/m", "r+b") as f:
        f.seek(100)
        f.write(b"damage")
    os.chmod(a + "/d/sub", 0o700)
    os.unlink(a + "/d/sub/old")
    stack.write(a + "/d/sub/new", "new\n")
    with open(a + "/d/m", "r+b") as f:
        f.truncate(90 << 20)
    s.commit(a)
    s.store.reset()
    tool(s, "get", "vol:d", out + "/d")
    stack.same(t, look(a + "/d"), look(out + "/d"), "whole")
    t.equal([], temps(out), "left over")
    down = sum(r.down for r in s.store.matching("GET"))
    t.true(down < (100 << 20) - have + (20 << 20), "%d came again of %d" % (
        down, have))


def test_get_alone(t):
    """Two that get the same do not write into one another's; what others left
    under the name that is used beside is not taken up."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    random_file(a + "/f", 20 << 20)
    s.commit(a)
    out = t.path("out")
    os.mkdir(out)
    s.store.fault(proxy.DELAY, "GET", 20, times=100)
    p = start(s, "get", "vol:f", out)
    t.wait_for(lambda: s.store.faults[0].done > 0, "a request")
    temp = "%s/%s" % (out, temps(out)[0])
    r = tool(s, "get", "vol:f", out, ok=1)
    t.true("another sailvolctl" in r.stderr, r.stderr)
    p.send_signal(signal.SIGTERM)
    p.communicate(timeout=30)
    t.equal([], os.listdir(out), "nothing came, nothing is kept")
    s.store.reset()
    stack.write(t.path("victim"), "victim\n")
    for make in (lambda: os.symlink(t.path("victim"), temp),
                 lambda: os.link(t.path("victim"), temp),
                 lambda: os.mkdir(temp), lambda: os.mkfifo(temp)):
        make()
        tool(s, "get", "vol:f", out)
        t.equal(stack.sha256(a + "/f"), stack.sha256(out + "/f"), "content")
        t.equal([], temps(out), "left over")
        os.unlink(out + "/f")
    random_file(temp, 20 << 20)
    os.chown(temp, 64123, 64123)
    with open(temp, "r+b") as theirs:
        tool(s, "get", "vol:f", out)
        theirs.write(b"too late")
    t.equal(stack.sha256(a + "/f"), stack.sha256(out + "/f"), "not theirs")
    t.equal("victim\n", stack.read(t.path("victim")), "the victim")


def test_get_corrupt(t):
    """A chunk that is wrong everywhere ends it, and no byte of it is shown."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    random_file(a + "/f", 20 << 20)
    s.commit(a)
    s.store.fault(proxy.CORRUPT, "GET", 1000, times=1000)
    out = t.path("out")
    os.mkdir(out)
    r = tool(s, "get", "vol:f", out, ok=1)
    t.equal([], os.listdir(out), "nothing")
    t.true("f" in r.stderr, r.stderr)
    with open(t.path("stdout"), "wb") as f:
        p = subprocess.run([s.program, "get", "vol:f", "-"], stdout=f,
                           env=env_of(s), stderr=subprocess.PIPE, check=False)
    t.equal(1, p.returncode, p.stderr)
    t.equal(0, os.stat(t.path("stdout")).st_size, "no byte")


def test_get_left(t):
    """A reader that leaves in the middle is no error."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    random_file(a + "/f", 20 << 20)
    s.commit(a)
    r = subprocess.run("%s get vol:f - | head -c 10 | wc -c" % s.program,
                       shell=True, env=env_of(s), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, check=True)
    t.equal((b"10\n", b""), (r.stdout, r.stderr), "a reader that leaves")


def test_rm(t):
    """What is removed is gone in the next commit, alone; what others published
    there since stays as a merge has it."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    fill(a)
    random_file(a + "/f", 1000)
    os.mkdir(a + "/empty")
    one = s.commit(a)
    r = tool(s, "rm", "-m", "not needed", "vol:d/text")
    two = r.stdout.strip()
    t.equal(("", 64), (r.stderr, len(two)), "an id alone")
    t.equal(two, s.reload(a), "the head")
    t.true(not os.path.exists(a + "/d/text"), "gone")
    r = json.loads(tool(s, "log", "-j", "vol").stdout)["commits"][0]
    t.equal(("not needed", 1, 0), (r["message"], r["deletes"], r["puts"]),
            "the commit")
    for name in ("link", "fifo", "sub/" + "n" * 255):
        tool(s, "rm", "vol:/d/" + name)
    for name in ("d", "empty", "d/sub/"):
        r = tool(s, "rm", "vol:" + name, ok=1)
        t.true("-r removes" in r.stderr, r.stderr)
    tool(s, "rm", "-r", "vol:empty")
    tool(s, "rm", "-r", "vol:d/deep", "-s", s.daemon.socket)
    t.equal("d\nf\n", tool(s, "ls", "vol:").stdout, "the root")
    r = json.loads(tool(s, "rm", "-rj", "vol:d/sub").stdout)
    t.equal((True, 0), (r["changed"], r["overwritten"]["count"]), "-j")
    t.equal("large nothing sparse up".split(),
            tool(s, "ls", "vol:d").stdout.split(), "d")
    s.reload(a)
    t.equal(["large", "nothing", "sparse", "up"], sorted(os.listdir(a + "/d")),
            "in a mount")
    t.equal("text\n", tool(s, "get", "vol@%s:d/text" % one, "-").stdout,
            "of before")
    reader = s.new_key("read")
    for words, status, says, key in (
            (("vol:",), 2, "the root stays", None),
            (("vol@%s:f" % one,), 2, "leave @", None),
            (("vol:none",), 1, "not in commit", None),
            (("vol:f/",), 1, "not a directory", None),
            (("vol:f",), 1, "another key is needed", reader),
            (("none:f",), 1, "sailvolctl volume list", None)):
        r = tool(s, "rm", *words, ok=status, key=key)
        t.true(says in r.stderr and r.stdout == "", r.stderr)


def test_rm_meanwhile(t):
    """Between the look and the commit of a rm others publish: other paths are
    not disturbed, the same one goes, or --if-unchanged refuses."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    for args, status in (((), 0), (("--if-unchanged",), 3)):
        os.makedirs(a + "/d/sub", exist_ok=True)
        stack.write(a + "/d/f", "one\n")
        stack.write(a + "/d/g", "one\n")
        s.commit(a)
        s.api.reset()
        # The commit of the rm is held until the mount's is in.
        held = s.api.fault(proxy.HOLD, "PUT .*/sessions/")
        p = start(s, "rm", "-r", "vol:d", *args)
        t.wait_for(lambda: held.done > 0, "a session")
        stack.write(a + "/d/f", "two\n")
        stack.write(a + "/d/sub/new", "new\n")
        s.commit(a)
        held.release()
        out, err = p.communicate(timeout=60)
        t.equal(status, p.returncode, err)
        t.true(b"d/f" in err, err)
        s.reload(a)
        t.equal(["sub"] if status == 0 else ["f", "g", "sub"],
                sorted(os.listdir(a + "/d")), "what is left")
        t.equal("new\n", stack.read(a + "/d/sub/new"), "of others")


def test_rm_lost(t):
    """An answer that is lost is asked for again: one commit, and its id."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/f", "x\n")
    stack.write(a + "/g", "x\n")
    s.commit(a)
    s.api.fault(proxy.CUT, "POST .*/commit$", 10)
    ident = tool(s, "rm", "vol:f").stdout.strip()
    log = json.loads(tool(s, "log", "-j", "vol").stdout)["commits"]
    t.equal((ident, 3), (log[0]["id"], len(log)), "one commit")
    s.api.reset()
    s.api.fault(proxy.CLOSE, "POST .*/commit$", times=1000)
    r = tool(s, "rm", "vol:g", ok=1)
    t.true("may have been published" in r.stderr, r.stderr)
