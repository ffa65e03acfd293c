# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""mount(8) and umount(8) of volumes, and lines of fstab(5): in a mount
namespace that has the helpers and an fstab of its own."""

import contextlib
import os
import pwd
import re
import signal
import socket
import subprocess
import time

from sailtest import deadline, proxy, stack
from sailtest.stack import read, write

HELPERS = ("mount.sailvol", "umount.fuse.sailvol")
USAGE, FAIL = 1, 32


class Machine:
    """A mount namespace."""

    def __init__(self, t):
        self.t = t
        bin_dir = t.path("sbin")
        os.mkdir(bin_dir)
        for name in HELPERS:
            os.symlink(os.path.join(t.repo, "sailvolctl/sailvolctl"),
                       os.path.join(bin_dir, name))
        self.fstab = t.write("fstab", "")
        self.holder = t.spawn(
            ["unshare", "-m", "--propagation", "private", "sh", "-ec",
             "mount --bind %s /sbin; mount --bind %s /etc/fstab; echo; "
             "exec sleep 600" % (bin_dir, self.fstab)], "machine.log")
        t.wait_for(lambda: os.path.getsize(t.path("machine.log")) > 0,
                   "the namespace")
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-m", "--"]

    def run(self, *argv, ok=True, env=None, timeout=120):
        return self.t.run(self.enter + list(argv), ok=ok, env=env,
                          timeout=timeout)

    def is_mounted(self, path):
        with open("/proc/%d/mountinfo" % self.holder.pid,
                  encoding="ascii") as f:
            return any(line.split()[4] == path for line in f)

    def options(self, path):
        with open("/proc/%d/mountinfo" % self.holder.pid,
                  encoding="ascii") as f:
            return [set(line.split()[5].split(",")) for line in f
                    if line.split()[4] == path][-1]

    def inside(self, path):
        """The same path of the namespace, seen from here."""
        return "/proc/%d/root%s" % (self.holder.pid, path)


@contextlib.contextmanager
def supervisor(t, name):
    """A socket that hears sd_notify(3), and the environment that names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as c:
        c.bind(name.replace("@", "\0"))
        c.settimeout(30)
        yield c, {"NOTIFY_SOCKET": name}


class NsDaemon(stack.Daemon):
    """A sailvold in the namespace of the stack's machine."""

    def start(self, wait=True, env=None):
        self.process = self.t.spawn(
            self.stack.machine.enter +
            [self.program, "-d", "-f", self.conf], self.log_name, env=env)
        if wait:
            self.t.wait_for(self.up, "%s answers" % self.name)


class NsStack(stack.Stack):
    daemon_class = NsDaemon

    def __init__(self, t, **kwargs):
        stack.require_fuse(t)
        self.machine = Machine(t)
        super().__init__(t, **kwargs)

    def write_fstab(self, *lines):
        with open(self.machine.fstab, "w", encoding="ascii") as f:
            f.write("".join(line + "\n" for line in lines))

    def line(self, spec, where, options=""):
        """A line of fstab."""
        return "%s %s sailvol socket=%s%s 0 0" % (
            spec, self.point(where), self.daemon.socket,
            "," + options if options else "")

    def opts(self, options=""):
        return "socket=%s%s" % (self.daemon.socket,
                                "," + options if options else "")

    def do_mount(self, spec, where, options="", args=(), ok=True):
        return self.machine.run("mount", "-t", "sailvol", *args, spec,
                                self.point(where), "-o",
                                self.opts(options + ",_netdev"), ok=ok)

    def log_of(self, volume):
        log = self.daemon.ctl_json("log", volume)
        return [c["number"] for c in log["commits"]]


def make(t, **kwargs):
    """A stack, with a volume v that has d/f."""
    s = NsStack(t, **kwargs)
    a = s.point("make")
    s.do_mount("v", "make", "create")
    os.mkdir(s.machine.inside(a) + "/d")
    write(s.machine.inside(a) + "/d/f", "one")
    ident = s.machine.run(s.program, "commit", a).stdout.strip()
    s.machine.run("umount", a, env={"SAILVOLD_SOCKET": s.daemon.socket})
    return s, ident


def listens(d):
    with socket.socket(socket.AF_UNIX) as c:
        try:
            c.connect(d.socket)
        except OSError:
            return False
    return True


def umount(s, path, *args, ok=True):
    return s.machine.run("umount", *args, path, ok=ok,
                         env={"SAILVOLD_SOCKET": s.daemon.socket})


