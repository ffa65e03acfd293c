# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""2 GiB with URLs that live two seconds."""

import os
import time

from sailtest import deadline, stack

MIB = 1 << 20
BOTH_STORES = True


def as_filled(path, mib):
    """Whether a file is as fill() wrote it, by its own first block."""
    with open(path, "rb") as f:
        block = f.read(MIB)[8:]
        f.seek(0)
        return all(f.read(MIB) == b"%08d" % i + block for i in range(mib)) and (
            f.read(1) == b"")


@deadline(900)
def test_two_gib(t):
    """They go up, 16 objects at a time, each for more than three seconds, so that
    URLs expire in between; they come to another machine as fast as they can.
    Nobody notices."""
    s = stack.Stack(t, daemons=2, proxied=True, server_extra="url life 2s")
    a = s.mount("v", "a", create=True)
    stack.fill(os.path.join(a, "f"), 2048)
    s.store.throttle = 10 * MIB
    began = time.monotonic()
    result = s.commit_json(a, timeout=600)
    up = time.monotonic() - began
    t.equal(2 << 30, result["bytes_uploaded"], "bytes")
    expired = [r for r in s.store.matching("^PUT ") if r.status == 403]
    b = s.daemons[1].mount("v", "b")
    began = time.monotonic()
    t.true(as_filled(os.path.join(b, "f"), 2048), "content")
    print("2 GiB: commit %.1f s, cold read %.1f s; %d and %d URLs expired" % (
        up, time.monotonic() - began, len(expired), len([
            r for r in s.store.matching("^GET ") if r.status == 403])))
    t.true(expired, "no URL expired in %.1f s" % up)
    for daemon in s.daemons:
        t.true("refuses" not in daemon.log(), "log of " + daemon.name)
