# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Bad input is refused with words that say what is wrong, and nothing is
lost."""

import errno
import hashlib
import json
import os
import socket
import threading
import time

from sailtest import deadline, proxy, stack

# Those that are about objects.
BOTH_STORES = ("test_corrupt_object", "test_lost_chunk", "test_store_down",
               "test_bad_answers")

KEY = "sk_" + "0" * 64


def check_conf(t, program, text, ok=1):
    return t.run([program, "-n", "-f", t.write("x.conf", text)], ok=ok).stderr


def test_config(t):
    """An error in sailvold.conf is shown with file, line and words; what -nv
    prints is read again, and printed the same."""
    stack.require_fuse(t)
    program = os.path.join(t.repo, "sailvold", "sailvold")
    key = t.write("key", KEY + "\n", 0o600)
    good = 'api "http://127.0.0.1:1" { key file "%s" }\n' % key
    check_conf(t, program, good, ok=0)
    for text, want in (
            ("volme \"x\" { mount \"/x\" }\n", "x.conf:2: "),
            ("volume \"a/b\" { mount \"/x\" }\n", "x.conf:2: volume a/b"),
            ("volume \"x\" {\n mount \"relative\" }\n", "x.conf:3: "),
            ("volume \"x\" { }\n", "x.conf:2: volume x: no mount"),
            ("volume \"x\" { mount \"/\" }\n", "x.conf:2: mount: /: "),
            ("volume \"x\" { mount \"/a\" mount \"/b\" }\n",
             "x.conf:2: volume x: mount is there twice"),
            ("cache \"/c\" size 12Q\n", "x.conf:2: "),
            ("fetchers 0\n", "x.conf:2: fetchers"),
            ("processors awake maybe\n", "x.conf:2: "),
            ("state \"/s\"\n\nstate \"/t\"\n", "x.conf:4: state is there"),
            ("control \"/x\n", "x.conf:"),
            ("user nobody \"x\"\n", "x.conf:2: no such role"),
            ("volume \"v\" { mount \"/m\" } volume \"w\" { mount \"/m\" }\n",
             "x.conf:2: volume w: /m is mounted on already")):
        said = check_conf(t, program, good + text)
        t.true(want in said, "%r: %s is not in: %s" % (text, want, said))
    t.true("no api" in check_conf(t, program, ""), "an empty file")
    t.true("plain" in check_conf(
        t, program, good.replace("127.0.0.1", "192.0.2.1")).lower(),
           "plain HTTP to elsewhere")
    r = t.run([program, "-n", "-f", t.path("missing.conf")], ok=1)
    t.true("missing.conf" in r.stderr, r.stderr)
    full = good + ('cache "/c" size 5G\nstate "/s"\ncontrol "/k" mode 600\n'
                   'users from 5000 fetchers 3 processors awake no log debug\n'
                   'volume "v" { mount "/m" create read only subpath "/a b" }')
    one = t.run([program, "-nv", "-f", t.write("a.conf", full)]).stdout
    two = t.run([program, "-nv", "-f", t.write("b.conf", one)]).stdout
    t.equal(one, two, "printed again")


def test_hup(t):
    """A SIGHUP with a typo changes nothing; without it, the volume comes, and
    goes when its block goes."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("dirty")
    with open(d.conf, encoding="utf-8") as f:
        good = f.read()
    c = s.point("c")
    block = '\nvolume "w" {\n\tmount "%s"\n\tcreate\n}\n' % c

    def hup(text, want):
        before = d.log().count(want)
        t.write("%s/sailvold.conf" % d.name, text)
        d.hup()
        t.wait_for(lambda: d.log().count(want) > before, want)

    line = good.count("\n") + 2
    hup(good + "\nvolme \"w\" {", "sailvold.conf:%d: " % line)
    with open(os.path.join(a, "f"), encoding="ascii") as f:
        t.equal("dirty", f.read(), "after the typo")
    t.true(not os.path.ismount(c), "nothing was mounted")
    t.write("%s/sailvold.conf" % d.name, good + block)
    d.hup()
    t.wait_for(lambda: os.path.ismount(c), "the new volume's mount")
    with open(os.path.join(c, "g"), "w", encoding="ascii") as f:
        f.write("x")
    s.commit(c)
    hup(good + block + "nonsense", "sailvold.conf:")
    t.true(os.path.ismount(c) and os.path.ismount(a), "both stay")


