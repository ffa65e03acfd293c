# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""kill -9 of fuse, and a restart, within the switch of a reload: the rows of the
mount have moved, and what the kernel knows has not.  What is open keeps what it
was opened with, and what is opened then shows the new tree."""

import os
import subprocess
import threading

from sailtest import deadline, stack

# A name that is open, and how it is in the new tree: None: gone.
OPEN = {"changed": "new\n", "gone": None, "same": "same\n",
        "clean/changed": "new\n", "clean/same": "clean/same\n",
        "away/deep/gone": None, "file": "below", "mine/dirty": None,
        "first": "new\n"}


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    stack.write(path, text)


def old(name):
    return name + "\n"


def read(fd):
    return os.pread(fd, 100, 0).decode()


class Switch:
    """A volume that A publishes, and B moves to; of B much is open, and nothing
    of that is known to its fuse but what the table of node ids has."""

    def __init__(self, t):
        t.expect_deaths = True
        self.t, self.s = t, stack.Stack(t, daemons=2)
        self.a = self.s.mount("v", "a", create=True)
        self.d = self.s.daemons[1]
        for name in OPEN:
            if not name.startswith("mine/"):
                put(os.path.join(self.a, name), old(name))
        self.s.commit(self.a)
        self.b = self.d.mount("v", "b")
        put(self.at("mine/dirty"), old("mine/dirty"))
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

    def at(self, name):
        return os.path.join(self.b, name)

    def reload(self, what, when, meanwhile=lambda: None):
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
                self.d.ctl("reload", self.b, ok=None)))
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


@deadline(240)
def test_before(t):
    """fuse knows nothing of the switch yet."""
    w = Switch(t)
    t.equal(0, w.reload("differences", "before").returncode, "the reload")
    w.look()


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
