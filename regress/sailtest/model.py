# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The whole service as a dictionary of paths: what a mount shows, what it has
seen, what a commit makes of the head by the table of the merge, and what a
reload shows then.  Slow and plain on purpose; it knows no journals, nodes,
chunks, processes or time.

Of a directory's identity it knows what the table of the merge needs: one that
was removed and made again is another.  Not told apart are two that were
published empty, and two that the mount has made since its last reload.
"""

import collections
import errno
import itertools
import os

ROOT = ""
EMPTY = -1      # the identity of a directory that was published empty
OWN = -2        # of one that this mount has made
PUT, ATTR, DELETE = "put", "attr", "delete"
NOREPLACE, EXCHANGE = 1, 2

# kind: "f", "d", "l" (symlink), "p" (fifo).  data: bytes, target or None.
Entry = collections.namedtuple(
    "Entry", "kind data mode uid xattrs mtime ident")


def content(e):
    return e.kind, e.data


def attributes(e):
    return e.mode, e.uid, e.xattrs, e.mtime


def same(a, b):
    """What "seen" compares; None: nothing is there."""
    if a is None or b is None:
        return a is b
    return content(a) == content(b) and attributes(a) == attributes(b)


def is_dir(e):
    return e is not None and e.kind == "d"


def above(path):
    """The directories above, from the top, without the root."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def below(tree, path):
    return [p for p in tree if p.startswith(path + "/")]


def in_order(paths):
    """A directory before what is in it."""
    return sorted(paths, key=lambda p: p.split("/"))


def fail(number):
    raise OSError(number, os.strerror(number))


class Inode:
    """What names of one mount stand for."""

    serial = itertools.count(1)

    def __init__(self, kind, data, mode, uid=0, xattrs=(), mtime=0,
                 ident=None):
        self.kind, self.data, self.mode, self.uid = kind, data, mode, uid
        self.xattrs, self.mtime = dict(xattrs), mtime
        self.ident = ident or (OWN if kind == "d" else next(self.serial))
        # Open to be written since the last commit began.
        self.written, self.unsure = ident is None, False

    @classmethod
    def of(cls, e):
        return cls(e.kind, e.data, e.mode, e.uid, e.xattrs, e.mtime, e.ident)

    def entry(self):
        return Entry(self.kind, self.data, self.mode, self.uid,
                     tuple(sorted(self.xattrs.items())),
                     self.mtime if self.kind == "f" else 0, self.ident)

    # ---- what programs do with an open file ----

    def pwrite(self, data, at):
        old = self.data.ljust(at, b"\0")
        self.data = old[:at] + data + old[at + len(data):]

    def truncate(self, size):
        self.data = self.data[:size].ljust(size, b"\0")


