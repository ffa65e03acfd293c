# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Large, sparse and many clean files, read and changed by several processes,
while roles of the daemon are killed and commits go on: no call fails, and both
mounts show the same afterwards."""

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import time

from sailtest import error_of, proxy, stack

BOTH_STORES = True

OLD = 10 ** 18
MIB = 1 << 20


def put(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)
    os.utime(path, ns=(OLD, OLD))


def get(path):
    with open(path, "rb") as f:
        return f.read()


def local(top):
    """stack.look(); a directory that was removed and made again is the same
    operation as none, so its number may be the old one."""
    found = stack.look(top)
    for item in found.values():
        if stat.S_ISDIR(item["type"]):
            del item["ino"]
    return found


def test_no_content_for_attributes(t):
    """chmod, chown, utimens, xattrs, rename, link and truncation to nothing of
    a clean file bring no byte of it; neither does the commit of that."""
    s = stack.Stack(t, daemons=2, proxied=True)
    a = s.mount("v", "a", create=True)
    for n in range(8):
        put(a + "/f%d" % n, os.urandom(2 * MIB))
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    s.store.reset()
    os.chmod(b + "/f0", 0o600)
    os.chown(b + "/f1", 3, 4)
    os.utime(b + "/f2", ns=(5, 6))
    os.setxattr(b + "/f3", "user.x", b"y" * 2000)
    os.rename(b + "/f4", b + "/g4")
    os.link(b + "/f5", b + "/g5")
    os.truncate(b + "/f6", 0)
    with open(b + "/f7", "wb") as f:
        f.write(b"new")
    first = s.commit(b)
    t.equal([], s.store.matching("^GET "), "requests for content")
    t.true(sum(r.up for r in s.store.matching("^PUT ")) < 10000, "sent: %r" % (
        s.store.requests,))
    t.equal((first, first), (s.reload(a), s.reload(b)), "reloads")
    want = stack.look(b)
    del want[b"./g5"]["ino"]        # a file of its own from now on
    got = stack.look(a)
    del got[b"./g5"]["ino"]
    stack.same(t, want, got, "A and B")


def test_links_part(t):
    """Names of one file are files of their own after the reload that shows
    them as committed: a change of one is none of the other."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    put(a + "/f", b"one")
    s.share(a, b)
    os.link(b + "/f", b + "/g")
    s.commit(b)
    s.reload(b)
    t.equal((b"one", b"one"), (get(b + "/f"), get(b + "/g")), "before")
    with open(b + "/g", "ab") as f:
        f.write(b" two")
    shown = get(b + "/f"), get(b + "/g")
    s.commit(b)
    s.reload(a)
    t.equal(shown, (get(a + "/f"), get(a + "/g")), "what was shown in B")
    t.equal((b"one", b"one two"), shown, "names that parted")
    t.true(os.stat(b + "/f").st_ino != os.stat(b + "/g").st_ino, "st_ino")


