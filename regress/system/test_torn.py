# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""kill -9 of fuse just when a change stands in the journal, and in nothing else
yet, and just before, and then of those that are started for it while they take
over: the call of the program succeeds, once, and each name leads to what it
should, also one that is made again."""

import errno
import os
import random
import signal
import stat
import statistics
import subprocess
import threading
import time

from sailtest import deadline, histories, model, stack

MAKE, LINK, REMOVE, RENAME, XATTR = 3, 4, 5, 6, 8    # enum record_type


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    stack.write(path, text)


def again(path):
    """Of a name that is free: another thing of that name is another thing."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    stack.write(path, "another\n")
    check(path, "another\n")


def check(path, want):
    got = stack.read(path)
    if got != want:
        raise AssertionError("%s: expected %r, actual %r" % (path, want, got))


def held(f, want):
    f.seek(0)
    got = f.read()
    if got != want:
        raise AssertionError("%s, which is open: expected %r, actual %r" % (
            f.name, want, got))


def text(path):
    return open(path, encoding="ascii")


# Each a generator: what is open before; at the yield fuse is watched; then the
# one call, and what must be then.

def rename(top):
    with text(top + "/n") as f:
        yield RENAME
        os.rename(top + "/n", top + "/m")
        held(f, "n\n")
        again(top + "/n")
        held(f, "n\n")
        check(top + "/m", "n\n")
        os.fstat(f.fileno())


def rename_away(top):
    with text(top + "/d/n") as f:
        yield RENAME
        os.rename(top + "/d/n", top + "/e/m")
        again(top + "/d/n")
        check(top + "/e/m", "n\n")
        held(f, "n\n")


def rename_over(top):
    with text(top + "/n") as f, text(top + "/m") as g:
        yield RENAME
        os.rename(top + "/n", top + "/m")
        held(g, "m\n")
        held(f, "n\n")
        check(top + "/m", "n\n")
        again(top + "/n")
        held(g, "m\n")
        os.unlink(top + "/m")
        again(top + "/m")
        held(f, "n\n")
        held(g, "m\n")


def exchange(top):
    with text(top + "/n") as f:
        yield RENAME
        histories.rename2(top + "/n", top + "/m", model.EXCHANGE)
        check(top + "/m", "n\n")
        check(top + "/n/f", "f\n")
        held(f, "n\n")
        os.unlink(top + "/m")
        again(top + "/m")
        held(f, "n\n")
        check(top + "/n/f", "f\n")


def rename_folder(top):
    with text(top + "/d/in/f") as f:
        yield RENAME
        os.rename(top + "/d", top + "/e/d")
        write(top + "/d/in/f", "another\n")
        check(top + "/d/in/f", "another\n")
        check(top + "/e/d/in/f", "f\n")
        held(f, "f\n")


def unlink(top):
    with text(top + "/n") as f:
        yield REMOVE
        os.unlink(top + "/n")
        held(f, "n\n")
        again(top + "/n")
        held(f, "n\n")
        if os.fstat(f.fileno()).st_nlink != 0:
            raise AssertionError("unlinked, and it has a link")


def unlink_one(top):
    os.link(top + "/n", top + "/m")
    with text(top + "/n") as f:
        yield REMOVE
        os.unlink(top + "/n")
        again(top + "/n")
        check(top + "/m", "n\n")
        held(f, "n\n")


def rmdir(top):
    yield REMOVE
    os.rmdir(top + "/d")
    again(top + "/d")


def create(top):
    yield MAKE
    again(top + "/n")
    os.unlink(top + "/n")
    again(top + "/n")


def mkdir(top):
    yield MAKE
    os.mkdir(top + "/n", 0o750)
    again(top + "/n/f")
    if stat.S_IMODE(os.stat(top + "/n").st_mode) != 0o750:
        raise AssertionError("mode of a new folder")


def symlink(top):
    yield MAKE
    os.symlink("to", top + "/n")
    if os.readlink(top + "/n") != "to":
        raise AssertionError("target of a link")


def link(top):
    yield LINK
    os.link(top + "/n", top + "/m")
    check(top + "/m", "n\n")
    os.unlink(top + "/n")
    again(top + "/n")
    check(top + "/m", "n\n")


def xattr(top):
    yield XATTR
    os.setxattr(top + "/n", "user.x", b"1", os.XATTR_CREATE)
    os.removexattr(top + "/n", "user.x")
    os.setxattr(top + "/n", "user.x", b"2", os.XATTR_CREATE)


def one_of_two(call, *args):
    """Two at the same time: one wins, the other is told by whom."""
    said = []

    def attempt():
        try:
            call(*args)
            said.append(0)
        except OSError as e:
            said.append(e.errno)

    both = [threading.Thread(target=attempt) for _ in range(2)]
    for x in both:
        x.start()
    for x in both:
        x.join()
    return sorted(said)


def race(top):
    """The same lock file twice, then both take it away."""
    def create(path):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))

    yield MAKE
    got = (one_of_two(create, top + "/n"), one_of_two(os.mkdir, top + "/d"),
           one_of_two(os.unlink, top + "/n"), one_of_two(os.rmdir, top + "/d"))
    want = ([0, errno.EEXIST],) * 2 + ([0, errno.ENOENT],) * 2
    if got != want:
        raise AssertionError("expected %s, actual %s" % (want, got))


