# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl restart, and a supervisor that keeps the descriptors of a sailvold
that died: programs in the mounts see that neither ever happened."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import time

from sailtest import control, deadline, error_of, stack
from sailtest.supervisor import Busy, Store, progress, restart, workers

BOTH_STORES = True
USUAL_S = 1


@deadline(240)
def test_under_load(t):
    """Five times under load, over a commit: nothing fails or is later than a
    second, and nothing is lost or done twice."""
    s = stack.Stack(t)
    d, reader = s.daemon, s.add_daemon()
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/clean", "published\n")
    s.commit(a)
    b = reader.mount("vol", "b")
    busy = Busy(a + "/busy")
    held = open(a + "/clean", encoding="ascii")
    gone = open(a + "/gone", "w+b")
    gone.write(b"deleted, and open\n")
    gone.flush()
    os.unlink(a + "/gone")
    watch = control.Control(t, [d.program, "-n", "-f", d.conf])
    begun = time.monotonic()
    t.wait_for(lambda: time.monotonic() > begun + USUAL_S, "what is usual")
    since = time.monotonic()
    for i in range(5):
        progress(t, busy)
        restart(t, d)
        progress(t, busy)
        if i == 2:
            s.commit(a)
            held.seek(0)
            t.equal("published\n", held.read(), "what was open")
    t.equal(5, d.ctl_json("status")["daemon"]["restarts"], "restarts")
    busy.stop(t)
    busy.judge(t, watch, since)
    gone.seek(0)
    t.equal(b"deleted, and open\n", gone.read(), "without a name")
    gone.close()
    held.close()
    busy.close()
    s.commit(a)
    s.reload(b)
    stack.same(t, stack.look(a), stack.look(b), "as published")
    t.true(re.search("vol on .*/a: its session goes on", d.log()), d.log())
    d.umount(a)
    d.stop()


def test_mounts(t):
    """Each kind of mount comes back as it was: read-only, of a subpath, of a
    commit, with a range of uids, from the configuration, and one that is
    unmounted and still in use; one that was taken out of the configuration
    goes."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    os.makedirs(a + "/sub")
    stack.write(a + "/sub/f", "one\n")
    first = s.commit(a)
    stack.write(a + "/sub/f", "two\n")
    s.commit(a)
    ro = s.mount("vol", "ro", args=["-r"])
    sub = s.mount("vol:/sub", "sub")
    old = s.mount("vol", "old", args=["-c", first])
    ids = s.mount("vol", "ids", args=["--uids", "200000:65536"])
    conf = s.point("conf")
    with open(d.conf, encoding="ascii") as f:
        text = f.read()
    t.write(d.name + "/sailvold.conf",
            text + 'volume "vol" {\n\tmount "%s"\n}\n' % conf)
    d.hup()
    t.wait_for(lambda: os.path.ismount(conf), "it is mounted")
    left = s.mount("vol", "left")
    f = open(left + "/sub/f", encoding="ascii")
    d.umount(left, "--force")

    def shown():
        return [(m["path"], m["state"], m.get("uid"))
                for m in d.ctl_json("status")["daemon"]["mounts"]]
    want = shown()
    t.equal(7, len(want), str(want))
    restart(t, d)
    t.wait_for(lambda: want == shown(), "the same mounts")
    t.equal("two\n", f.read(), "of one that is unmounted")
    f.close()
    t.wait_for(lambda: len(shown()) == 6, "it ends with its last file")
    for path, content in ((a + "/sub/f", "two\n"), (ro + "/sub/f", "two\n"),
                          (sub + "/f", "two\n"), (old + "/sub/f", "one\n"),
                          (ids + "/sub/f", "two\n"), (conf + "/sub/f",
                                                      "two\n")):
        t.equal(content, stack.read(path), path)
    t.equal(200000, os.stat(ids + "/sub/f").st_uid, "in the range")
    for path in (ro, old):
        t.equal("EROFS", error_of(stack.write, path + "/no", ""), path)
    stack.write(sub + "/new", "x\n")
    s.commit(sub)
    s.reload(a)
    t.equal("x\n", stack.read(a + "/sub/new"), "through the subpath")
    t.write(d.name + "/sailvold.conf", text)
    restart(t, d)
    t.wait_for(lambda: not os.path.ismount(conf), "it goes")
    d.stop()
    d.start()
    t.wait_for(lambda: len(shown()) == 5 and all(
        state == "mounted" for _, state, _ in shown()), "those that were up")
    for path in (a, ro, sub, old, ids):
        d.umount(path)
    d.stop()


def test_refused(t):
    """Nothing changes when the configuration of now or the program of now is
    not fit for it, nor for another than root."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/f", "x\n")
    before = workers(d)
    with open(d.conf, encoding="ascii") as f:
        text = f.read()
    for bad, says in ((text + "nonsense\n", "nonsense"),
                      (text.replace("/state", "/elsewhere"), "cannot go on"),
                      (re.sub("users from [0-9]+", "users from 61900", text),
                       "cannot go on")):
        t.write(d.name + "/sailvold.conf", bad)
        r = d.ctl("restart", ok=False)
        t.true(says in r.stderr and "nothing was changed" in r.stderr,
               r.stderr)
    t.write(d.name + "/sailvold.conf", re.sub(
        r'(control "[^"]*")', r"\1 mode 640", text))
    t.equal(before, workers(d), "the workers")
    t.equal(0, d.ctl_json("status")["daemon"]["restarts"], "restarts")
    t.equal("x\n", stack.read(a + "/f"), "the mount")
    restart(t, d)
    t.equal("x\n", stack.read(a + "/f"), "the mount")
    t.equal(0o640, os.stat(d.socket).st_mode & 0o777, "of now")