def test_links_taken(t):
    """One of two names of a file is changed, removed or made a directory by
    another mount: after the reload the other name is a file of its own, for
    whoever looks at it or changes it first."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    takes = {
        "changed": lambda p: put(p, b"of another"),
        "removed": os.unlink,
        "replaced": lambda p: (os.unlink(p), os.mkdir(p)),
    }
    looks = {
        "stat": lambda p: None,
        "mode": lambda p: os.chmod(p, 0o600),
        "xattr": lambda p: os.setxattr(p, "user.x", b"y"),
        "write": lambda p: put(p, b"one"),
    }
    names = [(take, how) for take in takes for how in looks]
    for take, how in names:
        os.makedirs("%s/%s/%s" % (a, take, how))
        put("%s/%s/%s/f" % (a, take, how), b"one")
    s.share(a, a, b)
    for take, how in names:
        top = "/%s/%s/" % (take, how)
        os.link(a + top + "f", a + top + "g")
        t.equal(2, os.stat(a + top + "g").st_nlink, "before")
        takes[take](b + top + "f")
    s.commit(b)
    s.commit(a)
    s.reload(a)
    wrong = []
    for take, how in names:
        f, g = ("%s/%s/%s/%s" % (a, take, how, n) for n in "fg")
        said = error_of(looks[how], g)
        st = os.stat(g)
        shared = os.path.exists(f) and os.stat(f).st_ino == st.st_ino
        if (said, st.st_nlink, shared, get(g)) != ("done", 1, False, b"one"):
            wrong.append("%s, %s: %s, %d links, %r%s" % (
                take, how, said, st.st_nlink, get(g),
                ", st_ino of the other" if shared else ""))
    t.equal([], wrong, "names that are left")


def test_links_lost(t):
    """A name that is left of two is written to at once after a reload: what is
    acknowledged is in it, and it counts one."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    names = [a + "/g%d" % i for i in range(1000)]
    for name in names:
        put(a + "/f", b"one")
        os.link(a + "/f", name)
        os.unlink(a + "/f")
    s.commit(a)
    s.reload(a)
    links = []
    for name in reversed(names):
        with open(name, "ab") as f:
            f.write(b" two")
            links.append(os.fstat(f.fileno()).st_nlink)
    t.equal([1] * len(names), links, "st_nlink")
    # What the kernel remembers is forgotten.
    s.daemon.stop()
    s.daemon.start()
    t.wait_for(lambda: os.path.exists(a + "/.sailvol"), "the mount")
    t.equal([], [name for name in names if get(name) != b"one two"],
            "names without what was written")


def test_big(t):
    """100 MiB, one byte changed, and appended: the rest is as it was."""
    s = stack.Stack(t, daemons=2, proxied=True)
    a = s.mount("v", "a", create=True)
    block = os.urandom(MIB)
    twin = t.path("twin")
    for path in (a + "/big", twin):
        with open(path, "wb") as f:
            for i in range(100):
                f.write(b"%08d" % i + block[8:])
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    s.store.reset()
    for path in (b + "/big", twin):
        with open(path, "r+b") as f:
            f.seek(50 * MIB + 123)
            f.write(b"!")
            f.seek(0, 2)
            f.write(b"tail")
    down = s.store.bytes("^GET ")
    s.commit(b)
    t.true(down <= 101 * MIB, "fetched more than once: %d" % down)
    s.reload(a)
    want = stack.sha256(twin)
    t.equal(want, stack.sha256(a + "/big"), "A")
    t.equal(want, stack.sha256(b + "/big"), "B")



def test_utimens_while_copied(t):
    """mtime that is set while a clean file is copied up for a writer stays."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    paths = [a + "/f%d" % i for i in range(8)]
    for path in paths:
        with open(path, "wb") as f:
            f.write(os.urandom(MIB) * 32)
    s.commit(a)
    s.reload(a)
    for i, path in enumerate(paths):
        get(path)
        writer = threading.Thread(
            target=lambda p=path: os.close(os.open(p, os.O_RDWR)))
        writer.start()
        time.sleep(0.005 * i)
        os.utime(path, ns=(10 ** 18, 10 ** 18))
        writer.join()
    # What the kernel remembers is forgotten.
    s.daemon.stop()
    s.daemon.start()
    t.wait_for(lambda: os.path.exists(a + "/.sailvol"), "the mount")
    t.equal([10 ** 18] * len(paths),
            [os.stat(path).st_mtime_ns for path in paths], "mtimes")


def holes(path):
    """[(offset, is data)] by SEEK_DATA and SEEK_HOLE."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    out, at = [], 0
    while at < size:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            if e.errno != errno.ENXIO:
                raise
            break
        at = os.lseek(fd, data, os.SEEK_HOLE)
        out.append((data, at))
    os.close(fd)
    return out


