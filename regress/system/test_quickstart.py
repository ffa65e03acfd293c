# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The quickstart starts, works, may be called again, and ends without a
trace."""

import os
import signal

from sailtest import deadline, stack


def mounts(where):
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as f:
        return [x for x in f if x.split()[4].startswith(where + "/")]


@deadline(240)
def test_quickstart(t):
    """up, up, up with a new server, down, up with what was stored, down, down."""
    stack.require_fuse(t)
    run = t.path("run")

    def quickstart(word):
        # Its daemons would hold a pipe open.
        t.run(["sh", "-c", "exec sh %s %s >%s 2>&1" % (
            os.path.join(t.repo, "etc/quickstart.sh"), word,
            t.path("quickstart.log"))], env={"SAIL_RUN": run}, timeout=100,
            ok=None)
        with open(t.path("quickstart.log"), encoding="utf-8") as f:
            return f.read()

    for word in ("up", "up"):
        said = quickstart(word)
        t.true("cat run/b/hello.txt          shows: hello from a" in said and
               "Go on:" in said, said)
        t.equal(2, len(mounts(run)), "mounts: " + said)
    # A server that died comes back at another port.
    with open(os.path.join(run, "sailapid.pid"), encoding="ascii") as f:
        os.kill(int(f.read()), signal.SIGKILL)
    said = quickstart("up")
    t.true("Go on:" in said, said)
    with open(os.path.join(run, "b", "hello.txt"), encoding="ascii") as f:
        hello = f.read()
    pids = []
    for name in ("sailapid", "sailvold"):
        with open(os.path.join(run, name + ".pid"), encoding="ascii") as f:
            pids.append(int(f.read()))
    t.equal(0o600, os.stat(os.path.join(run, "key")).st_mode & 0o777, "key")
    # Dirty changes do not hold it up, and are not lost.
    with open(os.path.join(run, "a", "mine"), "w", encoding="ascii") as f:
        f.write("dirty")
    t.true("ended" in quickstart("down"), "down")
    t.equal([], mounts(run), "mounts after down")
    for pid in pids:
        t.true(not stack.alive(pid), "pid %d is left" % pid)
    # As if it had been interrupted once the organisation was made.
    os.rename(os.path.join(run, "key"), os.path.join(run, "key.new"))
    said = quickstart("up")
    with open(os.path.join(run, "a", "mine"), encoding="ascii") as f:
        t.equal("dirty", f.read(), "taken up again: " + said)
    with open(os.path.join(run, "b", "hello.txt"), encoding="ascii") as f:
        t.true(f.read() >= hello, "reloaded")
    t.true("ended" in quickstart("down"), "down")
    t.true("ended" in quickstart("down"), "down twice")
    t.equal([], mounts(run), "mounts in the end")
