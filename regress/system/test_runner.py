# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The runner counts right, and nothing that a test left behind survives it."""

import os
import re
import shutil
import signal
import subprocess

EMBEDDED_STORE = ("test_both_stores",)  # itself says which

SOURCE = '''
import os, subprocess, sys, time
import sailtest

def test_good(t):
    t.equal(b"x", open(t.write("f", "x"), "rb").read(), "content")
    t.run(["true"]); t.run(["false"], ok=False); t.run(["sh", "-c", "exit 3"], ok=3)
    t.equal(7, t.wait_for(lambda: 7, "seven"), "value")

def test_unequal(t):
    t.write("daemon.log", "what the daemon said\\n")
    t.equal(1, 2, "numbers")

def test_skipped(t):
    raise sailtest.SkipTest("no such thing here")

def test_death_in_log(t):
    t.write("d.log", "role x (pid 1) killed by signal 9\\n")

def test_expected_death_in_log(t):
    t.expect_deaths = True
    t.write("d.log", "role x (pid 1) killed by signal 9\\n")

def test_crash_in_log(t):
    t.expect_deaths = True
    t.write("d.log", "role x (pid 1) killed by signal 11 (SIGSEGV)\\n")

def test_exit_in_log(t):
    t.expect_deaths = True
    t.write("d.log", "role x (pid 1) exited with status 1\\n")

def test_all_allowed_in_log(t):
    t.expect_deaths = "any"
    t.write("d.log", "role x (pid 1) killed by signal 31 (SIGSYS)\\n")

def test_client_crashes(t):
    t.run(["sh", "-c", "kill -SEGV $$"], ok=None)

@sailtest.deadline(1)
def test_hangs(t):
    time.sleep(600)

def test_leaves_processes(t):
    # Out of the session, out of the family.
    t.run(["sh", "-c", "setsid sleep %(mark)s >/dev/null 2>&1 & setsid -f "
           "sleep %(mark)s >/dev/null 2>&1"])

def test_leaves_a_mount(t):
    os.mkdir(t.path("m"))
    t.run(["mount", "-t", "tmpfs", "none", t.path("m")])
    open(t.path("m", "f"), "w").close()

def test_dies(t):
    os.kill(os.getpid(), 9)
'''


def tree(t):
    """A repository with the runner and the tests above."""
    repo = t.path("repo")
    os.makedirs(os.path.join(repo, "regress/system"))
    os.makedirs(t.path("tmp"))
    # Without the fuzzers themselves.
    os.makedirs(os.path.join(repo, "regress", "fuzz"))
    for name in ("run.py", "sailtest", "fuzz/__init__.py", "fuzz/main.py",
                 "fuzz/seeds.py"):
        src = os.path.join(t.repo, "regress", name)
        copy = shutil.copytree if os.path.isdir(src) else shutil.copy
        copy(src, os.path.join(repo, "regress", name))
    mark = "%d.%d" % (1000000 + os.getpid(), os.getpid())
    t.write("repo/regress/system/test_x.py", SOURCE % {"mark": mark})
    return repo, mark


def run(t, repo, *args):
    return t.run(["/usr/bin/python3", "regress/run.py", *args], cwd=repo,
                 env={"TMPDIR": t.path("tmp")}, ok=None)


def alive(mark):
    return subprocess.run(["pgrep", "-f", "sleep %s" % mark],
                          stdout=subprocess.PIPE, check=False).stdout


def test_counts(t):
    repo, mark = tree(t)
    done = run(t, repo, "-t", "test_x")
    lines = done.stdout.splitlines()
    want = {
        "test_good": "ok", "test_unequal": "FAIL", "test_skipped": "skip",
        "test_death_in_log": "FAIL", "test_expected_death_in_log": "ok",
        "test_crash_in_log": "FAIL", "test_exit_in_log": "FAIL",
        "test_all_allowed_in_log": "ok", "test_client_crashes": "FAIL",
        "test_hangs": "FAIL", "test_leaves_processes": "ok",
        "test_leaves_a_mount": "ok", "test_dies": "FAIL"}
    if os.geteuid() != 0:
        want["test_leaves_a_mount"] = "FAIL"
    got = {}
    for line in lines:
        if line.startswith(("ok ", "FAIL ", "skip ")):
            word, name = line.split()[:2]
            got[name.split(".")[1].rstrip(":")] = word
    t.equal(want, got, done.stdout)
    bad = list(want.values()).count("FAIL")
    t.equal("%d passed, %d failed, 1 skipped" % (len(want) - bad - 1, bad),
            lines[-1], "last line")
    t.true(re.fullmatch("[0-9]+ s, 1 tests at a time", lines[-2]), lines[-2])
    t.equal(1, done.returncode, "status")
    t.equal(b"", alive(mark), "processes left")
    for text in ("expected: 1", "actual:   2", "what the daemon said",
                 "no such thing here", "not done after 3 s",
                 "repeat: /usr/bin/python3 regress/run.py --obj obj "
                 "-t test_x.test_unequal"):
        t.true(text in done.stdout, "%s is not in %s" % (text, done.stdout))
    done = run(t, repo, "-t", "test_x.test_good", "--floors")
    t.true(done.returncode == 1 and "kills survived: 0, and should be" in
           done.stdout, "nothing was at risk: " + done.stdout)
    # Those of failed tests are kept, all others gone.
    t.equal(bad, len(os.listdir(t.path("tmp"))), "directories kept")
    # What this test's own runner looks at: they were deliberate.
    shutil.rmtree(t.path("tmp"))


