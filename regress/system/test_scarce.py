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
import signal
import threading
import time
import urllib.request

from sailtest import Failure, deadline, stack, tls

NAMES = {resource.RLIMIT_NOFILE: "Max open files",
         resource.RLIMIT_FSIZE: "Max file size",
         resource.RLIMIT_AS: "Max address space"}
# How a process says it.
WORDS = {resource.RLIMIT_NOFILE: "Too many open files",
         resource.RLIMIT_FSIZE: "File too large|disk is full|disk full",
         resource.RLIMIT_AS: "Cannot allocate memory|[Oo]ut of memory"}
# The role store is one of them.
EMBEDDED_STORE = ("test_server_descriptors", "test_server_file_size",
                  "test_server_memory")
# Then there is enough again.
TOO_LITTLE_S = 4
ROLES = ("fuse", "manifest", "cache", "fetch")
SERVER_ROLES = ("tls", "api", "meta", "sign", "fetch", "store")


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


def deaths(log):
    """{role and how: how often}, without notify, which comes and goes."""
    died = {}
    for m in re.finditer(r'role "([^"]*)" \(pid \d+\) (killed by signal '
                         r'\d+|exited with status \d+)', log):
        if not m[1].startswith("notify"):
            died[m[1] + " " + m[2]] = died.get(m[1] + " " + m[2], 0) + 1
    return died


def bites(log, role, what):
    """What a role says in that log of a limit, and how often it died; but not
    by us."""
    said = re.findall("^sail[a-z]*: %s( [^:]*)?: .*(%s)" % (role, WORDS[what]),
                      log, re.M)
    return len(said) + sum(n for name, n in deaths(log).items()
                           if name.split()[0] == role and
                           not name.endswith("signal 9"))


class Worker(threading.Thread):
    """Does f(); what it claims counts as if it were done here."""

    def __init__(self, f):
        super().__init__(daemon=True)
        self.f, self.failure = f, None
        self.start()

    def run(self):
        try:
            self.f()
        except BaseException as e:
            self.failure = e

    def ends(self, t, who):
        self.join(90)
        t.true(not self.is_alive(), "%s: somebody waits though there is "
               "enough" % who)
        if self.failure is not None:
            raise self.failure


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
        self.bitten = {}
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
        names = []
        self.tries(lambda: names.extend(os.listdir(self.a)))
        for name in names:
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
            if what == resource.RLIMIT_AS:
                self.young(role)
            log, heard = len(self.d.log()), sum(self.errors.values())
            old = self.limited(role, what, value)
            worker = Worker(self.work)
            worker.join(TOO_LITTLE_S)
            waits = worker.is_alive()
            self.waited += waits
            self.free(what, old)
            worker.ends(t, role)
            t.true(what == resource.RLIMIT_AS or
                   all(stack.alive(pid) for pid in old), role + " goes on")
            # Else it was no test of that role.
            self.bitten[role] = (sum(self.errors.values()) - heard, waits,
                                 bites(self.d.log()[log:], role, what))
            t.true(any(self.bitten[role]), "%s wanted nothing: %s" % (
                role, self.bitten))
            self.check(role)
            self.cold()

    def young(self, role):
        """A new one, which has no memory to spare."""
        old = set(self.d.pids(role))
        self.d.kill(role)
        self.t.wait_for(lambda: len(self.d.pids(role)) == len(old) and
                        not old & set(self.d.pids(role)) and all(
                            p["ready"] for p in self.d.ctl_json("status")[
                                "daemon"]["processes"]), "a new " + role, 60)

    def summary(self):
        """What each role's limit did: errors of programs, whether one waited,
        what it said itself and how often it ended."""
        return "%s; errors: %s; deaths: %s" % (
            self.bitten, self.errors, deaths(self.d.log()))


def descriptors(pid):
    """Room for no more, and what is closed gives none."""
    return 4


@deadline(240)
def test_descriptors(t):
    """Each role in turn has no descriptor for one more file."""
    x = Site(t)
    x.all(resource.RLIMIT_NOFILE, descriptors)
    t.said = x.summary()