def test_sparse(t):
    """Holes of whole chunks are holes in a clean file, and when it was copied
    up."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    with open(a + "/f", "wb") as f:
        f.seek(80 * MIB)
        f.write(b"x" * 8 * MIB)
        f.truncate(500 * MIB)
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    t.equal([(80 * MIB, 88 * MIB)], holes(b + "/f"), "clean")
    with open(b + "/f", "r+b") as f:
        f.seek(400 * MIB)
        f.write(b"y")
    got = holes(b + "/f")
    t.equal(80 * MIB, got[0][0], "first data, dirty")
    t.true(sum(y - x for x, y in got) <= 17 * MIB, "data, dirty: %r" % got)
    with open(b + "/f", "rb") as f:
        f.seek(80 * MIB - 1)
        t.equal(b"\0x", f.read(2), "the data's begin")
        f.seek(400 * MIB - 1)
        t.equal(b"\0y\0", f.read(3), "what was written")
    s.commit(b)
    s.reload(a)
    t.equal(stack.sha256(b + "/f"), stack.sha256(a + "/f"), "A and B")


def test_many_names(t):
    """20,000 clean names in one directory: listed, looked up, some removed."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    os.mkdir(a + "/d")
    names = ["n%05d" % i for i in range(20000)]
    for name in names:
        os.close(os.open(a + "/d/" + name, os.O_CREAT | os.O_WRONLY, 0o644))
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    d = b + "/d"
    t.equal(20000, len(t.run(["find", d, "-type", "f"]).stdout.splitlines()),
            "find")
    t.equal(names, t.run(["ls", d]).stdout.split(), "ls")
    for name in names[::10]:
        os.unlink(d + "/" + name)
    left = [n for n in names if n[-1] != "0"]
    t.equal(left, sorted(os.listdir(d)), "after rm")
    # A listing that goes on while names go.
    seen = []
    with os.scandir(d) as it:
        for entry in it:
            seen.append(entry.name)
            if entry.name.endswith("5"):
                os.unlink(entry.path)
    t.equal(left, sorted(seen), "a listing while names go")
    left = [n for n in left if n[-1] != "5"]
    t.equal(left, sorted(os.listdir(d)), "after it")
    s.commit(b)
    s.reload(a)
    t.equal(left, sorted(os.listdir(a + "/d")), "in the other mount")
    shutil.rmtree(d)
    s.commit(b)
    s.reload(a)
    t.equal([], os.listdir(a), "all gone")


READER = """
import hashlib, os, sys
bad = 0
for where, dirs, files in os.walk(sys.argv[1], onerror=lambda e: sys.exit(str(e))):
    for name in sorted(files, key=lambda n: hash((n, sys.argv[2]))):
        want = name.split("-")[1]
        with open(os.path.join(where, name), "rb") as f:
            if hashlib.sha256(f.read()).hexdigest()[:16] != want:
                sys.exit("content of " + name)
"""


def cold_tree(top, count, size):
    for n in range(count):
        d = os.path.join(top, "d%d" % (n % 10))
        os.makedirs(d, exist_ok=True)
        data = os.urandom(size + 100 * n)
        name = "%d-%s" % (n, hashlib.sha256(data).hexdigest()[:16])
        with open(os.path.join(d, name), "wb") as f:
            f.write(data)


def test_eight_readers(t):
    """Eight processes read the same cold files at once."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    cold_tree(a, 200, 50000)
    cold_tree(a + "/large", 3, 9 * MIB)
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    readers = [subprocess.Popen([sys.executable, "-c", READER, b, str(n)],
                                stderr=subprocess.PIPE, text=True)
               for n in range(8)]
    for r in readers:
        _, err = r.communicate(timeout=60)
        t.equal((0, ""), (r.returncode, err), "a reader")


WRITER = """
import os, sys
top, number = sys.argv[1], 0
while not os.path.exists(sys.argv[2]):
    number += 1
    d = "%s/w%d" % (top, number % 7)
    os.makedirs(d, exist_ok=True)
    p = "%s/%d" % (d, number)
    with open(p, "xb") as f:
        f.write(b"%d" % number * 500)
    os.rename(p, p + ".r")
    with open(p + ".r", "ab") as f:
        f.write(b"more")
    if open(p + ".r", "rb").read() != b"%d" % number * 500 + b"more":
        sys.exit("content of " + p)
    if number % 3 == 0:
        os.unlink(p + ".r")
    for name in os.listdir(d):
        os.stat(d + "/" + name)
    if number > 20 and number % 20 == 0:
        import shutil
        shutil.rmtree(d)
