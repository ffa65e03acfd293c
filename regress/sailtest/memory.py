# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What processes of a Stack have in use."""

import os

from sailtest import stack


def memory_is_true(t):
    """A sanitizer keeps what was freed: its memory says nothing."""
    return t.obj != "obj-san"


def usage(pid):
    """Open descriptors, and KiB of anonymous memory."""
    kib = 0
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        for line in f:
            if line.startswith("Pss_Anon:"):
                kib = int(line.split()[1])
    return len(os.listdir("/proc/%d/fd" % pid)), kib


def everybody(s):
    """{(whose, role, pid): usage}, without those that come and go."""
    found = {}
    for n, parent in enumerate([s.server.process.pid] +
                               [d.process.pid for d in s.daemons]):
        for pid, role in [(parent, "parent")] + stack.children(parent):
            if role != "notify":
                found[n, role, pid] = usage(pid)
    return found
