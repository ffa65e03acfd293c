# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A fresh file system for one measurement, with a server, daemons and peers of
its own on it; and what is asked of the kernel in between."""

import contextlib
import os
import shutil
import signal
import struct
import subprocess

import sailtest
from sailtest import caches, leftovers, stack

DISK = 64 << 30        # sparse
LATENCY = "/dev/cpu_dma_latency"


class QuietDaemon(stack.Daemon):
    """Logs as a daemon in use does, not as one in a test."""

    def configure(self, extra=""):
        path = super().configure(extra)
        quiet(path)
        return path


class QuietServer(stack.FixedServer):
    def configure(self, extra):
        path = super().configure(extra)
        quiet(path)
        return path


def quiet(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text = text.replace("log debug\n", "log info\n")
    text = text.replace("size 2G keep free 1M", "size 40G keep free 1M")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


class BenchStack(stack.Stack):
    server_class, daemon_class = QuietServer, QuietDaemon


class Place(sailtest.Test):
    """Below `dir' is a new ext4; everything that is started here ends with
    it."""

    def __init__(self, bench, number):
        self.outside = os.path.join(bench.dir, "place%d" % number)
        self.disk = self.outside + ".disk"
        super().__init__("bench", self.outside, bench.repo, bench.obj)
        self.bench, self.processes = bench, []
        os.mkdir(self.outside, 0o755)
        with open(self.disk, "wb") as f:
            f.truncate(DISK)
        self.run(["mkfs.ext4", "-q", "-m", "0", "-T", "default",
                  "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", self.disk], timeout=120)
        # Nothing in the background that has nothing to do with the work.
        self.run(["mount", "-o", "loop,noinit_itable", self.disk,
                  self.outside])
        os.chmod(self.outside, 0o755)

    def stack(self, **kwargs):
        return BenchStack(self, **kwargs)

    def folder(self, name):
        path = self.path(name)
        os.makedirs(path)
        return path

    def sync(self):
        """Of this file system alone: others have work of their own."""
        self.run(["sync", "-f", self.outside], timeout=600)

    def drop_caches(self):
        """What is on disk is nowhere else; names and attributes too."""
        self.sync()
        caches.drop()

    def spawn(self, argv, log, env=None, cwd=None, **kwargs):
        p = super().spawn(argv, log, env, cwd, **kwargs)
        self.processes.append(p)
        return p

    def close(self):
        """The youngest first: daemons before the server."""
        for p in reversed(self.processes):
            if p.poll() is not None:
                continue
            p.send_signal(signal.SIGTERM)
            try:
                p.wait(60)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        leftovers.unmount_below(self.outside)
        self.run(["umount", self.outside], ok=None)
        if os.path.ismount(self.outside):
            self.run(["umount", "-l", self.outside])
        os.unlink(self.disk)
        shutil.rmtree(self.outside, ignore_errors=True)


# ---- processors that do not halt ---------------------------------------------

def how_awake():
    """What keeps processors from halting here."""
    try:
        with open("/sys/devices/system/cpu/cpuidle/current_driver",
                  encoding="ascii") as f:
            driver = f.read().strip()
    except OSError:
        driver = "none"
    if driver != "none" and os.path.exists(LATENCY):
        return LATENCY
    return "an idle-class loop on each processor"


@contextlib.contextmanager
def awake(yes=True):
    """Processors do not halt: what our daemon sees to itself in bursts."""
    if not yes:
        yield
    elif how_awake() == LATENCY:
        fd = os.open(LATENCY, os.O_WRONLY)
        try:
            os.write(fd, struct.pack("i", 0))
            yield
        finally:
            os.close(fd)
    else:
        pids = [_loop(cpu) for cpu in os.sched_getaffinity(0)]
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _loop(cpu):
    """A process that runs where nobody else wants to."""
    pid = os.fork()
    if pid == 0:
        try:
            leftovers.adopt_orphans(signal.SIGKILL)
            os.sched_setaffinity(0, [cpu])
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            while True:
                pass
        finally:
            os._exit(1)
    return pid
