# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What systemd(1) is for a sailvold: it keeps its descriptors and starts it
again; and threads that work in a mount meanwhile."""

import mmap
import os
import socket
import threading
import time

from sailtest import stack

PAGE = mmap.PAGESIZE
SLOW_S = 0.02
# A call over a restart ends that late at most, and a machine that is busy adds what
# its control says: a restart is as many programs that start, one after the other.
LATE_S, STARTS = 1, 8


class Busy:
    """Threads that work in a folder until they are stopped; the first call that
    fails is kept."""

    def __init__(self, top, pause_s=0):
        self.top, self.pause_s = top, pause_s
        self.ends, self.errors = threading.Event(), []
        self.lines, self.made, self.longest = 0, 0, 0.0
        self.slow = []      # (since, until, what)
        os.mkdir(top)
        self.log = os.open(top + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with open(top + "/mapped", "wb") as f:
            f.truncate(PAGE)
        with open(top + "/mapped", "r+b") as f:
            self.map = mmap.mmap(f.fileno(), PAGE)
        self.threads = [threading.Thread(target=self.work, args=(f,))
                        for f in (self.append, self.make, self.read)]
        for one in self.threads:
            one.start()

    def work(self, step):
        try:
            while not self.ends.is_set():
                before = time.monotonic()
                step()
                now = time.monotonic()
                self.longest = max(self.longest, now - before)
                if now - before > SLOW_S:
                    self.slow.append((before, now, step.__name__))
                time.sleep(self.pause_s)
        except Exception as e:
            self.errors.append("%s: %r" % (step.__name__, e))

    def append(self):
        os.write(self.log, b"%08d\n" % self.lines)
        self.lines += 1
        self.map[self.lines % PAGE] = self.lines % 251

    def make(self):
        """A name that is made twice, or not at all, fails."""
        path = "%s/n%d" % (self.top, self.made)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
        os.rename(path, path + ".there")
        os.mkdir(path)
        if self.made % 2:
            os.unlink(path + ".there")
        os.rmdir(path)
        self.made += 1

    def read(self):
        with open(self.top + "/log", "rb") as f:
            text = f.read()
        if any(int(line) != i for i, line in enumerate(text.split(b"\n")[:-1])):
            raise ValueError("the log is not what was written")

    def stop(self, t):
        self.ends.set()
        for one in self.threads:
            one.join(60)
            t.true(not one.is_alive(), "a call hangs")
        t.equal([], self.errors, "calls that failed")
        t.true(self.lines > 0 and self.made > 0, "they worked")
        with open(self.top + "/log", "rb") as f:
            t.equal(b"".join(b"%08d\n" % i for i in range(self.lines)),
                    f.read(), "the log")
        t.equal(sorted(["log", "mapped"] + ["n%d.there" % i for i in range(
            0, self.made, 2)]), sorted(os.listdir(self.top)), "names")
        with open(self.top + "/mapped", "rb") as f:
            t.equal(bytes(self.map), f.read(), "what was stored")

    def judge(self, t, control, since):
        """None was late; since: of the first restart.  What they did before says
        how long it takes without."""
        control.stop()
        usual = max((until - began for began, until, _ in self.slow
                     if until <= since), default=SLOW_S)
        took = sorted((until - began, LATE_S + usual + STARTS * control.worst(
            began, until), what) for began, until, what in self.slow
                      if until > since)
        t.equal([], [x for x in took if x[0] > x[1]],
                "calls over a restart: seconds, so many would be good, what")
        t.said = "%d calls of %d ms or more over restarts, the longest %.2f s " \
            "of %.2f (%s); before them %.2f s, the control %.2f s" % ((
                len(took), SLOW_S * 1000) + (took or [(0, 0, "none")])[-1] + (
                    usual, control.worst_of_all()))

    def close(self):
        os.close(self.log)
        self.map.close()


def workers(d):
    return {pid for pid, _ in d.roles()}


def restart(t, d):
    """All workers are others then, and the parent is not."""
    before, parent = workers(d), d.process.pid
    d.ctl("restart")
    t.wait_for(lambda: not before & workers(d), "the workers end")
    t.equal(parent, d.ctl_json("status")["daemon"]["pid"], "the parent")
    t.equal(None, d.process.poll(), "it lives")


def progress(t, busy):
    """Each of them has worked since."""
    lines, made = busy.lines, busy.made
    t.wait_for(lambda: busy.errors or
               (busy.lines > lines and busy.made > made), "it goes on")


class Store:
    """What systemd(1) does for a service with FileDescriptorStoreMax."""

    def __init__(self, t):
        self.t, self.path = t, t.path("notify")
        self.kept, self.said = {}, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.thread = threading.Thread(target=self.hear, daemon=True)
        self.thread.start()

    def hear(self):
        while True:
            data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            words = dict(line.split("=", 1)
                         for line in data.decode().split("\n"))
            name = words.get("FDNAME")
            if "FDSTORE" in words:
                self.kept[name] = fds[0]
            elif "FDSTOREREMOVE" in words and name in self.kept:
                os.close(self.kept.pop(name))
            self.said.append(data)

    def start(self, d):
        """The daemon, with what is kept."""
        names = sorted(self.kept)
        copies = [os.dup(self.kept[n]) for n in names]
        first = 200

        def child():
            for i, fd in enumerate(copies):
                os.dup2(fd, first + i)
            for i in range(len(copies)):
                os.dup2(first + i, 3 + i)
        env = dict(os.environ, NOTIFY_SOCKET=self.path,
                   LISTEN_FDS=str(len(names)),
                   LISTEN_FDNAMES=":".join(names))
        d.process = self.t.spawn(
            ["sh", "-c", 'export LISTEN_PID=$$; exec "$0" "$@"', d.program,
             "-d", "-f", d.conf], d.log_name, env=env, preexec_fn=child,
            close_fds=False)
        for fd in copies:
            os.close(fd)
        self.t.wait_for(d.up, "it answers")

    def close(self):
        for fd in self.kept.values():
            os.close(fd)
