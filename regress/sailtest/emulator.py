# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Programs of the other kind of machine, through qemu-user: a test that needs
them has a mount namespace of its own, in which binfmt_misc is mounted and the
emulator registered.

The register belongs to the whole machine.  What tests of any clone put into it
stands in the lock file, and the last of them takes it out; what was there
before stays.  What a killed test left goes with its mount (Linux 6.7), or else
with the next test that runs."""

import contextlib
import ctypes
import fcntl
import os
import re
import tempfile

REGISTER = "/proc/sys/fs/binfmt_misc"
_KNOWN = "/usr/lib/binfmt.d/%s.conf"
_LOCK = os.path.join(tempfile.gettempdir(), "sail-emulator.lock")
CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e), what)


def mount(source, target, kind, flags=0):
    _check(libc.mount(source, target.encode(), kind, ctypes.c_ulong(flags),
                      None), target)


def own_mounts():
    """What this process and its children mount from now on is theirs, and goes
    with the last of them."""
    _check(libc.unshare(CLONE_NEWNS), "unshare")
    mount(None, "/", None, MS_REC | MS_PRIVATE)


def hide(entries):
    """The register shows these, {name: text}, and nothing else."""
    own_mounts()
    mount(b"tmpfs", REGISTER, b"tmpfs")
    for name, text in entries.items():
        with open(os.path.join(REGISTER, name), "w", encoding="ascii") as f:
            f.write(text)


def _put(name, data):
    fd = os.open(os.path.join(REGISTER, name), os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _register(t, lock, name):
    if os.path.exists(os.path.join(REGISTER, name)):
        return
    try:
        with open(_KNOWN % name, "rb") as f:
            line = f.read().strip()
    except FileNotFoundError:
        t.skip("qemu-user-static is not installed")
    try:
        _put("register", line)
    except FileExistsError:
        # Another test was faster, and notes it.
        return
    except OSError as e:
        t.skip("%s cannot be registered: %s" % (name, e.strerror))
    os.pwrite(lock, name.encode() + b"\n", 0)


def _leave(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Not the last one.
        return
    for name in os.pread(lock, 4096, 0).decode(errors="replace").split():
        if re.fullmatch("qemu-[0-9a-z_]+", name):
            with contextlib.suppress(FileNotFoundError):
                _put(name, b"-1")
    os.ftruncate(lock, 0)


@contextlib.contextmanager
def registered(t, name):
    """Meanwhile that emulator (qemu-aarch64) runs programs, or the test is
    skipped."""
    own_mounts()
    if not os.path.exists(os.path.join(REGISTER, "register")):
        try:
            mount(b"binfmt_misc", REGISTER, b"binfmt_misc")
        except OSError as e:
            t.skip("binfmt_misc cannot be mounted: %s" % e.strerror)
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        _register(t, lock, name)
        yield
    finally:
        _leave(lock)
        os.close(lock)
