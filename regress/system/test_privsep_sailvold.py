# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Each process of sailvold holds what the table of its manual says and nothing
else: user, root directory, capabilities, filter, open descriptors."""

import ctypes
import errno
import json
import os
import socket
import sqlite3

from sailtest import stack

# Role: number of its user, and its root directory below the daemon's folder.
ROLES = {"fuse": 0, "manifest": 1, "cache": 2, "fetch": 3, "metrics": 4}


def status(pid):
    with open("/proc/%d/status" % pid, encoding="ascii",
              errors="replace") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f
                    if ":\t" in line)


def descriptors(pid):
    out = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            out[int(fd)] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except FileNotFoundError:
            pass
    return out


def internet_sockets(local=False):
    """Inodes of the sockets that lead out of the machine, or listen; local:
    of those alone that listen at 127.0.0.1."""
    found = set()
    for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        try:
            with open("/proc/net/" + name, encoding="ascii") as f:
                for line in list(f)[1:]:
                    words = line.split()
                    if not local or (name == "tcp" and words[3] == "0A" and
                                     words[1].startswith("0100007F:")):
                        found.add(words[9])
        except FileNotFoundError:
            pass
    return found


def start(t):
    s = stack.Stack(t, extra="metrics listen on 127.0.0.1 port 0\n")
    a, b = s.mount("v", "a", create=True), s.mount("w", "b", create=True)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("x")
    s.commit(a)
    s.reload(b)
    return s, s.daemon, a, b


def test_identity(t):
    """No role is root, has a capability, or can get one; each has a user of
    its own, a filter, and a root directory with nothing but its own in it."""
    _, d, _, _ = start(t)
    roles = d.roles()
    kinds = {role for _, role in roles} - {"notify"}
    t.equal(set(ROLES), kinds, "roles")
    t.equal(2, len(d.pids("fuse")), "one fuse a mount")
    for pid, role in roles:
        s = status(pid)
        number = ROLES["fuse" if role == "notify" else role]
        want = str(stack.USERS_FROM + number)
        what = "%s (pid %d)" % (role, pid)
        t.equal([want] * 4, s["Uid"].split(), what + ": users")
        t.equal([want] * 4, s["Gid"].split(), what + ": groups")
        t.true(s["Groups"].split() in ([], [want]),
               what + ": groups " + s["Groups"])
        for cap in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            t.equal(0, int(s[cap], 16), "%s: %s" % (what, cap))
        t.equal("1", s["NoNewPrivs"], what + ": NoNewPrivs")
        t.equal("2", s["Seccomp"], what + ": Seccomp")
        root = os.readlink("/proc/%d/root" % pid)
        if role == "manifest":
            t.equal(os.path.join(d.dir, "state/db"), root, what + ": root")
        elif role == "cache":
            t.equal(os.path.join(d.dir, "cache"), root, what + ": root")
        elif role == "fuse":
            t.true(root.startswith(os.path.join(d.dir, "state/mounts/")),
                   what + ": root " + root)
        else:
            t.true(root.endswith(" (deleted)") and
                   os.listdir("/proc/%d/root" % pid) == [],
                   "%s: root is %s" % (what, root))
        t.true(root == os.readlink("/proc/%d/cwd" % pid), what + ": cwd")
    roots = [os.readlink("/proc/%d/root" % p) for p in d.pids("fuse")]
    t.equal(2, len(set(roots)), "a root for each mount: %r" % roots)


def has_landlock():
    """landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)"""
    return ctypes.CDLL(None).syscall(444, None, 0, 1) >= 1


def test_status(t):
    """status says of each process what confines it, on this kernel."""
    _, d, _, _ = start(t)
    want = "chroot,uid,nnp,%sseccomp" % ("landlock," if has_landlock() else "")
    found = d.ctl_json("status")["daemon"]["processes"]
    t.equal(set(ROLES), {p["role"] for p in found} - {"notify"}, "roles")
    for p in found:
        if p["ready"]:
            t.equal(want, p["sandbox"], p["role"])
    t.true(all(p["ready"] for p in found if p["role"] in ROLES), "all ready")


def test_descriptors(t):
    """No socket to the outside but in fetch; that of metrics in it and in the
    parent, which keeps it for the next one; the database in manifest alone;
    nothing of the cache's directory that could be written in fuse; the key's
    file in nobody."""
    _, d, a, _ = start(t)
    with open(os.path.join(a, "f"), encoding="ascii") as f:
        f.read()
    out, local = internet_sockets(), internet_sockets(local=True)
    everybody = d.roles() + [(d.process.pid, "parent")]
    for pid, role in everybody:
        for fd, what in descriptors(pid).items():
            where = "%s (pid %d): descriptor %d: %s" % (role, pid, fd, what)
            if what.startswith("socket:["):
                t.true(what[8:-1] not in out or role == "fetch" or
                       (role in ("metrics", "parent") and
                        what[8:-1] in local), where)
            elif what.startswith(os.path.join(d.dir, "state/db")):
                t.true(role == "manifest", where)
            elif what.startswith(os.path.join(d.dir, "cache")):
                t.true(role == "cache" or _read_only(pid, fd), where)
            elif what.startswith(os.path.join(d.dir, "state/mounts")):
                t.true(role in ("fuse", "parent") or
                       _read_only(pid, fd), where)
            elif what == "/dev/fuse":
                t.true(role in ("fuse", "notify", "parent"), where)
            t.true(what != os.path.join(d.dir, "key"), where)
            t.true("sailvol" not in what or d.dir in what or
                   what.startswith(("socket:", "/memfd:", "anon_inode:")),
                   where)


def test_metrics(t):
    """The role metrics has its socket and its channel, nothing else."""
    _, d, _, _ = start(t)
    pid, = d.pids("metrics")
    local = internet_sockets(local=True)
    sockets = set()
    for fd, what in descriptors(pid).items():
        if what.startswith("socket:["):
            sockets.add(what[8:-1])
        elif fd == 2 and what == t.path(d.log_name):
            # A sanitizer's report must be seen.
            t.true("san" in t.obj, what)
        else:
            # The loop's own are an epoll and a pipe.
            t.true(what == "/dev/null" or
                   what.startswith(("anon_inode:", "pipe:[")),
                   "%d: %s" % (fd, what))
    t.equal([False, True], sorted(s in local for s in sockets),
            "its channel, and the socket that listens")


def _read_only(pid, fd):
    with open("/proc/%d/fdinfo/%d" % (pid, fd), encoding="ascii") as f:
        for line in f:
            if line.startswith("flags:"):
                flags = int(line.split()[1], 8)
                return flags & os.O_ACCMODE == os.O_RDONLY or bool(
                    flags & os.O_PATH)
    return False


def test_folders(t):
    """What is made belongs to who uses it, closed to all others."""
    _, d, _, _ = start(t)
    want = {"state": (0, 0o711), "state/mounts": (0, 0o711),
            "state/db": (stack.USERS_FROM + ROLES["manifest"], 0o700),
            "cache": (stack.USERS_FROM + ROLES["cache"], 0o700)}
    for name in os.listdir(os.path.join(d.dir, "state/mounts")):
        want["state/mounts/" + name] = (stack.USERS_FROM + ROLES["fuse"],
                                        0o700)
    t.equal(6, len(want), "two mounts: %r" % sorted(want))
    for name, expected in want.items():
        st = os.stat(os.path.join(d.dir, name))
        t.equal(expected, (st.st_uid, st.st_mode & 0o7777), name)
    for where, _, files in os.walk(os.path.join(d.dir, "state/mounts")):
        for name in files:
            try:
                st = os.stat(os.path.join(where, name))
            except FileNotFoundError:
                continue  # made ahead, and used
            t.equal((stack.USERS_FROM + ROLES["fuse"], 0o600),
                    (st.st_uid, st.st_mode & 0o7777),
                    os.path.join(where, name))


def test_database(t):
    """While manifest lives nobody else gets into its database, and after a
    kill -9 of it the next one does."""
    s, d, a, _ = start(t)
    path = os.path.join(d.dir, "state/db/sailvold.db")
    for n in range(2):
        db = sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=0)
        try:
            db.execute("SELECT count(*) FROM sqlite_master")
            t.fail("the database is open to others")
        except sqlite3.OperationalError as e:
            t.equal("database is locked", str(e), "another opens it")
        finally:
            db.close()
        if n == 0:
            d.kill("manifest")
            stack.write(os.path.join(a, "f"), "y")
            s.commit(a)


GROUP = 64300


def connects(d, uid, groups):
    """As that user: done, or the name of the error."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as c:
                c.connect(d.socket)
            os._exit(0)
        except OSError as e:
            os._exit(e.errno)
        finally:
            os._exit(255)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return errno.errorcode.get(status, status) if status else "done"


