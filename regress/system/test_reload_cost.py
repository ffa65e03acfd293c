# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What a reload costs depends on what changed, not on how large the volume
is: bytes on the wire are counted."""

import os

from sailtest import deadline, stack

# Without the leases: each mount renews its own when its time has come, and
# that may be now.
ASKED = r"^(?!PUT \S*/leases/)"
# Fewer names than a node is ever cut at: what each directory costs is the same
# whatever the salt of the family.
FILES = 50
WIDE = 40  # directories in one, likewise


def fill(top, directories):
    for d in range(directories):
        where = os.path.join(top, "d%02d" % (d // WIDE), "e%02d" % (d % WIDE))
        os.makedirs(where)
        for i in range(FILES):
            fd = os.open(os.path.join(where, "file%04d" % i),
                         os.O_WRONLY | os.O_CREAT, 0o644)
            if i % 10 == 0:
                os.write(fd, b"%d" % (i % 7))
            os.close(fd)


def cost(t, s, reader, volume, directories):
    """(the requests, their bytes) of a reload of B after A changed one file."""
    a = s.mount(volume, volume + "-a", create=True)
    fill(a, directories)
    s.commit(a, timeout=300)
    b = reader.mount(volume, volume + "-b")
    # B knows the tree from before.
    total = 0
    for _, _, files in os.walk(b):
        total += len(files)
    t.equal(directories * FILES, total, "files in B")
    changed = os.path.join("d00", "e00", "file0025")
    with open(os.path.join(a, changed), "wb") as f:
        f.write(b"changed")
    want = s.commit(a)
    s.api.reset()
    t.equal(want, s.reload(b), "reload")
    used = s.api.matching(ASKED), s.api.bytes(ASKED)
    with open(os.path.join(b, changed), "rb") as f:
        t.equal(b"changed", f.read(), "the changed file in B")
    with open(os.path.join(b, "d00", "e00", "file0040"), "rb") as f:
        t.equal(b"5", f.read(), "an unchanged file in B")
    return used


@deadline(420)
def test_reload_of_one_change(t):
    """At 50 and at 100,000 files: the same requests, and not more bytes than
    the names beside the path to what changed are."""
    s = stack.Stack(t, proxied=True)
    reader = s.add_daemon()
    small = cost(t, s, reader, "small", 1)
    large = cost(t, s, reader, "large", 2000)
    # In the root directory 49 names more, in the one below it 39.
    t.true(large[1] <= small[1] + (49 + WIDE - 1) * 150,
           "bytes: %d at 50 files, %d at 100,000" % (small[1], large[1]))
    t.true(len(large[0]) <= len(small[0]) + 1, "requests: %r and %r" % (
        small[0], large[0]))
