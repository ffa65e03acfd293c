# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""kill -9 of fuse, and a restart, within the switch of a reload: the rows of the
mount have moved, and what the kernel knows has not.  What is open keeps what it
was opened with, and what is opened then shows the new tree."""

import glob
import json
import os
import signal
import subprocess
import threading

from sailtest import caches, deadline, proxy, stack
from sailtest.untold import Untold

# A name that is open, and how it is in the new tree: None: gone.
OPEN = {"changed": "new\n", "gone": None, "same": "same\n",
        "clean/changed": "new\n", "clean/same": "clean/same\n",
        "away/deep/gone": None, "file": "below", "mine/dirty": None,
        "first": "new\n", "part/changed": "new\n", "part/sub/changed": "new\n",
        "part/gone": None}


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    stack.write(path, text)


def old(name):
    return name + "\n"


def read(fd):
    return os.pread(fd, 100, 0).decode()


class Moving:
    """A volume v that A publishes, and of which the second daemon mounts b."""

    def __init__(self, t):
        t.expect_deaths = True
        self.t, self.s = t, stack.Stack(t, daemons=2, proxied=True)
        self.a = self.s.mount("v", "a", create=True)
        self.d = self.s.daemons[1]

    def at(self, name):
        return os.path.join(self.b, name)

    def reload(self, what, when, meanwhile=lambda: None, args=()):
        """Until fuse is at that point of it, and its end."""
        said = []
        fuse, = self.d.pids("fuse")
        with subprocess.Popen(
                [os.path.join(self.t.repo, self.t.obj,
                              "regress/hostile/journal_kill"),
                 str(fuse), what, when], stdout=subprocess.PIPE,
                encoding="ascii") as watch:
            self.t.equal("armed\n", watch.stdout.readline(), "watched")
            run = threading.Thread(target=lambda: said.append(
                self.d.ctl("reload", *args, self.b, ok=None)))
            run.start()
            try:
                self.t.equal("stopped\n" if when == "stop" else "killed\n",
                             watch.stdout.readline(), "at that point")
                meanwhile()
            finally:
                if watch.poll() is None:
                    watch.kill()
        run.join(90)
        self.t.true(said, "the reload ends")
        return said[0]


class Switch(Moving):
    """Of b much is open, and nothing of that is known to its fuse but what the
    table of node ids has."""

    def __init__(self, t):
        super().__init__(t)
        for name in OPEN:
            if not name.startswith("mine/"):
                put(os.path.join(self.a, name), old(name))
        self.s.commit(self.a)
        self.b = self.d.mount("v", "b")
        put(self.at("mine/dirty"), old("mine/dirty"))
        put(self.at("part/dirty"), "x")
        put(self.at("mine/twice"), old("mine/twice"))
        os.link(self.at("mine/twice"), self.at("mine/too"))
        self.fds = {name: os.open(self.at(name), os.O_RDONLY)
                    for name in list(OPEN) + ["mine/twice"]}
        # One that has read some is answered by the kernel: this one alone.
        t.equal(old("first"), read(self.fds["first"]), "before")
        for name, text in OPEN.items():
            path = os.path.join(self.a, name)
            if name.startswith("mine/"):
                continue
            if text is None or text == "below":
                os.unlink(path)
            elif text != old(name):
                put(path, text)
        os.rmdir(os.path.join(self.a, "away/deep"))
        os.rmdir(os.path.join(self.a, "away"))
        put(os.path.join(self.a, "file/below"), "a folder now\n")
        self.s.commit(self.a)

    def look(self):
        for name, fd in self.fds.items():
            self.t.equal(old(name), read(fd), "%s, which is open" % name)
        for name, text in OPEN.items():
            if text is None:
                self.t.true(not os.path.exists(self.at(name)), name)
            elif text == "below":
                self.t.equal("a folder now\n",
                             stack.read(self.at(name + "/below")), name)
            else:
                self.t.equal(text, stack.read(self.at(name)), name)
        for name, fd in self.fds.items():
            self.t.equal(old(name), read(fd), "%s, again" % name)
            os.close(fd)
        stack.same(self.t, stack.look(self.a), stack.look(self.b),
                   "as published")


def later(t, *args):
    """The names below a folder of local changes are at their old place in an
    object of which nothing is in memory."""
    w = Switch(t)
    w.d.kill("fuse")
    w.d.ctl("reload", *args, w.b)
    for name, fd in w.fds.items():
        t.equal(old(name), read(fd), "%s, which is open" % name)
    return w


@deadline(240)
def test_later(t):
    """fuse died before the reload began."""
    later(t).look()


@deadline(240)
def test_later_kept(t):
    """The same, and what is changed stays."""
    w = later(t, "--keep")
    t.equal("x", stack.read(w.at("part/dirty")), "a change")
    t.equal("new\n", stack.read(w.at("part/changed")), "below a change")


@deadline(240)
def test_before(t):
    """fuse knows nothing of the switch yet."""
    w = Switch(t)
    t.equal(0, w.reload("differences", "before").returncode, "the reload")
    w.look()


def kept(t, point):
    """The same, and what is changed stays: the folder above it is of the new
    tree already, and what is open below was not."""
    w = Switch(t)
    t.equal(0, w.reload(point, "before", args=["--keep"]).returncode,
            "the reload")
    for name, fd in w.fds.items():
        t.equal(old(name), read(fd), "%s, which is open" % name)
    t.equal("x", stack.read(w.at("part/dirty")), "a change")
    t.equal("new\n", stack.read(w.at("part/changed")), "below a change")
    t.true(not os.path.exists(w.at("part/gone")), "gone below a change")


@deadline(240)
def test_before_kept(t):
    kept(t, "differences")


@deadline(240)
def test_moved_kept(t):
    kept(t, "tell")


@deadline(240)
def test_moved(t):
    """Its table of node ids has moved, and it has not said so."""
    w = Switch(t)
    t.equal(0, w.reload("tell", "before").returncode, "the reload")
    w.look()


def restarted(t, point):
    w = Switch(t)
    made = []

    def program():
        put(w.at("clean/made/f"), "of now\n")
        made.append(stack.read(w.at("clean/made/f")))

    def meanwhile():
        other.start()
        w.d.ctl("restart")

    other = threading.Thread(target=program)
    w.reload(point, "stop", meanwhile)
    other.join(90)
    t.equal(["of now\n"], made, "a program in the mount")
    # Behind the one that goes on.
    w.d.ctl("reload", "--keep", w.b)
    t.equal("of now\n", stack.read(w.at("clean/made/f")), "what it made")
    w.d.ctl("reload", w.b)
    w.look()


@deadline(240)
def test_restart(t):
    """The same, and manifest is another one too."""
    restarted(t, "differences")


@deadline(240)
def test_restart_moved(t):
    """The reload is done but for its answer, and begins its switch again."""
    restarted(t, "tell")


class Open(Moving):
    """Files that b has published itself, and that are open when b moves: they go
    on, and their names are other files."""

    def __init__(self, t, **files):
        super().__init__(t)
        self.b = self.d.mount("v", "b")
        self.old = {name: name * 40000 for name in files}
        for name, text in self.old.items():
            put(self.at(name), text)
        self.d.ctl("commit", self.b)
        put(os.path.join(self.a, "else"), "x")
        self.s.commit(self.a)
        self.fds = [os.open(self.at(name), how) for name, how in files.items()]

    def ask(self):
        """fuse has what is open in memory then."""
        for fd in self.fds:
            self.t.equal([], os.listxattr(fd), "of what is open")

    def look(self):
        """What is written by name is read by name, and is published."""
        for name in self.old:
            put(self.at(name), "new " + name)
        for fd, text in zip(self.fds, self.old.values()):
            self.t.equal(text[:100], read(fd), "which is open")
            os.close(fd)
        caches.drop()
        for name in self.old:
            self.t.equal("new " + name, stack.read(self.at(name)), name)
        self.d.ctl("commit", self.b)
        self.s.reload(self.a)
        stack.same(self.t, stack.look(self.b), stack.look(self.a),
                   "as published")


@deadline(240)
def test_names_moved(t):
    """fuse dies when what is open has lost its names, and has said so to nobody:
    the kernel is told which they were."""
    w = Open(t, held=os.O_RDONLY, written=os.O_RDWR)
    t.equal(0, w.reload("tell", "before", w.ask).returncode, "the reload")
    w.look()


@deadline(240)
def test_names_told(t):
    """fuse has said so, and manifest dies before anybody told the kernel."""
    w = Open(t, held=os.O_RDONLY)
    untold = Untold(t, w.s, w.d, w.b)
    w.ask()
    w.d.kill("manifest")
    untold.go_on()
    untold.end()
    w.d.ctl("reload", "--keep", w.b)
    w.look()


@deadline(240)
def test_let_go(t):
    """fuse dies with the word of what it may let go: the room of what nobody has
    open is there again, and what is open goes on."""
    w = Open(t, held=os.O_RDONLY, shut=os.O_RDONLY)
    os.close(w.fds[1])
    for name in w.old:
        put(os.path.join(w.a, name), "new " + name)
    w.s.commit(w.a)
    untold = Untold(t, w.s, w.d, w.b, number=3)
    fuse, = w.d.pids("fuse")
    os.kill(fuse, signal.SIGSTOP)
    untold.go_on()
    # Its command looks at the mount, which does not answer.
    t.wait_for(lambda: "shows commit number 3" in w.d.log(), "its end")
    os.kill(fuse, signal.SIGKILL)
    untold.end()

    def sizes():
        return [os.path.getsize(f) for f in glob.glob(os.path.join(
            w.d.dir, "state/mounts/*/files/*/*"))]

    t.wait_for(lambda: sizes().count(len(w.old["shut"])) == 1,
               "one of two files to go")
    t.equal(w.old["held"][:100], read(w.fds[0]), "which is open")
    for name in w.old:
        t.equal("new " + name, stack.read(w.at(name)), name)
    os.close(w.fds[0])
    t.wait_for(lambda: len(w.old["held"]) not in sizes(), "the other")


@deadline(240)
def test_told(t):
    """manifest dies while the kernel is told, programs are in the new tree, and
    the switch comes again: it takes nothing of that away."""
    s = stack.Stack(t, daemons=2, proxied=True)
    a, d = s.mount("v", "a", create=True), s.daemons[1]
    for name in "changed", "gone":
        put(os.path.join(a, name), "old\n")
    s.commit(a)
    # The kernel knows no name of it.
    b = d.mount("v", "b")
    put(os.path.join(a, "changed"), "new\n")
    os.unlink(os.path.join(a, "gone"))
    s.commit(a)
    untold = Untold(t, s, d, b)
    fd = os.open(b + "/changed", os.O_RDONLY)
    os.mkdir(b + "/gone")
    folder = os.open(b + "/gone", os.O_RDONLY)
    d.kill("manifest")
    untold.go_on()
    untold.end()
    d.ctl("reload", "--keep", b)
    t.equal("new\n", read(fd), "opened in the new tree")
    os.mkdir("x", dir_fd=folder)
    os.rmdir("x", dir_fd=folder)
    os.close(folder)
    os.close(fd)
    t.equal("new\n", stack.read(b + "/changed"), "opened now")


def killed(t, s):
    """fuse, and another is there."""
    was = s.daemon.pids("fuse")
    s.daemon.kill("fuse")
    t.wait_for(lambda: s.daemon.pids("fuse") not in ([], was), "another fuse")


@deadline(240)
def test_links(t):
    """The names of one file are files of their own after a commit, also where
    the fuse that knew that they are one has died: who writes to one of them
    writes to no other."""
    t.expect_deaths = True
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    names = [d + n for d in ("", "folder/") for n in "pq"]
    os.mkdir(a + "/folder")
    for d in "", "folder/":
        stack.write(a + "/%sp" % d, "one\n")
        os.link(a + "/%sp" % d, a + "/%sq" % d)
    for name in names:
        t.equal("one\n", stack.read("%s/%s" % (a, name)), name)
    s.commit(a)
    held = os.open(a + "/folder/q", os.O_RDONLY)
    killed(t, s)
    s.reload(a)
    for n, name in enumerate(names):
        stack.write("%s/%s" % (a, name), "%d\n" % n)
        t.equal(["%d\n" % i if i <= n else "one\n" for i in range(len(names))],
                [stack.read("%s/%s" % (a, x)) for x in names], name)
    t.equal("one\n", read(held), "which is open")
    os.close(held)
    s.commit(a)
    b = s.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "as published")


@deadline(240)
def test_links_left(t):
    """The same of a name that is left over, whose file the table of node ids
    has under none."""
    t.expect_deaths = True
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for name in "open", "shut":
        stack.write(a + "/" + name, "one\n")
        os.link(a + "/" + name, a + "/%s-left" % name)
    for name in "open-left", "shut-left":
        t.equal("one\n", stack.read(a + "/" + name), name)
    held = os.open(a + "/open-left", os.O_RDONLY)
    os.unlink(a + "/open")
    os.unlink(a + "/shut")
    s.commit(a)
    killed(t, s)
    s.reload(a)
    for name in "open-left", "shut-left":
        stack.write(a + "/" + name, name)
        t.equal(name, stack.read(a + "/" + name), name)
    t.equal("one\n", read(held), "which is open")
    os.close(held)
    s.commit(a)
    b = s.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "as published")


@deadline(240)
def test_linked_meanwhile(t):
    """What is open and has lost its name in a reload gets another one while the
    kernel is told: it is a file as any other."""
    s = stack.Stack(t, daemons=2, proxied=True)
    a, d = s.mount("v", "a", create=True), s.daemons[1]
    b = d.mount("v", "b")
    names = "open", "shut"
    for name in names:
        stack.write(os.path.join(b, name), "b\n")
    d.ctl("commit", b)
    s.reload(a)
    for name in names:
        stack.write(os.path.join(a, name), "a\n")
    s.commit(a)
    # Of who may write fuse keeps what it knows.
    fds = [os.open(os.path.join(b, name), os.O_RDWR) for name in names]
    untold = Untold(t, s, d, b)
    try:
        for name, fd in zip(names, fds):
            # With a directory it follows, as linkat(2).
            os.link("/proc/self/fd/%d" % fd, os.path.join(b, name + "-linked"),
                    src_dir_fd=fd)
        os.close(fds[1])
    finally:
        untold.go_on()
    untold.end()
    t.equal("b\n", read(fds[0]), "which is open")
    for name in names:
        path = os.path.join(b, name + "-linked")
        t.equal("a\n", stack.read(os.path.join(b, name)), name)
        t.equal("b\n", stack.read(path), path)
        os.link(path, path + "-again")
        t.equal(2, os.stat(path).st_nlink, path)
        with open(path, "a", encoding="ascii") as f:
            f.write("more\n")
        t.equal("b\nmore\n", stack.read(path + "-again"), path)
    os.close(fds[0])
    d.ctl("commit", b)
    s.reload(a)
    # Names of one file are files of their own there.
    fields = ("mode", "mtime")
    stack.same(t, stack.look(a, fields=fields), stack.look(b, fields=fields),
               "as published")
