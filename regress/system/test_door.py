# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What .sailvol/ctl promises: long lines both ways, options that are meant,
jobs that can be named; a reload whose notifier ends at the wrong moment; and
all of it while fuse is killed."""

import errno
import json
import os
import signal
import socket
import subprocess
import time

from sailtest import deadline, stack

LINE_MAX = 64 * 1024


def open_ctl(mount):
    return os.open(os.path.join(mount, ".sailvol/ctl"), os.O_RDWR)


def send(fd, request):
    if not isinstance(request, bytes):
        request = json.dumps(request).encode()
    os.write(fd, request + b"\n")


def answers(fd):
    data = b""
    while True:
        more = os.read(fd, 1 << 20)
        if not more:
            return [json.loads(line) for line in data.splitlines()]
        data += more


def ask(mount, request):
    fd = open_ctl(mount)
    try:
        send(fd, request)
        return answers(fd)
    finally:
        os.close(fd)


def raw_socket(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(json.dumps(request).encode() + b"\n")
        with s.makefile() as f:
            return json.loads(f.readline())


def write(text, *path):
    with open(os.path.join(*path), "w", encoding="utf-8") as f:
        f.write(text)


def test_longest_line(t):
    """A request of 64 KiB is answered; one byte more is refused."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    front, back = b'{"request":"commit","message":"', b'"}'
    for size in (LINE_MAX - 1, LINE_MAX):
        line = front + b"m" * (size - len(front) - len(back) - 1) + back
        answer = ask(a, line)[-1]
        t.equal("message", answer["error"]["code"], "%d bytes" % size)
    fd = open_ctl(a)
    try:
        send(fd, b"x" * LINE_MAX)
        t.fail("a line of 64 KiB and one byte was taken")
    except OSError as e:
        t.equal(90, e.errno, "EMSGSIZE")
    os.close(fd)


def test_long_answers(t):
    """An answer of more than 64 KiB comes through the door: a commit that names
    many sockets, diff, stash show and log."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    deep = os.path.join(a, *["p" * 200] * 18)
    os.makedirs(deep)
    bound = socket.socket(socket.AF_UNIX)
    os.chdir(a)
    bound.bind("s")
    bound.close()
    os.chdir("/")
    for i in range(300):
        os.link(os.path.join(a, "s"), os.path.join(a, "%03d" % i + "s" * 240))
    answer = ask(a, {"request": "commit"})[-1]
    t.equal(301, len(answer["result"]["not_kept"]), "sockets")
    for i in range(100):
        write("x", deep, "%d" % i)
    answer = ask(a, {"request": "diff"})[-1]
    t.equal(100, len(answer["result"]["changes"]), "changes")
    s.reload(a)
    answer = ask(a, {"request": "stash", "action": "show", "id": 1})[-1]
    t.true(len(answer["result"]["items"]) >= 100, "what was stashed")
    for i in range(20):
        write("%d" % i, a, "f")
        s.commit(a, "-m", "m" * 4096)
    t.true(s.ctl("log", a).stdout.count("m" * 4096) == 20, "the log")


def test_options_are_meant(t):
    """An option of the wrong type, or one that is none, is refused: nothing is
    done without what was asked with it."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    write("x", a, "f")
    for request in ({"request": "commit", "if_unchanged": "yes"},
                    {"request": "commit", "if-unchanged": True},
                    {"request": "commit", "message": 7},
                    {"request": "reload", "keep": 1},
                    {"request": "reload", "if_clean": "true"},
                    {"request": "reload", "keeep": True},
                    {"request": "log", "limit": "3"},
                    {"request": "cancel", "job": "1"},
                    {"request": "attach", "job": None},
                    {"request": "stash", "action": 3}):
        answer = ask(a, request)
        t.equal("invalid_request", answer[-1].get("error", {}).get("type"),
                "%s: %s" % (request, answer))
    t.true(os.path.exists(os.path.join(a, "f")), "f is there")
    t.equal(None, ask(a, {"request": "status"})[-1]["result"]["last_commit"],
            "the last commit")


