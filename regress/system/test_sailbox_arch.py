# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Sandboxes of the other kind of machine, through qemu-user: the published
example, what is done with a sandbox, and its walls."""

import json
import os
import platform
import re

from sailtest import deadline, emulator, raises, stack
from sailtest.boxes import EXAMPLE, INSIDE, Boxes

# Tries each call by its number on the other kind; prints name and errno.  null
# is a pointer to zeros: the emulator looks at them first.
CALLS = r"""
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
zeros = ctypes.create_string_buffer(65536)
said = {}
for name, nr, args in json.load(open("/root/calls")):
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(
        ctypes.addressof(zeros) if a is None else a) for a in args])
    said[name] = ctypes.get_errno() if r < 0 else 0
json.dump(said, sys.stdout)
"""
EPERM, ENOSYS = 1, 38


def other(b):
    """(the image of the other kind, the name of its emulator)"""
    from sail import image
    kind = {"amd64": "arm64", "arm64": "amd64"}[image.machine_kind()]
    return getattr(b.sail.Image, "debian_" + kind), image._QEMU[kind]


def made(t, b, image):
    """Where its packages cannot be had, the test is skipped."""
    try:
        image.ensure()
    except b.sail.SailboxCreationError as e:
        if e.code == "mmdebstrap" and re.search("Failed to fetch", e.message):
            t.skip("no packages for %s: %s" % (image.kind, e.message[-300:]))
        raise


def refused(t, entries, want):
    b = Boxes(t)
    image, qemu = other(b)
    emulator.hide({name.replace("QEMU", qemu): text
                   for name, text in entries.items()})
    e = raises(t, b.sail.SailboxCreationError, b.sail.Sailbox.create,
               app=b.app, image=image)
    t.equal("no_emulator", e.code, "code")
    t.true(want.replace("QEMU", qemu) in e.message, e.message)
    t.true("install qemu-user-static, and binfmt-support" in e.message,
           e.message)
    t.equal([], b.sail.Sailbox.list(ended=True), "nothing is left")
    # A fork has the image of what it is made from, and asks by its name.
    from sail import image as images
    e = raises(t, b.sail.SailboxCreationError, images.check_runs, image.name)
    t.equal("no_emulator", e.code, "code")
    images.check_runs(b.sail.Image.debian.name)


def test_no_emulator(t):
    """Where no emulator is registered an image of the other kind is an error
    that says what to install."""
    refused(t, {}, "QEMU is not registered in /proc/sys/fs/binfmt_misc")
    refused(t, {"status": "enabled\n"}, "QEMU is not registered in ")


def test_emulator_unfit(t):
    """An emulator that is disabled, that all are, or that would have to be in
    the image, is an error that says which."""
    good = "enabled\ninterpreter /q\nflags: POF\noffset 0\n"
    refused(t, {"status": "disabled\n", "QEMU": good},
            "/proc/sys/fs/binfmt_misc/status: it is disabled")
    refused(t, {"status": "enabled\n", "QEMU": good.replace("en", "dis")},
            "/QEMU: it is disabled")
    refused(t, {"status": "enabled\n", "QEMU": good.replace("POF", "PO")},
            "/QEMU is registered without the flag F")


@deadline(1500)
def test_example(t):
    """The published example runs on the other kind of machine: the program
    ends, the sandbox stays, and in it the volume is written to, committed and
    reloaded."""
    image, qemu = other(Boxes(t))
    from sail import image as images
    with emulator.registered(t, qemu):
        # In the same mount namespace.
        s = stack.Stack(t)
        b = Boxes(t, s)
        made(t, b, image)
        done = t.run(["/usr/bin/python3", "-B", "-c", EXAMPLE % image.name],
                     env={"PYTHONPATH": os.path.join(t.repo, "python")})
        sb = b.sail.Sailbox.connect(done.stdout.strip())
        t.equal(("worker-1", "running"), (sb.name, sb.status), "the sandbox")
        t.equal([images._MACHINES[image.kind], image.kind], b.out(
            sb, "uname -m; dpkg --print-architecture").split(), "its kind")
        sb.write("/root/inside.py", INSIDE)
        ids = b.out(sb, "python3 /root/inside.py").split()
        t.true(len(ids) == 2 and re.match("[0-9a-f]{64}$", ids[0]), ids)
        t.equal(ids[0], ids[1], "the newest state is its own")
        path = s.mount("shared-data", "outside")
        t.equal("hello from a sandbox",
                stack.read(os.path.join(path, "result.txt")), "outside")
        # What others commit comes with a reload; a fork begins with the head.
        stack.write(os.path.join(path, "more"), "from outside")
        s.commit(path)
        t.equal("from outside", b.out(sb, [
            "python3", "-c", "import sail; sail.Volume.from_mount('/mnt/shared'"
            ").reload(); print(open('/mnt/shared/more').read(), end='')"]),
            "reloaded")
        fork = sb.fork(name="two")
        t.equal(INSIDE.encode(), fork.read("/root/inside.py"), "its files")
        t.equal("%s from outside" % images._MACHINES[image.kind], b.out(
            fork, "echo $(uname -m) $(cat /mnt/shared/more)").strip(),
            "the fork")
        b.all_ended()
        t.equal("terminated", fork.status, "status")


@deadline(1500)
def test_commands(t):
    """Commands on the other kind: output, status, signals, pause; after the
    time is up all of it is killed, whatever sessions it made, and nothing that
    another command left."""
    b = Boxes(t)
    image, qemu = other(b)
    with emulator.registered(t, qemu):
        made(t, b, image)
        sb = b.sail.Sailbox.create(app=b.app, image=image, name="w")
        done = sb.exec("echo out; echo err >&2; exit 3").wait()
        t.equal(("out\n", "err\n", 3), (done.stdout, done.stderr,
                                        done.returncode), "result")
        data = os.urandom(300000)
        sb.write("/new/file", data, mode=0o640)
        t.true(sb.read("/new/file") == data, "content")
        t.equal("640 0 0\n", b.out(sb, "stat -c '%a %u %g' /new/file"),
                "attributes")
        b.out(sb, "chown 33:44 /new/file")
        t.equal("33 44\n", b.out(sb, "stat -c '%u %g' /new/file"), "owner")
        t.equal(-15, sb.exec("kill -TERM $$").wait().returncode, "a signal")
        if sb.limits["cpu"].get("why") != "there is no writable cgroup v2":
            sb.pause()
            t.equal("paused", sb.status, "status")
            sb.resume()
        b.out(sb, "(setsid setsid sleep 603 &)")
        done = sb.exec("setsid sh -c 'echo $$; exec sleep 600' & "
                       "(setsid setsid sleep 601 &) ; "
                       "until tr '\\0' ' ' </proc/$!/cmdline | grep -q "
                       "'sleep 600'; do sleep 0.1; done; touch /began; "
                       "sleep 602", timeout=5).wait()
        t.equal((-9, True), (done.returncode, done.timed_out), "timeout")
        b.out(sb, "ls /began")
        t.equal("603\n", b.out(sb, "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' "
                               "| grep -x '60[0-3]' || true"), "what is left")
        b.all_ended()


@deadline(1500)
def test_walls(t):
    """The walls are the machine's own: each call that the filter names fails,
    and root inside has no more rights than on the machine's own kind."""
    b = Boxes(t)
    image, qemu = other(b)
    from sail import _seccomp
    from sail import image as images
    machine = images._MACHINES[image.kind]
    i = 0 if machine == "x86_64" else 1
    with emulator.registered(t, qemu):
        made(t, b, image)
        sb = b.sail.Sailbox.create(app=b.app, image=image)
        calls = [(name, pair[i], [None] * 6)
                 for name, pair in _seccomp._DENIED.items()
                 if pair[i] is not None and
                 pair[platform.machine() != "x86_64"] is not None]
        calls += [(name, _seccomp._DENIED[name][i], args)
                  for name, args in (("vmsplice", [1, None, 1, 0]),
                                     ("settimeofday", [None, 0]),
                                     ("syslog", [3, None, 100]))]
        calls += [("unshare", _seccomp._UNSHARE[i], [0x10000000]),
                  ("vsock", _seccomp._SOCKET[i], [40, 1, 0])]
        sb.write("/root/calls", json.dumps(calls))
        said = json.loads(b.out(sb, ["python3", "-c", CALLS]))
        # What the emulator does not know never comes to the kernel; nor do
        # flags of clone(2) for namespaces.
        t.equal({}, {name: e for name, e in said.items() if e not in (
            EPERM, ENOSYS)}, "errno")
        t.true(said["mount"] == said["unshare"] == EPERM, said)
        status = b.out(sb, "cat /proc/self/status")
        t.equal(["2"], re.findall(r"^Seccomp:\s+(.*)", status, re.M),
                "the filter")
        t.equal({"%016x" % 0b11111011}, set(re.findall(
            r"^Cap...:\s+(.*)", status, re.M)), "capabilities")
        t.equal("0 %d 65536" % sb._state["uids"], " ".join(b.out(
            sb, "cat /proc/self/uid_map").split()), "map")
        for command in ("mount -t tmpfs x /mnt", "unshare -U true",
                        "mount -t binfmt_misc x /mnt",
                        "mknod /root/m c 1 1", "chroot / true",
                        "ls /proc/1/root/", "cat /proc/1/environ",
                        "echo 1 >/proc/sys/kernel/panic",
                        "echo :x:E::x::/bin/sh: "
                        ">/proc/sys/fs/binfmt_misc/register"):
            done = sb.exec(command).wait()
            t.true(done.returncode != 0, "%s: %s" % (command, done.stdout))
        # But for those of libc, and the two that the emulator lives on: of
        # these the sandbox may end, but not hang.
        t.equal("it lives\n", b.out(
            sb, "for i in $(seq 64 | grep -vx '7\\|11\\|32\\|33'); do kill -$i 1; done; "
            "echo it lives", timeout=60), "signals to 1")
        t.equal("it lives\n", b.out(sb, "echo it lives", timeout=60), "after")
        b.all_ended()
