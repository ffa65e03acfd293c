# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What processes of a Stack have in use, and what stands in their memory."""

import array
import os

from sailtest import stack

BLOCK = 4 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
# An address space of nothing: a sanitizer's.
NOT_MEMORY = 1 << 32


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


def areas(pid):
    """[(first, behind, what)] of what it may read."""
    found = []
    with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as f:
        for line in f:
            words = line.split(None, 5)
            first, behind = (int(n, 16) for n in words[0].split("-"))
            what = words[5].strip() if len(words) > 5 else "anonymous"
            if (words[1][0] == "r" and not what.startswith("[v") and
                    behind - first < NOT_MEMORY):
                found.append((first, behind, what))
    return found


def touched(pagemap, first, behind):
    """[(first, behind)] of pages that it has, there or in the swap."""
    runs = []
    for at in range(first, behind, BLOCK):
        n = min(BLOCK, behind - at) // PAGE
        pagemap.seek(at // PAGE * 8)
        pages = array.array("Q", pagemap.read(n * 8))
        if not any(pages):
            continue
        for i, page in enumerate(pages):
            if page >> 62:
                here = at + i * PAGE
                if runs and runs[-1][1] == here:
                    runs[-1][1] = here + PAGE
                else:
                    runs.append([here, here + PAGE])
    return runs


def find(pid, secrets):
    """secrets: {name: bytes}; {name: [where]} of those that stand in its memory,
    and how many bytes were looked at."""
    found, looked = {}, 0
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory, \
            open("/proc/%d/pagemap" % pid, "rb", buffering=0) as pagemap:
        for first, behind, what in areas(pid):
            for at, end in touched(pagemap, first, behind):
                try:
                    memory.seek(at)
                    data = memory.read(end - at)
                except OSError:
                    continue    # behind the end of a file that is mapped
                looked += len(data)
                for name, secret in secrets.items():
                    i = data.find(secret)
                    while i != -1:
                        found.setdefault(name, []).append("%s %x" % (
                            what, at + i))
                        i = data.find(secret, i + 1)
    return found, looked


def only_there(t, processes, secrets, must, may=()):
    """No process has a secret but those that cannot do without.  processes:
    [(pid, role)]; must: {name: roles}, each of which has it, or the test is
    blind; may: who does not always.  A parent, who starts the next one with it,
    has it once: what is more is a copy that was forgotten."""
    looked, places = 0, 0
    for pid, role in processes:
        found, n = find(pid, secrets)
        t.true(n > 100000, "%s: %d bytes of memory" % (role, n))
        looked += n
        for name, where in found.items():
            t.true(role in must.get(name, ()) or role in dict(may).get(
                name, ()), "%s has %s: %s" % (role, name, where))
            t.true(role != "parent" or len(where) == 1, "%s has %s more than "
                   "once: %s" % (role, name, where))
            places += len(where)
        t.equal([], [name for name, roles in must.items()
                     if role in roles and name not in found],
                "%s has not what it must have" % role)
    t.said += "%s%d processes, %d MiB, %d places" % (
        t.said and "; ", len(processes), looked >> 20, places)
