# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A server and daemons of a test's own, with mounts below its directory.

    s = Stack(t)
    a, b = s.mount("vol", "a", create=True), s.mount("vol", "b")
    ... s.commit(a) ... s.reload(b)

With SAIL_PASSTHROUGH=no in the environment the daemons pass no files through.
"""

import hashlib
import json
import os
import signal
import stat
import subprocess

from sailtest import Failure, gateway, proxy, server

USERS_FROM = 61100


def real_uid_of(pid):
    """None: it has ended."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii",
                  errors="replace") as f:
            for line in f:
                if line.startswith("Uid:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def children(ppid):
    """[(pid, command name)] of the living children of a process."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/stat" % pid, encoding="utf-8",
                      errors="replace") as f:
                text = f.read()
        except (OSError, ValueError):
            continue
        name, rest = text[text.index("(") + 1:].rsplit(")", 1)
        rest = rest.split()
        if int(rest[1]) == ppid and rest[0] != "Z":
            found.append((int(pid), name))
    return sorted(found)


def child_pids_now(ppid):
    """Dead ones, too, that nobody has waited for; of those that come and go just
    now one may be missing."""
    try:
        with open("/proc/%d/task/%d/children" % (ppid, ppid),
                  encoding="ascii") as f:
            return [int(pid) for pid in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def children_now(ppid):
    """As children(), and much cheaper; as above one may be missing."""
    found = []
    for pid in child_pids_now(ppid):
        try:
            with open("/proc/%d/stat" % pid, encoding="utf-8",
                      errors="replace") as f:
                text = f.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, rest = text[text.index("(") + 1:].rsplit(")", 1)
        if rest.split()[0] != "Z":
            found.append((pid, name))
    return found


class FixedServer(server.Server):
    """A sailapid whose ports stay when it starts again."""

    def __init__(self, t, extra="", **kwargs):
        self.ports = t.free_port(), t.free_port()
        super().__init__(t, extra, **kwargs)

    def configure(self, extra):
        conf = super().configure(extra)
        with open(conf, encoding="utf-8") as f:
            text = f.read()
        for port in self.ports:
            text = text.replace(" port 0 ", " port %d " % port, 1)
        return self.t.write("%s/sailapid.conf" % self.name, text)


class Daemon:
    """One sailvold: its own folders, socket, users and mounts."""

    def __init__(self, stack, name, key=None, extra="", api=None, number=0,
                 start=True):
        self.stack, self.t, self.name = stack, stack.t, name
        self.dir = self.t.path(name)
        os.mkdir(self.dir, 0o711)
        self.key = key or stack.server.key
        self.api = api or stack.url
        self.number = number
        self.process = None
        self.program = os.path.join(self.t.repo, "sailvold", "sailvold")
        self.socket = os.path.join(self.dir, "sock")
        self.conf = self.configure(extra)
        if start:
            self.start()

    def configure(self, extra=""):
        self.t.write("%s/key" % self.name, self.key + "\n", 0o600)
        authority = self.stack.server.authority
        return self.t.write("%s/sailvold.conf" % self.name, """
api "%(api)s" {
	key file "%(d)s/key"
	%(ca)s
}
state "%(d)s/state"
cache "%(d)s/cache" size 2G keep free 1M
control "%(d)s/sock"
users from %(u)d
passthrough %(p)s
log debug
%(x)s
""" % {"api": self.api, "d": self.dir,
            "ca": 'ca "%s"' % authority.ca if authority else "", "u": USERS_FROM + 10 * self.number,
            "p": os.environ.get("SAIL_PASSTHROUGH", "yes"), "x": extra})

    @property
    def log_name(self):
        return self.name + ".log"

    def start(self, wait=True):
        self.process = self.t.spawn(
            [self.program, "-d", "-f", self.conf], self.log_name)
        if wait:
            self.t.wait_for(self.up, "%s answers" % self.name)

    def up(self):
        if self.process.poll() is not None:
            self.t.fail("%s ended with status %d" % (
                self.name, self.process.returncode))
        if not os.path.exists(self.socket):
            return False
        return self.ctl("-j", "status", ok=None).returncode == 0

    def stop(self):
        self.t.equal(0, self.t.stop(self.process),
                     "exit status of %s" % self.name)

    def log(self):
        with open(self.t.path(self.log_name), encoding="utf-8",
                  errors="backslashreplace") as f:
            return f.read()

    def hup(self):
        self.process.send_signal(signal.SIGHUP)

    # ---- processes ----

    def roles(self, role=None):
        """[(pid, role)] of the running roles."""
        return [(pid, name) for pid, name in children(self.process.pid)
                if role is None or name == role]

    def pids(self, role):
        return [pid for pid, _ in self.roles(role)]

    def kill(self, role, sig=signal.SIGKILL):
        """All of a role; how many."""
        self.t.expect_deaths = self.t.expect_deaths or True
        found = self.pids(role)
        for pid in found:
            os.kill(pid, sig)
        return len(found)

    def kill_all(self):
        """kill -9 of the parent and all roles."""
        self.t.expect_deaths = self.t.expect_deaths or True
        kill_all(self.t, self.process, [pid for pid, _ in self.roles()])

    # ---- commands ----

    def ctl(self, *args, ok=True, timeout=120):
        return self.stack.ctl("-s", self.socket, *args, ok=ok,
                              timeout=timeout)

    def ctl_json(self, *args, ok=True, timeout=120):
        return json.loads(self.ctl("-j", *args, ok=ok, timeout=timeout).stdout)

    def mount(self, volume, where, create=False, args=(), ok=True):
        """Mounts at t.dir/mnt/where; the path."""
        path = self.stack.point(where)
        words = (["--create"] if create else []) + list(args)
        if ok is not True:
            return self.ctl("mount", *words, volume, path, ok=ok)

        def left():
            done = self.ctl("mount", *words, volume, path, ok=None)
            # Another test that begins has all mounts, too, for a moment.
            if "still in use elsewhere" in done.stderr:
                return False
            self.t.equal(0, done.returncode, "mount: " + done.stderr)
            return True

        self.t.wait_for(left, "what was unmounted at %s to be left" % path)
        return path

    def umount(self, path, *args, ok=True):
        return self.ctl("umount", *args, path, ok=ok)


def kill_all(t, process, roles):
    """kill -9 of a parent and its roles; returns when they are gone."""
    for pid in [process.pid] + roles:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    t.wait_for(lambda: not any(alive(p) for p in roles),
               "the killed processes to go")


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8",
                  errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def in_namespace(kind, link):
    """The living processes of a namespace, by what readlink(2) says of one."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and alive(int(pid)) and os.readlink(
                    "/proc/%s/ns/%s" % (pid, kind)) == link:
                found.append(int(pid))
        except OSError:
            continue            # it has ended
    return found


