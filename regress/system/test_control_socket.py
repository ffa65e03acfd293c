# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""No client of the control socket takes memory or time from others, whatever
it sends, reads, or leaves unread."""

import errno
import os
import resource
import select
import socket
import time

from sailtest import raises, stack

STATUS = b'{"request":"status"}\n'
MIB = 1024 * 1024


def connect(d):
    c = socket.socket(socket.AF_UNIX)
    c.connect(d.socket)
    return c


def read_line(c):
    data = b""
    while not data.endswith(b"\n"):
        more = c.recv(65536)
        if not more:
            break
        data += more
    return data


def memory(pid):
    with open("/proc/%d/statm" % pid, encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        rest = f.read().rsplit(")", 1)[1].split()
    return int(rest[11]) + int(rest[12])


def test_unread(t):
    """Answers that nobody reads hold up who asked for them: no more of its
    lines are taken until it reads, and then all are answered, in order."""
    s = stack.Stack(t)
    pid = s.daemon.pids("manifest")[0]
    before = memory(pid)
    c = connect(s.daemon)
    c.setblocking(False)
    sent = 0
    until = time.monotonic() + 20
    while time.monotonic() < until and sent < 8 * MIB:
        if not select.select([], [c], [], 1)[1]:
            break
        try:
            sent += c.send(b"\n" * 65536)
        except BlockingIOError:
            pass
    t.true(sent < 2 * MIB, "%d lines were taken" % sent)
    # The address sanitizer keeps what was freed for a while.
    most = (8 if t.obj != "obj-san" else 64) * MIB
    t.true(memory(pid) < before + most,
           "memory of manifest: %d, then %d" % (before, memory(pid)))
    with connect(s.daemon) as other:
        other.settimeout(10)
        other.sendall(STATUS)
        t.true(b'"result"' in read_line(other), "others are served")
    c.settimeout(20)
    answers = 0
    while answers < sent:
        answers += c.recv(65536).count(b"\n")
    t.equal(sent, answers, "answers")
    c.sendall(STATUS)
    t.true(b'"result"' in read_line(c), "it may go on")
    c.close()


def test_no_descriptor(t):
    """Without a descriptor for a client the parent waits, quietly."""
    s = stack.Stack(t)
    d = s.daemon
    pid = d.process.pid
    t.wait_for(lambda: all(p["ready"] for p in d.ctl_json("status")["daemon"][
        "processes"]), "all roles to be ready")
    used = sorted(int(fd) for fd in os.listdir("/proc/%d/fd" % pid))
    t.equal(list(range(len(used))), used, "descriptors of the parent")
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(used), old[1]))
    log, ticks = len(d.log()), cpu_ticks(pid)
    c = connect(d)
    c.settimeout(20)
    c.sendall(STATUS)
    time.sleep(2)
    lines = d.log()[log:].count("\n")
    t.true(1 <= lines <= 10, "%d lines in the log" % lines)
    t.true(cpu_ticks(pid) - ticks < 50, "%d ticks of two seconds" % (
        cpu_ticks(pid) - ticks))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
    t.true(b'"result"' in read_line(c), "answered when there is one")
    c.close()


def test_pieces(t):
    """A line of root's comes in more pieces than a socket has room for, and is
    answered; what the parent is to do comes at once, or in few, or not at
    all."""
    s = stack.Stack(t)
    umount = b'{"request":"umount","path":"%s"}\n' % os.fsencode(t.path("x"))
    with connect(s.daemon) as long, connect(s.daemon) as late, connect(
            s.daemon) as soon:
        for c in long, late, soon:
            c.settimeout(60)
        late.sendall(umount[:20])

        def in_pieces(what):
            soon.sendall(umount[:20])
            long.sendall(b'{"request":"nothing"}\n')
            t.true(b"unknown_request" in read_line(long), "it was seen")
            for i in range(20, len(umount), 10):
                soon.sendall(umount[i:i + 10])
            t.true(b"not_mounted" in read_line(soon), what)
        in_pieces("in few pieces")
        for byte in b'{"path":"%s","request":"nothing"}\n' % (b"x" * 3000):
            long.sendall(bytes((byte,)))
        t.true(b"unknown_request" in read_line(long), "in many pieces")
        late.sendall(umount[20:])
        t.true(b"ask again" in read_line(late), "too late")
        late.sendall(umount)
        t.true(b"not_mounted" in read_line(late), "asked again")
        # The time of a line ends with it.
        in_pieces("in few pieces, again")


def test_descriptors(t):
    """Nobody sends one with a request: its last close could take as long as its
    sender likes."""
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 16):
        t.skip("a kernel without SO_PASSRIGHTS")
    s = stack.Stack(t)
    with connect(s.daemon) as c, open(os.devnull, "rb") as f:
        error = raises(t, PermissionError, socket.send_fds, c, [b"x"],
                       [f.fileno()])
        t.equal(errno.EPERM, error.errno, "a descriptor")
        c.sendall(b'{"request":"nothing"}\n')
        t.true(b"unknown_request" in read_line(c), "a line")
