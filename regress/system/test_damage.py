# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Folders and files of the daemons' own that are damaged, full or read-only:
each says what is wrong and what to do, and nothing that was there is lost."""

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import sqlite3

from sailtest import caches, deadline, error_of, stack

EMBEDDED_STORE = ("test_full_server", "test_read_only_server")  # its folder


def memory(t, path, size, mode="0711"):
    os.makedirs(path)
    t.run(["mount", "-t", "tmpfs", "-o", "size=%s,mode=%s" % (size, mode),
           "none", path])


def database(d):
    """Those of manifest: [path]."""
    top = os.path.join(d.dir, "state", "db")
    return sorted(os.path.join(top, n) for n in os.listdir(top)
                  if n != "ballast")


def keep(paths, top):
    shutil.rmtree(top, ignore_errors=True)
    os.makedirs(top)
    for p in paths:
        shutil.copy2(p, top)
        st = os.stat(p)
        os.chown(os.path.join(top, os.path.basename(p)), st.st_uid, st.st_gid)


def give_back(d, top):
    for p in database(d):
        os.unlink(p)
    for n in os.listdir(top):
        p = os.path.join(top, n)
        to = os.path.join(d.dir, "state", "db", n)
        shutil.copy2(p, to)
        st = os.stat(p)
        os.chown(to, st.st_uid, st.st_gid)


@deadline(180)
def test_database(t):
    """A damaged database of sailvold: nothing is written over; the log says
    which file, and what to do; with the old file all is there."""
    t.expect_deaths = "any"
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/published", "one\n")
    s.commit(a)
    for i in range(2000):
        stack.write(a + "/n%d" % i, "dirty %d\n" % i)
    want = stack.look(a)
    d.stop()
    saved = t.path("saved")
    keep(database(d), saved)
    main = max(database(d), key=os.path.getsize)
    size = os.path.getsize(main)
    with open(main, "r+b") as f:
        f.write(b"not a database" * 10)
    d.start(wait=False)
    t.wait_for(lambda: "does not start: the log says why" in
               d.ctl("status", ok=None).stderr, "status says it")
    t.true("db/sailvold.db of the state" in d.log() and ".recover" in d.log(),
           d.log())
    d.stop()
    give_back(d, saved)
    for where, what in ((size // 2, b"\xff" * 4096),
                        (8192, b"\xff" * (size - 8192))):
        with open(main, "r+b") as f:
            f.seek(where)
            f.write(what)
        d.start(wait=False)
        t.wait_for(lambda: d.ctl("status", ok=None).returncode == 0 or
                   "does not start" in d.ctl("status", ok=None).stderr,
                   "it answers")
        r = d.ctl("commit", a, ok=None)
        t.true(r.returncode != 0 and r.stderr, "a commit: %r" % r)
        t.true(".recover" in d.log(), d.log())
        d.stop()
        give_back(d, saved)
    d.start()
    t.wait_for(lambda: os.path.ismount(a), "it comes back")
    stack.same(t, want, stack.look(a), "as it was")
    s.commit(a)
    b = s.mount("vol", "b")
    stack.same(t, want, stack.look(b), "published")


@deadline(180)
def test_server_database(t):
    """A damaged database of sailapid: nothing is written over; the log says
    which file, and what to do; with the old file all is there, with one of
    before what was published until then, and the rest is said to be unknown."""
    t.expect_deaths = "any"
    s = stack.Stack(t)
    server = s.server
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/one", "one\n")
    s.commit(a)
    first = stack.look(a)
    top = server.database

    def now():
        """Its files, all of one, without a server."""
        con = sqlite3.connect(os.path.join(top, "sailapi.db"))
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        con.close()
        return {n: stack.read_bytes(os.path.join(top, n))
                for n in os.listdir(top)}

    def put(files):
        for n in os.listdir(top):
            os.unlink(os.path.join(top, n))
        st = os.stat(top)
        for n, data in files.items():
            with open(os.path.join(top, n), "wb") as f:
                f.write(data)
            os.chown(os.path.join(top, n), st.st_uid, st.st_gid)
            os.chmod(os.path.join(top, n), 0o600)

    server.stop()
    early = now()
    server.start()
    for i in range(1000):
        stack.write(a + "/n%d" % i, "%d\n" % i)
    s.commit(a)
    want = stack.look(a)
    stack.write(a + "/dirty", "not published\n")
    server.stop()
    good = now()
    name = max(good, key=lambda n: len(good[n]))
    size = len(good[name])
    t.equal("sailapi.db", name, "of %d bytes" % size)
    t.true("recover" not in server.log(), "nothing is damaged yet")

    def damaged(at, what):
        broken = dict(good)
        broken[name] = good[name][:at] + what + good[name][at + len(what):]
        put(broken)
        return broken[name]

    # Its header: it does not start.
    mark = len(server.log())
    broken = damaged(0, b"not a database" * 10)
    p = t.spawn([server.program, "-d", "-f", server.conf], "sailapid.log")
    t.wait_for(lambda: "recover" in server.log()[mark:], "the log says it")
    t.stop(p)
    said = server.log()[mark:]
    t.true("sailapi.db" in said and "sailapid(8)" in said, said)
    t.true(stack.read_bytes(os.path.join(top, name)) == broken,
           "nothing is written over")
    # All of its pages but the first: it starts, perhaps, and answers so.
    mark = len(server.log())
    damaged(8192, b"\xff" * (size - 8192))
    p = t.spawn([server.program, "-d", "-f", server.conf], "sailapid.log")
    t.wait_for(lambda: "recover" in server.log()[mark:], "the log says it")
    status, answer = server.call("GET", "/v1/volumes/vol")
    t.true(status == 500 and answer["error"], "%d %s" % (status, answer))
    t.stop(p)
    # A page in the middle: whatever is asked has an answer, right or 500.
    mark = len(server.log())
    damaged(size // 2 // 8192 * 8192, b"\xff" * 65536)
    server.start()
    b = s.mount("vol", "b", ok=None)
    t.true(b.returncode == 0 or b.stderr.strip(), "words: %r" % b)
    r = s.ctl("reload", "--keep", a, ok=None)
    t.true(r.returncode == 0 or r.stderr.strip(), "words: %r" % r)
    s.ctl("umount", s.point("b"), ok=None)
    server.stop()
    # The old file.
    put(good)
    server.start()
    c = s.mount("vol", "c")
    stack.same(t, want, stack.look(c), "with the old file")
    s.daemon.umount(c)
    # A copy of before: the mount keeps what it has.
    server.stop()
    put(early)
    server.start()
    c = s.mount("vol", "c")
    stack.same(t, first, stack.look(c), "with a copy of before")
    t.equal("not published\n", stack.read(a + "/dirty"), "is kept")
    t.true(os.path.exists(a + "/n0"), "as is what it had seen")
    ident = s.commit(a)
    t.equal(ident, s.reload(c), "a commit")
    got = stack.look(c)
    t.true(got.pop(b"./dirty"), "what was dirty is published")
    t.equal(sorted(first), sorted(got), "and nothing else")
    s.reload(a)
    t.true(not os.path.exists(a + "/n0"), "the server knows nothing of it")
    t.equal("not published\n", stack.read(a + "/dirty"), "is there")


@contextlib.contextmanager
def disk(t, path, mib):
    """A disk of its own there, ext4; break(): it becomes read-only, as after an
    error; mend(): checked, and mounted again, when nobody has it any more."""
    image = t.path("disk.img")
    with open(image, "wb") as f:
        f.truncate(mib << 20)
    t.run(["mkfs.ext4", "-q", "-F", image])
    loop = t.run(["losetup", "-f", "--show", image]).stdout.strip()

    class Disk:
        def mount(self):
            t.run(["mount", "-o", "errors=remount-ro", loop, path])

        def fail(self):
            name = os.path.basename(loop)
            with open("/sys/fs/ext4/%s/trigger_fs_error" % name, "w",
                      encoding="ascii") as f:
                f.write("a test\n")

        def mend(self):
            t.run(["umount", path])
            t.run(["e2fsck", "-p", "-f", loop], ok=None)
            self.mount()
    try:
        one = Disk()
        one.mount()
        yield one
    finally:
        t.run(["umount", "-l", path], ok=None)
        t.run(["losetup", "-d", loop])


@deadline(120)
def test_read_only_state(t):
    """The disk of the state folder becomes read-only after an error: who
    changes something hears so, what is there is read, and on the mended disk
    all is there that was acknowledged."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    state = os.path.join(d.dir, "state")
    os.mkdir(state, 0o711)
    with disk(t, state, 128) as one:
        os.chmod(state, 0o711)
        d.start()
        a = d.mount("vol", "a", create=True)
        stack.write(a + "/published", "one\n")
        s.ctl("-s", d.socket, "commit", a)
        stack.write(a + "/dirty", "two\n")
        os.sync()
        one.fail()
        before = stack.look(a)
        t.equal(["EROFS"] * 4, [
            error_of(stack.write, a + "/dirty", "three\n"),
            error_of(stack.write, a + "/new", "x\n"),
            error_of(os.mkdir, a + "/d"), error_of(os.unlink, a + "/dirty")],
            "changes")
        stack.same(t, before, stack.look(a), "what is there")
        r = d.ctl("commit", a, ok=None)
        t.equal(1, r.returncode, "a commit: %r" % r)
        t.true("Read-only file system" in r.stderr, r.stderr)
        d.kill_all()
        # The kernel has its files of passthrough until then.
        t.run(["umount", "-l", a])
        one.mend()
        d.start()
        t.wait_for(lambda: os.path.ismount(a), "it comes back")
        stack.same(t, before, stack.look(a), "on the mended disk")
        stack.write(a + "/new", "x\n")
        d.ctl("commit", a)
        d.umount(a)
        d.stop()