def test_interrupted(t):
    repo, mark = tree(t)
    t.write("repo/regress/system/test_x.py", """
import subprocess, time
def test_long(t):
    subprocess.Popen(["setsid", "sleep", "%s"])
    time.sleep(600)
""" % mark)
    runner = t.spawn(["/usr/bin/python3", "regress/run.py"], "runner.log",
                     cwd=repo, env={"TMPDIR": t.path("tmp")})
    t.wait_for(lambda: alive(mark), "the test runs")
    t.equal(1, t.stop(runner), "status")
    t.wait_for(lambda: not alive(mark), "nothing of it runs any more")


def worker_of(runner):
    """The pid of its worker, or None."""
    out = subprocess.run(["pgrep", "-P", str(runner), "-f", "run.py.*--worker"],
                         stdout=subprocess.PIPE, check=False).stdout.split()
    return int(out[0]) if out else None


def test_interrupted_again(t):
    """A worker that gets more signals while it cleans up goes on with it."""
    repo, mark = tree(t)
    t.write("repo/regress/system/test_x.py", """
import subprocess, time
def test_long(t):
    for _ in range(20):
        subprocess.Popen(["setsid", "sleep", "%s"])
    time.sleep(600)
""" % mark)
    runner = t.spawn(["/usr/bin/python3", "regress/run.py"], "runner.log",
                     cwd=repo, env={"TMPDIR": t.path("tmp")})
    t.wait_for(lambda: len(alive(mark).split()) == 20, "the test runs")
    worker = worker_of(runner.pid)
    fd = os.pidfd_open(worker)

    def again():
        try:
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.pidfd_send_signal(fd, sig)
        except ProcessLookupError:
            return True
        return False
    t.wait_for(again, "the worker ends")
    os.close(fd)
    t.equal(b"", alive(mark), "what it left")
    t.stop(runner)


def test_patterns(t):
    repo, _ = tree(t)
    done = run(t, repo, "-t", "x.test_good")
    t.equal("1 passed, 0 failed", done.stdout.splitlines()[-1], "last line")
    t.equal(0, done.returncode, "status")
    done = run(t, repo, "-t", "no such test")
    t.equal("0 passed, 0 failed", done.stdout.splitlines()[-1], "output")
    t.equal(1, done.returncode, "nothing ran")
    done = run(t, repo, "-l", "-t", "death")
    t.equal("test_x.test_death_in_log\ntest_x.test_expected_death_in_log\n",
            done.stdout, "list")


BOTH = '''
import os
from sailtest import gateway

BOTH_STORES = ("test_either",)

def test_one(t):
    t.equal(None, os.environ.get("SAIL_STORE"), "store")

EMBEDDED_STORE = ("test_embedded",)

def test_embedded(t):
    t.equal(None, os.environ.get("SAIL_STORE"), "store")
    t.count("things", 2)
    t.count("things", 3)

def test_either(t):
    t.count("things", 10)
    if os.environ.get("SAIL_STORE") != "s3":
        return
    g, other = gateway.Gateway(t, "a"), gateway.Gateway(t, "b")
    t.equal(200, g.s3.put("k", b"x").status, "put")
    t.equal((["k"], []), (g.s3.list()[0], other.s3.list()[0]), "keys")
    t.equal([], g.processes, "it is the runner's")
'''


def processes_of(t):
    """Those that know the folder of an inner runner."""
    return subprocess.run(["pgrep", "-f", t.path("tmp")], check=False,
                          stdout=subprocess.PIPE).stdout


def test_interrupted_gateway(t):
    """A runner that is interrupted leaves no gateway."""
    repo, _ = tree(t)
    t.write("repo/regress/system/test_x.py", """
import time
BOTH_STORES = True
def test_long(t):
    time.sleep(600)
""")
    runner = t.spawn(["/usr/bin/python3", "regress/run.py", "-t", "@s3"],
                     "runner.log", cwd=repo, env={"TMPDIR": t.path("tmp")})
    t.wait_for(lambda: any("test_x" in name
                           for name in os.listdir(t.path("tmp"))),
               "the test runs", 60)
    t.true(processes_of(t), "a gateway runs")
    t.equal(1, t.stop(runner), "status")
    t.wait_for(lambda: not processes_of(t), "nothing of it runs any more")
    t.wait_for(lambda: not [n for n in os.listdir(t.path("tmp"))
                            if "gateway" in n], "its folder is gone")


def test_both_stores(t):
    """What a file names in BOTH_STORES runs once more with a bucket of the
    runner's gateway, which is gone with the runner."""
    repo, _ = tree(t)
    t.write("repo/regress/system/test_x.py", BOTH)
    names = ["test_x.test_one", "test_x.test_embedded", "test_x.test_either",
             "test_x.test_either@s3"]
    t.equal(names, run(t, repo, "-l", "-t", "test_x").stdout.split(), "names")
    done = run(t, repo, "-t", "test_x")
    lines = done.stdout.splitlines()
    t.equal(["things: 25", "4 passed, 0 failed"], [lines[-3], lines[-1]],
            done.stdout)
    done = t.run(["/usr/bin/python3", "regress/run.py", "-t", "embedded"],
                 cwd=repo, env={"TMPDIR": t.path("tmp"), "SAIL_STORE": "s3"})
    lines = done.stdout.splitlines()
    t.equal(["skip test_x.test_embedded: is about the embedded store",
             "0 passed, 0 failed, 1 skipped"], [lines[0], lines[-1]],
            "with a gateway")
    t.equal([], os.listdir(t.path("tmp")), "directories kept")
    t.equal(b"", processes_of(t), "processes left")
