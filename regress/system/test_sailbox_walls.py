# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What is run in a sandbox has nothing of the machine: no key, no socket, no
device, no process, and no way to more rights than it began with."""

import os
import platform
import re
import struct
import sys

from sailtest import deadline, stack
from sailtest.boxes import Boxes

HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
           "aarch64": "/usr/include/asm-generic/unistd.h"}
ALLOW, EPERM, ENOSYS, KILL = 0x7fff0000, 0x50001, 0x50026, 0x80000000

# Tries each call with arguments that reach the check, prints name and errno.
CALLS = r"""
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
said = {}
for name, nr, args in json.load(open("/root/calls")):
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(a) for a in args])
    said[name] = ctypes.get_errno() if r < 0 else 0
json.dump(said, sys.stdout)
"""


def modules(t):
    sys.path.insert(0, os.path.join(t.repo, "python"))
    from sail import _seccomp
    return _seccomp


def evaluate(code, nr, arch, args=(0, 0, 0, 0, 0, 0)):
    """What that program says of the call: as the kernel runs it."""
    data = struct.pack("=IIQ6Q", nr, arch, 0, *args)
    at, acc = 0, 0
    while True:
        op, jt, jf, k = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if op == 0x20:
            acc, = struct.unpack_from("=I", data, k)
        elif op in (0x15, 0x35, 0x45):
            yes = {0x15: acc == k, 0x35: acc >= k, 0x45: bool(acc & k)}[op]
            at += jt if yes else jf
        else:
            assert op == 0x06, op
            return k


def numbers(path):
    """{name: number} of a header; those of asm-generic have two spellings."""
    with open(path, encoding="ascii") as f:
        found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", f.read(),
                           re.M)
    return {name: int(nr) for name, nr in found}


def test_filter(t):
    """The filter denies what it names and nothing else, on both kinds of
    machine, by the numbers of the kernel's headers."""
    m = modules(t)
    for i, (machine, header) in enumerate(sorted(
            HEADERS.items(), reverse=True)):
        code = m.encode(m.build(machine))
        arch = m.AUDIT_ARCH[machine]
        t.equal(0, len(code) % 8, "instructions")
        denied = {pair[i] for pair in m._DENIED.values()
                  if pair[i] is not None}
        for nr in range(0, 600):
            want = (EPERM if nr in denied else ENOSYS if nr == 435 else ALLOW)
            t.equal(want, evaluate(code, nr, arch), "%s %d" % (machine, nr))
        t.equal(KILL, evaluate(code, 1, 0x40000003), "another architecture")
        if machine == "x86_64":
            t.equal(ENOSYS, evaluate(code, 0x40000001, arch), "x32")
        user = 0x10000000
        for nr, args, want in (
                (m._CLONE[i], (17, 0, 0, 0, 0, 0), ALLOW),
                (m._CLONE[i], (17 | user, 0, 0, 0, 0, 0), EPERM),
                (m._CLONE[i], (17 | user | 1 << 40, 0, 0, 0, 0, 0), EPERM),
                (m._UNSHARE[i], (user, 0, 0, 0, 0, 0), EPERM),
                (m._SOCKET[i], (40, 1, 0, 0, 0, 0), EPERM),
                (m._SOCKET[i], (2, 1, 0, 0, 0, 0), ALLOW),
                (m._IOCTL[i], (0, 0x5412, 0, 0, 0, 0), EPERM),
                (m._IOCTL[i], (0, 0x5401, 0, 0, 0, 0), ALLOW)):
            t.equal(want, evaluate(code, nr, arch, args), "%s %d %r" % (
                machine, nr, args))
        if not os.path.exists(header):
            continue
        have = numbers(header)
        for name, pair in m._DENIED.items():
            # Newer ones are not in the header of an older kernel.
            if name in have or (pair[i] or 999) < 435:
                t.equal(have.get(name), pair[i], "%s on %s" % (name, machine))
        t.equal([have["clone"], have["unshare"], have["socket"],
                 have["ioctl"]], [m._CLONE[i], m._UNSHARE[i], m._SOCKET[i],
                                  m._IOCTL[i]], "others")


@deadline(1500)
def test_calls(t):
    """In a sandbox each of the calls that its filter names fails with
    EPERM."""
    import json
    m = modules(t)
    b = Boxes(t)
    i = 0 if platform.machine() == "x86_64" else 1
    calls = [(name, pair[i], [0] * 6) for name, pair in m._DENIED.items()
             if pair[i] is not None]
    calls += [("unshare", m._UNSHARE[i], [0x10000000]),
              ("clone", m._CLONE[i], [0x10000011, 0, 0, 0, 0]),
              ("vsock", m._SOCKET[i], [40, 1, 0])]
    with b.create() as sb:
        sb.write("/root/calls", json.dumps(calls))
        said = json.loads(b.out(sb, ["python3", "-c", CALLS]))
        t.equal({name: 1 for name, _, _ in calls}, said, "errno")
        t.equal("2\n", b.out(sb, "sed -n 's/^Seccomp:.//p' "
                             "/proc/self/status"), "the filter")
    b.all_ended()


