# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What is written through handles and mappings that stay open over a commit is
in the next one; a reload does no harm to open files."""

import concurrent.futures
import errno
import mmap
import os
import shutil

from sailtest import deadline, proxy, stack

BOTH_STORES = True


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def start(t):
    s = stack.Stack(t)
    return s, s.mount("v", "a", create=True), s.mount("v", "b")


def test_written_again(t):
    """A file that stays open for writing over commits: each has what was
    written before it."""
    s, a, b = start(t)
    with open(os.path.join(a, "f"), "wb", buffering=0) as f:
        for i in range(4):
            f.write(b"%d" % i)
            s.share(a, b)
            t.equal(b"0123"[:i + 1], read(b, "f"), "commit %d" % i)
        # Without a change in size.
        f.seek(0)
        f.write(b"9")
        s.share(a, b)
        t.equal(b"9123", read(b, "f"), "same size")
    s.share(a, b)
    t.equal(b"9123", read(b, "f"), "closed")


def test_same_tick(t):
    """A write in the same clock tick as the commit, again and again, of the
    same size: the next commit has it."""
    s, a, b = start(t)
    fd = os.open(os.path.join(a, "f"), os.O_RDWR | os.O_CREAT, 0o644)
    for i in range(8):
        os.pwrite(fd, b"a%d" % i, 0)
        s.commit(a)
        os.pwrite(fd, b"b%d" % i, 0)
        s.share(a, b)
        t.equal(b"b%d" % i, read(b, "f"), "round %d" % i)
    os.close(fd)


def test_mtime_set_back(t):
    """A change whose mtime was set back to what the last commit had."""
    s, a, b = start(t)
    fd = os.open(os.path.join(a, "f"), os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"one")
    os.utime(fd, ns=(10 ** 18, 10 ** 18))
    s.share(a, b)
    for text in (b"two", b"six"):
        os.pwrite(fd, text, 0)
        os.utime(fd, ns=(10 ** 18, 10 ** 18))
        s.share(a, b)
        t.equal(text, read(b, "f"), "open")
    os.close(fd)
    # And of a closed file, which is opened, changed, and set back.
    with open(os.path.join(a, "f"), "r+b") as f:
        f.write(b"ten")
    os.utime(os.path.join(a, "f"), ns=(10 ** 18, 10 ** 18))
    s.share(a, b)
    t.equal(b"ten", read(b, "f"), "closed")
    t.equal(10 ** 18, os.stat(os.path.join(b, "f")).st_mtime_ns, "mtime")


def test_mapping(t):
    """A store through a shared mapping, before and after a commit, with and
    without msync, the file closed."""
    s, a, b = start(t)
    path = os.path.join(a, "f")
    with open(path, "wb") as f:
        f.write(b"\0" * 65536)
    s.share(a, b)
    fd = os.open(path, os.O_RDWR)
    m = mmap.mmap(fd, 65536, mmap.MAP_SHARED)
    os.close(fd)
    for i in range(4):
        at = 4096 * i + i
        m[at:at + 2] = b"%02d" % i
        s.share(a, b)
        got = read(b, "f")
        t.equal((65536, b"%02d" % i), (len(got), got[at:at + 2]),
                "store %d" % i)
    # The same bytes of the same page again.
    m[0:2] = b"XY"
    m.flush()
    s.share(a, b)
    t.equal(b"XY", read(b, "f")[:2], "after msync")
    m.close()


def test_reload_under_open_files(t):
    """Open files keep what they were opened with; new opens see the new; a
    writer goes on into the stash, and is counted."""
    s, a, b = start(t)
    for name in ("keep", "gone", "other"):
        with open(os.path.join(a, name), "wb") as f:
            f.write(b"old " + name.encode())
    os.mkdir(os.path.join(a, "dir"))
    s.share(a, b)
    handles = {n: open(os.path.join(b, n), "rb") for n in ("keep", "gone")}
    here = os.open(os.path.join(b, "dir"), os.O_RDONLY)
    same = os.open(os.path.join(b, "other"), os.O_RDONLY)
    writer = open(os.path.join(b, "mine"), "wb", buffering=0)
    writer.write(b"before ")
    with open(os.path.join(a, "keep"), "wb") as f:
        f.write(b"new keep, longer")
    os.unlink(os.path.join(a, "gone"))
    with open(os.path.join(a, "dir", "new"), "wb") as f:
        f.write(b"x")
    s.commit(a)
    result = s.reload_json(b)
    t.equal(1, result["stash"]["files"], "files in the stash")
    t.equal(1, result["open_writers"], "writers")
    for name, f in handles.items():
        t.equal(b"old " + name.encode(), f.read(), "open " + name)
    t.equal(b"new keep, longer", read(b, "keep"), "opened now")
    t.true(not os.path.exists(os.path.join(b, "gone")), "gone")
    t.true(not os.path.exists(os.path.join(b, "mine")), "mine")
    t.equal(b"old other", os.read(same, 100), "an unchanged file")
    t.equal(["new"], os.listdir(here), "a directory that was open")
    writer.write(b"after")
    writer.close()
    s.ctl("stash", "restore", b, str(result["stash"]["id"]))
    t.equal(b"before after", read(b, "mine"), "what the writer wrote")
    for f in handles.values():
        f.close()
    os.close(here)
    os.close(same)


def test_nameless_is_no_change(t):
    """What was written through a handle whose name a reload took away is in no
    commit, and no reason against an umount: in the stash it stays."""
    s, a, b = start(t)
    write(os.path.join(a, "f"), b"x")
    s.share(a, b)
    os.makedirs(os.path.join(b, "d", "e"))
    with open(os.path.join(b, "d", "e", "mine"), "wb", buffering=0) as f:
        f.write(b"before ")
        write(os.path.join(a, "f"), b"y")
        s.commit(a)
        stash = s.reload_json(b)["stash"]["id"]
        f.write(b"after")
    t.equal(0, s.daemon.ctl_json("status", b)["dirty"]["objects"], "dirty files")
    s.daemon.umount(b, "--commit")
    s.mount("v", "b")
    s.ctl("stash", "restore", b, str(stash))
    t.equal(b"before after", read(b, "d", "e", "mine"), "what the writer wrote")


def test_unlinked(t):
    """A file that was unlinked is readable and writable while it is open, over
    a commit and a reload, and in no commit."""
    s, a, b = start(t)
    with open(os.path.join(a, "f"), "w+b", buffering=0) as f:
        f.write(b"one")
        s.commit(a)
        os.unlink(os.path.join(a, "f"))
        f.write(b"two")
        s.share(a, b)
        t.equal([], os.listdir(b), "names in B")
        s.reload(a)
        f.write(b"three")
        f.seek(0)
        t.equal(b"onetwothree", f.read(), "content")


def list_at(dir_fd):
    """Opens a directory, which the kernel does alone, and reads it."""
    fd = os.open(".", os.O_RDONLY, dir_fd=dir_fd)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def test_directory_gone(t):
    """In a directory that a reload took away there is nothing, and nothing can
    be made, as in one that was removed: ENOENT, never ESTALE."""
    s, a, b = start(t)
    os.makedirs(os.path.join(a, "w", "deep"))
    s.share(a, b)
    os.mkdir(os.path.join(b, "own"))
    dirs = [os.open(os.path.join(b, name), os.O_PATH | os.O_DIRECTORY)
            for name in ("w", "w/deep", "own")]
    shutil.rmtree(os.path.join(a, "w"))
    s.share(a, b)
    for i, d in enumerate(dirs):
        for what, call in (
                ("mkdir", lambda: os.mkdir("x", dir_fd=d)),
                ("stat", lambda: os.stat("x", dir_fd=d)),
                ("symlink", lambda: os.symlink("t", "x", dir_fd=d)),
                ("unlink", lambda: os.unlink("x", dir_fd=d)),
                ("mkfifo", lambda: os.mkfifo("x", dir_fd=d)),
                ("open", lambda: os.open("x", os.O_RDWR | os.O_CREAT,
                                         dir_fd=d))):
            try:
                call()
                error = 0
            except OSError as e:
                error = e.errno
            t.equal(errno.ENOENT, error, "%s in directory %d" % (what, i))
        t.equal([], list_at(d), "names in directory %d" % i)
        os.close(d)


def test_cwd(t):
    """A process in a directory of the mount, and a bind mount of it, stay over
    reloads."""
    s, a, b = start(t)
    os.mkdir(os.path.join(a, "d"))
    s.share(a, b)
    os.mkdir(t.path("bound"))
    t.run(["mount", "--bind", os.path.join(b, "d"), t.path("bound")])
    os.chdir(os.path.join(b, "d"))
    with open(os.path.join(a, "d", "f"), "wb") as f:
        f.write(b"new")
    s.share(a, b)
    t.equal(b"new", read("f"), "from the cwd")
    t.equal(b"new", read(t.path("bound", "f")), "from the bind mount")
    os.chdir("/")
    t.run(["umount", t.path("bound")])


@deadline(120)
def test_copy_up_over_a_reload(t):
    """A file that a reload takes away while its first writer waits for its
    bytes: the writer gets the new one, and the mount goes on."""
    s = stack.Stack(t, proxied=True)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for name in ("f", "other"):
        with open(os.path.join(a, name), "wb") as f:
            f.write(b"old " * 500000)
    s.share(a, b)
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(b"new")
    s.commit(a)
    late = s.store.fault(proxy.DELAY, "^GET ", 5)

    def append():
        with open(os.path.join(b, "f"), "ab") as f:
            f.write(b" and more")
    with concurrent.futures.ThreadPoolExecutor(1) as one:
        done = one.submit(append)
        t.wait_for(lambda: late.done == 1, "the writer waits")
        s.daemon.ctl("reload", b)
        done.result(timeout=60)
    t.equal(b"new and more", read(b, "f"), "content")
    with open(os.path.join(b, "g"), "wb") as f:
        f.write(b"g")
    s.share(b, a)
    t.equal((b"new and more", b"g"), (read(a, "f"), read(a, "g")), "committed")


@deadline(180)
def test_copied_over_a_commit(t):
    """A copy_file_range that takes its time while a commit looks at the file:
    the next commit has all of it, and its last time."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    size = 512 << 20
    path = os.path.join(a, "copy")
    with open(os.path.join(a, "f"), "wb") as f:
        f.truncate(size - 4)
        f.seek(size - 4)
        f.write(b"tail")
    files = os.path.join(s.daemon.dir, "state", "mounts")

    def sizes():
        return {os.path.join(w, n): os.stat(os.path.join(w, n)).st_size
                for w, _, names in os.walk(files) for n in names
                if os.path.basename(os.path.dirname(w)) == "files"}
    before = sizes()

    def copy():
        with open(os.path.join(a, "f"), "rb") as f, open(path, "wb") as to:
            at = 0
            while at < size:
                at += os.copy_file_range(f.fileno(), to.fileno(), size - at,
                                         at, at)

    def grows():
        return any(0 < n < size and n != before.get(f)
                   for f, n in sizes().items())
    with concurrent.futures.ThreadPoolExecutor(1) as one:
        done = one.submit(copy)
        t.wait_for(lambda: done.done() or grows(), "the copy begins")
        t.true(not done.done(), "it is not too fast")
        s.commit(a)
        done.result(timeout=120)
    s.share(a, b)
    mine, other = os.stat(path), os.stat(os.path.join(b, "copy"))
    t.equal((size, size), (mine.st_size, other.st_size), "sizes")
    t.equal(mine.st_mtime_ns, other.st_mtime_ns, "times")
    with open(os.path.join(b, "copy"), "rb") as f:
        f.seek(size - 5)
        t.equal(b"\0tail", f.read(), "its end")