def test_queued_jobs(t):
    """Who waits in the queue is told the number of its job, can cancel it by
    that, or hear it again; a reload is told its number too."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    write("x" * 5000, a, "f")
    held = s.store.fault("hold", "PUT")
    fds = [open_ctl(a) for _ in range(4)]
    for fd, request in zip(fds, ({"request": "commit"}, {"request": "reload"},
                                 {"request": "commit"},
                                 {"request": "reload"})):
        send(fd, request)
    jobs = []
    for fd in fds:
        line = json.loads(os.read(fd, 65536).splitlines()[0])
        t.true("progress" in line, "first line: %s" % line)
        jobs.append(line["progress"]["job"])
    t.equal(sorted(set(jobs)), jobs, "numbers in the order of the queue")
    t.equal(True, ask(a, {"request": "cancel", "job": jobs[2]})[-1]["result"][
        "cancelled"], "cancel in the queue")
    held.release()
    t.equal("cancelled", answers(fds[2])[-1]["error"]["type"], "the third")
    os.close(fds[1])
    again = ask(a, {"request": "attach", "job": jobs[1]})[-1]
    t.equal(1, again["result"]["number"], "the second, heard again")
    t.equal(1, answers(fds[3])[-1]["result"]["number"], "the fourth")
    t.equal(1, answers(fds[0])[-1]["result"]["number"], "the first")


@deadline(240)
def test_killed_with_an_answer(t):
    """fuse dies with the answer to a line that is no job: the line is done again,
    which says what the first said, and nothing else is cancelled or dropped."""
    t.expect_deaths = True
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    for i in range(2):
        write("x", a, "f")
        s.reload(a)
    held = s.api.fault("hold", ".")
    running, queued, fd, any_job, drop = [open_ctl(a) for _ in range(5)]
    jobs = []
    for f in running, queued:
        send(f, {"request": "reload"})
        jobs.append(json.loads(os.read(f, 65536).splitlines()[0])["progress"][
            "job"])
    send(any_job, {"request": "cancel"})
    send(drop, {"request": "stash", "action": "drop", "id": 1})
    send(fd, {"request": "cancel", "job": jobs[1]})
    t.equal("cancelled", answers(queued)[-1]["error"]["type"], "the second")
    t.wait_for(lambda: [x["id"] for x in ask(a, {
        "request": "stash", "action": "list"})[-1]["result"]["stashes"]] ==
        [2], "the first stash to go")
    for _ in range(2):
        was = s.daemon.pids("fuse")
        s.daemon.kill("fuse")
        t.wait_for(lambda was=was: s.daemon.pids("fuse") not in ([], was),
                   "another fuse")
        ask(a, {"request": "status"})
    t.equal({"result": {"cancelled": True}}, answers(fd)[-1], "cancel")
    t.equal({"result": {"dropped": 1}}, answers(drop)[-1], "drop")
    t.equal("job", answers(any_job)[-1]["error"]["code"], "without a number")
    t.equal("job", ask(a, {"request": "attach", "job": 0})[-1]["error"][
        "code"], "attach without one")
    t.equal("not_found", ask(a, {"request": "stash", "action": "drop",
                                 "id": 3})[-1]["error"]["type"], "none ever")
    held.release()
    t.true("result" in answers(running)[-1], "the first")


def test_progress(t):
    """A commit tells its rate and the time that is left while one large file
    goes up, chunk by chunk."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "large"), "wb") as f:
        for i in range(4):
            f.write(os.urandom(8 << 20))
    for i in range(4):
        s.store.fault("delay", "PUT", 1 + i)
    lines = [x["progress"] for x in ask(a, {"request": "commit"})
             if "progress" in x]
    some = [p for p in lines if p["phase"] == "upload" and
            0 < p["bytes"] < p["bytes_total"]]
    t.true(some, "no line of a part: %s" % lines)
    for p in some:
        t.equal(32 << 20, p["bytes_total"], "in all")
        t.true(p["bytes_per_s"] > 0, str(p))
        left = (p["bytes_total"] - p["bytes"]) / p["bytes_per_s"]
        t.true(abs(left - p["seconds_left"]) <= 1, str(p))
    t.true(all("seconds_left" in p for p in lines if p["phase"] != "queue"),
           str(lines))


