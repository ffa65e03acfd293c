# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What a mount point lies in does not answer any more, as a network file system
whose server is gone: neither umount nor a restart nor the daemon's end waits for
that, and who hangs in it keeps nothing of the daemon's."""

import contextlib
import json
import os
import signal
import socket
import time

from sailtest import deadline, stack
from sailtest.deadfs import DeadFs

AT_ONCE_S = 8       # less than anything of that is waited for
IN_TIME_S = 60


def ask(d, **request):
    """What sailvolctl would not come to: it looks at the path itself.  The answer,
    and how long it took."""
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(IN_TIME_S)
        c.connect(d.socket)
        c.sendall(json.dumps(request).encode() + b"\n")
        line = c.makefile().readline()
    return json.loads(line), time.monotonic() - began


def state(d, path):
    return [m["state"] for m in d.ctl_json("status")["daemon"]["mounts"]
            if m["path"] == path]


@contextlib.contextmanager
def dead_fs(t):
    fs = DeadFs(t.path("net"))
    try:
        yield fs
    finally:
        fs.close()


def restart(t, d):
    restarts = d.ctl_json("status")["daemon"]["restarts"]
    began = time.monotonic()
    d.ctl("restart")
    t.wait_for(lambda: d.ctl("status", ok=None).returncode == 0, "it answers")
    took = time.monotonic() - began
    t.equal(restarts + 1, d.ctl_json("status")["daemon"]["restarts"], "restarts")
    t.true(took < AT_ONCE_S, "restart took %.1f s" % took)


def hanging_point(t, s, fs):
    """A mount of the configuration whose mount point hangs."""
    with open(s.daemon.conf, "a", encoding="ascii") as f:
        f.write('volume "v" {\n\tmount "%s"\n}\n' % fs.folder)
    s.daemon.hup()
    t.wait_for(lambda: state(s.daemon, fs.folder) == ["starting"] and fs.held,
               "its mount point is looked at")


@deadline(240)
def test_begin(t):
    """A mount that has not begun."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    stack.write(a + "/f", "x\n")
    with dead_fs(t) as fs:
        fs.hang()
        hanging_point(t, s, fs)
        restart(t, d)
        t.equal("x\n", stack.read(a + "/f"), "another mount")
        t.wait_for(lambda: state(d, fs.folder) == ["starting"], "it begins")
        answer, took = ask(d, request="umount", path=fs.folder)
        t.true("result" in answer, answer)
        t.true(took < AT_ONCE_S, "umount took %.1f s" % took)
        t.equal([], state(d, fs.folder), "its state")
        d.hup()
        t.wait_for(lambda: state(d, fs.folder) == ["starting"], "again")
        began = time.monotonic()
        d.stop()
        took = time.monotonic() - began
        t.true(took < AT_ONCE_S, "the end took %.1f s" % took)
        d.start()
        t.wait_for(lambda: os.path.ismount(a), "the other mount is back")
        t.equal("x\n", stack.read(a + "/f"), "another mount")
        fs.wake()
        t.wait_for(lambda: state(d, fs.folder) == ["mounted"], "it is mounted")
        d.kill_all()
        fs.hang()
        for _ in range(2):  # nobody who hangs has its state or its socket
            d.start()
            t.wait_for(lambda: state(d, fs.folder) == ["starting"] and fs.held,
                       "its mount point is looked at")
            for pid in d.pids("sailvold") + [d.process.pid]:
                os.kill(pid, signal.SIGKILL)
            d.process.wait()
            fs.held.clear()
        d.start()


@deadline(240)
def test_mounted(t):
    """A mount that there is."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    with dead_fs(t) as fs:
        d.ctl("mount", "v", fs.folder)
        fs.hang()
        answer, took = ask(d, request="umount", path=fs.folder)
        t.true("does not answer" in answer["error"]["message"], answer)
        t.true(took < IN_TIME_S, "umount took %.1f s" % took)
        t.equal(["mounted"], state(d, fs.folder), "its state")
        # The first one hangs still.
        answer, took = ask(d, request="umount", path=fs.folder, force=True)
        t.true("does not answer" in answer["error"]["message"], answer)
        t.true(took < AT_ONCE_S, "umount took %.1f s" % took)
        restart(t, d)
        t.equal(["mounted"], state(d, fs.folder), "its state")
        began = time.monotonic()
        d.stop()
        took = time.monotonic() - began
        t.true(took < IN_TIME_S, "the end took %.1f s" % took)
        t.true("it stays there" in d.log(), "the log says so")
        d.start()
        t.wait_for(lambda: os.path.ismount(a), "the other mount is back")
        fs.wake()
        t.wait_for(lambda: state(d, fs.folder) == ["mounted"],
                   "it is mounted again", 90)
        stack.write(fs.folder + "/f", "x\n")
        s.commit(fs.folder)
        answer, _ = ask(d, request="umount", path=fs.folder)
        t.true("result" in answer, answer)
    t.equal("x\n", stack.read(s.mount("v", "b") + "/f"), "published")
