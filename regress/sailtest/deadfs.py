# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A file system with one folder, whose server stops answering when it is told to,
as that of a network file system does: who asks it then hangs in the kernel, and
cannot be killed."""

import ctypes
import os
import select
import stat
import struct
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
NODEV, DETACH = 4, 2
FORGET, BATCH_FORGET, INTERRUPT = 2, 42, 36
LOOKUP, GETATTR, STATFS, INIT = 1, 3, 17, 26
ENOENT, ENOSYS = 2, 38
REQUEST = struct.Struct("=IIQQIIII")    # length, opcode, unique, node, ...
NAME = b"mnt"


def attributes(node):
    return struct.pack("=6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0,
                       stat.S_IFDIR | 0o755, 2, 0, 0, 0, 4096, 0)


class DeadFs:
    """Mounted at that path; self.folder is in it."""

    def __init__(self, path):
        self.path, self.folder = path, os.path.join(path, os.fsdecode(NAME))
        os.makedirs(path)
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % (
            self.fd)
        if LIBC.mount(b"dead", os.fsencode(path), b"fuse.dead", NODEV,
                      options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount of a dead file system")
        self.hangs = self.ends = False
        self.held = []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.ends:
            if not select.select([self.fd], [], [], 0.1)[0]:
                continue
            try:
                request = os.read(self.fd, 1 << 17)
            except OSError:     # one that was given up, or the end
                continue
            with self.lock:
                if self.hangs:
                    self.held.append(request)
                else:
                    self.answer(request)

    def answer(self, request):
        _, what, unique, node = REQUEST.unpack_from(request)[:4]
        body, error = b"", ENOSYS
        if what in (FORGET, BATCH_FORGET, INTERRUPT):
            return
        if what == INIT:
            body = struct.pack("=4I2H2I2H8I", 7, 31, 0, 0, 16, 12, 4096, 1, 1,
                               0, *([0] * 8))
        elif what == LOOKUP:
            if request[REQUEST.size:].rstrip(b"\0") == NAME:
                body = struct.pack("=4Q2I", 2, 0, 0, 0, 0, 0) + attributes(2)
            else:
                error = ENOENT
        elif what == GETATTR:
            body = struct.pack("=Q2I", 0, 0, 0) + attributes(node)
        elif what == STATFS:
            body = bytes(80)
        error = 0 if body else -error
        try:
            os.write(self.fd, struct.pack("=IiQ", 16 + len(body), error,
                                          unique) + body)
        except FileNotFoundError:   # who asked has gone
            pass

    def hang(self):
        with self.lock:
            self.hangs = True

    def wake(self):
        with self.lock:
            self.hangs = False
            for request in self.held:
                self.answer(request)
            self.held = []

    def close(self):
        """Who hangs in it hangs no more."""
        self.ends = True
        self.thread.join()
        LIBC.umount2(os.fsencode(self.path), DETACH)
        os.close(self.fd)
