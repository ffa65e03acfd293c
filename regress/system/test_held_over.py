# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A file that a program holds open to append, over commits, reloads and deaths
of roles, when all processes are killed: each append that was acknowledged is
there."""

import contextlib
import os

from sailtest import deadline, stack

WAYS = ("reload", "commit", "commit reload", "reload fuse")


def kill(t, d, role):
    old = set(d.pids(role))
    d.kill(role)
    t.wait_for(lambda: d.pids(role) and not old & set(d.pids(role)),
               "a new " + role)


@deadline(300)
def test_held(t):
    s = stack.Stack(t)
    d = s.daemon
    t.expect_deaths = True
    a = s.mount("v", "a", create=True)
    for way in WAYS:
        path = os.path.join(a, way)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, b"first\n")
        for what in way.split():
            if what == "commit":
                s.commit(a)
            elif what == "reload":
                s.reload(a, "--keep")
            else:
                kill(t, d, what)
        # Nothing looks at the file meanwhile.
        os.write(fd, b"second\n")
        d.kill_all()
        d.start()
        t.wait_for(lambda: os.path.exists(a + "/.sailvol"), "the mount is back")
        t.equal("first\nsecond\n", stack.read(path), way)
        with contextlib.suppress(OSError):
            os.close(fd)
    s.commit(a)
    b = s.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "A and B")