print(number)
"""


class Held(threading.Thread):
    """Reads a cold file whose bytes the store keeps back until release()."""

    def __init__(self, s, path, data):
        super().__init__(daemon=True)
        self.path, self.data, self.got = path, data, None
        self.fault = s.store.fault(
            proxy.HOLD, "^GET .*" + hashlib.sha256(data).hexdigest(),
            times=1000)
        self.start()

    def run(self):
        self.got = get(self.path)

    def asked(self, t, times, why):
        t.wait_for(lambda: self.fault.done >= times, why, 60)
        t.true(self.is_alive(), "%s: the reader waits" % why)

    def release(self, t):
        self.fault.release()
        self.join(60)
        t.true(self.got == self.data, "what was held at a kill is read then")


KILLS = 4


def kill_under_load(t, role):
    s = stack.Stack(t, daemons=2, proxied=True)
    a = s.mount("v", "a", create=True)
    cold_tree(a, 400, 40000)
    cold_tree(a + "/large", 4, 9 * MIB)
    # Each alone in its object.
    held = [os.urandom(2 * MIB) for _ in range(KILLS)]
    for n, data in enumerate(held):
        os.mkdir("%s/held%d" % (a, n))
        put("%s/held%d/f" % (a, n), data)
    s.commit(a)
    d = s.daemons[1]
    b = d.mount("v", "b")
    os.mkdir(b + "/w")
    stop = t.path("stop")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, b + "/w", stop],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
    readers = [subprocess.Popen([sys.executable, "-c", READER, b + "/" + part,
                                 str(n)], stderr=subprocess.PIPE, text=True)
               for n, part in enumerate(["d%d" % i for i in range(10)]
                                        + ["large"])]
    for n, data in enumerate(held):
        time.sleep(0.4)
        reader = Held(s, "%s/held%d/f" % (b, n), data)
        reader.asked(t, 1, "the store is asked")
        gone = set(d.pids(role))
        t.count("kills survived", d.kill(role))
        t.wait_for(lambda: set(d.pids(role)) - gone, role + " again")
        if role in ("cache", "fetch"):
            reader.asked(t, 2, "the store is asked again")
        t.true(reader.is_alive(), "the reader waits")
        reader.release(t)
        t.equal(None, writer.poll(), "the writer works on")
        time.sleep(0.8)     # twice within a second is another rule
    with open(stop, "w", encoding="ascii"):
        pass
    wrong = []
    for p in [writer] + readers:
        try:
            out, err = p.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            out, err = "", "hangs"
        if p.returncode != 0:
            wrong.append(err)
    t.equal([], wrong, "what failed")
    s.commit(b, timeout=60)
    s.reload(a)
    stack.same(t, local(b), local(a), "A and B")
    t.said = "%d reads were held at a kill of %s" % (KILLS, role)


def test_kill_fuse(t):
    """kill -9 of fuse under load: no call of a program fails."""
    kill_under_load(t, "fuse")


def test_kill_manifest(t):
    kill_under_load(t, "manifest")


def test_kill_cache(t):
    kill_under_load(t, "cache")


def test_kill_fetch(t):
    kill_under_load(t, "fetch")


def test_commit_while_writing(t):
    """Commits while a writer goes on: each is a state of whole calls, and the
    last one is all."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    stop = t.path("stop")
    os.mkdir(a + "/w")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, a + "/w", stop],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
    for _ in range(6):
        s.commit(a, timeout=30)
        s.reload(b)
        stack.look(b)
    with open(stop, "w", encoding="ascii"):
        pass
    _, err = writer.communicate(timeout=30)
    t.equal((0, ""), (writer.returncode, err), "the writer")
    s.share(a, b)
    stack.same(t, local(a), local(b), "A and B")