def test_mount(t):
    """mount -t sailvol takes volume and subpath and the options of sailvolctl
    mount; umount takes it away, and the daemon forgets it."""
    s, ident = make(t)
    m, d = s.machine, s.daemon
    a = s.point("a")
    s.do_mount("v", "a")
    t.equal("one", read(m.inside(a) + "/d/f"), "the volume")
    t.true({"rw", "nosuid", "nodev"} <= m.options(a), str(m.options(a)))
    # The same again is there already; another one is refused.
    s.do_mount("v", "a")
    for what, options in (("v:/d", ""), ("v", "noexec"), ("v", "ro"),
                          ("v", "uids=100000:65536")):
        done = s.do_mount(what, "a", options, ok=FAIL)
        t.true("another volume is mounted there" in done.stderr, done.stderr)
    umount(s, a)
    t.true(not m.is_mounted(a), "unmounted")
    t.equal([], d.ctl_json("status")["mounts"], "mounts")
    d.stop()
    d.start()
    t.equal([], d.ctl_json("status")["daemon"]["mounts"], "after a start")
    s.do_mount("v:/d", "a", "ro,noexec")
    t.equal("one", read(m.inside(a) + "/f"), "the subpath")
    t.true({"ro", "noexec"} <= m.options(a), str(m.options(a)))
    umount(s, a)
    s.do_mount("v", "b")
    write(m.inside(s.point("b")) + "/d/f", "two")
    m.run(s.program, "commit", s.point("b"))
    for word in (ident, ident[:8]):
        s.do_mount("v", "a", "commit=" + word)
        t.equal("one", read(m.inside(a) + "/d/f"), "of the commit")
        umount(s, a)
    s.do_mount("v", "a", "commit=head")
    t.equal("two", read(m.inside(a) + "/d/f"), "of the newest")
    t.true("ro" in m.options(a), str(m.options(a)))
    umount(s, a)
    s.do_mount("v", "a", "uids=100000:65536")
    s.do_mount("v", "a", "uids=100000:65536")
    t.equal({"base": 100000, "count": 65536},
            [x for x in d.ctl_json("status")["mounts"] if x["path"] == a][0][
                "uids"], "uids")
    umount(s, a)


def test_refused(t):
    """What cannot be done is said, with the exit statuses of mount(8); -s passes
    over unknown options, and -f does nothing but check."""
    s, _ = make(t)
    m, d = s.machine, s.daemon
    a = s.point("a")
    for options, words in (
            ("nonsense", "unknown option: nonsense"),
            ("sync", "option sync"), ("commit", "a value is needed"),
            ("commit=", "a value is needed"), ("create=1", "takes no value"),
            ("create,commit=head", "commit and create"),
            ("ro,commit-on-umount", "read only"),
            ("uids=7", "two numbers")):
        for args in ((), ("-f",)):
            done = s.do_mount("v", "a", options, args, ok=USAGE)
            t.true(words in done.stderr, "%s: %s" % (options, done.stderr))
    # mount(8) keeps them to itself.
    for option in ("suid", "dev"):
        done = m.run("/sbin/mount.sailvol", "v", a, "-o", s.opts(option),
                     ok=USAGE)
        t.true("always nosuid" in done.stderr, done.stderr)
    for spec, words in (("a/b", "volume a/b"), ("v:d", "begins with /"),
                        ("v:/../d", "v:/../d")):
        done = s.do_mount(spec, "a", ok=USAGE)
        t.true(words in done.stderr, "%s: %s" % (spec, done.stderr))
    done = s.do_mount("nosuch", "a", ok=FAIL)
    t.true("nosuch" in done.stderr, done.stderr)
    done = m.run("mount", "-t", "sailvol", "v", a, "-o",
                 "socket=/nonexistent", ok=FAIL)
    t.true("sailvold does not run" in done.stderr, done.stderr)
    done = m.run("/sbin/mount.sailvol", "v", ok=USAGE)
    t.true("usage: mount.sailvol" in done.stderr, done.stderr)
    done = m.run("/sbin/mount.sailvol", "v", a, "-N", "/proc/1/ns/mnt",
                 ok=USAGE)
    t.true("namespace" in done.stderr, done.stderr)
    s.do_mount("v", "a", "ro", ["-f"])
    m.run("mount", "-f", "-t", "sailvol", "v", a, "-o", "socket=/nonexistent")
    t.true(not m.is_mounted(a), "-f mounts nothing")
    s.do_mount("v", "a", "nonsense,more=3", ["-s"])
    t.true(m.is_mounted(a), "-s")
    # In use.
    holder = t.spawn(m.enter + ["sh", "-c", "cd %s; echo; exec sleep 600" % a],
                     "holder.log")
    t.wait_for(lambda: os.path.getsize(t.path("holder.log")) > 0, "a user")
    done = umount(s, a, ok=FAIL)
    t.true("is in use" in done.stderr, done.stderr)
    t.true(m.is_mounted(a), "it stays")
    umount(s, a, "-l")
    t.true(not m.is_mounted(a), "-l")
    holder.kill()
    holder.wait()
    t.wait_for(lambda: not d.pids("fuse"), "its end")
    # From another namespace nothing can be mounted, and what is unmounted
    # there is that one's alone.
    s.do_mount("v", "a")
    helper = os.path.join(t.path("sbin"), "mount.sailvol")
    done = t.run([helper, "v", s.point("b"), "-o", s.opts()], ok=FAIL)
    t.true("another mount namespace" in done.stderr, done.stderr)
    m.run("unshare", "-m", "--propagation", "private", "umount", a,
          env={"SAILVOLD_SOCKET": d.socket})
    t.true(m.is_mounted(a), "in the daemon's namespace")
    t.equal(1, len(d.ctl_json("status")["mounts"]), "mounts")
    umount(s, a)


