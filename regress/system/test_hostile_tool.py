# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A compromised sailvol-fetch under sailvolctl's get, put and ls: each ends with
0 or 1 and words, or when it is interrupted; nothing is written but where it was
to go, and what ends well is right."""

import collections
import os
import random
import shutil
import signal
import subprocess
import time

from sailtest import deadline, hostile, stack

ENDS_S = 60         # a command with a bad fetch, on a machine that is busy
NTH_WAYS = 16       # of hostile/role.c: how an order names a word and a way
LIES = 9            # ways
WAYS = int(os.environ.get("SAIL_WAYS", "2"))    # of each word
WORDS_MAX = 40
PATIENT_S = 2       # until one that has no answer is interrupted
MIB = 1 << 20


def make_source(top, rng):
    """Some of each kind that a fetch has to do with."""
    os.makedirs(top + "/d/sub/empty")
    for i in range(12):
        stack.write("%s/d/f%d" % (top, i), "%d\n" % i * 500)
    stack.write(top + "/d/nothing", "")
    os.symlink("../f1", top + "/d/sub/link")
    os.setxattr(top + "/d/f0", "user.x", b"y")
    for name, size in (("large", 3 * MIB), ("sub/middle", MIB + 1)):
        with open(top + "/d/" + name, "wb") as f:
            f.write(rng.randbytes(size))


class Tool:
    """sailvolctl beside a fetch that can be bad, in a folder where each of its
    runs may write to one place only."""

    def __init__(self, t):
        t.expect_deaths = True
        self.t, self.seed = t, t.seed()
        self.rng = random.Random(self.seed)
        self.s = stack.Stack(t, daemons=0)
        self.program = os.path.join(hostile.programs(t), "sailvolctl")
        self.where = t.path("machine")
        os.makedirs(self.where + "/out")
        os.mkdir(self.where + "/work")
        self.source = self.where + "/source"
        self.other = self.where + "/other"
        make_source(self.source, self.rng)
        shutil.copytree(self.source, self.other, symlinks=True)
        stack.write(self.where + "/mine", "of another\n")
        status, answer = self.s.server.call("POST", "/v1/volumes",
                                            {"name": "vol"})
        t.equal(201, status, answer)
        self.good("put", self.source + "/d", "vol:")
        self.listing = self.good("ls", "-jR", "vol:d").stdout
        self.did, self.statuses = [0, 0, 0], collections.Counter()
        self.puts = self.interrupted = 0

    def env(self):
        return dict(os.environ, SAIL_API_URL=self.s.url,
                    SAIL_API_KEY=self.s.server.key,
                    XDG_STATE_HOME=self.t.path("state"))

    def good(self, *words, ok=True):
        """By a fetch that is none."""
        return self.t.run([self.s.program] + list(words), ok=ok, env=self.env())

    def outside(self):
        """All of the machine but the place of a get."""
        found = stack.look(self.where, fields=("mode", "uid", "gid", "mtime"))
        return {p: x for p, x in found.items()
                if not p.startswith(b"./out/") and not p.startswith(b"out/")}

    def run(self, mode, seed, percent, *words):
        """Standard output, and whether it says that it went well."""
        what = "%s (%s %d, seed %d)" % (" ".join(words), mode, percent, seed)
        order = hostile.Order(self.t, "fetch", mode, seed, "-", percent)
        before = self.outside()
        # A program that is killed by the test has asked nobody.
        p = subprocess.Popen(
            [self.program] + list(words), env=self.env(),
            cwd=self.where + "/work", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        (out, err), interrupted = self.ends(p, order, what)
        order.end()
        done = order.done()
        self.interrupted += interrupted
        self.did = [a + b for a, b in zip(self.did, done)]
        status = p.returncode
        self.statuses[status] += 1
        self.t.true(done[0] > 0, what + ": the bad one ran")
        if interrupted and status == -signal.SIGINT:
            status = 1          # that needs no word
        else:
            self.t.true(status in (0, 1), "%s: status %d, %s" % (
                what, status, err))
            # With -j its words are its output.
            self.t.true(status == 0 or err.startswith(b"sailvolctl: ") or
                        b'{"error":' in out,
                        "%s: status %d without a word: %r %r" % (
                            what, status, out, err))
        self.t.true(mode == "nth" or status == 1,
                    "%s: it went well without a fetch" % what)
        stack.same(self.t, before, self.outside(), what + ": elsewhere")
        return out, status == 0, what

    def ends(self, p, order, what):
        """What it says, and whether it was interrupted: when it waits for what
        the fetch keeps to itself."""
        end, interrupted = time.monotonic() + ENDS_S, False
        while True:
            try:
                return p.communicate(timeout=PATIENT_S), interrupted
            except subprocess.TimeoutExpired:
                if time.monotonic() >= end:
                    p.kill()
                    self.t.fail("%s does not end: %s" % (
                        what, p.communicate()[1]))
                if order.done()[2] > 0:
                    p.send_signal(signal.SIGINT)
                    interrupted = True

    def ls(self, *how):
        out, good, what = self.run(*how, "ls", "-jR", "vol:d")
        if good:
            self.t.equal(self.listing, out.decode(), what)

    def get(self, *how):
        shutil.rmtree(self.where + "/out")
        os.mkdir(self.where + "/out")
        _, good, what = self.run(*how, "get", "vol:d", self.where + "/out")
        left = [n for n in os.listdir(self.where + "/out")
                if not n.startswith(".sailvolctl-get-")]
        self.t.equal(["d"] if good else [], left, what)
        if good:
            stack.same(self.t, self.look(self.source + "/d"),
                       self.look(self.where + "/out/d"), what)

    @staticmethod
    def look(path):
        return stack.look(path, fields=("mode", "uid", "gid", "mtime"))

    def stream(self, *how):
        want = stack.read_bytes(self.source + "/d/large")
        out, good, what = self.run(*how, "get", "vol:d/large", "-")
        self.t.true(out == want if good else want.startswith(out),
                    "%s: other bytes" % what)

    def put(self, *how):
        """Another name each time; what is there, if anything, is right."""
        self.puts += 1
        name = "put%d" % self.puts
        # Bytes that the server has not got.
        stack.write(self.other + "/d/f2", name)
        with open(self.other + "/d/sub/middle", "r+b") as f:
            f.write(name.encode())
        out, good, what = self.run(*how, "put", self.other + "/d",
                                   "vol:" + name)
        shutil.rmtree(self.t.path("back"), ignore_errors=True)
        back = self.good("get", "vol:" + name, self.t.path("back"), ok=None)
        self.t.true(back.returncode == 0 or not good,
                    "%s: nothing is there: %s" % (what, back.stderr))
        if back.returncode == 0:
            stack.same(self.t, self.look(self.other + "/d"),
                       self.look(self.t.path("back")), what)
        if good:
            head = self.good("log", "-n", "1", "vol").stdout
            self.t.true(out.decode().strip()[:12] in head,
                        "%s: it says %s, the log %s" % (what, out, head))

    def commands(self):
        return self.ls, self.get, self.stream, self.put

    def all(self, mode, times):
        for n in range(times):
            for m, f in enumerate(self.commands()):
                f(mode, self.seed * 1000 + n * 10 + m, 0)

    def each_word(self, f):
        """Of what the fetch says for a command each is spoiled in some ways, one
        alone; how many words these are."""
        for n in range(WORDS_MAX):
            before = self.did[1]
            for way in self.rng.sample(range(LIES), WAYS):
                f("nth", self.rng.randrange(1 << 30), n * NTH_WAYS + way)
                if self.did[1] == before:
                    return n
        self.t.fail("%s has no end of words" % f)
        return 0

    def said(self):
        return "seed %d, ended with %s, %d of them interrupted; %s" % (
            self.seed, dict(self.statuses), self.interrupted, hostile.said(
                {"fetch": tuple(self.did)}))


@deadline(400)
def test_lies(t):
    """It does its work, but for one word that it spoils."""
    x = Tool(t)
    words = {f.__name__: x.each_word(f) for f in x.commands()}
    t.true(min(words.values()) >= 3, "words of commands: %s" % words)
    t.true(x.statuses[0] >= 4 and x.statuses[1] >= 10,
           "how they ended: %s" % x.statuses)
    t.said = "words %s, %s" % (words, x.said())


@deadline(300)
def test_noise(t):
    """It says READY and then sends garbage."""
    x = Tool(t)
    x.all("noise", 3)
    t.true(x.did[1] > 0, "it has sent something")
    t.said = x.said()


@deadline(300)
def test_silence(t):
    """It says READY, and nothing more: the command ends when it is
    interrupted."""
    x = Tool(t)
    x.all("silent", 1)
    t.true(x.did[2] >= 4 and x.interrupted == 4, "each has asked, and waited")
    t.said = x.said()
