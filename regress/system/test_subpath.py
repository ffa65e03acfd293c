# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Mounts of a directory of a volume, VOLUME:/SUB, beside mounts of the whole:
what each commits and reloads of the other's changes."""

import errno
import os

from sailtest import stack
from sailtest.stack import read, write

BOTH_STORES = True


def whole_and_part(t, daemons=1):
    """A stack, a mount of a volume, and one of its directory top/sub."""
    s = stack.Stack(t, daemons=daemons)
    a = s.mount("v", "a", create=True)
    os.makedirs(os.path.join(a, "top/sub/deep"))
    os.mkdir(os.path.join(a, "other"))
    write(os.path.join(a, "top/f"), "above")
    write(os.path.join(a, "top/sub/f"), "one")
    write(os.path.join(a, "top/sub/deep/f"), "deep")
    s.commit(a)
    return s, a, s.daemons[-1].mount("v:/top/sub", "p")


def both_ways(t, daemons):
    s, a, p = whole_and_part(t, daemons)
    sub = os.path.join(a, "top/sub")
    stack.same(t, stack.look(sub), stack.look(p), "the part as mounted")
    # From the part to the whole.
    write(os.path.join(p, "f"), "two")
    write(os.path.join(p, "new"), "new")
    os.mkdir(os.path.join(p, "made"))
    write(os.path.join(p, "made/x"), "x")
    os.rename(os.path.join(p, "deep"), os.path.join(p, "made/deep"))
    os.symlink("../f", os.path.join(p, "made/link"))
    t.equal(s.commit(p), s.reload(a), "commit in the part, reload of all")
    stack.same(t, stack.look(p), stack.look(sub), "part to whole")
    t.equal("above", read(os.path.join(a, "top/f")), "beside the part")
    # From the whole to the part, with a rename across its border.
    os.rename(os.path.join(sub, "made/deep"), os.path.join(a, "other/deep"))
    os.rename(os.path.join(a, "top/f"), os.path.join(sub, "above"))
    os.rename(os.path.join(a, "other"), os.path.join(sub, "other"))
    os.unlink(os.path.join(sub, "new"))
    t.equal(s.commit(a), s.reload(p), "commit of all, reload of the part")
    stack.same(t, stack.look(sub), stack.look(p), "whole to part")
    t.equal("deep", read(os.path.join(p, "other/deep/f")), "moved twice")
    # And back, after the part has its own changes unpublished.
    write(os.path.join(p, "mine"), "mine")
    os.rename(os.path.join(p, "other"), os.path.join(p, "again"))
    write(os.path.join(sub, "theirs"), "theirs")
    s.commit(a)
    s.commit(p)
    s.reload(a)
    s.reload(p)
    stack.same(t, stack.look(sub), stack.look(p), "both changed")
    t.equal({"above", "again", "f", "made", "mine", "theirs"},
            set(os.listdir(p)), "names")


def test_one_daemon(t):
    """Both in one daemon: each sees what the other published, moves across
    the border of the part too."""
    both_ways(t, 1)


def test_two_daemons(t):
    """The same in two daemons."""
    both_ways(t, 2)


def test_moved_away(t):
    """A part whose directory others moved away: reload says so and nothing is
    lost; a commit makes the directory again, and says what it overwrote."""
    s, a, p = whole_and_part(t)
    write(os.path.join(p, "mine"), "mine")
    os.rename(os.path.join(a, "top/sub"), os.path.join(a, "moved"))
    s.commit(a)
    got = s.reload_json(p, ok=1)
    t.equal("not_found", got["error"]["type"], "the reload")
    t.equal({"deep", "f", "mine"}, set(os.listdir(p)), "after it")
    t.equal("one", read(os.path.join(p, "f")), "what it showed")
    got = s.commit_json(p)
    t.equal({"count": 1, "paths": ["top/sub"]}, got["overwritten"],
            "overwritten")
    t.equal(got["commit"], s.reload(a), "the newest")
    t.equal({"deep", "f"}, set(os.listdir(os.path.join(a, "moved"))), "moved")
    t.equal(["mine"], os.listdir(os.path.join(a, "top/sub")), "made again")
    t.equal(got["commit"], s.reload(p), "the reload, now")
    t.equal(["mine"], os.listdir(p), "what the head has")


def test_root(t):
    """The attributes of a part's root are those of its directory."""
    s, a, p = whole_and_part(t)
    sub = os.path.join(a, "top/sub")
    os.chmod(p, 0o750)
    os.chown(p, 5, 6)
    os.setxattr(p, "user.a", b"b")
    s.share(p, a)
    st = os.stat(sub)
    t.equal((0o750, 5, 6), (st.st_mode & 0o7777, st.st_uid, st.st_gid),
            "mode and owner")
    t.equal(b"b", os.getxattr(sub, "user.a"), "xattr")
    os.chmod(sub, 0o711)
    os.chmod(a, 0o777)
    s.share(a, p)
    t.equal(0o711, os.stat(p).st_mode & 0o7777, "mode")


def test_restart(t):
    """Over a restart of the daemon each keeps its own changes."""
    s, a, p = whole_and_part(t)
    sub = os.path.join(a, "top/sub")
    write(os.path.join(p, "mine"), "mine")
    write(os.path.join(sub, "f"), "whole")
    s.daemon.stop()
    s.daemon.start()
    t.wait_for(lambda: os.path.exists(os.path.join(p, "mine")), "the part")
    t.wait_for(lambda: os.path.exists(os.path.join(sub, "f")), "the whole")
    t.equal("one", read(os.path.join(p, "f")), "clean in the part")
    t.equal("whole", read(os.path.join(sub, "f")), "dirty in the whole")
    s.commit(a)
    s.share(p, a)
    s.reload(p)
    stack.same(t, stack.look(sub), stack.look(p), "both published")
    t.equal(("mine", "whole"), (read(os.path.join(p, "mine")),
                                read(os.path.join(p, "f"))), "content")


def test_refused(t):
    """What is no directory of the volume is not mounted; a commit that is
    named may have one that the newest has not."""
    s, a, p = whole_and_part(t)
    first = s.commit(a)
    q = s.point("q")
    for sub, why in (("/none", "is not there"), ("/top/f", "not a directory"),
                     ("/top/../x", ".."), ("", "begins with /")):
        r = s.daemon.ctl("mount", "v:" + sub, q, ok=1)
        t.true(why in r.stderr, "%r: %s" % (sub, r.stderr))
    os.rename(os.path.join(a, "top"), os.path.join(a, "bottom"))
    s.commit(a)
    s.daemon.ctl("mount", "v:/top/sub", q, ok=1)
    s.daemon.mount("v:/top/sub", "q", args=["-c", first])
    stack.same(t, stack.look(p), stack.look(q), "the older commit")
    try:
        write(os.path.join(q, "f"), "x")
        t.fail("an older commit was written to")
    except OSError as e:
        t.equal(errno.EROFS, e.errno, "the error")
