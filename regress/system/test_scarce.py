# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A role that gets no more of the system, be it room in files or descriptors:
who asked hears of it or waits, nothing acknowledged is lost, no role ends, and
all works when there is more again."""

import errno
import json
import os
import re
import resource
import threading

from sailtest import Failure, deadline, stack

NAMES = {resource.RLIMIT_NOFILE: "Max open files",
         resource.RLIMIT_FSIZE: "Max file size"}
# Then there is enough again.
TOO_LITTLE_S = 4
ROLES = ("fuse", "manifest", "cache", "fetch")


def limit(pid, what, to=None):
    """Reads it, or sets it as the user of that process: root need not be able
    to."""
    text = stack.read("/proc/%d/limits" % pid)
    soft, hard = [line for line in text.splitlines()
                  if line.startswith(NAMES[what])][0][26:].split()[:2]
    old = tuple(resource.RLIM_INFINITY if n == "unlimited" else int(n)
                for n in (soft, hard))
    if to is None:
        return old
    uid = stack.real_uid_of(pid)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            resource.prlimit(pid, what, to)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0 and stack.alive(pid):
        raise Failure("limits of pid %d" % pid)
    return old


class Site:
    def __init__(self, t, many=40):
        self.t = t
        self.s = s = stack.Stack(t)
        self.many, self.waited = many, 0
        self.d = s.daemon
        self.far = s.add_daemon()
        self.a = s.mount("v", "a", create=True)
        self.b = self.far.mount("v", "b")
        self.said, self.errors, self.n = {}, {}, 0
        self.cold()

    def cold(self):
        """Files that are not here: made by the other daemon."""
        self.n += 1
        for i in range(5):
            name = "cold%d-%d" % (self.n, i)
            text = name * 2000
            stack.write("%s/%s" % (self.b, name), text)
            self.said[name] = text
        self.s.ctl("commit", self.b)
        self.s.ctl("reload", "--keep", self.a)

    def limited(self, role, what, value):
        """What its processes had."""
        old = {}
        for pid in self.d.pids(role):
            old[pid] = limit(pid, what)
            new = value(pid)
            limit(pid, what, (new, old[pid][1]))
            self.t.true(not stack.alive(pid) or limit(pid, what)[0] == new,
                        "a limit of %s" % role)
        return old

    def free(self, what, old):
        for pid, limits in old.items():
            if stack.alive(pid):
                limit(pid, what, limits)

    def tries(self, f, *args):
        try:
            f(*args)
            return True
        except OSError as e:
            name = errno.errorcode[e.errno]
            self.errors[name] = self.errors.get(name, 0) + 1
            return False

    def work(self):
        """Changes, reads and a commit; what was done without an error counts."""
        for i in range(self.many):
            self.n += 1
            name = "new%d" % self.n
            text = name * (1 + self.n % 50)
            if self.tries(stack.write, "%s/%s" % (self.a, name), text):
                self.said[name] = text
        self.tries(os.listdir, self.a)
        old = sorted(n for n in self.said if n.startswith("new"))[:5]
        for name in old:
            if self.tries(os.rename, "%s/%s" % (self.a, name),
                          "%s/moved-%s" % (self.a, name)):
                self.said["moved-" + name] = self.said.pop(name)
        for name in [n for n in self.said if n.startswith("cold")]:
            self.tries(stack.read, "%s/%s" % (self.a, name))
        r = self.d.ctl("-j", "commit", self.a, ok=None)
        if r.returncode != 0:
            self.t.true(json.loads(r.stdout)["error"], "a commit says why")
            self.errors["commit"] = self.errors.get("commit", 0) + 1

    def check(self, what):
        t = self.t
        t.wait_for(lambda: self.d.ctl("commit", self.a,
                                      ok=None).returncode == 0,
                   what + ": a commit afterwards", 60)
        self.s.ctl("reload", self.b)
        for top in (self.a, self.b):
            for name, text in self.said.items():
                t.equal(text, stack.read("%s/%s" % (top, name)),
                        "%s: %s" % (what, name))
        t.equal(None, self.d.process.poll(), "the parent")

    def all(self, what, value, roles=ROLES):
        t = self.t
        for role in roles:
            old = self.limited(role, what, value)
            thread = threading.Thread(target=self.work, daemon=True)
            thread.start()
            thread.join(TOO_LITTLE_S)
            self.waited += thread.is_alive()
            self.free(what, old)
            thread.join(60)
            t.true(not thread.is_alive(), "%s: somebody waits though there is "
                   "enough" % role)
            self.check(role)
            self.cold()


    def summary(self):
        """And which roles ended, and how."""
        died = {}
        for m in re.finditer(r'role "([^"]*)" \(pid \d+\) (killed by signal '
                             r'\d+|exited with status \d+)', self.d.log()):
            if not m[1].startswith("notify"):
                died[m[1] + " " + m[2]] = died.get(m[1] + " " + m[2], 0) + 1
        return "errors: %s; %d waited; deaths: %s" % (
            self.errors, self.waited, died)


def descriptors(pid):
    """Room for two more."""
    return 2 + max(int(n) for n in os.listdir("/proc/%d/fd" % pid))


@deadline(240)
def test_descriptors(t):
    """Each role in turn has descriptors for two more files."""
    x = Site(t)
    x.all(resource.RLIMIT_NOFILE, descriptors)
    t.said = x.summary()


@deadline(240)
def test_file_size(t):
    """Each role in turn may not make a file longer than some KiB."""
    x = Site(t)
    x.all(resource.RLIMIT_FSIZE, lambda pid: 8192,
          ("fuse", "manifest", "cache"))
    t.said = x.summary()