@deadline(1500)
def test_walls(t):
    """Nothing of the machine is in a sandbox with a volume: files, sockets,
    devices, processes, network; and root in it is nobody outside."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    with b.create("w", {"/mnt/shared": volume}) as sb:
        t.equal("", b.out(sb, "ls -d /dev/fuse /dev/loop* /dev/kvm /dev/net "
                          "/sys/fs 2>/dev/null || true"), "devices")
        for path in (s.daemon.socket, s.daemon.conf, t.dir,
                     "/run/sailvold.sock", "/var/lib/sailbox"):
            t.equal(2, sb.exec(["ls", path]).wait().returncode, path)
        for what in (s.server.key, "SAIL_API_KEY", "SAILVOLD_SOCKET"):
            t.equal("", b.out(
                sb, "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | "
                "grep -F -e '%s' || true" % what), "environment")
            t.equal("", b.out(
                sb, "grep -rlF -e '%s' /etc /root /run /tmp /home /mnt "
                "2>/dev/null || true" % what), "files")
        pids = b.out(sb, "ls /proc | grep -c '^[0-9]'")
        t.true(int(pids) < 12, "processes: " + pids)
        t.equal("lo\n", b.out(sb, "tail -n +3 /proc/net/dev | "
                              "sed 's/^ *//; s/:.*//'"), "interfaces")
        caps = b.out(sb, "sed -n 's/^Cap...:.//p' /proc/self/status")
        # chown, dac_override, fowner, fsetid, kill, setgid, setuid
        t.equal({"%016x" % 0b11111011}, set(caps.split()), "capabilities")
        t.equal("1\n", b.out(sb, "sed -n 's/^NoNewPrivs:.//p' "
                             "/proc/self/status"), "no_new_privs")
        # A session of its own: of one that began outside this is 0.
        stat = b.out(sb, "cat /proc/1/stat").rsplit(")", 1)[1].split()
        t.true(int(stat[3]) > 0, "the session of process 1: %s" % stat)
        for line in b.out(sb, "cat /proc/self/mountinfo").splitlines():
            left, _, right = line.partition(" - ")
            fields = left.split()
            t.true({"nosuid", "nodev"} <= set(fields[5].split(",")) or
                   right.split()[0] in ("devpts",) or
                   fields[4].startswith("/dev/"), line)
            t.equal([], [f for f in fields[6:] if f.startswith("shared:")],
                    line)
        # Root of the sandbox outside: the first of its ids, and no other.
        first = sb._state["first"][0]
        t.equal(sb._state["uids"], stack.real_uid_of(first), "uid outside")
        t.equal("0 %d 65536\n" % sb._state["uids"], " ".join(b.out(
            sb, "cat /proc/self/uid_map").split()) + "\n", "map")
        # No more than these are in its hands.
        t.equal("0\n1\n2\n3\n", b.out(sb, "ls /proc/self/fd"),
                "descriptors, and that of ls")
        for command in ("mount -t tmpfs x /mnt", "umount /mnt/shared",
                        "unshare -U true", "unshare -m true",
                        "mknod /root/m c 1 1", "chroot / true",
                        "mount -o remount,suid /", "kill -9 1 && test ! -e "
                        "/proc/1", "echo 1 >/proc/sys/kernel/panic",
                        "echo b >/proc/sysrq-trigger", "dmesg",
                        "touch /dev/x", "date -s 2020-01-01",
                        "hostname x", "python3 -c \"open('/proc/1/mem','rb')"
                        "\"", "ls /proc/1/root/", "cat /proc/1/environ"):
            done = sb.exec(command).wait()
            t.true(done.returncode != 0, "%s: %s" % (command, done.stdout))
        # The ids above its range are nobody, and cannot be set.
        done = sb.exec("touch /own; chown 65536 /own").wait()
        t.true(done.returncode != 0, "an id outside")
        t.equal("it lives\n", b.out(
            sb, "for i in $(seq 64 | grep -v '^3[23]$'); do kill -$i 1; done; "
            "echo it lives", timeout=60), "signals to 1")
        ignored = int(b.out(sb, "grep SigIgn /proc/self/status").split()[1], 16)
        # 32 and 33 are libc's own: its posix_spawn(3) may ignore them, as it
        # does in make(1), and nobody can set them back.
        t.equal(0, ignored & ~(3 << 31), "signals that a command ignores")
        t.true(sb.status == "running", "status")
    b.all_ended()


@deadline(1500)
def test_hostile_agent(t):
    """A sandbox whose process 1 was replaced by its own root says what it
    likes: the fork is not made, or ends, and nothing is left."""
    b = Boxes(t)
    evil = {
        # Says nothing, and ends.
        "a": "#!/bin/sh\nexit 0\n",
        # Answers with what is not a message.
        "b": "#!/usr/bin/python3.real\nimport socket, sys\n"
             "s = socket.socket(fileno=int(sys.argv[-1]))\n"
             "s.send(b'{\"ready\": true}')\n"
             "s.recv(1 << 18)\ns.send(b'[' * 100000)\ns.recv(1)\n",
        # Makes up the status of a command.
        "c": "#!/usr/bin/python3.real\nimport socket, sys\n"
             "s = socket.socket(fileno=int(sys.argv[-1]))\n"
             "s.send(b'{\"ready\": true}')\n"
             "s.recv(1 << 18)\ns.send(b'{\"ended\": \"x\"}')\ns.recv(1)\n",
    }
    one = b.create("one")
    b.out(one, "cp -L /usr/bin/python3 /usr/bin/python3.real; "
          "rm /usr/bin/python3")
    one.write("/usr/bin/python3", evil["a"], 0o755)
    e = None
    try:
        one.fork("two")
    except b.sail.SailboxCreationError as err:
        e = err
    t.true(e is not None, "not made")
    for name in ("b", "c"):
        one.write("/usr/bin/python3", evil[name], 0o755)
        two = one.fork(name)
        try:
            two.exec("true").wait()
            t.fail("a command ran")
        except b.sail.SailboxExecutionError:
            pass
        t.wait_for(lambda: two.status == "failed", "the end")
    b.all_ended()
