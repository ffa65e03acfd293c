# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Paths up to the limits are committed; longer and deeper ones are refused
where they are made, and none stands in the way of a commit without a word."""

import errno
import os

from sailtest import deadline, stack

PATH_MAX = 4096
DEPTH_MAX = 1024


def tall(top, names):
    """Makes directories one in the other, in steps that the kernel takes."""
    fd = os.open(top, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def put(fd, name, text):
    with open(name, "w", encoding="ascii",
              opener=lambda n, f: os.open(n, f, 0o644, dir_fd=fd)) as f:
        f.write(text)


def get(top, names, name):
    fd = os.open(top, os.O_RDONLY)
    for n in names:
        below = os.open(n, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(name, encoding="ascii",
              opener=lambda n, f: os.open(n, f, dir_fd=fd)) as f:
        text = f.read()
    os.close(fd)
    return text


def too_long(t, what, call):
    try:
        call()
    except OSError as e:
        t.equal(errno.ENAMETOOLONG, e.errno, what)
    else:
        t.fail("%s: done" % what)


@deadline(300)
def test_path_limits(t):
    """Up to the limits all is committed and read; past them, ENAMETOOLONG."""
    s = stack.Stack(t)
    a = s.mount("vol", "a", create=True)
    b = s.mount("vol", "b")
    long_names = ["L" * 127] * 31  # and a slash each: 3968 bytes
    room = PATH_MAX - 31 * 128
    deep_names = ["d"] * (DEPTH_MAX - 1)
    for names, last in ((long_names, "x" * room), (deep_names, "f")):
        fd = tall(a, names)
        put(fd, last, "end")
        t.equal(b"end", os.read(os.open(last, os.O_RDONLY, dir_fd=fd), 9),
                "a file at the limit")
        os.close(fd)
        s.share(a, b)
        t.equal("end", get(b, names, last), "of the other mount")
        os.rename(os.path.join(a, names[0]), a + "/top")
        os.rename(a + "/top", os.path.join(a, names[0]))

    fd = tall(a, ["z" * 127] * 30 + ["z" * 126])
    put(fd, "y" * (room + 1), "end")
    for what, call in (
            ("file", lambda: put(fd, "x" * (room + 2), "")),
            ("directory", lambda: os.mkdir("x" * (room + 2), dir_fd=fd)),
            ("link", lambda: os.symlink("to", "x" * (room + 2), dir_fd=fd)),
            ("name", lambda: os.link(
                "y" * (room + 1), "x" * (room + 2), src_dir_fd=fd,
                dst_dir_fd=fd)),
            ("rename", lambda: os.rename(
                "y" * (room + 1), "x" * (room + 2), src_dir_fd=fd,
                dst_dir_fd=fd))):
        too_long(t, what + " too long", call)
    os.close(fd)
    fd = tall(a, ["e"] * (DEPTH_MAX - 1))
    os.mkdir("f", dir_fd=fd)
    below = os.open("f", os.O_RDONLY, dir_fd=fd)
    too_long(t, "file too deep", lambda: put(below, "f", ""))
    os.close(below)
    os.close(fd)
    s.share(a, b)

    # What is below a directory is not counted when it moves.
    os.rename(a + "/e", a + "/d/e")
    done = s.ctl("commit", a, ok=1)
    t.true("a path is longer than 4096 bytes or 1024 names" in done.stderr,
           "what commit says: %s" % done.stderr)
    t.true("names: below d/e/e/e/e" in done.stderr, done.stderr)
    os.rename(a + "/d/e", a + "/e")
    s.share(a, b)
