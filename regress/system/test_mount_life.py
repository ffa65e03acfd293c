# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Begin and end of mounts: one that cannot start says so and is given up, its
owner is kept, SIGHUP changes mounts, and a session that is held elsewhere does
not hold up an umount."""

import base64
import json
import os
import select
import shutil
import signal
import socket
import time

from sailtest import stack

USER = 61990


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as f:
        return any(line.split()[4] == path for line in f)


def source(path):
    """The volume that is mounted at path, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as f:
        for line in f:
            left, right = line.split(" - ", 1)
            if left.split()[4] == path:
                return right.split()[1]
    return None


def options(path):
    """Those of the mount at path, or none."""
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as f:
        for line in f:
            fields = line.split()
            if fields[4] == path:
                return fields[5].split(",")
    return []


def write(path, text="x"):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def journals(d):
    top = os.path.join(d.dir, "state", "mounts")
    for where, _, files in os.walk(top):
        if os.path.basename(where) == "journal":
            for name in files:
                yield os.path.join(where, name)


def spoil(d, at, data):
    for path in journals(d):
        if os.path.getsize(path) > at:
            with open(path, "r+b") as f:
                f.seek(at)
                f.write(data)


def test_broken_journal(t):
    """A journal that is not one: the mount fails soon, and clearly, and no
    fuse is started over and over; other mounts work."""
    t.expect_deaths = "any"
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    write(os.path.join(a, "f"))
    d.umount(a, "--force")
    spoil(d, 0, b"nonsense")
    # Another test that begins has all mounts, too, for a moment.
    t.wait_for(lambda: "still in use elsewhere" not in d.mount(
        "vol", "a", ok=False).stderr, "it is left")
    began = time.monotonic()
    done = d.mount("vol", "a", ok=False)
    t.true(time.monotonic() - began < 20, "an answer soon")
    t.true("does not start" in done.stderr, done.stderr)
    t.equal(False, is_mounted(a), "mounted")
    t.equal([], d.pids("fuse"), "its fuse")
    b = s.mount("vol", "b")
    write(os.path.join(b, "g"))
    s.commit(b)
    d.umount(b)


def test_tried_quietly(t):
    """One that cannot come back, for its journal is none, is tried again, and says
    so as often as in its first try; umount and restart are no later for it."""
    s = stack.Stack(t)
    t.expect_deaths = "any"
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    write(os.path.join(a, "f"))
    d.kill_all()
    spoil(d, 0, b"nonsense")
    # What was said before is for debug alone.
    stack.write(d.conf, stack.read(d.conf).replace("log debug", ""))
    d.start()

    def tries():
        # Each of them asks for the volume.
        return s.server.log().count("/v1/volumes/vol_")

    t.wait_for(lambda: "failed" in mounts(d).get(a, {}), "the first")
    said = "journal 0000000000000000: not a segment"
    first, begun = d.log().count(said), tries()
    t.true(first >= 3, d.log())
    t.wait_for(lambda: tries() >= begun + 2, "two more")
    t.equal(first, d.log().count(said), "said of them")
    t.wait_for(lambda: mounts(d)[a]["state"] == "starting", "it is tried")
    d.ctl("restart")
    t.wait_for(lambda: "failed" in mounts(d).get(a, {}), "once more")
    t.wait_for(lambda: mounts(d)[a]["state"] == "starting", "it is tried")
    d.umount(a, "--force")
    t.equal({}, mounts(d), "it is gone")
    t.equal([], d.pids("fuse"), "its fuse")


def mounts(d):
    """{path: {...}} of the daemon's mounts."""
    return {m["path"]: m for m in d.ctl_json("status")["daemon"]["mounts"]}


