# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A commit uploads the chunks that changed and nothing else, counted at the
store."""

import os
import subprocess

from sailtest import deadline, proxy, stack
from sailtest.stack import fill

BOTH_STORES = True

MIB = 1 << 20
CHUNK = 8 * MIB


class Counter:
    """What came to the store since the last look: by its folder, and by the
    requests to it."""

    def __init__(self, t, s):
        self.t, self.s = t, s
        self.before = s.objects()
        s.store.reset()

    def new(self, what):
        """Sorted sizes of the new objects, which are those that were sent."""
        now = self.s.objects()
        new = {k: v for k, v in now.items() if k not in self.before}
        self.before = now
        puts = self.s.store.matching("^PUT ")
        self.t.equal(len(new), len(puts), what + ": requests to upload")
        sent = sum(r.up for r in puts)
        total = sum(new.values())
        self.t.true(total <= sent <= total + 4096 * len(puts),
                    "%s: %d bytes sent for %d" % (what, sent, total))
        self.s.store.reset()
        return sorted(new.values())


def change_byte(path, offset):
    """One byte becomes another, whatever it was."""
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 255]))


@deadline(240)
def test_uploads(t):
    """100 MiB: 13 objects; one byte in the middle: exactly one chunk of 8 MiB;
    1 MiB appended to a full last chunk: exactly the tail."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    count = Counter(t, s)
    big = os.path.join(a, "big")
    fill(big, 100)
    s.commit(a)
    t.equal([4 * MIB] + 12 * [CHUNK], count.new("the file"), "the file")
    change_byte(big, 50 * MIB + 12345)
    result = s.commit_json(a)
    t.equal([CHUNK], count.new("one byte"), "one byte in the middle")
    t.equal(CHUNK, result["bytes_uploaded"], "as the result says")
    full = os.path.join(a, "full")
    fill(full, 16)
    s.commit(a)
    count.new("full chunks")
    with open(full, "ab") as f:
        f.write(os.urandom(MIB))
    s.commit(a)
    t.equal([MIB], count.new("append"), "1 MiB behind a full last chunk")
    # A rename, a mode and a touch send nothing; nor does the same content.
    os.rename(big, big + "2")
    os.chmod(full, 0o600)
    os.utime(full)
    with open(full, "rb") as f, open(full + "2", "wb") as g:
        g.write(f.read())
    s.commit(a)
    t.equal([], count.new("no new content"), "no new content")
    # B gets it all, chunk by chunk, and the same.
    b = s.add_daemon().mount("v", "b")
    t.equal(stack.sha256(big + "2"), stack.sha256(os.path.join(b, "big2")),
            "the large file in B")
    t.equal(13, s.store.count("^GET "), "chunks that B fetched")
    stack.sha256(os.path.join(b, "big2"))
    t.equal(13, s.store.count("^GET "), "fetched twice")


def test_own_work(t):
    """Nobody downloads their own work again: after commit and reload A reads
    what it wrote without asking the store."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    fill(os.path.join(a, "f"), 9)
    want = stack.sha256(os.path.join(a, "f"))
    s.share(a, a)
    s.store.reset()
    # Not from the kernel's pages.
    with open(os.path.join(a, "f"), "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    t.equal(want, stack.sha256(os.path.join(a, "f")), "content")
    t.equal(0, s.store.count("^GET "), "requests to the store")


def test_resume(t):
    """A commit whose process dies in the middle goes on by itself: what was
    sent is not sent again, it is published once, and who asked for it gets the
    id."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    fill(os.path.join(a, "f"), 40)
    s.api.fault(proxy.REFUSE, "^POST .*/commit", at=503, times=1000)
    asked = subprocess.Popen([s.program, "commit", a], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    t.wait_for(lambda: s.api.count("^POST .*/commit"), "the upload's end", 60)
    t.equal(5, len(s.objects()), "objects that were sent")
    old = s.daemon.pids("manifest")
    s.daemon.kill("manifest")
    t.wait_for(lambda: s.daemon.pids("manifest") not in ([], old),
               "manifest again")
    s.api.reset()
    s.store.reset()
    out, err = asked.communicate(timeout=90)
    t.equal((0, ""), (asked.returncode, err), "exit status of who asked")
    # It may be asked for, and is not sent.
    sent = sum(r.up for r in s.store.matching("^PUT "))
    t.true(sent < MIB, "%d bytes were sent again" % sent)
    log = s.server.call("GET", "/v1/volumes/v/commits")[1]["commits"]
    t.equal([1, 0], [c["number"] for c in log], "commits")
    t.equal(log[0]["id"], out.strip(), "the id")


@deadline(240)
def test_larger_chunks(t):
    """Over 1 GiB chunks have 32 MiB, and holes none: one byte in the middle is
    one chunk, an append to a full last chunk the tail; a file that grows keeps
    the chunk size that it was first committed with."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    b = s.add_daemon().mount("v", "b")
    count = Counter(t, s)
    big, grown = os.path.join(a, "big"), os.path.join(a, "grown")
    fill(grown, 8)
    with open(big, "wb") as f:
        f.truncate(1088 * MIB)  # 34 chunks
        f.seek(320 * MIB)
        f.write(os.urandom(33 * MIB))
        f.seek(1088 * MIB - 5)
        f.write(b"end.\n")
    s.commit(a)
    t.equal([CHUNK, 4 * CHUNK, 4 * CHUNK, 4 * CHUNK], count.new("the files"),
            "8 MiB, and what of 1088 MiB is no hole")
    change_byte(big, 330 * MIB + 7)
    s.commit(a)
    t.equal([4 * CHUNK], count.new("one byte"), "one byte")
    change_byte(big, 600 * MIB)
    s.commit(a)
    t.equal([4 * CHUNK], count.new("in a hole"), "one byte in a hole")
    with open(big, "ab") as f:
        f.write(os.urandom(MIB))
    s.commit(a)
    t.equal([MIB], count.new("append"), "1 MiB behind a full last chunk")
    os.truncate(grown, 1025 * MIB)
    s.commit(a)
    t.equal([], [n for n in count.new("growth") if n > CHUNK], "grown")
    change_byte(grown, 1024 * MIB)
    s.commit(a)
    t.equal([MIB], count.new("in the grown one"), "its last chunk")
    s.reload(b)
    t.equal(stack.sha256(big), stack.sha256(os.path.join(b, "big")), "in B")
    st = os.stat(os.path.join(b, "big"))
    t.equal(1089 * MIB, st.st_size, "size in B")
    # Of what B shows as clean, too.
    change_byte(os.path.join(b, "big"), 1088 * MIB + 5)
    count.new("nothing")
    s.commit(b)
    t.equal([MIB], count.new("in B"), "the tail, changed in B")
