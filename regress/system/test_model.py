# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The whole service does what a model of some hundred lines does: three mounts
of two daemons, with lost answers and kill -9 of processes, in random order.

    SAIL_SEED=n  that seed alone   SAIL_STEPS=n  its length
    SAIL_KILLS=no  without kills
"""

import ast
import collections
import os

from sailtest import deadline, histories, model, stack

BOTH_STORES = ("test_model",)

# Seeds, their steps, and whether processes are killed.  A history that fails,
# here or in make soak, says the line that is to be added.  The short ones were looked
# for with programs that were broken by hand, and say what each has found.
KEPT = (
    # After a reload the kernel was not told which names to forget.
    (10, 25, True),
    # A takeover did not look up what the kernel sends again: a file made twice.
    (15, 25, True),
    (16, 25, True),     # The same: a rename of what was moved already.
    # The same: a directory; and names that were not forgotten after a reload, and
    # what a commit overwrote was not said, of changes and of what it removed.
    (21, 25, True),
    (23, 25, True),     # The same of a symlink; and what a commit overwrote.
    # What is open keeps what it was opened with over a reload.
    (4, 60, True),
    (1, 60, True),
    (2, 60, True),
    (3, 60, True),
    # What a reload took the name of, and was open, kept an umount from its end.
    (290299846, 100, False),
    # A name that was linked to another by one who then reloaded with --keep.
    (1047557261, 100, False),
)
STEPS = 60


def asked_for():
    """What the environment says, else all that are kept."""
    if "SAIL_SEED" not in os.environ:
        return KEPT
    return [(int(seed), int(os.environ.get("SAIL_STEPS", STEPS)),
             os.environ.get("SAIL_KILLS") != "no")
            for seed in os.environ["SAIL_SEED"].split(",")]


@deadline(300)
def test_model(t):
    """One seed, one schedule: each of KEPT."""
    s = stack.Stack(t, daemons=2, proxied=True)
    killed = collections.Counter()
    for seed, steps, kills in asked_for():
        print("seed", seed, flush=True)
        h = histories.History(s, seed, steps, kills)
        h.run()
        killed.update(h.killed)
    t.true("SAIL_SEED" in os.environ or killed["fuse in a call"],
           "killed were only %s" % killed)
    t.count("kills survived", sum(killed.values()))
    t.said = "seeds %s; kills survived: %s" % (
        ", ".join(str(seed) for seed, _, _ in asked_for()), ", ".join(
            "%d %s" % (n, role) for role, n in sorted(killed.items())))


@deadline(60)
def test_says_what_to_keep(t):
    """A history that fails says the line of KEPT that is to be added."""
    s = stack.Stack(t, proxied=True)
    h = histories.History(s, 77, 2, kills=False)
    h.actors[0].m.view["not there"] = model.Inode("p", None, 0o600)
    said = ""
    try:
        h.run()
    except histories.Wrong as e:
        said = str(e)
    lines = [line for line in said.splitlines() if line.startswith("    (77")]
    t.equal(1, len(lines), "lines to be added: %s" % said)
    t.equal((77, 2, False), ast.literal_eval(
        lines[0].split("#")[0].strip().rstrip(",")), "seed, steps, kills")
