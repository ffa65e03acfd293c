# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What the kernel asks of a mount, counted by status: each operation brings
the requests that it must, and no other."""

import os

from sailtest import caches, stack


class Counter:
    """Requests between two looks."""

    def __init__(self, daemon, path):
        caches.keep()
        self.daemon, self.path = daemon, path
        self.before = self.read()

    def mount(self):
        for m in self.daemon.ctl_json("status")["daemon"]["mounts"]:
            if m["path"] == self.path:
                return m
        return None

    def read(self):
        return self.mount()["requests"]

    def count(self, opcode):
        return self.read().get(opcode, 0) - self.before.get(opcode, 0)

    def since(self):
        """{opcode: how many}, without what is taken back some time later."""
        now = self.read()
        out = {k: v - self.before.get(k, 0) for k, v in now.items()}
        self.before = now
        return {k: v for k, v in out.items()
                if v != 0 and k not in ("FORGET", "BATCH_FORGET")}


def awake(daemon, path):
    return Counter(daemon, path).mount()["awake"]


def test_awake(t):
    """Processors are kept awake in a burst, and not when sailvold.conf says
    so, which SIGHUP changes; a new fuse goes on with it."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    t.true(awake(d, a)["by"] in ("looking", "cpu_dma_latency"), awake(d, a))

    def burst():
        for i in range(200):
            os.mkdir(os.path.join(a, "d%d" % i))
        for i in range(200):
            os.rmdir(os.path.join(a, "d%d" % i))
        return awake(d, a)["bursts"] > 0
    t.wait_for(burst, "a burst")
    with open(d.conf, encoding="utf-8") as f:
        good = f.read()
    t.write("sailvold0/sailvold.conf", good + "processors awake no\n")
    d.hup()
    t.wait_for(lambda: awake(d, a)["by"] == "no", "no")
    before = awake(d, a)["bursts"]
    burst()
    t.equal(before, awake(d, a)["bursts"], "bursts")
    pids = d.pids("fuse")
    d.kill("fuse")
    t.wait_for(lambda: d.pids("fuse") not in ([], pids), "another fuse")
    t.equal([], os.listdir(a), "names")
    t.equal("no", awake(d, a)["by"], "after a takeover")
    t.write("sailvold0/sailvold.conf", good + "processors awake yes\n")
    d.hup()
    t.wait_for(lambda: awake(d, a)["by"] != "no", "yes")


def create(path, data=b"x" * 4096):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, data)
    os.close(fd)


def walk(top):
    """Entries below it, each looked at, as find(1) and ls -lR do."""
    n = 0
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            os.lstat(os.path.join(where, name))
            n += 1
    return n


