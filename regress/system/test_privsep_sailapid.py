# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Each process of sailapid holds what the table of its manual says and nothing
else: user, root directory, capabilities, filter, open descriptors."""

import os
import signal

from sailtest import server, tls

EMBEDDED_STORE = True  # its role is one of them
EXPECTED = {"api", "meta", "sign", "fetch", "store", "tls"}


def status(pid):
    with open("/proc/%d/status" % pid, encoding="ascii",
              errors="replace") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f
                    if ":\t" in line)


def descriptors(pid):
    """{fd: what it is}"""
    out = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            out[int(fd)] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except FileNotFoundError:
            pass
    return out


def listening(pid):
    """Ports of the listening TCP sockets of a process."""
    inodes = {}
    for name in ("tcp", "tcp6"):
        with open("/proc/net/" + name, encoding="ascii") as f:
            for line in list(f)[1:]:
                w = line.split()
                if w[3] == "0A":
                    inodes[w[9]] = int(w[1].split(":")[1], 16)
    return sorted(inodes[d[8:-1]] for d in descriptors(pid).values()
                  if d.startswith("socket:[") and d[8:-1] in inodes)


def start(t, extra=""):
    srv = server.Server(t, extra, authority=tls.Authority(t))
    t.wait_for(lambda: EXPECTED <= set(srv.roles()), "all roles")
    # A filter comes last, a moment after the name.
    t.wait_for(lambda: all(status(pid)["Seccomp"] == "2"
                           for pid in srv.roles().values()), "their filters")
    return srv, srv.roles()


def test_identity(t):
    """No role is root, has a capability, or can get one; each has a user of
    its own, a filter, and a root directory with nothing but its own in it."""
    srv, roles = start(t)
    t.equal(EXPECTED, set(roles), "roles")
    uids = set()
    for role, pid in roles.items():
        s = status(pid)
        want = str(server.USERS_FROM + server.ROLES[role])
        t.equal([want] * 4, s["Uid"].split(), role + ": users")
        t.equal([want] * 4, s["Gid"].split(), role + ": groups")
        t.true(s["Groups"].split() in ([], [want]),
               role + ": groups " + s["Groups"])
        uids.add(want)
        for cap in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            t.equal(0, int(s[cap], 16), "%s: %s" % (role, cap))
        t.equal("1", s["NoNewPrivs"], role + ": NoNewPrivs")
        t.equal("2", s["Seccomp"], role + ": Seccomp")
        root = os.readlink("/proc/%d/root" % pid)
        if role == "meta":
            t.equal(os.path.join(srv.dir, "db"), root, "root of meta")
        elif role == "store":
            t.equal(os.path.join(srv.dir, "objects"), root, "root of store")
        else:
            t.true(root.endswith(" (deleted)") and os.listdir(
                "/proc/%d/root" % pid) == [], "%s: root is %s" % (role, root))
        t.equal(root, os.readlink("/proc/%d/cwd" % pid), role + ": cwd")
    t.equal(len(EXPECTED), len(uids), "users of their own")


def test_descriptors(t):
    """Listening sockets are with tls, api and store only, the database with meta
    only (the parent has the store's folder locked), and nobody has the secret's
    file or the key's open."""
    srv, roles = start(t, "listen on 127.0.0.1 port 0 port file \"%s\"" %
                       t.path("plain"))
    t.equal(201, srv.call("POST", "/v1/volumes", {"name": "v"})[0], "use")
    srv.s3.put("k", b"x")
    with open(t.path("plain"), encoding="ascii") as f:
        ports = {"api": [int(f.read())],
                 "tls": sorted([srv.port, srv.store_port])}
    # The store's own, for sailapid itself.
    ports["store"] = listening(roles["store"])
    t.equal(1, len(ports["store"]), "ports of store")
    t.true("store, for ourselves: listening on 127.0.0.1 port %d" %
           ports["store"][0] in srv.log(), srv.log())
    for role, pid in roles.items():
        t.equal(ports.get(role, []), listening(pid), role + ": listens")
        for fd, what in descriptors(pid).items():
            where = "%s: descriptor %d: %s" % (role, fd, what)
            if fd == 2 and what == t.path("sailapid.log"):
                # A sanitizer's report must be seen.
                t.true("san" in t.obj, where)
                continue
            t.true(".key" not in what, where)
            if what.startswith(os.path.join(srv.dir, "db")):
                t.equal("meta", role, where)
            elif what.startswith(os.path.join(srv.dir, "objects")):
                t.equal("store", role, where)
            else:
                t.true(what.startswith(("socket:", "anon_inode:", "pipe:",
                                        "/memfd:", "/dev/null")) or
                       what == os.readlink("/proc/%d/root" % pid), where)
    # The parent has the folder itself, locked, and nothing of what is in it.
    held = [what for what in descriptors(srv.process.pid).values()
            if ".key" in what or what.startswith(
                (srv.dir + "/db", srv.dir + "/objects"))]
    t.equal([] if srv.store else [srv.dir + "/objects"], held,
            "descriptors of the parent")


def test_folders(t):
    """What is made belongs to who uses it, closed to all others."""
    srv, _ = start(t)
    for name, role in (("db", "meta"), ("objects", "store")):
        st = os.stat(os.path.join(srv.dir, name))
        t.equal((server.USERS_FROM + server.ROLES[role], 0o700),
                (st.st_uid, st.st_mode & 0o7777), name)
    st = os.stat(os.path.join(srv.dir, "objects.key"))
    t.equal((0, 0o600), (st.st_uid, st.st_mode & 0o7777), "key")
    # A key file that others can read is refused, and so is a link.
    srv.stop()
    os.chmod(os.path.join(srv.dir, "objects.key"), 0o644)
    r = t.run([srv.program, "-d", "-f", srv.conf], ok=1)
    t.true("objects.key: must be a file of root's, mode 0600" in r.stderr,
           r.stderr)
    os.chmod(os.path.join(srv.dir, "objects.key"), 0o600)
    os.rename(os.path.join(srv.dir, "db"), os.path.join(srv.dir, "real"))
    os.symlink("real", os.path.join(srv.dir, "db"))
    r = t.run([srv.program, "-d", "-f", srv.conf], ok=1)
    t.true("symbolic link" in r.stderr, r.stderr)


def test_deaths(t):
    """Each role may die: it is named with its signal, and comes back."""
    srv, roles = start(t)
    t.expect_deaths = "any"
    for role in sorted(EXPECTED):
        old = roles[role]
        os.kill(old, signal.SIGKILL)
        t.wait_for(lambda: srv.roles().get(role, old) != old, role + " again")
        t.wait_for(srv.up, "an answer without the old " + role)
        t.true('role "%s" (pid %d) killed by signal 9' % (role, old)
               in srv.log(), "%s: %s" % (role, srv.log()))
    t.equal(200, srv.s3.put("k", b"x").status, "store")
    srv.stop()
    for pid in srv.roles().values():
        t.fail("pid %d is left" % pid)
    # Without its parent nobody stays.
    srv.start()
    roles = srv.roles()
    srv.process.kill()
    srv.process.wait()
    t.wait_for(lambda: not any(os.path.exists("/proc/%d" % p) and
                               status(p)["State"][0] != "Z"
                               for p in roles.values()), "all end")
