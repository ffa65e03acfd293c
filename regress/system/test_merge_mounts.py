# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Two mounts change different paths, the same path and the same directory: each
row of the table of merges, through real mounts, in two commits and reloads."""

import json
import os
import shutil

from sailtest import stack

BOTH_STORES = True


def put(top, path, text="", mode=None):
    path = os.path.join(top, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    if mode is not None:
        os.chmod(path, mode)


def put_keep(top, path, text):
    """The content alone: a file's mtime is one of its attributes."""
    when = os.stat(os.path.join(top, path)).st_mtime_ns
    put(top, path, text)
    os.utime(os.path.join(top, path), ns=(when, when))


def rm(top, path):
    path = os.path.join(top, path)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def mkdir(top, path, mode=0o755):
    os.mkdir(os.path.join(top, path))
    os.chmod(os.path.join(top, path), mode)


def chmod(top, path, mode):
    os.chmod(os.path.join(top, path), mode)


def move(top, path, to):
    os.rename(os.path.join(top, path), os.path.join(top, to))


def tree(top):
    """{path: content, or "dir" with "/"}"""
    out = {}
    for where, dirs, files in os.walk(top):
        rel = os.path.relpath(where, top)
        for name in dirs:
            out[os.path.normpath(os.path.join(rel, name)) + "/"] = "dir"
        for name in files:
            with open(os.path.join(where, name), encoding="ascii") as f:
                out[os.path.normpath(os.path.join(rel, name))] = f.read()
    return out


# Name of the case; what is there before; what the first committer does (the
# head's change), and the second; what is there in the end; what the second
# commit overwrote.
BASE = {"f": "0", "d/x": "0", "d/y": "0", "e/z": "0"}
ALL = {"f": "0", "d/": "dir", "d/x": "0", "d/y": "0", "e/": "dir",
       "e/z": "0"}


def but(gone=(), **new):
    """ALL without what is gone (and what is below it), with what is new."""
    out = {k: v for k, v in ALL.items()
           if not any(k == g or k.startswith(g + "/") for g in gone)}
    out.update({k.replace("__", "/"): v for k, v in new.items()})
    return out


