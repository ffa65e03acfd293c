# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Daemons with a compromised role: regress/hostile/role.c in its place."""

import os
import shutil
import signal
import struct

from sailtest import stack


def programs(t):
    """The folder of a test with programs that can be made hostile."""
    top = t.path("bin")
    if not os.path.isdir(top):
        os.mkdir(top, 0o755)
        for name in ("sailvold", "sailvol-fetch", "sailapid"):
            shutil.copy(os.path.join(t.repo, t.obj, "regress/hostile", name),
                        top)
    return top


class Server(stack.FixedServer):
    def configure(self, extra):
        self.program = os.path.join(programs(self.t), "sailapid")
        return super().configure(extra)


class Daemon(stack.Daemon):
    def configure(self, extra=""):
        self.program = os.path.join(programs(self.t), "sailvold")
        return super().configure(extra)


class Stack(stack.Stack):
    server_class, daemon_class = Server, Daemon


class ServerStack(stack.Stack):
    server_class = Server


def order(t, role, mode, seed, instance="-", percent=0):
    """From its next start on; role None: all are what they were."""
    path = os.path.join(programs(t), "hostile")
    if role is None:
        os.unlink(path)
        return
    # Of this order alone: those who still have the one before count there.
    with open(path + ".done.new", "wb") as f:
        f.write(bytes(24))
    os.rename(path + ".done.new", path + ".done")
    with open(path + ".new", "w", encoding="ascii") as f:
        f.write("%s %s %s %d %d\n" % (role, instance, mode, seed, percent))
    os.rename(path + ".new", path)


def done(t):
    """Of the last order: lives that were ready, what was sent as noise or
    spoiled, what was taken and not answered."""
    return struct.unpack("=QQQ", stack.read_bytes(
        os.path.join(programs(t), "hostile.done")))


def did(t, mode, least=1):
    """Whether the role that was ordered ran, and did what it was to do."""
    lives, spoiled, swallowed = done(t)
    return lives > 0 and (swallowed if mode == "silent" else spoiled) >= least


def said(by_role):
    """{role: done()} in words."""
    return ", ".join("%s lived %d times, spoiled %d, swallowed %d" % (
        (role,) + what) for role, what in by_role.items())


def descriptors(pid):
    """Those that a hostile role has made."""
    found = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            if os.readlink("/proc/%d/fd/%s" % (pid, fd)).startswith(
                    "/memfd:hostile"):
                found.append(int(fd))
        except FileNotFoundError:
            pass
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