def test_comes_back(t):
    """A mount that cannot come back at the start is tried until it can, and is
    not forgotten meanwhile, by another start neither: its mount point is not
    there, or is no directory; the status says why, the log does so once, and
    umount alone takes it away."""
    s = stack.Stack(t)
    d = s.daemon
    a, b, c = [s.mount("vol", name, create=True) for name in ("a", "b", "c")]
    for path in (a, b, c):
        write(os.path.join(path, "f"))
    kept = os.path.join(d.dir, "state", "mounts.conf")

    def waiting(*paths):
        return all(mounts(d)[p]["state"] == "waiting" for p in paths)

    d.kill_all()
    for path in (a, b, c):
        t.run(["umount", "-l", path])
        os.rmdir(path)
    write(c)
    for i in range(2):
        before = len(d.log())
        d.start()
        t.wait_for(lambda: waiting(a, b, c), "they wait")
        t.true("no such directory" in mounts(d)[a]["failed"], mounts(d)[a])
        t.true("not a directory" in mounts(d)[c]["failed"], mounts(d)[c])
        t.wait_for(lambda: "umount takes it away" in d.ctl(
            "mount", "vol", a, ok=False).stderr, "mount says so")
        # What changes the file forgets none of them.
        d.mount("vol", "more%d" % i)
        t.equal(4 + i, stack.read(kept).count("volume "), "kept")
        t.equal(1, d.log()[before:].count("mount vol on %s:" % a), "said once")
        d.kill_all()
    d.start()
    t.wait_for(lambda: d.umount(b, ok=None).returncode == 0, "umount")
    t.true(b not in mounts(d), "it is taken away")
    os.mkdir(a)
    t.wait_for(lambda: is_mounted(a), "it comes back")
    t.equal(["f"], os.listdir(a), "with its changes")
    t.wait_for(lambda: mounts(d)[a]["state"] == "mounted", "mounted")
    t.true("failed" not in mounts(d)[a], mounts(d)[a])
    # Who has made room need not wait for the next time.
    os.unlink(c)
    os.mkdir(c)
    d.hup()
    t.wait_for(lambda: is_mounted(c), "it comes back, too")
    t.equal([True, False, True], ['"%s"' % p in stack.read(kept)
                                  for p in (a, b, c)], "kept")


def test_unreadable(t):
    """A file of mounts that cannot be read is put aside, not written over."""
    s = stack.Stack(t)
    d = s.daemon
    kept = os.path.join(d.dir, "state", "mounts.conf")
    d.stop()
    write(kept, "nonsense")
    d.start()
    a = s.mount("vol", "a", create=True)
    t.equal("nonsense", stack.read(kept + ".bad"), "put aside")
    t.true(a in stack.read(kept), "kept")


def test_journal_gap(t):
    """A journal that lacks a part, found when the daemon starts: its mount does
    not come back, and what is mounted beside it does."""
    t.expect_deaths = "any"
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    spoilt = list(journals(d))
    b = s.mount("vol", "b")
    d.kill_all()
    for path in spoilt:
        copy = os.path.join(os.path.dirname(path), "%016x" % (1 << 20))
        shutil.copyfile(path, copy)
        os.chown(copy, os.stat(path).st_uid, os.stat(path).st_gid)
    d.start()
    t.wait_for(lambda: "does not start" in d.log(), "the log says so")
    t.wait_for(lambda: is_mounted(b) and not is_mounted(a) and
               len(d.pids("fuse")) == 1,
               "its fuse is given up, the other one serves")
    write(os.path.join(b, "g"))
    t.equal(False, is_mounted(a), "mounted")


def ask(d, line):
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(60)
    c.connect(d.socket)
    c.sendall(line.encode() + b"\n")
    return c


def asked(t, d, line):
    """A request that manifest has read, and has no answer for yet."""
    c = ask(d, line)
    ask(d, '{"request":"nothing"}').makefile().readline()
    t.equal(([], [], []), select.select([c], [], [], 0), "an answer already")
    return c


