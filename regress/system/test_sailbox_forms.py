# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What is typed to make and use a sandbox: names, forms and defaults as they are
published, and words for what is typed wrongly."""

import ast
import glob
import inspect
import os
import shutil
import sys
import threading

from sailtest import deadline, emulator, raises, stack
from sailtest.boxes import Boxes

# Of the standard library, and newer than Python 3.9, or not in every one.
NEWER = {"pairwise", "bit_count", "anext", "aiter", "TaskGroup", "tomllib",
         "ExceptionGroup", "file_digest", "StrEnum", "batched", "override",
         "add_note", "Self", "TypeAlias", "ParamSpec", "process_cpu_count"}

NOT_ROOT = """
import sail
app = sail.App.find("my-app", mint_if_missing=True)
try:
    sail.Sailbox.create(app=app)
except sail.SailboxCreationError as e:
    print(e.code, e.message)
"""


def package(t):
    path = os.path.join(t.repo, "python")
    if path not in sys.path:
        sys.path.insert(0, path)
    import sail
    return sail


def sources(t):
    found = {}
    for path in sorted(glob.glob(os.path.join(t.repo, "python/sail/*.py"))):
        with open(path, encoding="utf-8") as f:
            found[os.path.basename(path)] = f.read()
    return found


def test_python_39(t):
    """The package is Python 3.9 and its standard library, nothing newer, and
    nothing else."""
    # os.pidfd_open, socket.send_fds and str.removeprefix came with 3.9.
    known = set(getattr(sys, "stdlib_module_names", ())) | {"sail"}
    for name, text in sources(t).items():
        tree = ast.parse(text, name, feature_version=(3, 9))
        for node in ast.walk(tree):
            where = "%s:%d" % (name, getattr(node, "lineno", 0))
            t.true(not isinstance(node, getattr(ast, "Match", ())), where)
            if isinstance(node, ast.Import):
                modules = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                t.equal(0, node.level, where)
                modules = [node.module]
            else:
                modules = []
            for module in modules:
                t.true(not known or module.split(".")[0] in known,
                       "%s: %s" % (where, module))
            names = {getattr(node, "attr", None), getattr(node, "id", None)}
            names |= {a.name for a in getattr(node, "names", ())
                      if isinstance(a, ast.alias)}
            t.equal(set(), names & NEWER, where)
            hints = [getattr(node, "annotation", None),
                     getattr(node, "returns", None)]
            for hint in hints:
                for part in ast.walk(hint) if hint is not None else ():
                    # A union of that form is evaluated, and is of 3.10.
                    t.true(not isinstance(part, ast.BinOp), where)
            if isinstance(node, ast.Call):
                t.true("strict" not in [k.arg for k in node.keywords] or
                       getattr(node.func, "id", "") != "zip", where)
            if isinstance(node, ast.With):
                t.true(len(node.items) < 3, where)
    for path in glob.glob("/usr/bin/python3.9"):
        t.run([path, "-c", "import sail"], env={
            "PYTHONPATH": os.path.join(t.repo, "python")})


def test_documented(t):
    """All that has a name for users has type hints, of what it takes and what it
    gives, and words that say what it is."""
    sail = package(t)
    t.true(os.path.exists(os.path.join(t.repo, "python/sail/py.typed")),
           "py.typed")
    for name, text in sources(t).items():
        tree = ast.parse(text)
        t.true(ast.get_docstring(tree), name)
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                args = node.args.posonlyargs + node.args.args + (
                    node.args.kwonlyargs)
                lacks = [a.arg for a in args if a.annotation is None and
                         a.arg not in ("self", "cls")]
                t.equal(([], True), (lacks, node.returns is not None),
                        "%s: %s" % (name, node.name))
    for name in sail.__all__:
        thing = getattr(sail, name)
        t.true(inspect.getdoc(thing), name)
        for key, value in vars(thing).items() if isinstance(thing, type) else ():
            value = getattr(value, "__func__", value)
            if not key.startswith("_") and (
                    inspect.isfunction(value) or isinstance(value, property)):
                t.true(inspect.getdoc(value) or key in (
                    "stdout", "stderr", "path"), "%s.%s" % (name, key))


def defaults(function):
    return {k: p.default for k, p in inspect.signature(
        function).parameters.items() if k != "self"}


def test_published_forms(t):
    """Names, order and defaults are those that users of the hosted product
    type; errors are of the classes that they catch."""
    sail = package(t)
    none = inspect.Parameter.empty
    t.equal({"name": none, "mint_if_missing": False}, defaults(sail.App.find),
            "App.find")
    t.true(set({"name": none, "mint_if_missing": False}.items()) <= set(
        defaults(sail.Volume.get).items()), "Volume.get")
    got = defaults(sail.Sailbox.create)
    t.equal(["app", "image", "name", "volumes", "cpu", "memory_mib",
             "disk_gib"], list(got), "create")
    t.equal((1, 1024, 8, None, None), (
        got["cpu"], got["memory_mib"], got["disk_gib"], got["name"],
        got["volumes"]), "its defaults")
    t.equal({"id": none}, defaults(sail.Sailbox.connect), "connect")
    t.equal(["app"], list(defaults(sail.Sailbox.list))[:1], "list")
    t.equal([("command", none), ("timeout", None), ("cwd", None),
             ("env", None), ("background", False)],
            list(defaults(sail.Sailbox.exec).items()), "exec")
    t.equal({"path": none, "data": none, "mode": 0o644},
            defaults(sail.Sailbox.write), "write")
    t.equal({"path": none}, defaults(sail.Sailbox.read), "read")
    for name in ("terminate", "checkpoint", "pause", "resume", "__enter__"):
        t.equal({}, defaults(getattr(sail.Sailbox, name)), name)
    t.equal(("name", None), list(defaults(sail.Sailbox.fork).items())[0],
            "fork")
    for name in ("debian", "debian_arm64", "debian_amd64"):
        t.true(isinstance(getattr(sail.Image, name), sail.Image), name)
    for one, other in ((sail.SailboxError, sail.SailError),
                       (sail.SailboxCreationError, sail.SailboxError),
                       (sail.SailboxExecutionError, sail.SailboxError),
                       (sail.SailboxTerminatedError,
                        sail.SailboxExecutionError)):
        t.equal((other,), one.__bases__, one.__name__)


def ends(t, what, f, *args, **kwargs):
    """What it raises, soon."""
    got = []

    def call():
        try:
            got.append(f(*args, **kwargs))
        except BaseException as e:
            got.append(e)
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(60)
    if not got:
        t.fail("%s: it does not end" % what)
    return got[0]


@deadline(1500)
def test_typed_wrongly(t):
    """What has the wrong form is an error of the classes that are documented,
    at once, and the sandbox goes on."""
    b = Boxes(t)
    made, image = b.sail.Sailbox.create, b.sail.Image.debian
    for what, kwargs in (
            ("an app by its name", dict(app="my-app")),
            ("no app", dict(app=None)),
            ("an image by its name", dict(app=b.app, image="debian")),
            ("no image", dict(app=b.app, image=None)),
            ("a list of volumes", dict(app=b.app, volumes=["/mnt"])),
            ("a path", dict(app=b.app, volumes="/mnt")),
            ("volumes that are none", dict(app=b.app, volumes={"/mnt": None})),
            ("no path", dict(app=b.app, volumes={3: "x"})),
            ("a name of bytes", dict(app=b.app, name=b"w")),
            ("no processor", dict(app=b.app, cpu=None)),
            ("no number", dict(app=b.app, disk_gib=float("nan"))),
            ("without an end", dict(app=b.app, memory_mib=float("inf")))):
        e = ends(t, what, made, **dict(dict(image=image), **kwargs))
        t.true(isinstance(e, b.sail.SailboxCreationError), "%s: %r" % (what, e))
    t.equal([], b.sail.Sailbox.list(ended=True), "sandboxes")
    for bad in (None, 3, "", "sb_", b"sb_x"):
        e = ends(t, "connect", b.sail.Sailbox.connect, bad)
        t.true(isinstance(e, b.sail.NotFoundError), repr(e))
    sb = b.create("w")
    wrong = b.sail.SailboxExecutionError
    for what, f in (
            ("no command", lambda: sb.exec(None).wait()),
            ("a number", lambda: sb.exec(3).wait()),
            ("an empty list", lambda: sb.exec([]).wait()),
            ("a NUL", lambda: sb.exec("a\0b").wait()),
            ("bytes", lambda: sb.exec(b"true").wait()),
            ("a time of words", lambda: sb.exec("true", timeout="soon").wait()),
            ("a list for a time", lambda: sb.exec("true", timeout=[]).wait()),
            ("a number for a folder", lambda: sb.exec("true", cwd=3).wait()),
            ("a file for a folder", lambda: sb.exec("true",
                                                    cwd="/etc/passwd").wait()),
            ("a list for the environment",
             lambda: sb.exec("true", env=["A=b"]).wait()),
            ("a number in the environment",
             lambda: sb.exec("true", env={"A": 3}).wait()),
            ("= in a name", lambda: sb.exec("true", env={"A=B": "c"}).wait()),
            ("a NUL in the environment",
             lambda: sb.exec("true", env={"A": "b\0c"}).wait()),
            ("very long", lambda: sb.exec("true " + "x" * 300000).wait()),
            ("nothing to write", lambda: sb.write("/x", None)),
            ("a number to write", lambda: sb.write("/x", 3)),
            ("a mode of words", lambda: sb.write("/x", b"", mode="644")),
            ("no path", lambda: sb.write(None, b"")),
            ("a folder to write", lambda: sb.write("/tmp/", b"")),
            ("a relative path", lambda: sb.write("x", b"")),
            ("a NUL in a path", lambda: sb.read("/x\0y")),
            ("a folder to read", lambda: sb.read("/etc")),
            ("a command of no number", lambda: sb.request("x"))):
        e = ends(t, what, f)
        t.true(isinstance(e, wrong), "%s: %r" % (what, e))
    t.equal("running", sb.status, "status")
    for data in (bytearray(b"text"), memoryview(b"text"), "text"):
        sb.write("/x", data)
        t.equal(b"text", sb.read("/x"), repr(data))
    t.equal(b"\x80\n", sb.exec("echo \udc80").wait().stdout_bytes, "a byte")
    # Names that a file may have, whatever its bytes.
    sb.write("/tmp/-n 'x\n$y", "z")
    t.equal(b"z", sb.read("/tmp/-n 'x\n$y"), "an odd name")
    sb.write("/s", "#!/bin/sh\necho it runs\n", mode=0o4755)
    t.equal("it runs\n4755\n", b.out(sb, "/s; stat -c %a /s"), "mode")
    # A block that fails ends the sandbox all the same.
    try:
        with b.create("c") as other:
            raise KeyError("x")
    except KeyError:
        t.equal("terminated", other.status, "after the block")
    b.all_ended()


@deadline(1500)
def test_disk(t):
    """The disk has the size that was asked for, with what commands in the
    background write: more is ENOSPC in the sandbox, and no more is taken of the
    machine; a fork has the same."""
    b = Boxes(t)
    sb = b.create("one", disk_gib=0.25)
    if not sb.limits["disk_gib"]["enforced"]:
        t.true(any("disk_gib" in w for w in sb.warnings), sb.warnings)
        t.skip("no loop devices")
    t.equal([], [w for w in sb.warnings if w.startswith("disk_gib")], "words")
    fork = sb.fork("two")
    for box in (sb, fork):
        blocks = int(b.out(box, "df --output=size -k / | tail -n 1"))
        t.true(200 << 10 < blocks <= 256 << 10, "%d KiB" % blocks)
        done = box.exec("head -c 300M /dev/zero >/big").wait()
        t.true("No space left" in done.stderr, done.stderr)
        done = box.exec("head -c 300M /dev/zero", background=True).wait()
        t.true(len(done.stdout_bytes) < 256 << 20, "in the background")
        disk = os.path.join(os.environ["SAIL_STATE"], "boxes",
                            box.sailbox_id, "disk.img")
        st = os.stat(disk)
        t.true(st.st_blocks * 512 <= 257 << 20 and st.st_size == 256 << 20,
               "%d bytes of the machine" % (st.st_blocks * 512))
        t.equal("x\n", b.out(box, "rm /big; echo x >/small; cat /small"),
                "room again")
    b.all_ended()


def hide_mkfs():
    for name in {os.path.realpath(os.path.join(d, "mkfs.ext4"))
                 for d in ("/usr/sbin", "/sbin", "/usr/bin")}:
        if os.path.exists(name):
            emulator.mount(b"/dev/null", name, None, 4096)  # MS_BIND


@deadline(1500)
def test_no_limits(t):
    """Where there is nothing to make a disk with and there are no control groups
    of version 2 the answer says so for each limit, and what cannot be done
    without is an error that says why."""
    b = Boxes(t)
    b.sail.Image.debian.ensure()
    emulator.own_mounts()
    hide_mkfs()
    from sail import _cgroup
    root = _cgroup.find_root()
    if root is not None:
        with b.create("with-groups", disk_gib=0.1) as sb:
            t.true("mkfs.ext4" in sb.limits["disk_gib"]["why"], sb.limits)
            b.out(sb, "head -c 200M /dev/zero >/big; chown 5:6 /big")
            with sb.fork("fork") as fork:
                t.equal("209715200 5 6\n", b.out(
                    fork, "stat -c '%s %u %g' /big"), "fork")
        emulator.mount(b"tmpfs", root, b"tmpfs")
    sb = b.create("one", cpu=2, memory_mib=64, disk_gib=0.1)
    t.equal({"cpu": 2, "memory_mib": 64, "disk_gib": 0.1},
            {k: v["limit"] for k, v in sb.limits.items()}, "limits")
    for key, why in (("cpu", "cgroup v2"), ("memory_mib", "cgroup v2"),
                     ("disk_gib", "mkfs.ext4")):
        value = sb.limits[key]
        t.equal(False, value["enforced"], key)
        t.true(why in value["why"], value["why"])
        said = [w for w in sb.warnings if w.startswith(key + " ")]
        t.true(len(said) == 1 and why in said[0], sb.warnings)
    t.equal("unsupported", raises(t, b.sail.SailboxError, sb.pause).code,
            "pause")
    for call in (sb.checkpoint, lambda: sb.fork("two")):
        e = raises(t, b.sail.SailboxError, call)
        t.true("needs a loop device or a writable cgroup v2" in e.message,
               e.message)
    t.equal("x\n", b.out(sb, "echo x"), "it goes on")
    b.all_ended()


@deadline(1500)
def test_controllers(t):
    """Of cpu and memory the answer says what the control groups of this machine
    say themselves."""
    b = Boxes(t)
    from sail import _cgroup
    root = _cgroup.find_root()
    have = set()
    if root is not None:
        with open(os.path.join(root, "cgroup.controllers"),
                  encoding="ascii") as f:
            have = set(f.read().split())
    with b.create(cpu=0.5, memory_mib=128) as sb:
        for key, name in (("cpu", "cpu"), ("memory_mib", "memory")):
            if name not in have:
                t.equal(False, sb.limits[key]["enforced"], key)
                t.true("cgroup v2" in sb.limits[key]["why"], sb.limits[key])
    b.all_ended()


@deadline(1500)
def test_default_socket(t):
    """Without SAILVOLD_SOCKET the daemon is found at its default place; where
    there is none that place is in the error."""
    emulator.own_mounts()
    emulator.mount(b"tmpfs", "/run", b"tmpfs")
    s = stack.Stack(t)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    del os.environ["SAILVOLD_SOCKET"]
    e = raises(t, b.sail.SailboxCreationError, b.create, "w",
               {"/mnt/shared": volume})
    t.true("/run/sailvold.sock" in e.message, e.message)
    t.equal("no_daemon", e.code, "code")
    os.symlink(s.daemon.socket, "/run/sailvold.sock")
    with b.create("w", {"/mnt/shared": volume}) as sb:
        b.out(sb, "echo x >/mnt/shared/f")
    t.equal(1, sb.volumes[0]["stash"]["files"], "its volume")
    b.all_ended()


@deadline(1500)
def test_ends_with_files_open(t):
    """terminate() ends processes that hold files of a volume, work in it, or
    will not go; all of them are gone when it returns, and the mount is."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    sb = b.create("w", {"/mnt/shared": volume})
    b.out(sb, "mkdir /mnt/shared/d; mkfifo /mnt/shared/fifo")
    for command in ("exec sleep 1000 3>/mnt/shared/open",
                    "cd /mnt/shared/d; exec sleep 1000",
                    "trap '' TERM INT HUP; while :; do sleep 1000; done",
                    "exec cat /mnt/shared/fifo",
                    "for i in 1 2 3 4 5; do setsid sleep 1000 & done; "
                    "exec dd if=/dev/zero of=/mnt/shared/big bs=1M count=64",
                    "exec python3 -c \"import mmap; f = open("
                    "'/mnt/shared/m', 'w+b'); f.truncate(4096); m = mmap.mmap("
                    "f.fileno(), 0); m[0] = 1; print('mapped', flush=True); "
                    "import time; time.sleep(1000)\""):
        sb.exec(command, background=True)
    t.wait_for(lambda: b.out(sb, "ls /mnt/shared").split() == [
        "big", "d", "fifo", "m", "open"], "all to run")
    # Other daemons' sandboxes may have the same uids.
    space = b.out(sb, "readlink /proc/self/ns/pid").strip()
    t.true(len(stack.in_namespace("pid", space)) >= 10, "not all are seen")
    point = sb.volumes[0]["point"]
    answer = sb.terminate()
    t.equal(("terminated", None), (answer["status"],
                                   answer["volumes"][0]["error"]), "answer")
    t.true(answer["volumes"][0]["stash"]["files"] >= 3, answer)
    t.equal([], stack.in_namespace("pid", space), "processes")
    t.true(not os.path.ismount(point), "unmounted")
    b.all_ended()