class Stack:
    """proxied: daemons reach the API and the store through self.api and
    self.store, which count."""

    server_class, daemon_class = FixedServer, Daemon

    def __init__(self, t, daemons=1, proxied=False, server_extra="",
                 extra="", store=None, authority=None):
        require_fuse(t)
        self.t = t
        self.program = os.path.join(t.repo, "sailvolctl", "sailvolctl")
        self.api = self.store = None
        store = store or gateway.of_environment(t, "sailapid")
        if proxied and store is not None:
            self.store = proxy.Proxy(("127.0.0.1", store.port))
            # What the server asks of the store itself, at times of its own.
            self.store.hidden = " /[^/]*/?sailapid/[0-9a-f]{32}[?]"
            store.host, store.at_port = self.store.host, self.store.port
        self.server = self.server_class(t, server_extra, store=store,
                                        authority=authority)
        self.url = self.server.url
        if proxied:
            authority = self.server.authority
            self.api = proxy.Proxy(("127.0.0.1", self.server.port),
                                   authority=authority)
            self.url = self.api.url
        if proxied and store is None:
            # A signed URL has the host of the API's request and the store's
            # port: both at another loopback address.
            self.store = proxy.Proxy(
                ("127.0.0.1", self.server.store_port), self.api.host,
                self.server.store_port, authority=authority)
        self.daemons = []
        for _ in range(daemons):
            self.add_daemon(extra=extra)

    def add_daemon(self, **kwargs):
        n = len(self.daemons)
        self.daemons.append(
            self.daemon_class(self, "sailvold%d" % n, number=n, **kwargs))
        return self.daemons[-1]

    @property
    def daemon(self):
        return self.daemons[0]

    def new_key(self, role="write", org=None):
        if org is not None:
            return self.t.run([self.server.program, "-f", self.server.conf,
                               "init", org]).stdout.strip()
        status, answer = self.server.call("POST", "/v1/keys", {"role": role})
        self.t.equal(201, status, "a new key")
        return answer["key"]

    def point(self, where):
        path = self.t.path("mnt", where)
        os.makedirs(path, exist_ok=True)
        return path

    # ---- commands ----

    def ctl(self, *args, ok=True, timeout=120):
        return self.t.run([self.program] + list(args), ok=ok, timeout=timeout)

    def mount(self, volume, where, create=False, args=(), ok=True):
        return self.daemon.mount(volume, where, create, args, ok)

    def commit(self, path, *args, timeout=120):
        """The id of the commit."""
        ident = self.ctl("commit", *args, path, timeout=timeout).stdout
        self._check_id(ident)
        return ident.strip()

    def reload(self, path, *args, timeout=120):
        ident = self.ctl("reload", *args, path, timeout=timeout).stdout
        self._check_id(ident)
        return ident.strip()

    def _check_id(self, text):
        if len(text) != 65 or not set(text[:64]) <= set("0123456789abcdef"):
            raise Failure("not the id of a commit, alone: %r" % text)

    def commit_json(self, path, *args, ok=True, timeout=120):
        return json.loads(self.ctl("-j", "commit", *args, path, ok=ok,
                                   timeout=timeout).stdout)

    def reload_json(self, path, *args, ok=True, timeout=120):
        return json.loads(self.ctl("-j", "reload", *args, path, ok=ok,
                                   timeout=timeout).stdout)

    def share(self, a, *others):
        """Commits a, and reloads the others."""
        ident = self.commit(a)
        for b in others:
            self.t.equal(ident, self.reload(b), "commit after a reload")
        return ident

    # ---- the store ----

    def objects(self):
        """{key: bytes} of the objects in the store."""
        return self.server.s3.sizes()

    def object_key(self, sha):
        """The key of the object with that SHA-256."""
        for key in self.objects():
            if key.endswith(sha):
                return key
        raise Failure("no object %s in the store" % sha)