def test_umount_at_the_end(t):
    """An umount that waits for a mount's fuse when the daemon ends is told so,
    and what to do."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    write(os.path.join(a, "f"))
    d.kill("fuse", signal.SIGSTOP)
    fuses = d.pids("fuse")
    c = asked(t, d, '{"request":"umount","path":"%s"}' % a)
    d.process.send_signal(signal.SIGTERM)
    said = c.makefile().readline()
    t.true('"type":"unavailable","code":"ending"' in said, said)
    t.true("mounted again" in said, said)
    for pid in fuses:
        os.kill(pid, signal.SIGCONT)
    t.equal(0, d.process.wait(timeout=60), "the daemon's end")
    d.start()
    t.wait_for(lambda: is_mounted(a), "it is mounted again")
    d.umount(a, "--force")


def test_umount_late_at_the_end(t):
    """One that is heard of when the daemon has unmounted all by itself, and is
    told that it is done, is done for good; or it is told that it is not."""
    s = stack.Stack(t)
    d = s.daemon
    paths = {keep: s.mount("vol", "a" + keep, create=True)
             for keep in ("true", "false")}
    b = s.mount("vol", "b")
    held = open(os.path.join(b, ".sailvol", "volume.json"), encoding="utf-8")
    manifest = d.pids("manifest")[0]
    os.kill(manifest, signal.SIGSTOP)
    asks = {keep: ask(d, '{"request":"umount","path":"%s","keep":%s}' % (
        path, keep)) for keep, path in paths.items()}
    d.process.send_signal(signal.SIGTERM)
    t.wait_for(lambda: not any(map(is_mounted, paths.values())),
               "they are unmounted with all")
    os.kill(manifest, signal.SIGCONT)
    said = {keep: c.makefile().readline() for keep, c in asks.items()}
    held.close()
    t.equal(0, d.process.wait(timeout=60), "the daemon's end")
    t.true('"result"' in said["true"], said["true"])
    t.true('"code":"ending"' in said["false"], said["false"])
    d.start()
    t.wait_for(lambda: is_mounted(b), "what nobody unmounted")
    t.wait_for(lambda: is_mounted(paths["false"]), "what was not to go then")
    t.equal(False, is_mounted(paths["true"]), "mounted again")


def test_owner_kept(t):
    """A mount of a user stays his over a restart: he may unmount it, another
    may not."""
    s = stack.Stack(t)
    d = s.daemon
    root = s.mount("vol", "root", create=True)
    d.umount(root)
    os.chmod(d.socket, 0o666)
    where = t.path("mnt", "his")
    os.makedirs(where)
    os.chown(where, USER, USER)
    for path in (t.dir, t.path("mnt"), d.dir):
        os.chmod(path, 0o755)

    def his(uid, *args):
        return stack.as_user(uid, [s.program, "-s", d.socket] + list(args))

    done = his(USER, "mount", "vol", where)
    t.equal(0, done.returncode, done.stderr)
    with open(os.path.join(d.dir, "state", "mounts.conf"),
              encoding="utf-8") as f:
        t.true("owner %d" % USER in f.read(), "his uid in mounts.conf")
    d.stop()
    d.start()
    os.chmod(d.socket, 0o666)
    t.wait_for(lambda: is_mounted(where), "it is back")
    done = his(USER + 1, "umount", where)
    t.equal(1, done.returncode, "another user's umount")
    t.equal(True, is_mounted(where), "mounted")
    done = his(USER, "umount", where)
    t.equal(0, done.returncode, done.stderr)
    t.equal(False, is_mounted(where), "mounted")


def test_owner_sees(t):
    """A mount of a user that waits for the server is in his status, with its
    state, and in no other's."""
    s = stack.Stack(t, proxied=True)
    d = s.daemon
    d.umount(s.mount("vol", "root", create=True))
    os.chmod(d.socket, 0o666)
    where = s.point("his")
    os.chown(where, USER, USER)
    for path in (t.dir, t.path("mnt"), d.dir):
        os.chmod(path, 0o755)

    def seen(uid):
        done = stack.as_user(uid, [s.program, "-s", d.socket, "-j", "status"])
        t.equal(0, done.returncode, done.stderr)
        return [(m["path"], m["state"], m["uid"])
                for m in json.loads(done.stdout)["daemon"]["mounts"]]

    done = stack.as_user(USER, [s.program, "-s", d.socket, "mount", "vol",
                                where])
    t.equal(0, done.returncode, done.stderr)
    t.equal([(where, "mounted", USER)], seen(USER), "mounted")
    d.stop()
    s.api.set_down()
    shutil.rmtree(os.path.join(d.dir, "state", "db"))  # else it comes back
    d.start()
    os.chmod(d.socket, 0o666)
    t.wait_for(lambda: seen(0) == [(where, "waiting", USER)], "it waits")
    t.equal(seen(0), seen(USER), "his status")
    t.equal([], seen(USER + 1), "another's status")
    done = stack.as_user(USER + 1, [s.program, "-s", d.socket, "umount", where])
    t.true(done.returncode != 0 and "somebody else" in done.stderr, done.stderr)
    done = stack.as_user(USER, [s.program, "-s", d.socket, "umount", where])
    t.equal((0, ""), (done.returncode, done.stderr), "his umount")
    t.equal([], seen(0), "after it")
    done = stack.as_user(USER, [s.program, "-s", d.socket, "umount", where])
    t.true("not a mount of this daemon" in done.stderr, done.stderr)


