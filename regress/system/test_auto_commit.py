# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Commits that nobody asks for: `commit every' and `commit on umount' of
sailvold.conf, beside people who commit, and with a server that is gone."""

import json
import os
import signal
import time

from sailtest import deadline, proxy, stack
from sailtest.stack import end, read, spawn, write

COMMIT = "^POST .*/commit$"
SESSION = "^PUT .*/sessions/[0-9a-f]+$"
FAIL, AGAIN = "automatic commits fail", "automatic commits work again"


def configure(s, *options, volume="v", where="a"):
    """The volume in the configuration of the running daemon; its path."""
    path = s.point(where)
    s.daemon.configure('volume "%s" {\n\tmount "%s"\n%s}\n' % (
        volume, path, "".join("\t%s\n" % o for o in options)))
    s.daemon.hup()
    s.t.wait_for(lambda: os.path.ismount(path), "the mount")
    return path


def start(t, *options):
    """A stack with a proxy, and a configured mount of a volume."""
    s = stack.Stack(t, proxied=True)
    return s, configure(s, "create", *options)


def commits(s):
    """All but the first, which is empty, newest first."""
    log = json.loads(s.ctl("-j", "-s", s.daemon.socket, "log", "v").stdout)
    return [c for c in log["commits"] if c["number"] > 0]


def status(s, path):
    return s.daemon.ctl_json("status", path)


def is_clean(s, path):
    return status(s, path)["dirty"] == {
        "names": 0, "objects": 0, "more": False}


def wait_clean(s, path, seconds=30):
    s.t.wait_for(lambda: is_clean(s, path) and
                 status(s, path)["job"] is None,
                 "all of %s to be committed" % path, deadline_s=seconds)


def test_timer(t):
    """What is changed is published in time, and said to be the timer's; with
    nothing changed there is no commit, and the server is asked nothing."""
    s, a = start(t, "commit every 1s")
    b = s.add_daemon().mount("v", "b")
    write(os.path.join(a, "f"), "one")
    wait_clean(s, a)
    s.reload(b)
    t.equal("one", read(os.path.join(b, "f")), "the other mount")
    c = commits(s)
    t.equal([("by the timer", "uid 0")],
            [(x["message"], x["author"]) for x in c], "the log")
    seen = len(s.api.requests)
    time.sleep(3.5)
    t.equal([], [repr(r) for r in s.api.requests[seen:]],
            "questions with nothing changed")
    # What is stored in a file that stays open comes too.
    with open(os.path.join(a, "open"), "wb", buffering=0) as f:
        for n in range(2):
            f.write(b"%d" % n)
            want = n + 1

            def there(want=want):
                s.reload(b)
                path = os.path.join(b, "open")
                return os.path.exists(path) and os.stat(path).st_size == want

            t.wait_for(there, "byte %d of an open file" % n)


def test_person(t):
    """While a person's commit runs the timer waits for its next turn; while the
    timer's runs, a person's waits for it."""
    s, a = start(t, "commit every 1s")
    wait_clean(s, a)
    # A person's, held at the server.
    s.api.fault(proxy.REFUSE, COMMIT, at=503, times=1000)
    write(os.path.join(a, "f"), "one")
    person = spawn(s, "commit", "-m", "mine", a)
    t.wait_for(lambda: s.api.count(COMMIT) > 0, "a commit to wait")
    write(os.path.join(a, "g"), "later")
    for _ in range(5):
        time.sleep(0.5)
        job = status(s, a)["job"]
        t.true(job["waiting"] <= 1, "jobs pile up: %s" % job)
    s.api.reset()
    t.equal(0, end(person)[0], "the person's commit")
    wait_clean(s, a)
    stack.same(t, stack.look(a), stack.look(s.mount("v", "c")), "both files")
    # The timer's, held likewise.
    s.api.fault(proxy.REFUSE, COMMIT, at=503, times=1000)
    seen = s.api.count(COMMIT)
    write(os.path.join(a, "h"), "three")
    t.wait_for(lambda: s.api.count(COMMIT) > seen, "the timer's to wait")
    write(os.path.join(a, "i"), "four")
    person = spawn(s, "commit", a)
    time.sleep(1)
    t.equal(None, person.poll(), "the person's waits")
    s.api.reset()
    code, answer = end(person)
    t.equal(0, code, "the person's commit: %s" % answer)
    b = s.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "both")
    numbers = [c["number"] for c in commits(s)]
    t.equal(sorted(set(numbers), reverse=True), numbers, "each once")


def lines(s, *texts):
    return [sum(text in line for line in s.daemon.log().splitlines())
            for text in texts]


@deadline(240)
def test_refused(t):
    """A server that refuses is asked again and again, ever later; the log says
    once that it fails, and once that it works again."""
    s, a = start(t, "commit every 1s")
    wait_clean(s, a)
    s.api.fault(proxy.REFUSE, SESSION, at=403, times=10000)
    write(os.path.join(a, "f"), "one")
    began = time.monotonic()
    t.wait_for(lambda: s.api.count(SESSION) >= 3, "three tries",
               deadline_s=60)
    t.true(time.monotonic() - began > 5, "they come later and later")
    t.equal([1, 0], lines(s, FAIL, AGAIN), "lines while it fails")
    t.wait_for(lambda: status(s, a)["job"] is None, "nothing waits", 4)
    write(os.path.join(a, "g"), "two")
    s.api.reset()
    wait_clean(s, a, 60)
    t.wait_for(lambda: lines(s, FAIL, AGAIN) == [1, 1], "the end in the log")
    t.equal(1, len(commits(s)), "commits")
    # A person's commit heals it too.
    s.api.fault(proxy.REFUSE, SESSION, at=403, times=10000)
    write(os.path.join(a, "h"), "three")
    t.wait_for(lambda: lines(s, FAIL) == [2], "a second time")
    s.api.reset()
    s.commit(a)
    t.wait_for(lambda: lines(s, FAIL, AGAIN) == [2, 2], "its end",
               deadline_s=60)


@deadline(300)
def test_gone(t):
    """The server is gone: writers go on, nothing piles up, and all is published
    when it is back; a manifest that dies meanwhile makes no difference."""
    s, a = start(t, "commit every 1s")
    wait_clean(s, a)
    s.api.set_down()
    write(os.path.join(a, "f0"), "0")
    t.wait_for(lambda: lines(s, FAIL) == [1], "the first failure",
               deadline_s=120)
    for n in range(1, 20):
        write(os.path.join(a, "f%d" % n), str(n))
    s.daemon.kill("manifest")
    t.wait_for(lambda: s.daemon.ctl("-j", "status", a, ok=None).returncode ==
               0, "the new manifest")
    t.true((status(s, a)["job"] or {"waiting": 0})["waiting"] == 0,
           "jobs: %s" % status(s, a)["job"])
    s.api.set_down(False)
    wait_clean(s, a, 120)
    b = s.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "all is there")
    numbers = [c["number"] for c in commits(s)]
    t.equal(sorted(set(numbers), reverse=True), numbers, "each once")


def test_sighup(t):
    """The timer comes and goes with the configuration, while the mount and
    what is open in it stay."""
    s, a = start(t)
    with open(os.path.join(a, "f"), "w", encoding="ascii") as f:
        f.write("one")
        f.flush()
        device = os.stat(a).st_dev
        configure(s, "create", "commit every 1s")
        t.wait_for(lambda: len(commits(s)) == 1, "a commit")
        f.write("two")
    t.equal(device, os.stat(a).st_dev, "the same mount")
    wait_clean(s, a)
    configure(s, "create")
    t.wait_for(lambda: s.daemon.log().count("sailvold.conf: taken") == 3,
               "the configuration")
    write(os.path.join(a, "g"), "three")
    time.sleep(3)
    t.equal(False, is_clean(s, a), "without a timer")


def test_umount(t):
    """`commit on umount': it is published first, and said; a commit that fails
    leaves the mount there, and --force leaves the changes."""
    s, a = start(t, "commit on umount")
    write(os.path.join(a, "f"), "one")
    done = s.daemon.umount(a)
    ident = commits(s)[0]["id"]
    t.equal("", done.stdout, "standard output")
    t.true("committed: " + ident in done.stderr, done.stderr)
    t.true(not os.path.ismount(a), "unmounted")
    b = s.mount("v", "b")
    t.equal("one", read(os.path.join(b, "f")), "published")
    # Clean: nothing is said, and the server is not asked.
    configure(s, "commit on umount")
    s.api.set_down()
    done = s.daemon.umount(a)
    t.equal("", done.stdout + done.stderr, "a clean one")
    s.api.set_down(False)
    # It fails.
    configure(s, "commit on umount")
    write(os.path.join(a, "f"), "two")
    s.api.fault(proxy.REFUSE, SESSION, at=403, times=1000)
    done = s.daemon.umount(a, ok=1)
    t.true(os.path.ismount(a), "still mounted: " + done.stderr)
    t.equal("two", read(os.path.join(a, "f")), "it goes on")
    s.daemon.umount(a, "--force")
    t.true(not os.path.ismount(a), "by force")
    s.api.reset()
    configure(s, "commit on umount")
    t.equal("two", read(os.path.join(a, "f")), "the changes are kept")
    # In use: committed all the same, which is said.
    os.chdir(a)
    done = s.daemon.umount(a, ok=1)
    os.chdir("/")
    t.true("committed: " + commits(s)[0]["id"] in done.stderr, done.stderr)
    t.equal(2, commits(s)[0]["number"], "the commit")
    t.equal(commits(s)[0]["id"],
            s.daemon.umount(a, "--commit").stdout.strip(), "asked for")


def test_end(t):
    """At the end of the daemon too; mounts without it keep their changes."""
    s, a = start(t, "commit on umount", "commit every 300s")
    b = s.mount("w", "b", create=True)
    write(os.path.join(a, "f"), "one")
    write(os.path.join(b, "f"), "kept")
    s.daemon.stop()
    t.true(not os.path.ismount(a), "unmounted")
    s.daemon.start()
    t.wait_for(lambda: os.path.ismount(a) and os.path.ismount(b), "mounts")
    c = commits(s)
    t.equal([(1, "at the end of sailvold")],
            [(x["number"], x["message"]) for x in c], "the log")
    t.true(is_clean(s, a), "published")
    t.true(not is_clean(s, b), "the other one's stay")
    # The server refuses: they stay.
    s.api.fault(proxy.REFUSE, SESSION, at=403, times=1000)
    write(os.path.join(a, "f"), "two")
    s.daemon.stop()
    t.equal(1, lines(s, "not committed before the end")[0], "in the log")
    s.api.reset()
    s.daemon.start()
    t.wait_for(lambda: os.path.ismount(a), "the mount")
    t.equal("two", read(os.path.join(a, "f")), "taken up")
    s.commit(a)
    t.equal(2, commits(s)[0]["number"], "published at last")


@deadline(240)
def test_end_with_the_server_gone(t):
    """The end is not held up for longer than half a minute, and not at all
    after a second signal; the changes come with the next start."""
    s, a = start(t, "commit on umount")
    write(os.path.join(a, "f"), "one")
    for signals in (1, 2):
        s.api.set_down()
        began = time.monotonic()
        s.daemon.process.send_signal(signal.SIGTERM)
        if signals == 2:
            t.wait_for(lambda: not os.path.exists(s.daemon.socket),
                       "the end to begin")
            s.daemon.process.send_signal(signal.SIGTERM)
        t.equal(0, s.daemon.process.wait(timeout=60), "exit status")
        took = time.monotonic() - began
        t.true(took < (45 if signals == 1 else 15), "it took %.1f s" % took)
        t.true(not os.path.ismount(a), "unmounted")
        if signals == 1:
            s.daemon.start()
            t.wait_for(lambda: os.path.ismount(a), "the mount")
            t.equal("one", read(os.path.join(a, "f")), "taken up")
    s.api.set_down(False)
    s.daemon.start()
    t.wait_for(lambda: os.path.ismount(a), "the mount")
    t.equal("one", read(os.path.join(a, "f")), "taken up again")
    s.commit(a)
    b = s.mount("v", "b")
    stack.same(t, stack.look(a), stack.look(b), "published once")
    t.equal(1, len(commits(s)), "commits")