def test_socket_group(t):
    """The control socket is the group's, 0660; without the group it is root's
    alone, 0600, and the log says so; a mode of the configuration's is taken."""
    with open("/etc/group", encoding="utf-8") as f:
        others = [line for line in f if not line.startswith("sailvol:")]
    mine = t.write("group", "")
    # Of this test alone, and of what it starts.
    t.run(["mount", "--bind", mine, "/etc/group"])
    s = stack.Stack(t, daemons=0)
    told = "no group sailvol: for root alone"
    for n, (lines, extra, mode, group, of_group) in enumerate((
            (["sailvol:x:%d:\n" % GROUP], "", 0o660, GROUP, "done"),
            ([], "", 0o600, 0, "EACCES"),
            (["other:x:%d:\n" % GROUP], " group other", 0o660, GROUP, "done"),
            (["sailvol:x:%d:\n" % GROUP], " mode 600", 0o600, GROUP,
             "EACCES"))):
        t.write("group", "".join(others + lines))
        d = s.add_daemon(start=False)
        conf = stack.read(d.conf)
        stack.write(d.conf, conf.replace('/sock"\n', '/sock"%s\n' % extra))
        d.start()
        what = "%d: " % n
        st = os.stat(d.socket)
        t.equal((0, group, mode), (st.st_uid, st.st_gid, st.st_mode & 0o7777),
                what + "owner, group, mode")
        t.equal(n == 1, told in d.log(), what + "it is said")
        t.equal("done", connects(d, 0, []), what + "root")
        t.equal(of_group, connects(d, 64123, [GROUP]), what + "a member")
        t.equal("EACCES", connects(d, 64123, []), what + "another")
        d.stop()
    t.write("group", "".join(others))
    d = s.daemons[2]
    d.start(wait=False)
    t.equal(1, d.process.wait(30), "without a group that was asked for")
    t.true("control group other: there is no such group" in d.log(), d.log())