def test_changes(t):
    """Of each change, as many requests as it must bring: a look-up of a name
    that is not known, the change, the attributes of the directory."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    d = os.path.join(a, "d")
    os.mkdir(d)
    written = s.daemon.ctl_json("status", a)["passthrough"] != "on"
    c = Counter(s.daemon, a)
    n = 50
    paths = [os.path.join(d, "f%d" % i) for i in range(n)]

    def check(what, want, attributes=0):
        """attributes: of the directory, after each change but perhaps one."""
        # Nobody waits for a RELEASE.
        t.wait_for(lambda: c.count("RELEASE") >= want.get("RELEASE", 0), what)
        got = c.since()
        t.true(got.pop("GETATTR", 0) in (attributes - 1, attributes,
                                         attributes + 1), "%r" % got)
        if "WRITE" in want and not written:
            # Those of a burst that no file was ready for are plain.
            t.true(got.pop("WRITE", 0) <= n - 16, "%r" % got)
            del want["WRITE"]
        t.equal(want, got, what)

    for p in paths:
        create(p)
    # A write asks once whether there are capabilities to be taken away.
    check("create, write, close", {
        "LOOKUP": n, "CREATE": n, "GETXATTR": n, "WRITE": n, "RELEASE": n}, n)
    for p in paths:
        os.stat(p)
    check("stat after a write", {}, n)
    for p in paths:
        os.stat(p)
    check("stat", {})
    for p in paths:
        t.true(not os.path.exists(p + "not"), p)
    check("a name that is not there", {"LOOKUP": n})
    for p in paths:
        t.true(not os.path.exists(p + "not"), p)
    check("a name that is known not to be there", {})
    for p in paths:
        with open(p, "rb", buffering=0) as f:
            f.read(4096)
    check("open, read, close", {"OPEN": n, "RELEASE": n})
    for p in paths:
        os.rename(p, p + "x")
    check("rename", {"LOOKUP": n, "RENAME": n}, n)
    for p in paths:
        os.unlink(p + "x")
    check("unlink", {"UNLINK": n}, n)
    for p in paths:
        os.mkdir(p)
    # rename(2) leaves nothing at the old name, not that there is none.
    check("mkdir", {"LOOKUP": n, "MKDIR": n}, n)
    for p in paths:
        os.rmdir(p)
    check("rmdir", {"RMDIR": n}, n)


def test_trees(t):
    """A tree that is known is walked without a request; unpacking one and
    removing it bring no request that they need not."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    c = Counter(s.daemon, a)
    dirs, files = 20, 30
    top = os.path.join(t.dir, "tree")
    for i in range(dirs):
        os.makedirs(os.path.join(top, "d%02d" % i))
        for k in range(files):
            create(os.path.join(top, "d%02d" % i, "f%02d" % k), b"x")
    entries = dirs * (files + 1)
    t.run(["tar", "cf", t.path("tar"), "-C", top, "."])
    t.run(["tar", "xf", t.path("tar"), "-C", a])
    got = c.since()
    t.equal(dirs, got["MKDIR"], "mkdir")
    t.equal(dirs * files, got["CREATE"], "create")
    t.equal(0, got.get("STATFS", 0) + got.get("FLUSH", 0), "%r" % got)
    t.true(got["LOOKUP"] <= entries + 5, "%r" % got)
    # Of root's tar(1): owner, mode and times.
    t.true(got["SETATTR"] <= 3 * entries + 5, "%r" % got)
    # A write and a change of the owner ask for capabilities.
    t.true(got["GETXATTR"] <= 2 * dirs * files, "%r" % got)
    t.true(got["GETATTR"] <= entries + dirs + 5, "%r" % got)
    t.equal(entries, walk(a), "entries")
    got = c.since()
    t.equal({}, {k: v for k, v in got.items()
                 if k not in ("READDIR", "READDIRPLUS", "GETATTR")}, "walk")
    t.true(got.get("READDIR", 0) + got.get("READDIRPLUS", 0)
           <= 2 * (dirs + 1), "%r" % got)
    # Names that were read move the directory's atime in the kernel's eyes.
    t.equal(entries, walk(a), "entries")
    got = c.since()
    t.true(got.pop("GETATTR", 0) <= dirs + 1, "%r" % got)
    t.equal({}, got, "walk of what is known")
    for _ in range(2):
        t.equal(entries, walk(a), "entries")
        t.run(["ls", "-laR", a])
        t.run(["find", a, "-type", "f", "-size", "+1k"])
        got = c.since()
        got.pop("GETXATTR", None)  # ls asks for ACLs
        t.equal({}, got, "a tree that is known")
    t.run(["rm", "-r"] + [os.path.join(a, "d%02d" % i) for i in range(dirs)])
    got = c.since()
    t.equal((dirs * files, dirs), (got.pop("UNLINK"), got.pop("RMDIR")), "rm")
    t.true(got.pop("GETATTR", 0) <= entries + 5, "%r" % got)
    t.equal({}, got, "rm -r")


def types(path):
    """{name: d_type} as the directory has them, without a stat."""
    with os.scandir(path) as entries:
        return {e.name: e.is_dir(follow_symlinks=False) for e in entries}


def test_reload_tells(t):
    """A reload takes from the kernel what changed and no more: of one changed
    file among 10,000 known ones its name and its directory's list; lists that
    the kernel keeps show what came, went and became something else."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for i in range(10000):
        if i % 100 == 0:
            os.mkdir(os.path.join(a, "d%04d" % (i // 100)))
        with open(os.path.join(a, "d%04d" % (i // 100), "f%05d" % i), "wb"):
            pass
    s.commit(a)
    b = s.mount("v", "b")
    t.equal(10100, walk(b), "names in b")
    t.equal(10100, walk(b), "names in b, again")

    def lines():
        return [line for line in s.daemon.log().splitlines()
                if "told the kernel" in line and b in line]

    def told(before):
        t.wait_for(lambda: len(lines()) > before, "the line of the log")
        return int(lines()[-1].split("told the kernel ")[1].split(",")[0])

    def changed(name):
        """Requests of a walk after a reload of one changed file."""
        with open(os.path.join(a, "d0007", name), "wb") as f:
            f.write(b"changed")
        before = len(lines())
        s.share(a, b)
        n = told(before)
        t.true(n <= 2, "%d notifications" % n)
        with open(os.path.join(b, "d0007", name), "rb") as f:
            t.equal(b"changed", f.read(), "content")
        c = Counter(s.daemon, b)
        t.equal(10100, walk(b), "names in b, after a reload")
        got = c.since()
        got.pop("GETATTR", None)
        return got

    # Pages that hold a list may be taken back for want of memory.
    counts = [changed("f0070%d" % i) for i in (1, 2, 3)]
    t.true(min(sum(got.values()) for got in counts) <= 4, "%r" % counts)

    # What the kernel has no entry of comes too.
    where = os.path.join(a, "d0008")
    os.mkdir(os.path.join(where, "new"))
    os.unlink(os.path.join(where, "f00801"))
    os.unlink(os.path.join(where, "f00802"))
    os.mkdir(os.path.join(where, "f00802"))
    os.rename(os.path.join(a, "d0009"), os.path.join(a, "e0009"))
    s.share(a, b)
    for path in ("", "d0008", "e0009"):
        t.equal(types(os.path.join(a, path)), types(os.path.join(b, path)),
                "names in /%s" % path)
    t.equal(10100, walk(b), "names in b, after another")
