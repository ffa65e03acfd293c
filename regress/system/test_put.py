# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl put publishes files of a machine that has no mount: whole or not at
all, nothing twice, and merged with what others publish."""

import json
import os
import shutil
import signal
import socket
import subprocess

from sailtest import proxy, stack
from system import test_paths as paths

BOTH_STORES = True

start, tool = paths.start, paths.tool


def put(s, *args, **kwargs):
    """Without the folder of state of whoever runs the tests."""
    os.environ["XDG_STATE_HOME"] = s.t.path("state")
    return tool(s, "put", *args, **kwargs)


def states(t):
    d = t.path("state/sailvolctl")
    return os.listdir(d) if os.path.exists(d) else []


def test_directory(t):
    """A directory of all kinds and odd names is in a mount what it was, and
    again in a get; put once more it is nothing."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    src = t.path("src")
    os.mkdir(src)
    paths.fill(src)
    want = paths.look(src)
    r = put(s, "-m", "by hand", src + "/.", "vol:")
    t.equal("", r.stderr, "says nothing")
    t.equal(r.stdout.strip(), s.reload(a), "the head, alone")
    stack.same(t, want, paths.look(a), "in a mount")
    t.equal((b"\0\xff", 2000),
            (os.getxattr(a + "/d/text", "user.a"),
             len(os.getxattr(a + "/d/text", "user.long"))), "xattrs")
    inodes = stack.look(a, fields=("ino",), content=False)
    again = put(s, src + "/.", "vol:/")
    t.equal((r.stdout, "sailvolctl: nothing to publish\n"),
            (again.stdout, again.stderr), "again")
    os.mkdir(t.path("out"))
    tool(s, "get", "vol:d", t.path("out"))
    stack.same(t, want, paths.look(t.path("out")), "in a get")
    # Into what is there, and with directories that lack.
    put(s, src + "/d", "vol:")
    put(s, src + "/d/", "vol:x/y/z")
    put(s, src + "/d/sub/", "vol:x/y/z/")
    s.reload(a)
    stack.same(t, paths.look(src + "/d/deep"), paths.look(a + "/x/y/z/deep"),
               "below")
    stack.same(t, inodes, {k: v for k, v in stack.look(
        a, fields=("ino",), content=False).items() if k.startswith((b"./d", b"d/"))},
        "the same files")
    # One changed: it alone goes, and what lacks in the source stays.
    os.unlink(src + "/d/text")
    stack.write(src + "/d/nothing", "something\n")
    r = json.loads(put(s, "-j", src + "/d", "vol:").stdout)
    t.equal((1, 0, 10), (r["puts"], r["deletes"], r["bytes_uploaded"]), "one")
    s.reload(a)
    t.equal(("text\n", "something\n"),
            (stack.read(a + "/d/text"), stack.read(a + "/d/nothing")), "merged")
    t.equal([], states(t), "left over")