def configure(d, text):
    with open(d.conf, "w", encoding="utf-8") as f:
        f.write(text)
    d.hup()


def test_hup_changes(t):
    """SIGHUP: another volume, or other flags, at the same path are taken when
    the mount is clean; a dirty one stays; a typo changes nothing."""
    s = stack.Stack(t)
    d = s.daemon
    for name in ("one", "two"):
        path = s.mount(name, "tmp", create=True)
        write(os.path.join(path, "is-" + name))
        s.commit(path)
        d.umount(path)
    where = s.point("c")
    with open(d.conf, encoding="utf-8") as f:
        base = f.read()
    block = 'volume "%s" {\n\tmount "%s"%s\n}\n'
    one, two = block % ("one", where, ""), block % ("two", where, "")
    configure(d, base + one)
    t.wait_for(lambda: source(where) == "one", "one is mounted")
    pid = d.pids("fuse")
    configure(d, base + block % ("two", where, " nonsense"))
    t.wait_for(lambda: "all stays as it was" in d.log(), "a typo is named")
    t.equal(("one", pid), (source(where), d.pids("fuse")), "after a typo")
    configure(d, base + two)
    t.wait_for(lambda: source(where) == "two", "two is mounted")
    t.equal(["is-two"], os.listdir(where), "what is there")
    configure(d, base + block % ("two", where, " read only"))
    t.wait_for(lambda: "ro" in options(where), "it is read only")
    t.equal("two", source(where), "what is mounted")
    configure(d, base + two)
    t.wait_for(lambda: "rw" in options(where), "it can be written")
    write(os.path.join(where, "dirty"))
    configure(d, base + one)
    t.wait_for(lambda: "that are not published: it stays" in d.log(),
               "a dirty mount stays, and the log says so")
    t.equal("two", source(where), "what is mounted")
    s.commit(where)
    d.hup()
    t.wait_for(lambda: source(where) == "one", "once it is clean")
    configure(d, base)
    t.wait_for(lambda: source(where) is None, "it is gone")


