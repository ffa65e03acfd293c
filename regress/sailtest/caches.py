# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The kernel's caches belong to the whole machine: who drops them waits for the
tests that count what the kernel asks because it has not got it, in any
clone."""

import fcntl
import os
import tempfile

PAGES, NAMES, ALL = 1, 2, 3
_LOCK = os.path.join(tempfile.gettempdir(), "sail-caches.lock")
_kept = None


def _lock(how):
    fd = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, how)
    return fd


def keep():
    """Until this process ends nobody else drops them."""
    global _kept
    if _kept is None:
        _kept = _lock(fcntl.LOCK_SH)


def drop(what=ALL):
    """Clean pages, or names and attributes, or both."""
    if _kept is None:
        fd = _lock(fcntl.LOCK_EX)
    else:
        fd = _kept
        fcntl.flock(fd, fcntl.LOCK_EX)
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("%d" % what)
    if _kept is None:
        os.close(fd)
    else:
        fcntl.flock(fd, fcntl.LOCK_SH)