CASES = [
    ("different_paths", lambda p: put(p, "f", "A"),
     lambda p: put(p, "d/x", "B"), but(f="A", d__x="B"), []),
    ("different_names_in_a_directory", lambda p: put(p, "d/new1", "A"),
     lambda p: put(p, "d/new2", "B"), but(d__new1="A", d__new2="B"), []),
    ("equal_puts", lambda p: put_keep(p, "f", "same"),
     lambda p: put_keep(p, "f", "same"), but(f="same"), []),
    ("put_changed", lambda p: put(p, "f", "A"), lambda p: put(p, "f", "B"),
     but(f="B"), ["f"]),
    ("put_made", lambda p: put(p, "new", "A"), lambda p: put(p, "new", "B"),
     but(new="B"), ["new"]),
    ("put_deleted", lambda p: rm(p, "f"), lambda p: put(p, "f", "B"),
     but(f="B"), ["f"]),
    ("put_below_deleted", lambda p: rm(p, "d"), lambda p: put(p, "d/x", "B"),
     but(["d"], **{"d/": "dir", "d__x": "B"}), ["d", "d/x"]),
    ("put_below_no_directory",
     lambda p: (rm(p, "d"), put(p, "d", "file")),
     lambda p: put(p, "d/new", "B"),
     but(["d"], **{"d/": "dir", "d__new": "B"}), ["d"]),
    ("put_where_a_directory_is",
     lambda p: (rm(p, "f"), put(p, "f/q", "A")), lambda p: put(p, "f", "B"),
     but(f="B"), ["f", "f/q"]),
    ("directory_where_a_file_is", lambda p: put(p, "new", "A"),
     lambda p: mkdir(p, "new"), but(**{"new/": "dir"}), ["new"]),
    ("directories_by_both", lambda p: put(p, "new/a", "A"),
     lambda p: put(p, "new/b", "B"),
     but(**{"new/": "dir", "new__a": "A", "new__b": "B"}), []),
    ("attr_of_changed_content", lambda p: put_keep(p, "f", "A"),
     lambda p: chmod(p, "f", 0o600), but(f="A"), []),
    ("attr_of_changed_attributes", lambda p: chmod(p, "f", 0o640),
     lambda p: chmod(p, "f", 0o600), but(), ["f"]),
    ("attr_of_nothing", lambda p: rm(p, "f"),
     lambda p: chmod(p, "f", 0o600), but(["f"]), []),
    ("delete_seen", lambda p: put(p, "d/new", "A"), lambda p: rm(p, "f"),
     but(["f"], d__new="A"), []),
    ("delete_changed", lambda p: put(p, "f", "A"), lambda p: rm(p, "f"),
     but(["f"]), ["f"]),
    ("delete_of_a_directory_now",
     lambda p: (rm(p, "f"), put(p, "f/q", "A")), lambda p: rm(p, "f"),
     but(["f"], **{"f/": "dir", "f__q": "A"}), []),
    ("delete_of_an_empty_directory_now",
     lambda p: (rm(p, "f"), mkdir(p, "f")), lambda p: rm(p, "f"),
     but(["f"]), ["f"]),
    ("delete_of_nothing", lambda p: rm(p, "f"), lambda p: rm(p, "f"),
     but(["f"]), []),
    ("delete_tree_with_unseen_paths", lambda p: put(p, "d/new", "A"),
     lambda p: rm(p, "d"),
     but(["d"], **{"d/": "dir", "d__new": "A"}), []),
    ("delete_tree_with_a_changed_path", lambda p: put(p, "d/x", "A"),
     lambda p: rm(p, "d"), but(["d", "d/"]), ["d/x"]),
    ("delete_tree_that_is_a_file", lambda p: (rm(p, "d"), put(p, "d", "A")),
     lambda p: rm(p, "d"), but(["d", "d/"]), ["d"]),
    ("delete_trees_by_both", lambda p: rm(p, "d"), lambda p: rm(p, "d"),
     but(["d", "d/"]), []),
    ("file_becomes_directory", lambda p: put(p, "e/z", "A"),
     lambda p: (rm(p, "f"), mkdir(p, "f")), but(["f"], **{
         "f/": "dir", "e__z": "A"}), []),
    ("move_alone", lambda p: put(p, "f", "A"), lambda p: move(p, "d", "m"),
     but(["d", "d/"], **{"f": "A", "m/": "dir", "m__x": "0", "m__y": "0"}), []),
    ("move_of_what_got_a_new_name", lambda p: put(p, "d/new", "A"),
     lambda p: move(p, "d", "m"),
     but(["d"], **{"d/": "dir", "d__new": "A", "m/": "dir", "m__x": "0",
                   "m__y": "0"}), []),
    ("move_and_back", lambda p: put(p, "d/x", "A"),
     lambda p: (move(p, "d", "m"), move(p, "m", "d")), but(d__x="A"), []),
    ("deleted_and_made_equal", lambda p: put(p, "d/y", "A"),
     lambda p: (rm(p, "f"), put(p, "f", "0")), but(d__y="A"), []),
    ("delete_below_no_directory",
     lambda p: (rm(p, "d"), put(p, "d", "file")), lambda p: rm(p, "d/x"),
     but(["d", "d/"], d="file"), []),
    ("attr_below_deleted", lambda p: rm(p, "d"),
     lambda p: chmod(p, "d/x", 0o600), but(["d", "d/"]), []),
    ("attr_of_a_directory_that_is_a_file",
     lambda p: (rm(p, "d"), put(p, "d", "file")),
     lambda p: chmod(p, "d", 0o700), but(["d", "d/"], d="file"), []),
    ("attr_of_a_file_that_is_a_directory",
     lambda p: (rm(p, "f"), put(p, "f/q", "A")),
     lambda p: chmod(p, "f", 0o600), but(["f"], **{
         "f/": "dir", "f__q": "A"}), []),
    ("made_again_directory", lambda p: put(p, "d/new", "A"),
     lambda p: (rm(p, "d"), put(p, "d/own", "B")),
     but(["d"], **{"d/": "dir", "d__new": "A", "d__own": "B"}), []),
]


def paths_of(result):
    return [p if isinstance(p, str) else repr(p)
            for p in result["overwritten"]["paths"]]


