# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Whoever waits for a server that never answers can be interrupted, also when
fuse dies meanwhile; what is here is had at once; and nothing is lost."""

import errno
import hashlib
import mmap
import os
import signal
import subprocess
import time

from sailtest import deadline, proxy, stack

SOON_S = 25                     # of a machine that does much else
LARGE = (1 << 20) + 777         # an object of its own
DIRS, FILES = 8, 10
XATTR = 2000                    # a mount brings 64 KiB of directories at once
FOR_EVER = 1 << 30
EIO = (1000 + errno.EIO) & 255  # of a Child


def mapped(path):
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED,
                                          mmap.PROT_READ) as m:
        return m[0] >= 0


class Child:
    """A process of its own that does f(), or runs a program."""

    def __init__(self, name, f=None, argv=None, env=None,
                 handler=signal.SIG_DFL):
        self.name, self.status = name, None
        if argv is not None:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.pid = self.process.pid
            return
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                signal.signal(signal.SIGINT, handler)
                status = 0 if f() in (None, True) else 2
            except OSError as e:
                status = 1000 + e.errno
            except KeyboardInterrupt:
                status = 130
            finally:
                os._exit(status)

    def over(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def waits(self):
        """It sleeps."""
        with open("/proc/%d/stat" % self.pid, encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "SD"


class Place:
    """a, of one daemon, has written what is cold in b, of another."""

    def __init__(self, t):
        self.t, self.sums = t, {}
        self.s = s = stack.Stack(t, daemons=2, proxied=True)
        self.a = s.mount("v", "a", create=True)
        for i in range(DIRS):
            os.mkdir("%s/d%d" % (self.a, i))
            for j in range(FILES):
                path = "%s/d%d/f%d" % (self.a, i, j)
                stack.write(path, "")
                os.setxattr(path, "user.x", os.urandom(XATTR))
        stack.write(self.a + "/warm", "warm")
        for i in range(7):
            data = os.urandom(LARGE)
            self.sums["cold%d" % i] = hashlib.sha256(data).hexdigest()
            with open("%s/cold%d" % (self.a, i), "wb") as f:
                f.write(data)
        self.commits = [s.commit(self.a)]
        there = s.daemons[1]
        self.b, self.c = there.mount("v", "b"), there.mount("v", "c")
        for top in self.b, self.c:
            self.look(top)
        stack.write(self.a + "/new", "new")
        self.commits.append(s.commit(self.a))
        self.held = []

    def look(self, top):
        """What is here."""
        begun = time.monotonic()
        self.t.equal("warm", stack.read(top + "/warm"), "a cached file")
        self.t.true({"cold0", "d1"} <= set(os.listdir(top)), "ls")
        self.t.run(["df", top], timeout=SOON_S)
        self.t.run(["ls", "-l", top], timeout=SOON_S)
        took = time.monotonic() - begun
        self.t.true(took < SOON_S, "what is here took %.1f s" % took)
        return took

    def hold(self):
        for p in self.s.api, self.s.store:
            p.reset()
            self.held.append(p.fault(proxy.HOLD, ".", 0, FOR_EVER))

    def let_go(self):
        for f in self.held:
            f.release()

    def waiting(self, children):
        """All of them sleep, some of them for the server."""
        def all_do():
            for c in children:
                self.t.true(not c.over(), "%s did not wait: %r" % (
                    c.name, c.status))
            return all(c.waits() for c in children)

        self.t.wait_for(lambda: sum(f.done for f in self.held) >= 4,
                        "requests that are held", 60)
        for _ in range(3):
            self.t.wait_for(all_do, "all to wait", 20)
            time.sleep(0.1)

    def interrupt(self, children):
        """The longest that one took to end."""
        begun = time.monotonic()
        for c in children:
            os.kill(c.pid, signal.SIGINT)
        for c in children:
            self.t.wait_for(c.over, "%s to end after ^C" % c.name, SOON_S)
            self.t.true(c.status in (-signal.SIGINT, 130, 1), "%s: %r" % (
                c.name, c.status))
        return time.monotonic() - begun

    # ---- who waits ----

    def calls(self, top, numbers):
        """Of files and directories that are cold in top, each its own."""
        cold = ["%s/cold%d" % (top, n) for n in numbers]

        def change(path):
            fd = os.open(path, os.O_WRONLY)
            os.pwrite(fd, b"x", 5)

        def copy():
            fd = os.open(cold[3], os.O_RDONLY)
            to = os.open(top + "/copy", os.O_WRONLY | os.O_CREAT)
            os.copy_file_range(fd, to, 1 << 20)

        def mapped():
            fd = os.open(cold[4], os.O_RDONLY)
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
                return m[4096] >= 0

        # In a page's read a signal that is handled waits, as with any file
        # system: the kernel's own.  All the others are ended by our answer.
        handled = signal.default_int_handler
        return [
            Child("read", lambda: stack.sha256(cold[0]) ==
                  self.sums[os.path.basename(cold[0])]),
            Child("mmap", mapped)] + [
            Child(name, f, handler=handled) for name, f in (
                ("write", lambda: change(cold[1])),
                ("truncate", lambda: os.truncate(cold[2], 1000)),
                ("copy_file_range", copy),
                ("readdir", lambda: len(os.listdir(top + "/d7")) == FILES),
                ("open", lambda: os.close(
                    os.open(top + "/d6/f3", os.O_RDONLY))),
                ("lookup", lambda: os.stat(top + "/d5/f3") is None),
                ("chmod", lambda: os.chmod(top + "/d4/f3", 0o600)))]

    def commands(self):
        s, sock = self.s, self.s.daemons[1].socket
        stack.write(self.b + "/mine", "mine")
        stack.write(self.c + "/mine, too", "mine")
        env = dict(os.environ, SAIL_API_URL=s.url, SAIL_API_KEY=s.server.key)
        return [Child(words[0], argv=[s.program] + words, env=env)
                for words in (
                    ["commit", self.b], ["reload", self.a],
                    ["ls", "v:"], ["log", "v"], ["log", self.b],
                    ["show", "v"], ["diff", "v"] + self.commits)] + [
            Child(words[0], argv=[s.program, "-s", sock] + words)
            for words in (["mount", "v", s.point("m")],
                          ["umount", "--commit", self.c])]


@deadline(240)
def test_interrupts(t):
    """Each call that waits, and each command; then with fuse killed while they
    wait, whose calls are sent again."""
    p = Place(t)
    p.hold()
    who = p.calls(p.b, range(5)) + p.commands()
    p.waiting(who)
    first = p.interrupt(who)
    interrupted = len(who)
    p.look(p.b)
    os.utime(p.b + "/cold5", (1, 1))    # which needs nobody

    t.expect_deaths = True
    there = p.s.daemons[1]
    who = p.calls(p.b, (5, 4, 3, 2, 6))
    p.waiting(who)
    before = there.pids("fuse")
    there.kill("fuse")
    t.wait_for(lambda: not set(before) & set(there.pids("fuse")) and
               len(there.pids("fuse")) >= 2, "another fuse")
    p.look(p.b)
    p.waiting(who)
    second = p.interrupt(who[1:])
    interrupted += len(who) - 1
    p.let_go()
    t.wait_for(who[0].over, "the reader that went on waiting", 90)
    t.equal(0, who[0].status, "what it read")

    # Nothing is lost of what was interrupted, and nothing of it was done by half.
    stack.write(p.b + "/last", "last")
    p.s.commit(p.b)
    p.s.reload(p.b)
    p.s.reload(p.a)
    seen = stack.look(p.b)
    stack.same(t, stack.look(p.a), seen, "both")
    for name in "mine", "last", "new":
        t.true(b"./" + name.encode() in seen, "%s is there" % name)
    for i in 0, 4, 5, 6:
        t.equal(p.sums["cold%d" % i], seen[b"./cold%d" % i]["sha256"],
                "cold%d" % i)
    t.count("waits interrupted", interrupted)
    t.said = "%d calls and commands: ^C after at most %.1f and %.1f s" % (
        interrupted, first, second)


def test_stopped_server(t):
    """A server that takes connections and never answers: what is here is had,
    also by another fuse."""
    p = Place(t)
    there = p.s.daemons[1]
    server = [p.s.server.process.pid, *p.s.server.roles().values()]
    for pid in server:
        os.kill(pid, signal.SIGSTOP)
    try:
        reader = Child("read", lambda: stack.sha256(p.b + "/cold0") ==
                       p.sums["cold0"])
        first = p.look(p.b)
        there.kill("fuse")
        second = p.look(p.b)
        stack.write(p.b + "/mine", "mine")
        t.true(not reader.over(), "a reader of what is not here waits")
    finally:
        for pid in server:
            os.kill(pid, signal.SIGCONT)
    t.wait_for(reader.over, "the reader", 90)
    t.equal(0, reader.status, "what it read")
    p.s.commit(p.b)
    p.s.reload(p.a)
    t.equal("mine", stack.read(p.a + "/mine"), "what was written")
    t.said = "%.1f s, and %.1f s after a death" % (first, second)


@deadline(240)
def test_once(t):
    """A read that nobody answers waits for half a minute, and not once more for
    the page that it was about; then what comes can be read."""
    p = Place(t)
    begun, took = time.monotonic(), {}

    def read(path):
        def wait():
            with open(path, "rb", 0) as f:
                f.read(4096)
        return wait

    p.hold()
    who = [Child(name, read(p.b + "/" + name)) for name in ("cold0", "cold1")]
    who.append(Child("mapped", lambda: mapped(p.b + "/cold2")))

    def all_over():
        for c in who:
            if c.over():
                took.setdefault(c.name, time.monotonic() - begun)
        return len(took) == len(who)

    t.wait_for(all_over, "EIO", 120)
    p.let_go()
    for c, status in zip(who, (EIO, EIO, -signal.SIGBUS)):
        t.equal(status, c.status, c.name)
    t.true(29 < min(took.values()), "they wait: %s" % took)
    t.true(max(took.values()) < 50, "and once: %s" % took)
    for i in range(3):
        def there(i=i):
            try:
                return stack.sha256("%s/cold%d" % (p.b, i)) == \
                    p.sums["cold%d" % i]
            except OSError:
                return False
        t.wait_for(there, "cold%d" % i, 60)
    t.said = ", ".join("%.1f s" % s for s in took.values())
