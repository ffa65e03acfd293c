# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Two network namespaces with a bad line between them: a process of this test
carries the packets of two TUN devices, and loses, delays, reorders and repeats
them, as a seed says.  It needs no module of the kernel's, and when it dies
nothing is left."""

import ctypes
import fcntl
import heapq
import itertools
import mmap
import os
import random
import select
import socket
import struct
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_UP = 0x400454ca, 1, 0x1000, 1
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891c
SERVER, CLIENT, MASK = "10.99.0.1", "10.99.0.2", "255.255.255.0"
STATE = struct.Struct("=ddddQQQQ")  # the four settings, then what was done

libc = ctypes.CDLL(None, use_errno=True)


def _interface(name, address=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        def ask(what, data):
            fcntl.ioctl(s, what, struct.pack("16s", name.encode()) + data)

        if address is not None:
            for what, a in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, MASK)):
                ask(what, struct.pack("=HH4s8x", socket.AF_INET, 0,
                                      socket.inet_aton(a)))
        ask(SIOCSIFFLAGS, struct.pack("=H22x", IFF_UP))


def _tun(name, address):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                           IFF_TUN | IFF_NO_PI))
    _interface(name, address)
    return fd


def _new_namespace():
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _interface("lo")


class Line:
    """Moves this process, and what it starts from now on, into a namespace with
    SERVER; inside() starts programs in the other, with CLIENT."""

    def __init__(self, t, seed):
        if not os.path.exists("/dev/net/tun"):
            t.skip("no /dev/net/tun")
        self.shared = mmap.mmap(-1, STATE.size)
        self.set()
        _new_namespace()
        ready, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ends = [_tun("sail0", SERVER)]
                _new_namespace()
                ends.append(_tun("sail0", CLIENT))
                os.write(told, b"x")
                self._carry(ends, random.Random(seed))
            finally:
                os._exit(1)
        os.close(told)
        t.equal(b"x", os.read(ready, 1), "the line")
        os.close(ready)

    def inside(self, argv):
        return ["nsenter", "--net=/proc/%d/ns/net" % self.pid] + list(argv)

    def set(self, loss=0.0, delay_s=0.0, jitter_s=0.0, twice=0.0):
        """Of each direction; loss 1: it is down."""
        struct.pack_into("=dddd", self.shared, 0, loss, delay_s, jitter_s,
                         twice)

    def done(self):
        """(carried, lost, repeated, overtaken)"""
        return STATE.unpack_from(self.shared, 0)[4:]

    def _carry(self, ends, rng):
        queue, order = [], itertools.count()
        counts, last = [0, 0, 0, 0], 0
        while True:
            wait = max(0, queue[0][0] - time.monotonic()) if queue else 1
            readable, _, _ = select.select(ends, [], [], wait)
            loss, delay, jitter, twice = struct.unpack_from(
                "=dddd", self.shared, 0)
            now = time.monotonic()
            for fd in readable:
                for packet in self._packets(fd):
                    if loss > 0 and rng.random() < loss:
                        counts[1] += 1
                        continue
                    n = 2 if twice > 0 and rng.random() < twice else 1
                    counts[2] += n - 1
                    for _ in range(n):
                        at = now + delay + rng.random() * jitter
                        heapq.heappush(queue, (at, next(order),
                                               ends[fd == ends[0]], packet))
            while queue and queue[0][0] <= now:
                _, number, fd, packet = heapq.heappop(queue)
                counts[0] += 1
                counts[3] += number < last
                last = max(last, number)
                try:
                    os.write(fd, packet)
                except OSError:
                    pass
            struct.pack_into("=QQQQ", self.shared, 32, *counts)

    @staticmethod
    def _packets(fd):
        for _ in range(64):
            try:
                yield os.read(fd, 65536)
            except BlockingIOError:
                return