def table(t, keep):
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for case in CASES:
        for path, text in BASE.items():
            put(os.path.join(a, case[0]), path, text)
    s.share(a, b)
    for name, first, _, _, _ in CASES:
        first(os.path.join(a, name))
    s.commit(a)
    for name, _, second, _, _ in CASES:
        second(os.path.join(b, name))
    if keep:
        s.reload(b, "--keep")
    shown = {c[0]: tree(os.path.join(b, c[0])) for c in CASES}
    result = s.commit_json(b)
    # A commit does not pull in the work of others.
    for case in CASES:
        t.equal(shown[case[0]], tree(os.path.join(b, case[0])),
                "%s: B's view after its commit" % case[0])
    t.equal(result["commit"], s.reload(a), "A's reload")
    t.equal(result["commit"], s.reload(b), "B's reload")
    paths, wrong = paths_of(result), []
    for name, _, _, want, overwritten in CASES:
        for where in (a, b):
            got = tree(os.path.join(where, name))
            if got != want:
                wrong.append("%s in %s: expected %r, actual %r" % (
                    name, where[-1], want, got))
        got = sorted(p[len(name) + 1:] for p in paths
                     if p.startswith(name + "/"))
        if got != sorted(overwritten):
            wrong.append("%s: overwritten: expected %r, actual %r" % (
                name, overwritten, got))
    t.true(not wrong, "\n".join(wrong))
    t.equal(len(paths), result["overwritten"]["count"], "count")


def test_table(t):
    """Each row of the table: the result, and what is reported."""
    table(t, False)


def test_table_kept(t):
    """The same when what the second did is kept above the first's commit."""
    table(t, True)


def test_if_unchanged(t):
    """--if-unchanged refuses where something would be overwritten, publishes
    nothing, and publishes where nothing would."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    put(a, "f", "0")
    put(a, "g", "0")
    first = s.share(a, b)
    put(a, "f", "A")
    head = s.commit(a)
    put(b, "f", "B")
    put(b, "h", "B")
    r = s.ctl("commit", "--if-unchanged", b, ok=3)
    t.equal("", r.stdout, "standard output of a refusal")
    t.true("others" in r.stderr, r.stderr)
    answer = s.commit_json(b, "--if-unchanged", ok=3)
    t.equal(("refused", "overwritten"), (answer["error"]["type"],
                                         answer["error"]["code"]), "answer")
    log = s.server.call("GET", "/v1/volumes/v/commits")[1]["commits"]
    t.equal([head, first], [c["id"] for c in log[:2]], "the log")
    t.equal("B", tree(b)["f"], "B's change is still there")
    # Kept above the new base, it was seen before A's change still.
    s.reload(b, "--keep")
    t.equal(("B", "B"), (tree(b)["f"], tree(b)["h"]), "kept")
    s.ctl("commit", "--if-unchanged", b, ok=3)
    put(b, "f", "0")
    s.ctl("reload", "--if-clean", b, ok=3)
    result = s.reload_json(b)
    t.true(result["stash"]["files"] >= 1, "a stash: %r" % result)
    t.equal({"f": "A", "g": "0"}, tree(b), "B after the reload")
    put(b, "g", "B")
    s.ctl("commit", "--if-unchanged", b)
    s.reload(a)
    t.equal({"f": "A", "g": "B"}, tree(a), "A")


def test_stash(t):
    """What a reload put away is listed, shown, restored and dropped."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    put(a, "f", "0")
    s.share(a, b)
    put(b, "f", "B")
    put(b, "d/new", "N" * 100000)
    stash = s.reload_json(b)["stash"]
    t.equal({"f": "0"}, tree(b), "after the reload")
    listed = json.loads(s.ctl("-j", "stash", "list", b).stdout)["stashes"]
    t.equal([stash["id"]], [x["id"] for x in listed], "listed")
    t.equal(1, len(s.ctl("stash", "list", b).stdout.splitlines()), "lines")
    t.true("d/new" in s.ctl("stash", "show", b, str(stash["id"])).stdout,
           "show")
    s.ctl("stash", "restore", b, str(stash["id"]))
    t.equal({"f": "B", "d/": "dir", "d/new": "N" * 100000}, tree(b),
            "restored")
    s.share(b, a)
    t.equal("B", tree(a)["f"], "published")
    put(b, "f", "C")
    number = str(s.reload_json(b)["stash"]["id"])
    s.ctl("stash", "drop", b, number)
    s.ctl("stash", "show", b, number, ok=1)


