# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What POSIX and Linux promise of a file system holds on a mount, case by case,
and what does not is exactly what KNOWN says."""

import os
import re

import sailtest
from sailtest import stack

# case: why a mount does otherwise, and where the manual says so.
KNOWN = {
    # A path of the volume has at most 4,096 bytes: sailvold(8).  The case has
    # 4,095, and stands some directories below the root.
    "path_4095": "CAVEATS",
}


def run(t, where, *flags):
    """(those that passed, {those that failed: why})."""
    program = os.path.join(t.repo, t.obj, "regress/posix/posix")
    if not os.access(program, os.X_OK):
        t.fail("%s was not built" % program)
    done = t.run([program] + list(flags) + [where], ok=None, timeout=600)
    passed = re.findall(r"^ok (\S+)$", done.stdout, re.M)
    failed = dict(re.findall(r"^FAIL (\S+): (.*)$", done.stdout, re.M))
    t.equal("%d passed, %d failed" % (len(passed), len(failed)),
            (done.stdout.splitlines() or [""])[-1], "the last line")
    t.equal(1 if failed else 0, done.returncode, "exit status")
    return passed, failed


def listed(t):
    return t.run([os.path.join(t.repo, t.obj, "regress/posix/posix"),
                  "-l"]).stdout.split()


def only_known(t, failed):
    wrong = ["%s: %s" % (name, why) for name, why in sorted(failed.items())
             if name not in KNOWN]
    wrong += ["%s passes, though KNOWN names it" % name
              for name in sorted(set(KNOWN) - set(failed))]
    if wrong:
        t.fail("cases differ from what KNOWN says\n" + "\n".join(wrong))


@sailtest.deadline(300)
def test_native(t):
    """The cases are true of a file system of the kernel's own."""
    where = t.path("native")
    os.mkdir(where)
    names = listed(t)
    t.equal(len(names), len(set(names)), "names of cases, each once")
    passed, failed = run(t, where)
    t.equal({}, failed, "failing cases")
    t.true(len(passed) >= 120, "only %d cases ran" % len(passed))
    t.equal([], os.listdir(where), "what is left behind")


@sailtest.deadline(700)
def test_mount(t):
    """And of a mount, with the product's own rules besides."""
    s = stack.Stack(t)
    a = s.mount("posix", "a", create=True)
    passed, failed = run(t, a, "-s")
    only_known(t, failed)
    t.equal(sorted(listed(t)), sorted(passed + list(failed)),
            "the cases that ran")
    t.equal([], os.listdir(a), "what is left behind")
    s.daemon.umount(a)
    s.daemon.stop()
    t.said = "%d cases as the native file system has them, %d not: %s" % (
        len(passed), len(failed), ", ".join(sorted(failed)))
