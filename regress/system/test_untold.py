# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Before the kernel is told what a reload has changed, what it has looked at is
not what is there: nobody may do to that what only the other allowed."""

import errno
import os
import signal

from sailtest import deadline, stack
from sailtest.untold import Untold

USER = 60001


def put(path, text, uid=0, mode=0o644):
    stack.write(path, text)
    os.chown(path, uid, uid)
    os.chmod(path, mode)


def fill(top, uid):
    """What is in the directory, all of that user."""
    for name in ("mine", "from", "target"):
        put(os.path.join(top, name), str(uid), uid)


def as_user(t, *calls):
    """[errno name or "done"] of each, by a user that is in no other group."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(60)
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            for call in calls:
                try:
                    call()
                    said = "done"
                except OSError as e:
                    said = errno.errorcode[e.errno]
                os.write(w, said.encode() + b"\n")
        finally:
            os._exit(0)
    os.close(w)
    with open(r, encoding="ascii") as f:
        said = f.read().split()
    os.waitpid(pid, 0)
    return said


@deadline(240)
def test_untold(t):
    """A name that was free is opened by O_CREAT only as its file allows; and in a
    sticky directory only what is one's own is removed and renamed."""
    os.chmod(t.dir, 0o711)
    s = stack.Stack(t, daemons=2, proxied=True)
    a, d = s.mount("v", "a", create=True), s.daemons[1]
    os.chmod(a, 0o777)
    os.mkdir(os.path.join(a, "d"))
    os.chmod(os.path.join(a, "d"), 0o1777)
    fill(os.path.join(a, "d"), USER)
    s.commit(a)
    b = d.mount("v", "b")
    top = os.path.join(b, "d")
    own = os.path.join(top, "own")
    put(own, "own", USER)
    for name in os.listdir(top):
        os.stat(os.path.join(top, name))
    for name in ("secret", "open"):
        t.true(not os.path.exists(os.path.join(b, name)), "a free name")
    for name in os.listdir(os.path.join(a, "d")):
        os.unlink(os.path.join(a, "d", name))
    fill(os.path.join(a, "d"), 0)
    put(os.path.join(a, "secret"), "secret", 0, 0o600)
    put(os.path.join(a, "open"), "open", 0, 0o666)
    s.commit(a)
    seen = stack.look(a)
    untold = Untold(t, s, d, b, "--keep")

    def opened(name):
        # For reading: to write it, the parent would have to register it.
        os.close(os.open(os.path.join(b, name), os.O_RDONLY | os.O_CREAT,
                         0o644))
    calls = (
        (lambda: opened("secret"), "EACCES"),
        (lambda: opened("open"), "done"),
        (lambda: os.unlink(os.path.join(top, "mine")), "EPERM"),
        (lambda: os.rename(os.path.join(top, "from"), own + "2"), "EPERM"),
        (lambda: os.rename(own, os.path.join(top, "target")), "EPERM"),
        (lambda: os.rename(own, own + "3"), "done"),
        (lambda: os.unlink(own + "3"), "done"))
    try:
        said = as_user(t, *(call for call, _ in calls))
    finally:
        untold.go_on()
        untold.end()
    t.equal([want for _, want in calls], said, "what a user may do")
    stack.same(t, seen, stack.look(b), "what is there")
