# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Volumes in sandboxes: the published example, and each sentence that is said
of sharing one."""

import json
import os
import re
import time

from sailtest import deadline, emulator, raises, stack
from sailtest.boxes import EXAMPLE, INSIDE, Boxes

COMMIT = ["python3", "-c", "import sail; print(sail.Volume.from_mount("
          "'/mnt/shared').commit())"]
RELOAD = ["python3", "-c", "import sail; print(sail.Volume.from_mount("
          "'/mnt/shared').reload())"]


def two(t, **kwargs):
    """(stack, boxes, two sandboxes that have the volume)."""
    s = stack.Stack(t, **kwargs)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    return s, b, [b.create(name, {"/mnt/shared": volume})
                  for name in ("one", "two")]


@deadline(1500)
def test_example(t):
    """The published example runs as it stands: the program ends, the sandbox
    stays, and in it the volume is written to, committed and reloaded."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    done = t.run(["/usr/bin/python3", "-B", "-c",
                  EXAMPLE % "sail.Image.debian"], timeout=1400,
                 env={"PYTHONPATH": os.path.join(t.repo, "python")})
    sb = b.sail.Sailbox.connect(done.stdout.strip())
    t.equal(("worker-1", "running"), (sb.name, sb.status), "the sandbox")
    sb.write("/root/inside.py", INSIDE)
    ids = b.out(sb, "python3 /root/inside.py").split()
    t.true(len(ids) == 2 and re.match("[0-9a-f]{64}$", ids[0]), ids)
    t.equal(ids[0], ids[1], "the newest state is its own")
    path = s.mount("shared-data", "outside")
    t.equal("hello from a sandbox",
            stack.read(os.path.join(path, "result.txt")), "outside")
    b.all_ended()


@deadline(1500)
def test_notebook(t):
    """The example notebook runs, from its first cell to its last."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    with open(os.path.join(t.repo, "python/examples/sandboxes.ipynb"),
              encoding="utf-8") as f:
        cells = json.load(f)["cells"]
    code = "\n".join("".join(c["source"]) for c in cells
                     if c["cell_type"] == "code")
    done = t.run(["/usr/bin/python3", "-B", "-c", code], timeout=1400,
                 env={"PYTHONPATH": os.path.join(t.repo, "python")})
    t.true("hello from worker-1\n" in done.stdout, done.stdout)
    t.true("{'id': " in done.stdout, "the stash: " + done.stdout)
    b.all_ended()


@deadline(1500)
def test_left(t):
    """Where the server does not answer a sandbox ends as soon as ever, and what
    was changed and not committed is a stash all the same."""
    s, b, (one, two_) = two(t, proxied=True)
    b.out(one, "echo dirty >/mnt/shared/f")
    s.api.set_down()
    start = time.monotonic()
    found = one.terminate()["volumes"][0]
    took = time.monotonic() - start
    t.true(took < 15, "it took %.1f s" % took)
    t.equal((1, False, False, None), (
        found["stash"]["files"], found["left"], found["mounted"],
        found["error"]), "the answer")
    s.api.set_down(False)
    s.ctl("-s", s.daemon.socket, "mount", "shared-data", found["point"])
    t.equal([], os.listdir(found["point"]), "the next mount there")
    s.ctl("-s", s.daemon.socket, "stash", "restore", found["point"],
          str(found["stash"]["id"]))
    t.equal("dirty\n", stack.read(os.path.join(found["point"], "f")),
            "restored")
    s.ctl("-s", s.daemon.socket, "umount", "--force", found["point"])
    b.all_ended()


@deadline(1500)
def test_not_committed(t):
    """What is configured for the daemon does not commit the changes of a
    sandbox that ends."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    sb = b.create("w", {"/mnt/shared": volume})
    b.out(sb, "echo dirty >/mnt/shared/f")
    # Its place in the configuration: as if a hostile or a careless hand had
    # copied it from `sailvolctl status'.
    s.daemon.stop()
    with open(s.daemon.conf, "a", encoding="utf-8") as f:
        f.write('volume "shared-data" { mount "%s" uids %d 65536 '
                "commit on umount }\n" % (sb.volumes[0]["point"],
                                          sb._state["uids"]))
    s.daemon.start()
    t.wait_for(lambda: os.path.ismount(sb.volumes[0]["point"]), "the mount")
    found = sb.terminate()["volumes"][0]
    t.equal((1, None), (found["stash"]["files"], found["error"]),
            "the answer")
    t.equal([], os.listdir(s.mount("shared-data", "outside")), "committed")
    b.all_ended()


