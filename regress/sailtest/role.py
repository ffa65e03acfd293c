# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A role of the suite started by a test that plays its parent and its peers."""

import array
import os
import signal
import socket
import struct
import time

import sailtest

# enum role_id of lib/proc.h
(PARENT, FUSE, NOTIFY, MANIFEST, CACHE, FETCH, METRICS, TLS, API,
 META) = range(10)
START, PEER, STOP, VERBOSE, READY, LOG, BLAME = range(1, 8)
UID = 54321
FD_MARK = 0x80000000
HEADER = struct.Struct("=IIII")


def str16(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack(">H", len(s)) + s


def str32(s):
    return struct.pack(">I", len(s)) + s


def memfd(data):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data) if len(data) < 1 << 20 else os.pwrite(fd, data, 0)
    return fd


def read_fd(fd):
    """All bytes of a descriptor, which is closed."""
    if fd is None:
        return None
    out = []
    at = 0
    while True:
        b = os.pread(fd, 1 << 20, at)
        if not b:
            break
        out.append(b)
        at += len(b)
    os.close(fd)
    return b"".join(out)


class Message:
    def __init__(self, kind, number, body, fd):
        self.kind, self.number, self.body, self.fd = kind, number, body, fd


class Channel:
    """One end of an imsg channel."""

    def __init__(self, sock):
        self.sock = sock
        self.data = b""
        self.fds = []
        self.backlog = []

    def send(self, kind, number=0, body=b"", fd=None):
        """Takes fd."""
        n = HEADER.size + len(body)
        head = HEADER.pack(kind, n | (FD_MARK if fd is not None else 0),
                           number, os.getpid())
        anc = []
        if fd is not None:
            anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                    array.array("i", [fd]))]
        data = head + body
        sent = self.sock.sendmsg([data], anc)
        while sent < len(data):
            sent += self.sock.send(data[sent:])
        if fd is not None:
            os.close(fd)

    def _frame(self):
        if len(self.data) < HEADER.size:
            return None
        kind, n, number, _ = HEADER.unpack_from(self.data)
        length = n & ~FD_MARK
        if len(self.data) < length:
            return None
        body = self.data[HEADER.size:length]
        self.data = self.data[length:]
        fd = self.fds.pop(0) if n & FD_MARK else None
        return Message(kind, number, body, fd)

    def receive(self, timeout=30):
        """The next message; None at the end; Failure when none comes."""
        end = time.monotonic() + timeout
        while True:
            m = self._frame()
            if m is not None:
                return m
            left = end - time.monotonic()
            if left <= 0:
                raise sailtest.Failure("no message within %s s" % timeout)
            self.sock.settimeout(left)
            try:
                data, anc, _, _ = self.sock.recvmsg(
                    65536, socket.CMSG_SPACE(4 * 64), socket.MSG_CMSG_CLOEXEC)
            except socket.timeout:
                continue
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.data += data
            for level, what, cdata in anc:
                if (level, what) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds = array.array("i")
                    fds.frombytes(cdata[:len(cdata) - len(cdata) % 4])
                    self.fds += list(fds)

    def wait(self, kind, number=None, timeout=30):
        """The next of that kind; others are kept in backlog."""
        for i, m in enumerate(self.backlog):
            if m.kind == kind and number in (None, m.number):
                return self.backlog.pop(i)
        while True:
            m = self.receive(timeout)
            if m is None:
                raise sailtest.Failure("channel ended, no message %d" % kind)
            if m.kind == kind and number in (None, m.number):
                return m
            self.backlog.append(m)

    def close(self):
        self.sock.close()


def connect(a, role_a, instance_a, b, role_b, instance_b):
    """A channel between two roles, as their parent makes it."""
    x, y = socket.socketpair()
    a.parent.send(PEER, 0, struct.pack(">BI", role_b, instance_b), x.detach())
    b.parent.send(PEER, 0, struct.pack(">BI", role_a, instance_a), y.detach())


class Role:
    """program -R name, in directory; what it logs goes to name.log."""

    def __init__(self, t, program, name, role, directory, instance=0):
        self.t = t
        self.log = t.path(name + ".log")
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                null = os.open("/dev/null", os.O_RDWR)
                os.dup2(null, 0)
                err = os.open(t.path("stderr.log"),
                              os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(err, 1)
                os.dup2(err, 2)
                fd = theirs.detach()
                if fd == 3:
                    os.set_inheritable(3, True)
                else:
                    os.dup2(fd, 3)
                os.closerange(4, 1024)
                env = {k: v for k, v in os.environ.items()
                       if k in ("ASAN_OPTIONS", "UBSAN_OPTIONS")}
                env["SAIL_ROOM"] = " " * 100
                os.execve(program, [os.path.basename(program), "-R", name],
                          env)
            finally:
                os._exit(127)
        theirs.close()
        self.parent = Channel(ours)
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        title = ("%s test" % name).encode()
        self.parent.send(START, 0, struct.pack(
            ">BIIIB128s", role, instance, UID, UID, 1, title), fd)

    def take_logs(self, m):
        """1 when it was a log line, which is written to the log."""
        if m.kind != LOG:
            return False
        with open(self.log, "ab") as f:
            f.write(m.body[1:] + b"\n")
        return True

    def ready(self, timeout=30):
        while True:
            m = self.parent.receive(timeout)
            if m is None:
                raise sailtest.Failure("role died: " + self.logs())
            if m.kind == READY:
                return
            self.take_logs(m)

    def blames(self, *words):
        """It gave up the channel to a peer that broke the rules, tells the
        parent, says one of these words, and lives on."""
        blame = [m for m in self.parent.backlog if m.kind == BLAME]
        while not blame:
            m = self.parent.receive()
            if m is None:
                raise sailtest.Failure("role died: " + self.logs())
            if m.kind == BLAME:
                blame = [m]
            elif not self.take_logs(m):
                self.parent.backlog.append(m)
        self.parent.backlog = [m for m in self.parent.backlog
                               if m.kind != BLAME]
        self.t.equal(b"", blame[0].body, "what comes with the blame")
        self.t.true(self.alive(), "it lives: " + self.logs())
        self.t.true(any(w in self.logs() for w in words),
                    "it said why: " + self.logs())

    def peer(self, role, instance=0):
        """A new channel to it, at whose end it sees that role."""
        ours, theirs = socket.socketpair()
        self.parent.send(PEER, 0, struct.pack(">BI", role, instance),
                         theirs.detach())
        return Channel(ours)

    def drain(self):
        """Takes what it has logged until now."""
        while True:
            try:
                m = self.parent.receive(0.05)
            except sailtest.Failure:
                return
            if m is None:
                return
            if not self.take_logs(m):
                self.parent.backlog.append(m)

    def logs(self):
        try:
            self.drain()
        except OSError:
            pass
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def alive(self):
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def stop(self):
        """STOP; its exit status."""
        self.parent.send(STOP)
        _, status = os.waitpid(self.pid, 0)
        self.logs()
        return status

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
