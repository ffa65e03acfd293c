# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The units that are installed, under a real systemd(1): sailvold is ready when it
answers, ends in order, and when it dies nobody in a mount notices, because systemd
keeps the descriptors; sailapid works in all that its unit denies it."""

import contextlib
import os
import signal

from sailtest import deadline, stack, systemd
from sailtest.supervisor import Busy, progress, workers


class Stack(stack.Stack):
    daemon_class = systemd.Daemon


def start(t, sd):
    s = Stack(t, daemons=0)
    s.add_daemon(start=False)
    s.daemon.under(sd)
    # Type=notify: it answers at once.
    t.equal(0, s.daemon.ctl("status").returncode, "status")
    return s


def stored(sd, d):
    return int(sd.show(d.unit, "NFileDescriptorStore"))


@deadline(240)
def test_killed(t):
    """kill -9 of the parent, and of all: it is there again by itself, and no
    call in a mount fails."""
    with systemd.Systemd(t) as sd:
        s = start(t, sd)
        d = s.daemon
        t.equal(0, stored(sd, d), "descriptors without a mount")
        a = s.mount("vol", "a", create=True)
        stack.write(a + "/f", "x\n")
        t.wait_for(lambda: stored(sd, d) == 3, "of a mount: three")
        t.expect_deaths = True
        with contextlib.closing(Busy(a + "/busy")) as busy:
            for what in ("parent", "all"):
                progress(t, busy)
                old, roles = d.process.pid, workers(d)
                if what == "all":
                    sd.ctl("kill", "-s", "KILL", d.unit)
                else:
                    os.kill(old, signal.SIGKILL)
                t.wait_for(lambda: not os.path.exists("/proc/%d" % old),
                           "it is dead")
                d.process = sd.look(d.unit)
                t.true(d.process.pid != old, "another parent")
                progress(t, busy)
                t.true(not workers(d) & roles, "and other roles")
                t.equal(3, stored(sd, d), "descriptors")
                t.count("kills survived", 1)
            # An upgrade: the process stays, and systemd need not know.
            old = d.process.pid
            d.ctl("restart")
            d.process = sd.look(d.unit)
            t.equal(old, d.process.pid, "the process")
            progress(t, busy)
            b = s.point("b")
            with open(d.conf, "a", encoding="ascii") as f:
                f.write('volume "vol" {\n\tmount "%s"\n}\n' % b)
            sd.ctl("reload", d.unit)
            t.wait_for(lambda: os.path.ismount(b), "SIGHUP is heard")
            progress(t, busy)
            busy.stop(t)
        s.commit(a)
        d.umount(a)
        t.wait_for(lambda: stored(sd, d) == 3, "what is kept of the other")
        t.equal("0", sd.show(d.unit, "ExecMainStatus"), "its status")


def test_stopped(t):
    """systemctl stop ends the mounts; what was not published is there again after
    the next start; a configuration that is wrong is said."""
    with systemd.Systemd(t) as sd:
        s = start(t, sd)
        d = s.daemon
        a = s.mount("vol", "a", create=True)
        stack.write(a + "/f", "not published\n")
        sd.ctl("stop", d.unit)
        t.equal("success", sd.show(d.unit, "Result"), "how it ended")
        t.true(not os.path.ismount(a), "the mount is gone")
        d.start()
        t.wait_for(lambda: os.path.ismount(a), "the mount is back")
        t.equal("not published\n", stack.read(a + "/f"), "content")
        sd.ctl("stop", d.unit)
        with open(d.conf, "a", encoding="ascii") as f:
            f.write("nonsense\n")
        sd.ctl("start", d.unit, ok=1)
        t.true("syntax error" in d.log(), d.log()[-200:])


def test_server(t):
    """It works behind the walls of its unit, comes back when it is killed, with
    what it had, and ends in order."""
    with systemd.Systemd(t) as sd:
        srv = systemd.Server(t, sd)
        t.equal(201, srv.call("POST", "/v1/volumes", {"name": "v"})[0], "a volume")
        t.equal(200, srv.s3.put("k", b"x").status, "an object")
        t.expect_deaths = True
        old = srv.process.pid
        os.kill(old, signal.SIGKILL)
        t.wait_for(lambda: not os.path.exists("/proc/%d" % old), "it is dead")
        srv.process = sd.look(srv.unit)
        srv.ready()
        t.true(srv.process.pid != old, "another process")
        t.equal(200, srv.call("GET", "/v1/volumes/v")[0], "the volume")
        t.equal(b"x", srv.s3.get("k").body, "the object")
        sd.ctl("reload", srv.unit)
        t.wait_for(lambda: "sailapid.conf: read again" in srv.log(),
                   "SIGHUP is heard")
        sd.ctl("stop", srv.unit)
        t.equal("success", sd.show(srv.unit, "Result"), "how it ended")
