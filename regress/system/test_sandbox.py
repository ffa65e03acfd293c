# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""commit and reload from inside of a sandbox that has nothing but a bind of the
mount: no socket, no key, no network."""

import json
import os
import shutil

from sailtest import stack

IDS = "0123456789abcdef"


def sandbox(t, top, proc=True, extra=()):
    """A bwrap with the system's programs, sailvolctl, and top at /work."""
    if shutil.which("bwrap") is None:
        t.skip("no bwrap")
    argv = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv",
            "--setenv", "PATH", "/usr/bin:/bin",
            "--ro-bind", "/usr", "/usr", "--dev", "/dev"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink("/" + name):
            argv += ["--symlink", os.readlink("/" + name), "/" + name]
        elif os.path.isdir("/" + name):
            argv += ["--ro-bind", "/" + name, "/" + name]
    if proc:
        argv += ["--proc", "/proc"]
    argv += ["--ro-bind", os.path.join(t.repo, "sailvolctl", "sailvolctl"),
             "/ctl", "--ro-bind", os.path.join(t.repo, "python"), "/python",
             "--bind", top, "/work", "--chdir", "/work"] + list(extra)
    if t.run(argv + ["true"], ok=None).returncode != 0:
        t.skip("bwrap does not work here: " +
               t.run(argv + ["true"], ok=None).stderr.strip())
    return argv


def can_do_without_proc(t):
    """A sanitizer looks for leaks through /proc, and for its options."""
    return t.obj != "obj-san"


def is_id(text):
    return len(text) == 65 and set(text[:64]) <= set(IDS)


def test_bwrap(t):
    """By sailvolctl and by Python, with and without /proc."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for n, proc in enumerate((True, False)[:2 if can_do_without_proc(t) else 1]):
        box = sandbox(t, a, proc)
        name = "from-inside-%d" % n
        t.run(box + ["sh", "-c", "mkdir -p d && echo $0 >d/$0", name])
        ident = t.run(box + ["/ctl", "commit", "/work/d/" + name]).stdout
        t.true(is_id(ident), "an id alone: %r" % ident)
        inside = sandbox(t, b, proc)
        t.equal(ident, t.run(inside + ["/ctl", "reload", "."]).stdout,
                "reload inside")
        t.equal(name + "\n", t.run(inside + ["cat", "d/" + name]).stdout,
                "read inside")
        t.true(os.path.exists(os.path.join(b, "d", name)), "seen outside")
        got = t.run(box + ["python3", "-B", "-c",
                           "import sys; sys.path.insert(0, '/python')\n"
                           "import sail\n"
                           "open('py', 'a').write('x')\n"
                           "v = sail.Volume.from_mount('.')\n"
                           "print(v.name, v.commit('by python'))\n"
                           "v.reload()"]).stdout.split()
        t.equal("v", got[0], "name")
        t.true(is_id(got[1] + "\n"), got[1])
    log = json.loads(t.run(sandbox(t, a) + ["/ctl", "-j", "log", "."]).stdout)
    t.equal("by python", log["commits"][0]["message"], "log inside")
    status = t.run(sandbox(t, a) + ["/ctl", "status", "."]).stdout
    t.true("v" in status, status)


def test_subdirectory(t):
    """A bind of a directory of the volume has no door, and it says so."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    os.mkdir(os.path.join(a, "d"))
    for proc in (True, False):
        r = t.run(sandbox(t, os.path.join(a, "d"), proc) +
                  ["/ctl", "commit", "."], ok=1)
        t.true("without the volume's root" in r.stderr, r.stderr)
    r = t.run(sandbox(t, t.dir) + ["/ctl", "commit", "."], ok=1)
    t.true("not in a mount of sailvold" in r.stderr, r.stderr)


def test_unshare(t):
    """In a mount namespace and chroot made by hand, too."""
    if not can_do_without_proc(t):
        t.skip("there is no /proc, which a sanitizer needs")
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    root = t.path("root")
    os.makedirs(os.path.join(root, "work"))
    script = """
set -e
for d in bin sbin lib lib64 usr; do
	[ -e /$d ] || continue
	if [ -L /$d ]; then cp -P /$d %(r)s/$d; continue; fi
	mkdir -p %(r)s/$d && mount --rbind /$d %(r)s/$d
done
cp %(ctl)s %(r)s/ctl
mount --bind %(a)s %(r)s/work
chroot %(r)s /bin/sh -c 'cd work && echo hello >inside && exec /ctl commit .'
""" % {"r": root, "a": a,
       "ctl": os.path.join(t.repo, "sailvolctl", "sailvolctl")}
    r = t.run(["unshare", "-m", "-n", "-i", "sh", "-c", script])
    t.true(is_id(r.stdout), r.stdout)
    with open(os.path.join(a, "inside"), encoding="ascii") as f:
        t.equal("hello\n", f.read(), "content")


def test_who_may(t):
    """Who may write in the root of the mount may commit; nobody else."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    ctl = os.path.join(t.repo, "sailvolctl", "sailvolctl")
    shutil.copy(ctl, t.path("ctl"))
    os.chmod(t.dir, 0o755)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("x")
    t.equal(0o600, os.stat(os.path.join(a, ".sailvol/ctl")).st_mode & 0o7777,
            "mode of ctl at 0755")
    r = stack.as_user(64123, [t.path("ctl"), "commit", a])
    t.equal(1, r.returncode, "commit of another: " + r.stderr)
    t.true("may not" in r.stderr, r.stderr)
    os.chmod(a, 0o777)
    t.equal(0o666, os.stat(os.path.join(a, ".sailvol/ctl")).st_mode & 0o7777,
            "mode of ctl at 0777")
    r = stack.as_user(64123, [t.path("ctl"), "commit", a])
    t.equal((0, True), (r.returncode, is_id(r.stdout)), r.stderr)
    os.chmod(a, 0o755)
    os.chown(a, 64123, 64123)
    # Published, or the reload would put it away.
    r = stack.as_user(64123, [t.path("ctl"), "commit", a])
    t.equal(0, r.returncode, "commit of the owner: " + r.stderr)
    for command in ("reload", "status", "commit"):
        r = stack.as_user(64124, [t.path("ctl"), command, a])
        t.equal(1, r.returncode, command + " of another")
    r = stack.as_user(64123, [t.path("ctl"), "reload", a])
    t.equal(0, r.returncode, "reload of the owner: " + r.stderr)
