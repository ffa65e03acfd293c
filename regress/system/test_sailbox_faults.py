# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Sandboxes when something goes wrong beside them, within them or with who made
them: every call ends, with an error that says so, and nothing is left."""

import errno
import glob
import os
import resource
import signal
import stat
import subprocess
import threading
import time

from sailtest import deadline, power, raises, stack
from sailtest.boxes import Boxes

# In place of the shell: leaves a process behind that holds its standard input.
SHELL = """#!/usr/bin/python3
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(1000)
"""

LEAVE = """echo first
setsid sh -c 'echo >/began; exec yes' &
until [ -e /began ]; do :; done
"""


def modules():
    """After Boxes: where the package is, is known."""
    from sail import _ending, _state, sailbox
    return _state, _ending, sailbox


def new_state(name="w"):
    return {"app_id": "app_x", "app": "x", "name": name, "status": "creating",
            "volumes": [], "created": time.time()}


def loops(top):
    """The loop devices over files below top."""
    found = []
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(path, encoding="utf-8") as f:
                if f.read().startswith(top):
                    found.append(path.split("/")[3])
        except OSError:
            pass
    return found


class Spy:
    """A module, after each of whose calls something is looked at."""

    def __init__(self, module, look):
        self.module, self.look, self.busy = module, look, False

    def __getattr__(self, name):
        found = getattr(self.module, name)
        if not callable(found) or isinstance(found, type):
            return found

        def call(*args, **kwargs):
            result = found(*args, **kwargs)
            if not self.busy:
                self.busy = True
                try:
                    self.look(name, args)
                finally:
                    self.busy = False
            return result
        return call


def within(t, seconds, what, f, *args):
    """Its result, or what it raises; a failure where that takes longer."""
    got = []

    def call():
        try:
            got.append(f(*args))
        except BaseException as e:
            got.append(e)
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if not got:
        t.fail("%s takes more than %d s" % (what, seconds))
    return got[0]


@deadline(1500)
def test_reserve(t):
    """While a sandbox is made it is never taken for one whose supervisor
    died, and two creators of one name never both have it."""
    Boxes(t)
    state, _, _ = modules()
    plain = state.os

    def look(name, args):
        t.equal([], state.stale(), "stale after %s%r" % (name, args))
    state.os = Spy(plain, look)
    try:
        one = new_state()
        lock = state.reserve(one)
    finally:
        state.os = plain
    t.equal(one["id"], state.named("app_x", "w"), "the name")
    t.equal("name_taken", raises(t, Exception, state.reserve,
                                 new_state()).code, "the second")
    t.equal([one["id"]], os.listdir(t.path("boxes/boxes")), "folders")
    os.close(lock)


@deadline(1500)
def test_names_left(t):
    """A name is free once its sandbox has ended, even if who ended it died
    before it could say so; and one that could not be ended keeps it."""
    Boxes(t)
    state, ending, sailbox = modules()
    from sail.errors import SailboxError
    one = new_state()
    lock = state.reserve(one)
    path = state.box(one["id"])
    state.write(path, dict(one, status="terminated"))
    os.close(lock)
    two = new_state()
    lock = state.reserve(two)
    t.equal(two["id"], state.named("app_x", "w"), "of one that ended")
    state.release_name(one)
    t.equal(two["id"], state.named("app_x", "w"), "it is not the first's")
    os.close(lock)
    # Not made, and not ended either.
    plain = ending.processes

    def stuck(_):
        raise SailboxError("a process does not end")
    ending.processes = stuck
    try:
        path = state.box(two["id"])
        sailbox._forget(path, two, state.hold(path))
    finally:
        ending.processes = plain
    t.equal(two["id"], state.named("app_x", "w"), "of one that may live")
    path = state.box(two["id"])
    sailbox._forget(path, two, state.hold(path))
    t.equal(None, state.named("app_x", "w"), "it is gone")
    t.true(not os.path.exists(path), "its folder is gone")
    # A folder that was removed by hand.
    lock = state.reserve(two)
    os.rename(state.box(two["id"]), t.path("away"))
    os.close(lock)
    os.close(state.reserve(new_state()))


@deadline(1500)
def test_uids_in_use(t):
    """The ids of a sandbox that ended are not given out again while one of its
    volumes is still mounted."""
    Boxes(t)
    state, _, _ = modules()
    one, two, three = new_state("1"), new_state("2"), new_state("3")
    os.close(state.reserve(one))
    path = state.box(one["id"])
    volume = {"mounted": True, "point": path + "/volumes/0"}
    state.write(path, dict(one, status="failed", volumes=[volume]))
    os.close(state.reserve(two))
    t.true(two["uids"] != one["uids"], "in use: %d" % one["uids"])
    state.write(path, dict(one, status="failed",
                           volumes=[dict(volume, mounted=False)]))
    os.close(state.reserve(three))
    t.equal(one["uids"], three["uids"], "free again")


@deadline(1500)
def test_interrupted(t):
    """A program that is interrupted while a sandbox is made leaves none."""
    b = Boxes(t)
    _, _, sailbox = modules()
    plain = sailbox._supervise

    def interrupted(*args):
        plain(*args)
        raise KeyboardInterrupt
    sailbox._supervise = interrupted
    try:
        raises(t, KeyboardInterrupt, b.create, "w")
    finally:
        sailbox._supervise = plain
    t.equal([], b.sail.Sailbox.list(ended=True), "sandboxes")
    b.nothing_left()
    b.create("w")
    for where, _, names in os.walk(os.environ["SAIL_STATE"]):
        for name in names:
            mode = os.lstat(os.path.join(where, name)).st_mode
            if name == "lock":
                t.equal("0o600", oct(stat.S_IMODE(mode)),
                        os.path.join(where, name))
    b.all_ended()


@deadline(1500)
def test_left_writing(t):
    """What a command leaves behind may write without end: the command's result
    comes all the same."""
    b = Boxes(t)
    for background in (False, True):
        with b.create(disk_gib=1) as sb:
            done = within(t, 60, "wait()", lambda box=sb, kind=background:
                          box.exec(LEAVE, background=kind).wait())
            t.true(done.stdout_bytes.startswith(b"first\n"),
                   done.stdout_bytes[:100])
            t.equal(0, done.returncode, "status")
    with b.create() as sb:
        e = within(t, 60, "a fifo", lambda: (b.out(sb, "mkfifo /f"),
                                             sb.read("/f")))
        t.true(isinstance(e, b.sail.SailboxExecutionError), repr(e))
        t.true("not a regular file" in str(e), e)
        # Its own shell does what it likes.
        sb.write("/new", SHELL, 0o755)
        b.out(sb, "rm /bin/sh; mv /new /bin/sh")
        within(t, 60, "write()", sb.write, "/x", bytes(10 << 20))
    b.all_ended()


@deadline(1500)
def test_gone(t):
    """Calls that wait for a supervisor end with an error when it dies, however
    far they came."""
    b = Boxes(t)
    t.expect_deaths = True
    calls = {"exec": lambda sb: sb.exec("true"),
             "write": lambda sb: sb.write("/x", bytes(10 << 20)),
             "read": lambda sb: sb.read("/etc/passwd"),
             "pause": lambda sb: sb.pause(),
             "checkpoint": lambda sb: sb.checkpoint()}
    for name, call in calls.items():
        sb = b.create(name)
        pid = sb._state["supervisor"]
        os.kill(pid, signal.SIGSTOP)
        got = []

        def ask(call=call, sb=sb, got=got):
            try:
                got.append(call(sb))
            except BaseException as e:
                got.append(e)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        t.wait_for(lambda: connected(sb), "%s asks" % name)
        os.kill(pid, signal.SIGKILL)
        thread.join(60)
        t.true(got and isinstance(got[0], b.sail.SailboxTerminatedError),
               "%s: %r" % (name, got))
        t.equal("failed", within(t, 60, "status", lambda sb=sb: sb.status),
                name)
    b.all_ended()


def connected(sb):
    """Whether somebody waits for its supervisor to accept a connection."""
    path = os.path.join("/proc/self/fd", "")
    with open("/proc/net/unix", encoding="utf-8") as f:
        return any(line.split()[5] == "02" and path in line for line in f)


@deadline(1500)
def test_frozen(t):
    """A supervisor that is killed while it makes a checkpoint leaves no frozen
    file system: the sandbox ends, its loop device too, and nothing of the
    checkpoint is left."""
    b = Boxes(t)
    t.expect_deaths = True
    sb = b.create("w", disk_gib=4)
    if not sb.limits["disk_gib"]["enforced"]:
        t.skip("no loop devices")
    b.out(sb, "head -c 1500M /dev/urandom >/big; sync")
    writer = sb.exec("while :; do echo x >>/log; done")
    thread = threading.Thread(target=lambda: raises(
        t, b.sail.SailboxTerminatedError, sb.checkpoint))
    thread.start()
    copies = t.path("boxes/checkpoints/*.new/disk.img")
    t.wait_for(lambda: any(os.stat(p).st_blocks > 2048
                           for p in glob.glob(copies)), "the copy to begin")
    os.kill(sb._state["supervisor"], signal.SIGKILL)
    thread.join()
    raises(t, b.sail.SailboxTerminatedError, writer.wait)
    t.equal("failed", within(t, 20, "status", lambda: sb.status), "status")
    t.wait_for(lambda: loops(t.dir) == [], "its loop device to go")
    t.equal([], os.listdir(t.path("boxes/checkpoints")), "checkpoints")
    b.all_ended()


@deadline(1500)
def test_many_commands(t):
    """More commands than process 1 can watch are refused; the sandbox goes
    on."""
    b = Boxes(t)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        sb = b.create()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    requests, refused = [], 0
    for _ in range(80):
        try:
            requests.append(sb.exec("exec sleep 1000", background=True))
        except b.sail.SailboxTerminatedError:
            t.fail("it ended after %d" % len(requests))
        except b.sail.SailboxExecutionError as e:
            t.true("open files" in e.message, e.message)
            refused += 1
    t.true(refused > 0 and len(requests) > 8, "%d refused" % refused)
    for request in requests:
        request.kill()
    for request in requests:
        t.equal(-9, request.wait().returncode, "killed")
    t.equal("64\n", b.out(sb, "ulimit -n"), "it goes on")
    sb.terminate()
    b.all_ended()


@deadline(1500)
def test_host_mounts(t):
    """A file system of the machine that was mounted when a sandbox was made can
    be unmounted while that lives, and its device goes."""
    b = Boxes(t)
    image = t.path("fs.img")
    with open(image, "wb") as f:
        f.truncate(16 << 20)
    os.mkdir(t.path("m"))
    t.run(["mkfs.ext4", "-q", image])
    t.run(["mount", "-o", "loop", image, t.path("m")])
    try:
        sb = b.create()
        t.run(["umount", t.path("m")])
    except BaseException:
        subprocess.run(["umount", "-l", t.path("m")], check=False)
        raise
    t.wait_for(lambda: loops(image) == [], "its loop device to go")
    os.rmdir(t.path("m"))
    t.equal("x\n", b.out(sb, "echo x"), "the sandbox")
    sb.terminate()
    b.all_ended()


def small(t, name, *options):
    """A folder that is a file system of its own; what sets it otherwise."""
    path = t.path(name)
    os.makedirs(path, 0o700, exist_ok=True)

    def mount(*more):
        t.run(["mount", "-t", "tmpfs", "-o", ",".join(more + ("mode=0700",)),
               "none", path])
    mount(*options)
    return path, lambda *more: mount("remount", *more)


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise


@deadline(300)
def test_reserve_no_room(t):
    """A sandbox for which there is no room in the state folder, however far that
    came, leaves none, no name and no lock, and the error says so."""
    Boxes(t)
    top, again = small(t, "boxes", "size=1m", "nr_inodes=20")
    state, _, _ = modules()
    state.prepare()

    def left():
        return (state.ids(), state.named("app_x", "w"), state.stale(),
                len(os.listdir("/proc/self/fd")),
                [n for n in os.listdir(top + "/boxes")])
    before, failed, lock = left(), 0, -1
    fill(top + "/filler")
    t.equal(errno.ENOSPC, raises(t, OSError, state.reserve,
                                 new_state()).errno, "no bytes")
    t.equal(before, left(), "no bytes")
    os.unlink(top + "/filler")
    for files in range(5, 21):
        again("nr_inodes=%d" % files)
        try:
            lock = state.reserve(new_state())
            break
        except OSError as e:
            t.equal(errno.ENOSPC, e.errno, "%d files: %s" % (files, e))
            t.equal(before, left(), "%d files" % files)
            failed += 1
    t.true(failed >= 3, "%d attempts failed" % failed)
    os.close(lock)


@deadline(300)
def test_end_no_room(t):
    """A sandbox whose disk has filled that of the machine gives the room back
    before anything is written of its end."""
    Boxes(t)
    small(t, "boxes", "size=1m")
    state, ending, _ = modules()
    one = new_state()
    lock = state.reserve(one)
    path = state.box(one["id"])
    one["volumes"] = [{"mounted": True, "point": path + "/volumes/0"}]
    state.write(path, one)
    fill(path + "/disk.img")
    plain = ending._volumes.umount_one
    ending._volumes.umount_one = lambda point, daemon: {
        "gone": True, "error": None, "stash": None, "left": False}
    try:
        ending.finish(path, one, "terminated", "told")
    finally:
        ending._volumes.umount_one = plain
    t.equal("terminated", state.read(path)["status"], "the record")
    t.true(not os.path.exists(path + "/disk.img"), "its disk is gone")
    os.close(lock)


@deadline(1500)
def test_end_filled(t):
    """The same of one that has done so itself, from within."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    os.environ["SAIL_STATE"] = small(t, "disk", "size=48m")[0] + "/boxes"
    volume = b.sail.Volume.get("v", mint_if_missing=True)
    sb = b.create("w", disk_gib=1, volumes={"/mnt": volume})
    sb.exec("dd if=/dev/zero of=/fill bs=1M count=100; sync").wait()
    t.equal("terminated", within(t, 120, "terminate()", sb.terminate)["status"],
            "it ended")
    b.all_ended()


