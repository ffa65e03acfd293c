# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A clock that is off by an hour is found, said, and does no harm: that of a
machine with mounts, and that of the server against its store."""

import os
import shutil
import time

from sailtest import deadline, gateway, stack

HOUR = 3600

# A role's environment is empty, so that nothing can be preloaded: it is a library
# that copies of the programs need, before all others.
CLOCK = r"""
#define _GNU_SOURCE
#include <sys/time.h>
#include <dlfcn.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);

static void __attribute__((constructor))
find(void)
{
	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc;

	if (real == 0)
		find();
	rc = real(id, ts);
	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += OFF;
	return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	(void)tz;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t != 0)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
"""


def off_by(t, program, seconds):
    """A copy of a program, and of the one that it runs, whose clock is off."""
    source = t.write("clock.c", CLOCK)
    library = t.path("clock.so")
    t.run(["gcc", "-shared", "-fPIC", "-O1", "-DOFF=(%d)" % seconds,
           "-o", library, source])
    os.chmod(library, 0o755)
    for name in (program, "sailvol-fetch"):
        copy = t.path("off", name, name)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy(os.path.join(t.repo, name, name), copy)
        # Before all but the sanitizer's, which wants to be the very first.
        first = [n for n in t.run(["patchelf", "--print-needed", copy])
                 .stdout.split() if n.startswith("libasan.")]
        for n in first:
            t.run(["patchelf", "--remove-needed", n, copy])
        for n in [library] + first:
            t.run(["patchelf", "--add-needed", n, copy])
    return t.path("off", program, program)


class FakedDaemon(stack.Daemon):
    """A sailvold whose clock is off."""

    off = 0

    def start(self, wait=True):
        if self.off:
            self.program = off_by(self.t, "sailvold", self.off)
        super().start(wait)


class FakedStack(stack.Stack):
    daemon_class = FakedDaemon


class FakedServer(stack.FixedServer):
    """A sailapid whose clock is off."""

    off = 0

    def start(self):
        self.program = off_by(self.t, "sailapid", self.off)
        super().start()


def round_trip(t, s, a, b, name):
    data = os.urandom(3 << 20)
    with open(os.path.join(a, name), "wb") as f:
        f.write(data)
    with open(os.path.join(a, name + ".small"), "wb") as f:
        f.write(data[:1000])
    s.share(a, b)
    for n, want in ((name, data), (name + ".small", data[:1000])):
        with open(os.path.join(b, n), "rb") as f:
            t.true(f.read() == want, "content of " + n)


def client(t, off, word):
    FakedDaemon.off = off
    s = FakedStack(t, daemons=1, server_extra="url life 2s")
    FakedDaemon.off = 0
    s.add_daemon()
    a, b = s.mount("v", "a", create=True), s.daemons[1].mount("v", "b")
    round_trip(t, s, a, b, "f")
    line = "s %s that of the server: times of files" % word
    t.true(line in s.daemon.log(), "the log of who is off")
    t.true("set the clock" not in s.daemons[1].log(), "the log of who is not")
    # Said once.
    round_trip(t, s, a, b, "g")
    round_trip(t, s, b, a, "h")
    t.equal(1, s.daemon.log().count(line), "lines")


def test_client_ahead(t):
    client(t, HOUR, "ahead of")


def test_client_behind(t):
    client(t, -HOUR, "behind")


def test_no_date(t):
    """Answers without a Date say nothing of clocks: not that they are equal, and
    not that they are off.  The first that has one does."""
    FakedDaemon.off = HOUR
    s = FakedStack(t, proxied=True)
    FakedDaemon.off = 0
    s.api.without = s.store.without = "date"
    a = s.mount("v", "a", create=True)
    for name in ("f", "g"):
        with open(os.path.join(a, name), "wb") as f:
            f.write(os.urandom(3 << 20))
        s.commit(a)
        s.reload(a)
    t.true(s.api.count("/commit") >= 2, "commits")
    t.true("that of the server" not in s.daemon.log(), s.daemon.log())
    s.api.without = s.store.without = None
    s.reload(a)
    line = "s ahead of that of the server: times of files"
    t.wait_for(lambda: line in s.daemon.log(), line)
    # And again without: what is known stays known, and is said once.
    s.api.without = "date"
    s.reload(a)
    t.equal(1, s.daemon.log().count("that of the server"), "lines")


class ServerStack(stack.Stack):
    server_class = FakedServer


def server_stack(t, off):
    """Its server is off, and not its store."""
    FakedServer.off = off
    return ServerStack(t, daemons=2, store=gateway.Gateway(t))


def server_off(t, off, word):
    s = server_stack(t, off)
    a, b = s.mount("v", "a", create=True), s.daemons[1].mount("v", "b")
    round_trip(t, s, a, b, "f")
    line = "s %s that of the store: URLs are signed by the store's" % word
    t.equal(1, s.server.log().count(line), "lines of " + s.server.log()[-3000:])
    # Commits have the server's time.
    out = s.server.call("GET", "/v1/volumes/v/commits")[1]["commits"]
    t.true(abs(out[0]["time"] - time.time() - off) < 120, "time of a commit")
    # The signatures have the store's.
    s.server.stop()
    s.server.start()
    round_trip(t, s, b, a, "g")


@deadline(240)
def test_server_behind(t):
    """The store would say of each URL that it had expired."""
    server_off(t, -HOUR, "behind")


@deadline(240)
def test_server_ahead(t):
    """The store would have URLs live an hour longer."""
    server_off(t, HOUR, "ahead of")


@deadline(240)
def test_much_too_far(t):
    """More than a day is not followed: the error says who refuses, the log
    why."""
    s = server_stack(t, -3 * 24 * HOUR)
    a = s.mount("v", "a", create=True)
    with open(os.path.join(a, "f"), "wb") as f:
        f.write(os.urandom(3 << 20))
    r = s.ctl("commit", a, ok=False)
    t.true("URLs that are signed by our clock" in r.stderr or
           "store refuses the server's URLs" in r.stderr, "error: " + r.stderr)
    t.true("too much to sign URLs by: set the clock" in s.server.log(), "log")
