# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What changed in a mount may be very much: while it is looked through, others
are served."""

import json
import os
import socket
import threading
import time

from sailtest import deadline, stack

# So that one look through them takes many turns.
FILES = int(os.environ.get("SAIL_TEST_FILES", "6000"))
SOON_S = 60
TRIES = 12  # of which one shows it: others had the machine in the others
LOOKS = 4
PART = 0.4


class Client:
    """A client of the control socket: what a request took, and its answer."""

    def __init__(self, d):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(d.socket)
        self.s.settimeout(SOON_S * 5)

    def ask(self, **request):
        began = time.monotonic()
        self.s.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while True:
            while b"\n" not in data:
                more = self.s.recv(65536)
                if not more:
                    raise EOFError(data)
                data += more
            line, data = data.split(b"\n", 1)
            line = json.loads(line)
            if "result" in line or "error" in line:
                return time.monotonic() - began, line


class Looks:
    """The state of another mount and what changed there, again and again."""

    def __init__(self, s, path):
        self.c, self.path = Client(s.daemon), path
        self.ended, self.longest, self.n = False, 0, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended:
            took = [self.c.ask(request=what, path=self.path)[0]
                    for what in ("status", "diff")]
            self.longest = max(self.longest, *took)
            self.n += len(took)

    def end(self, t):
        self.ended = True
        self.thread.join(SOON_S)
        t.true(not self.thread.is_alive(), "another mount has no answer")


def fill(path, n):
    """Empty files, a thousand in each folder."""
    for i in range(n):
        if i % 1000 == 0:
            os.mkdir(os.path.join(path, "%04d" % (i // 1000)))
        os.mknod(os.path.join(path, "%04d" % (i // 1000), "f%d" % i), 0o600)


def beside(t, s, other, what, call):
    """Another mount beside a call, none of whose looks took a large part of it:
    the answer of the call."""
    said = ""
    for _ in range(TRIES):
        looks = Looks(s, other)
        began = time.monotonic()
        out = call()
        took = time.monotonic() - began
        looks.end(t)
        said = "%s took %.3f s, of %d looks into another mount the longest " \
            "%.3f s" % (what, took, looks.n, looks.longest)
        if looks.n >= LOOKS and looks.longest < PART * took:
            t.said += ("; " if t.said else "") + said
            return out
    t.fail("another mount waited: at last " + said)


@deadline(300)
def test_many(t):
    """diff, and what is refused because of changes, hold up no other mount."""
    s = stack.Stack(t)
    t.said = ""
    a, other = s.mount("v", "a", create=True), s.mount("o", "o", create=True)
    stack.write(os.path.join(other, "f"), "x")
    fill(a, FILES)
    c = Client(s.daemon)
    c.ask(request="diff", path=a, limit=1)  # all is applied
    out = beside(t, s, other, "diff",
                 lambda: c.ask(request="diff", path=a, limit=1)[1])
    t.equal(FILES + FILES // 1000, out["result"]["count"], "%s" % out)
    out = beside(t, s, other, "reload --if-clean", lambda: c.ask(
        request="reload", path=a, if_clean=True)[1])
    t.equal("dirty", out["error"]["code"], "%s" % out)
