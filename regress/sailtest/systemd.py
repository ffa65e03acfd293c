# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A systemd(1) of a test's own: process 1 of a namespace, which knows the units
that it is given and no others, and has a control group of its own.

It is in a mount namespace, too; what is mounted below t.dir/mnt is seen on both
sides."""

import glob
import os
import re
import shutil
import types

from sailtest import Failure, server, stack

PROGRAM = "/lib/systemd/systemd"
# What every unit wants to be before or after.
TARGETS = ("sysinit", "basic", "shutdown", "local-fs", "network-online")
EMPTY = "[Unit]\nDefaultDependencies=no\n"
INSIDE = """
set -e
mount -t tmpfs none /run
mount -t proc none /proc
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec env -i PATH="$PATH" container=other SYSTEMD_UNIT_PATH="$1" "$2" \\
    --system --unit=test.target --log-target=null --show-status=no
"""


def groups():
    """Where the control groups of version 2 are, or None."""
    for line in stack.read("/proc/self/mounts").splitlines():
        words = line.split()
        if words[2] == "cgroup2" and os.access(words[1], os.W_OK):
            return words[1]
    return None


def remove_group(top):
    """With all below it, when nobody is in it; so is what a test that was killed
    has left."""
    for where, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(where)
        except OSError:
            pass


class Systemd:
    def __init__(self, t):
        self.t = t
        if not os.access(PROGRAM, os.X_OK):
            t.skip("no systemd")
        top = groups()
        if top is None:
            t.skip("no control groups of version 2")
        for old in glob.glob(top + "/sail-test.*"):
            # Not that of a test beside this one, which is still empty.
            if not os.path.exists("/proc/" + old.rsplit(".", 1)[1]):
                remove_group(old)
        self.group = os.path.join(top, "sail-test.%d" % os.getpid())
        self.units = t.path("units")
        os.mkdir(self.units)
        for name in TARGETS + ("test",):
            self.unit(name + ".target", EMPTY)
        mnt = t.path("mnt")
        os.makedirs(mnt, exist_ok=True)
        t.run(["mount", "--bind", mnt, mnt])
        t.run(["mount", "--make-shared", mnt])
        os.mkdir(self.group)
        self.process = t.spawn(
            ["sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', self.group,
             "unshare", "--pid", "--mount", "--propagation", "unchanged",
             "--cgroup", "--ipc", "--fork", "--kill-child",
             "sh", "-c", INSIDE, "sh", self.units, PROGRAM], "systemd.log")
        t.wait_for(self.up, "systemd is up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.t.wait_for(lambda: "populated 0" in stack.read(
            self.group + "/cgroup.events"), "its processes to end")
        remove_group(self.group)

    def unit(self, name, text):
        with open(os.path.join(self.units, name), "w", encoding="utf-8") as f:
            f.write(text)

    def up(self):
        if self.process.poll() is not None:
            self.t.fail("systemd: status %d" % self.process.returncode)
        below = stack.children(self.process.pid)
        self.first = below[0][0] if below else None
        return self.first is not None and self.ctl(
            "is-system-running", ok=None).stdout in ("running\n", "degraded\n")

    def ctl(self, *args, ok=True):
        """systemctl(1)"""
        return self.t.run(["nsenter", "-t", self.first, "-m", "-p", "-C",
                           "systemctl", "--no-pager"] + list(args), ok=ok)

    def show(self, unit, what):
        return self.ctl("show", "-P", what, unit).stdout.strip()

    def main_of(self, unit):
        """The main process of a unit, by the number that it has here."""
        for pid in stack.read("%s/system.slice/%s/cgroup.procs" % (
                self.group, unit)).split():
            if re.search(r"^PPid:\t%d$" % self.first, stack.read(
                    "/proc/%s/status" % pid), re.M):
                return int(pid)
        raise Failure("no main process of " + unit)


    def service(self, unit, t, program, conf, log, more=""):
        """By the unit that is installed for that program, which stays as it is
        but for its paths and its log."""
        name = os.path.basename(program)
        text, n = re.subn(
            "@SBINDIR@/%s -d -f @SYSCONFDIR@/%s.conf" % (name, name),
            "%s -d -f %s" % (program, conf),
            stack.read(os.path.join(t.repo, "etc", name + ".service")))
        t.equal(1, n, "its program in the unit")
        self.unit(unit, text + "\n[Service]\nStandardOutput=append:%s\n"
                  "StandardError=append:%s\n%s" % (log, log, more))
        self.ctl("daemon-reload")

    def begin(self, unit):
        """What a test needs of a subprocess.Popen."""
        self.ctl("start", unit)
        return self.look(unit)

    def look(self, unit):
        """Which process it is now."""
        self.t.wait_for(lambda: self.show(unit, "ActiveState") == "active",
                        "%s is active" % unit)
        return types.SimpleNamespace(pid=self.main_of(unit), poll=lambda: None)


class Daemon(stack.Daemon):
    """A sailvold that systemd starts."""

    def under(self, systemd):
        self.systemd, self.unit = systemd, self.name + ".service"
        systemd.service(self.unit, self.t, self.program, self.conf,
                        self.t.path(self.log_name))
        self.start()

    def start(self, wait=True):
        self.process = self.systemd.begin(self.unit)


class Server(server.Server):
    """A sailapid that systemd starts; where it is, another /tmp hides it, and
    homes are hidden, too."""

    def __init__(self, t, systemd):
        self.systemd, self.unit = systemd, "sailapid.service"
        super().__init__(t)

    def start(self):
        build = self.t.path("build")
        for name in ("sailapid", "sailvol-fetch"):
            os.makedirs(os.path.join(build, name), exist_ok=True)
            shutil.copy(os.path.join(self.t.repo, name, name),
                        os.path.join(build, name, name))
        self.systemd.service(self.unit, self.t, build + "/sailapid/sailapid",
                             self.conf, self.t.path("sailapid.log"),
                             "BindPaths=%s\nRestartSec=1\n" % self.t.dir)
        self.process = self.systemd.begin(self.unit)
        self.ready()