def test_hup_is_patient(t):
    """A mount that comes with SIGHUP is not given up for what passes, a volume
    that is not there yet and a mount point that is not: each is said once, and
    is tried again."""
    s = stack.Stack(t)
    d = s.daemon
    where, later = s.point("c"), t.path("later")
    with open(d.conf, encoding="utf-8") as f:
        base = f.read()
    configure(d, base + 'volume "new" {\n\tmount "%s"\n}\n'
              'volume "new" {\n\tmount "%s"\n}\n' % (where, later))
    for path in where, later:
        t.wait_for(lambda p=path: "failed" in mounts(d).get(p, {}), path)
    said = [line for line in d.log().splitlines() if "on " + where in line]
    t.equal(1, len(said), said)
    os.mkdir(later)
    d.ctl("volume", "create", "new")
    for path in where, later:
        t.wait_for(lambda p=path: source(p) == "new", path, 60)
    t.equal(said, [line for line in d.log().splitlines()
                   if "on " + where in line and "is mounted" not in line],
            "said in all")
    configure(d, base)
    t.wait_for(lambda: mounts(d) == {}, "both are gone")


def test_held_elsewhere(t):
    """umount while another mount namespace has the mount: answered soon, with
    a warning; nothing is mounted there until that one has ended."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    holder = t.spawn(["unshare", "-m", "sleep", "300"], "holder.log")
    t.wait_for(lambda: os.readlink("/proc/%d/ns/mnt" % holder.pid) !=
               os.readlink("/proc/self/ns/mnt"), "another namespace")
    began = time.monotonic()
    done = d.umount(a)
    t.true(time.monotonic() - began < 5, "an answer soon")
    t.true("in use elsewhere" in done.stderr, done.stderr)
    t.equal(False, is_mounted(a), "mounted")
    done = d.mount("vol", "a", ok=False)
    t.true("in use" in done.stderr, done.stderr)
    holder.kill()
    holder.wait()
    t.wait_for(lambda: not d.pids("fuse"), "its session ends")
    a = s.mount("vol", "a")
    write(os.path.join(a, "f"))
    s.commit(a)
    d.umount(a)
    # The daemon's end does not wait for the other one.
    a = s.mount("vol", "a")
    holder = t.spawn(["unshare", "-m", "sleep", "300"], "holder.log")
    t.wait_for(lambda: os.readlink("/proc/%d/ns/mnt" % holder.pid) !=
               os.readlink("/proc/self/ns/mnt"), "another namespace")
    began = time.monotonic()
    d.stop()
    t.true(time.monotonic() - began < 25, "its end")
    holder.kill()
    holder.wait()


def test_held_elsewhere_killed(t):
    """What is unmounted here and in use in another mount namespace outlives its
    fuse and manifest there, and ends with the last that has it."""
    t.expect_deaths = True
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    write(os.path.join(a, "f"))
    holder = t.spawn(["unshare", "-m", "sleep", "300"], "holder.log")
    t.wait_for(lambda: os.readlink("/proc/%d/ns/mnt" % holder.pid) !=
               os.readlink("/proc/self/ns/mnt"), "another namespace")

    def there(*args):
        return t.run(["nsenter", "-m", "-t", str(holder.pid)] + list(args))

    done = d.umount(a, "--force")
    t.true("in use elsewhere" in done.stderr, done.stderr)
    for roles in ["fuse"], ["manifest"], ["fuse", "manifest"]:
        was = [d.pids(role) for role in roles]
        for role in roles:
            d.kill(role)
        there("sh", "-c", "ls %s && echo more >>%s/f" % (a, a))
        t.wait_for(lambda was=was, roles=roles: all(
            d.pids(role) not in ([], pids)
            for role, pids in zip(roles, was)), "others")
    t.equal("f", there("ls", a).stdout.strip(), "there")
    holder.kill()
    holder.wait()
    t.wait_for(lambda: not d.pids("fuse"), "its session ends")
    a = s.mount("vol", "a")
    t.equal("x" + "more\n" * 3, stack.read(os.path.join(a, "f")), "written")


def test_volume_made_again(t):
    """A volume that was deleted and made again under its name: what was not
    published of the old one is refused there, kept, and never published into
    the new one."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("vol", "a", create=True)
    write(os.path.join(a, "old"))
    d.umount(a, "--force")
    status, volume = s.server.call("GET", "/v1/volumes/vol")
    t.equal(200, status, "the old one")
    status, _ = s.server.call("DELETE", "/v1/volumes/" + volume["id"])
    t.true(status in (200, 204), "deleted: %d" % status)
    b = s.mount("vol", "b", create=True)
    write(os.path.join(b, "new"))
    s.commit(b)
    done = d.mount("vol", "a", ok=False)
    t.true("deleted and made again" in done.stderr, done.stderr)
    t.true(volume["id"] in done.stderr, done.stderr)
    t.equal(False, is_mounted(a), "mounted")
    t.equal(["new"], os.listdir(s.mount("vol", "c")), "the new volume")


