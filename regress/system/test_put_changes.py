# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What sailvolctl put publishes is what a file was at one moment, whatever is
done to it, to the store or to the server meanwhile; or nothing."""

import hashlib
import json
import os
import shutil
import sqlite3
import threading

from sailtest import proxy, stack
from system import test_paths as paths
from system.test_put import put, states

BOTH_STORES = True

MIB = 1 << 20


def begin(t):
    """(stack, a mount of vol, a folder to put from)."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    src = t.path("src")
    os.mkdir(src)
    os.environ["XDG_STATE_HOME"] = t.path("state")
    return s, a, src


def ended(t, p, status=0):
    out, err = p.communicate(timeout=100)
    t.equal(status, p.returncode, err)
    return out, err.decode()


def held(t, p, fault):
    t.wait_for(lambda: fault.done > 0 or p.poll() is not None, "it is held")
    t.equal(None, p.poll(), "it runs")


def fill(path, size, seed):
    """Each MiB of it is another one, and each of those of another seed."""
    with open(path, "r+b" if os.path.exists(path) else "wb") as f:
        for i in range(size // MIB):
            f.write(hashlib.sha256(b"%d %d" % (seed, i)).digest() * (MIB // 32))


def test_streams(t):
    """A large file is on its way to the store before all of it was read, and
    goes there once."""
    s, a, src = begin(t)
    paths.random_file(a + "/big", 64 * MIB)
    s.commit(a)
    # Somewhere else, where it comes from the store; one chunk of it late.
    b = s.add_daemon().mount("vol", "b")
    c = s.mount("other", "c", create=True)
    s.store.reset()
    with open(a + "/big", "rb") as f:
        f.seek(32 * MIB)
        late = hashlib.sha256(f.read(8 * MIB)).hexdigest()
    fault = s.store.fault(proxy.HOLD, "GET .*" + late, times=1000)
    p = paths.start(s, "put", b + "/big", "other:")
    t.wait_for(lambda: fault.done > 0 and any(
        r.status == 200 for r in s.store.matching("PUT")) or
               p.poll() is not None, "it is on its way")
    t.equal(None, p.poll(), "it runs")
    fault.release()
    ended(t, p)
    s.reload(c)
    t.equal(stack.sha256(a + "/big"), stack.sha256(c + "/big"), "content")
    sent = [r.target.split("?")[0] for r in s.store.matching("PUT")]
    t.equal((8, 8), (len(sent), len(set(sent))), "each once")
    # Nothing of one that is there.
    shutil.copyfile(a + "/big", src + "/big")
    put(s, src + "/big", "other:")
    s.store.reset()
    os.utime(src + "/big", ns=(1, 1))
    r = json.loads(put(s, "-j", src + "/big", "other:").stdout)
    t.equal((1, 0, 0), (r["puts"], r["bytes_uploaded"],
                        s.store.count("PUT")), "its time alone")


def test_rewritten(t):
    """A file that is written to while it is on its way is read again: it is
    there as it was then, never half and half."""
    s, a, src = begin(t)
    big, small = src + "/big", src + "/small"
    fill(big, 96 * MIB, 1)
    stack.write(small, "one\n")
    # All of them: with one held the rest of it may be there before the change,
    # and that would be right too.
    fault = s.store.fault(proxy.HOLD, "PUT", times=1000)
    p = paths.start(s, "put", src, "vol:")
    held(t, p, fault)
    fill(big, 96 * MIB, 2)
    os.chmod(small, 0o600)
    stack.write(small, "two\n")
    fault.release()
    ended(t, p)
    s.reload(a)
    t.equal(stack.sha256(big), stack.sha256(a + "/src/big"), "big")
    # It waits in a pack for what is held, with what it was when that was made.
    t.true((stack.read(a + "/src/small"),
            os.stat(a + "/src/small").st_mode & 0o777) in (
                ("one\n", 0o644), ("one\n", 0o600), ("two\n", 0o600)),
           "small, of one moment")
    put(s, src, "vol:")
    s.reload(a)
    stack.same(t, paths.look(src), paths.look(a + "/src"), "again")
    # Shorter, longer, and one that takes its place.
    for i, change in enumerate((
            lambda: os.truncate(big, 20 * MIB),
            lambda: fill(big, 120 * MIB, 3),
            lambda: (fill(src + ".new", 40 * MIB, 4),
                     os.replace(src + ".new", big)))):
        fill(big, os.stat(big).st_size, 5 + i)
        before = stack.sha256(big)
        fault = s.store.fault(proxy.HOLD, "PUT")
        p = paths.start(s, "put", src, "vol:")
        held(t, p, fault)
        change()
        fault.release()
        ended(t, p)
        s.reload(a)
        t.true(stack.sha256(a + "/src/big") in (before, stack.sha256(big)),
               "one or the other")


def test_before_it_is_read(t):
    """What is done to a file between the walk and its turn is in what is
    published, with the times that go with it."""
    s, a, src = begin(t)
    stack.write(src + "/f", "one\n")
    os.utime(src + "/f", ns=(10 ** 18, 10 ** 18))
    fault = s.api.fault(proxy.HOLD, "PUT .*/sessions/")
    p = paths.start(s, "put", src, "vol:")
    held(t, p, fault)
    stack.write(src + "/f", "two, and longer\n")
    os.chmod(src + "/f", 0o640)
    fault.release()
    ended(t, p)
    s.reload(a)
    stack.same(t, paths.look(src), paths.look(a + "/src"), "as it is")
    t.equal("sailvolctl: nothing to publish\n", put(s, src, "vol:").stderr,
            "again")
    fault = s.api.fault(proxy.HOLD, "PUT .*/sessions/")
    stack.write(src + "/g", "x\n")
    p = paths.start(s, "put", src, "vol:")
    held(t, p, fault)
    os.unlink(src + "/g")
    fault.release()
    _, err = ended(t, p, 1)
    t.true("src/g: No such file" in err, err)
    for swap in (lambda: os.symlink("/etc/passwd", src + "/h"),
                 lambda: os.mkfifo(src + "/h"), lambda: os.mkdir(src + "/h")):
        stack.write(src + "/h", "x\n")
        fault = s.api.fault(proxy.HOLD, "PUT .*/sessions/")
        p = paths.start(s, "put", src, "vol:")
        held(t, p, fault)
        os.unlink(src + "/h")
        swap()
        fault.release()
        _, err = ended(t, p, 1)
        t.true("src/h: " in err, err)
        if os.path.isdir(src + "/h") and not os.path.islink(src + "/h"):
            os.rmdir(src + "/h")
        else:
            os.unlink(src + "/h")
    t.equal("f\n", paths.tool(s, "ls", "vol:src").stdout, "published")


def test_never_quiet(t):
    """A file that somebody writes to all the time is said so soon, and nothing
    is published; the same put does it afterwards."""
    s, a, src = begin(t)
    big = src + "/log"
    fill(big, 64 * MIB, 1)
    stack.write(src + "/a", "x\n")
    stop = threading.Event()

    def write():
        with open(big, "r+b", buffering=0) as f:
            n = 0
            while not stop.is_set():
                n += 1
                os.pwrite(f.fileno(), b"%016d" % n, 0)
                os.pwrite(f.fileno(), b"%016d" % n, 40 * MIB)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        r = put(s, src, "vol:", ok=1)
    finally:
        stop.set()
        writer.join()
    t.true("src/log: it changes while it is read" in r.stderr, r.stderr)
    t.equal("", paths.tool(s, "ls", "vol:").stdout, "nothing is published")
    put(s, src, "vol:")
    s.reload(a)
    t.equal(stack.sha256(big), stack.sha256(a + "/src/log"), "afterwards")


def lost(t, lose, says=None):
    """A put of some files, and what is held before its commit."""
    s, a, src = begin(t)
    paths.random_file(src + "/big", 20 * MIB)
    for i in range(20):
        stack.write("%s/f%d" % (src, i), "%d\n" % i)
    fault = s.api.fault(proxy.HOLD, "POST .*/commit$")
    p = paths.start(s, "put", src, "vol:")
    held(t, p, fault)
    lose(s)
    fault.release()
    ended(t, p)
    s.reload(a)
    stack.same(t, paths.look(src), paths.look(a + "/src"), "content")
    log = json.loads(paths.tool(s, "log", "-j", "vol").stdout)["commits"]
    t.equal(2, len(log), "one commit")
    t.equal([], states(t), "left over")
    # From the store, by who has nothing yet.
    os.mkdir(t.path("out"))
    paths.tool(s, "get", "vol:src", t.path("out"))
    stack.same(t, paths.look(src), paths.look(t.path("out/src")), "get")


def test_lost_objects(t):
    """Objects that the store loses before the commit are sent again."""
    lost(t, lambda s: [s.server.s3.delete(k) for k in list(s.objects())])


def test_lost_session(t):
    """A server that has forgotten the session is given a new one."""
    def forget(s):
        db = sqlite3.connect(os.path.join(s.server.dir, "db/sailapi.db"),
                             timeout=60)
        with db:
            db.execute("DELETE FROM session_chunk")
            db.execute("DELETE FROM session")
        db.close()
    lost(t, forget)


def test_store_asks_again(t):
    """An error by which a store means that another try has another end is none:
    so it says when two send the same at the same time."""
    s, a, src = begin(t)
    fill(src + "/big", 2 * MIB, 1)
    stack.write(src + "/small", "small\n")
    faults = [s.store.fault(proxy.ANSWER, "^PUT ", proxy.s3_error(status, code))
              for status, code in ((409, "ConditionalRequestConflict"),
                                   (400, "RequestTimeout"),
                                   (409, "ConditionalRequestConflict"))]
    put(s, src, "vol:")
    t.equal([1, 1, 1], [f.done for f in faults], "met")
    s.reload(a)
    stack.same(t, paths.look(src), paths.look(a + "/src"), "content")


def test_lost_always(t):
    """A store that keeps nothing is said so; nothing is published."""
    s, a, src = begin(t)
    paths.random_file(src + "/big", 20 * MIB)
    stop = threading.Event()

    def hold():
        return s.api.fault(proxy.HOLD, "POST .*/commit$")

    def lose():
        """What was brought, whenever the server is about to look at it."""
        held = hold()
        while not stop.wait(0.01):
            if held.done > 0:
                for key in list(s.objects()):
                    s.server.s3.delete(key)
                before, held = held, hold()
                before.release()
        held.release()
    thread = threading.Thread(target=lose)
    thread.start()
    try:
        r = put(s, src, "vol:", ok=1)
    finally:
        stop.set()
        thread.join()
    t.true("chunks are neither known" in r.stderr, r.stderr)
    s.api.reset()
    t.equal("", paths.tool(s, "ls", "vol:").stdout, "nothing is published")
    put(s, src, "vol:")
    shutil.rmtree(src)