def test_fstab(t):
    """mount -a, twice; options that are for others; umount -a."""
    s, _ = make(t)
    m = s.machine
    words = "_netdev,nofail,x-systemd.requires=sailvold.service," \
        "x-systemd.mount-timeout=30s,X-mount.mkdir,comment=a,noatime,defaults"
    s.write_fstab(s.line("v", "a", words), s.line("v:/d", "b", "ro," + words),
                  s.line("v", "c", "noauto," + words))
    a, b, c = s.point("a"), s.point("b"), s.point("c")
    m.run("mount", "-a")
    for path, want in ((a, True), (b, True), (c, False)):
        t.equal(want, m.is_mounted(path), path)
    m.run("mount", "-a")
    m.run("mount", c)
    t.true(m.is_mounted(c), "a noauto one")
    write(m.inside(a) + "/d/g", "kept")
    # The socket is found by fstab alone.
    done = m.run("umount", "-a", "-t", "fuse.sailvol")
    t.true("kept for the next mount there" in done.stderr, done.stderr)
    for path in (a, b, c):
        t.true(not m.is_mounted(path), path)
    t.equal([], s.daemon.ctl_json("status")["daemon"]["mounts"], "mounts")
    m.run("mount", a)
    t.equal("kept", read(m.inside(a) + "/d/g"), "taken up")
    umount(s, a)
    # -T: of another file.
    other = t.write("other", s.line("v", "b") + "\n")
    m.run("mount", "-a", "-T", other)
    t.true(m.is_mounted(b), "-T")
    umount(s, b)


@deadline(200)
def test_boot_and_shutdown(t):
    """The daemon, then what fstab says; at shutdown umount commits where fstab
    says so, and the mounts go before the daemon; the next boot is as before."""
    s, _ = make(t)
    m, d = s.machine, s.daemon
    s.write_fstab(s.line("v", "a", "_netdev,commit-on-umount"),
                  s.line("w", "b", "create,_netdev"))
    a, b = s.point("a"), s.point("b")
    m.run("mount", "-a")
    write(m.inside(a) + "/new", "1")
    write(m.inside(b) + "/kept", "1")
    done = m.run("umount", a)
    t.true("its changes were committed: " in done.stderr, done.stderr)
    t.equal([2, 1, 0], s.log_of("v"), "commits of v")
    done = m.run("umount", b)
    t.true("kept for the next mount there" in done.stderr, done.stderr)
    t.equal([0], s.log_of("w"), "commits of w")
    d.stop()
    d.start(wait=False)  # mount waits for it
    t.wait_for(lambda: listens(d), "the socket")
    m.run("mount", "-a")
    t.equal("1", read(m.inside(a) + "/new"), "of v")
    t.equal("1", read(m.inside(b) + "/kept"), "of w")
    t.equal([2, 1, 0], s.log_of("v"), "commits of v")
    # Without any order: the daemon is killed with all, and brings its mounts
    # back by itself while fstab asks for them.
    write(m.inside(a) + "/more", "2")
    d.kill_all()
    d.start(wait=False)
    t.wait_for(lambda: listens(d), "the socket")
    m.run("mount", a)
    m.run("mount", b)
    t.equal("1", read(m.inside(b) + "/kept"), "of w")
    t.equal("2", read(m.inside(a) + "/more"), "what was not published")
    m.run("umount", a, b)
    t.equal([3, 2, 1, 0], s.log_of("v"), "commits of v")


