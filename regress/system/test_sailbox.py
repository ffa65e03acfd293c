# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Sandboxes without volumes: made, told what to do, frozen, copied and ended;
nothing of them is left."""

import os
import signal
import subprocess
import sys
import time

from sailtest import deadline, raises, stack
from sailtest.boxes import Boxes

CREATOR = """
import sys
sys.path.insert(0, sys.argv[1])
import sail
app = sail.App.find("my-app")
try:
    print(sail.Sailbox.create(app=app, name=sys.argv[2]).sailbox_id)
except sail.SailboxCreationError as e:
    print(e.code)
"""


@deadline(1500)
def test_commands(t):
    """Commands of a sandbox: output of any length comes while they run, their
    status, their folder, environment and signals; after the time is up all of
    it is killed."""
    b = Boxes(t)
    with b.create("worker-1") as sb:
        t.equal("running", sb.status, "status")
        t.true(sb.sailbox_id.startswith("sb_"), sb.sailbox_id)
        done = sb.exec("echo out; echo err >&2; exit 3").wait()
        t.equal(("out\n", "err\n", 3, False), (
            done.stdout, done.stderr, done.returncode, done.timed_out),
            "result")
        t.equal("worker-1\n", b.out(sb, "cat /proc/sys/kernel/hostname"),
                "hostname")
        t.equal("/usr yes\n", b.out(sb, 'echo "$PWD $A"', cwd="/usr",
                                    env={"A": "yes"}), "cwd and env")
        t.equal("a b\n", b.out(sb, ["echo", "a b"]), "a list")
        t.equal("/root", b.out(sb, "pwd").strip(), "folder")
        for bad in (dict(command="true", cwd="/missing"),
                    dict(command=["/missing"]), dict(command=["/root"])):
            e = raises(t, b.sail.SailboxExecutionError,
                       lambda kwargs: sb.exec(**kwargs).wait(), bad)
            t.equal("not_started", e.code, "code")
        # More than any pipe holds, on both at once.
        done = sb.exec("head -c 9000000 /dev/zero & "
                       "head -c 9000000 /dev/zero >&2; wait").wait()
        t.equal((9000000, 9000000), (len(done.stdout_bytes),
                                     len(done.stderr_bytes)), "lengths")
        # It comes before the command ends: which waits for what is made here.
        request = sb.exec("echo first; until [ -e /go ]; do sleep 0.02; done; "
                          "echo second")
        seen = []
        for name, text in request.stream():
            seen.append((name, text))
            if text == "first\n":
                sb.write("/go", "")
        t.equal([("stdout", "first\n"), ("stdout", "second\n")], seen,
                "stream")
        t.equal("first\nsecond\n", request.wait().stdout, "all of it")
        request = sb.exec("trap 'echo got it; exit 7' TERM; echo ready; "
                          "while :; do sleep 0.02; done")
        for name, text in request.stream():
            if "ready" in text:
                request.signal(signal.SIGTERM)
        t.equal((7, "ready\ngot it\n"), (
            request.wait().returncode, request.wait().stdout), "a signal")
        done = sb.exec("setsid sh -c 'echo $$; exec sleep 600' & "
                       "(setsid setsid sleep 601 &) ; sleep 602",
                       timeout=1).wait()
        t.equal((-9, True), (done.returncode, done.timed_out), "timeout")
        t.equal("", b.out(sb, "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | "
                          "grep -x '60[012]' || true"), "what is left of it")
    t.equal("terminated", sb.status, "status")
    raises(t, b.sail.SailboxTerminatedError, sb.exec, "true")
    b.all_ended()


@deadline(1500)
def test_files(t):
    """write() puts a whole file in place with its mode, read() gets it back;
    what cannot be written or read is an error."""
    b = Boxes(t)
    with b.create() as sb:
        data = os.urandom(3000000)
        sb.write("/new/folder/a file", data, mode=0o640)
        t.true(sb.read("/new/folder/a file") == data, "content")
        t.equal("640 0 0\n", b.out(sb, "stat -c '%a %u %g' "
                                   "'/new/folder/a file'"), "attributes")
        sb.write("/new/folder/a file", "text")
        t.equal(b"text", sb.read("/new/folder/a file"), "again")
        t.equal("a file\n", b.out(sb, "ls -A /new/folder"), "nothing else")
        raises(t, b.sail.SailboxExecutionError, sb.write, "/new", "x")
        raises(t, b.sail.SailboxExecutionError, sb.write, "/proc/x", "x")
        raises(t, b.sail.SailboxExecutionError, sb.read, "/missing")
        raises(t, b.sail.SailboxExecutionError, sb.read, "relative")
        t.equal("new\n", b.out(sb, "ls -d /n*; true").replace("/", ""), "ls")
        # Root of the sandbox: other users, and a package of Debian's form.
        b.out(sb, "chown 33:44 /new; install -d -o 65534 /var/x")
        t.equal("33 44\n65534 0\n", b.out(
            sb, "stat -c '%u %g' /new /var/x"), "owners")
        b.out(sb, "mkdir -p /p/DEBIAN /p/usr/bin; echo 'echo it runs' "
              ">/p/usr/bin/tried; chmod 755 /p/usr/bin/tried; printf "
              "'Package: tried\\nVersion: 1\\nArchitecture: all\\n"
              "Maintainer: x <x@example.org>\\nDescription: x\\n' "
              ">/p/DEBIAN/control; dpkg-deb -b /p /p.deb; "
              "apt-get install -y /p.deb")
        t.equal("it runs\n", b.out(sb, "sh /usr/bin/tried"), "apt")
    b.all_ended()


@deadline(1500)
def test_background(t):
    """A command in the background goes on without who started it, and another
    program hears of it; one in the foreground is killed."""
    b = Boxes(t)
    sb = b.create("w")
    request = sb.exec("echo 1; until [ -e /go ]; do sleep 0.02; done; echo 2; "
                      "echo 3 >&2; exit 4", background=True)
    fore = sb.exec("exec sleep 700")
    request.close()
    fore.close()
    again = b.sail.Sailbox.connect(sb.sailbox_id)
    t.wait_for(lambda: "700" not in b.out(
        again, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").split(),
        "the command in the foreground to be killed")
    heard = again.request(request.id)
    again.write("/go", "")
    done = heard.wait()
    t.equal(("1\n2\n", "3\n", 4), (done.stdout, done.stderr,
                                   done.returncode), "result")
    t.equal("1\n2\n", again.request(request.id).wait().stdout, "once more")
    raises(t, b.sail.SailboxExecutionError, again.request, 999)
    # What no clock can count is refused, or waited for as long as it is.
    for bad in (-1, float("nan"), float("inf")):
        raises(t, b.sail.SailError, lambda s=bad: sb.exec(
            "true", timeout=s).wait())
    t.equal(0, sb.exec("true", timeout=1e9).wait().returncode, "a long time")
    # The fork counts its commands anew.
    fork = sb.fork(name="f")
    t.equal("new\n", fork.exec("echo new", background=True).wait().stdout,
            "not what the sandbox said")
    b.all_ended()


@deadline(1500)
def test_names(t):
    """A name belongs to one sandbox of an app: of two creators at once one
    wins; the sandbox outlives its creator, and its name is free when it
    ended."""
    b = Boxes(t)
    b.sail.Image.debian.ensure()
    makers = [subprocess.Popen(
        ["/usr/bin/python3", "-B", "-c", CREATOR,
         os.path.join(t.repo, "python"), "one"],
        stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(m.communicate()[0].strip() for m in makers)
    t.equal("name_taken", said[0], "the one that lost")
    t.true(said[1].startswith("sb_"), said)
    sb = b.sail.Sailbox.connect(said[1])
    t.equal(("one", "running"), (sb.name, sb.status), "the other")
    t.equal("x\n", b.out(sb, "echo x"), "it runs")
    t.equal([said[1]], [s.sailbox_id for s in b.sail.Sailbox.list(b.app)],
            "list")
    other = b.sail.App.find("other", mint_if_missing=True)
    t.equal([], b.sail.Sailbox.list(other), "of another app")
    e = raises(t, b.sail.SailboxCreationError, b.create, "one")
    t.equal("name_taken", e.code, "code")
    t.true(isinstance(e, b.sail.SailboxError) and isinstance(
        e, b.sail.SailError), "classes")
    raises(t, b.sail.NotFoundError, b.sail.Sailbox.connect, "sb_" + "0" * 24)
    raises(t, b.sail.NotFoundError, b.sail.Sailbox.connect, "../x")
    two = b.create("two")
    t.true(two._state["uids"] != sb._state["uids"], "ranges of uids")
    sb.terminate()
    t.equal(sb.terminate(), b.sail.Sailbox.connect(sb.sailbox_id).terminate(),
            "the same answer")
    b.create("one")
    for bad in ("a/b", "", ".x", 3):
        raises(t, b.sail.SailboxCreationError, b.create, bad)
    for bad in (dict(cpu=0), dict(memory_mib="x"), dict(disk_gib=-1)):
        raises(t, b.sail.SailboxCreationError, b.create, **bad)
    b.all_ended()


@deadline(1500)
def test_supervisor_dies(t):
    """A supervisor that is killed takes its sandbox along; what it left is
    found and taken away, and the name is free."""
    b = Boxes(t)
    t.expect_deaths = True
    sb = b.create("w")
    first = sb._state["first"][0]
    uids = sb._state["uids"]
    request = sb.exec("sleep 600")
    os.kill(sb._state["supervisor"], signal.SIGKILL)
    raises(t, b.sail.SailboxTerminatedError, request.wait)
    t.equal("failed", sb.status, "status")
    t.true(not stack.alive(first), "the first process is gone")
    raises(t, b.sail.SailboxTerminatedError, sb.exec, "true")
    b.nothing_left()
    t.equal(uids, b.create("w")._state["uids"], "uids are free again")
    # Its first process: the supervisor says so.
    sb = b.sail.Sailbox.list(b.app)[0]
    os.kill(sb._state["first"][0], signal.SIGKILL)
    t.wait_for(lambda: sb.status == "failed", "the end to be written")
    b.all_ended()


@deadline(1500)
def test_pause(t):
    """Paused, no process of the sandbox runs; resumed, they go on; a paused
    sandbox can be ended."""
    b = Boxes(t)
    with b.create() as sb:
        from sail import _cgroup
        if _cgroup.find_root() is None:
            e = raises(t, b.sail.SailboxError, sb.pause)
            t.equal("unsupported", e.code, "without cgroup v2")
            return
        request = sb.exec("while :; do echo x >>/ticks; sleep 0.01; done")
        t.wait_for(lambda: sb.exec("test -s /ticks").wait().returncode == 0,
                   "it ticks")
        sb.pause()
        t.equal("paused", sb.status, "status")
        events = os.path.join(sb._state["cgroup"], "cgroup.events")
        with open(events, encoding="ascii") as f:
            t.true("frozen 1" in f.read(), "frozen")
        e = raises(t, b.sail.SailboxExecutionError, sb.exec, "true")
        t.equal("paused", e.code, "code")
        sb.pause()
        sb.resume()
        before = sb.read("/ticks")
        t.wait_for(lambda: len(sb.read("/ticks")) > len(before), "it ticks")
        request.kill()
        t.equal(-9, request.wait().returncode, "killed")
        sb.pause()
    t.equal("terminated", sb.status, "ended while it was paused")
    b.all_ended()


@deadline(1500)
def test_fork(t):
    """A fork begins with the files of the sandbox, with its owners, and both
    go on by themselves; so does one from a checkpoint that was made before."""
    b = Boxes(t)
    one = b.create("one", disk_gib=1)
    b.out(one, "echo kept >/f; chown 5:6 /f; rm /etc/debian_version; "
          "mkdir /d; setfattr -n user.x -v y /d 2>/dev/null || true")
    saved = one.checkpoint()
    two = one.fork(name="two")
    t.equal("running", one.status, "still runs")
    t.true(one._state["uids"] != two._state["uids"], "uids of its own")
    t.equal("kept\n5 6\n", b.out(two, "cat /f; stat -c '%u %g' /f; "
                                 "test ! -e /etc/debian_version"), "files")
    b.out(one, "echo one >/f")
    b.out(two, "echo two >/f")
    t.equal(b"one\n", one.read("/f"), "one")
    t.equal(b"two\n", two.read("/f"), "two")
    one.terminate()
    three = two.fork(name="three",
                     checkpoint=b.sail.Checkpoint.get(saved.id))
    t.equal(b"kept\n", three.read("/f"), "of the checkpoint")
    saved.delete()
    raises(t, b.sail.NotFoundError, b.sail.Checkpoint.get, saved.id)
    t.equal([], os.listdir(os.path.join(os.environ["SAIL_STATE"],
                                        "checkpoints")), "checkpoints")
    b.all_ended()


@deadline(1500)
def test_limits(t):
    """What of the limits is in force holds; of what is not, the answer says
    why."""
    b = Boxes(t)
    with b.create(cpu=0.5, memory_mib=256, disk_gib=0.25) as sb:
        limits = sb.limits
        t.equal({"cpu": 0.5, "memory_mib": 256, "disk_gib": 0.25},
                {k: v["limit"] for k, v in limits.items()}, "limits")
        for key, value in limits.items():
            said = [w for w in sb.warnings if w.startswith(key)]
            t.equal((not value["enforced"], not value["enforced"]),
                    ("why" in value, bool(said)), key)
        if limits["disk_gib"]["enforced"]:
            done = sb.exec("head -c 400M /dev/zero >/big").wait()
            t.true("No space left" in done.stderr, done.stderr)
            t.equal("x\n", b.out(sb, "rm /big; echo x >/small; cat /small"),
                    "room again")
        if limits["memory_mib"]["enforced"]:
            done = sb.exec(["python3", "-c", "b'x' * (1 << 30)"]).wait()
            t.true(done.returncode != 0, "more than its memory")
        # With a cgroup or without.
        t.equal("4096 4096\n", b.out(
            sb, "sed -n 's/^Max processes *\\([0-9]*\\) *\\([0-9]*\\).*/"
            "\\1 \\2/p' /proc/self/limits"), "processes")
        done = sb.exec("head -c 100M /dev/zero >/dev/shm/x").wait()
        t.true("No space left" in done.stderr, "shared memory")
    b.all_ended()


def test_cgroup(t):
    """The limits of a group are written to the files that the kernel reads;
    a controller that is not there is named."""
    sys.path.insert(0, os.path.join(t.repo, "python"))
    from sail import _cgroup
    os.makedirs(t.path("root/sailbox"))
    for folder in ("root", "root/sailbox"):
        t.write(folder + "/cgroup.controllers", "cpu\n")
        t.write(folder + "/cgroup.subtree_control", "")
    group = _cgroup.Group.make(t.path("root"), "sb_x", 1.5, 512)
    t.equal(["memory", "pids"], list(group.not_enforced), "not enforced")
    t.true("memory" in group.not_enforced["memory"], "why")
    found = {}
    for name in os.listdir(group.path):
        with open(os.path.join(group.path, name), encoding="ascii") as f:
            found[name] = f.read()
    t.equal({"cpu.max": "150000 100000"}, found, "files")
    with open(t.path("root/sailbox/cgroup.subtree_control"),
              encoding="ascii") as f:
        t.equal("+cpu", f.read(), "enabled")
    info = t.write("mountinfo", "1 0 0:1 / %s ro - cgroup2 x rw\n"
                   "2 0 0:1 / %s rw,nosuid - cgroup2 x rw\n" % (
                       t.dir, t.path("root")))
    t.equal(t.path("root"), _cgroup.find_root(info), "the writable one")
    t.equal(None, _cgroup.find_root(t.write("none", "")), "none")


def test_sources(t):
    """An image is made from the machine's own sources of Debian, in either
    form, and from no others."""
    sys.path.insert(0, os.path.join(t.repo, "python"))
    from sail import image
    os.makedirs(t.path("etc/apt/sources.list.d"))
    t.equal(("", []), image.sources(t.path("etc")), "no Debian")
    t.write("etc/os-release", 'ID=debian\nVERSION_CODENAME=bookworm\n')
    t.write("etc/apt/sources.list", "# deb http://no bookworm main\n"
            "deb http://a.example bookworm main contrib\n"
            "deb [arch=amd64] http://b.example bookworm-security main\n"
            "deb http://other.example stable main\n"
            "deb-src http://a.example bookworm main\n")
    t.write("etc/apt/sources.list.d/x.sources", "Types: deb deb-src\n"
            "# a comment\nURIs: http://c.example\n"
            "Suites: bookworm bookworm-updates nodistro\n"
            "Components: main\nSigned-By: /k.gpg\n\nTypes: deb\n"
            "URIs: http://off.example\nSuites: bookworm\n"
            "Components: main\nEnabled: no\n")
    t.equal(("bookworm", [
        "deb http://a.example bookworm main",
        "deb [arch=amd64] http://b.example bookworm-security main",
        "deb [signed-by=/k.gpg] http://c.example bookworm main",
        "deb [signed-by=/k.gpg] http://c.example bookworm-updates main"]),
        image.sources(t.path("etc")), "sources")


@deadline(1500)
def test_fast(t):
    """A sandbox of an image that is there starts and ends within seconds."""
    b = Boxes(t)
    b.sail.Image.debian.ensure()
    start = time.monotonic()
    b.create().terminate()
    t.true(time.monotonic() - start < 20, "%.1f s" % (
        time.monotonic() - start))
    b.all_ended()