class Mount:
    """view: {path: Inode}; seen: {path: Entry}."""

    def __init__(self, head, ident):
        self.view, self.seen = {}, {}
        self.load(head, ident)

    # ---- names ----

    def get(self, path):
        """What a path leads to; symlinks are not followed."""
        for d in above(path):
            if d not in self.view:
                fail(errno.ENOENT)
            if self.view[d].kind != "d":
                fail(errno.ENOTDIR)
        if path not in self.view:
            fail(errno.ENOENT)
        return self.view[path]

    def make(self, path, inode):
        for d in above(path):
            self.get(d)
            if self.view[d].kind != "d":
                fail(errno.ENOTDIR)
        if path in self.view:
            fail(errno.EEXIST)
        self.view[path] = inode
        return inode

    def links(self, inode):
        return sum(1 for i in self.view.values() if i is inode)

    def link(self, path, to):
        inode = self.get(path)
        self.make(to, inode)
        if inode.kind == "d":
            del self.view[to]
            fail(errno.EPERM)

    def unlink(self, path):
        if self.get(path).kind == "d":
            fail(errno.EISDIR)
        del self.view[path]

    def rmdir(self, path):
        if self.get(path).kind != "d":
            fail(errno.ENOTDIR)
        if below(self.view, path):
            fail(errno.ENOTEMPTY)
        del self.view[path]

    def rename(self, path, to, flags=0):
        inode = self.get(path)
        for d in above(to):
            if self.get(d).kind != "d":
                fail(errno.ENOTDIR)
        over = self.view.get(to)
        if flags == NOREPLACE and over is not None:
            fail(errno.EEXIST)
        if flags == EXCHANGE and over is None:
            fail(errno.ENOENT)
        if to.startswith(path + "/"):
            fail(errno.EINVAL)
        if path.startswith(to + "/"):
            fail(errno.EINVAL if flags == EXCHANGE else errno.ENOTEMPTY)
        if inode is over:
            return
        if flags == EXCHANGE:
            moved = self._take(path)
            self.view.update({path + p: i for p, i in self._take(to).items()})
            self.view.update({to + p: i for p, i in moved.items()})
            return
        if over is not None:
            if inode.kind == "d" and over.kind != "d":
                fail(errno.ENOTDIR)
            if inode.kind != "d" and over.kind == "d":
                fail(errno.EISDIR)
            if below(self.view, to):
                fail(errno.ENOTEMPTY)
            del self.view[to]
        self.view.update({to + p: i for p, i in self._take(path).items()})

    def _take(self, path):
        """Takes a path and all below it out; {rest of the path: Inode}."""
        return {p[len(path):]: self.view.pop(p)
                for p in [path] + below(self.view, path)}

    def setxattr(self, path, name, value, flags=0):
        inode = self.get(path)
        if flags == os.XATTR_CREATE and name in inode.xattrs:
            fail(errno.EEXIST)
        if flags == os.XATTR_REPLACE and name not in inode.xattrs:
            fail(errno.ENODATA)
        inode.xattrs[name] = value

    def removexattr(self, path, name):
        inode = self.get(path)
        if name not in inode.xattrs:
            fail(errno.ENODATA)
        del inode.xattrs[name]

    # ---- commit and reload ----

    def shown(self):
        return {p: i.entry() for p, i in self.view.items()}

    def delta(self):
        """{path: operation}."""
        return delta(self.seen, self.shown())

    def based(self, head, written=()):
        """What the head shows.  A file that it leaves as it is stays the same
        one, which is what its open handles have; but writers go on into the
        stash."""
        view = {}
        for p, e in head.items():
            old = self.view.get(p)
            view[p] = old if old is not None and not is_dir(e) and (
                old.entry() == e and old not in written) else Inode.of(e)
        return view

    def load(self, head, ident, written=()):
        """What a reload shows; written: by open handles."""
        self.view, self.seen = self.based(head, written), dict(head)
        self.last = self.base = ident

    def committed(self, head, ident, written=()):
        """What was published has been seen from now on; written: by open
        handles."""
        ops = self.delta()
        for p, kind in ops.items():
            inode = self.view.get(p)
            if kind != DELETE and inode.kind == "d" and inode.ident != OWN and (
                    is_dir(head.get(p)) and not below(head, p)):
                inode.ident = EMPTY
        for inode in self.view.values():
            inode.written = inode in written
        self.seen = self.shown()
        self.last = ident

    def keep(self, head, ident):
        """reload --keep: what was changed, or may have been, stays in view
        above the new head, and what was seen there is not renewed; where there
        is none, nothing is done."""
        if ident == self.base:
            return
        shown, seen = self.shown(), self.seen
        view, now, kept = self.based(head), dict(head), set()
        ops = delta(seen, shown)
        for p, inode in self.view.items():
            if inode.written and inode.kind == "f":
                ops[p] = PUT

        def replace(path, bring):
            for tree in (view, now):
                for q in [path] + below(tree, path):
                    tree.pop(q, None)
            for q in [path] + below(seen, path):
                if q in seen:
                    now[q] = seen[q]
            if bring:
                for q in [path] + below(shown, path):
                    view[q] = self.view[q]
                    kept.add(q)

        done = set()
        for p in in_order(ops):
            if any(d in done for d in above(p)):
                continue
            if ops[p] == DELETE:
                if p in head and p in view:
                    replace(p, False)
                    done.add(p)
            elif ops[p] == PUT:
                for d in above(p):
                    if not is_dir(now.get(d)) and not is_dir(view.get(d)):
                        replace(d, False)
                        for q in below(now, d):
                            del now[q]
                        view[d] = self.view[d]
                replace(p, True)
                done.add(p)
            elif p in head and p in view and head[p].kind == shown[p].kind:
                view[p], now[p] = self.view[p], seen[p]
                kept.add(p)
        # What links made one file comes apart: the head has a name, this mount
        # the other.
        ours = {id(view[p]) for p in kept if p in view}
        for p in view:
            if p not in kept and id(view[p]) in ours and p in head:
                view[p] = Inode.of(head[p])
        self.view, self.seen, self.last, self.base = view, now, ident, ident


