# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What a system test is given: its directory, its processes, its claims.

A test is a function test_* in regress/system/test_*.py with one argument t, a
Test.  It runs in a process and a session of its own; whatever it leaves behind
is killed, unmounted and, when it passed, removed.
"""

import errno
import os
import random
import re
import signal
import socket
import subprocess
import time

DEADLINE_S = 120
# In what a program wrote: it is broken, whatever it ended with.
BAD_WORDS = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:")
CRASHES = tuple(-s for s in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT,
                             signal.SIGILL, signal.SIGFPE))


class SkipTest(Exception):
    """The test cannot run here; the reason is its text."""


class Failure(Exception):
    """A claim that does not hold."""


def raises(t, kind, f, *args, **kwargs):
    """The error, which is of that class."""
    try:
        value = f(*args, **kwargs)
    except kind as e:
        return e
    t.fail("%s: not raised, but %r" % (kind.__name__, value))
    return None


def error_of(f, *args):
    """The name of the errno that it ends with, or done."""
    try:
        f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "done"


def deadline(seconds):
    """Decorator: this test may take longer (or must be faster) than 120 s."""

    def mark(function):
        function.deadline_s = seconds
        return function

    return mark


class Test:
    def __init__(self, name, directory, repo, obj):
        self.name = name
        self.dir = directory
        self.repo = repo
        self.obj = obj
        self._ports = []
        # True when processes of this test are killed on purpose; "any" when
        # they are also made to break or to be found guilty.
        self.expect_deaths = False
        # Shown behind its name when it has passed.
        self.said = ""
        # What the last lines of a run add up.
        self.numbers = {}

    def count(self, what, n):
        """Adds to a number that the run prints at its end."""
        self.numbers[what] = self.numbers.get(what, 0) + n

    def seed(self):
        """The seed of a random test, printed.  SAIL_SEED=n in the environment,
        or any with SAIL_SEED=random, which make soak sets; else always the
        same one: what make check finds is of the change that it checks."""
        said = os.environ.get("SAIL_SEED", "")
        seed = (random.SystemRandom().randrange(1 << 30) if said == "random"
                else int(said or 1))
        print("SAIL_SEED=%d" % seed, flush=True)
        return seed

    def path(self, *parts):
        """A path below the test's directory."""
        return os.path.join(self.dir, *parts)

    def write(self, name, text, mode=0o644):
        """Writes a file below the test's directory; its path."""
        path = self.path(name)
        data = text if isinstance(text, bytes) else text.encode()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        return path

    def run(self, argv, ok=True, input=None, env=None, cwd=None, text=True,
            timeout=60):
        """Runs a command; what subprocess.run() returns, output captured.

        ok: True it must end with 0; False with anything else; a number with
        that; None it does not matter.  env is added to the environment.
        """
        argv = [str(a) for a in argv]
        try:
            done = subprocess.run(
                argv, input=input, cwd=cwd or self.dir, text=text,
                errors="backslashreplace" if text else None,
                env=dict(os.environ, **env) if env else None,
                stdin=subprocess.DEVNULL if input is None else None,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                timeout=timeout)
        except subprocess.TimeoutExpired as e:
            raise Failure("%s: not done after %s s\nstdout: %s\nstderr: %s" % (
                " ".join(argv), timeout, e.stdout, e.stderr)) from None
        status = done.returncode
        out = done.stdout + done.stderr
        if not text:
            out = out.decode(errors="backslashreplace")
        if status in CRASHES or BAD_WORDS.search(out):
            raise Failure("%s: crashed, status %d\n%s" % (
                " ".join(argv), status, out))
        if ok is True:
            good = status == 0
        elif ok is False:
            good = status > 0
        else:
            good = ok is None or status == ok
        if not good:
            raise Failure("%s: expected status %s, actual %d\n"
                          "stdout: %s\nstderr: %s" % (
                              " ".join(argv),
                              {True: "0", False: "not 0"}.get(ok, ok), status,
                              done.stdout, done.stderr))
        return done

    def spawn(self, argv, log, env=None, cwd=None, **kwargs):
        """Starts a process in the background; a subprocess.Popen.

        Its output goes to the file log below the test's directory; call it
        *.log, and it is shown when the test fails and searched when it passes.
        """
        with open(self.path(log), "ab") as out:
            return subprocess.Popen(
                [str(a) for a in argv], cwd=cwd or self.dir,
                env=dict(os.environ, **env) if env else None,
                stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, **kwargs)

    def stop(self, process, sig=signal.SIGTERM, deadline_s=30):
        """Ends a process of spawn(); its exit status."""
        process.send_signal(sig)
        try:
            return process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Failure("pid %d: still there %s s after signal %d" % (
                process.pid, deadline_s, sig)) from None

    def wait_for(self, predicate, what, deadline_s=30):
        """Calls predicate until it is true; what it returned."""
        end = time.monotonic() + deadline_s
        while True:
            value = predicate()
            if value:
                return value
            if time.monotonic() >= end:
                raise Failure("not within %s s: %s" % (deadline_s, what))
            time.sleep(0.02)

    def free_port(self):
        """A TCP port of 127.0.0.1, kept for this test until it ends: a server
        that sets SO_REUSEADDR may listen on it, again and again, and nobody
        is given it by chance."""
        s = socket.socket()
        self._ports.append(s)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Of all addresses: proxies have the same one at 127.0.0.2.
        s.bind(("0.0.0.0", 0))
        return s.getsockname()[1]

    def equal(self, expected, actual, what):
        if expected != actual:
            raise Failure("%s\nexpected: %r\nactual:   %r" % (
                what, expected, actual))

    def true(self, condition, what):
        if not condition:
            raise Failure(what)

    def fail(self, why):
        raise Failure(why)

    def skip(self, reason):
        raise SkipTest(reason)
