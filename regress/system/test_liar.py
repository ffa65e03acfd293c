# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl ls and get from a server that lies: nothing is written outside of
the target, and the end comes soon, with words that say what is wrong."""

import os
import pty
import signal
import subprocess

from sailtest import liar, stack
from sailtest.liar import Dir, File, Link

OUTSIDE = b"outside\n"


class Place:
    """A folder out to get into, beside which all must stay as it is."""

    def __init__(self, t):
        self.t = t
        self.program = os.path.join(t.repo, "sailvolctl", "sailvolctl")
        self.api = liar.Liar(t)
        os.makedirs(t.path("out/in"))
        os.mkdir(t.path("outside"))
        t.write("outside/f", OUTSIDE)
        t.write("out/f", OUTSIDE)
        self.before = self.look()

    def look(self):
        """All but what is below out/in, which may be deeper than can be
        walked."""
        t = self.t
        found = stack.look(t.path("outside"))
        for folder in (t.dir, t.path("out")):
            for name in os.listdir(folder):
                found[folder, name] = {"is": stack.read(
                    os.path.join(folder, name)) if name == "f" else "there"}
        return found

    def tool(self, *args, ok=None):
        return self.t.run([self.program] + list(args), ok=ok,
                          env=self.api.env, cwd=self.t.path("out/in"))

    def start(self, *args):
        return subprocess.Popen(
            [self.program] + list(args), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=self.api.env, cwd=self.t.path("out/in"))

    def on_terminal(self, *args):
        """What it says there."""
        ours, theirs = pty.openpty()
        run = subprocess.Popen([self.program] + list(args), env=self.api.env,
                               stdin=subprocess.DEVNULL, stdout=theirs,
                               stderr=theirs)
        os.close(theirs)
        said = b""
        try:
            while True:
                said += os.read(ours, 4096)
        except OSError:
            # Nobody has the other end any more.
            pass
        os.close(ours)
        run.wait()
        return said

    def unchanged(self, what):
        stack.same(self.t, self.before, self.look(), what)

    def clean(self):
        for name in os.listdir(self.t.path("out/in")):
            subprocess.run(["rm", "-rf", self.t.path("out/in", name)],
                           check=True)

    def refused(self, what, says, commands=(("ls", "-R", "vol:"),
                                            ("get", "vol:", "new"),
                                            ("get", "vol:d", "."))):
        """Each of them ends with 1, says that, and brings nothing to where it
        was to go."""
        for command in commands:
            r = self.tool(*command)
            self.t.equal(1, r.returncode, "%s: %s: %s" % (what, command,
                                                          r.stderr))
            self.t.true(any(s in r.stderr for s in says), "%s: %s: %s" % (
                what, command, r.stderr))
            self.unchanged(what)
            left = [n for n in os.listdir(self.t.path("out/in"))
                    if not n.startswith(".sailvolctl-get-")]
            self.t.equal([], left, what)
            self.clean()


def test_honest(t):
    """What the server of these tests encodes is a volume to sailvolctl when it
    does not lie."""
    p = Place(t)
    p.api.show([(b"d", Dir([(b"f", File(b"content")), (b"l", Link(b"f"))])),
                (b"many", Dir(leaves=[[(b"a", File())], [(b"b", File())]]))])
    t.equal(":\nd\nmany\n\nd:\nf\nl\n\nmany:\na\nb\n",
            p.tool("ls", "-R", "vol:", ok=0).stdout, "ls")
    p.tool("get", "vol:", ok=0)
    t.equal("content", stack.read(t.path("out/in/vol/d/l")), "get")
    t.equal(["a", "b"], sorted(os.listdir(t.path("out/in/vol/many"))), "names")
    p.unchanged("outside")


def test_names(t):
    """Names that no directory can have are refused wherever they stand, and so
    is a name that comes twice, as a link first and then as a directory."""
    p = Place(t)
    evil = Dir([(b"f", File(b"evil"))])
    out = os.fsencode(t.path("outside"))
    cases = [(repr(name), [(name, entry)])
             for name in (b"..", b".", b"", b"/", b"a/b", b"../outside",
                          b"a\0b", b".sailvol", b".sail_volume.json",
                          out + b"/g")
             for entry in (File(b"evil"), evil, Link(out))]
    cases += [("a link and a directory", [(b"x", Link(out)), (b"x", evil)]),
              ("a link and a file", [(b"x", Link(out + b"/f")),
                                     (b"x", File(b"evil"))]),
              ("not in order", [(b"y", Link(out)), (b"x", evil)])]
    for what, names in cases:
        p.api.show([(b"d", Dir(names))])
        p.refused(what, ("answer",), (("get", "vol:d", "."),))
    for what, names in cases[::5]:
        p.api.show([(b"d", Dir(names))])
        p.refused(what, ("answer",))
        p.api.show(names)
        p.refused(what + " in the root", ("answer",))
    # Each leaf is right, but not beside the other.
    for what, leaves in (
            ("in two leaves", [[(b"x", Link(out))], [(b"x", evil)]]),
            ("leaves not in order", [[(b"y", Link(out))], [(b"x", evil)]])):
        p.api.show([(b"d", Dir(leaves=leaves))])
        p.refused(what, ("answer", "damaged"))


def test_links(t):
    """A link leads nowhere while a tree is made, nor when it is made again; what
    lies there from an earlier try is no way out either."""
    p = Place(t)
    out = os.fsencode(t.path("outside"))
    p.api.show([(b"d", Dir([(b"x", Link(out)), (b"z", Link(b"../..")),
                            (b"big", File(size=1 << 53))]))])
    for _ in range(2):
        p.tool("get", "vol:d", "d")
        p.unchanged("a link")
    # Of the same name, in the next commit, a directory and then again a link.
    evil = Dir([(b"f", File(b"evil")), (b"g", File(b"evil"))])
    for names in ([(b"x", evil)], [(b"x", Link(out))], [(b"x", evil)]):
        p.api.show([(b"d", Dir(names))])
        p.tool("get", "--force", "vol:d", "d", ok=0)
        p.unchanged("a link of before")
    t.equal(["f", "g"], sorted(os.listdir(t.path("out/in/d/x"))), "the last")
    # Half of a try, whose directories others have made links.
    p.clean()
    p.api.show([(b"d", Dir([(b"x", evil), (b"y", Dir([(b"f", File(
        b"lost"))]))]))])
    p.api.chunks = {k: v for k, v in p.api.chunks.items() if v != b"lost"}
    r = p.tool("get", "vol:d", ok=1)
    left, = os.listdir(t.path("out/in"))
    t.true(left in r.stderr, r.stderr)
    subprocess.run(["rm", "-r", t.path("out/in", left, "x")], check=True)
    os.symlink(t.path("outside"), t.path("out/in", left, "x"))
    p.tool("get", "vol:d", ok=1)
    p.unchanged("a link in what an earlier try left")


def nested(api, levels, inner):
    for _ in range(levels):
        inner = Dir([(b"d", inner)])
        inner.made(api)
    return inner


def test_deep(t):
    """A tree deeper than any volume ends with words; so does one whose
    directories stand in one another again and again, when nobody waits any
    longer."""
    p = Place(t)
    p.api.show(root=nested(p.api, 1100, Dir([(b"f", File(b"x"))])))
    p.refused("too deep", ("too long", "too deep"),
              (("get", "vol:", "new"), ("get", "vol:d", ".")))
    t.true(p.tool("ls", "-R", "vol:", ok=0).stdout.endswith("d/d:\nf\n"), "ls")
    p.api.show(root=nested(p.api, 1000, Dir([(b"f", File(b"x"))])))
    p.tool("get", "vol:", "deep", ok=0)
    p.unchanged("deep")
    p.clean()
    # 2^60 directories in 60 nodes.
    laugh = Dir([(b"f", Link(b"x"))])
    for _ in range(60):
        laugh = Dir([(b"a", laugh), (b"b", laugh)], sums=(1 << 60, 0))
    p.api.show([(b"d", laugh)])
    for command in (("get", "vol:d"), ("ls", "-R", "vol:"),
                    ("ls", "-Rj", "vol:")):
        run = p.start(*command)
        t.wait_for(lambda: command[0] == "ls" and p.api.asked or
                   os.path.exists(t.path("out/in")) and any(
                       os.path.exists(t.path("out/in", n, "a/a/a"))
                       for n in os.listdir(t.path("out/in"))), "it begins")
        run.send_signal(signal.SIGINT)
        try:
            _, err = run.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            run.kill()
            t.fail("%s: not interrupted" % (command,))
        t.true(run.returncode in (1, -signal.SIGINT), err)
        if command[0] == "get":
            t.true(b"interrupted" in err, err)
        p.unchanged("again and again")
        p.clean()
        p.api.asked = []


def test_sizes(t):
    """Sizes that no disk holds end with words, or take no room; a stream of
    zeros ends when it is interrupted."""
    p = Place(t)
    for size in (1 << 53, (1 << 53) - 1):
        p.api.show([(b"d", Dir([(b"f", File(size=size))]))])
        r = p.tool("get", "vol:d", "d")
        if r.returncode != 0:
            t.true("too large" in r.stderr, r.stderr)
        p.unchanged("a file of %d bytes" % size)
        p.clean()
    p.api.show([(b"d", Dir([(b"f", File(size=(1 << 53) + 1))]))])
    p.refused("larger than any file", ("answer",))
    p.api.show([(b"d", File(size=1 << 53))])
    run = p.start("get", "vol:d", "-")
    t.wait_for(lambda: len(p.api.asked) > 1, "it begins")
    with open("/proc/%d/io" % run.pid, encoding="ascii") as f:
        t.wait_for(lambda: f.seek(0) == 0 and int(
            f.read().split("wchar: ")[1].split()[0]) > 1 << 20, "zeros")
    run.send_signal(signal.SIGINT)
    try:
        _, err = run.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        run.kill()
        t.fail("zeros: not interrupted")
    t.equal(-signal.SIGINT, run.returncode, err)
    # Sums that are no sums, and the largest.
    p.api.show([(b"d", Dir([(b"f", File(b"x"))], sums=((1 << 64) - 1,
                                                       (1 << 64) - 1)))])
    r = p.tool("get", "vol:d", "d")
    p.unchanged("sums")
    p.clean()
    p.api.show([(b"d", Dir([(b"f", File(b"x"))], sums=(1, 1 << 60)))])
    p.refused("sums that cannot be", ("answer",))


def test_answers(t):
    """Answers that are no answers: said so, with what they say shown as text."""
    p = Place(t)
    p.api.show([(b"d", Dir([(b"f", File(b"content"))]))])
    escape = b'{"error":{"type":"x","code":"y","message":"\\u001b]0;evil' \
        b'\\u0007 \\u001b[2J"}}'
    for path, status, body, says in (
            ("/v1/volumes/vol", 200, b"", "head"),
            ("/v1/volumes/vol", 200, b'{"head":"zz"}', "head"),
            ("/v1/volumes/vol", 200, b'{"head":7}', "head"),
            ("/v1/volumes/vol", 200, b"[" * 100000, "head"),
            ("/v1/volumes/vol", 200, b'{"head":"%s"}' % (b"0" * 64),
             "another commit"),
            ("/v1/volumes/vol", 500, b"<html>", "500"),
            ("/v1/volumes/vol", 403, escape, "evil"),
            ("/v1/volumes/vol/nodes", 200, b"", "answer"),
            ("/v1/volumes/vol/nodes", 200, b"SVWB\2\1", "answer"),
            ("/v1/volumes/vol/nodes", 200, p.api.bundle() + b"x", "answer"),
            ("/v1/volumes/vol/nodes", 200, p.api.bundle()[:-1], "answer"),
            ("/v1/volumes/vol/nodes", 200, bytes(17 << 20), "answer"),
            ("/v1/volumes/vol/nodes", 403, escape, "evil"),
            ("/v1/volumes/vol/nodes", 302, b"", "302")):
        p.api.answers = {path: (status, body)}
        p.refused("%s %d %r" % (path, status, body[:40]), (says,))
        t.equal([], [c for c in p.on_terminal("ls", "vol:")
                     if c in b"\x1b\x07"], "on a terminal")
    for status, body, says in ((200, b"", "locate"), (200, bytes(9 << 20),
                                                      "locate"),
                               (404, escape, "404"), (200, p.api.locate()[:-1],
                                                      "locate")):
        p.api.answers = {"/v1/volumes/vol/locate": (status, body)}
        p.refused("locate %d" % status, (says, "evil"),
                  (("get", "vol:", "new"), ("get", "vol:d/f", "-")))
    # A bundle that never has what is asked for.
    p.api.answers = {}
    p.api.drop = {h for h, n in p.api.nodes.items() if b"content" in n or
                  n.count(b"\1f")}
    p.refused("without a node", ("does not bring",))
    # Another content.
    p.api.show([(b"d", Dir([(b"f", File(b"content"))]))])
    p.api.drop = set()
    p.api.chunks = {k: b"CONTENT" for k in p.api.chunks}
    p.refused("another content", ("chunk",), (("get", "vol:", "new"),
                                              ("get", "vol:d/f", "-")))