@deadline(300)
def test_shutdown_with_the_server_gone(t):
    """An umount that is to commit ends in bounded time without a server, says
    so, and what was not published comes with the next mount."""
    s, _ = make(t, proxied=True)
    m, d = s.machine, s.daemon
    s.write_fstab(s.line("v", "a", "_netdev,commit-on-umount"))
    a = s.point("a")
    m.run("mount", "-a")
    write(m.inside(a) + "/new", "1")
    s.api.set_down()
    began = time.monotonic()
    done = m.run("umount", a)
    took = time.monotonic() - began
    t.true(took < 45, "it took %.1f s" % took)
    t.true("not committed" in done.stderr and
           "kept for the next mount there" in done.stderr, done.stderr)
    t.true(not m.is_mounted(a), "unmounted")
    began = time.monotonic()
    d.stop()
    t.true(time.monotonic() - began < 15, "the daemon's end")
    s.api.set_down(False)
    d.start()
    m.run("mount", "-a")
    t.equal("1", read(m.inside(a) + "/new"), "taken up")
    done = m.run("umount", a)
    t.true(not m.is_mounted(a), "unmounted: " + done.stderr)
    t.equal([2, 1, 0], s.log_of("v"), "commits")
    # A server that refuses is not waited for.
    m.run("mount", "-a")
    write(m.inside(a) + "/new", "2")
    s.api.fault(proxy.REFUSE, "^PUT .*/sessions/[0-9a-f]+$", at=403,
                times=1000)
    done = m.run("umount", a)
    t.true("not committed: " in done.stderr, done.stderr)
    t.true(not m.is_mounted(a), "unmounted")


@deadline(300)
def test_umount_overtaken(t):
    """An umount whose commit runs when the daemon ends is done all the same,
    and says what became of the changes."""
    s, _ = make(t, proxied=True)
    m, d = s.machine, s.daemon
    a, b = s.point("a"), s.point("b")
    s.do_mount("v:/d", "b")

    def begin(text):
        s.do_mount("v", "a", "commit-on-umount")
        write(m.inside(a) + "/new", text)
        s.api.fault(proxy.DELAY, "^PUT .*/sessions/[0-9a-f]+$", at=8)
        before = s.api.count("/sessions/")
        one = subprocess.Popen(
            m.enter + ["umount", a], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, SAILVOLD_SOCKET=d.socket))
        t.wait_for(lambda: s.api.count("/sessions/") > before, "its commit")
        return one

    for n in range(3):
        one = begin(str(n))
        # Once with a manifest that hears of all of it late, and at once.
        slow = d.pids("manifest") if n == 1 else []
        for pid in slow:
            os.kill(pid, signal.SIGSTOP)
        d.process.send_signal(signal.SIGTERM)
        t.wait_for(lambda: not os.path.exists(d.socket), "the end to begin")
        # The last commits, of which that is one, are not waited for.
        d.process.send_signal(signal.SIGTERM)
        for pid in slow:
            os.kill(pid, signal.SIGCONT)
        _, said = one.communicate(timeout=60)
        t.equal(0, one.returncode, "umount: " + said)
        t.true("not committed: " in said and
               "kept for the next mount there" in said, said)
        t.equal(0, d.process.wait(timeout=60), "the daemon's end")
        t.true(not m.is_mounted(a), "unmounted")
        s.api.reset()
        d.start()
        t.wait_for(lambda: m.is_mounted(b), "the other mount")
        t.true(not m.is_mounted(a), "it was taken away")
        s.do_mount("v", "a")
        t.equal(str(n), read(m.inside(a) + "/new"), "taken up")
        m.run(s.program, "commit", a)
        umount(s, a)
    # Somebody else's umount was faster.
    one = begin("3")
    m.run("umount", "-i", a)
    _, said = one.communicate(timeout=60)
    t.equal(0, one.returncode, "umount: " + said)
    s.api.reset()
    s.do_mount("v", "a")
    t.equal("3", read(m.inside(a) + "/new"), "taken up")
    umount(s, a)


