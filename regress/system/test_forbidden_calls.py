# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A running role that makes a system call it may not make dies by that, or gets
nothing: each role of both daemons, taken over by regress/hostile/call.c."""

import ctypes
import json
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

from sailtest import Failure, deadline, killer, role as r, server, stack, tls

# (x86_64, aarch64)
NUMBERS = {
    "execve": (59, 221), "ptrace": (101, 117), "kill": (62, 129),
    "clone": (56, 220), "mount": (165, 40), "setuid": (105, 146),
    "unshare": (272, 97), "chroot": (161, 51),
    "process_vm_readv": (310, 270), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "socket": (41, 198),
    "connect": (42, 203), "bind": (49, 200), "mprotect": (10, 226),
    "openat": (257, 56), "unlinkat": (263, 35), "getpid": (39, 172),
    "open_tree": (428, 428), "keyctl": (250, 219),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "sendto": (44, 206), "sendmsg": (46, 211), "socketpair": (53, 199),
}
CACHE_CONFIG = 130
INET, LOCAL, NETLINK, STREAM, DATAGRAM = 2, 1, 16, 1, 2
FASTOPEN = 0x20000000
MPTCP, UDPLITE, SCTP = 262, 136, 132
AT_FDCWD = (1 << 64) - 100
# Nobody may; what a role may in another form (a thread, memory that is not
# executed) is here in the form that it may not.
DEADLY = [
    ("execve", ":/bin/true", 0, 0), ("ptrace", 16, 1, 0, 0),
    ("kill", 1, 0), ("clone", signal.SIGCHLD, 0, 0, 0, 0),
    ("mount", ":none", ":/", ":tmpfs", 0, 0), ("setuid", 0),
    ("unshare", 0x10000000), ("chroot", ":/"),
    ("process_vm_readv", 1, 0, 0, 0, 0, 0), ("pidfd_open", 1, 0),
    ("pidfd_getfd", 3, 3, 0), ("bpf", 0, 0, 0), ("io_uring_setup", 8, 0),
    ("mprotect", 0, 4096, 7), ("open_tree", AT_FDCWD, ":/", 1),
    ("keyctl", 0, 0, 0), ("perf_event_open", 0, 0, 0, 0, 0),
    ("userfaultfd", 0), ("sendto", 3, ":x", 1, FASTOPEN, ":address", 16),
    ("sendmsg", 3, 0, FASTOPEN), ("socketpair", LOCAL, DATAGRAM, 0, 0),
]
# Of all but sailvol-fetch.
OFFLINE = [("socket", INET, STREAM, 0), ("socket", LOCAL, STREAM, 0),
           ("connect", 3, 0, 0), ("bind", 3, 0, 0),
           ("sendto", 3, ":x", 1, 0, ":address", 16)]
# Of sailvol-fetch.
ONLINE = [("socket", INET, STREAM, MPTCP), ("socket", INET, DATAGRAM, UDPLITE),
          ("socket", INET, STREAM, SCTP)]
FILES = ("fuse", "manifest", "cache", "meta", "store")


def call(t, pid, name, *args):
    which = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
    if which is None:
        t.skip("not for this processor")
    r = t.run([os.path.join(t.repo, t.obj, "regress/hostile/call"), pid,
               NUMBERS[name][which]] + list(args), ok=None)
    if r.returncode != 0:
        t.fail("%s: %s%s" % (name, r.stdout, r.stderr))
    return r.stdout.strip()


def dies(t, pid, role, name, *args):
    t.equal("died by %d" % signal.SIGSYS, call(t, pid, name, *args),
            "%s: %s%r" % (role, name, args))


def denied(t, pid, role, name, *args):
    got = call(t, pid, name, *args)
    t.true(got in ("returned -13", "returned -22"), "%s: %s%r: %s" % (
        role, name, args, got))


def looks(t, pid, role):
    """What it may ask and does not get; it lives on."""
    t.equal("returned %d" % pid, call(t, pid, "getpid"), role)
    flags = os.O_RDONLY
    if role in FILES:
        # Below its own root there is none.
        t.equal("returned -2", call(t, pid, "openat", AT_FDCWD, ":/etc/passwd",
                                    flags), role)
        t.equal("returned -2", call(t, pid, "openat", AT_FDCWD,
                                    ":/../../../proc/self/status", flags),
                role)
    else:
        for path in (":/", ":/etc/passwd", ":."):
            denied(t, pid, role, "openat", AT_FDCWD, path, flags)
        denied(t, pid, role, "openat", AT_FDCWD, ":x",
               os.O_RDWR | os.O_CREAT, 0o600)
    if role == "fetch":
        denied(t, pid, role, "socket", LOCAL, STREAM, 0)
        denied(t, pid, role, "socket", NETLINK, 3, 0)


def forbidden(role):
    calls = DEADLY + (ONLINE if role == "fetch" else OFFLINE)
    if role not in FILES:
        calls.append(("unlinkat", AT_FDCWD, ":x", 0))
    return calls


class Taken:
    """A process that is made to take a descriptor which the test sends it."""

    def __init__(self, t, pid, sock, fd):
        """sock: the test's end of the process's socket fd."""
        p = subprocess.Popen(
            [os.path.join(t.repo, t.obj, "regress/hostile/call"), str(pid),
             "take", str(fd)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        t.equal("stopped\n", p.stdout.readline(), "it stands still")
        outside = os.open(t.path("outside"), os.O_RDONLY | os.O_DIRECTORY)
        socket.send_fds(sock, [b"x"], [outside])
        os.close(outside)
        said, _ = p.communicate("\n", timeout=60)
        t.equal(0, p.returncode, said)
        self.t, self.pid, self.dir = t, pid, int(said.split()[1])

    def walls(self, role):
        """What its filter lets it do to files, and Landlock does not, by a
        directory that was handed to it: no root directory is in the way, and
        everybody may write there."""
        def openat(at, path, flags, mode=0):
            return call(self.t, self.pid, "openat", at, path, flags, mode)
        t, here = self.t, openat(AT_FDCWD, ":.", os.O_RDONLY | os.O_DIRECTORY)
        t.true(int(here.split()[1]) >= 0, "%s opens its own: %s" % (role, here))
        for path, flags in ((":file", os.O_RDONLY), (":file", os.O_WRONLY),
                            (":new", os.O_WRONLY | os.O_CREAT),
                            (":.", os.O_RDONLY | os.O_DIRECTORY)):
            t.equal("returned -13", openat(self.dir, path, flags, 0o666),
                    "%s: %s" % (role, path))
        t.equal("returned -13", call(t, self.pid, "unlinkat", self.dir, ":file",
                                     0), role)
        t.equal(["file"], os.listdir(t.path("outside")), role)


def outside(t):
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 1:
        t.skip("a kernel without Landlock")
    os.mkdir(t.path("outside"))
    stack.write(t.path("outside", "file"), "x")
    os.chmod(t.path("outside"), 0o777)
    os.chmod(t.path("outside", "file"), 0o666)


def test_landlock_of_a_role(t):
    """A running cache that is handed a directory opens nothing in it: by
    Landlock, for its filter knows no paths."""
    outside(t)
    os.mkdir(t.path("root"))
    os.chown(t.path("root"), r.UID, r.UID)
    c = r.Role(t, os.path.join(t.repo, "sailvold", "sailvold"), "cache",
               r.CACHE, t.path("root"))
    c.parent.send(CACHE_CONFIG, 0, struct.pack(">QQ", 1 << 30, 1))
    c.ready()
    Taken(t, c.pid, c.parent.sock, 3).walls("cache")
    t.equal(0, c.stop(), "its end")


def every_role(t, roles, before=lambda n: ()):
    """roles(): {role: pid} of those that are ready; before(n) of a round says
    who is there besides, and may leave by itself.  {role: how often it died}"""
    names = set(roles())
    for role, pid in roles().items():
        looks(t, pid, role)
    turn, died = {}, {}
    for n in range(max(len(forbidden(role)) for role in names)):
        begun = time.monotonic()
        t.wait_for(lambda: names <= set(roles()), "all are there again", 60)
        # The others first: they come for a moment.
        passing = list(before(n))
        for role, pid in passing + list(roles().items()):
            calls = forbidden(role)
            at = turn.setdefault(role, 0)
            if at < len(calls):
                try:
                    dies(t, pid, role, *calls[at])
                except Failure:
                    if (role, pid) in passing and not stack.alive(pid):
                        continue
                    raise
                died[role] = died.get(role, 0) + 1
            turn[role] += 1
        # Who dies twice in a second is started later.
        t.wait_for(lambda: time.monotonic() > begun + 1.1, "a second")
    t.wait_for(lambda: names <= set(roles()), "all are there again", 60)
    return died


def broke(text):
    return len(re.findall(r"killed by signal %d \(SIGSYS\): it broke its filter"
                          % signal.SIGSYS, text))


@deadline(300)
def test_sailvold(t):
    """fuse, notify, manifest, cache, fetch, metrics; the mount lives on."""
    t.expect_deaths = "any"
    s = stack.Stack(t, extra="metrics listen on 127.0.0.1 port 0\n")
    d = s.daemon
    a = s.mount("v", "a", create=True)
    stack.write(a + "/f", "x")

    def roles():
        r = d.ctl("-j", "status", ok=None)
        if r.returncode != 0:
            return {}
        return {p["role"]: p["pid"] for p in json.loads(r.stdout)["daemon"][
            "processes"] if p["ready"] and p["role"] != "notify" and
            p["instance"] in (0, 1)}

    def with_notify(n):
        """It is there for two seconds after a reload; at some rounds, for it
        has the filter of metrics but for what serves."""
        if n % 3 != 0:
            return []
        stack.write(a + "/f", "%d" % n)
        s.commit(a)
        s.reload(a)
        return [(role, pid) for pid, role in d.roles("notify")
                if killer.in_force(pid)]
    deaths = every_role(t, roles, with_notify)
    t.true(deaths.get("notify", 0) >= 3, "notify, too: %s" % deaths)
    died = sum(deaths.values())
    s.commit(a)
    t.equal(None, d.process.poll(), "the parent")
    t.wait_for(lambda: broke(d.log()) == died, "%d deaths, %d in the log" % (
        died, broke(d.log())))
    t.said = "%d deaths, %d of them notify's" % (died, deaths["notify"])
    t.count("forbidden calls", died)


# A gateway leaves no role for the store.
EMBEDDED_STORE = ("test_sailapid",)


@deadline(300)
def test_sailapid(t):
    """tls, api, meta, sign, fetch, store."""
    t.expect_deaths = "any"
    srv = server.Server(t, authority=tls.Authority(t))

    def roles():
        return {role: pid for role, pid in srv.roles().items()
                if killer.in_force(pid)}
    t.wait_for(lambda: len(roles()) == 6, "all roles")
    died = sum(every_role(t, roles).values())
    t.wait_for(srv.up, "it answers")
    t.wait_for(lambda: broke(srv.log()) == died, "%d deaths, %d in the log" % (
        died, broke(srv.log())))
    t.said = "%d deaths" % died
    t.count("forbidden calls", died)


class Asker:
    """A sailvolctl whose sailvol-fetch waits for a server, which never answers;
    of another user: it keeps its root directory, and may open nothing there."""

    def __init__(self, t, uid):
        self.t = t
        self.end = socket.create_server(("127.0.0.1", 0))
        self.argv = (["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid,
                      "--clear-groups"] if uid != 0 else []) + [
                          os.path.join(t.dir, "sailvolctl"), "ls", "v:"]
        self.env = {"SAIL_API_KEY": "sk_" + "0" * 64, "SAIL_API_URL":
                    "http://127.0.0.1:%d" % self.end.getsockname()[1]}
        self.process = None

    def fetch(self):
        """The pid of a new one."""
        self.stop()
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            self.argv, env=dict(os.environ, **self.env), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, cwd=self.t.dir)
        self.asked, _ = self.end.accept()
        (pid, name), = stack.children(self.process.pid)
        self.t.equal("fetch", name, "its child")
        self.t.true(killer.in_force(pid), "it has its filter")
        return pid

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.asked.close()


def test_sailvolctl(t):
    """The fetch of sailvolctl, run by root and by others: it opens no file, and
    what it may not ask for ends it, and sailvolctl says so."""
    t.expect_deaths = "any"
    for name in ("sailvolctl/sailvolctl", "sailvol-fetch/sailvol-fetch"):
        shutil.copy(os.path.join(t.repo, name), t.dir)
    died = 0
    for uid in (0, 64123):
        asker = Asker(t, uid)
        pid = asker.fetch()
        looks(t, pid, "fetch")
        for path in (":" + t.dir, ":/proc/self/maps", ":/dev/null",
                     ":/etc/resolv.conf"):
            denied(t, pid, "fetch", "openat", AT_FDCWD, path, os.O_RDONLY)
        calls = forbidden("fetch")
        for n, what in enumerate(calls):
            if n > 0:
                pid = asker.fetch()
            dies(t, pid, "sailvolctl's fetch", *what)
            _, said = asker.process.communicate(timeout=30)
            t.equal(1, asker.process.returncode, "%s: %s" % (what, said))
            t.true(said.startswith("sailvolctl: ") and "sailvol-fetch" in said,
                   "%s: %s" % (what, said))
            died += 1
        asker.stop()
    t.said = "%d deaths" % died
    t.count("forbidden calls", died)