def test_with_oneself(t):
    """Commit P, change P, commit again: no conflict with oneself; publish D/x,
    remove D, commit: it is gone; nothing to publish gives the same id."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    put(a, "p", "1")
    put(a, "d/x", "1")
    s.commit(a)
    put(a, "p", "2")
    result = s.commit_json(a, "--if-unchanged")
    t.equal(0, result["overwritten"]["count"], "overwritten")
    rm(a, "d")
    result = s.commit_json(a, "--if-unchanged")
    t.equal((0, True), (result["overwritten"]["count"], result["changed"]),
            "delete of one's own")
    t.equal(result["commit"], s.commit(a), "nothing to publish")
    s.reload(b)
    t.equal({"p": "2"}, tree(b), "B")
    # Somebody else commits: nothing to publish is one's own last still.
    put(b, "q", "1")
    s.commit(b)
    t.equal(result["commit"], s.commit(a), "nothing to publish, others did")
    t.equal({"p": "2"}, tree(a), "A shows nothing of it")
    move(a, "p", "r")
    s.commit(a)
    s.reload(b)
    t.equal({"q": "1", "r": "2"}, tree(b), "a moved file")
    s.reload(a)
    t.equal({"q": "1", "r": "2"}, tree(a), "A in the end")


def test_own_directory(t):
    """To move or remove a directory that the mount itself has published costs
    nothing for what else is in the root."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    for i in range(300):
        put(a, "n%03d" % i)
    s.commit(a)
    s.reload(a)
    mkdir(a, "d")
    s.commit(a)
    for what in (lambda: move(a, "d", "e"), lambda: rm(a, "e")):
        what()
        s.api.reset()
        result = s.commit_json(a, "--if-unchanged")
        t.true(result["changed"], "a commit")
        up = sum(r.up for r in s.api.matching("POST .*/commit$"))
        t.true(up < 2000, "%d bytes went up" % up)
    s.reload(a)
    t.equal(300, len(tree(a)), "names")


def test_made_again(t):
    """A file that was made again with the same content, as git and editors do,
    is the new one in every mount: inode number, times and mode; what was made
    again to the last bit of that is the old one, and no operation."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    names = ("removed", "replaced", "moved", "mode", "touched", "equal")
    for name in names + ("source",):
        put(a, name, "same")
    s.share(a, a, b)
    old = stack.look(a)

    def path(name):
        return os.path.join(a, name)

    for name in ("removed", "mode"):
        os.unlink(path(name))
        put(a, name, "same")
    os.chmod(path("mode"), 0o600)
    put(a, "new", "same")
    os.rename(path("new"), path("replaced"))
    os.rename(path("source"), path("moved"))
    os.utime(path("touched"), ns=(1, 1))
    when = os.stat(path("equal")).st_mtime_ns
    os.unlink(path("equal"))
    put(a, "equal", "same")
    os.utime(path("equal"), ns=(when, when))
    fields = ("mode", "uid", "gid", "mtime", "ctime", "ino")
    want = stack.look(a, fields=fields)
    got = s.commit_json(a)
    t.equal((5, 0, 0), (got["files"], got["bytes_uploaded"],
                        got["overwritten"]["count"]), "commit: %r" % got)
    s.reload(b)
    equal = b"./equal"
    t.equal(old[equal]["ino"], stack.look(b)[equal]["ino"], "the equal one")
    del want[equal]
    for m in (b, a):
        s.reload(m)
        found = stack.look(m, fields=fields)
        del found[equal]
        stack.same(t, want, found, "made again, in " + m)
    t.equal(old[b"./touched"]["ino"], want[b"./touched"]["ino"], "touched")


def test_moved_back(t):
    """A file that was moved away and back with other attributes is a change of
    attributes: the content that another published meanwhile stays.  One of the
    base, and one that the mount has published itself."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")

    def write(top, name, text):
        with open(os.path.join(top, name), "w", encoding="ascii") as f:
            f.write(text)

    write(a, "base", "one")
    s.share(a, a)
    write(a, "own", "one of its own")
    s.share(a, b)
    for name in ("base", "own"):
        path = os.path.join(a, name)
        os.rename(path, path + ".away")
        os.chmod(path + ".away", 0o600)
        os.rename(path + ".away", path)
        write(b, name, "two")
    s.commit(b)
    s.share(a, b)
    for name in ("base", "own"):
        with open(os.path.join(b, name), encoding="ascii") as f:
            t.equal("two", f.read(), "content of " + name)
            t.equal(0o600, os.fstat(f.fileno()).st_mode & 0o777, "mode")