@deadline(200)
def test_without_the_daemon(t):
    """umount(8) of a mount whose daemon is dead, stopped, or does not hear of
    it: the mount goes, and the changes come with the next one there."""
    s, _ = make(t)
    m, d = s.machine, s.daemon
    a = s.point("a")
    s.do_mount("v", "a")
    write(m.inside(a) + "/new", "1")
    # umount -i: the kernel alone; so it is without _netdev, which is said.
    m.run("umount", "-i", a)
    t.wait_for(lambda: not d.ctl_json("status")["daemon"]["mounts"],
               "the daemon to see it")
    done = m.run("mount", "-t", "sailvol", "v", a, "-o",
                 s.opts("commit-on-umount"))
    t.true("without _netdev" in done.stderr, done.stderr)
    t.equal("1", read(m.inside(a) + "/new"), "taken up")
    done = umount(s, a)
    t.equal("", done.stderr, "said by umount")
    t.wait_for(lambda: not d.ctl_json("status")["daemon"]["mounts"],
               "the daemon to see it")
    t.equal([a], [x["path"] for x in d.ctl_json("stash", "list")[
        "unmounted"]], "what waits")
    d.stop()
    d.start()
    t.equal([], d.ctl_json("status")["daemon"]["mounts"], "mounts")
    s.do_mount("v", "a")
    t.equal("1", read(m.inside(a) + "/new"), "taken up")
    d.kill_all()
    t.true(m.is_mounted(a), "a dead mount")
    umount(s, a)
    t.true(not m.is_mounted(a), "it is gone")
    # That umount did not reach the daemon: it brings the mount back.
    d.start()
    t.wait_for(lambda: m.is_mounted(a), "the mount comes back")
    t.equal("1", read(m.inside(a) + "/new"), "taken up")
    umount(s, a)


def test_users(t):
    """user in fstab: who owns the directory may mount there, noexec as
    mount(8) has it, and take it away; others hear why not."""
    s, _ = make(t)
    m, d = s.machine, s.daemon
    os.chmod(d.socket, 0o666)
    a, b = s.point("a"), s.point("b")
    # mount(8) wants a name.
    user = pwd.getpwnam("daemon")
    os.chown(a, user.pw_uid, user.pw_gid)
    for path in (s.t.path(), s.t.path("mnt"), d.dir):
        os.chmod(path, 0o755)
    s.write_fstab(s.line("v", "a", "user,noauto"),
                  s.line("v", "b", "user,noauto"))

    def as_user(*argv):
        return subprocess.run(
            m.enter + ["setpriv", "--reuid=%d" % user.pw_uid,
                       "--regid=%d" % user.pw_gid, "--clear-groups"] + list(argv), check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    r = as_user("mount", a)
    t.equal(0, r.returncode, "mount by its owner: " + r.stderr)
    t.true({"noexec", "nosuid", "nodev"} <= m.options(a), str(m.options(a)))
    r = as_user("mount", b)
    t.equal(USAGE, r.returncode, "of another's: " + r.stderr)
    t.true("does not belong to you" in r.stderr, r.stderr)
    r = as_user("umount", a)
    t.equal(0, r.returncode, "umount: " + r.stderr)
    t.true(not m.is_mounted(a), "unmounted")
    s.do_mount("v", "b", "user")
    r = as_user("umount", b)
    t.true(r.returncode != 0 and m.is_mounted(b), "root's: " + r.stderr)
    umount(s, b)


def test_supervisor(t):
    """A supervisor hears that the daemon is ready once requests are answered,
    and that it ends; the roles know nothing of it."""
    s, _ = make(t)
    d = s.daemon
    d.stop()
    for name in (t.path("notify"), "@" + t.path("notify")):
        with supervisor(t, name) as (c, env):
            d.start(wait=False, env=env)
            t.equal(b"READY=1", c.recv(100), "the first word")
            d.ctl("status")
            for pid, role in d.roles():
                with open("/proc/%d/environ" % pid, "rb") as f:
                    t.true(b"NOTIFY_SOCKET" not in f.read(), role)
            d.process.send_signal(signal.SIGTERM)
            t.equal(b"STOPPING=1", c.recv(100), "the last word")
            t.equal(0, d.process.wait(timeout=30), "exit status")
    # One that is not there is no reason to end.
    d.start(env={"NOTIFY_SOCKET": t.path("nobody")})
    t.true("telling the supervisor" in d.log(), d.log())


def test_usage(t):
    """usage and the SYNOPSIS of the manual page are the same."""
    page = t.run(["mandoc", "-T", "ascii", os.path.join(
        t.repo, "man/mount.sailvol.8")]).stdout
    page = re.sub(r".\x08", "", page)
    synopsis = re.search(r"\nSYNOPSIS\n(.*?)\nDESCRIPTION", page, re.S).group(1)
    for name in HELPERS:
        os.symlink(os.path.join(t.repo, "sailvolctl/sailvolctl"),
                   t.path(name))
        r = t.run([t.path(name)], ok=USAGE)
        usage = " ".join(r.stderr.replace("usage: ", "").split())
        t.true(usage in " ".join(synopsis.split()),
               "%s: not in %s" % (usage, synopsis))
