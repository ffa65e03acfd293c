# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What POSIX and Linux promise of a file system holds on a mount, case by case,
and what does not is exactly what KNOWN says."""

import os
import re

import sailtest
from sailtest import stack

# What a mount does otherwise than POSIX or Linux says: the case, and the words of
# sailvold(8) that say so, and why.
KNOWN = {
    "path_4095": "has at most 4,096 bytes and 1,024 names",
    "mknod_device": "Devices cannot be made",
    "xattr_trusted": "Extended attributes of trusted , security and system",
    "xattr_security": "Extended attributes of trusted , security and system",
    "xattr_acl": "Extended attributes of trusted , security and system",
    "tmpfile": "O_TMPFILE",
    "inode_flags": "ioctl_iflags 2",
    "collapse_range": "collapses or inserts a range",
    "insert_range": "collapses or inserts a range",
    "rename_whiteout": "RENAME_WHITEOUT",
    "read_moves_atime": "To read does not move the time of access",
    "sgid_supplementary": "in the group by a supplementary one",
    "dir_nlink": "The number of links of a directory",
}
# How those of KNOWN end that do not ask first whether it can be done, and skip.
FAILS = {"path_4095": "ENAMETOOLONG"}


def run(t, where, *flags):
    """{case: "ok", "skip" or why it failed}."""
    program = os.path.join(t.repo, t.obj, "regress/posix/posix")
    if not os.access(program, os.X_OK):
        t.fail("%s was not built" % program)
    done = t.run([program] + list(flags) + [where], ok=None, timeout=600)
    cases = dict(re.findall(r"^FAIL (\S+): (.*)$", done.stdout, re.M))
    failed = len(cases)
    ends = re.findall(r"^(ok|skip) (\S+)$", done.stdout, re.M)
    cases.update((name, end) for end, name in ends)
    count = list(cases.values()).count
    t.equal("%d passed, %d failed, %d skipped" % (
        count("ok"), failed, count("skip")),
        (done.stdout.splitlines() or [""])[-1], "the last line")
    t.equal(1 if failed else 0, done.returncode, "exit status")
    t.equal([], os.listdir(where), "what is left behind")
    return cases


def listed(t):
    return t.run([os.path.join(t.repo, t.obj, "regress/posix/posix"),
                  "-l"]).stdout.split()


def only_known(t, native, mount):
    wrong = ["%s: %s" % (name, end) for name, end in sorted(mount.items())
             if end != native.get(name, "ok") and name not in KNOWN and
             not (end == "ok" and native[name] == "skip")]
    wrong += ["%s passes, though KNOWN names it" % name
              for name in sorted(KNOWN) if mount[name] == "ok"]
    wrong += ["%s: not as it is known: %s" % (name, mount[name])
              for name in sorted(KNOWN) if mount[name] not in ("ok", "skip") and
              not re.search(FAILS.get(name, "no failure"), mount[name])]
    if wrong:
        t.fail("cases differ from what KNOWN says\n" + "\n".join(wrong))


@sailtest.deadline(700)
def test_posix(t):
    """The cases are true of a file system of the kernel's own, and of a mount,
    with the product's own rules besides."""
    where = t.path("native")
    os.mkdir(where)
    names = listed(t)
    t.equal(len(names), len(set(names)), "names of cases, each once")
    native = run(t, where)
    t.equal({}, {name: end for name, end in native.items()
                 if end not in ("ok", "skip")}, "failing cases")
    t.true(len(native) >= 148, "only %d cases ran" % len(native))

    s = stack.Stack(t)
    a = s.mount("posix", "a", create=True)
    mount = run(t, a, "-s")
    t.equal(sorted(names), sorted(mount), "the cases that ran")
    only_known(t, native, mount)
    s.daemon.umount(a)
    s.daemon.stop()
    t.count("POSIX cases", len(mount))
    t.count("POSIX differences", len(KNOWN))
    t.said = "%d POSIX cases, %d differences: %s" % (
        len(mount), len(KNOWN), ", ".join(sorted(KNOWN)))


def test_manual(t):
    """Each difference stands in the manual."""
    page = stack.read(os.path.join(t.repo, "man/sailvold.8"))
    text = " ".join(re.sub(r"^\.[A-Z][a-z]( |$)", "", line)
                    for line in page.splitlines())
    text = re.sub(r"\s+", " ", text[text.index("CAVEATS"):])
    for case, words in KNOWN.items():
        t.true(words in text, "%s: %s" % (case, words))