def test_keys(t):
    """An unknown key, a revoked one, one that may only read, and one of another
    org: said in words; nothing of the other org is shown."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "secret"), "w", encoding="ascii") as f:
        f.write("x")
    s.commit(a)
    unknown = s.add_daemon(key=KEY)
    r = unknown.mount("v", "u", ok=1)
    t.true("key" in r.stderr, r.stderr)
    t.true(not os.path.ismount(s.point("u")), "not mounted")
    other = s.add_daemon(key=s.new_key(org="other"))
    r = other.mount("v", "o", ok=1)
    t.true("volume" in r.stderr and "v" in r.stderr, r.stderr)
    # The same name there is another volume.
    o = other.mount("v", "o", create=True)
    t.equal([], os.listdir(o), "the other org's volume")
    reader = s.add_daemon(key=s.new_key("read"))
    b = reader.mount("v", "b")
    with open(os.path.join(b, "mine"), "w", encoding="ascii") as f:
        f.write("y")
    r = s.ctl("commit", b, ok=1)
    t.true("permission" in r.stderr or "may" in r.stderr or "role" in r.stderr,
           r.stderr)
    with open(os.path.join(b, "mine"), encoding="ascii") as f:
        t.equal("y", f.read(), "what could not be committed")


def test_revoked(t):
    """Once the daemon's key is revoked, commit, reload and log of a mount all
    say so, as an error of authentication; with a new one they go on."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(key=s.new_key())
    a = d.mount("v", "a", create=True)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("x")
    _, answer = s.server.call("GET", "/v1/keys")
    ident = [k["id"] for k in answer["keys"] if k["role"] == "write"][0]
    s.server.call("DELETE", "/v1/keys/" + ident)
    for command in ("commit", "reload", "log"):
        r = s.ctl("-j", command, a, ok=1)
        error = json.loads(r.stdout)["error"]
        t.equal(("authentication", "bad_key"), (error["type"], error["code"]),
                command)
    t.write("%s/key" % d.name, s.new_key() + "\n", 0o600)
    d.hup()
    t.wait_for(lambda: s.ctl("log", a, ok=None).returncode == 0, "the new key")
    s.commit(a)


def test_mount_points(t):
    """A mount point that is missing, a file, busy, / or a link is refused; one
    that is not empty is mounted with a warning, and comes back as it was."""
    s = stack.Stack(t)
    d = s.daemon
    a = s.mount("v", "a", create=True)

    def refused(path, *words):
        r = d.ctl("mount", "v", path, ok=1)
        t.true(any(w in r.stderr for w in words), "%s: %s" % (path, r.stderr))
        t.equal("", r.stdout, "standard output")

    refused(t.path("missing"), "no such directory")
    refused(t.write("file", "x"), "directory")
    refused("/", "/: ", "root", "'/'", "`/'")
    refused(a, "already", "mounted", "busy", "in use")
    with open(os.path.join(s.point("full"), "below"), "w",
              encoding="ascii") as f:
        f.write("kept")
    r = d.ctl("mount", "v", s.point("full"))
    t.true("not empty" in r.stderr, r.stderr)
    t.equal([], os.listdir(s.point("full")), "the volume is shown")
    d.umount(s.point("full"))
    t.equal(["below"], os.listdir(s.point("full")), "as it was")
    os.symlink(s.point("real"), t.path("link"))
    d.ctl("mount", "v", t.path("link"))
    t.true(os.path.ismount(s.point("real")), "through a link of the caller")
    for name in ("a/b", "", ".", "x" * 129, "a b", "\u00fc"):
        d.ctl("mount", name, s.point("n"), ok=1)
    # To the daemon itself, without sailvolctl's checks.
    for name in ("a/b", "", "..", "a\0b", "x" * 129, 7, None):
        answer = raw_socket(d, {"request": "mount", "volume": name,
                                "path": s.point("n")})
        t.true("error" in answer, "%r: %r" % (name, answer))
    for path in ("relative", "", "/a\0b", "/../x", "/" + "x" * 5000):
        answer = raw_socket(d, {"request": "mount", "volume": "v",
                                "path": path})
        t.true("error" in answer, "%.40r: %r" % (path, answer))
    d.ctl("mount", "nowhere", s.point("n"), ok=1)
    d.ctl("mount", "-c", "0" * 64, "v", s.point("n"), ok=1)
    d.ctl("mount", "v:/no/such", s.point("n"), ok=1)
    t.true(not os.path.ismount(s.point("n")), "nothing was mounted")