@deadline(180)
def test_cache_disk(t):
    """The cache's own disk is full, then read-only after an error: what is in the
    cache and what is not are read all the same, and what is written is committed;
    on the mended disk the cache is one again."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    far = s.add_daemon()
    b = far.mount("vol", "b", create=True)
    files, n = {}, 0

    def more():
        """Files that are not here yet."""
        nonlocal n
        n += 1
        for size in (100, 5000, 300000, 20 << 20):
            name = "f%d-%d" % (n, size)
            files[name] = os.urandom(size)
            with open(os.path.join(b, name), "wb") as f:
                f.write(files[name])
        far.ctl("commit", b)

    def reads(what):
        d.ctl("reload", "--keep", a)
        caches.drop(caches.PAGES)
        for name, data in files.items():
            t.true(data == stack.read_bytes(os.path.join(a, name)),
                   "%s: %s" % (what, name))
        stack.write(a + "/said", what)
        d.ctl("commit", a)

    def cached():
        return d.ctl_json("status")["daemon"]["cache"]["files"]

    more()
    cache = os.path.join(d.dir, "disk")
    os.mkdir(cache)
    t.write(os.path.relpath(d.conf, t.dir), stack.read(d.conf).replace(
        'cache "%s/cache"' % d.dir, 'cache "%s/cache"' % cache))
    with disk(t, cache, 96) as one:
        d.start()
        a = d.mount("vol", "a")
        reads("at first")
        have = cached()
        t.true(have >= 5, "%d files are cached" % have)
        filler = os.path.join(cache, "filler")
        with contextlib.suppress(OSError), open(filler, "wb", 0) as f:
            while True:
                f.write(bytes(1 << 20))
        more()
        reads("full")
        os.unlink(filler)
        reads("with room again")
        t.true(cached() > 3, "it is a cache again: %d files" % cached())
        os.sync()
        one.fail()
        have = cached()
        more()
        reads("read-only")
        t.equal(have, cached(), "it keeps what it has")
        t.true("takes no more (Read-only file system)" in d.log() or
               "takes no more (No space" in d.log(), "the log says it")
        d.kill_all()
        t.run(["umount", "-l", a])
        one.mend()
        d.start()
        t.wait_for(lambda: os.path.ismount(a), "it comes back")
        reads("mended")
        t.true(cached() > have, "more is kept: %d files" % cached())
        d.umount(a)
        d.stop()


FICLONE = 0x40049409
CHUNK = 8 << 20


def shares_blocks(t):
    """A copy of a whole file takes no bytes there."""
    a, b = t.write("one", "x" * 4096), t.write("other", "")
    with open(a, "rb") as x, open(b, "r+b") as y:
        try:
            fcntl.ioctl(y, FICLONE, x.fileno())
            return True
        except OSError as e:
            t.true(e.errno in (errno.EOPNOTSUPP, errno.EINVAL), "%s" % e)
            return False


@deadline(180)
def test_cache_files(t):
    """Files of the cache that are another beneath the process that has checked
    them: what is shorter is fetched again, and what was written to is checked
    again; what a disk has changed gets into no file that is changed, into no copy
    of a chunk, and into no commit."""
    s = stack.Stack(t, daemons=2)
    near, far = s.daemons
    b = far.mount("vol", "b", create=True)
    files = {"small%d" % i: os.urandom(5000) for i in range(20)}
    files["one"] = os.urandom(3 << 20)
    files["large"] = os.urandom(2 * CHUNK + 12345)
    for name, data in files.items():
        with open(os.path.join(b, name), "wb") as f:
            f.write(data)
    far.ctl("commit", b)
    a = near.mount("vol", "a")

    def reads(what, top=a):
        caches.drop(caches.PAGES)
        for name, data in files.items():
            t.true(data == stack.read_bytes(os.path.join(top, name)),
                   "%s: %s" % (what, name))

    def chunks():
        """Three chunks, one, and the small ones together."""
        return glob.glob(near.dir + "/cache/??/*")

    reads("at first")
    t.wait_for(lambda: len(chunks()) == 5, "all are kept")
    for p in chunks():
        os.truncate(p, os.stat(p).st_size - 3000)
    reads("shorter")
    t.wait_for(lambda: len(chunks()) == 5, "all are kept again")
    near.kill("fuse")           # which has them open
    for p in chunks():
        with open(p, "r+b") as f:
            f.write(b"other bytes")
    reads("written to")
    t.wait_for(lambda: len(chunks()) == 5, "all are kept again")
    log = near.log().count("thrown away")
    t.true(log >= 5, "%d were thrown away" % log)
    if shares_blocks(t):
        return
    for p in chunks():
        st = os.stat(p)
        with open(p, "r+b") as f:
            f.write(b"not what it was")
        os.utime(p, ns=(st.st_atime_ns, st.st_mtime_ns))
    caches.drop(caches.PAGES)
    with open(os.path.join(a, "large"), "rb") as f, \
            open(os.path.join(a, "copy"), "wb") as to:
        t.equal(CHUNK, os.copy_file_range(f.fileno(), to.fileno(), CHUNK,
                                          CHUNK, 0), "copied")
    files["copy"] = files["large"][CHUNK:2 * CHUNK]
    for name, at in (("small7", 5000), ("one", 3 << 20), ("large", 100),
                     ("large", 2 * CHUNK + 12345)):
        with open(os.path.join(a, name), "r+b") as f:
            f.seek(at)
            f.write(b"mine")
        files[name] = files[name][:at] + b"mine" + files[name][at + 4:]
    near.ctl("commit", a)
    far.ctl("reload", b)
    reads("what was committed", b)
    for name in ("small7", "one"):
        t.true(files[name] == stack.read_bytes(os.path.join(a, name)), name)


def server_on(t, mib):
    """A stack whose server has its folder in a memory of that size."""
    class Server(stack.FixedServer):
        def configure(self, extra):
            memory(t, self.dir + "/db", "%dm" % mib)
            memory(t, self.dir + "/objects", "%dm" % mib)
            return super().configure(extra)

    class Stack(stack.Stack):
        server_class = Server
    return Stack(t)


@deadline(120)
def test_full_server(t):
    """No room for the server's database, then none for objects: the log says so,
    nothing is published, and with room the commit goes on."""
    s = server_on(t, 48)
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/published", "one\n")
    first = s.commit(a)
    b = s.mount("vol", "b")
    with open(a + "/big", "wb") as f:
        f.write(os.urandom(60 << 20))
    for i in range(8000):
        os.close(os.open("%s/n%d" % (a, i), os.O_CREAT | os.O_WRONLY))
    want = stack.look(a)
    full = os.path.join(s.server.dir, "db", "filler")
    with contextlib.suppress(OSError), open(full, "wb", 0) as f:
        while True:
            f.write(b"f" * 4096)
    p = stack.spawn(s, "commit", a)
    for log, says, name in (
            ("sailapid.log", "disk is full", "db"),
            (s.daemon.log_name, "store answered 507: it has no room",
             "objects")):
        t.wait_for(lambda: says in stack.read(t.path(log)) or
                   p.poll() is not None, says, 60)
        t.equal(None, p.poll(), "%s: it is tried again" % name)
        t.equal(first, s.reload(b), "nothing is published")
        t.run(["mount", "-o", "remount,size=200m",
               os.path.join(s.server.dir, name)])
    status, answer = stack.end(p)
    t.equal(0, status, str(answer))
    t.equal(answer["commit"], s.reload(b), "the commit")
    stack.same(t, want, stack.look(b), "published")


@deadline(180)
def test_read_only_server(t):
    """The disk of the server's database and objects becomes read-only after an
    error: who asks hears so, what is there is read, and on the mended disk all is
    there that was acknowledged, and the commit is done."""
    top = t.path("disk")
    os.mkdir(top, 0o711)

    class Server(stack.FixedServer):
        def lay(self):
            for name in ("db", "objects"):
                for path in (os.path.join(top, name),
                             os.path.join(self.dir, name)):
                    os.makedirs(path, 0o711, exist_ok=True)
                t.run(["mount", "--bind", os.path.join(top, name), path])

        def configure(self, extra):
            self.lay()
            return super().configure(extra)

    class Stack(stack.Stack):
        server_class = Server

    with disk(t, top, 128) as one:
        os.chmod(top, 0o711)
        s = Stack(t)
        server = s.server
        a = s.mount("vol", "a", create=True)
        stack.write(a + "/published", "one\n")
        s.commit(a)
        status, key = server.call("POST", "/v1/keys", {"role": "read"})
        t.equal(201, status, "a key")
        stack.write(a + "/dirty", "two\n")
        os.sync()
        one.fail()
        status, answer = server.call("POST", "/v1/keys", {"role": "read"})
        t.true(status == 503 and answer["error"], "a key: %d %s" % (
            status, answer))
        t.wait_for(lambda: "Read-only file system" in server.log(),
                   "the log says why")
        r = server.s3.request("PUT", "x/y", body=b"z" * 1000)
        t.true(r.status == 503 and b"read-only" in r.body, "an object: %d %s" % (
            r.status, r.body))
        t.equal(200, server.call("GET", "/v1/volumes/vol")[0], "what is there")
        p = stack.spawn(s, "commit", a)
        t.wait_for(lambda: "server error: again" in s.daemon.log() or
                   "answered 503" in s.daemon.log() or p.poll() is not None,
                   "the commit hears so")
        server.stop()
        for name in ("db", "objects"):
            t.run(["umount", os.path.join(server.dir, name)])
        one.mend()
        server.lay()
        server.start()
        status, answer = stack.end(p)
        if status != 0:
            t.true(answer["error"], str(answer))
            s.commit(a)
        t.equal(200, server.call("GET", "/v1/whoami", key=key["key"])[0],
                "the key")
        b = s.mount("vol", "b")
        stack.same(t, stack.look(a), stack.look(b), "published")
        for path in (a, b):
            s.daemon.umount(path)
        server.stop()
        for name in ("db", "objects"):
            t.run(["umount", os.path.join(server.dir, name)])


@deadline(120)
def test_young_folder(t):
    """A folder that a parent made, and could not give away before it was killed:
    the next one takes it over, if there is nothing in it."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    for name in ("cache", "state/db"):
        path = os.path.join(d.dir, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path, 0o711)
        os.chown(path, 0, 0)
    d.start()
    for name in ("cache", "state/db"):
        st = os.stat(os.path.join(d.dir, name))
        t.true(st.st_uid != 0 and st.st_mode & 0o7777 == 0o700, name)
    d.stop()
    # What somebody else may have put there stays his.
    shutil.rmtree(d.dir + "/cache")
    os.mkdir(d.dir + "/cache")
    stack.write(d.dir + "/cache/mine", "mine")
    d.start(wait=False)
    t.wait_for(lambda: "it belongs to user 0" in d.log(), "it says so")
    t.equal(["mine"], os.listdir(d.dir + "/cache"), "left alone")