def installed(t):
    """A copy of the programs, as an installation has them."""
    top = t.path("programs")
    for name in ("sailvold", "sailvol-fetch"):
        os.makedirs(os.path.join(top, name))
        shutil.copy(os.path.join(t.repo, name, name),
                    os.path.join(top, name, name))
    return os.path.join(top, "sailvold", "sailvold")


def replace(path, with_what):
    """As an installation does: beside, and renamed."""
    shutil.copy(with_what, path + ".new")
    os.rename(path + ".new", path)


def test_another_program(t):
    """The program that is there now is what runs then; one that cannot be
    executed, or is another thing, is not taken."""
    s = stack.Stack(t)
    d = s.daemon
    d.stop()
    d.program = program = installed(t)
    d.start()
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/f", "x\n")
    busy = Busy(a + "/busy")
    for bad, says in (("/bin/false", "does not take"),
                      ("/bin/true", "another version"),
                      ("/etc/passwd", "cannot be executed")):
        replace(program, bad)
        r = d.ctl("restart", ok=False)
        t.true(says in r.stderr, "%s: %s" % (bad, r.stderr))
    progress(t, busy)
    replace(program, os.path.join(t.repo, "sailvold", "sailvold"))
    t.true(not os.path.samefile(program, "/proc/%d/exe" % d.process.pid),
           "it runs what was there")
    restart(t, d)
    t.true(os.path.samefile(program, "/proc/%d/exe" % d.process.pid),
           "the parent")
    for pid in workers(d):
        # One may end meanwhile.
        with contextlib.suppress(FileNotFoundError):
            t.true("(deleted)" not in os.readlink("/proc/%d/exe" % pid),
                   "%d runs what was there" % pid)
    progress(t, busy)
    busy.stop(t)
    busy.close()


def test_another_layout(t):
    """A program that could not read what the roles leave is told from one that
    reads more than that, before anything ends."""
    s = stack.Stack(t)
    d = s.daemon
    real = os.path.join(t.repo, "sailvold", "sailvold")
    d.stop()
    d.program = program = installed(t)
    d.start()
    a = s.mount("vol", "a", create=True)
    stack.write(a + "/f", "x\n")
    says = t.run([real, "-n", "-S", "-f", d.conf]).stdout.splitlines()
    found = re.fullmatch("reads table ([0-9a-f]+) journal ([0-9]+) to ([0-9]+) "
                         "database ([0-9]+) to ([0-9]+)", next(
                             (line for line in says if line.startswith("reads")), ""))
    t.true(found, "what it says: %s" % says)
    _, _, journal, _, database = found.groups()
    for to, what in (
            ("s/table [0-9a-f]*/table 1/", "another inode table"),
            ("s/journal.* data/journal 1 to %d data/" % (int(journal) - 1),
             "does not read this journal"),
            ("s/journal.* data/journal %d to 99 data/" % (int(journal) + 1),
             "does not read this journal"),
            ("s/database .*/database 1 to %d/" % (int(database) - 1),
             "does not read this database"),
            ("s/database .*/database %d to 99/" % (int(database) + 1),
             "does not read this database"),
            ("/^reads/d", "says nothing of its inode table"),
            ("s/takes over [0-9]*/takes over 0/", "another version")):
        script = t.write("stand-in", "#!/bin/sh\n%s \"$@\" | sed '%s'\n" % (
            real, to))
        os.chmod(script, 0o755)
        replace(program, script)
        r = d.ctl("restart", ok=False)
        t.true(what in r.stderr and "nothing was changed" in r.stderr,
               "%s: %s" % (to, r.stderr))
    noise = "yes 'much that nobody needs' | head -n 4000\n"
    script = t.write("stand-in", "#!/bin/sh\n%secho the reason >&2\nexit 1\n" %
                     noise)
    os.chmod(script, 0o755)
    replace(program, script)
    r = d.ctl("restart", ok=False)
    t.true("does not take" in r.stderr and "the reason" in r.stderr, r.stderr)
    t.equal(0, d.ctl_json("status")["daemon"]["restarts"], "restarts")
    t.equal("x\n", stack.read(a + "/f"), "the mount")
    script = t.write("stand-in", "#!/bin/sh\n[ \"$1\" = -n ] || exec %s \"$@\"\n"
                     "%s%s \"$@\" | sed 's/journal .*/journal 1 to 99 "
                     "database 1 to 99/'\n" % (real, noise, real))
    os.chmod(script, 0o755)
    replace(program, script)
    restart(t, d)
    t.equal("x\n", stack.read(a + "/f"), "the mount")


