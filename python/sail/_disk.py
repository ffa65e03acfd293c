# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The writable layer of a sandbox: a file with a file system of its own, of the
size that was asked for, on a loop device; or a plain folder where there are no
loop devices.

In it: upper and work (of overlayfs), and out, what background commands wrote.
Ids are stored as the sandbox sees them, from 0, so that a copy fits a sandbox
with other ids.
"""

import errno
import os
import shutil
import subprocess
from typing import List

from sail import _linux

FILE, FOLDER = "disk.img", "disk"
FOLDERS = (("upper", 0o755), ("work", 0o700), ("out", 0o700))
_BLOCK = 1 << 20


def can_limit() -> str:
    """"" or why the size of the disk cannot be enforced."""
    if not os.path.exists("/dev/loop-control"):
        return "there is no /dev/loop-control"
    if shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin") is None:
        return "there is no mkfs.ext4"
    return ""


def make(path: str, gib: float) -> None:
    """A new one below that folder."""
    if can_limit():
        _folders(os.path.join(path, FOLDER))
        return
    file = os.path.join(path, FILE)
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, int(gib * (1 << 30)))
    finally:
        os.close(fd)
    # It does not outlive the machine, so that it needs no journal.
    done = subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E",
         "lazy_itable_init=1,nodiscard", file],
        env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise OSError(errno.EIO, "mkfs.ext4: " + done.stdout.strip()[-500:],
                      file)


def _folders(path: str) -> None:
    os.mkdir(path, 0o700)
    complete(path)


def complete(path: str) -> None:
    """The folders in it, by the root of the machine."""
    for name, mode in FOLDERS:
        where = os.path.join(path, name)
        if not os.path.isdir(where):
            os.mkdir(where)
            os.chmod(where, mode)


def copy(source: str, target: str) -> None:
    """That of one folder into another; nobody writes to it meanwhile."""
    file = os.path.join(source, FILE)
    if os.path.exists(file):
        _copy_sparse(file, os.path.join(target, FILE))
        return
    subprocess.run(["cp", "-a", os.path.join(source, FOLDER), target],
                   check=True, stdin=subprocess.DEVNULL)


def _copy_sparse(source: str, target: str) -> None:
    src = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        dst = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL |
                      os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(src).st_size
            os.ftruncate(dst, size)
            at = 0
            while at < size:
                try:
                    at = os.lseek(src, at, os.SEEK_DATA)
                except OSError as e:
                    # ENXIO: nothing but a hole up to the end.
                    if e.errno != errno.ENXIO:
                        raise
                    break
                end = os.lseek(src, at, os.SEEK_HOLE)
                while at < end:
                    data = os.pread(src, min(_BLOCK, end - at), at)
                    if not data:
                        return
                    at += os.pwrite(dst, data, at)
        finally:
            os.close(dst)
    finally:
        os.close(src)


def _devices(file: str) -> List[str]:
    """The loop devices over the file."""
    found = []
    for name in os.listdir("/sys/block"):
        try:
            with open("/sys/block/%s/loop/backing_file" % name, "rb") as f:
                if f.read().rstrip(b"\n") == os.fsencode(file):
                    found.append("/dev/" + name)
        except OSError:
            pass
    return found


def thaw(path: str) -> None:
    """The file system of that folder's disk goes on if it was frozen.  One that
    nobody has mounted any more lives on frozen: mounted again it is the same
    one, in a mount namespace that ends with a process."""
    for device in _devices(os.path.realpath(os.path.join(path, FILE))):
        child = os.fork()
        if child == 0:
            try:
                _linux.unshare(_linux.CLONE_NEWNS)
                _linux.mount(None, "/", None,
                             _linux.MS_REC | _linux.MS_PRIVATE)
                _linux.mount(device, "/tmp", "ext4",
                             _linux.MS_NOSUID | _linux.MS_NODEV)
                fd = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
                _linux.thaw(fd)
            except OSError:
                pass  # it was not frozen
            finally:
                os._exit(0)
        os.waitpid(child, 0)


def remove(path: str) -> None:
    try:
        os.unlink(os.path.join(path, FILE))
    except FileNotFoundError:
        pass
    remove_tree(os.path.join(path, FOLDER))


def remove_tree(path: str) -> None:
    """However deep it is: a sandbox made it."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", path],
                   check=False, stdin=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