def raw_socket(d, request):
    """One line to the control socket, and the first line back."""
    line = request if isinstance(request, bytes) else (
        json.dumps(request).encode() + b"\n")
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(30)
        c.connect(d.socket)
        try:
            c.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            pass
        data = b""
        while b"\n" not in data:
            try:
                more = c.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return {}
            data += more
    return json.loads(data.split(b"\n")[0])


def talk(path, *lines):
    """Writes to ctl; (errno of the write that failed or 0, what was read)."""
    fd = os.open(os.path.join(path, ".sailvol", "ctl"), os.O_RDWR)
    try:
        for line in lines:
            try:
                os.write(fd, line)
            except OSError as e:
                return e.errno, b""
        data = b""
        while not data.endswith(b"\n"):
            more = os.read(fd, 65536)
            if not more:
                break
            data += more
        return 0, data
    finally:
        os.close(fd)


def test_ctl_lines(t):
    """A wrong, endless or second line in ctl, and requests that are not for
    that door, are errors; the mount goes on."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for line in (b"\n", b"nonsense\n", b"[]\n", b"7\n", b"{\n", b"{}\n",
                 b'{"request":"dance"}\n', b'{"request":7}\n',
                 b'""\n',
                 b'{"request":"mount","volume":"v","path":"/x"}\n',
                 b'{"request":"umount","path":"/x"}\n',
                 b'{"request":"api","method":"GET","target":"/v1/keys"}\n',
                 b'{"request":"stash","action":"burn"}\n',
                 b'{"request":"attach","job":99999}\n',
                 b'{"request":"cancel","job":-1}\n',
                 b'{"request":"status"}\0\n', b"\xff\xfe\n",
                 b"[" * 5000 + b"\n"):
        error, data = talk(a, line)
        if error == 0:
            answer = json.loads(data)
            t.true("error" in answer and answer["error"]["message"],
                   "%.60r: %r" % (line, data))
    # Endless: refused at 64 KiB, whatever the pieces are.
    error, _ = talk(a, b"x" * 70000)
    t.true(error != 0, "70,000 bytes in one write")
    error, _ = talk(a, *[b"y" * 4096] * 20)
    t.true(error != 0, "without a new line, in pieces")
    # The longest that is taken is answered.
    for size in (65536, 65536 - 50):
        line = b'{"request":"status"'
        error, data = talk(a, line + b" " * (size - len(line) - 2) + b"}\n")
        t.true(error == 0 and b'"result"' in data,
               "a line of %d bytes: %d, %.100r" % (size, error, data))
    # In pieces, and whole.
    error, data = talk(a, b'{"requ', b'est":"status"', b"}\n")
    t.true(error == 0 and b'"result"' in data, "in pieces: %r" % data)
    fd = os.open(os.path.join(a, ".sailvol/ctl"), os.O_RDWR)
    os.write(fd, b'{"request":"status"}\n')
    try:
        os.write(fd, b'{"request":"status"}\n')
        t.fail("a second line was taken")
    except OSError as e:
        t.equal(16, e.errno, "EBUSY")
    t.true(b'"result"' in os.read(fd, 65536), "the first line's answer")
    os.close(fd)
    # A line that never comes does not hold up others.
    idle = [os.open(os.path.join(a, ".sailvol/ctl"), os.O_RDWR)
            for _ in range(5)]
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("x")
    s.commit(a)
    for fd in idle:
        os.close(fd)
    for line in (b"nonsense\n", b"{}\n", b"x" * 100000, b"\n",
                 b'{"request":"api"}\n'):
        answer = raw_socket(s.daemon, line)
        t.true("result" not in answer, "%.40r: %r" % (line, answer))
    t.true("volume" in s.ctl("status", a).stdout, "the mount goes on")


@deadline(300)
def test_store_down(t):
    """With the store down: cached reads and writes go on, others are EIO after
    their deadline, a commit fails clearly, and works when the store is back."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    for name in ("one", "two"):
        with open(os.path.join(a, name), "w", encoding="ascii") as f:
            f.write("content of " + name)
        s.commit(a)  # alone: an object of its own
    b = s.add_daemon().mount("v", "b")
    with open(os.path.join(b, "one"), encoding="ascii") as f:
        t.equal("content of one", f.read(), "cached")
    s.store.set_down()
    with open(os.path.join(b, "one"), encoding="ascii") as f:
        t.equal("content of one", f.read(), "cached, the store down")
    with open(os.path.join(b, "new"), "w", encoding="ascii") as f:
        f.write("new")
    got = []

    def read_two():
        try:
            with open(os.path.join(b, "two"), encoding="ascii") as f:
                got.append(f.read())
        except OSError as e:
            got.append(e.errno)

    thread = threading.Thread(target=read_two, daemon=True)
    thread.start()
    begun = time.monotonic()
    r = s.ctl("commit", b, ok=1, timeout=100)
    t.true(r.stderr.strip() and r.stdout == "", "words: %r" % r.stderr)
    t.true(time.monotonic() - begun < 90, "the commit fails in time")
    thread.join(60)
    t.equal([5], got, "a read of what is not here: EIO")
    s.store.set_down(False)
    s.commit(b, timeout=110)
    with open(os.path.join(b, "two"), encoding="ascii") as f:
        t.equal("content of two", f.read(), "when it is back")
    s.reload(a)
    with open(os.path.join(a, "new"), encoding="ascii") as f:
        t.equal("new", f.read(), "A has it")