def test_socket(t):
    """Who may connect, and is not root, has mounts on directories of his own
    alone, sees what he may read, and the daemon's key is not his."""
    s, d, a, _ = start(t)
    os.chmod(d.socket, 0o666)
    r = stack.as_user(64123, [s.program, "-j", "-s", d.socket, "volume",
                              "list"])
    if r.returncode == 126 or "ermission denied" in r.stderr:
        t.skip("another user cannot run the programs of this folder")
    t.equal(1, r.returncode, r.stdout)
    os.chown(a, 0, 64200)
    os.chmod(a, 0o770)
    for groups, seen in (("--clear-groups", False), ("--groups=64200", True)):
        def as_said(groups=groups, seen=seen):
            r = t.run(["setpriv", "--reuid=64123", "--regid=64123", groups,
                       s.program, "-j", "-s", d.socket, "status"])
            return seen == (a in [m["path"] for m in
                                  json.loads(r.stdout)["mounts"]])

        # A new mode is known to manifest a moment later.
        t.wait_for(as_said, "a group's mount in the status with %s: %s"
                   % (groups, seen))
    point = s.point("user")
    argv = [s.program, "-s", d.socket, "mount", "v", point]
    r = stack.as_user(64123, argv)
    t.equal(1, r.returncode, "a mount on root's directory: " + r.stderr)
    os.chown(point, 64123, 64123)
    r = stack.as_user(64123, argv)
    t.equal(0, r.returncode, "a mount on one's own directory: " + r.stderr)
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as f:
        line = [x for x in f if " %s " % point in x][0]
    t.true("nosuid" in line and "nodev" in line, line)
    r = stack.as_user(64123, [s.program, "-s", d.socket, "umount", a])
    t.equal(1, r.returncode, "umount of another's mount: " + r.stderr)
    r = stack.as_user(64123, [s.program, "-s", d.socket, "umount", point])
    t.equal(0, r.returncode, "umount of one's own: " + r.stderr)