@deadline(1500)
def test_end_read_only(t):
    """Who asks for the end of a sandbox is told why it cannot be recorded; it is
    when that can be written."""
    b = Boxes(t)
    sb = b.create("w")
    top = os.environ["SAIL_STATE"]
    t.run(["mount", "--bind", top, top])
    t.run(["mount", "-o", "remount,bind,ro", top])
    try:
        e = within(t, 120, "terminate()", lambda: sb.terminate())
        t.true(isinstance(e, b.sail.SailboxError) and
               "Read-only file system" in str(e), repr(e))
    finally:
        t.run(["umount", top])
    b.all_ended()
    t.true(b.sail.Sailbox.list(ended=True)[0].status in (
        "terminated", "failed"), "it ended")


DEBIAN = """#!/bin/sh
for i; do root=$last; last=$i; done
mkdir $root && head -c 2000000 /dev/urandom >$root/program
"""


def make_image(t, b, top):
    """In the folder top, of a Debian that is made in no time."""
    os.makedirs(t.path("bin"), exist_ok=True)
    program = t.write("bin/mmdebstrap", DEBIAN)
    os.chmod(program, 0o755)
    os.environ["PATH"] = os.path.dirname(program) + ":" + os.environ["PATH"]
    os.environ["SAIL_IMAGES"] = top
    return b.sail.Image.debian.ensure()