@deadline(300)
def test_bad_answers(t):
    """Answers that are cut short or do not match their hash are not believed:
    asked for again, and right in the end."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    names = ["f%d" % i for i in range(4)]
    for name in names:
        with open(os.path.join(a, name), "w", encoding="ascii") as f:
            f.write(name * 10000)
        s.commit(a)  # alone: an object of its own
    second = s.add_daemon()
    # Nodes and heads: cut, spoilt, refused.
    for kind, at in ((proxy.CUT, 20), (proxy.CORRUPT, 60), (proxy.REFUSE, 503),
                     (proxy.CLOSE, 0)):
        s.api.reset()
        fault = s.api.fault(kind, "(head|nodes|/v1/volumes/v)", at=at)
        b = second.mount("v", "b-" + kind, ok=None)
        if b.returncode != 0:
            # Said, and nothing half-made: the next try works.
            t.true(b.stderr.strip(), "words")
            second.mount("v", "b-" + kind)
        t.equal(1, fault.done, kind + " happened")
        path = s.point("b-" + kind)
        t.equal(names, sorted(os.listdir(path)), "names after " + kind)
        second.umount(path)
    b = second.mount("v", "b")
    # Content: the first answer of each file is bad.
    for name, (kind, at) in zip(names, ((proxy.CUT, 100), (proxy.CORRUPT, 777),
                                        (proxy.REFUSE, 500),
                                        (proxy.CLOSE, 0))):
        s.store.reset()
        fault = s.store.fault(kind, "^GET ", at=at)
        with open(os.path.join(b, name), encoding="ascii") as f:
            t.equal(name * 10000, f.read(), "content after " + kind)
        t.equal(1, fault.done, kind + " happened")


@deadline(240)
def test_corrupt_object(t):
    """A chunk that is wrong in the store: EIO for that file, named in the log;
    all others work."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for name in ("bad", "good"):
        with open(os.path.join(a, name), "w", encoding="ascii") as f:
            f.write(name * 1000)
        s.commit(a)  # alone: an object of its own
    sha = stack.sha256(os.path.join(a, "bad"))
    s.server.s3.spoil(s.object_key(sha), 100)
    second = s.add_daemon()
    b = second.mount("v", "b")
    try:
        with open(os.path.join(b, "bad"), "rb") as f:
            t.fail("read: %r" % f.read()[:200])
    except OSError as e:
        t.equal(5, e.errno, "EIO")
    with open(os.path.join(b, "good"), encoding="ascii") as f:
        t.equal("good" * 1000, f.read(), "the other file")
    t.true(sha[:16] in second.log(), "the chunk is named in the log")
    # A commit that has the bytes heals it.
    with open(os.path.join(a, "bad2"), "w", encoding="ascii") as f:
        f.write("bad" * 1000)
    s.commit(a)


