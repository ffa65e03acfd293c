# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl put of a file that a program stores into through a shared mapping:
what is published is what it was at one moment, or it is said and nothing is."""

import hashlib
import os
import subprocess
import sys

from sailtest import stack
from system import test_paths as paths
from system.test_put import put

BOTH_STORES = True

MIB = 1 << 20
SIZE = 20 * MIB

# Maps it, closes it or not, and makes one of two states of it, again and again,
# the first page and one far behind; says when it has begun.  Its pages are
# dirty before.
WRITER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                      ctypes.c_int, ctypes.c_int, ctypes.c_long]
path, far, keep = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "keep"
size = os.stat(path).st_size
fd = os.open(path, os.O_RDWR)
at = libc.mmap(None, size, 3, 1, fd, 0)
if not keep:
    os.close(fd)
i = 0
while True:
    c = b"AB"[i & 1]
    ctypes.memset(at, c, 4096)
    ctypes.memset(at + far, c, 4096)
    i += 1
    if i == 100:
        print("on", flush=True)
"""


class Writer:
    """Of one file, from another process, until the end of the block."""

    def __init__(self, path, far=16 * MIB, keep=True):
        self.args = [sys.executable, "-c", WRITER, path, str(far),
                     "keep" if keep else "close"]

    def __enter__(self):
        self.run = subprocess.Popen(self.args, stdout=subprocess.PIPE)
        self.run.stdout.readline()
        return self

    def __exit__(self, *error):
        self.run.kill()
        self.run.communicate()


def state(size, far, c):
    data = bytearray(hashlib.sha256(b"x").digest() * (size // 32))
    data[:4096] = data[far:far + 4096] = c * 4096
    return bytes(data)


def states(t, s, size, far):
    """The hashes of both, whose chunks the server has: nothing of a mixture
    of them would be sent."""
    both = []
    for name, c in (("a", b"A"), ("b", b"B")):
        t.write(name, state(size, far, c))
        put(s, t.path(name), "vol:" + name)
        both.append(stack.sha256(t.path(name)))
    return both


def never_mixed(t, s, a, path, size=SIZE, far=16 * MIB, keep=True):
    os.environ["XDG_STATE_HOME"] = t.path("state")
    both = states(t, s, size, far)
    name = os.path.basename(path)
    with open(path, "wb") as f:
        f.write(state(size, far, b"A"))
    with Writer(path, far, keep):
        for _ in range(5):
            r = put(s, path, "vol:", ok=None)
            if r.returncode != 0:
                t.true("it changes while it is read" in r.stderr, r.stderr)
                continue
            s.reload(a)
            t.true(stack.sha256(os.path.join(a, name)) in both, "a mixture")
    # Nobody has it any more.
    put(s, path, "vol:")
    s.reload(a)
    t.equal(stack.sha256(path), stack.sha256(os.path.join(a, name)), "quiet")


def test_mapped(t):
    """Stores into pages that were dirty before, whether the file is still open
    or only mapped."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    never_mixed(t, s, a, t.path("kept"))
    never_mixed(t, s, a, t.path("closed"), keep=False)


def test_mapped_small(t):
    """A file of one chunk is no mixture of pages."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    never_mixed(t, s, a, t.path("small"), 6 * MIB, 5 * MIB)