def test_nothing_changes_it(t):
    """What .sailvol holds has neither size, mode, owner, times nor attributes
    that root could change; a shell may redirect into ctl."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for name in (".sail_volume.json", ".sailvol", ".sailvol/ctl",
                 ".sailvol/volume.json"):
        path = os.path.join(a, name)
        before = os.stat(path)
        for what, f in (
                ("truncate", lambda: os.truncate(path, 0)),
                ("chmod", lambda: os.chmod(path, 0o777)),
                ("chown", lambda: os.chown(path, 1, 1)),
                ("utimens", lambda: os.utime(path, (1, 1))),
                ("touch", lambda: os.utime(path)),
                ("setxattr", lambda: os.setxattr(path, "user.x", b"1")),
                ("unlink", lambda: os.unlink(path))):
            want = errno.EPERM
            if name == ".sailvol" and what in ("truncate", "unlink"):
                want = errno.EISDIR
            try:
                f()
                t.fail("%s of %s" % (what, name))
            except OSError as e:
                t.equal(errno.errorcode[want], errno.errorcode[e.errno],
                        "%s of %s" % (what, name))
        t.run(["touch", "-m", path], ok=1)
        t.equal(before, os.stat(path), name)
    t.run(["sh", "-c", "echo '{}' > " + os.path.join(a, ".sailvol", "ctl")])


def test_asked_at_once(t):
    """status and diff know of every change that was made before they were
    asked."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    for i in range(20):
        write("x", a, "%d" % i)
        dirty = ask(a, {"request": "status"})[-1]["result"]["dirty"]
        t.equal(i + 1, dirty["names"], "dirty names of status")
        write("x", a, "%d" % i)
        for changes in (ask(a, {"request": "diff"})[-1]["result"],
                        raw_socket(s.daemon.socket, {
                            "request": "diff", "path": a})["result"]):
            t.equal(i + 1, changes["count"], "changes of diff")


@deadline(240)
def test_unknown_result(t):
    """A commit whose answer is lost for good is an error that says so; the next
    one finds out that it was published, and does not publish it again above
    what others did since."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    s.add_daemon(api=s.server.url)
    b = s.daemons[1].mount("v", "b")
    write("0", a, "f")
    s.share(a, b)
    write("from a", a, "f")
    lost = s.api.fault("cut", "POST .*/commit", 0)
    # It is tried again before the test sees that.
    s.api.fault("close", "POST .*/commit", 0, 1 << 30)
    fd = open_ctl(a)
    send(fd, {"request": "commit"})
    t.wait_for(lambda: lost.done, "the commit at the server")
    s.api.fault("close", ".", 0, 1 << 30)
    queued = open_ctl(a)
    send(queued, {"request": "reload"})
    answer = answers(fd)
    job = answer[0]["progress"]["job"]
    t.equal("unknown_result", answer[-1]["error"]["code"], "the answer")
    t.equal("unknown_result", answers(queued)[-1]["error"]["code"],
            "who waits behind it")
    t.true("error" in ask(a, {"request": "cancel", "job": job})[-1],
           "it cannot be cancelled")
    s.reload(b)
    write("from b", b, "f")
    ident = s.commit(b)
    s.api.reset()
    write("more", a, "g")
    t.equal([], s.commit_json(a)["overwritten"]["paths"], "overwritten")
    t.equal(True, ask(a, {"request": "attach", "job": job})[-1]["result"][
        "changed"], "the lost answer")
    for mount in (a, b):
        s.reload(mount)
        with open(os.path.join(mount, "f"), encoding="utf-8") as f:
            t.equal("from b", f.read(), "after commit %s" % ident)
    for fd in (fd, queued):
        os.close(fd)


def test_left_behind(t):
    """Changes of a mount that is gone, and the stashes of all, are listed for
    root without a path."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    write("put away", a, "f")
    s.reload(a)
    write("left", b, "g")
    t.equal([], s.daemon.ctl_json("stash", "list")["unmounted"], "both live")
    s.daemon.umount(b, "--force")
    found = s.daemon.ctl_json("stash", "list")
    t.equal([a], [x["path"] for x in found["stashes"]], "stashes")
    t.equal([("v", b, 1, 1)],
            [(x["volume"], x["path"], x["names"], x["objects"])
             for x in found["unmounted"]], "what is left behind")
    text = s.daemon.ctl("stash", "list").stdout
    t.true(a in text and b in text, "in words: %s" % text)