def numbers(t):
    """What metrics of the daemon answers; None: nothing in a second."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%s/metrics" % stack.read(
                t.path("port")).strip(), timeout=1) as answer:
            return answer.read()
    except (OSError, http.client.HTTPException):
        return None


@deadline(240)
def test_metrics_descriptors(t):
    """metrics without a descriptor for one more connection lives, and answers
    when there is one."""
    s = stack.Stack(t, extra="metrics listen on 127.0.0.1 port 0 port file "
                    '"%s"\n' % t.path("port"))
    pids = s.daemon.pids("metrics")
    t.wait_for(lambda: numbers(t), "its answer")
    old = limit(pids[0], resource.RLIMIT_NOFILE)
    limit(pids[0], resource.RLIMIT_NOFILE, (4, old[1]))
    t.equal(None, numbers(t), "without a descriptor")
    limit(pids[0], resource.RLIMIT_NOFILE, old)
    t.wait_for(lambda: numbers(t), "its answer, again", 60)
    t.equal(pids, s.daemon.pids("metrics"), "it lives")


@deadline(240)
def test_parent_descriptors(t):
    """A parent without descriptors lives, says so, and starts a role that died
    when it has some again; a mount waits or is refused, and what is mounted goes on meanwhile."""
    t.expect_deaths = True
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    stack.write(a + "/f", "f")
    pid = d.process.pid
    old = limit(pid, resource.RLIMIT_NOFILE)
    limit(pid, resource.RLIMIT_NOFILE, (4, old[1]))
    asks = stack.spawn(s, "-s", d.socket, "mount", "v", s.point("b"))
    d.kill("cache")
    stack.write(a + "/g", "g")
    t.equal("f", stack.read(a + "/f"), "what was there")
    t.wait_for(lambda: WORDS[resource.RLIMIT_NOFILE] in d.log(), "it says so",
               20)
    t.equal(None, d.process.poll(), "the parent lives")
    limit(pid, resource.RLIMIT_NOFILE, old)
    t.wait_for(lambda: d.pids("cache"), "cache is there again", 60)
    t.wait_for(lambda: d.ctl("commit", a, ok=None).returncode == 0,
               "a commit", 60)
    status, _ = stack.end(asks)
    t.true(status in (0, 1), "a mount that was asked for: %d" % status)
    b = s.point("b") if status == 0 else s.mount("v", "b")
    s.reload(b)
    t.equal("g", stack.read(b + "/g"), "what was written meanwhile")


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
    t.expect_deaths = "any"
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
        self.bitten = {}

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
        log = len(self.s.daemon.log())
        begin()
        p = stack.spawn(self.s, "commit", self.a)
        until = time.monotonic() + 2

        def ask():
            while time.monotonic() < until:
                self.calls()

        asker = Worker(ask)
        asker.join(TOO_LITTLE_S)
        self.waits = asker.is_alive()
        end()
        asker.ends(t, what)
        status, answer = stack.end(p)
        # What the daemon heard, and asked again.
        self.again = len(re.findall(" again in |, try ",
                                    self.s.daemon.log()[log:]))
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

    def young(self, role):
        """A new one, which has no memory to spare."""
        old = set(self.pids(role))
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        self.t.wait_for(lambda: self.pids(role) and not old &
                        set(self.pids(role)) and self.s.server.up(),
                        "a new " + role, 60)

    def limited(self, role, what, value):
        old = {}
        if what == resource.RLIMIT_AS:
            self.young(role)
        log, heard = len(self.s.server.log()), sum(self.said.values())

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
        self.t.true(what == resource.RLIMIT_AS or
                    all(stack.alive(pid) for pid in old), role + " goes on")
        # Else it was no test of that role.
        self.bitten[role] = (sum(self.said.values()) - heard, self.again,
                             self.waits, bites(
                                 self.s.server.log()[log:], role, what))
        self.t.true(any(self.bitten[role]), "%s wanted nothing: %s" % (
            role, self.bitten))

    def summary(self):
        """What each role's limit did: errors of clients, how often the daemon
        asked again, whether one waited, what the role said itself."""
        return "%s; %s; deaths: %s" % (self.bitten, self.said, deaths(
            self.s.server.log()))


@deadline(240)
def test_server_descriptors(t):
    """Each role of sailapid in turn has no descriptor for one more file."""
    x = ServerSite(t, stack.Stack(t, authority=tls.Authority(t)))
    for role in SERVER_ROLES:
        x.limited(role, resource.RLIMIT_NOFILE, descriptors)
    t.said = x.summary()


@deadline(240)
def test_server_file_size(t):
    """Database and objects of sailapid may not become longer than some KiB."""
    x = ServerSite(t)
    for role in ("meta", "store"):
        x.limited(role, resource.RLIMIT_FSIZE, lambda pid: 8192)
    t.said = x.summary()


@deadline(240)
def test_server_memory(t):
    """Each role of sailapid in turn gets no more memory: it may end, and begins
    again."""
    t.expect_deaths = "any"
    x = ServerSite(t, stack.Stack(t, authority=tls.Authority(t)))
    for role in SERVER_ROLES:
        x.limited(role, resource.RLIMIT_AS, memory)
    t.said = x.summary()