@deadline(1500)
def test_cannot_be_made(t):
    """Without root, bubblewrap, a key, the server, or the volume there is no
    sandbox but an error that says so, and nothing of it is left."""
    s = stack.Stack(t, proxied=True)
    b = Boxes(t, s)
    sail = b.sail
    volume = sail.Volume.get("shared-data", mint_if_missing=True)
    path, key = os.environ["PATH"], os.environ["SAIL_API_KEY"]
    os.environ["PATH"] = t.path("nothing")
    e = raises(t, sail.SailboxCreationError, b.create, "w")
    t.equal("no_bwrap", e.code, e.message)
    os.environ["PATH"] = path
    os.environ["SAIL_API_KEY"] = "sk_" + "0" * 64
    raises(t, sail.AuthError, sail.Volume.get, "shared-data")
    os.environ["SAIL_API_KEY"] = key
    raises(t, sail.NotFoundError, sail.Volume.get, "other")
    # What the program has of a volume that is gone since.
    gone = sail.Volume.get("gone", mint_if_missing=True)
    s.server.call("DELETE", "/v1/volumes/gone")
    e = raises(t, sail.SailboxCreationError, b.create, "w",
               {"/mnt/a": volume, "/mnt/b": gone})
    t.true("gone" in e.message and "volume" in e.message, e.message)
    s.server.stop()
    raises(t, sail.UnavailableError, sail.Volume.get, "shared-data")
    s.server.start()
    t.equal([], sail.Sailbox.list(ended=True), "sandboxes")
    b.nothing_left()
    t.equal([], [n for n in os.listdir(s.t.path("boxes/boxes"))], "folders")
    # Nor for who is not root.
    shutil.copytree(os.path.join(t.repo, "python/sail"), t.path("pkg/sail"))
    os.mkdir(t.path("theirs"))
    os.chown(t.path("theirs"), 64123, 64123)
    os.chmod(t.dir, 0o755)
    r = stack.as_user(64123, ["/usr/bin/python3", "-B", "-c", NOT_ROOT],
                      env=dict(os.environ, PYTHONPATH=t.path("pkg"),
                               XDG_STATE_HOME=t.path("theirs")))
    t.equal(("not_root sandboxes need root\n", ""), (r.stdout, r.stderr),
            "another user")
    b.all_ended()


