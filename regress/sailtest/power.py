# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A disk that loses power: ext4 on a loop device that writes to its image
directly, so that the image has what reached the disk, and not what the file
system and the page cache still hold.  A copy of it is the disk after the loss;
where so much is written that no copy is one moment, the file system is stopped.

The device goes with its mount, which the runner takes away."""

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import uuid

from sailtest import Failure

COPIES = 200
FS_IOC_FIEMAP = 0xc020660b
# linux/fs/ext4/ext4.h: _IOR('X', 125, __u32), and that the journal stays as it is
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587d, 2


def command(*argv):
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode != 0:
        raise Failure("%s: status %d: %s" % (argv, done.returncode,
                                             done.stdout))
    return done.stdout.strip()


def require(t):
    for program in ("losetup", "mkfs.ext4"):
        if shutil.which(program) is None:
            t.skip("no " + program)
    if not os.path.exists("/dev/loop-control"):
        t.skip("no loop devices")


class Disk:
    """Below a folder, whose content it takes over."""

    DIRECT = "on"

    def __init__(self, t, folder, mib=256):
        self.t, self.folder, self.serial = t, folder, 0
        self.image = self.place(mib)
        with open(self.image, "wb") as f:
            f.truncate(mib << 20)
        command("mkfs.ext4", "-q", "-m", "0", "-b", "4096", self.image)
        self.made()
        before = folder + ".before"
        os.rename(folder, before)
        os.mkdir(folder)
        self.mount()
        command("cp", "-a", before + "/.", folder)
        os.sync()

    def place(self, mib):
        return self.t.path(os.path.basename(self.folder) + ".disk.data")

    def made(self):
        """There is a file system, and nothing in it."""

    def mount(self):
        loop = command("losetup", "--direct-io=" + self.DIRECT, "-f", "--show",
                       self.image)
        try:
            command("mount", "-t", "ext4", loop, self.folder)
        finally:
            # It goes when it is not mounted any more.
            command("losetup", "-d", loop)
        self.name = os.path.basename(loop)

    def writes(self):
        """What was written, and is on its way."""
        with open("/sys/block/%s/stat" % self.name, encoding="ascii") as f:
            fields = f.read().split()
        return fields[4], fields[6], fields[8]

    def metadata(self):
        """The file system's journal goes to disk, as it does every 5 s; what
        was written to other files does not."""
        path = os.path.join(self.folder, "unrelated")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"x")
        os.fsync(fd)
        os.close(fd)

    def snapshot(self):
        """A copy of the image during which nothing was written to it."""
        self.serial += 1
        path = "%s.%d.data" % (self.image[:-5], self.serial)
        for _ in range(COPIES):
            before = self.writes()
            command("cp", "--sparse=always", self.image, path)
            if self.writes() == before and before[2] == "0":
                return path
        raise Failure("%s is never quiet" % self.folder)

    def lose(self, snapshot=None):
        """What uses it has ended: it is as it was then, or at cut()."""
        self.t.wait_for(self.unmounted, "%s is not in use" % self.folder)
        if snapshot is not None:
            os.unlink(self.image)
            self.image = snapshot
        self.mount()
        self.boot()

    def boot(self):
        """For who asks the kernel, it is another one."""
        path = self.t.path("boot%d" % self.serial)
        with open(path, "w", encoding="ascii") as f:
            f.write("%s\n" % uuid.uuid4())
        command("mount", "--bind", path, "/proc/sys/kernel/random/boot_id")

    def cut(self):
        """In the middle of work: from now on nothing reaches the disk, whoever
        writes has EIO, and lose() gives what was there."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmounted(self):
        return subprocess.run(["umount", self.folder], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0


def extents(path):
    """Where a file lies: [(offset, bytes)] of the disk."""
    count = 64
    buf = bytearray(struct.pack("=QQIIII", 0, 2 ** 64 - 1, 0, 0, count, 0) +
                    bytes(56 * count))
    with open(path, "rb") as f:
        fcntl.ioctl(f, FS_IOC_FIEMAP, buf)
    return [struct.unpack_from("=QQ", buf, 32 + 56 * i + 8)
            for i in range(struct.unpack_from("=I", buf, 20)[0])]


class BadDisk(Disk):
    """One that does not take what is written to some blocks, for a while: its
    image has holes there, and lies in a file system that is full."""

    DIRECT = "off"

    def place(self, mib):
        self.store = self.t.path(os.path.basename(self.folder) + ".store")
        os.mkdir(self.store)
        command("mount", "-t", "tmpfs", "-o", "size=%dm" % (mib + 1), "none",
                self.store)
        return self.store + "/disk.data"

    def made(self):
        command("fallocate", "-l", str(os.path.getsize(self.image)), self.image)

    def fail(self, where):
        """What is there is lost.  A write that begins before it does not fail:
        the loop device takes a part for the whole."""
        for at, size in where:
            command("fallocate", "-p", "-o", str(at), "-l", str(size),
                    self.image)
        with open(self.store + "/full", "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(4096))
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise

    def heal(self):
        os.unlink(self.store + "/full")
