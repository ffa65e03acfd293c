# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What is left behind is taken away: processes below this one, and mounts
below a directory."""

import ctypes
import os
import re
import signal
import time

PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG = 36, 1
MNT_FORCE, MNT_DETACH = 1, 2

libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans(parent_death=signal.SIGTERM):
    """Whatever is started below this process stays below it; when the parent
    of this process dies, that signal comes."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, int(parent_death), 0, 0, 0)


def descendants(root):
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % entry, "rb") as f:
                # The name may hold anything: count from its last bracket.
                ppid = int(f.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(ppid, []).append(int(entry))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def kill_below(seconds):
    """Kills all descendants of this process; how many are still there."""
    end = time.monotonic() + seconds
    while True:
        reap()
        left = descendants(os.getpid())
        if not left or time.monotonic() >= end:
            return len(left)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def mounts_below(directory):
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as f:
        for line in f:
            path = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)),
                          line.split()[4])
            if path.startswith(directory + "/"):
                found.append(path)
    return sorted(found, key=len, reverse=True)


def unmount_below(directory):
    """In a child: a mount whose daemon is dead may block whoever asks."""
    if not mounts_below(directory):
        return 0
    pid = os.fork()
    if pid == 0:
        for path in mounts_below(directory):
            name = path.encode(errors="surrogateescape")
            if libc.umount2(name, MNT_FORCE | MNT_DETACH) != 0:
                libc.umount2(name, MNT_DETACH)
        os._exit(0)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            break
        time.sleep(0.02)
    return len(mounts_below(directory))


def clean_up(directory):
    """What was left behind after a test and could not be taken away."""
    problems = []
    kill_below(5)
    if unmount_below(directory):
        problems.append("mounts are left: %s" % mounts_below(directory))
    if kill_below(10):
        problems.append("processes are left: %s" % descendants(os.getpid()))
    return problems
