# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""make install puts everything below DESTDIR, and what it installed runs."""

import os
import re
import shutil
import stat


def install(t):
    variant = {"obj-san": ["SAN=1"], "obj-debug": ["SANDBOX_DEBUG=1"]}
    # The default PREFIX: another would build the tree anew.
    t.run(["make", "-C", t.repo, "install", "DESTDIR=" + t.path("root")] +
          variant.get(t.obj, []), timeout=110,
          env={"MAKEFLAGS": "", "MAKELEVEL": "0"})
    return t.path("root", "usr/local")


def test_install(t):
    """Every program, page and file is there, with modes of its own."""
    if not os.path.exists(os.path.join(t.repo, "sailvold", "sailvold.c")):
        t.skip("this tree has no sailvold")
    usr = install(t)
    found = {}
    for where, _, files in os.walk(usr):
        for name in files:
            path = os.path.join(where, name)
            found[os.path.relpath(path, usr)] = stat.S_IMODE(
                os.stat(path).st_mode)
    for name in ("sbin/sailvold", "sbin/sailapid", "bin/sailvolctl",
                 "libexec/sailvol-fetch"):
        t.equal(0o755, found.get(name), name)
    pages = [f for d in ("man", "imsg") for f in
             os.listdir(os.path.join(t.repo, d)) if re.search(r"\.[1-9]$", f)]
    for page in pages:
        name = "share/man/man%s/%s" % (page[-1], page)
        t.equal(0o644, found.get(name), name)
    for name in ("sailvold.conf", "sailapid.conf", "rc.sailvold",
                 "rc.sailapid"):
        t.true("share/examples/sailvol/" + name in found, name)
    for name in ("sailvold", "sailapid"):
        path = os.path.join(usr, "lib/systemd/system/%s.service" % name)
        with open(path, encoding="ascii") as f:
            text = f.read()
        t.true("ExecStart=/usr/local/sbin/%s -d -f /etc/%s.conf" % (name, name)
               in text, path)
        t.true("@" not in text, "a placeholder is left in " + path)
    t.true("lib/sysusers.d/sailvol.conf" in found, "sysusers")
    t.equal(["sbin", "usr"], sorted(os.listdir(t.path("root"))), "elsewhere")
    sbin = t.path("root", "sbin")
    t.equal({name: "/usr/local/bin/sailvolctl" for name in (
        "mount.sailvol", "umount.fuse.sailvol")},
            {name: os.readlink(os.path.join(sbin, name))
             for name in os.listdir(sbin)}, "helpers of mount(8)")
    t.run([os.path.join(usr, "bin/sailvolctl")], ok=2)
    key = t.write("key", "sk_" + "0" * 64 + "\n", 0o600)
    for name in ("sailvold", "sailapid"):
        with open(os.path.join(usr, "share/examples/sailvol", name + ".conf"),
                  encoding="utf-8") as f:
            conf = t.write(name + ".conf", f.read().replace(
                "/etc/sailvol/key", key))
        t.run([os.path.join(usr, "sbin", name), "-n", "-f", conf])
    lib = [os.path.dirname(os.path.dirname(os.path.join(usr, f)))
           for f in found if f.endswith("sail/__init__.py")]
    t.equal(1, len(lib), "python packages")
    t.run(["/usr/bin/python3", "-B", "-c", "import sail; sail.Volume"],
          env={"PYTHONPATH": lib[0]}, cwd="/")


def test_units(t):
    """systemd takes the units as they are."""
    if shutil.which("systemd-analyze") is None:
        t.skip("no systemd-analyze")
    usr = install(t)
    for name in ("sailvold", "sailapid"):
        path = os.path.join(usr, "lib/systemd/system/%s.service" % name)
        with open(path, encoding="ascii") as f:
            # It looks for the program.
            text = f.read().replace("=/usr/local/sbin/" + name, "=/bin/true")
        r = t.run(["systemd-analyze", "verify", "--man=no",
                   "--recursive-errors=no",
                   t.write("%s.service" % name, text)])
        t.equal("", r.stdout + r.stderr, path)


def test_accounts(t):
    """The accounts of the sysusers file are those that the daemons look for."""
    with open(os.path.join(t.repo, "etc/sysusers.d/sailvol.conf"),
              encoding="ascii") as f:
        made = set(re.findall(r"^u (\S+)", f.read(), re.M))
    wanted = set()
    for prog in ("sailvold", "sailapid"):
        with open(os.path.join(t.repo, prog, "parse.y"),
                  encoding="utf-8") as f:
            wanted |= set(re.findall(r'"(_sail\w+)"', f.read()))
    t.equal(wanted, made, "accounts")


def test_scripts(t):
    """The scripts know their words, and refuse others."""
    for name in ("rc.sailvold", "rc.sailapid"):
        script = os.path.join(t.repo, "etc", name)
        t.run(["sh", script], ok=2)
        t.run(["sh", script, "dance"], ok=2)
    t.run(["sh", os.path.join(t.repo, "etc/quickstart.sh"), "dance"], ok=2)