@deadline(120)
def test_removed_during_a_commit(t):
    """What was there at the mark is in the commit, also when it is removed
    before it was hashed."""
    s = stack.Stack(t, proxied=True)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    names = ["f%03d" % (n * 37 % 200) for n in range(200)]
    for name in names:
        with open(os.path.join(a, name), "wb") as f:
            f.write(name.encode())
    late = s.api.fault(proxy.DELAY, "PUT /v1/volumes/.*/sessions/", 3)
    with concurrent.futures.ThreadPoolExecutor(1) as one:
        done = one.submit(s.commit_json, a)
        t.wait_for(lambda: late.done == 1, "the session is asked for")
        for name in names:
            os.unlink(os.path.join(a, name))
        result = done.result(timeout=60)
    t.true("left" not in result or not result["left"], "%r" % result)
    s.reload(b)
    t.equal(sorted(names), sorted(os.listdir(b)), "names")
    for name in names:
        t.equal(name.encode(), read(b, name), "content")


def test_times_stand(t):
    """What is not written does not change its times: not when it is opened for
    writing, made local by that, or looked at for a commit, and not after its
    times were set."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for n in range(20):
        write(os.path.join(a, "f%d" % n), b"f")
    write(os.path.join(a, "g"), b"g")
    s.commit(a)
    s.reload(a)

    def times(path):
        st = os.lstat(path)
        return st.st_mtime_ns, st.st_ctime_ns

    def stand(path, what):
        before = times(path)
        fd = os.open(path, os.O_RDWR)
        t.equal(before, times(path), what + ", open")
        # Through nothing that the kernel keeps.
        os.fsync(fd)
        os.stat(fd)
        s.commit(a)
        t.equal(before, times(path), what + ", committed")
        os.close(fd)
        t.equal(before, times(path), what + ", closed")

    stand(os.path.join(a, "g"), "made local")
    for n in range(20):
        path = os.path.join(a, "f%d" % n)
        write(path, b"more")
        os.stat(path)
        os.utime(path, ns=(1 << 60, 1 << 60))
        stand(path, "set")
        before = times(path)
        write(path, b"more")
        after = times(path)
        t.true(after[0] != before[0] and after[1] > before[1],
               "%r, then %r" % (before, after))
