# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Root of a sandbox is root for its files: tar, chown and dpkg do there what they
do on a machine, in its own files and in a volume; a commit has what they did."""

import io
import os
import tarfile

from sailtest import deadline, stack
from sailtest.boxes import Boxes

OWNERS = ((0, 0), (1000, 1000), (65534, 65534), (33, 8))
# ls of what matters: type and mode, owner, group, links, name.
LOOK = ("cd %s && find . -mindepth 1 -printf '%%M %%U %%G %%n %%p %%l\\n' | "
        "sort -k 5")
XATTR = ["python3", "-c", "import os, sys; "
         "print(os.getxattr(sys.argv[1], 'user.kind').decode())"]

CONTROL = """Package: sail-try
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: a file of another owner
"""
POSTINST = """#!/bin/sh
set -e
chown games:1000 /opt/sail-try/given
chmod 2755 /opt/sail-try/given
"""
BUILD = """set -e
mkdir -p /tmp/p/DEBIAN /tmp/p/opt/sail-try
cat >/tmp/p/DEBIAN/control
echo of 1000 >/tmp/p/opt/sail-try/owned
echo given >/tmp/p/opt/sail-try/given
chown 1000:1000 /tmp/p/opt/sail-try/owned
chmod 4755 /tmp/p/opt/sail-try/owned
"""


def archive():
    """A tar with owners, modes, links and attributes of all kinds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        def add(name, kind, mode=0o644, uid=0, gid=0, data=b"", to="", pax=()):
            m = tarfile.TarInfo(name)
            m.type, m.mode, m.uid, m.gid = kind, mode, uid, gid
            m.size, m.linkname, m.mtime = len(data), to, 10 ** 9
            m.pax_headers = dict(pax)
            tar.addfile(m, io.BytesIO(data))
        add("d", tarfile.DIRTYPE, 0o1777, 1000, 1000)
        for uid, gid in OWNERS:
            add("d/of%d" % uid, tarfile.REGTYPE, 0o640, uid, gid, b"x\n")
        add("d/setuid", tarfile.REGTYPE, 0o4755, 0, 0, b"x\n")
        add("d/setuid1000", tarfile.REGTYPE, 0o6711, 1000, 33, b"x\n")
        add("d/setgid", tarfile.DIRTYPE, 0o2775, 0, 8)
        add("d/hard", tarfile.LNKTYPE, 0o4755, to="d/setuid")
        add("d/soft", tarfile.SYMTYPE, 0o777, 1000, 1000, to="of0")
        add("d/fifo", tarfile.FIFOTYPE, 0o600, 1000, 0)
        add("d/marked", tarfile.REGTYPE, 0o600, 33, 33, b"x\n",
            pax=[("SCHILY.xattr.user.kind", "kept")])
    return out.getvalue()


WANTED = """drwxrwxrwt 1000 1000 ./d
prw------- 1000 0 ./d/fifo
-rwsr-xr-x 0 0 ./d/hard
-rw------- 33 33 ./d/marked
-rw-r----- 0 0 ./d/of0
-rw-r----- 1000 1000 ./d/of1000
-rw-r----- 33 8 ./d/of33
-rw-r----- 65534 65534 ./d/of65534
drwxrwsr-x 0 8 ./d/setgid
-rwsr-xr-x 0 0 ./d/setuid
-rws--s--x 1000 33 ./d/setuid1000
lrwxrwxrwx 1000 1000 ./d/soft
"""


def shown(text):
    """(without the count of links and targets, the counts of both names)"""
    lines = [line.split(" ") for line in text.splitlines()]
    return ("".join(" ".join(w[:3] + w[4:5]) + "\n" for w in lines),
            [w[3] for w in lines if w[4] in ("./d/hard", "./d/setuid")])


