# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""With as many files open as a mount can have no other is opened, and none is
emptied by the attempt."""

import errno
import os
import resource

from sailtest import deadline, stack

MOST = 262144       # sailvold(8)


def open_some(path, most):
    """A process that has the file open so often, as far as it can: (pid, end,
    how often, errno or 0)."""
    said, said_to = os.pipe()
    end, end_to = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(end_to)
        n = error = 0
        try:
            while n < most:
                os.open(path, os.O_RDONLY)
                n += 1
        except OSError as e:
            error = e.errno
        os.write(said_to, b"%d %d" % (n, error))
        os.read(end, 1)
        os._exit(0)
    os.close(said_to)
    os.close(end)
    n, error = (int(x) for x in os.read(said, 99).split())
    os.close(said)
    return pid, end_to, n, error


def opened(path, flags):
    try:
        os.close(os.open(path, flags))
    except OSError as e:
        return errno.errorcode[e.errno]
    return "opened"


@deadline(900)
def test_most_open(t):
    """O_TRUNC of a clean file, of one of the overlay, and O_CREAT: ENFILE."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for name in "clean", "other":
        stack.write(os.path.join(a, name), name)
    s.commit(a)
    s.reload(a)
    stack.write(os.path.join(a, "own"), "own")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found = []
    while not found or found[-1][3] == 0:
        found.append(open_some(os.path.join(a, "other"), hard - 100))
    t.equal(errno.ENFILE, found[-1][3], "the last")
    t.equal(MOST, sum(n for _, _, n, _ in found), "open files")
    for name in "clean", "own", "new":
        t.equal("ENFILE", opened(os.path.join(a, name), os.O_WRONLY |
                                 os.O_TRUNC | os.O_CREAT), name)
    # Each has the ends of those before it.
    for _, end, _, _ in found:
        os.close(end)
    for pid, _, _, _ in found:
        os.waitpid(pid, 0)
    t.equal(["clean", "other", "own"], sorted(os.listdir(a)), "names")
    for name in "clean", "own":
        t.equal(name, stack.read(os.path.join(a, name)), "content")
    t.true("as many files of the mount are open" in s.daemon.log(), "the log")
