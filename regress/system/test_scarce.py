# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A role that gets no more of the system, be it room in files, descriptors or
memory: who asked hears of it or waits, nothing acknowledged is lost, no role ends
but for memory, and all works when there is more again."""

import errno
import http.client
import json
import os
import re
import resource
import threading
import time

from sailtest import Failure, deadline, stack

NAMES = {resource.RLIMIT_NOFILE: "Max open files",
         resource.RLIMIT_FSIZE: "Max file size",
         resource.RLIMIT_AS: "Max address space"}
# The role store is one of them.
EMBEDDED_STORE = ("test_server_descriptors", "test_server_file_size")
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


def look_into(path):
    for name in os.listdir(path):
        os.lstat("%s/%s" % (path, name))


class Site:
    def __init__(self, t, many=40, names=0):
        """names: in each new folder that is not here."""
        self.t, self.names = t, names
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
        if self.names:
            os.mkdir("%s/d%d" % (self.b, self.n))
        for i in range(self.names):
            os.close(os.open("%s/d%d/%s%d" % (self.b, self.n, "n" * 100, i),
                             os.O_CREAT | os.O_WRONLY))
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
        if self.names:
            self.much()
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

    def much(self):
        """What takes memory: folders of many names, read and made, and a file
        with attributes."""
        for name in os.listdir(self.a):
            if re.fullmatch(r"d\d+", name):
                self.tries(look_into, "%s/%s" % (self.a, name))
        self.n += 1
        top = "%s/m%d" % (self.a, self.n)
        if self.tries(os.mkdir, top):
            for i in range(self.names):
                self.tries(os.symlink, "x" * 500, "%s/%s%d" % (
                    top, "n" * 100, i))

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


def memory(pid):
    """What it has: nothing more is mapped."""
    for line in stack.read("/proc/%d/status" % pid).splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    return resource.RLIM_INFINITY


@deadline(240)
def test_memory(t):
    """Each role of content in turn gets no more memory: it may end, and begins
    again."""
    t.expect_deaths = True
    x = Site(t, names=700)
    x.all(resource.RLIMIT_AS, memory)
    t.said = x.summary()


class ServerSite:
    """What a server is asked for while one of its roles is short of something;
    what it acknowledged is there afterwards."""

    def __init__(self, t, s=None):
        self.t, self.s = t, s or stack.Stack(t)
        self.a = self.s.mount("v", "a", create=True)
        self.b = self.s.mount("v", "b")
        self.said, self.n, self.keys = {}, 0, []

    def pids(self, role):
        return [pid for pid, name in stack.children(self.s.server.process.pid)
                if name == role]

    def note(self, what):
        self.said[what] = self.said.get(what, 0) + 1

    def calls(self):
        """Each has an answer of the API, or none is taken at the moment."""
        for method, target, body in (
                ("GET", "/v1/volumes", None), ("GET", "/v1/volumes/v", None),
                ("POST", "/v1/keys", {"role": "read"})):
            try:
                status, answer = self.s.server.call(method, target, body)
            except (OSError, http.client.HTTPException) as e:
                self.note(type(e).__name__)
                continue
            if status < 300:
                if body:
                    self.keys.append(answer["key"])
                continue
            self.t.true(status in (503, 507) and answer["error"],
                        "%s %s: %d %s" % (method, target, status, answer))
            self.note("%d %s" % (status, answer["error"]["message"]
                                 if isinstance(answer["error"], dict)
                                 else answer["error"]))

    def short(self, what, begin, end):
        """A commit and calls between both; then the commit is done, and what it
        published is whole."""
        t = self.t
        for _ in range(3):
            self.n += 1
            with open("%s/f%d" % (self.a, self.n), "wb") as f:
                f.write(os.urandom(300000))
        begin()
        p = stack.spawn(self.s, "commit", self.a)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            self.calls()
        end()
        status, answer = stack.end(p)
        if status != 0:
            self.note("commit: %s" % answer)
            t.wait_for(lambda: self.s.ctl("commit", self.a,
                                          ok=None).returncode == 0,
                       what + ": a commit afterwards", 60)
        self.s.reload(self.b)
        stack.same(t, stack.look(self.a, fields=()),
                   stack.look(self.b, fields=()), what)
        for key in self.keys:
            t.equal(200, self.s.server.call("GET", "/v1/whoami", key=key)[0],
                    what + ": a key that was made")

    def limited(self, role, what, value):
        old = {}

        def begin():
            for pid in self.pids(role):
                old[pid] = limit(pid, what)
                limit(pid, what, (value(pid), old[pid][1]))

        def end():
            for pid, limits in old.items():
                if stack.alive(pid):
                    limit(pid, what, limits)

        self.short(role, begin, end)
        self.t.true(old, "there is a role " + role)
        self.t.true(all(stack.alive(pid) for pid in old), role + " goes on")


@deadline(240)
def test_server_descriptors(t):
    """Each role of sailapid in turn has descriptors for two more files."""
    x = ServerSite(t)
    for role in ("api", "meta", "sign", "fetch", "store"):
        x.limited(role, resource.RLIMIT_NOFILE, descriptors)
    t.said = str(x.said)


@deadline(240)
def test_server_file_size(t):
    """Database and objects of sailapid may not become longer than some KiB."""
    x = ServerSite(t)
    for role in ("meta", "store"):
        x.limited(role, resource.RLIMIT_FSIZE, lambda pid: 8192)
    t.said = str(x.said)