def delta(seen, view):
    """What a commit asks for.  What is below a directory that was seen and is
    not there any more goes with it, and is put again."""
    ops, gone = {}, set()
    for p in in_order(set(seen) | set(view)):
        s, v = seen.get(p), view.get(p)
        inside = any(d in gone for d in above(p))
        stays = is_dir(s) and is_dir(v) and s.ident == v.ident
        if is_dir(s) and not stays:
            gone.add(p)
        if v is None:
            ops[p] = DELETE
        elif inside:
            ops[p] = PUT
        elif stays:
            if not same(s, v):
                ops[p] = ATTR
        elif is_dir(v) or s is None:
            ops[p] = PUT
        elif not same(s, v):
            ops[p] = ATTR if v.kind == "f" and content(s) == content(v) and (
                s.ident == v.ident) else PUT
    return ops


def merge(head, seen, view):
    """The head after a commit, and the paths that it overwrote: the table of
    the merge, from the deepest paths up."""
    ops = delta(seen, view)
    result, lost, filled = {}, set(), set()
    flat = [p for p in ops if ops[p] == PUT and not is_dir(view[p])]
    there = set(head) | set(ops)
    there.update(d for p in ops for d in above(p))
    for p in reversed(in_order(there)):
        h, v, op = head.get(p), view.get(p), ops.get(p)
        changed = not same(h, seen.get(p))
        new = h
        if any(d in flat for d in above(p)):
            new = None
            if h is not None and changed:
                lost.add(p)
        elif op == PUT:
            if not same(h, v):
                new = v
                if changed:
                    lost.add(p)
        elif p in filled and not is_dir(h):
            new = v             # a directory that others removed
            lost.add(p)
        elif op == ATTR:
            if h is not None and h.kind == v.kind and (
                    attributes(h) != attributes(v)):
                new = h._replace(mode=v.mode, uid=v.uid, xattrs=v.xattrs,
                                 mtime=v.mtime)
                if attributes(h) != attributes(seen[p]):
                    lost.add(p)
        elif op == DELETE and p not in filled:
            new = None
            if h is not None and changed:
                lost.add(p)
        if new is not None:
            result[p] = new
            filled.update(above(p))
    return identified(head, result), lost


def identified(before, head):
    """Each published entry has an identity of its own: names of one file are
    files of their own, and directories without a name in them are equal."""
    out = {}
    used = {e.ident for p, e in head.items() if before.get(p) == e}
    for p in in_order(head):
        e = head[p]
        if is_dir(e):
            if not below(head, p):
                e = e._replace(ident=EMPTY)
            elif e.ident in (EMPTY, OWN):
                e = e._replace(ident=next(Inode.serial))
        elif before.get(p) != e:
            if e.ident in used:
                e = e._replace(ident=next(Inode.serial))
            used.add(e.ident)
        out[p] = e
    return out