MAKER = """#!/bin/sh
# In place of mmdebstrap: the folder is the last but one of its arguments.
echo made >>%s
while [ $# -gt 2 ]; do shift; done
mkdir -p "$1/usr" && cat >"$1/sources"
"""


def test_images(t):
    """An image is made once, by one of those who ask for it, and kept by what it
    is made of; one that cannot be made is an error with what was said, and
    nothing of it is left."""
    b = Boxes(t)
    from sail import image
    debian = b.sail.Image.debian
    os.environ["SAIL_IMAGES"] = top = t.path("images")
    path = os.environ["PATH"]
    os.mkdir(t.path("bin"))
    os.environ["PATH"] = t.path("nothing")
    e = raises(t, b.sail.SailboxCreationError, debian.ensure)
    t.equal("no_mmdebstrap", e.code, e.message)
    os.environ["PATH"] = t.path("bin") + ":" + path
    t.write("bin/mmdebstrap", "#!/bin/sh\nmkdir -p new; echo no mirror >&2\n"
            "exit 3\n", 0o755)
    e = raises(t, b.sail.SailboxCreationError, debian.ensure)
    t.equal("mmdebstrap", e.code, "code")
    t.true("no mirror" in e.message, e.message)
    t.equal(["lock"], os.listdir(top), "left")
    t.write("bin/mmdebstrap", MAKER % t.path("count"), 0o755)
    made = []
    threads = [threading.Thread(target=lambda: made.append(debian.ensure()))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    t.equal(([made[0]] * 4, "made\n"), (made, stack.read(t.path("count"))),
            "made once")
    t.equal(image.sources()[1], stack.read(
        made[0][1] + "/sources").splitlines(), "the machine's sources")
    with open(os.path.join(made[0][0], "usr/lib/python3/dist-packages/sail",
                           "__init__.py"), encoding="utf-8") as f:
        t.equal(sources(t)["__init__.py"], f.read(), "with sail")
    plain = image.PACKAGES
    image.PACKAGES = plain + ("git",)
    try:
        other = debian.ensure()
    finally:
        image.PACKAGES = plain
    t.equal((made[0][0], True), (other[0], made[0][1] != other[1]),
            "of something else another one")
    t.equal([made[0]] * 2, [debian.ensure(), debian.ensure()], "as before")
    t.equal("made\n" * 2, stack.read(t.path("count")), "made")
    t.equal([], [n for n in os.listdir(top) if n.startswith("new.")], "left")


@deadline(1500)
def test_image_is_read_only(t):
    """What a sandbox does to its root is in a layer of its own: not in the
    image, and not in the next sandbox."""
    b = Boxes(t)
    sb = b.create("one")
    layers = sb._state["layers"]

    def look():
        return [stack.look(os.path.join(layers[0], "usr")),
                stack.look(os.path.join(layers[1], "etc"))]
    before = look()
    b.out(sb, "rm -rf /etc/apt /usr/lib/python3/dist-packages/sail; "
          "echo x >/etc/passwd; chown 5 /etc/shadow; mkdir /etc/new; "
          "mv /etc/skel /etc/skel2; : >/usr/bin/env; chmod 777 /etc")
    for was, now in zip(before, look()):
        stack.same(t, was, now, "the image")
    with b.create("two") as two:
        t.equal("root:x:0:0\n0\n", b.out(
            two, "head -n 1 /etc/passwd | cut -d: -f1-4; stat -c %u "
            "/etc/shadow; ls /etc/new /etc/skel2 2>/dev/null; "
            "python3 -c 'import sail'"), "the next")
    b.all_ended()