@deadline(120)
def test_lost_chunk(t):
    """A chunk that the store has lost comes again with the next commit of the
    file, of another part too, by who has the bytes."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    f = os.path.join(a, "f")
    first = os.urandom(8 << 20)
    with open(f, "wb") as o:
        o.write(first + b"second" * 300000)
    s.commit(a)
    s.server.s3.delete(s.object_key(hashlib.sha256(first).hexdigest()))
    b = s.add_daemon().mount("v", "b")
    try:
        with open(os.path.join(b, "f"), "rb") as o:
            t.fail("read: %r" % o.read(10))
    except OSError as e:
        t.equal(5, e.errno, "EIO")
    with open(f, "ab") as o:
        o.write(b"third")
    s.commit(a)
    s.reload(b)
    t.equal(stack.sha256(f), stack.sha256(os.path.join(b, "f")), "content")


@deadline(300)
def test_server_down(t):
    """With the API server down commit and reload fail clearly, and lose
    nothing; they work again when it is back."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    s.server.stop()
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("x")
    t.equal(["f"], os.listdir(a), "the mount goes on")
    done = []
    for command in ("commit", "reload"):
        r = s.ctl(command, a, ok=1, timeout=100)
        t.true(r.stderr.strip(), command + ": no words")
        done.append(r.stderr)
    with open(os.path.join(a, "f"), encoding="ascii") as f:
        t.equal("x", f.read(), "not lost")
    s.server.start()
    s.commit(a)


def test_no_fuse(t):
    """Without /dev/fuse the error says what to install or load."""
    stack.require_fuse(t)
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    if t.run(["unshare", "-m", "true"], ok=None).returncode != 0:
        t.skip("no mount namespaces here")
    # In a mount namespace whose /dev has no fuse.
    script = ("mount -t tmpfs none /dev && mknod /dev/null c 1 3 && "
              "mknod /dev/urandom c 1 9 && chmod 666 /dev/null /dev/urandom "
              "&& exec %s -d -f %s" % (d.program, d.conf))
    d.process = t.spawn(["unshare", "-m", "sh", "-c", script], d.log_name)
    t.wait_for(lambda: d.process.poll() is not None or (
        os.path.exists(d.socket) and
        d.ctl("-j", "status", ok=None).returncode == 0), "start or refusal")
    if d.process.poll() is None:
        r = d.ctl("mount", "--create", "v", s.point("a"), ok=1)
        said = r.stderr
    else:
        said = d.log()
    t.true("fuse" in said and ("modprobe" in said or "install" in said or
                               "load" in said), said)


