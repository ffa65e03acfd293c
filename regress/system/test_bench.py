# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""make bench measures, and leaves nothing behind, however it ends."""

import json
import os
import signal
import subprocess

from sailtest import deadline, leftovers, stack


def argv(t, *args):
    stack.require_fuse(t)
    if not os.path.exists("/dev/loop-control"):
        t.skip("no loop devices: modprobe loop")
    return ["/usr/bin/python3", os.path.join(t.repo, "regress", "bench",
                                             "main.py"),
            "--obj", t.obj, "--dir", t.dir, "--scale", "0.001", "--runs", "1",
            *args]


def loops(t):
    """Loop devices over files of this test."""
    return [line for line in t.run(["losetup", "-l", "-O", "BACK-FILE"],
                                   ok=None).stdout.splitlines()
            if t.dir in line]


def nothing_left(t, before):
    t.equal([], leftovers.mounts_below(t.dir), "mounts")
    t.wait_for(lambda: not loops(t), "no loop device is left")
    t.equal(before, sorted(os.listdir(t.dir)), "files")


@deadline(240)
def test_measures(t):
    """A table and JSON with samples and checks of each row."""
    out = t.path("bench.json")
    names = ["random", "scale"]
    wanted = [a for n in names for a in ("--row", n)]
    done = t.run(argv(t, "--json", out, *wanted), timeout=220)
    with open(out, encoding="utf-8") as f:
        found = json.load(f)
    t.equal(names, [r["row"] for r in found["rows"]], "rows")
    for r in found["rows"]:
        t.equal(None, r["failed"], r["row"])
        t.true(all(s["median"] >= 0 and len(s["values"]) >= 1
                   for s in r["samples"]), "samples of " + r["row"])
        t.true(r["checks"] and all(c["good"] is not None
                                   for c in r["checks"]), "checks")
        t.true(r["memory_kib"]["manifest"] > 1000, "peaks of " + r["row"])
        t.true("== %s: " % r["row"] in done.stdout, "the table has it")
    nothing_left(t, ["bench.json"])


def test_interrupted(t):
    """SIGTERM in the middle of a row, and kill -9 of the outer process."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        p = t.spawn(argv(t, "--row", "scale"), "run.log",
                    start_new_session=True)
        t.wait_for(lambda: any("reader" in m for m in
                               leftovers.mounts_below(t.dir)), "a mount", 100)
        p.send_signal(sig)
        status = p.wait(60)
        t.true(status != 0, "status %d" % status)
        if sig == signal.SIGKILL:
            # The inner one ends by itself, and keeps its folder.
            t.wait_for(lambda: not leftovers.mounts_below(t.dir),
                       "mounts are gone")
            t.wait_for(lambda: not loops(t), "no loop device is left")
        else:
            nothing_left(t, ["run.log"])


def test_list(t):
    """Each row of the table has a name and says what it is."""
    done = subprocess.run(argv(t, "-l"), stdout=subprocess.PIPE, text=True,
                          check=True)
    lines = done.stdout.splitlines()
    t.true(len(lines) >= 10 and all(len(line.split()) > 3 for line in lines),
           "rows: %s" % lines)