def test_background(t):
    """In the background too, with a relative path of its configuration: it is
    the same process, and SIGHUP is heard."""
    s = stack.Stack(t)
    d = s.daemon
    d.stop()
    pid_file = t.path("pid")
    with open(d.conf, "a", encoding="ascii") as f:
        f.write('pid file "%s"\n' % pid_file)
    r = t.run([d.program, "-f", os.path.basename(d.conf)],
              cwd=os.path.dirname(d.conf))
    t.equal(0, r.returncode, r.stderr)
    t.wait_for(lambda: d.ctl("status", ok=None).returncode == 0, "it answers")
    pid = int(stack.read(pid_file))
    try:
        a = s.mount("vol", "a", create=True)
        d.ctl("restart")
        t.equal(pid, d.ctl_json("status")["daemon"]["pid"], "the process")
        t.equal(pid, int(stack.read(pid_file)), "its file")
        stack.write(a + "/f", "x\n")
        conf = s.point("conf")
        with open(d.conf, "a", encoding="ascii") as f:
            f.write('volume "vol" {\n\tmount "%s"\n}\n' % conf)
        os.kill(pid, signal.SIGHUP)
        t.wait_for(lambda: os.path.ismount(conf), "SIGHUP is heard")
    finally:
        os.kill(pid, signal.SIGTERM)
        t.wait_for(lambda: not stack.alive(pid), "it ends")


@deadline(240)
def test_killed_parent(t):
    """kill -9 of the parent, or of all, under a supervisor that keeps the
    descriptors: no call fails.  What is unmounted is not kept."""
    s = stack.Stack(t)
    d = s.daemon
    d.stop()
    store = Store(t)
    with contextlib.closing(store):
        store.start(d)
        t.equal({}, store.kept, "without a mount")
        a = s.mount("vol", "a", create=True)
        t.wait_for(lambda: len(store.kept) == 3, "of a mount: three")
        busy = Busy(a + "/busy")
        for i in range(4):
            progress(t, busy)
            if i % 2:
                d.kill_all()
            else:
                d.t.expect_deaths = True
                os.kill(d.process.pid, signal.SIGKILL)
                d.process.wait()
            if i == 0:
                # As a sailvold before this one has called them.
                for n in list(store.kept):
                    store.kept[n[:n.index("-")] + "-" + "0f" * 16] = (
                        store.kept.pop(n))
            names = set(store.kept)
            store.start(d)
            progress(t, busy)
            t.equal(names, set(store.kept), "the same")
            t.count("kills survived", 1)
        restart(t, d)
        progress(t, busy)
        busy.stop(t)
        busy.close()
        s.commit(a)
        b = s.mount("vol", "b")
        stack.same(t, stack.look(a), stack.look(b), "as published")
        d.umount(a)
        d.umount(b)
        t.wait_for(lambda: not store.kept, "nothing is kept")
        d.stop()


@deadline(240)
def test_killed_parent_metrics(t):
    """The same where metrics cannot listen, which they do after SIGHUP."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    s = stack.Stack(t, extra="metrics listen on 127.0.0.1 port %d\n" % port)
    d = s.daemon
    d.stop()
    store = Store(t)
    with contextlib.closing(store):
        store.start(d)
        a = s.mount("vol", "a", create=True)
        t.wait_for(lambda: len(store.kept) == 3, "of a mount: three")
        fd = os.open(a + "/f", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"x\n")
        d.kill_all()
        with socket.create_server(("127.0.0.1", port)):
            store.start(d)
            t.true("metrics are not served" in d.log(), d.log())
        os.write(fd, b"y\n")
        os.close(fd)
        t.equal("x\ny\n", stack.read(a + "/f"), "it lives")
        d.hup()
        t.wait_for(lambda: connects(port), "metrics")
        d.umount(a, "--force")
        d.stop()


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_strange_descriptors(t):
    """What is handed over and is not what it says is closed, and the daemon
    starts."""
    s = stack.Stack(t)
    d = s.daemon
    d.stop()
    store = Store(t)
    with contextlib.closing(store):
        null = os.open("/dev/null", os.O_RDWR)
        small = os.memfd_create("small", os.MFD_ALLOW_SEALING)
        os.write(small, b"SAILKEPT" + b"\xff" * 100)
        fcntl.fcntl(small, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        for i, fd in enumerate((null, small)):
            store.kept["record-%032x" % i] = fd
            store.kept["table-%032x" % i] = os.dup(null)
            store.kept["session-%032x" % i] = os.dup(null)
        store.kept["control"] = os.dup(null)
        store.start(d)
        t.wait_for(lambda: "is not needed" in d.log(), "it says so")
        t.wait_for(lambda: not store.kept, "nothing of it is kept")
        a = s.mount("vol", "a", create=True)
        stack.write(a + "/f", "x\n")
        s.commit(a)
        d.umount(a)
        d.stop()
