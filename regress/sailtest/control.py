# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""How busy the machine is: a process that does outside of all mounts, again and
again, what a call does that is in flight when its role is killed (a program
starts, a file is made), and notes how long that took."""

import bisect
import os
import signal
import struct
import subprocess
import time

PAUSE_S = 0.2
ENTRY = struct.Struct("<dd")    # when it began, and how much longer it took


class Control:
    def __init__(self, t, argv):
        """argv: a program that starts, and ends at once."""
        self.t, self.argv = t, argv
        self.folder = t.path("control")
        os.mkdir(self.folder)
        self.log = os.open(t.path("control.times"),
                           os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.entries = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.run(os.getppid())
            finally:
                os._exit(1)

    def run(self, parent):
        while os.getppid() == parent:
            before = time.monotonic()
            time.sleep(PAUSE_S)
            self.once()
            took = time.monotonic() - before
            os.write(self.log, ENTRY.pack(before, took - PAUSE_S))

    def once(self):
        subprocess.run(self.argv, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        path = os.path.join(self.folder, "f")
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(fd, b"x" * 4096)
        os.fsync(fd)
        os.close(fd)
        os.rename(path, path + ".new")
        os.unlink(path + ".new")

    def stop(self):
        """What it noted is known then."""
        if self.entries is not None:
            return
        self.t.true(os.waitpid(self.pid, os.WNOHANG)[0] == 0,
                    "the control has ended: %s" % self.argv)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        data = os.pread(self.log, os.fstat(self.log).st_size, 0)
        self.entries = list(ENTRY.iter_unpack(
            data[:len(data) // ENTRY.size * ENTRY.size]))
        self.t.true(self.entries, "the control has not noted anything")

    def worst(self, since, until):
        """How much longer it took then: seconds."""
        first = bisect.bisect(self.entries, (since, 0)) - 1
        return max((took for began, took in self.entries[max(first, 0):]
                    if began <= until), default=0)

    def worst_of_all(self):
        return max(took for _, took in self.entries)