@deadline(1500)
def test_tar_and_chown(t):
    """Root of a sandbox unpacks a tar with owners, modes, links and attributes,
    and gives files away by name and number; a commit has 0 to 65535; an id
    that no file there can have is refused and changes nothing."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    outside = s.mount("shared-data", "outside", create=True)
    volume = b.sail.Volume.get("shared-data")
    with b.create("w", {"/mnt/shared": volume}) as sb:
        sb.write("/root/all.tar", archive())
        for where in ("/srv/own", "/mnt/shared"):
            b.out(sb, "mkdir -p %s && cd %s && tar --xattrs -xpf /root/all.tar"
                  % (where, where))
            names, links = shown(b.out(sb, LOOK % where))
            t.equal(WANTED, names, where)
            t.equal(["2", "2"], links, "hard links of " + where)
            t.equal("kept\n", b.out(sb, XATTR + [where + "/d/marked"]), where)
            gives(t, b, sb, where + "/d")
        b.out(sb, "python3 -c \"import sail; "
              "sail.Volume.from_mount('/mnt/shared').commit()\"")
        inside = shown(b.out(sb, LOOK % "/mnt/shared"))[0]
        s.reload(outside)
        t.equal(inside, shown(t.run(["sh", "-c", LOOK % outside]).stdout)[0],
                "what is committed")
        t.equal("kept", os.getxattr(outside + "/d/marked",
                                    "user.kind").decode(), "xattr")
        t.equal("of0", os.readlink(outside + "/d/soft"), "a link")
    b.all_ended()


def gives(t, b, sb, folder):
    """chown there, of a file that tar made."""
    def owner():
        return b.out(sb, "stat -c %u:%g:%a " + path).strip()
    path = folder + "/of0"
    for words, want in (("www-data:mail", "33:8:640"), ("0", "0:8:640"),
                        (":1000", "0:1000:640"), ("65535:65535", None),
                        ("65534:65534", "65534:65534:640"),
                        ("nobody:nogroup", "65534:65534:640"),
                        ("4242:0", "4242:0:640")):
        if want is not None:
            b.out(sb, "chown %s %s" % (words, path))
            t.equal(want, owner(), "chown " + words)
    # What is not in its range.
    for words in ("65536", "100000:100000", ":70000", "4294967294"):
        done = sb.exec("chown %s %s" % (words, path)).wait()
        t.true(done.returncode != 0 and "Invalid argument" in done.stderr,
               "chown %s: %s" % (words, done.stderr))
        t.equal("4242:0:640", owner(), "after chown " + words)
    # Given away, a program is not its new owner's.
    b.out(sb, "chown 1000 %s/setuid1000 && chown 1001 %s/setuid1000" % (
        folder, folder))
    t.equal("711", b.out(sb, "stat -c %%a %s/setuid1000" % folder).strip(),
            "setuid")


@deadline(1500)
def test_owner_too_large(t):
    """tar says that an owner over 65535 cannot be, and unpacks the rest."""
    s = stack.Stack(t)
    b = Boxes(t, s)
    volume = b.sail.Volume.get("shared-data", mint_if_missing=True)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, uid in (("large", 70000), ("small", 65534)):
            m = tarfile.TarInfo(name)
            m.uid = m.gid = uid
            m.size = 2
            tar.addfile(m, io.BytesIO(b"x\n"))
    with b.create("w", {"/mnt/shared": volume}) as sb:
        sb.write("/root/all.tar", out.getvalue())
        for where in ("/srv/own", "/mnt/shared"):
            done = sb.exec("mkdir -p %s && cd %s && tar -xpf /root/all.tar" % (
                where, where)).wait()
            t.true(done.returncode == 2 and "large: Cannot change ownership "
                   "to uid 70000, gid 70000" in done.stderr, done.stderr)
            t.equal("0 0\n65534 65534\n", b.out(
                sb, "cd %s && stat -c '%%u %%g' large small" % where), where)
    b.all_ended()


@deadline(1500)
def test_dpkg(t):
    """dpkg and apt, without a network, install, list, and purge a package with
    files of other owners; its script gives one away."""
    b = Boxes(t)
    with b.create("w") as sb:
        sb.write("/tmp/control", CONTROL)
        b.out(sb, "sh -c '%s' </tmp/control" % BUILD)
        sb.write("/tmp/p/DEBIAN/postinst", POSTINST, mode=0o755)
        b.out(sb, "dpkg-deb --build /tmp/p /tmp/sail-try.deb")
        for install, purge in (
                ("dpkg -i /tmp/sail-try.deb", "dpkg --purge sail-try"),
                ("apt-get install -qqy /tmp/sail-try.deb",
                 "apt-get purge -qqy sail-try")):
            b.out(sb, install)
            t.equal("1000:1000:4755\n5:1000:2755\n", b.out(
                sb, "cd /opt/sail-try && stat -c %u:%g:%a owned given"),
                install)
            t.equal("install ok installed", b.out(
                sb, "dpkg-query -W -f '${Status}' sail-try"), install)
            b.out(sb, purge)
            b.out(sb, "test ! -e /opt/sail-try")
    b.all_ended()