def test_read_only(t):
    """A mount that is read-only is asked by the control socket: status, log and
    reload work, in Python too; what would change it is refused with 3."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("1")
    first = s.commit(a)
    b = s.mount("v", "b", args=["-r"])
    c = s.mount("v", "c", args=["-c", first])
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("2")
    second = s.commit(a)
    t.equal(second, d.ctl("reload", os.path.join(b, "f")).stdout.strip(),
            "reload of a mount with -r")
    with open(os.path.join(b, "f"), encoding="ascii") as f:
        t.equal("2", f.read(), "the new state")
    for path in (b, c):
        t.true(d.ctl_json("status", path)["read_only"], path)
        t.equal(3, len(d.ctl("log", path).stdout.splitlines()), "log")
        t.equal("read_only", d.ctl_json("commit", path, ok=3)["error"]["code"],
                "commit")
    t.equal("refused", d.ctl_json("reload", c, ok=3)["error"]["type"],
            "reload of a mount with -c")
    r = s.ctl("-s", t.path("nobody"), "reload", b, ok=1)
    t.true("read-only" in r.stderr and t.path("nobody") in r.stderr, r.stderr)
    script = "import sail; print(sail.Volume.from_mount(%r).reload())" % b
    got = t.run(["/usr/bin/python3", "-B", "-c", script],
                env={"PYTHONPATH": os.path.join(t.repo, "python"),
                     "SAILVOLD_SOCKET": d.socket}).stdout
    t.equal(second, got.strip(), "reload in Python")


def test_umount_swapped(t):
    """A link in the place of the folder of a mount leads no umount astray."""
    s = stack.Stack(t)
    top = t.path("top")
    for name in ("p/mnt", "victim/mnt"):
        os.makedirs(os.path.join(top, name))
    p, victim = os.path.join(top, "p"), os.path.join(top, "victim/mnt")
    mine = os.path.join(p, "mnt")
    s.daemon.ctl("mount", "--create", "one", mine)
    s.daemon.ctl("mount", "--create", "two", victim)
    os.rename(p, os.path.join(top, "q"))
    os.symlink("victim", p)
    # Not by sailvolctl, which would follow the link itself.
    with socket.socket(socket.AF_UNIX) as c:
        c.connect(s.daemon.socket)
        c.sendall(json.dumps({"request": "umount", "path": mine,
                              "force": True}).encode() + b"\n")
        c.settimeout(30)
        c.recv(65536)
    t.true(os.path.ismount(victim), "the victim's mount")
    t.true(os.path.exists(os.path.join(victim, ".sailvol/ctl")), "it lives")
    t.true(os.path.ismount(os.path.join(top, "q/mnt")), "and so does ours")
    t.run(["umount", os.path.join(top, "q/mnt")])
    s.daemon.umount(victim)


def test_umount_link(t):
    """A link in a mount that leads into another one names that other one."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    os.symlink(b, os.path.join(a, "link"))
    s.daemon.umount(os.path.join(a, "link"))
    t.true(is_mounted(a) and not is_mounted(b), "b, and not a")
    os.makedirs(os.path.join(a, "d"))
    s.daemon.umount(os.path.join(a, "d"), "--force")
    t.true(not is_mounted(a), "of a path inside")