def test_file(t):
    """A file goes as what was typed, or into a directory; a link that was
    typed is followed, no other is."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    src = t.path("src")
    paths.random_file(src, 20 << 20)
    os.symlink(src, t.path("link"))
    put(s, src, "vol:")
    put(s, src, "vol:new/dir/file")
    put(s, src, "vol:new/other/")
    put(s, t.path("link"), "vol:new")
    put(s, src, "vol:new/dir/file")
    s.reload(a)
    for name in ("src", "new/dir/file", "new/other/src", "new/link"):
        t.equal(stack.sha256(src), stack.sha256(a + "/" + name), name)
    t.equal(True, os.path.isfile(a + "/new/link") and
            not os.path.islink(a + "/new/link"), "followed")
    with open(src, "r+b") as f:
        f.truncate(8 << 20)
    put(s, src, "vol:src")
    s.reload(a)
    t.equal(stack.sha256(src), stack.sha256(a + "/src"), "shorter")


def test_stream(t):
    """Standard input becomes a file, of any size; the attributes of one that is
    there stay; nothing is published when it breaks off."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    src = t.path("src")
    paths.random_file(src, 100 << 20)
    with open(src, "r+b") as f:
        f.seek(100 << 20)
        f.write(b"tail")
        f.truncate((150 << 20) + 7)
    env = dict(paths.env_of(s), XDG_STATE_HOME=t.path("state"))

    def pipe(command, target):
        return subprocess.run(
            "%s | %s put - %s" % (command, s.program, target), shell=True,
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            check=False)

    r = pipe("cat %s" % src, "vol:d/big")
    t.equal((0, ""), (r.returncode, r.stderr), "a pipe")
    t.equal(r.stdout.strip(), s.reload(a), "the head")
    t.equal(stack.sha256(src), stack.sha256(a + "/d/big"), "content")
    os.chmod(a + "/d/big", 0o640)
    os.chown(a + "/d/big", 12, 13)
    os.setxattr(a + "/d/big", "user.x", b"y")
    s.commit(a)
    with open(src, "rb") as f:
        subprocess.run([s.program, "put", "-", "vol:d/big"], stdin=f, env=env,
                       check=True, stdout=subprocess.DEVNULL)
    pipe("printf hello", "vol:d/big")
    pipe("true", "vol:d/empty")
    s.reload(a)
    st = os.stat(a + "/d/big")
    t.equal(("hello", 0o100640, 12, 13, b"y"),
            (stack.read(a + "/d/big"), st.st_mode, st.st_uid, st.st_gid,
             os.getxattr(a + "/d/big", "user.x")), "attributes")
    t.equal(0, os.stat(a + "/d/empty").st_size, "nothing")
    r = pipe("echo x", "vol:d")
    t.true(r.returncode == 1 and "needs a name" in r.stderr, r.stderr)
    back = subprocess.Popen([s.program, "put", "-", "vol:d/half"], env=env,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    back.stdin.write(b"x" * (80 << 20))
    back.stdin.flush()
    back.send_signal(signal.SIGTERM)
    _, err = back.communicate(timeout=60)
    t.equal(1, back.returncode, err)
    t.true(b"interrupted" in err, err)
    t.true("half" not in tool(s, "ls", "vol:d").stdout, "not published")


def test_killed(t):
    """A put that was killed goes on: what the store has is not sent again."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    src = t.path("src")
    os.mkdir(src)
    paths.random_file(src + "/big", 96 << 20)
    for i in range(50):
        stack.write("%s/f%02d" % (src, i), "%d\n" % i)
    os.environ["XDG_STATE_HOME"] = t.path("state")
    paths.hold_after(s, "PUT", 4)
    p = start(s, "put", src, "vol:")
    t.wait_for(lambda: len([r for r in s.store.matching("PUT")
                            if r.status == 200]) == 4 or
               p.poll() is not None, "some chunks")
    p.send_signal(signal.SIGKILL)
    p.communicate(timeout=30)
    t.equal(-signal.SIGKILL, p.returncode, "killed")
    t.equal("", tool(s, "ls", "vol:").stdout, "nothing is published")
    t.equal(1, len(states(t)), "remembered")
    had = len(s.objects())
    t.true(had >= 4, "%d objects" % had)
    s.store.reset()
    put(s, src, "vol:")
    again = s.store.count("PUT")
    t.equal(13 - had, again, "sent again")
    s.reload(a)
    stack.same(t, paths.look(src), paths.look(a + "/src"), "content")
    t.equal([], states(t), "left over")
    s.store.reset()
    shutil.copytree(src, t.path("copy"))
    # What lies in a pack counts for others when the server has read it.
    t.wait_for(s.server.packs_read, "the pack was read")
    put(s, t.path("copy"), "vol:copy")
    t.equal(0, s.store.count("PUT"), "sent of a copy")


def test_meanwhile(t):
    """Others publish between the look and the commit: different paths are both
    there, of the same one the last is, or --if-unchanged refuses."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    os.environ["XDG_STATE_HOME"] = t.path("state")
    os.makedirs(a + "/d")
    src = t.path("d")
    os.mkdir(src)
    stack.write(src + "/same", "put\n")
    stack.write(src + "/mine", "put\n")
    for args, status, same in ((("--if-unchanged",), 3, "mount\n"),
                               ((), 0, "put\n")):
        stack.write(a + "/d/same", "before\n")
        s.commit(a)
        s.api.reset()
        held = s.api.fault(proxy.HOLD, "PUT .*/sessions/")
        p = start(s, "put", src, "vol:", *args)
        t.wait_for(lambda: held.done > 0, "a session")
        stack.write(a + "/d/same", "mount\n")
        stack.write(a + "/d/theirs", "mount\n")
        s.commit(a)
        held.release()
        _, err = p.communicate(timeout=60)
        t.equal(status, p.returncode, err)
        t.true(b"d/same" in err, err)
        s.reload(a)
        t.equal((same, "mount\n", status == 0),
                (stack.read(a + "/d/same"), stack.read(a + "/d/theirs"),
                 os.path.exists(a + "/d/mine")), "merged")


def test_refused(t):
    """What cannot be put is said, with what to do, and nothing is published."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    os.mkdir(a + "/d")
    stack.write(a + "/f", "x\n")
    s.commit(a)
    head = tool(s, "log", "-n", "1", "vol").stdout
    src = t.path("src")
    os.makedirs(src + "/f")
    os.makedirs(t.path("other"))
    stack.write(t.path("other/d"), "x\n")
    os.mkfifo(t.path("fifo"))
    reader = s.new_key("read")
    for words, status, says, key in (
            ((src, "vol"), 2, "VOLUME:PATH", None),
            ((src, "vol@head:d"), 2, "leave @head away", None),
            ((src, "vol:.sailvol/x"), 2, ".sailvol", None),
            ((t.path("none"), "vol:d"), 1, "No such file", None),
            ((t.path("fifo"), "vol:d"), 1, "neither a file", None),
            ((src + "/.", "vol:"), 3, "f: in the volume it is no dir", None),
            ((src, "vol:f"), 3, "f: in the volume it is no dir", None),
            ((src, "vol:f/g/h"), 3, "f: in the volume it is no dir", None),
            ((t.path("other/."), "vol:"), 3, "d: in the volume it is a", None),
            ((src, "none:"), 1, "sailvolctl volume list", None),
            ((src, "vol:new"), 1, "another key is needed", reader)):
        r = put(s, *words, ok=status, key=key)
        t.true(says in r.stderr and r.stdout == "", "%s: %s" % (
            words, r.stderr))
    t.equal(head, tool(s, "log", "-n", "1", "vol").stdout, "the head")
    # What no commit has is left out, and named.
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(t.path("other"))
        sock.bind("sock")
    os.mkdir(t.path("other/.sailvol"))
    stack.write(t.path("other/.sail_volume.json"), "forged\n")
    r = put(s, t.path("other"), "vol:")
    t.true("not kept" in r.stderr, r.stderr)
    t.equal(["\tother/.sail_volume.json", "\tother/.sailvol", "\tother/sock"],
            r.stderr.splitlines()[1:], "named")
    t.equal("other/d\n", tool(s, "ls", "vol:other/d").stdout, "the rest")
    s.server.stop()
    r = put(s, src, "vol:new", ok=1)
    t.true(s.url in r.stderr, r.stderr)
