#!/usr/bin/python3
# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Measures the rows of `make bench', prints a table and writes JSON.

usage: main.py [-l] [--scale S] [--runs N] [--row NAME]... [--json FILE]
               [--dir DIR] [--obj OBJ]

The rows run below a process of their own; however it ends, processes, mounts
and loop devices that it made are taken away.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback

REGRESS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[0] = REGRESS
sys.dont_write_bytecode = True

from bench import measure, place, table  # noqa: E402
# In the order of the table.
from bench import rows_file  # noqa: E402,F401
from bench import rows_tree  # noqa: E402,F401
from bench import rows_write  # noqa: E402,F401
from bench import rows_commit  # noqa: E402,F401
from bench import rows_scale  # noqa: E402,F401
from sailtest import leftovers  # noqa: E402

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Bench:
    """What a row is given."""

    def __init__(self, args, directory):
        self.dir, self.obj = directory, args.obj
        self.repo = os.path.dirname(REGRESS)
        self.scale, self.runs = args.scale, args.runs
        self.workload = os.path.join(self.repo, args.obj, "regress", "bench",
                                     "workload")
        self.places = 0

    def scaled(self, number, at_least=1):
        return max(at_least, int(number * self.scale))

    def place(self):
        self.places += 1
        return Closing(place.Place(self, self.places))

    def work(self, *args, input=None):
        """Seconds of a loop of workload.c."""
        done = self.plain.run([self.workload, *args], input=input,
                              timeout=900)
        return int(done.stdout) / 1e9

    @property
    def plain(self):
        return place.sailtest.Test("bench", self.dir, self.repo, self.obj)


class Closing:
    def __init__(self, it):
        self.it = it

    def __enter__(self):
        return self.it

    def __exit__(self, *_):
        self.it.close()


def say(text):
    print(text, flush=True)


def measure_row(bench, row):
    result = measure.Result(row.name, row.title)
    start, load = time.monotonic(), os.getloadavg()[0]
    try:
        row.function(bench, result)
    except Exception:
        result.failed = traceback.format_exc()
        say(result.failed)
    # With other work on the machine times say little, ratios more.
    result.load = load, os.getloadavg()[0]
    say("\n".join(table.lines(result)) +
        "\n   measured in %.0f s, load before %.1f, after %.1f" % (
            time.monotonic() - start, *result.load))
    return result


def describe_machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        model = [line.split(":")[1].strip() for line in f
                 if line.startswith("model name")]
    return {"kernel": platform.release(), "processors": os.cpu_count(),
            "model": model[0] if model else "", "load": os.getloadavg()}


def end_on_signals():
    """Once: what comes after the first does not disturb the cleaning up."""

    def end(*_):
        for sig in ENDING:
            signal.signal(sig, signal.SIG_IGN)
        sys.exit(1)

    for sig in ENDING:
        signal.signal(sig, end)


def rows_below(args, rows, directory):
    """In a process of its own."""
    end_on_signals()
    leftovers.adopt_orphans()
    bench = Bench(args, directory)
    machine = describe_machine()
    say("scale %g, %d runs, %s, %d processors, load %.1f" % (
        args.scale, args.runs, machine["kernel"], machine["processors"],
        machine["load"][0]))
    try:
        results = [measure_row(bench, row) for row in rows]
    finally:
        leftovers.clean_up(directory)
    say(table.summary(results))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump({"scale": args.scale, "runs": args.runs,
                       "machine": machine,
                       "rows": [r.as_json() for r in results]}, f, indent=1)
            f.write("\n")
    return 1 if any(r.failed for r in results) else 0


def wait_for(pid):
    while True:
        got, status = os.wait()
        if got == pid:
            return os.waitstatus_to_exitcode(status)


def arguments():
    p = argparse.ArgumentParser(prog="main.py")
    p.add_argument("-l", action="store_true", help="list the rows")
    p.add_argument("--scale", type=float, default=1.0,
                   help="1 is what the numbers are said of")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--row", action="append", default=[],
                   help="only that one; may be given again")
    p.add_argument("--json", help="write all samples there")
    p.add_argument("--dir", help="a folder with room, on a disk")
    p.add_argument("--obj", default="obj")
    return p.parse_args()


def main():
    args = arguments()
    unknown = set(args.row) - {r.name for r in measure.ROWS}
    rows = [r for r in measure.ROWS
            if not unknown and (not args.row or r.name in args.row)]
    if args.l or not rows:
        for r in measure.ROWS:
            print("%-16s %s" % (r.name, r.title))
        return 0 if args.l else 2
    if os.geteuid() != 0:
        print("make bench: mounts need root", file=sys.stderr)
        return 1
    directory = tempfile.mkdtemp(prefix="sail-bench.", dir=args.dir)
    os.chmod(directory, 0o755)
    leftovers.adopt_orphans()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = rows_below(args, rows, directory)
        except SystemExit as e:
            status = e.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)
    for sig in ENDING:
        signal.signal(sig, lambda s, _: os.kill(pid, s))
    status = wait_for(pid)
    problems = leftovers.clean_up(directory)
    for problem in problems:
        print("make bench: " + problem, file=sys.stderr)
    if not problems:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if problems else status


if __name__ == "__main__":
    sys.exit(main())
