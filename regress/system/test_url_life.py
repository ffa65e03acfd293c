# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""URLs that expire in mid-work are asked for again, and nobody notices."""

import os
import threading

from sailtest import deadline, proxy, stack, wire
from sailtest.stack import fill

BOTH_STORES = ("test_upload", "test_packs", "test_download")

MIB = 1 << 20
CHUNK = 8 * MIB
LIFE = "url life 2s"


def refusals(s, method):
    return [r for r in s.store.matching("^%s " % method) if r.status == 403]


def slow_answers(s, pattern, seconds, times):
    """The server signs, and its answer comes so much later."""
    s.api.fault(proxy.LATE, pattern, at=seconds, times=times)


def stack_of(t, **kwargs):
    return stack.Stack(t, daemons=2, proxied=True, server_extra=LIFE, **kwargs)


@deadline(180)
def test_upload(t):
    """Of a commit that is slower than its URLs live each object comes, and is
    sent once after a new URL."""
    s = stack_of(t)
    a = s.mount("v", "a", create=True)
    fill(os.path.join(a, "f"), 36 * 8)
    # 36 chunks, 16 at a time, each three seconds.
    s.store.throttle = CHUNK // 3
    result = s.commit_json(a)
    t.equal(36 * CHUNK, result["bytes_uploaded"], "bytes")
    t.equal([CHUNK] * 36, sorted(s.objects().values()), "objects")
    t.true(refusals(s, "PUT"), "a URL had expired")
    good = [r for r in s.store.matching("^PUT ") if r.status == 200]
    t.equal(36, len(good), "objects that were sent")
    t.true("refuses" not in s.daemon.log(), "log")


@deadline(180)
def test_upload_under_way(t):
    """What began in time goes on, however long it takes."""
    s = stack_of(t)
    a = s.mount("v", "a", create=True)
    fill(os.path.join(a, "f"), 16)
    # The store has the head of each request at once, and its body slowly.
    s.store.throttle = 3 * MIB
    s.commit(a)
    t.equal([CHUNK] * 2, sorted(s.objects().values()), "objects")
    t.equal([200, 200], [r.status for r in s.store.matching("^PUT ")],
            "nothing was sent twice")


@deadline(180)
def test_packs(t):
    """Packs whose URL was too old when their turn came."""
    s = stack_of(t)
    a = s.mount("v", "a", create=True)
    for i in range(300):
        with open(os.path.join(a, "%03d" % i), "wb") as f:
            f.write(os.urandom(100000))
    # The server signs, and its answer is late.
    slow_answers(s, "/packs", 4, 2)
    s.commit(a)
    t.true(refusals(s, "PUT"), "a URL had expired")
    objects = s.objects()
    t.equal(300 * 100000 + wire.TAIL * len(objects), sum(objects.values()),
            "bytes")


@deadline(180)
def test_queue(t):
    """Several commits at once through one process, so that each object waits for
    its turn longer than its URL lives, however often that is renewed."""
    s = stack_of(t, extra="fetchers 1")
    mounts = [s.mount("v%d" % i, "m%d" % i, create=True) for i in range(4)]
    for where in mounts:
        for i in range(20):
            fill(os.path.join(where, "f%02d" % i), 1)
    s.store.throttle = 600000
    asked = [stack.spawn(s, "commit", where) for where in mounts]
    for p in asked:
        status, out = stack.end(p)
        t.equal(0, status, "commit: %s" % out)
    t.equal([MIB] * 20 * len(mounts), sorted(s.objects().values()), "objects")
    t.true(refusals(s, "PUT"), "a URL had expired")


@deadline(180)
def test_download(t):
    """A cold read that is slower than its URLs live."""
    s = stack_of(t)
    a = s.mount("v", "a", create=True)
    fill(os.path.join(a, "f"), 30 * 8)
    want = stack.sha256(os.path.join(a, "f"))
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    s.store.reset()
    # The answer with URLs comes when they are too old, again and again.
    slow_answers(s, "/locate", 4, 3)
    t.equal(want, stack.sha256(os.path.join(b, "f")), "content")
    t.true(refusals(s, "GET"), "a URL had expired")
    t.true("refuses" not in s.daemons[1].log(), "log")


@deadline(180)
def test_cached_urls(t):
    """A mount that was idle for longer than URLs live reads on."""
    s = stack_of(t)
    a = s.mount("v", "a", create=True)
    fill(os.path.join(a, "f"), 64)
    want = stack.sha256(os.path.join(a, "f"))
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    with open(os.path.join(b, "f"), "rb") as f:
        f.read(1)
        before = s.api.count("/locate")
        threading.Event().wait(3)
        f.seek(0)
        t.equal(want, stack.sha256(os.path.join(b, "f")), "content")
    t.true(s.api.count("/locate") >= before, "asked again")


def pestered(s, what, pattern, f):
    """f goes on while the store refuses whatever URL it gets: of five seconds
    the requests that it makes, to the store and for new URLs."""
    s.store.reset()
    s.api.reset()
    s.store.fault(proxy.REFUSE, pattern, at=403, times=1 << 30)
    thread = threading.Thread(target=f, daemon=True)
    thread.start()
    s.t.wait_for(lambda: s.store.count(pattern), "the first one")
    threading.Event().wait(5)
    n = s.store.count(pattern), s.api.count("/locate|/chunks|/packs")
    print("%s: %d refused, %d questions in 5 s" % (what, *n))
    s.store.reset()
    thread.join(60)
    s.t.true(not thread.is_alive(), what + ": it has an end")
    return n


@deadline(180)
def test_always_refused(t):
    """A store that takes no URL at all, however new, is not pestered; and
    neither is the server."""
    s = stack.Stack(t, daemons=2, proxied=True)
    a = s.mount("v", "a", create=True)
    b = s.daemons[1].mount("v", "b")
    fill(os.path.join(a, "large"), 8)
    for n in range(3):
        with open(os.path.join(a, "small%d" % n), "wb") as f:
            f.write(os.urandom(4096))

    def read():
        try:
            stack.sha256(os.path.join(b, "large"))
        except OSError:
            pass

    def commit():
        s.ctl("commit", a, ok=None)

    puts, questions = pestered(s, "commit", "^PUT ", commit)
    # Of the large one and of the pack.
    t.true(2 <= puts <= 18, "uploads in 5 s: %d" % puts)
    t.true(questions <= 22, "questions in 5 s: %d" % questions)
    s.commit(a)
    s.daemons[1].ctl("reload", b)
    # It is one chunk; the server itself may be reading the pack.
    chunk = stack.sha256(os.path.join(a, "large"))
    gets, questions = pestered(s, "read", "^GET .*/" + chunk, read)
    t.true(1 <= gets <= 10, "downloads in 5 s: %d" % gets)
    t.true(questions <= 10, "questions in 5 s: %d" % questions)
    stack.same(t, stack.look(a), stack.look(b), "in the end")
