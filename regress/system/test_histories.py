# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Random histories of three mounts against a model: a dictionary of paths, to
which commits are applied path by path, by the table of the merge."""

import os
import random
import shutil
import stat

from sailtest import deadline, stack

BOTH_STORES = True

NAMES = ("a", "b", "c", "d", "e")
DEPTH = 3


# ---- the model: {path: ("d", mode) | ("f", bytes, mode, mtime) | ("l", target)} ----

def above(path):
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def below(tree, path):
    return [p for p in tree if p.startswith(path + "/")]


def content(e):
    return e[:1] if e[0] == "d" else e[:2]


def make_room(tree, path, shown):
    """The directories above path, as the committer showed them."""
    for d in above(path):
        if tree.get(d, ("", 0))[0] != "d":
            tree[d] = shown[d]


def apply(head, seen, view):
    """What differs between seen and view, put onto head."""
    head = dict(head)
    changed = [p for p in set(seen) | set(view) if seen.get(p) != view.get(p)]
    for p in sorted(changed, reverse=True):
        if p not in view and p in head and not (
                head[p][0] == "d" and below(head, p)):
            del head[p]
    for p in sorted(changed):
        if p not in view:
            continue
        e, was = view[p], seen.get(p)
        if was is not None and content(was) == content(e):
            if p in head:          # attr
                now = head[p]
                if now[0] == e[0]:
                    head[p] = content(now) + e[len(content(e)):]
            continue
        make_room(head, p, view)
        if e[0] != "d":
            for q in below(head, p):
                del head[q]
        head[p] = e
    return head


def look(top):
    out = {}
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            if stat.S_ISLNK(st.st_mode):
                e = ("l", os.readlink(path))
            elif stat.S_ISDIR(st.st_mode):
                e = ("d", stat.S_IMODE(st.st_mode))
            else:
                with open(path, "rb") as f:
                    e = ("f", f.read(), stat.S_IMODE(st.st_mode),
                         int(st.st_mtime))
            out[os.path.relpath(path, top)] = e
    return out


# ---- one mount and its part of the model --------------------------------------------

class Actor:
    def __init__(self, path, rng, serial):
        self.path, self.rng, self.serial = path, rng, serial
        self.seen, self.view = {}, {}

    def at(self, path):
        return os.path.join(self.path, path)

    def some(self, kinds="dfl"):
        have = [p for p in self.view if self.view[p][0] in kinds]
        return self.rng.choice(sorted(have)) if have else None

    def free_name(self, over=True):
        """A path whose parent is a directory; it may be there."""
        dirs = [""] + [p for p in self.view if self.view[p][0] == "d" and
                       p.count("/") < DEPTH - 1]
        d = self.rng.choice(sorted(dirs))
        p = os.path.join(d, self.rng.choice(NAMES))
        return p if over or p not in self.view else None

    def was_directory(self, p):
        """A directory that is made again is a put of its own: not modelled."""
        return self.seen.get(p, "-")[0] == "d"

    def put_file(self, p, data, mode):
        self.serial[0] += 1
        with open(self.at(p), "wb") as f:
            f.write(data)
        os.chmod(self.at(p), mode)
        os.utime(self.at(p), (self.serial[0], self.serial[0]))
        self.view[p] = ("f", data, mode, self.serial[0])

    def data(self, times):
        """Bytes that no other file has: one that takes the place of another
        with the same bytes is a put, not a change of attributes, which the
        model cannot tell apart (test_merge_mounts.test_made_again)."""
        self.serial[0] += 1
        return b"%d " % self.serial[0] * times

    def write(self):
        p = self.free_name()
        if self.view.get(p, "f")[0] == "f":
            self.put_file(p, self.data(self.rng.randrange(1, 40)),
                          self.rng.choice((0o644, 0o600, 0o755)))

    def mkdir(self):
        p = self.free_name(over=False)
        if p and not self.was_directory(p):
            mode = self.rng.choice((0o755, 0o700))
            os.mkdir(self.at(p), mode)
            os.chmod(self.at(p), mode)
            self.view[p] = ("d", mode)

    def symlink(self):
        p = self.free_name(over=False)
        if p:
            # As with data(): one that is made again is another one.
            self.serial[0] += 1
            target = "%s%d" % (self.rng.choice(NAMES), self.serial[0])
            os.symlink(target, self.at(p))
            self.view[p] = ("l", target)

    def remove(self):
        p = self.some()
        if p is None:
            return
        if self.view[p][0] == "d":
            shutil.rmtree(self.at(p))
        else:
            os.unlink(self.at(p))
        for q in [p] + below(self.view, p):
            del self.view[q]

    def chmod(self):
        p = self.some("df")
        if p:
            mode = self.rng.choice((0o755, 0o700, 0o711))
            os.chmod(self.at(p), mode)
            e = self.view[p]
            self.view[p] = (e[:1] + (mode,) if e[0] == "d" else
                            e[:2] + (mode,) + e[3:])

    def touch(self):
        p = self.some("f")
        if p:
            self.serial[0] += 1
            os.utime(self.at(p), (self.serial[0], self.serial[0]))
            self.view[p] = self.view[p][:3] + (self.serial[0],)

    def rename(self):
        p, q = self.some(), self.free_name()
        if p is None or q == p or (q + "/").startswith(p + "/") or (
                p + "/").startswith(q + "/"):
            return
        deep = max([x.count("/") for x in [p] + below(self.view, p)])
        if deep - p.count("/") + q.count("/") >= DEPTH:
            return
        old = self.view.get(q)
        is_dir = self.view[p][0] == "d"
        if is_dir and self.was_directory(q):
            return
        if old is not None and (is_dir != (old[0] == "d") or
                                below(self.view, q)):
            return
        os.rename(self.at(p), self.at(q))
        for x in [p] + below(self.view, p):
            self.view[q + x[len(p):]] = self.view.pop(x)

    def swap_kind(self):
        """A directory where a file was, or the other way."""
        p = self.some("df")
        if p is None:
            return
        if self.view[p][0] == "d":
            for x in [p] + below(self.view, p):
                del self.view[x]
            shutil.rmtree(self.at(p))
            self.put_file(p, self.data(1), 0o644)
        elif not self.was_directory(p):
            os.unlink(self.at(p))
            os.mkdir(self.at(p), 0o755)
            self.view[p] = ("d", 0o755)

    def change(self):
        self.rng.choice((self.write, self.write, self.write, self.mkdir,
                         self.mkdir, self.symlink, self.remove, self.chmod,
                         self.touch, self.rename, self.rename,
                         self.swap_kind))()


def compare(t, want, got, what):
    if want != got:
        t.fail("%s\n%s" % (what, "\n".join(
            "%s: expected %.200r, actual %.200r" % (
                p, want.get(p), got.get(p))
            for p in sorted(set(want) | set(got))
            if want.get(p) != got.get(p))))


def history(t, s, number, seed, steps):
    rng, serial, head = random.Random(seed), [1000], {}
    actors = [Actor(s.mount("v%d" % number, "%s%d" % (name, number),
                            create=True), rng, serial) for name in "abc"]
    story = []
    for step in range(steps):
        who = rng.randrange(3)
        a, what = actors[who], rng.random()
        if what < 0.72:
            for _ in range(rng.randrange(1, 5)):
                a.change()
            story.append("%s changes" % "ABC"[who])
        elif what < 0.84:
            s.commit(a.path)
            head = apply(head, a.seen, a.view)
            a.seen = dict(a.view)
            story.append("%s commits" % "ABC"[who])
        elif what < 0.91:
            s.reload(a.path)
            a.seen, a.view = dict(head), dict(head)
            story.append("%s reloads" % "ABC"[who])
        else:
            # What was seen is not renewed: it commits what it would have.
            s.reload(a.path, "--keep")
            s.commit(a.path)
            head = apply(head, a.seen, a.view)
            s.reload(a.path)
            a.seen, a.view = dict(head), dict(head)
            story.append("%s keeps, commits, reloads" % "ABC"[who])
        compare(t, a.view, look(a.path), "seed %d, step %d: %s" % (
            seed, step, ", ".join(story)))
    for a in actors:
        s.commit(a.path)
        head = apply(head, a.seen, a.view)
    for a in actors:
        s.reload(a.path)
        compare(t, head, look(a.path), "seed %d: the end" % seed)
        s.daemon.umount(a.path)


@deadline(300)
def test_histories(t):
    """Three mounts change, commit and reload at random; in the end all show
    what the model has."""
    s = stack.Stack(t)
    first = t.seed()
    for i in range(8):
        history(t, s, i, first + i, 60)
