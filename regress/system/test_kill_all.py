# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""kill -9 of every process under a writer: after a restart everything that was
acknowledged is there, dirty as before, and can be committed."""

import errno
import json
import os
import subprocess
import sys

from sailtest import deadline, stack

BOTH_STORES = True

# Works in the mount, and says on its standard output what was acknowledged:
# one JSON list for each step, after the step's last system call returned.
WRITER = r"""
import json, os, sys

top = sys.argv[1]
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
def ack(*what):
    os.write(out, json.dumps(what).encode() + b"\n")
i = int(sys.argv[3])
try:
    while True:
        d = "%s/d%d" % (top, i // 20)
        if i % 20 == 0:
            os.mkdir(d)
            ack("dir", "d%d" % (i // 20))
        name = "d%d/f%d" % (i // 20, i)
        path = top + "/" + name
        ack("may", name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        data = b"%d " % i * (1 + i % 3000)
        os.write(fd, data)
        if i % 50 == 0:
            os.fsync(fd)
        os.close(fd)
        ack("file", name, len(data), i)
        if i % 5 == 0:
            ack("may", name + ".moved")
            os.rename(path, path + ".moved")
            ack("moved", name)
        elif i % 7 == 0:
            os.unlink(path)
            ack("gone", name)
        elif i % 11 == 0:
            os.truncate(path, 3)
            os.chmod(path, 0o600)
            ack("cut", name)
        i += 1
except OSError as e:
    ack("error", e.errno)
"""


def expected(path):
    """What the writer acknowledged: ({name: (size, number, mode)}, directories,
    names that the step in flight may have made or taken away)."""
    files, dirs, doubt, last = {}, set(), set(), []
    with open(path, encoding="ascii") as f:
        for line in f:
            what = json.loads(line)
            kind, name = what[0], what[1]
            if kind == "dir":
                dirs.add(name)
            elif kind == "may":
                last.append(name)
            elif kind == "file":
                files[name] = (what[2], what[3], 0o644)
            elif kind == "moved":
                files[name + ".moved"] = files.pop(name)
            elif kind == "gone":
                del files[name]
            elif kind == "cut":
                files[name] = (3, files[name][1], 0o600)
            elif kind == "error":
                # The step in flight concerns the last names that were begun.
                for n in last[-2:]:
                    doubt |= {n, n + ".moved", n.replace(".moved", "")}
    return files, dirs, doubt


def acknowledged(path):
    """How many files were made so far."""
    try:
        with open(path, "rb") as f:
            return f.read().count(b'["file"')
    except FileNotFoundError:
        return 0


def check(t, top, acks):
    files, dirs, doubt = expected(acks)
    t.true(len(files) > 100, "the writer got on: %d files" % len(files))
    there = set()
    for d in dirs:
        t.true(os.path.isdir(os.path.join(top, d)), "directory " + d)
        there |= {d + "/" + n for n in os.listdir(os.path.join(top, d))}
    missing = set(files) - there - doubt
    t.equal(set(), missing, "acknowledged names that are missing")
    extra = there - set(files) - doubt
    t.equal(set(), extra, "names that nobody made, or that were taken away")
    for name, (size, number, mode) in files.items():
        if name in doubt:
            continue
        with open(os.path.join(top, name), "rb") as f:
            data = f.read()
            st = os.fstat(f.fileno())
        full = b"%d " % number * (1 + number % 3000)
        t.equal((size, mode), (len(data), st.st_mode & 0o7777), name)
        t.equal(full[:size], data, "content of " + name)


@deadline(240)
def test_kill_all(t):
    """Three times: a writer, kill -9 of parent and roles, a restart."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "committed"), "w", encoding="ascii") as f:
        f.write("before")
    base = s.commit(a)
    acks = t.path("acks")
    number = 0
    for n in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, a, acks,
                                   str(number)])
        want = acknowledged(acks) + 150
        t.wait_for(lambda w=want: acknowledged(acks) >= w, "the writer", 60)
        d.kill_all()
        t.count("kills survived", 1)
        t.true(writer.wait(30) is not None, "the writer ends")
        with open(acks, encoding="ascii") as f:
            lines = [json.loads(line) for line in f]
        t.equal("error", lines[-1][0], "the writer's last word")
        number = (max([x[3] for x in lines if x[0] == "file"]) // 20 + 2) * 20
        d.start()
        t.wait_for(lambda: _mounted(d, a), "the mount comes back")
        check(t, a, acks)
    with open(os.path.join(a, "committed"), encoding="ascii") as f:
        t.equal("before", f.read(), "what was committed")
    d.umount(a, ok=3)
    t.true(s.commit(a, timeout=110) != base, "a commit of it all")
    b = s.mount("v", "b")
    check(t, b, acks)
    stack.same(t, stack.look(a), stack.look(b), "A and B")


def _mounted(d, path):
    status = d.ctl_json("status")
    return any(m["path"] == path and m.get("fuse_runs", True)
               for m in status["mounts"]) and os.path.ismount(path)


def test_kill_each(t):
    """A role that dies is named in the log and started again, and the mount
    works."""
    s = stack.Stack(t)
    d = s.daemon
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for n, role in enumerate(("manifest", "cache", "fetch")):
        old = set(d.pids(role))
        t.true(old, "a process with the role " + role)
        t.count("kills survived", d.kill(role))
        t.wait_for(lambda: d.pids(role) and not old & set(d.pids(role)),
                   role + " again")
        t.true('killed by signal 9' in d.log(), d.log())
        t.wait_for(d.up, "an answer")
        with open(os.path.join(a, "f%d" % n), "w", encoding="ascii") as f:
            f.write(role)
        t.wait_for(lambda: s.ctl("commit", a, ok=None).returncode == 0,
                   "a commit without the old " + role)
        s.reload(b)
        with open(os.path.join(b, "f%d" % n), encoding="ascii") as f:
            t.equal(role, f.read(), "in B")


def test_clean_restart(t):
    """SIGTERM ends all processes; the next start has the mounts, the dirty
    changes and the base, with the server gone too."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("committed")
    base = s.commit(a)
    with open(os.path.join(a, "g"), "w", encoding="ascii") as f:
        f.write("dirty")
    roles = s.daemon.roles()
    s.daemon.stop()
    for pid, role in roles:
        t.true(not stack.alive(pid), role + " is left")
    s.server.stop()
    s.daemon.start()
    t.wait_for(lambda: _mounted(s.daemon, a), "the mount comes back")
    for name, text in (("f", "committed"), ("g", "dirty")):
        with open(os.path.join(a, name), encoding="ascii") as f:
            t.equal(text, f.read(), name)
    s.server.start()
    t.true(s.commit(a, timeout=110) != base, "a commit of what was dirty")


def test_unlinked(t):
    """Files without a name that were open for writing, of which one was
    published, when all processes were killed: the mount works, and can be
    committed."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    fds = [os.open(os.path.join(a, n), os.O_CREAT | os.O_RDWR) for n in "fg"]
    for fd in fds:
        os.write(fd, b"one")
    s.commit(a)
    os.write(fds[0], b"two")
    for n in "fg":
        os.unlink(os.path.join(a, n))
    s.daemon.kill_all()
    for fd in fds:
        try:
            os.close(fd)
        except OSError as e:
            t.equal(errno.ENOTCONN, e.errno, "close")
    s.daemon.start()
    t.wait_for(lambda: _mounted(s.daemon, a), "the mount comes back")
    with open(os.path.join(a, "h"), "wb") as f:
        f.write(b"new")
    s.commit(a)
    t.equal(["h"], os.listdir(a), "what there is")


def test_dirty_umount(t):
    """Dirty changes stay through umount --force, for the next mount of the
    same volume there; umount --commit publishes them."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("dirty")
    r = s.daemon.umount(a, ok=3)
    t.true("commit" in r.stderr and "force" in r.stderr, r.stderr)
    t.true(os.path.ismount(a), "still mounted")
    s.daemon.umount(a, "--force")
    t.true(not os.path.ismount(a), "unmounted")
    s.mount("v", "a")
    with open(os.path.join(a, "f"), encoding="ascii") as f:
        t.equal("dirty", f.read(), "taken up again")
    r = s.daemon.umount(a, "--commit")
    b = s.mount("v", "b")
    with open(os.path.join(b, "f"), encoding="ascii") as f:
        t.equal("dirty", f.read(), "published")
    # Somebody's cwd keeps it: refused, and it goes on working.
    os.chdir(b)
    s.daemon.umount(b, ok=1)
    t.equal(["f"], os.listdir("."), "still there")
    os.chdir("/")
    s.daemon.umount(b)
