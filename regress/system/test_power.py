# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Loss of power: what fsync(2) or a commit acknowledged is there, whole; the
rest may be as before, and nothing is broken."""

import mmap
import os

from sailtest import deadline, power, stack

FILES = 40
LATE = 10           # after the last fsync(2)
LEFT = 4 * FILES + LATE         # of the files that work() makes
READY = 48          # that sailvold makes beforehand


def stack_on_disk(t, mib=256):
    """A stack whose server and daemon lie on disks of their own."""
    power.require(t)
    s = stack.Stack(t, daemons=0)
    s.server.stop()
    server_disk = power.Disk(t, s.server.dir)
    s.server.start()
    d = s.add_daemon(start=False)
    disk = power.Disk(t, d.dir, mib)
    d.start()
    return s, d, server_disk, disk


def lose_daemon(s, d, disk, snapshot=None, last=None):
    """The power of the machine with the daemon went at the snapshot, or now;
    last() is done right before."""
    mounts = [m["path"] for m in d.ctl_json("status")["mounts"]]
    if last is not None:
        # Who finds no disk any more may give up before it is killed.
        s.t.expect_deaths = "any"
        last()
        disk.cut()
    d.kill_all()
    if snapshot is None and last is None:
        disk.cut()
    for path in mounts:
        power.command("umount", path)
    disk.lose(snapshot)
    d.start()
    for path in mounts:
        s.t.wait_for(lambda p=path: os.path.exists(p + "/.sailvol"),
                     "%s comes back" % path, 60)


def write(path, text, sync):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
        f.flush()
        if sync:
            os.fsync(f.fileno())


def body(name, version):
    return "%s %d\n" % (name, version) * 700


def overlay_files(d):
    return sum(len(files) for where, _, files in os.walk(d.dir + "/state/mounts")
               if "/files" in where)


def readable(t, top):
    """All of what is listed: {path: text}."""
    found = {}
    for where, _, files in os.walk(top):
        for name in files:
            path = os.path.join(where, name)
            found[os.path.relpath(path, top)] = stack.read(path)
    return found


def sizes(top):
    """What stat(2) says, and what can be read: [path] where they differ."""
    return ["%s: %d" % (path, os.path.getsize(os.path.join(top, path)))
            for path, text in readable(None, top).items()
            if os.path.getsize(os.path.join(top, path)) != len(text)]


ANY = "any"     # version of what may be partly there


def work(a, n):
    """Of each kind some.  {name: versions that it may have, the last is what
    it had; None: missing}"""
    top = "%s/%d" % (a, n)
    os.mkdir(top)
    may = {}

    def put(name, version, sync, to=None):
        write(os.path.join(top, to or name), body(name, version), sync)

    for i in range(FILES):
        for kind in ("synced", "replaced", "removed", "moved"):
            put("%s%d" % (kind, i), 1, True)
        may["%d/synced%d" % (n, i)] = [1]
    for i in range(FILES):
        put("replaced%d" % i, 2, True, "tmp")
        os.rename(top + "/tmp", "%s/replaced%d" % (top, i))
        may["%d/replaced%d" % (n, i)] = [1, 2]
        os.unlink("%s/removed%d" % (top, i))
        may["%d/removed%d" % (n, i)] = [1, None]
        os.rename("%s/moved%d" % (top, i), "%s/to%d" % (top, i))
        may["%d/moved%d" % (n, i)] = [1, None]
        put("unsynced%d" % i, 1, False)
        may["%d/unsynced%d" % (n, i)] = [None, ANY, 1]
    for i in range(LATE):
        put("late%d" % i, 1, False)
        may["%d/late%d" % (n, i)] = [None, ANY, 1]
    return may


def check(t, a, may):
    """What is there is one of what may be; how many changes were lost."""
    found, lost = readable(t, a), 0
    for path, versions in may.items():
        name = os.path.basename(path)
        got = found.get(path)
        t.true(ANY in versions or got in [v and body(name, v)
                                          for v in versions],
               "%s: may be version %s, is %.40r of %s bytes" % (
                   path, versions, got, got and len(got)))
        if name.startswith("moved"):
            to = found.get(path.replace("moved", "to"))
            t.equal({None, body(name, 1)}, {got, to}, "%s is there once" % path)
        last = versions[-1]
        lost += got != (last and body(name, last))
    return lost


@deadline(400)
def test_unsynced(t):
    """At once; when the daemon has let go what was replaced and removed, and
    the file system has written that; and after a commit."""
    s, d, _, disk = stack_on_disk(t)
    a = s.mount("v", "a", create=True)
    may, lost = {}, []
    for n, how in enumerate(("at once", "later", "committed", "later")):
        before = overlay_files(d)
        may.update(work(a, n))
        if how == "committed":
            s.commit(a)
            have = readable(t, a)
            os.unlink("%s/%d/synced0" % (a, n))
            may["%d/synced0" % n] = [1, None]
            have.pop("%d/synced0" % n)
        if how != "at once":
            # Those that it keeps ready are there too.
            t.wait_for(lambda b=before: overlay_files(d) <= b + LEFT + READY,
                       "what was removed is let go", 60)
        disk.metadata()
        lose_daemon(s, d, disk, disk.snapshot())
        lost.append(check(t, a, may))
        t.wait_for(lambda: not sizes(a), "files are as long as they say: %s" %
                   sizes(a)[:3])
        if how == "committed":
            found = readable(t, a)
            for path, text in have.items():
                t.equal(text, found.get(path), "committed: " + path)
        # What came back is what counts from now on.
        os.sync()
        may = {p: v for p, v in may.items() if v == [1]}
    t.true(sum(lost) > 0, "nothing was at risk: no change was lost")
    t.count("losses of power", len(lost))
    s.commit(a)
    b = s.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "A and B")
    t.said = "changes that were not synced and lost, by image: %s" % lost


def change(path, how):
    """What is there then is one of those that are returned: of what is behind
    the old end the size may be there, and not the byte."""
    before = stack.read(path)
    after = {"append": before + "x", "byte": "x" + before[1:],
             "open": before}[how]
    with open(path, "a" if how == "append" else "r+", encoding="ascii") as f:
        if how != "open":
            f.write("x")
    return before, after, before + "\0" if how == "append" else after


@deadline(400)
def test_committed(t):
    """The machines of both server and daemon lose power when a commit is
    acknowledged, of files that no program has synced."""
    s, d, server_disk, disk = stack_on_disk(t)
    a = s.mount("v", "a", create=True)
    want = {}
    # Of a few each is synced, of many the file system.
    for n, files in enumerate((FILES, FILES, 3)):
        if n > 0:
            s.reload(a)
        for i in range(files):
            name = "%d-%d" % (n, i)
            # ext4 writes one at once that was truncated.
            fd = os.open(os.path.join(a, name),
                         os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(fd, body(name, n).encode())
            os.close(fd)
            want[name] = body(name, n)
            if n > 0 and i > 0:
                name = "%d-%d" % (n - 1, i)
                want[name] = change(os.path.join(a, name), (
                    "append", "byte", "open")[i % 3])[1]
        if n > 0:
            # Published before, and known to be so after the loss.
            os.unlink("%s/%d-0" % (a, n - 1))
            want.pop("%d-0" % (n - 1))
        ident = s.commit(a)
        snapshot = disk.snapshot()
        server_snapshot = server_disk.snapshot()
        stack.kill_all(t, s.server.process, list(s.server.roles().values()))
        server_disk.lose(server_snapshot)
        s.server.start()
        lose_daemon(s, d, disk, snapshot)
        status, log = s.server.call("GET", "/v1/volumes/v/commits")
        t.equal((200, ident), (status, log["commits"][0]["id"]), "the newest")
        have = readable(t, a)
        t.equal({}, {name: have.get(name, "none")[:9] for name in want
                     if have.get(name) != want[name]}, "in the mount")
        t.equal(want.keys(), have.keys(), "in the mount")
        t.equal(ident, s.commit(a), "it is known to be published")
        t.count("losses of power", 1)
    b = s.mount("v", "b")
    t.equal(want, readable(t, b), "in another mount")


@deadline(240)
def test_published_opened(t):
    """Files that were published, and are opened for writing, by which each gets
    a file of its own: what of that was lost is as it was published."""
    s, d, _, disk = stack_on_disk(t, 512)
    a = s.mount("v", "a", create=True)
    names = ["%s%d" % (how, i) for how in ("append", "byte", "open")
             for i in range(FILES // 2)]
    for name in names:
        write("%s/%s" % (a, name), body(name, 1), False)
    os.truncate(a + "/open0", 300 << 20)        # nothing of it is to be copied
    os.truncate(a + "/open1", 0)
    os.truncate(a + "/open1", 300 << 20)
    s.commit(a)
    s.reload(a)
    os.sync()
    may = {name: change("%s/%s" % (a, name), name.rstrip("0123456789"))
           for name in names[::-1] if name not in ("open0", "open1")}
    for name in ("open0", "open1"):
        os.close(os.open("%s/%s" % (a, name), os.O_RDWR))
    # Another one's names are synced, and with them those.
    write(a + "/synced", "x", True)
    lose_daemon(s, d, disk, disk.snapshot())

    def same(top, which):
        for name, versions in may.items():
            got = stack.read("%s/%s" % (top, name))
            t.true(got in versions, "%s: %s: %d bytes, %d of them zeros" % (
                which, name, len(got), got.count("\0")))
        for name in ("open0", "open1"):
            t.equal(300 << 20, os.path.getsize("%s/%s" % (top, name)), name)
            with open("%s/%s" % (top, name), encoding="ascii") as f:
                t.equal(name == "open0", f.read(len(body(name, 1))) ==
                        body(name, 1), name)
    same(a, "in the mount")
    t.equal("x", stack.read(a + "/synced"), "what was synced")
    s.commit(a)
    same(s.mount("v", "b"), "published")
    t.count("losses of power", 1)


# How a program can have each of its writes synced: flags of open(2), of
# pwritev2(2), and whether the file is a published one.
SYNCED_WRITES = {
    "append-dsync": (os.O_WRONLY | os.O_APPEND | os.O_DSYNC, 0, False),
    "append-sync": (os.O_RDWR | os.O_APPEND | os.O_SYNC, 0, False),
    "dsync": (os.O_WRONLY | os.O_DSYNC, 0, False),
    "dsync-rdwr": (os.O_RDWR | os.O_DSYNC, 0, False),
    "sync": (os.O_WRONLY | os.O_SYNC, 0, False),
    "direct-dsync": (os.O_WRONLY | os.O_DIRECT | os.O_DSYNC, 0, False),
    "append-rwf-dsync": (os.O_WRONLY | os.O_APPEND, os.RWF_DSYNC, False),
    "published-dsync": (os.O_WRONLY | os.O_DSYNC, 0, True),
    "published-sync": (os.O_RDWR | os.O_SYNC, 0, True),
    "copied-dsync": (os.O_WRONLY | os.O_DSYNC, 0, False),
    # Of one whose name was synced before: no request comes of these writes.
    "named-rwf-dsync": (os.O_WRONLY, os.RWF_DSYNC, False),
}


@deadline(240)
def test_synced_writes(t):
    """Each in a mount of its own, which has a journal of its own: no other
    syncs what stands there."""
    # 16 MiB of each are for its journal.
    s, d, _, disk = stack_on_disk(t, 768)
    a = s.mount("v", "a", create=True)
    want = {how: "%-4095s\n" % how for how in SYNCED_WRITES}
    write(a + "/f", "published\n" * 500, False)
    s.commit(a)
    # First, for the daemon's database is synced then.
    for how in SYNCED_WRITES:
        s.mount("v", how)
    files = []
    for how, (flags, rwf, published) in SYNCED_WRITES.items():
        path = s.point(how) + ("/f" if published else "/new")
        files.append(os.open(path, flags | os.O_CREAT, 0o644))
        if how.startswith("named"):
            os.fsync(files[-1])
        if how.startswith("copied"):
            with open(s.point(how) + "/f", "rb") as f:
                want[how] = f.read(4096).decode()
                t.equal(4096, os.copy_file_range(f.fileno(), files[-1], 4096,
                                                 0), how)
            continue
        buf = mmap.mmap(-1, 4096)   # at a page, for O_DIRECT
        buf[:] = want[how].encode()
        t.equal(4096, os.pwritev(files[-1], [buf], 0, rwf), how)
    for fd in files:
        os.close(fd)
    # The database may be synced in the middle of them, for another reason.
    unsynced = [a + "/unsynced%d" % n for n in range(20)]

    def at_last():
        for path in unsynced:
            write(path, "x", False)
    lose_daemon(s, d, disk, last=at_last)
    t.true(not all(map(os.path.exists, unsynced)), "nothing was at risk")
    missing = {}
    for how, (_, _, published) in SYNCED_WRITES.items():
        path = s.point(how) + ("/f" if published else "/new")
        got = stack.read(path)[:4096] if os.path.exists(path) else None
        if got != want[how]:
            missing[how] = got and got[:20]
    t.equal({}, missing, "what is not as it was written")
