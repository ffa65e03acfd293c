# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Names that the kernel knows, of which a new fuse, or one after a reload, does
not know that yet."""

import os

from sailtest import histories, model, stack


def names(t, top, what):
    """Renames and removals of what the kernel knows, asking for nothing else
    before."""
    def text(name):
        return stack.read(os.path.join(top, name))

    held = open(top + "/gone", encoding="ascii")
    t.equal("gone\n", held.read(), "to be removed")
    yield
    os.rename(top + "/d/a", top + "/d/moved")
    os.unlink(top + "/gone")
    os.rename(top + "/dir", top + "/dir2")
    histories.rename2(top + "/one", top + "/e/two", model.EXCHANGE)
    histories.rename2(top + "/x", top + "/y", model.EXCHANGE)
    for name in ("d/a", "gone", "dir"):
        stack.write(os.path.join(top, name), "another\n")
    for name, content in (("d/moved", "d/a\n"), ("d/a", "another\n"),
                          ("gone", "another\n"), ("one", "e/two\n"),
                          ("e/two", "one\n"), ("x/f", "y/f\n"),
                          ("y/f", "x/f\n"), ("dir2/in", "dir/in\n")):
        t.equal(content, text(name), "%s: %s" % (what, name))
    os.symlink("to", top + "/dir2/link")
    os.mkdir(top + "/x/new")
    held.seek(0)
    t.equal("gone\n", held.read(), "%s: a file without a name" % what)
    held.close()
    yield


def test_renamed_first(t):
    """What the kernel knows, and a new fuse, or one after a reload, was not yet
    asked for, is renamed and removed: each name leads to what it should."""
    s = stack.Stack(t)
    d = s.daemon
    t.expect_deaths = True
    a = s.mount("v", "a", create=True)
    for kind in ("clean", "dirty"):
        for after in ("kill", "reload", "both"):
            top = "%s/%s-%s" % (a, kind, after)
            for name in ("d/a", "gone", "one", "e/two", "x/f", "y/f",
                         "dir/in"):
                path = os.path.join(top, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                stack.write(path, name + "\n")
            if kind == "clean":
                s.commit(a)
                s.reload(a)
            stack.look(top)
            steps = names(t, top, "%s, %s" % (kind, after))
            next(steps)
            if after != "kill":
                s.reload(a, "--keep")
            if after != "reload":
                old = d.pids("fuse")
                d.kill("fuse")
                t.wait_for(lambda: set(d.pids("fuse")) - set(old), "a new fuse")
            next(steps)
    s.commit(a)
    b = s.mount("v", "b")
    fields = ("mode", "mtime")
    stack.same(t, stack.look(a, fields=fields), stack.look(b, fields=fields),
               "A and B")