@deadline(1500)
def test_share(t):
    """Two sandboxes share a volume by commit and reload: each shows its own
    changes until then; owners are those of the sandbox, not of the machine."""
    s, b, (one, two_) = two(t)
    b.out(one, "mkdir /mnt/shared/d; echo x >/mnt/shared/d/f; "
          "chown 33:44 /mnt/shared/d/f; chmod 640 /mnt/shared/d/f")
    t.equal("", b.out(two_, "ls /mnt/shared"), "before the commit")
    ident = b.out(one, COMMIT)
    t.equal("", b.out(two_, "ls /mnt/shared"), "before the reload")
    t.equal(ident, b.out(two_, RELOAD), "the commit that is shown")
    t.equal("x\n33 44 640\n", b.out(
        two_, "cat /mnt/shared/d/f; stat -c '%u %g %a' /mnt/shared/d/f"),
        "after it")
    path = s.mount("shared-data", "outside")
    st = os.stat(os.path.join(path, "d/f"))
    t.equal((33, 44), (st.st_uid, st.st_gid), "in the commit")
    b.all_ended()


@deadline(1500)
def test_merge(t):
    """Concurrent commits to different paths are merged."""
    _, b, (one, two_) = two(t)
    b.out(one, "echo 1 >/mnt/shared/one")
    b.out(two_, "echo 2 >/mnt/shared/two")
    requests = [sb.exec(COMMIT) for sb in (one, two_)]
    for request in requests:
        done = request.wait()
        t.equal((0, ""), (done.returncode, done.stderr), "commit")
    for sb in (one, two_):
        b.out(sb, RELOAD)
        t.equal("1\n2\n", b.out(sb, "cat /mnt/shared/one /mnt/shared/two"),
                sb.name)
    b.all_ended()


@deadline(1500)
def test_last_writer(t):
    """Of two commits to the same path the last one wins."""
    _, b, (one, two_) = two(t)
    b.out(one, "echo first >/mnt/shared/f")
    b.out(two_, "echo last >/mnt/shared/f")
    b.out(one, COMMIT)
    b.out(two_, COMMIT)
    for sb in (one, two_):
        b.out(sb, RELOAD)
        t.equal("last\n", b.out(sb, "cat /mnt/shared/f"), sb.name)
    b.all_ended()


@deadline(1500)
def test_reload_overwrites(t):
    """A reload overwrites changes that were not committed."""
    _, b, (one, two_) = two(t)
    b.out(one, "echo published >/mnt/shared/f")
    b.out(one, COMMIT)
    b.out(two_, "echo unsynced >/mnt/shared/f; echo x >/mnt/shared/mine")
    b.out(two_, RELOAD)
    t.equal("f\npublished\n", b.out(
        two_, "ls /mnt/shared; cat /mnt/shared/f"), "after the reload")
    b.all_ended()


@deadline(1500)
def test_first_open(t):
    """A reload downloads no file; the bytes of one come when it is first
    opened, and not again."""
    s = stack.Stack(t, proxied=True)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    one = b.create("one", {"/mnt/shared": volume})
    # Another machine: its own cache.
    os.environ["SAILVOLD_SOCKET"] = s.add_daemon().socket
    two_ = b.create("two", {"/mnt/shared": volume})
    b.out(one, "for i in 1 2 3; do head -c 3000000 /dev/urandom "
          ">/mnt/shared/$i; done; sha256sum /mnt/shared/* >/mnt/shared/sums")
    b.out(one, COMMIT)
    s.store.reset()
    b.out(two_, RELOAD)
    t.equal("1\n2\n3\nsums\n", b.out(two_, "ls /mnt/shared"), "names")
    t.equal("3000000\n", b.out(two_, "stat -c %s /mnt/shared/2"), "size")
    t.equal(0, s.store.count("^GET "), "downloads: %s" % s.store.requests)
    b.out(two_, "cat /mnt/shared/2 >/dev/null")
    first = s.store.count("^GET ")
    t.true(first > 0, "the first open")
    t.true(s.store.bytes("^GET ") < 4500000, "of one file")
    b.out(two_, "cat /mnt/shared/2 >/dev/null")
    t.equal(first, s.store.count("^GET "), "the second open")
    b.out(two_, "sha256sum -c --quiet /mnt/shared/sums")
    for sb in (one, two_):
        # Each at its own daemon.
        t.equal(None, sb.terminate()["volumes"][0]["error"], sb.name)
    b.nothing_left()