@deadline(300)
def test_image_power(t):
    """An image that has its name is whole after a loss of power; what makers
    left that were killed goes."""
    power.require(t)
    b = Boxes(t)
    top = t.path("images")
    os.mkdir(top, 0o700)
    disk = power.Disk(t, top, 64)
    os.makedirs(top + "/new.killed/root/etc")
    layers = make_image(t, b, top)
    want = [stack.look(path) for path in layers]
    t.true(not os.path.exists(top + "/new.killed"), "what was left")
    disk.metadata()
    disk.cut()
    disk.lose()
    for path, look in zip(layers, want):
        if os.path.exists(path):
            stack.same(t, look, stack.look(path), path)
    t.true(os.path.exists(layers[1]), "nothing was at risk")


@deadline(300)
def test_image_no_room(t):
    """An image for which there is no room is not there, and the error says
    so, wherever it ended."""
    b = Boxes(t)
    top, again = small(t, "images", "size=8m", "nr_inodes=2")
    from sail.errors import SailboxCreationError
    path, failed = os.environ["PATH"], 0
    for files in range(2, 100):
        again("nr_inodes=%d" % files)
        try:
            make_image(t, b, top)
            break
        except SailboxCreationError as e:
            t.true("No space left" in str(e), "%d files: %s" % (files, e))
            t.equal([], glob.glob(top + "/new.*"), "%d files" % files)
            failed += 1
        finally:
            os.environ["PATH"] = path
    t.true(failed > 10, "%d attempts failed" % failed)
