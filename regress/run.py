#!/usr/bin/python3
# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Runs the unit tests, the system tests and shortly the fuzzers, and counts.

usage: run.py [-l] [-j N] [-t PATTERN] [--obj OBJ] [--long | --floors]

System tests that a file names in BOTH_STORES (or all of it, where that is True)
run a second time, as NAME@s3, with their objects in a bucket of a Ceph gateway.
What a file names in EMBEDDED_STORE is about the embedded one alone: it is skipped
where SAIL_STORE=s3 in the environment has all tests use the gateway.

Each unit test program, and each system test, runs below a process of its own
(--worker), which kills, unmounts and removes whatever it leaves behind.
"""

import argparse
import ast
import collections
import concurrent.futures
import faulthandler
import glob
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

REGRESS = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(REGRESS)
sys.path.insert(0, REGRESS)
sys.dont_write_bytecode = True

import sailtest  # noqa: E402
from fuzz import main as fuzzing  # noqa: E402
from sailtest import emulator, gateway  # noqa: E402
from sailtest.leftovers import adopt_orphans, clean_up  # noqa: E402

GATEWAY = "@s3"         # behind the name of a test
UNIT_DEADLINE_S = 300
# SAIL_VALGRIND=yes: unit tests under it.  Leaks are for SAN=1: here they would be
# those of forks that end in the middle, too.
VALGRIND = ["valgrind", "-q", "--error-exitcode=99"]
VALGRIND_SLOWER = 20
# It does not know seccomp(2): no role starts in it.
NO_VALGRIND = ("unit/lib/test_proc", "unit/lib/test_sandbox_libs",
               "unit/lib/test_sandbox_walls")
SAN_SLOWER = 5
# What a system test says of its deadline is for a machine like the ones it was
# written on, that does little else.
SLOW_MACHINE = 3
# What a run of all tests adds up to, at least.
FLOORS = {
    "POSIX cases": 140, "faults tried": 26, "faults met": 500,
    "forbidden calls": 200, "fuzz executions": 10000, "kills survived": 400,
    "lies told to a mount": 30, "losses of power": 10, "waits interrupted": 20}
FUZZ = "fuzz/"          # before the name of a fuzzer
LOG_TAIL_LINES = 60
# What no test expects: a role that crashed, gave up, broke its filter, was not
# ready in time, or was found guilty by another.
BROKEN = re.compile(
    r"killed by signal (?!(9|15)\b)|exited with status (?!0$)|"
    r"is ended for that|is not ready after")
# What happens only where a test kills.
DEATHS = re.compile(r"killed by signal")

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# ---- finding tests ----------------------------------------------------------

def unit_tests(obj):
    """(name, program) of each; a program that was not built fails later."""
    for src in sorted(glob.glob(REPO + "/regress/unit/*/test_*.c")):
        rel = os.path.relpath(src, REPO)[:-2]
        yield rel[len("regress/"):], os.path.join(REPO, obj, rel)


def fuzz_tests():
    """(name, program) of each fuzzer."""
    for name, program in fuzzing.programs("obj-fuzz"):
        yield FUZZ + name, program


def load(path):
    name = os.path.basename(path)[:-3]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_deadline(node):
    """Whether a decorator is deadline(N) or sailtest.deadline(N)."""
    return (isinstance(node, ast.Call) and
            getattr(node.func, "attr", getattr(node.func, "id", None)) ==
            "deadline")


def named_in(body, constant):
    """A function that says whether a file's constant names a test, or all."""
    named = ()
    for node in body:
        if isinstance(node, ast.Assign) and (
                getattr(node.targets[0], "id", None) == constant):
            named = ast.literal_eval(node.value)
    return lambda name: named is True or name in named


def system_tests(files="test_*"):
    """(name, path, function's name, seconds) of those files.  They are read,
    not imported: a broken one is one failure, and does not hide the others."""
    for path in sorted(glob.glob(REGRESS + "/system/" + files + ".py") +
                       glob.glob(REGRESS + "/long/" + files + ".py")):
        base = os.path.basename(path)[:-3]
        try:
            with open(path, encoding="utf-8") as f:
                body = ast.parse(f.read()).body
        except SyntaxError:
            yield base + ".broken_file", path, "broken_file", 10
            continue
        both = named_in(body, "BOTH_STORES")
        for node in body:
            if (not isinstance(node, ast.FunctionDef) or
                    not node.name.startswith("test_")):
                continue
            seconds = sailtest.DEADLINE_S
            for d in filter(is_deadline, node.decorator_list):
                seconds = ast.literal_eval(d.args[0])
            name = "%s.%s" % (base, node.name)
            seconds *= SLOW_MACHINE
            yield name, path, node.name, seconds
            if both(node.name):
                yield name + GATEWAY, path, node.name, 2 * seconds