@deadline(1500)
def test_deleted(t):
    """A volume outlives its sandboxes: what was committed is there for the
    next one, and what was not is a stash that the answer names."""
    s, b, (one, two_) = two(t)
    b.out(one, "echo kept >/mnt/shared/f")
    b.out(one, COMMIT)
    b.out(one, "echo dirty >/mnt/shared/g")
    answer = one.terminate()
    t.equal("terminated", answer["status"], "status")
    found = answer["volumes"][0]
    t.equal(("/mnt/shared", "shared-data", 1, None), (
        found["path"], found["volume"], found["stash"]["files"],
        found["error"]), "the answer")
    t.equal(found, one.volumes[0], "told again")
    t.equal({"stash": None, "left": False, "error": None},
            {k: two_.terminate()["volumes"][0][k]
             for k in ("stash", "left", "error")}, "of a clean one")
    volume = b.sail.Volume.get("shared-data")
    three = b.create("three", {"/mnt/shared": volume})
    t.equal("f\nkept\n", b.out(three, "ls /mnt/shared; cat /mnt/shared/f"),
            "the next one")
    # As the manual says: the stash comes back where it was.
    s.ctl("-s", s.daemon.socket, "mount", "shared-data", found["point"])
    s.ctl("-s", s.daemon.socket, "stash", "restore", found["point"],
          found["stash"]["id"])
    t.equal("dirty\n", stack.read(os.path.join(found["point"], "g")),
            "restored")
    s.ctl("-s", s.daemon.socket, "umount", "--commit", found["point"])
    b.out(three, RELOAD)
    t.equal("dirty\n", b.out(three, "cat /mnt/shared/g"), "committed")
    b.all_ended()


@deadline(1500)
def test_no_fuse(t):
    """A reload fails with an error when FUSE cannot run; so does the creation
    of a sandbox with a volume, of which nothing is left."""
    s, b, (one, two_) = two(t)
    t.expect_deaths = True
    s.daemon.kill_all()
    done = one.exec(RELOAD).wait()
    t.equal(1, done.returncode, "reload")
    t.true("sail.errors." in done.stderr, done.stderr)
    done = one.exec(["python3", "-c", "import sail; sail.Volume.from_mount("
                     "'/root')"]).wait()
    t.true("MountError" in done.stderr, "no mount: " + done.stderr)
    volume = b.sail.Volume.get("shared-data")
    before = sorted(os.listdir(t.path("boxes/boxes")))
    e = raises(t, b.sail.SailboxCreationError, b.create, "three",
               {"/mnt/shared": volume})
    t.equal("no_daemon", e.code, "code")
    t.equal(before, sorted(os.listdir(t.path("boxes/boxes"))), "folders")
    answer = one.terminate()
    t.true(answer["volumes"][0]["error"], "said in the answer")
    s.daemon.start()
    t.equal(None, two_.terminate()["volumes"][0]["error"], "the other")
    # What could not be unmounted then is, by who looks next.
    b.all_ended()


@deadline(1500)
def test_paths(t):
    """A path where no volume can be is refused with words, before anything is
    made."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    for paths in (["relative"], ["/"], ["/a/../b"], ["/a//b"], ["/a/"],
                  ["/proc/x"], ["/dev"], ["/sys/fs"], ["/a", "/a/b"],
                  ["/a\0b"], [""], ["/./a"]):
        e = raises(t, b.sail.SailboxCreationError, b.create, "w",
                   {p: volume for p in paths})
        t.equal("bad_path", e.code, paths)
    e = raises(t, b.sail.SailboxCreationError, b.create, "w", {"/a": 3})
    t.equal("bad_volume", e.code, "no volume")
    t.equal([], b.sail.Sailbox.list(ended=True), "sandboxes")
    # Two volumes, and one of them twice.
    other = b.sail.Volume.get("other", mint_if_missing=True)
    with b.create("w", {"/data/a": volume, "/data/b": volume,
                        "/mnt": other}) as sb:
        b.out(sb, "echo 1 >/data/a/f; echo 2 >/mnt/f")
        t.equal("", b.out(sb, "ls /data/b"), "a mount of its own")
    b.all_ended()


@deadline(1500)
def test_fork(t):
    """A fork has fresh mounts at the head; what is in volumes is not in a
    checkpoint."""
    s, b, (one, two_) = two(t)
    b.out(one, "echo dirty >/mnt/shared/dirty; echo own >/own")
    b.out(two_, "echo head >/mnt/shared/head")
    b.out(two_, COMMIT)
    three = one.fork("three")
    t.equal("head\nown\n", b.out(three, "ls /mnt/shared; cat /own"), "fork")
    t.equal("dirty\n", b.out(one, "ls /mnt/shared"), "its origin")
    # A link in its files does not lead the mount elsewhere.
    four = b.create("four")
    b.out(four, "rmdir /mnt; ln -s /oldroot/var/tmp /mnt")
    saved = four.checkpoint()
    e = raises(t, b.sail.SailboxCreationError, one.fork, "five", saved)
    t.true("/mnt is not a directory" in e.message, e.message)
    saved.delete()
    b.all_ended()


@deadline(1500)
def test_other_namespace(t):
    """Where sailvold mounts in another mount namespace the sandbox is not made
    with an empty folder in the volume's place: it is an error."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    emulator.own_mounts()
    e = raises(t, b.sail.SailboxCreationError, b.create, "w",
               {"/mnt/shared": volume})
    t.true("another mount namespace" in e.message, e.message)
    t.equal([], b.sail.Sailbox.list(), "sandboxes")
    t.equal([], s.ctl("-j", "status").stdout.count("/volumes/0") * [1],
            "mounts are left")
