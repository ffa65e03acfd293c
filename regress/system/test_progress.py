# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Progress of a commit: the bar on a terminal, which leaves nothing behind, and
the events of -j."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios

from sailtest import proxy, stack

BOTH_STORES = True

MIB = 1 << 20


class Terminal:
    """A program whose standard error is a terminal of so many columns."""

    def __init__(self, argv, columns=100, env=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=slave, env={**os.environ, "TERM": "xterm", **(env or {})})
        os.close(slave)
        self.seen = b""

    def read(self):
        """What comes next; b"" at the end."""
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.seen += data
        return data

    def until(self, t, pattern):
        while not re.search(pattern, self.seen):
            t.true(self.read(), "no %s in %r" % (pattern, self.seen))

    def end(self):
        """Exit status and standard output."""
        while self.read():
            pass
        os.close(self.master)
        out = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(), out

    def drawn(self):
        """The bars, and what is on the screen at the end."""
        parts = self.seen.split(b"\r")
        left = b""
        for part in parts:
            left = part.replace(b"\x1b[K", b"") or (
                b"" if b"\x1b[K" in part else left)
        return [p[:-3] for p in parts if p.endswith(b"\x1b[K") and
                len(p) > 3], left


def slow(t, delay=1):
    """A mount with one file of four chunks, each of which takes its time."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "large"), "wb") as f:
        for _ in range(4):
            f.write(os.urandom(8 * MIB))
    for i in range(4):
        s.store.fault(proxy.DELAY, "PUT", delay * (1 + i))
    return s, a


def test_bar(t):
    """It moves within one large file, and nothing of it is left."""
    s, a = slow(t)
    term = Terminal([s.program, "commit", a])
    status, out = term.end()
    t.equal(0, status, "status")
    t.true(re.fullmatch(rb"[0-9a-f]{64}\n", out), "output: %r" % out)
    bars, left = term.drawn()
    t.equal(b"", left, "left on the screen")
    some = [b for b in bars if re.search(rb"upload [1-9][0-9]?% \[#+ *\]", b)]
    t.true(some, "no bar of a part: %s" % bars)
    t.true(all(b" MiB of 32.0 MiB" in b and b" left" in b for b in some),
           str(some))
    t.true(all(len(b) < 100 for b in bars), "longer than the terminal")
    t.true(b"nan" not in term.seen and b"-" not in term.seen, "numbers")


def test_narrow(t):
    """In a narrow terminal it stays within one line, without half a word."""
    s, a = slow(t)
    term = Terminal([s.program, "commit", a], columns=24)
    t.equal(0, term.end()[0], "status")
    bars, left = term.drawn()
    t.equal(b"", left, "left on the screen")
    t.true(all(len(b) < 24 for b in bars), str(bars))
    t.true(any(re.fullmatch(rb"upload [1-9][0-9]?%(, \d+:\d\d left)?", b)
               for b in bars), str(bars))


def test_no_terminal(t):
    """No bar without a terminal that can take it away again."""
    s, a = slow(t, 0.3)
    r = t.run([s.program, "commit", a])
    t.equal("", r.stderr, "standard error")
    with open(os.path.join(a, "large"), "r+b") as f:
        f.write(b"changed")
    term = Terminal([s.program, "commit", a], env={"TERM": "dumb"})
    t.equal(0, term.end()[0], "status")
    t.equal(b"", term.seen, "dumb terminal")


def test_interrupt(t):
    """^C takes the bar away and ends the listening; the commit goes on."""
    s, a = slow(t)
    term = Terminal([s.program, "commit", a])
    term.until(t, rb"upload")
    term.process.send_signal(signal.SIGINT)
    t.equal(-signal.SIGINT, term.end()[0], "status")
    t.equal(b"", term.drawn()[1], "left on the screen")
    t.wait_for(lambda: s.daemon.ctl_json("status", a)["job"] is None,
               "the commit to end")
    t.equal(1, len([c for c in s.server.call(
        "GET", "/v1/volumes/v/commits")[1]["commits"] if c["number"] == 1]),
            "commits")


def test_error(t):
    """An error stands alone on the screen."""
    s, a = slow(t)
    s.api.fault(proxy.REFUSE, "^POST .*/commit$", at=400, times=1000)
    term = Terminal([s.program, "commit", a])
    t.equal(1, term.end()[0], "status")
    t.true(term.seen.count(b"sailvolctl: ") == 1 and
           b"\r\x1b[Ksailvolctl: " in term.seen, "screen: %r" % term.seen)


def test_events(t):
    """With -j progress is lines of JSON on standard error, and standard output
    is the result alone."""
    s, a = slow(t)
    r = t.run([s.program, "-j", "commit", a])
    t.equal(1, json.loads(r.stdout)["number"], "result")
    events = [json.loads(line)["progress"] for line in r.stderr.splitlines()]
    t.equal("queue", events[0]["phase"], "the first")
    last = {}
    for e in events[1:]:
        for key in ("files", "bytes", "bytes_sent", "skipped", "hashed"):
            t.true(e[key] >= last.get(key, 0), "%s goes back: %s" % (
                key, events))
        t.true(e["bytes"] <= e["bytes_total"] and e["bytes_per_s"] >= 0 and
               (e["seconds_left"] is None or e["seconds_left"] >= 0), str(e))
        last = e
    t.true(any(0 < e["bytes"] < e["bytes_total"] for e in events[1:]),
           "moves within the file: %s" % events)


def test_reload(t):
    """A reload that takes its time says what it waits for, as a commit does:
    on a terminal, and with -j as lines of JSON on standard error."""
    s = stack.Stack(t, proxied=True)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    deep = "/".join(["d"] * 80)  # the first answer does not reach so far
    os.makedirs(os.path.join(a, deep))
    for n in range(2):
        stack.write(os.path.join(a, deep, "f"), str(n))
        ident = s.commit(a)
        s.api.reset()
        s.api.fault(proxy.DELAY, "/head", at=1)
        s.api.fault(proxy.DELAY, "/nodes", at=0.5, times=9)
        if n == 0:
            term = Terminal([s.program, "reload", b])
            status, out = term.end()
            t.equal((0, ident + "\n"), (status, out.decode()), "reload")
            bars, left = term.drawn()
            t.equal(b"", left, "left on the screen")
            t.true(b"head" in bars, "screen: %s" % bars)
            continue
        r = t.run([s.program, "-j", "reload", b])
        t.equal(ident, json.loads(r.stdout)["commit"], "result")
        events = [json.loads(line)["progress"]
                  for line in r.stderr.splitlines()]
        phases = [e["phase"] for e in events]
        t.equal("queue", phases[0], "the first")
        t.true("head" in phases and "nodes" in phases, "phases: %s" % phases)
        counts = [e["answers"] for e in events[1:]]
        t.equal(sorted(counts), counts, "answers")
        t.true(counts[-1] > 0, "answers: %s" % counts)