def race_away(top):
    yield REMOVE
    got = one_of_two(os.unlink, top + "/n"), one_of_two(
        os.rename, top + "/m", top + "/o")
    want = ([0, errno.ENOENT],) * 2
    if got != want:
        raise AssertionError("expected %s, actual %s" % (want, got))


# What each begins with: files, and folders.
CASES = {
    rename: ("n",), rename_away: ("d/n", "e/other"),
    rename_over: ("n", "m"), exchange: ("n", "m/f"),
    rename_folder: ("d/in/f", "e/other"), unlink: ("n",),
    unlink_one: ("n",), rmdir: ("d/",), create: (), mkdir: (), symlink: (),
    link: ("n",), xattr: ("n",), race: (), race_away: ("n", "m")}
WAYS = [(kind, when) for kind in ("clean", "dirty")
        for when in ("after", "before")]
YOUNG = 2           # are killed after it, within so long after their chroot
YOUNG_S = 0.05


def prepare(top, case):
    os.makedirs(top)
    for name in CASES[case]:
        path = os.path.join(top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not name.endswith("/"):
            stack.write(path, os.path.basename(name) + "\n")


def journal_of(pid):
    """The folder of the journal of a fuse; None: it has none yet."""
    try:
        for fd in os.listdir("/proc/%d/fd" % pid):
            path = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            if "/journal/" in path:
                return os.path.dirname(path)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


class Young(threading.Thread):
    """Kills a fuse that takes over, where that is wanted."""

    def __init__(self, d, rng):
        super().__init__()
        self.d, self.rng = d, rng
        self.tried, self.ends, self.ages = [], threading.Event(), []

    def run(self):
        known, due = set(), []
        while not self.ends.is_set():
            for pid in stack.child_pids_now(self.d.process.pid):
                one = None if pid in known else self.of_mount(pid)
                if one is None:
                    continue
                known.add(pid)
                if one.young > 0:
                    at = time.monotonic()
                    due.append((at + self.rng.random() * YOUNG_S, at, pid, one))
            for entry in [x for x in due if x[0] <= time.monotonic()]:
                _, at, pid, one = entry
                due.remove(entry)
                os.kill(pid, signal.SIGKILL)
                self.ages.append(time.monotonic() - at)
                one.killed += 1
                one.young -= 1
            time.sleep(0.002)

    def of_mount(self, pid):
        """Which it is for; None: it does not say yet."""
        try:
            root = os.readlink("/proc/%d/root" % pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return next((x for x in self.tried if x.root == root), None)


class Tried:
    """A case, in a mount of its own."""

    def __init__(self, t, d, case):
        self.t, self.d, self.case = t, d, case
        before = set(d.pids("fuse"))
        self.top = d.mount("v", case.__name__)
        new = set(d.pids("fuse")) - before
        t.equal(1, len(new), "a fuse for each mount")
        pid = new.pop()
        self.journal = journal_of(pid)
        self.root = os.readlink("/proc/%d/root" % pid)
        self.young = 0              # so many are to be killed that start
        self.wrong, self.killed = [], 0

    def fuse(self):
        for pid in self.d.pids("fuse"):
            if journal_of(pid) == self.journal:
                return pid
        return None

    def run(self):
        for kind, when in WAYS:
            what = "%s-%s-%s" % (kind, when, self.case.__name__)
            try:
                self.one(os.path.join(self.top, what), kind, when)
            except Exception as e:
                self.wrong.append("%s: %s: %s" % (what, type(e).__name__, e))

    def one(self, top, kind, when):
        if kind == "dirty":
            prepare(top, self.case)
        stack.look(top)
        steps = self.case(top)
        record = next(steps)
        self.t.wait_for(self.fuse, "a fuse")
        watch = subprocess.Popen(
            [os.path.join(self.t.repo, self.t.obj,
                          "regress/hostile/journal_kill"),
             str(self.fuse()), str(record), when],
            stdout=subprocess.PIPE, encoding="ascii")
        with watch:
            if watch.stdout.readline() != "armed\n":
                raise AssertionError("fuse is not watched")
            self.young = YOUNG
            try:
                for _ in steps:
                    raise AssertionError("there is one call")
            finally:
                if watch.stdout.readline() != "killed\n":
                    watch.kill()
                    raise AssertionError("fuse was not killed")
                self.killed += 1
        self.t.wait_for(lambda: self.young == 0, "its followers die", 60)


@deadline(300)
def test_torn(t):
    s = stack.Stack(t)
    d = s.daemon
    t.expect_deaths = True
    first = s.mount("v", "first", create=True)
    for case in CASES:
        for kind, when in WAYS:
            if kind == "clean":
                prepare("%s/%s-%s-%s" % (first, kind, when, case.__name__),
                        case)
    s.commit(first)
    d.umount(first)
    young = Young(d, random.Random(t.seed()))
    young.tried = tried = [Tried(t, d, case) for case in CASES]
    young.start()
    threads = [threading.Thread(target=x.run) for x in tried]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    young.ends.set()
    young.join()
    wrong = [w for x in tried for w in x.wrong]
    if wrong:
        t.fail("\n".join(wrong))
    killed = sum(x.killed for x in tried)
    t.equal(len(CASES) * len(WAYS) * (1 + YOUNG), killed, "kills")
    t.count("kills survived", killed)
    t.said = "%d kills within a change, and %d of who took over then, %.0f ms " \
        "after they began, by the median" % (
            killed - len(young.ages), len(young.ages),
            1000 * statistics.median(young.ages))