def test_twice(t):
    """A second daemon on the same socket, or on the same state with another
    socket, is refused before it touches anything."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    with open(d.conf, encoding="utf-8") as f:
        text = f.read()
    for words in ((), ("/sock", "/sock2"), ("/cache", "/cache2")):
        if words:
            text = text.replace(words[0] + '"', words[1] + '"')
        r = t.run([d.program, "-f", t.write("other.conf", text)], ok=1)
        t.true("state %s/state: another sailvold has it" % d.dir in r.stderr,
               r.stderr)
    write(os.path.join(a, "f"))
    s.commit(a)
    d.kill_all()
    d.start()
    t.wait_for(lambda: os.path.exists(os.path.join(a, "f")), "the mount")


def test_no_utf8(t):
    """A mount point and a subpath that are no UTF-8 are those that were meant,
    in every command, in Python and through the control socket."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    os.mkdir(os.path.join(a, "s\udcff"))
    write(os.path.join(a, "s\udcff", "f"))
    s.commit(a)
    b = s.point("b\udcff\udcc3")
    d.ctl("mount", "v:/s\udcff", b)
    t.true(is_mounted(b), "the mount")
    t.equal(["f"], [x for x in os.listdir(b) if x[0] != "."], "the subpath")
    raw = {"b64": base64.b64encode(os.fsencode(b)).decode()}
    sub = {"b64": base64.b64encode(b"s\xff").decode()}
    for m in d.ctl_json("status")["mounts"] + d.ctl_json(
            "status")["daemon"]["mounts"]:
        t.true(m["path"] in (a, raw), m)
    one = d.ctl_json("status", b)
    t.equal((raw, sub), (one["path"], one["subpath"]), "status")
    write(os.path.join(b, "g"))
    t.true("\\377" in d.ctl_json("umount", b, ok=3)["error"]["message"],
           "a refusal that names it")
    s.commit(b)
    write(os.path.join(b, "g"), "y")
    t.equal(raw, d.ctl_json("reload", b)["stash"]["path"], "a stash")
    script = ("import os, sail; v = sail.Volume.from_mount(os.fsencode(%r)); "
              "print(v.reload(), v.commit())" % b)
    t.run(["/usr/bin/python3", "-B", "-c", script],
          env={"PYTHONPATH": os.path.join(t.repo, "python")})
    d.umount(b)
    t.true(not is_mounted(b), "umount")
    c = d.ctl_json("mount", "-r", "v:/s\udcff", b)
    t.equal(raw, c["path"], "the answer to mount")
    script = ("import os, sail; v = sail.Volume.from_mount(%r); "
              "print(v.reload())" % b)
    t.run(["/usr/bin/python3", "-B", "-c", script],
          env={"PYTHONPATH": os.path.join(t.repo, "python"),
               "SAILVOLD_SOCKET": d.socket})
    d.umount(b)
    missing = d.ctl_json("mount", "v", b + "/no", ok=1)["error"]["message"]
    t.true("b\\377" in missing, missing)


def test_left_in_time(t):
    """An umount of a mount that is in use waits a moment for who is about to
    leave, and refuses after that."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    write(os.path.join(a, "f"))
    s.commit(a)
    with open(os.path.join(a, "f"), "rb"):
        done = d.umount(a, ok=False)
        t.true("in use" in done.stderr, done.stderr)
        seen = d.log().count("in use, and tried again")
        umount = t.spawn([s.program, "-s", d.socket, "umount", a],
                         "umount.log")
        t.wait_for(lambda: d.log().count("in use, and tried again") > seen, "it waits")
    t.equal(0, umount.wait(30), "umount")
    t.equal(False, is_mounted(a), "mounted")
