# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Many commits and reloads: no process grows, and no log alarms anybody."""

import os
import re
import shutil
import subprocess

from sailtest import deadline, stack
from sailtest.memory import everybody, memory_is_true

BOTH_STORES = True

WARM, ROUNDS = 30, 90
# Of anonymous memory.  SQLite keeps pages of a database that grows.
GROWTH_KIB = {"manifest": 640, "meta": 640}
ALARM = re.compile(
    r"warn|error|fail|refus|cannot|could not|died|killed|signal|not sound|"
    r"again in|violat|unexpected|unknown (?!to it)|lost|out of|: 5\d\d$")


def one_round(s, i, mounts):
    a, b = mounts[i % 3], mounts[(i + 1) % 3]
    top = os.path.join(a, "d%d" % (i % 5))
    os.makedirs(top, exist_ok=True)
    for k in range(4):
        with open(os.path.join(top, "f%d" % k), "w", encoding="ascii") as f:
            f.write("%d %d " % (i, k) * 1000)
    os.rename(os.path.join(top, "f0"), os.path.join(top, "g%d" % (i % 7)))
    if i % 11 == 5:
        shutil.rmtree(os.path.join(a, "d%d" % ((i + 2) % 5)))
    s.commit(a)
    if i % 6 == 4:
        with open(os.path.join(b, "for the stash"), "w", encoding="ascii") as f:
            f.write("x" * 1000)
    s.reload(b)
    s.reload(a)
    subprocess.run(["sh", "-c", "find . -type f -exec cat {} + >/dev/null"],
                   cwd=b, check=True)


@deadline(400)
def test_rounds(t):
    """Two daemons, three mounts: descriptors and memory of every process stay
    what they were, and the logs have nothing to worry about."""
    s = stack.Stack(t, daemons=2)
    mounts = [s.mount("v", "a", create=True), s.daemons[1].mount("v", "b"),
              s.mount("v", "c")]
    for i in range(WARM):
        one_round(s, i, mounts)
    before = everybody(s)
    for i in range(WARM, ROUNDS):
        one_round(s, i, mounts)
    after = everybody(s)
    t.equal(sorted(before), sorted(after), "processes")
    for who, (fds, kib) in before.items():
        role = "%s of %d" % (who[1], who[0])
        # Connections are kept, and files that were just read: no more than
        # there are, and each round has more than this.
        t.true(after[who][0] <= fds + 24, "%s: %d descriptors, then %d" % (
            role, fds, after[who][0]))
        t.true(not memory_is_true(t) or
               after[who][1] <= kib + GROWTH_KIB.get(who[1], 256),
               "%s: %d KiB, then %d" % (role, kib, after[who][1]))
    with open(t.path("sailapid.log"), encoding="utf-8") as f:
        text = f.read()
    # Before its meta is there, the server answers so.
    text = text[text.index("/v1/volumes: 201"):]
    for log in [text] + [d.log() for d in s.daemons]:
        lines = [line for line in log.splitlines() if ALARM.search(line)]
        t.equal([], lines, "alarming lines")
