# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The runner counts right, and nothing that a test left behind survives it."""

import os
import shutil
import subprocess

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
    for name in ("run.py", "sailtest"):
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
    t.equal(1, done.returncode, "status")
    t.equal(b"", alive(mark), "processes left")
    for text in ("expected: 1", "actual:   2", "what the daemon said",
                 "no such thing here", "not done after 1 s",
                 "repeat: /usr/bin/python3 regress/run.py --obj obj "
                 "-t test_x.test_unequal"):
        t.true(text in done.stdout, "%s is not in %s" % (text, done.stdout))
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


def test_patterns(t):
    repo, _ = tree(t)
    done = run(t, repo, "-t", "x.test_good")
    t.equal("1 passed, 0 failed", done.stdout.splitlines()[-1], "last line")
    t.equal(0, done.returncode, "status")
    done = run(t, repo, "-t", "no such test")
    t.equal("0 passed, 0 failed\n", done.stdout, "output")
    t.equal(1, done.returncode, "nothing ran")
    done = run(t, repo, "-l", "-t", "death")
    t.equal("test_x.test_death_in_log\ntest_x.test_expected_death_in_log\n",
            done.stdout, "list")
