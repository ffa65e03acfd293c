# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What Python's os module lacks of Linux: namespaces, mounts by descriptor,
loop devices, file systems that are frozen.  Each is one system call, an OSError when it
fails."""

import ctypes
import errno
import fcntl
import os
import stat
import struct
from typing import Optional, Tuple

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000

MS_NOSUID = 2
MS_NODEV = 4
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

OPEN_TREE_CLONE = 1
AT_EMPTY_PATH = 0x1000
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_IDMAP = 0x00100000

_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878

# The same number on every architecture: those that came after 5.0.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442

_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_LO_FLAGS_AUTOCLEAR = 4
# struct loop_info64: its size, and where lo_flags is.
_LOOP_INFO = 232
_LOOP_FLAGS_AT = 52

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str = "") -> int:
    if result < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e), what or None)
    return result


def _bytes(path: Optional[str]) -> Optional[bytes]:
    return None if path is None else os.fsencode(path)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0),
                       ctypes.c_ulong(0), ctypes.c_ulong(0)), "prctl")


def setfsids(uid: int, gid: int) -> None:
    """For this thread alone; they say nothing of failure, so it is asked."""
    for call, want in ((_libc.setfsgid, gid), (_libc.setfsuid, uid)):
        call(ctypes.c_uint(want))
        if call(ctypes.c_uint(0xffffffff)) != want:
            raise OSError(errno.EPERM, "setfsuid", str(want))


def mount(source: Optional[str], target: str, kind: Optional[str],
          flags: int, data: str = "") -> None:
    _check(_libc.mount(_bytes(source), _bytes(target), _bytes(kind),
                       ctypes.c_ulong(flags), _bytes(data)), target)


def umount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(_bytes(target), flags), target)


def syncfs(fd: int) -> None:
    """All of the file system that it is of."""
    _check(_libc.syncfs(fd))


def open_tree(fd: int, path: str = "") -> int:
    """A detached copy of the mount at path (or at fd), as a descriptor."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
    return _check(_libc.syscall(
        ctypes.c_long(_SYS_OPEN_TREE), fd, _bytes(path),
        ctypes.c_uint(flags)), path)


def move_mount(fd: int, target: str) -> None:
    """Attaches a detached mount at target."""
    _check(_libc.syscall(
        ctypes.c_long(_SYS_MOVE_MOUNT), fd, b"", -100, _bytes(target),
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH)), target)


def mount_setattr(fd: int, attributes: int, userns: int = 0) -> None:
    """Sets attributes of a detached mount: MOUNT_ATTR_*."""
    attr = struct.pack("=4Q", attributes, 0, 0, userns)
    _check(_libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR), fd, b"",
        ctypes.c_uint(AT_EMPTY_PATH), attr, ctypes.c_size_t(len(attr))),
        "mount_setattr")


def loop_open(path: str) -> Tuple[str, int]:
    """(path of a loop device over the file, the device opened): the device
    goes by itself once nobody has it open or mounted."""
    back = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        for _ in range(64):
            with open("/dev/loop-control", "rb") as control:
                n = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            device = "/dev/loop%d" % n
            _loop_node(device, n)
            fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            try:
                info = bytearray(_LOOP_INFO)
                struct.pack_into("=I", info, _LOOP_FLAGS_AT,
                                 _LO_FLAGS_AUTOCLEAR)
                config = struct.pack("=II", back, 0) + bytes(info) + bytes(64)
                fcntl.ioctl(fd, _LOOP_CONFIGURE, config)
                return device, fd
            except OSError as e:
                os.close(fd)
                # Somebody else was first.
                if e.errno != errno.EBUSY:
                    raise
        raise OSError(errno.EBUSY, "no loop device is free", path)
    finally:
        os.close(back)


def _loop_node(device: str, n: int) -> None:
    """Without udev, in a container, nobody makes the node."""
    try:
        os.mknod(device, 0o600 | stat.S_IFBLK, os.makedev(7, n))
    except FileExistsError:
        pass


def freeze(fd: int) -> None:
    """Flushes the file system of fd and holds its writers."""
    fcntl.ioctl(fd, _FIFREEZE, 0)


def thaw(fd: int) -> None:
    fcntl.ioctl(fd, _FITHAW, 0)
