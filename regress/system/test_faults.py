# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Each fault of a hostile network and store, at the API and at the store, against
each promise: what is here goes on at once, what is not is right or EIO, commit,
reload and mount succeed or say why, nothing is lost, and nothing is done twice."""

import contextlib
import errno
import hashlib
import os
import queue
import signal
import subprocess
import threading
import time

from sailtest import deadline, proxy, stack

# Nothing is waited for; a machine that does much else takes its time.
SOON_S = 10
# A request is tried for 30 s; a commit goes on with the next until 25 s after
# the first has ended.
READ_S, COMMIT_S = 30, 65
SLOW = 3
LARGE = (1 << 20) + 4321        # an object of its own
XATTR = 2000                    # a mount brings 64 KiB of directories at once
DIRS, FILES = 7, 10
FOR_EVER = 1 << 30
AT_ONCE = 2                     # volumes that are made

# kind, at; what it is at the API and at the store.
FAULTS = {
    "slow": (proxy.DELAY, 0.5),
    "repeated request": (proxy.REPEAT, 0),
    "answered twice": (proxy.TWICE, 0),
    "403": (proxy.REFUSE, 403),
    "429": (proxy.REFUSE, 429),
    "500": (proxy.REFUSE, 500),
    "503": (proxy.REFUSE, 503),
    "cut": (proxy.CUT, 7),
    "half a head": (proxy.HALF, 0),
    "wrong bytes": (proxy.CORRUPT, 0),
    "closed": (proxy.CLOSE, 0),
    "reset": (proxy.RST, 0),
    "no answer": (proxy.HOLD, 0),
}
HARMLESS = ("slow", "repeated request")
# At the store a second answer may be taken for that to the next request: of an
# object that is found by its hash.  One of the API says to which request it is.
HARMLESS_AT_API = HARMLESS + ("answered twice",)
# Of these a second try is of no use, or nobody knows that it would be.
FINAL = ("403", "wrong bytes")
PLACES = ("api", "store")
# Of these a commit is waited for until it gives up; of the others until they
# are over.
TO_THE_END = ("no answer",)


class Call:
    """A program that was started, its end, and how long it took."""

    def __init__(self, name, argv, out=None):
        self.name, self.out = name, out
        self.begun = time.monotonic()
        with contextlib.ExitStack() as files:
            to = subprocess.PIPE
            if out is not None:
                to = files.enter_context(open(out, "wb"))
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=to,
                stderr=subprocess.PIPE)

    def end(self, limit_s):
        """Exit status, or None: it is still there."""
        try:
            out, err = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return None
        self.took = time.monotonic() - self.begun
        self.text, self.err = out, err.decode("utf-8", "replace")
        return self.process.returncode

    def __repr__(self):
        return "%s: status %r after %.1f s, %r" % (
            self.name, self.process.returncode, self.took, self.err)


class Row:
    """One fault at one place, with a volume of its own: `there' writes it, and
    `here' is the mount that the fault is tried at."""

    def __init__(self, t, s, number, fault, place):
        self.t, self.s, self.fault, self.place = t, s, fault, place
        self.name = "%s at the %s" % (fault, place)
        self.volume = "v%d" % number
        self.there, self.here, self.third = (
            s.point("%s-%s" % (self.volume, m)) for m in "abc")
        self.files = {}         # name: SHA-256
        self.calls = self.met = 0
        self.mounted = None     # the third
        self.slowest = 0.0
        self.failed = []

    # ---- before ----

    def write(self, top, name, size):
        data = os.urandom(size)
        fd = os.open(os.path.join(top, name),
                     os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        self.files[name] = hashlib.sha256(data).hexdigest()

    def prepare(self):
        s = self.s
        s.daemons[0].mount(self.volume, self.volume + "-a", create=True)
        for i in range(DIRS):
            os.mkdir("%s/d%d" % (self.there, i))
            for j in range(FILES):
                path = "%s/d%d/f%d" % (self.there, i, j)
                stack.write(path, "")
                os.setxattr(path, "user.x", os.urandom(XATTR))
        self.write(self.there, "warm", 3000)
        for i in range(3):
            self.write(self.there, "cold%d" % i, LARGE)
        s.commit(self.there)
        self.ids = s.daemons[1].mount(self.volume, self.volume + "-b")
        self.look_at_warm()
        # Something that is new to the other, whom the fault meets too.
        self.write(self.here, "first", 100)
        s.commit(self.here)
        volume = s.server.call("GET", "/v1/volumes/" + self.volume)[1]["id"]
        key = s.object_key(self.files["cold0"])
        self.pattern = (" /v1/volumes/(%s|%s)([/?]|$)" % (
            self.volume, volume) if self.place == "api" else
            "/%s/" % key.split("/")[-3])
        self.proxy = s.api if self.place == "api" else s.store

    def look_at_warm(self):
        """What is here, and needs nobody: at once."""
        begun = time.monotonic()
        self.t.equal(self.files["warm"], stack.sha256(self.here + "/warm"),
                     self.name + ": a cached file")
        self.t.equal({"warm", "cold0", "d0"} - set(os.listdir(self.here)),
                     set(), self.name + ": ls")
        os.statvfs(self.here)
        os.stat(self.here + "/cold1")
        self.calls += 4
        self.soon("what is here", begun)

    def soon(self, what, begun):
        took = time.monotonic() - begun
        self.slowest = max(self.slowest, took)
        self.t.true(took < SOON_S, "%s: %s took %.1f s" % (
            self.name, what, took))

    @contextlib.contextmanager
    def faulty(self, times):
        kind, at = FAULTS[self.fault]
        f = self.proxy.fault(kind, self.pattern, at, times)
        try:
            yield f
        finally:
            self.met += f.done
            f.release()

    # ---- the calls ----

    def read(self, name):
        out = self.s.t.path("%s.%s" % (self.volume, name))
        return Call("read", ["cat", "%s/%s" % (self.here, name)], out)

    def ctl(self, *args):
        return Call(args[2] if args[0] == "-s" else args[0],
                    [self.s.program, *args])

    def expect(self, call, limit_s, right=None, needed=False, status=1):
        """It has ended in time, well or with words; 1: well."""
        rc = call.end(limit_s * SLOW)
        self.calls += 1
        self.t.true(rc is not None, "%s: %s: not done after %d s" % (
            self.name, call.name, limit_s * SLOW))
        what = "%s: %r" % (self.name, call)
        if rc == 0:
            if right is not None:
                right(call)
            return True
        self.t.true(not needed, what)
        self.failed.append(call.name)
        self.t.equal(status, rc, what)
        if call.name in ("read", "ls", "stat"):
            self.t.true(os.strerror(errno.EIO) in call.err, what)
        else:
            self.t.true(call.err.startswith("sailvolctl: ") and
                        len(call.err) > 30, what)
        return False

    def right(self, name):
        def check(call):
            self.t.equal(self.files[name], stack.sha256(call.out),
                         "%s: content of %s" % (self.name, name))
        return check

    def listed(self, call):
        self.t.equal({"f%d" % i for i in range(FILES)},
                     set(call.text.decode().split()), self.name + ": ls")

    # ---- the course ----

    def harmless(self, place):
        """What needs only the other place, or is merely slow."""
        return self.place != place or self.fault in (
            HARMLESS_AT_API if place == "api" else HARMLESS)

    def for_a_moment(self):
        """It is tried again, and nobody hears of it."""
        needed = self.fault not in (
            FINAL if self.place == "api" else ("answered twice",))
        self.write(self.here, "second", LARGE)
        with self.faulty(2) as f:
            calls = [self.read("cold0"), self.ctl("commit", self.here)]
            if self.fault == "no answer":
                self.t.wait_for(lambda: f.done > 1, self.name + ": held", 60)
                f.release()
            self.expect(calls[0], READ_S, self.right("cold0"), needed)
            self.expect(calls[1], COMMIT_S, needed=needed)
        self.s.commit(self.here)

    def for_ever(self):
        api, store = self.harmless("api"), self.harmless("store")
        with self.faulty(FOR_EVER) as fault:
            interrupted = self.read("cold2")
            reader = self.read("cold1")
            lister = Call("ls", ["ls", self.here + "/d6"])
            looker = Call("stat", ["stat", self.here + "/d5/f3"])
            begun = time.monotonic()
            self.write(self.here, "third", LARGE)
            os.rename(self.here + "/third", self.here + "/renamed")
            self.files["renamed"] = self.files.pop("third")
            self.calls += 3
            self.soon("a change", begun)
            reload = self.ctl("reload", self.there)
            commit = self.ctl("commit", self.here)
            mount = self.place == "api" and self.ctl(
                "-s", self.s.daemons[0].socket, "mount", self.volume,
                self.third)
            self.look_at_warm()
            if interrupted.end(1) is None:
                begun = time.monotonic()
                interrupted.process.send_signal(signal.SIGINT)
                rc = interrupted.end(SOON_S * SLOW)
                self.t.true(rc in (0, 1, -signal.SIGINT), "%s: ^C: %r" % (
                    self.name, rc))
                self.soon("^C", begun)
            self.expect(reader, READ_S, self.right("cold1"), api and store)
            self.expect(lister, READ_S, self.listed, api, 2)
            self.expect(looker, READ_S, None, api)
            self.expect(reload, READ_S, None, api)
            if mount:
                self.mounted = self.expect(mount, READ_S, None, api)
            self.look_at_warm()
            if self.fault not in TO_THE_END:
                fault.release()
            done = self.expect(commit, COMMIT_S, None, api and store)
            self.t.true(not (done and self.fault in TO_THE_END),
                        self.name + ": what the commit heard")

    def look(self, top):
        """All of it.  A read may share in the end of one that met the fault,
        and was interrupted."""
        end = time.monotonic() + READ_S * SLOW
        while True:
            try:
                return stack.look(top)
            except OSError as e:
                self.t.equal(errno.EIO, e.errno, self.name + ": afterwards")
                self.t.true(time.monotonic() < end,
                            "%s: %s does not heal" % (self.name, top))
                time.sleep(0.1)

    def afterwards(self):
        s, t = self.s, self.t
        last = s.commit(self.here)
        if self.mounted is False:
            s.daemons[0].mount(self.volume, self.volume + "-c")
        for top in (self.there, self.here) + (self.third,) * (
                self.mounted is not None):
            t.equal(last, s.reload(top), self.name + ": reload")
            seen = self.look(top)
            t.equal(self.files, {
                os.fsdecode(n[2:]): i["sha256"] for n, i in seen.items()
                if "sha256" in i and n.startswith(b"./")}, self.name + ": files")
            t.equal(DIRS * (FILES + 1) + len(self.files), len(seen),
                    self.name + ": all")
        numbers = [c["number"] for c in s.server.call(
            "GET", "/v1/volumes/%s/commits" % self.volume)[1]["commits"]]
        t.equal([4, 3, 2, 1, 0], numbers, self.name + ": commits")

    def run(self, ready):
        try:
            self.prepare()
        finally:
            ready.release()
        self.for_a_moment()
        self.for_ever()
        self.afterwards()
        self.t.true(self.met > 2, "%s: nobody met it" % self.name)
        return self


@deadline(420)
def test_faults(t):
    s = stack.Stack(t, daemons=2, proxied=True)
    rows = [(fault, place) for fault in reversed(FAULTS) for place in PLACES]
    if s.server.store is not None:
        # Which lies to the server, too: it takes the chunks for lost, and looks
        # for them again after ten minutes.
        rows.remove(("wrong bytes", "store"))
    ends, ready = queue.Queue(), threading.Semaphore(0)

    def run(number, fault, place):
        try:
            ends.put(Row(t, s, number, fault, place).run(ready))
        except BaseException as e:
            ends.put(e)
            raise

    # Nearly all of it is waiting; the longest begin first.
    for i, row in enumerate(rows):
        threading.Thread(target=run, args=(i, *row), daemon=True).start()
        if i >= AT_ONCE - 1:
            ready.acquire()
    done = []
    for _ in rows:
        done.append(ends.get())
        if not isinstance(done[-1], Row):
            raise done[-1]
    for row in done:
        print("%s: met %d times; with an error: %s" % (
            row.name, row.met, ", ".join(row.failed) or "nothing"))
    t.count("faults tried", len(done))
    t.count("faults met", sum(r.met for r in done))
    t.said = ("%d faults tried, met %d times, by %d calls; what needs nobody "
              "took at most %.1f s" % (
                  len(done), sum(r.met for r in done),
                  sum(r.calls for r in done), max(r.slowest for r in done)))


def test_another_volume(t):
    """The answer to another question is none: a head of another volume, which is
    here too, is refused by mount and reload, and the right one comes later."""
    s = stack.Stack(t, proxied=True)
    a, b = s.mount("v", "a", create=True), s.mount("w", "b", create=True)
    stack.write(a + "/mine", "mine")
    stack.write(b + "/theirs", "theirs")
    s.commit(a)
    s.commit(b)
    for question in "", "?have=" + s.commit(b):
        status, headers, head = s.server.raw(
            "GET", "/v1/volumes/w/head" + question, None,
            {"Authorization": "Bearer " + s.server.key})
        t.equal(200, status, "a head")
        wrong = proxy.answer(200, headers["content-type"].encode(), head)
        for words in (["reload", a], ["-s", s.daemon.socket, "mount", "v",
                                      s.point("c")]):
            s.api.fault(proxy.ANSWER, "/head", wrong)
            out = s.ctl(*words, ok=1)
            t.true("a commit of another volume" in out.stderr, out.stderr)
    c = s.mount("v", "c")
    s.reload(a)
    for top in a, c:
        t.equal(["mine"], os.listdir(top), "what is there")


def test_forgotten_session(t):
    """A server that lost its power may have forgotten the session of a commit: it
    is told again, whatever it was asked, and the commit is done, once."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    said = proxy.api_error(404, "session_not_found")
    for n, question in enumerate(("chunks", "packs", "commit"), 1):
        for i, size in enumerate([3000] * 20 + [LARGE]):
            with open("%s/f%d-%d" % (a, n, i), "wb") as f:
                f.write(os.urandom(size))
        fault = s.api.fault(proxy.ANSWER, "/sessions/[0-9a-f]+/%s$" % question,
                            said)
        told = s.api.count("PUT .*/sessions/[0-9a-f]+$")
        s.commit(a)
        t.equal(1, fault.done, question + ": met")
        t.equal(told + 2, s.api.count("PUT .*/sessions/[0-9a-f]+$"),
                question + ": told")
        t.equal(n, s.server.call("GET", "/v1/volumes/v/commits")[1]["commits"][
            0]["number"], question + ": commits")
    b = s.mount("v", "b")
    stack.same(t, stack.look(a, fields=()), stack.look(b, fields=()), "a and b")