def test_notifier_ends(t):
    """A notifier that ends when a reload needs it: another one is started, also
    when the parent hears of the need before it hears of the end."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    for i in range(6):
        write("%d" % i, a, "f")
        s.share(a, b)
        write("%d again" % i, a, "f")
        s.commit(a)
        s.daemon.process.send_signal(signal.SIGSTOP)
        for pid in s.daemon.pids("notify"):
            os.kill(pid, signal.SIGTERM)
        reload = subprocess.Popen([s.program, "reload", b],
                                  stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        s.daemon.process.send_signal(signal.SIGCONT)
        try:
            t.equal(0, reload.wait(20), "exit status of the reload")
        except subprocess.TimeoutExpired:
            reload.kill()
            t.fail("round %d: the reload does not end" % i)


def kill_fuse(t, s):
    """And another is there."""
    old = s.daemon.pids("fuse")
    s.daemon.kill("fuse")
    t.wait_for(lambda: s.daemon.pids("fuse") not in ([], old), "another fuse")


def read_on(fd, off, upto=1 << 30, size=20000):
    """What is there from that offset on, until so much was read."""
    got = b""
    while len(got) < upto:
        more = os.pread(fd, size, off + len(got))
        if not more:
            break
        got += more
    return got


def test_answer_goes_on(t):
    """An answer that is being read when fuse dies goes on where it was, and ends
    where it ends: no byte comes twice; one that is another by now is an
    error."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    t.expect_deaths = True
    for n in range(500):
        write("", a, "some-file-%d" % n)
    fds = [open_ctl(a) for _ in range(4)]
    line = b'{"request":"diff"}\n'
    for fd in fds:
        os.write(fd, line)
    whole = read_on(fds[0], len(line))
    t.true(len(whole) > 20000, "%d bytes" % len(whole))
    half = [read_on(fd, len(line), 10000, 10000) for fd in fds[1:]]
    kill_fuse(t, s)
    half[0] += read_on(fds[1], len(line) + len(half[0]), 1000, 1000)
    kill_fuse(t, s)
    t.equal(b"", os.pread(fds[0], 100, len(line) + len(whole)), "the end")
    half[0] += read_on(fds[1], len(line) + len(half[0]))
    t.true(half[0] == whole, "%d bytes, of %d" % (len(half[0]), len(whole)))
    # Before it dies: the next fuse asks again as soon as it is there.
    write("", a, "one-more")
    kill_fuse(t, s)
    for n, fd in enumerate(fds[2:]):
        try:
            os.pread(fd, 20000, len(line) + len(half[n + 1]))
            t.fail("the middle of another answer")
        except OSError as e:
            t.equal(errno.EIO, e.errno, "another answer")
    t.equal(b"", os.pread(fds[1], 100, len(line) + len(whole)), "the end")
    for fd in fds:
        os.close(fd)


def lines_of(s):
    """Where the one mount keeps lines."""
    top = os.path.join(s.daemon.dir, "state", "mounts")
    return [w for w, _, _ in os.walk(top) if os.path.basename(w) == "lines"][0]


def test_line_in_parts(t):
    """A line that is written in several writes is whole, whatever dies between
    them."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    t.expect_deaths = True
    write("x", a, "f")
    fd = open_ctl(a)
    for part in b'{"request":', b'"comm', b'it"}\n':
        kill_fuse(t, s)
        os.write(fd, part)
    kill_fuse(t, s)
    t.equal(1, answers(fd)[-1]["result"]["number"], "the commit")
    os.close(fd)
    t.wait_for(lambda: not os.listdir(lines_of(s)), "no line is kept")


@deadline(120)
def test_killed_in_open(t):
    """Who opens ctl has one session, and the only one, when fuse dies before it
    says so."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    t.expect_deaths = True
    for when in "before", "after":
        fuse, = s.daemon.pids("fuse")
        with subprocess.Popen(
                [os.path.join(t.repo, t.obj, "regress/hostile/journal_kill"),
                 str(fuse), "getrandom", when], stdout=subprocess.PIPE,
                encoding="ascii") as watch:
            t.equal("armed\n", watch.stdout.readline(), "watched")
            fd = open_ctl(a)
            t.equal("killed\n", watch.stdout.readline(), "in the open")
        send(fd, {"request": "status"})
        t.true("error" not in answers(fd)[-1], "an answer")
        os.close(fd)