def test_full_disk(t):
    """ENOSPC in the daemon's own folder reaches who makes or writes something;
    what was there stays, can be removed and committed all the same."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    os.mkdir(os.path.join(d.dir, "state"))
    t.run(["mount", "-t", "tmpfs", "-o", "size=80m,mode=0711", "none",
           os.path.join(d.dir, "state")])
    d.start()
    a = d.mount("v", "a", create=True)
    with open(os.path.join(a, "good"), "wb") as f:
        f.write(b"g" * 1000000)

    def refused(make, times):
        """How many went well before the first ENOSPC."""
        for n in range(times):
            try:
                make(n)
            except OSError as e:
                t.equal(errno.ENOSPC, e.errno, "errno")
                return n
        return times

    def write(n):
        with open(os.path.join(a, "big%d" % (n // 16)), "ab") as f:
            f.write(os.urandom(1 << 20))

    made = refused(write, 200)
    t.true(10 < made < 80, "%d MiB were written" % made)
    st = os.statvfs(a)
    t.true(st.f_bavail * st.f_frsize <= 1 << 20, "free, says statfs")
    # The small things end too, before there is no room to note them.
    left = refused(lambda n: os.setxattr(
        os.path.join(a, "good"), "user.x", b"%d" % n * 9000), 4000)
    t.true(left < 4000, "attributes end")
    t.true(refused(lambda n: os.mkdir(os.path.join(a, "d%d" % n)), 4000) <
           4000, "directories end")
    with open(os.path.join(a, "good"), "rb") as f:
        t.equal(b"g" * 1000000, f.read(), "what was written before")
    first = s.commit(a)
    for name in sorted(os.listdir(a)):
        if name.startswith("big"):
            os.rename(os.path.join(a, name), os.path.join(a, "x"))
            os.unlink(os.path.join(a, "x"))
    os.chmod(os.path.join(a, "good"), 0o600)

    def free():
        st = os.statvfs(a)
        return st.f_bavail * st.f_frsize

    # Also where the database has used up the rest.
    t.wait_for(lambda: free() > 1 << 20, "what was removed gives its room")
    t.true(s.commit(a) != first, "what was removed is committed too")

    def small():
        try:
            with open(os.path.join(a, "small"), "wb") as f:
                f.write(b"s")
            return True
        except OSError:
            return False

    t.wait_for(small, "room of what was removed")
    b = s.add_daemon().mount("v", "b")
    s.share(a, b)
    t.true({"good", "small"} <= set(os.listdir(b)), "names in B")


@deadline(120)
def test_used_up(t):
    """Others fill the daemon's disk to the last byte: what was written before is
    committed all the same, and what frees the disk is possible."""
    s = stack.Stack(t, daemons=0)
    d = s.add_daemon(start=False)
    state = os.path.join(d.dir, "state")
    os.mkdir(state)
    t.run(["mount", "-t", "tmpfs", "-o", "size=80m,mode=0711", "none", state])
    d.start()
    a = d.mount("v", "a", create=True)
    for i in range(50):
        stack.write("%s/%d" % (a, i), "%d\n" % i)

    def fill():
        with open(os.path.join(state, "other"), "ab", 0) as f:
            try:
                while True:
                    f.write(bytes(4096))
            except OSError as e:
                t.equal(errno.ENOSPC, e.errno, "errno")

    fill()
    first = s.commit(a)
    os.unlink(a + "/0")
    t.true(s.commit(a) != first, "a removal is committed")
    os.unlink(os.path.join(state, "other"))
    b = s.add_daemon().mount("v", "b")
    t.equal({str(i) for i in range(1, 50)}, set(os.listdir(b)), "in B")
    # It is kept again, for the next time.
    t.wait_for(lambda: os.stat(state + "/db/ballast").st_blocks > 0,
               "some room is kept", 60)


def test_too_deep(t):
    """A moved directory can make paths longer than a path may be: there
    is an error for those names, and everything else of the mount works."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")

    def chain(top, name, depth):
        """The directory down there, as a descriptor."""
        at = os.open(top, os.O_RDONLY)
        for _ in range(depth):
            try:
                os.mkdir(name, dir_fd=at)
            except FileExistsError:
                pass
            down = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = down
        return at

    d, e = "d" * 250, "e" * 250
    os.close(chain(a, d, 10))
    bottom = chain(a, e, 10)
    s.share(a, b)
    s.reload(a)
    os.rename(d, d, src_dir_fd=os.open(a, os.O_RDONLY), dst_dir_fd=bottom)
    os.close(bottom)
    s.share(a, b)
    at, depth, error = os.open(b, os.O_RDONLY), 0, 0
    while error == 0 and depth < 20:
        try:
            down = os.open(e if depth < 10 else d, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at, depth = down, depth + 1
        except OSError as x:
            error = x.errno
    t.equal((errno.ENAMETOOLONG, 4096 // 251), (error, depth), "the way down")
    try:
        t.fail("it is listed: %r" % os.listdir(at))
    except OSError as x:
        t.equal(errno.ENAMETOOLONG, x.errno, "a list")
    os.close(at)
    t.equal([e], os.listdir(b), "the root")
    with open(os.path.join(b, "f"), "w", encoding="ascii") as f:
        f.write("x")
    s.share(b, a)
    t.equal([e, "f"], sorted(os.listdir(a)), "the other mount")


def test_long_paths(t):
    """No name is made whose path a commit could not have; the rest is
    committed."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for name, most in (("n" * 250, 4096 // 251), ("d", 1024)):
        at, depth = os.open(a, os.O_RDONLY), 0
        try:
            while depth < 1100:
                os.mkdir(name, dir_fd=at)
                down = os.open(name, os.O_RDONLY, dir_fd=at)
                os.close(at)
                at, depth = down, depth + 1
        except OSError as x:
            t.equal(errno.ENAMETOOLONG, x.errno, "mkdir")
        t.equal(most, depth, "directories of %.2s" % name)
        for make in (lambda: os.open(name, os.O_CREAT, dir_fd=at),
                     lambda: os.symlink("x", name, dir_fd=at),
                     lambda: os.rename(os.path.join(a, "f"), name,
                                       dst_dir_fd=at)):
            with open(os.path.join(a, "f"), "w", encoding="ascii"):
                pass
            try:
                t.fail("made: %r" % make())
            except OSError as x:
                t.equal(errno.ENAMETOOLONG, x.errno, "make")
        os.close(at)
    s.share(a, b)
    t.equal(sorted(os.listdir(a)), sorted(os.listdir(b)), "the root")