# ---- one test, in a process of its own --------------------------------------

def logs(directory):
    for root, dirs, files in os.walk(directory):
        # What another program keeps there is not a text.
        dirs[:] = sorted(d for d in dirs if not d.endswith(".data"))
        for name in sorted(files):
            path = os.path.join(root, name)
            if name.endswith(".log") and not os.path.islink(path):
                yield path


def read_text(path):
    with open(path, encoding="utf-8", errors="backslashreplace") as f:
        return f.read()


def scan_logs(directory, expect_deaths):
    """expect_deaths: as in Test."""
    found = []
    for path in logs(directory):
        for line in read_text(path).splitlines():
            if sailtest.BAD_WORDS.search(line) or (
                    expect_deaths != "any" and BROKEN.search(line)) or (
                    not expect_deaths and DEATHS.search(line)):
                found.append("%s: %s" % (os.path.basename(path), line))
    return found


def show_logs(directory):
    out = []
    for path in logs(directory):
        lines = read_text(path).splitlines()[-LOG_TAIL_LINES:]
        out.append("--- %s" % os.path.relpath(path, directory))
        out += lines
    return out


def system_child(test, path, function, out):
    """The test itself: never returns."""
    os.setsid()
    for sig in ENDING:
        signal.signal(sig, signal.SIG_DFL)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    result = {"outcome": "passed", "text": ""}
    try:
        module = load(path)
        embedded = getattr(module, "EMBEDDED_STORE", ())
        if os.environ.get("SAIL_STORE") == "s3" and (
                embedded is True or function in embedded):
            test.skip("is about the embedded store")
        getattr(module, function)(test)
        result["text"] = test.said
        result["numbers"] = test.numbers
    except sailtest.SkipTest as e:
        result = {"outcome": "skipped", "text": str(e)}
    except sailtest.Failure as e:
        where = traceback.extract_tb(e.__traceback__)
        here = [f for f in where if f.filename == path] or where
        result = {"outcome": "failed", "text": "%s:%d: %s" % (
            os.path.relpath(here[-1].filename, REPO), here[-1].lineno, e)}
    except BaseException:
        result = {"outcome": "failed", "text": traceback.format_exc()}
    result["expect_deaths"] = test.expect_deaths
    with open(out, "w", encoding="utf-8") as f:
        json.dump(result, f)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def wait_until(pid, seconds):
    """The wait status, or None after that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got, status = os.waitpid(pid, os.WNOHANG)
        if got == pid:
            return status
        time.sleep(0.005)
    return None


def worker_system(name, path, function, seconds, obj):
    directory = tempfile.mkdtemp(
        prefix="sail-%s." % name.replace(GATEWAY, "-s3"))
    os.chmod(directory, 0o755)
    if name.endswith(GATEWAY):
        os.environ["SAIL_STORE"] = "s3"
    fd, out = tempfile.mkstemp(prefix="sail-result.")
    os.close(fd)
    result = {"outcome": "failed", "expect_deaths": False}
    try:
        if "obj-san" in obj:
            seconds *= SAN_SLOWER
        pid = os.fork()
        if pid == 0:
            system_child(sailtest.Test(name, directory, REPO, obj), path,
                         function, out)
        status = wait_until(pid, seconds)
        if status is None:
            os.kill(pid, signal.SIGUSR1)
            time.sleep(0.2)
            result["text"] = "not done after %d s" % seconds
        else:
            try:
                with open(out, encoding="utf-8") as f:
                    result = json.load(f)
            except ValueError:
                result["text"] = "the test's process ended with %s" % (
                    describe(os.waitstatus_to_exitcode(status)))
    finally:
        problems = clean_up(directory)
        os.unlink(out)
    if result["outcome"] != "failed":
        problems += scan_logs(directory, result["expect_deaths"])
        if problems:
            result["outcome"] = "failed"
            result["text"] = "passed, but:"
    if result["outcome"] == "failed":
        print(result["text"])
        print("\n".join(problems + show_logs(directory)))
        print("kept: %s" % directory)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return {"counts": {result["outcome"]: 1, **result.get("numbers", {})},
            "text": result["text"]}


def describe(status):
    if status >= 0:
        return "exit status %d" % status
    return "signal %d (%s)" % (-status, signal.Signals(-status).name)


def count_cmocka(output, status, counts):
    """Fills counts from what cmocka wrote; the names of what failed."""
    ran = re.findall(r"^\[ RUN      \] (\S+)", output, re.M)
    good = set(re.findall(r"^\[       OK \] (\S+)", output, re.M))
    skipped = set(re.findall(r"^\[  SKIPPED \] (\S+)", output, re.M)) - good
    bad = [n for n in ran if n not in good and n not in skipped]
    if not ran and status == 0:
        m = re.search(r"^skipped: .*", output, re.M)
        counts["skipped" if m else "failed"] = 1
        return [] if m else ["no test ran"]
    if status != 0 and not bad:
        bad = [describe(status)]
    counts["passed"] = len(set(ran) & good)
    counts["skipped"] = len(skipped)
    counts["failed"] = len(bad)
    return bad


def worker_unit(name, program):
    counts = {}
    if not os.access(program, os.X_OK):
        print("%s was not built" % program)
        return {"counts": {"failed": 1}, "text": "not built"}
    command, seconds = [program], UNIT_DEADLINE_S
    if os.environ.get("SAIL_VALGRIND") == "yes":
        if name in NO_VALGRIND:
            return {"counts": {"skipped": 1},
                    "text": "valgrind does not know seccomp(2)"}
        command, seconds = VALGRIND + command, seconds * VALGRIND_SLOWER
    elif "/obj-san/" in program:
        seconds *= SAN_SLOWER
    directory = tempfile.mkdtemp(prefix="sail-unit.")
    os.chmod(directory, 0o755)
    try:
        with tempfile.TemporaryFile() as out:
            p = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, cwd=REPO, start_new_session=True,
                env=dict(os.environ, TMPDIR=directory))
            status = wait_until(p.pid, seconds)
            late = status is None
            status = 1 if late else os.waitstatus_to_exitcode(status)
            problems = clean_up(directory)
            out.seek(0)
            output = out.read().decode(errors="backslashreplace")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    bad = count_cmocka(output, status, counts)
    if late:
        problems.append("not done after %d s" % seconds)
    if problems and not counts.get("failed"):
        counts["failed"] = 1
    if counts.get("failed"):
        print("\n".join(bad + problems))
        print("\n".join(output.splitlines()[-200:]))
    m = re.search(r"^skipped: (.*)", output, re.M)
    return {"counts": counts, "text": m[1] if m else ""}


def worker_fuzz(name, program):
    if not os.access(program, os.X_OK):
        print("%s was not built: make FUZZ=1 fuzzers" % program)
        return {"counts": {"failed": 1}, "text": "not built"}
    good, executions, output = fuzzing.check(name[len(FUZZ):], program)
    if not good:
        print("\n".join(output.splitlines()[-200:]))
    return {"counts": {"passed" if good else "failed": 1,
                       "fuzz executions": executions},
            "text": "%d executions" % executions}


def end_worker(*_):
    """The first signal ends the test; others must not end the cleaning up."""
    for sig in ENDING:
        signal.signal(sig, signal.SIG_IGN)
    sys.exit(1)


def worker(name, obj, result, runner):
    """The process between the runner and a test: inherits its orphans."""
    for sig in ENDING:
        signal.signal(sig, end_worker)
    # An interrupted runner's tests are taken away too.
    adopt_orphans()
    if os.getppid() != runner:
        sys.exit(1)
    # What others mount would stay in use by what is made private here.
    emulator.own_mounts()
    done = None
    for unit, program in unit_tests(obj):
        if unit == name:
            done = worker_unit(name, program)
    for fuzzer, program in fuzz_tests():
        if fuzzer == name:
            done = worker_fuzz(name, program)
    for system, path, function, seconds in system_tests(name.split(".")[0]):
        if system == name:
            done = worker_system(name, path, function, seconds, obj)
    with open(result, "w", encoding="utf-8") as f:
        json.dump(done, f)


# ---- all of them ------------------------------------------------------------

def serve_gateway():
    """The gateway of many tests.  It ends with its standard input, and not in
    the middle of its cleaning up by a signal."""
    for sig in ENDING:
        signal.signal(sig, lambda *_: None)
    adopt_orphans()
    directory = tempfile.mkdtemp(prefix="sail-gateway.")
    try:
        gateway.serve(sailtest.Test("gateway", directory, REPO, "obj"))
    finally:
        clean_up(directory)
        shutil.rmtree(directory, ignore_errors=True)


def wants_gateway(name):
    """Whether a test may start one."""
    if name.endswith(GATEWAY) or os.environ.get("SAIL_STORE") == "s3":
        return True
    return any(system == name and "Gateway(" in read_text(path)
               for system, path, _, _ in system_tests(name.split(".")[0]))


def run_one(name, obj, keeper):
    """(name, counts, text, output, seconds)"""
    env, shared = dict(os.environ), None
    if wants_gateway(name):
        shared = keeper.take()
        env["SAIL_GATEWAY"] = str(shared.port)
    try:
        return run_worker(name, obj, env)
    finally:
        if shared is not None:
            keeper.give(shared)


def run_worker(name, obj, env):
    fd, result = tempfile.mkstemp(prefix="sail-worker.")
    os.close(fd)
    start = time.monotonic()
    try:
        # A file, not a pipe: what cannot be killed would hold it open.
        with tempfile.TemporaryFile() as out:
            subprocess.run(
                [sys.executable, os.path.abspath(__file__), "--obj", obj,
                 "--worker", name, "--result", result,
                 "--runner", str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
                env=env, check=False)
            out.seek(0)
            output = out.read().decode(errors="backslashreplace")
        try:
            with open(result, encoding="utf-8") as f:
                r = json.load(f)
            counts, text = r["counts"], r["text"]
        except (ValueError, TypeError):
            counts, text = {"failed": 1}, "the runner's worker failed"
    finally:
        os.unlink(result)
    return name, counts, text, output, time.monotonic() - start


def report(done, obj, totals, failed):
    name, counts, text, output, seconds = done
    for key, n in counts.items():
        totals[key] += n
    if counts.get("failed"):
        failed.append("%s: %s" % (name, (output.splitlines() or [""])[0]))
        print("FAIL %s (%.1f s)" % (name, seconds))
        print("\n".join("    " + line for line in output.splitlines()))
        print("    repeat: /usr/bin/python3 regress/run.py --obj %s -t %s"
              % (obj, name), flush=True)
    elif counts.get("passed"):
        n = counts["passed"]
        print("ok   %s%s (%.1f s)%s" % (
            name, "" if n == 1 else ": %d" % n, seconds,
            text and ": " + text), flush=True)
    else:
        print("skip %s: %s" % (name, text), flush=True)


def main():
    p = argparse.ArgumentParser(prog="run.py")
    p.add_argument("-l", action="store_true", help="list the tests' names")
    p.add_argument("-j", type=int, default=1, help="so many at a time")
    p.add_argument("-t", default="", help="those whose name has this in it")
    p.add_argument("--obj", default="obj", help="folder of the build")
    p.add_argument("--long", action="store_true",
                   help="the tests that take minutes, and no others")
    p.add_argument("--floors", action="store_true",
                   help="fail when less was tried than all tests try")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    p.add_argument("--result", help=argparse.SUPPRESS)
    p.add_argument("--runner", type=int, help=argparse.SUPPRESS)
    p.add_argument("--gateway", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.gateway:
        serve_gateway()
        return 0
    if args.worker:
        worker(args.worker, args.obj, args.result, args.runner)
        return 0
    names = [] if args.long else [n for n, _ in unit_tests(args.obj)]
    names += [] if args.long else [n for n, _ in fuzz_tests()]
    names += [n for n, path, _, _ in system_tests()
              if args.long == (os.path.basename(os.path.dirname(path)) ==
                               "long")]
    names = [n for n in names if args.t in n]
    if args.l:
        print("\n".join(names))
        return 0
    begun = time.monotonic()
    totals, failed = collections.Counter(), []
    for sig in ENDING:
        signal.signal(sig, lambda *_: os._exit(1))
    keeper = gateway.Keeper(os.path.abspath(__file__))
    with concurrent.futures.ThreadPoolExecutor(max(1, args.j)) as pool:
        for done in pool.map(lambda n: run_one(n, args.obj, keeper), names):
            report(done, args.obj, totals, failed)
    keeper.close()
    if args.floors:
        for name, floor in FLOORS.items():
            if totals[name] < floor:
                # A skipped test says why.
                totals["failed"] += not totals["skipped"]
                failed.append("%s: %d, and should be %d at least" % (
                    name, totals[name], floor))
    for line in failed:
        print("failed: %s" % line)
    numbers = sorted(set(totals) - {"passed", "failed", "skipped"})
    if numbers:
        print(", ".join("%s: %d" % (name, totals[name]) for name in numbers))
    print("%d s, %d tests at a time" % (time.monotonic() - begun, args.j))
    print("%d passed, %d failed%s" % (
        totals["passed"], totals["failed"],
        ", %d skipped" % totals["skipped"] if totals["skipped"] else ""))
    return 1 if totals["failed"] or not (
        totals["passed"] or totals["skipped"]) else 0


if __name__ == "__main__":
    sys.exit(main())
