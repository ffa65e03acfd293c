# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Daemons with a compromised role: regress/hostile/role.c in its place."""

import os
import shutil
import signal
import struct
import time

from sailtest import Failure, stack


def programs(t):
    """The folder of a test with programs that can be made hostile."""
    top = t.path("bin")
    if not os.path.isdir(top):
        os.mkdir(top, 0o755)
        for name in ("sailvold", "sailvol-fetch", "sailapid"):
            shutil.copy(os.path.join(t.repo, t.obj, "regress/hostile", name),
                        top)
        # It starts the fetch that lies beside it.
        shutil.copy(os.path.join(t.repo, "sailvolctl", "sailvolctl"), top)
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


class Order:
    """A role, of that instance (-: of all), is bad from its next start on,
    until the end of the order; the seed says how, percent how often."""

    def __init__(self, t, role, mode, seed, instance="-", percent=0):
        self.t, self.role, self.mode, self.seed = t, role, mode, seed
        self.instance, self.percent = instance, percent
        self.path = os.path.join(programs(t), "hostile")
        # Of this order alone: those who still have the one before count there.
        with open(self.path + ".done.new", "wb") as f:
            f.write(bytes(32))
        os.rename(self.path + ".done.new", self.path + ".done")
        self.give()

    def give(self):
        with open(self.path + ".new", "w", encoding="ascii") as f:
            f.write("%s %s %s %d %d\n" % (
                self.role, self.instance, self.mode, self.seed, self.percent))
        os.rename(self.path + ".new", self.path)

    def end(self):
        os.unlink(self.path)

    def done(self):
        """Lives that were ready, what was sent as noise or spoiled, what was
        taken and not answered."""
        return struct.unpack("=QQQQ", stack.read_bytes(
            self.path + ".done"))[1:]

    def did(self, least=1):
        """Whether the role ran, and did what it was to do."""
        lives, spoiled, swallowed = self.done()
        return lives > 0 and (
            swallowed if self.mode == "silent" else spoiled) >= least

    def insist(self, least, pids):
        """Until it did, while others make it talk.  What it has left unsaid is
        waited for as long as it lives: so from time to time pids() are killed,
        and the next life is worse."""
        end, again = time.monotonic() + 180, time.monotonic() + 3
        while not self.did(least):
            now = time.monotonic()
            self.t.true(now < end, "%s (%s, seed %d): it does something bad" % (
                self.role, self.mode, self.seed))
            if now > again:
                again = now + 5
                self.percent = min(100, 2 * self.percent)
                self.give()
                for pid in pids():
                    kill(pid)
            time.sleep(0.05)


def patient(t, *argv):
    """Runs a command that a bad role may have wait for ever, or fail."""
    try:
        t.run(argv, ok=None, timeout=3)
    except Failure:
        pass


def said(by_role):
    """{role: Order.done()} in words."""
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