def require_fuse(t):
    if os.geteuid() != 0:
        t.skip("mounts need root")
    if not os.path.exists(os.path.join(t.repo, "sailvold", "sailvold.c")):
        t.skip("this tree has no sailvold")
    if not os.path.exists("/dev/fuse"):
        t.skip("no /dev/fuse: the kernel has no FUSE, or modprobe fuse")


# ---- commands in the background ---------------------------------------------

def spawn(s, *args):
    """sailvolctl -j of a Stack."""
    return subprocess.Popen([s.program, "-j"] + list(args), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process):
    """Exit status and answer."""
    out, _ = process.communicate(timeout=90)
    return process.returncode, json.loads(out) if out else None


# ---- looking at trees --------------------------------------------------------

def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def fill(path, mib):
    """That many MiB, no two chunks alike, of which none gets smaller."""
    block = os.urandom(1 << 20)
    with open(path, "wb") as f:
        for i in range(mib):
            f.write(b"%08d" % i + block[8:])


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def look(top, content=True, fields=("mode", "uid", "gid", "mtime", "ino")):
    """{path below top: what is there}; bytes, nothing followed."""
    top = os.fsencode(top)
    out = {}

    def one(path, rel):
        st = os.lstat(path)
        item = {"type": stat.S_IFMT(st.st_mode)}
        if "mode" in fields:
            item["mode"] = stat.S_IMODE(st.st_mode)
        for name in ("uid", "gid", "ino"):
            if name in fields:
                item[name] = getattr(st, "st_" + name)
        # A directory's mtime alone is not committed ("dirtime": it is the
        # same where the directory was made and never changed again).
        if "dirtime" in fields or (
                "mtime" in fields and not stat.S_ISDIR(st.st_mode)):
            item["mtime"] = st.st_mtime_ns
        if "ctime" in fields and not stat.S_ISDIR(st.st_mode):
            item["ctime"] = st.st_ctime_ns
        if stat.S_ISLNK(st.st_mode):
            item["target"] = os.readlink(path)
        elif stat.S_ISREG(st.st_mode):
            item["size"] = st.st_size
            if content:
                item["sha256"] = sha256(path)
        out[rel] = item

    for where, dirs, files in os.walk(top):
        rel = os.path.relpath(where, top)
        for name in dirs + files:
            one(os.path.join(where, name), os.path.join(rel, name))
    return out


def same(t, want, got, what):
    """Two look()s are the same; the first differences are shown."""
    if want == got:
        return
    lines = []
    for path in sorted(set(want) | set(got)):
        if want.get(path) != got.get(path):
            lines.append("%.300r: expected %.500s, actual %.500s" % (
                path, want.get(path), got.get(path)))
    t.fail("%s: %d differences\n%s" % (what, len(lines),
                                       "\n".join(lines[:20])))


def as_user(uid, argv, **kwargs):
    """Runs a command as that uid and gid; subprocess.run()'s result."""
    return subprocess.run(
        ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups"]
        + [str(a) for a in argv], check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
