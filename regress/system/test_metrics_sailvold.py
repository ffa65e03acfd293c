# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The numbers of sailvold at /metrics: what they are, where, for whom, and
that no other process is held up or taken down by them."""

import http.client
import json
import os
import re
import resource
import signal
import socket
import time

from sailtest import promtext, stack

LISTEN = 'metrics listen on 127.0.0.1 port 0 port file "%s"\n'


def served(t, extra="", **kwargs):
    s = stack.Stack(t, daemons=0, **kwargs)
    s.add_daemon(extra=LISTEN % t.path("metrics.port") + extra)
    return s


def port(t):
    with open(t.path("metrics.port"), encoding="ascii") as f:
        return int(f.read())


def ask(t, method="GET", target="/metrics", body=None, **headers):
    """(status, headers, text)"""
    c = http.client.HTTPConnection("127.0.0.1", port(t), timeout=20)
    try:
        c.request(method, target, body=body, headers=headers)
        r = c.getresponse()
        return (r.status, {k.lower(): v for k, v in r.getheaders()},
                r.read().decode("utf-8"))
    finally:
        c.close()


def numbers(t):
    status, headers, text = ask(t)
    t.equal(200, status, text)
    t.equal(promtext.TYPE, headers["content-type"], "type")
    return promtext.Families(t, text)


def come(t, predicate, what):
    """Until they are so: an answer may be half a second old."""
    def look():
        n = numbers(t)
        return n if predicate(n) else None
    return t.wait_for(look, what)


def restarted(t, d, role, old):
    t.wait_for(lambda: [p for p in d.pids(role) if p not in old],
               role + " is there again")


def listening(d):
    """Addresses of the sockets that the daemon's processes listen at."""
    inodes = set()
    for pid in [d.process.pid] + [pid for pid, _ in d.roles()]:
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                what = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            except FileNotFoundError:
                continue
            if what.startswith("socket:["):
                inodes.add(what[8:-1])
    found = []
    for name in ("tcp", "tcp6"):
        with open("/proc/net/" + name, encoding="ascii") as f:
            for line in list(f)[1:]:
                words = line.split()
                if words[3] == "0A" and words[9] in inodes:
                    found.append(words[1].split(":")[0])
    return found


def test_off(t):
    """Without the line nobody listens, and there is no such process."""
    d = stack.Stack(t).daemon
    t.equal([], d.pids("metrics"), "processes")
    t.equal([], listening(d), "sockets that listen")


def test_loopback_alone(t):
    """An address that others can reach is refused, and named."""
    d = stack.Stack(t).daemon
    for address in ("*", "0.0.0.0", "::", "192.0.2.1", "::ffff:127.0.0.1"):
        conf = d.configure("metrics listen on %s port 0\n" % address)
        r = t.run([d.program, "-n", "-f", conf], ok=1)
        t.true("metrics listen on %s: not a loopback address" % address in
               r.stderr, r.stderr)
        d.hup()
        t.wait_for(lambda a=address: "metrics listen on %s: not" % a
                   in d.log(), "refused by SIGHUP")
    t.equal([], listening(d), "sockets that listen")


def test_http(t):
    """GET and HEAD of /metrics, and nothing else."""
    d = served(t).daemon
    t.equal(["0100007F"], listening(d), "127.0.0.1 alone")
    status, headers, text = ask(t)
    t.equal((200, promtext.TYPE), (status, headers["content-type"]), text)
    status, headers, body = ask(t, "HEAD")
    t.equal((200, promtext.TYPE, ""), (status, headers["content-type"], body),
            "HEAD")
    t.true(int(headers["content-length"]) > 1000, "length of HEAD")
    t.equal(200, ask(t, target="/metrics?a=b")[0], "a query")
    for target in ("/", "/metrics/", "/Metrics", "//metrics", "/metricsx",
                   "/%6detrics", "/v1/whoami", "/../metrics"):
        t.equal(404, ask(t, target=target)[0], target)
        t.equal(404, ask(t, "POST", target, body=b"x")[0], target)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = ask(t, method, body=b"x" * 100000)
        t.equal((405, "GET, HEAD"), (status, headers["allow"]), method)
    before = d.pids("metrics")
    for raw in (b"\r\n\r\n", b"GET\r\n\r\n", b"\0" * 5000,
                b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 10000,
                b"GET " + b"/" * 100000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port(t)), 20) as c:
            try:
                c.sendall(raw)
            except OSError:
                pass
    t.equal(200, ask(t)[0], "after nonsense")
    t.equal(before, d.pids("metrics"), "the process")


def test_many_clients(t):
    """Those that ask at the same time have one answer, and those who leave,
    or send nothing, keep nobody from it."""
    d = served(t).daemon
    idle = [socket.create_connection(("127.0.0.1", port(t)), 20)
            for _ in range(10)]
    for _ in range(5):
        ones = [socket.create_connection(("127.0.0.1", port(t)), 20)
                for _ in range(15)]
        for n, c in enumerate(ones):
            c.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
                      b"Connection: close\r\n\r\n")
            if n % 3 == 0:
                c.close()
        for n, c in enumerate(ones):
            data = b""
            while n % 3 and not data.endswith(b"\0"):
                more = c.recv(65536)
                if not more:
                    break
                data += more
            if n % 3:
                t.true(data.startswith(b"HTTP/1.1 200 OK\r\n"), data[:100])
                promtext.Families(t, data.split(b"\r\n\r\n", 1)[1].decode())
            c.close()
    for c in idle:
        c.close()
    t.equal(1, numbers(t).get("sailvold_starts_total", role="metrics"),
            "starts")
    t.equal([], [line for line in d.log().splitlines() if "killed" in line],
            "log")


def manual_names(t):
    with open(os.path.join(t.repo, "man", "sailvold.8"),
              encoding="ascii") as f:
        text = f.read().split(".Sh METRICS\n")[1].split("\n.Sh ")[0]
    names = re.findall(r"^\.It Li (sailvold_\w+)$", text, re.M)
    t.equal(len(names), len(set(names)), "each is there once")
    return set(names)


def work(t, s):
    """A mount with a limit, and some of everything in it."""
    s.daemon.configure(LISTEN % t.path("metrics.port") +
                       'volume "limited" { mount "%s" create '
                       'overlay size 1G }\n' % s.point("l"))
    s.daemon.hup()
    t.wait_for(lambda: os.path.ismount(s.point("l")), "mounted by SIGHUP")
    a = s.mount("secret-volume", "secret-place", create=True)
    for n in range(20):
        stack.write(os.path.join(a, "secret-file-%d" % n), "x" * 5000)
    s.commit(a)
    return a


def test_manual(t):
    """All names of the manual are there, with samples, and no others."""
    s = served(t)
    work(t, s)
    n = come(t, lambda n: n.sum("sailvold_mount_jobs_ended_total") > 0,
             "the commit")
    t.equal(manual_names(t), set(n.types), "names")
    t.equal(set(n.types), {name for name, _ in n.samples}, "with samples")


def test_nothing_secret(t):
    """No names, no paths, no addresses, no keys; of mounts a number."""
    s = served(t)
    a = work(t, s)
    os.rename(os.path.join(a, "secret-file-1"), os.path.join(a, "secret-2"))
    _, _, text = ask(t)
    n = promtext.Families(t, text)
    samples = "\n".join(line for line in text.splitlines()
                        if not line.startswith("#"))
    for word in ("secret", "limited", "/", s.daemon.key, s.daemon.key[3:20],
                 "127.0.0.1", "_sail", "sk_"):
        t.true(word not in samples, "%r is in it" % word)
    allowed = {"role": r"[a-z]+", "mount": r"\d+", "fetcher": r"\d+",
               "operation": r"[A-Z0-9_]+", "kind": r"[a-z]+",
               "result": r"[a-z]+"}
    for name, labels in n.samples:
        for label, value in labels:
            t.true(re.fullmatch(allowed[label], value), "%s: %s=%s" % (
                name, label, value))


def test_numbers_move(t):
    """Creates, commits, reloads, fetches and cache show in the numbers."""
    s = served(t)
    s.add_daemon()
    a = s.mount("v", "a", create=True)
    status = s.daemon.ctl_json("status")["daemon"]
    mount = str(status["mounts"][0]["instance"])

    def get(n, name, **labels):
        return n.get("sailvold_mount_" + name, mount=mount, **labels)
    first = come(t, lambda n: get(n, "up") == 1, "mounted")
    t.equal(1, first.get("sailvold_mounts"), "mounts")
    t.equal(0, get(first, "dirty_names"), "nothing is dirty")
    t.equal(0, get(first, "jobs_ended_total", kind="commit", result="done"),
            "no commit")
    t.equal(None, get(first, "last_commit_time_seconds"), "no commit")
    for n in range(30):
        stack.write(os.path.join(a, "f%d" % n), "%d" % n * 3000)
    made = come(t, lambda n: get(n, "dirty_names") == 30, "dirty names")
    t.true(get(made, "dirty_files") >= 30, "dirty files")
    t.true(get(made, "requests_total", operation="CREATE") >= 30, "creates")
    t.true(get(made, "journal_bytes_total") >
           get(first, "journal_bytes_total"), "journal")
    s.commit(a)
    done = come(t, lambda n: get(n, "jobs_ended_total", kind="commit",
                                 result="done") == 1, "commit")
    t.equal(0, get(done, "dirty_names"), "nothing is dirty any more")
    t.true(abs(get(done, "last_commit_time_seconds") - time.time()) < 60,
           "time of the commit")
    t.true(done.sum("sailvold_fetch_sent_bytes_total", kind="object") > 30 * 3000,
           "sent")
    t.true(done.sum("sailvold_fetch_tries_total", kind="api") >
           made.sum("sailvold_fetch_tries_total", kind="api"), "requests")
    t.equal(1, done.get("sailvold_server_reachable"), "reachable")
    b = s.daemons[1].mount("v", "b")
    with open(os.path.join(b, "g"), "wb") as f:
        f.write(os.urandom(3 << 20))
    s.daemons[1].ctl("commit", b)
    s.reload(a)
    stack.sha256(os.path.join(a, "g"))
    got = come(t, lambda n: n.get("sailvold_cache_fetched_bytes_total") >=
               3 << 20, "fetched")
    t.equal(1, get(got, "jobs_ended_total", kind="reload", result="done"),
            "reload")
    t.true(got.sum("sailvold_fetch_received_bytes_total", kind="object") >=
           3 << 20, "received")
    t.true(got.get("sailvold_cache_files") >= 1, "files of the cache")
    t.true(got.get("sailvold_cache_bytes") >= 3 << 20, "bytes of the cache")
    t.equal(2 << 30, got.get("sailvold_cache_limit_bytes"), "its limit")
    s.daemon.umount(a)
    gone = come(t, lambda n: n.get("sailvold_mounts") == 0, "unmounted")
    t.equal([], gone.labels("sailvold_mount_up"), "mounts")


def test_server_away(t):
    """Repetitions are counted, and the server is not reachable."""
    s = served(t, proxied=True)
    a = s.mount("v", "a", create=True)
    stack.write(os.path.join(a, "f"), "x")
    first = come(t, lambda n: n.get("sailvold_server_reachable") == 1, "there")
    s.api.set_down()
    waiting = stack.spawn(s, "commit", a)
    away = come(t, lambda n: n.get("sailvold_server_reachable") == 0, "away")
    come(t, lambda n: n.sum("sailvold_fetch_repeats_total", kind="api") >
         first.sum("sailvold_fetch_repeats_total", kind="api"), "repetitions")
    t.true(away.get("sailvold_server_answer_age_seconds") >= 0, "age")
    mount = first.labels("sailvold_mount_up")[0]["mount"]
    come(t, lambda n: n.get("sailvold_mount_jobs", mount=mount) == 1, "a job")
    s.api.set_down(False)
    t.equal(0, waiting.wait(60), "the commit")
    come(t, lambda n: n.get("sailvold_server_reachable") == 1, "there again")


def test_killed(t):
    """Killed, it is there again, at the same port; nothing else is touched."""
    s = served(t)
    a = s.mount("v", "a", create=True)
    where, others = port(t), [r for r in s.daemon.roles() if r[1] != "metrics"]
    for _ in range(3):
        old = s.daemon.pids("metrics")
        s.daemon.kill("metrics")
        restarted(t, s.daemon, "metrics", old)
    n = numbers(t)
    t.equal(4, n.get("sailvold_starts_total", role="metrics"), "starts")
    t.equal(where, port(t), "port")
    t.equal(sorted(others), sorted(r for r in s.daemon.roles()
                                   if r[1] not in ("metrics", "notify")),
            "the others")
    stack.write(os.path.join(a, "f"), "x")
    s.commit(a)


def test_hangs(t):
    """Stopped processes are not waited for longer than a second, however often
    that is; they are not up, and their numbers missing until they go on."""
    s = served(t)
    s.mount("v", "a", create=True)
    come(t, lambda n: n.get("sailvold_up", role="manifest") == 1, "up")
    for role, name in (("manifest", "sailvold_mount_dirty_names"),
                       ("cache", "sailvold_cache_bytes"),
                       ("fetch", "sailvold_fetch_tries_total")):
        t.true(numbers(t).labels(name) != [], name)
        pids = s.daemon.pids(role)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            come(t, lambda n, r=role: n.sum("sailvold_up", role=r) == 0,
                 "not up")
            for _ in range(3):
                begin = time.monotonic()
                n = numbers(t)
                took = time.monotonic() - begin
                t.true(took < 2, "it took %.1f s" % took)
                t.equal(0, n.sum("sailvold_up", role=role), role)
                t.equal([], n.labels(name), name)
                t.equal(1, n.get("sailvold_up", role="metrics"), "metrics")
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        n = come(t, lambda n, r=role, p=pids:
                 n.sum("sailvold_up", role=r) == len(p), "up again")
        t.true(n.labels(name) != [], name + " again")
        t.equal(len(pids), n.sum("sailvold_starts_total", role=role),
                "not started again")


def test_manifest_killed(t):
    """A manifest that was killed is counted, and its mounts stay up."""
    s = served(t)
    a = s.mount("v", "a", create=True)
    old = s.daemon.pids("manifest")
    s.daemon.kill("manifest")
    restarted(t, s.daemon, "manifest", old)
    n = come(t, lambda n: n.get("sailvold_up", role="manifest") == 1, "up")
    t.equal(2, n.get("sailvold_starts_total", role="manifest"), "starts")
    t.equal([1], [v for (name, _), v in n.samples.items()
                  if name == "sailvold_mount_up"], "the mount")
    stack.write(os.path.join(a, "f"), "x")
    s.commit(a)


def test_sighup(t):
    """On, elsewhere, the same, refused, off: as the configuration says."""
    s = stack.Stack(t)
    d, where = s.daemon, t.path("metrics.port")

    def again(extra, taken=True):
        done = ": taken" if taken else "not taken"
        count = d.log().count(done)
        d.configure(extra)
        d.hup()
        t.wait_for(lambda: d.log().count(done) > count, done)
    again(LISTEN % where)
    numbers(t)
    first, pids = port(t), d.pids("metrics")
    again(LISTEN % where)
    t.equal((first, pids), (port(t), d.pids("metrics")), "nothing changed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        again("metrics listen on 127.0.0.1 port %d\n" %
              taken.getsockname()[1], taken=False)
    numbers(t)
    t.equal((first, pids), (port(t), d.pids("metrics")), "all stays")
    again("metrics listen on ::1 port 0 port file \"%s\"\n" % where)
    t.wait_for(lambda: port(t) != first, "another port")
    t.wait_for(lambda: d.pids("metrics") not in ([], pids), "another process")
    c = http.client.HTTPConnection("::1", port(t), timeout=20)
    c.request("GET", "/metrics")
    t.equal(200, c.getresponse().status, "by IPv6")
    c.close()
    again("")
    t.wait_for(lambda: d.pids("metrics") == [], "no process")
    t.equal(([], False), (listening(d), os.path.exists(where)), "off")
    again(LISTEN % where)
    numbers(t)
    d.stop()
    t.true(not os.path.exists(where), "the port file at the end")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def test_sighup_at_once(t):
    """Off and on again while the old process is not gone: the port is free."""
    s = stack.Stack(t)
    d, line = s.daemon, "metrics listen on 127.0.0.1 port %d\n" % free_port()
    where = 'metrics listen on 127.0.0.1 port %s port file "%s"\n' % (
        line.split()[-1], t.path("metrics.port"))

    def taken(extra):
        before = d.log().count(": taken")
        d.configure(extra)
        d.hup()
        t.wait_for(lambda: d.log().count("taken") > before, "taken")
        t.equal(0, d.log().count("not taken"), "refused")
    taken(where)
    numbers(t)
    (pid,) = d.pids("metrics")
    os.kill(pid, signal.SIGSTOP)
    try:
        taken("")
        taken(where)
        numbers(t)
    finally:
        if stack.alive(pid):
            os.kill(pid, signal.SIGCONT)
    t.true("address already in use" not in d.log().lower(), d.log())


def test_cannot_start(t):
    """Where the process cannot be started nobody listens, and the next SIGHUP
    tries it again."""
    s = stack.Stack(t)
    d, at = s.daemon, free_port()
    parent = d.process.pid

    def again(extra):
        before = d.log().count(": taken")
        d.configure(extra)
        d.hup()
        t.wait_for(lambda: d.log().count(": taken") > before, "taken")
    line = "metrics listen on 127.0.0.1 port %d\n" % at
    old = resource.prlimit(parent, resource.RLIMIT_NOFILE)
    used = {int(n) for n in os.listdir("/proc/%d/fd" % parent)}
    free = [n for n in range(4096) if n not in used]
    # For the socket, and what is handed to others; not for a new channel.
    resource.prlimit(parent, resource.RLIMIT_NOFILE, (free[2], old[1]))
    try:
        again(line)
        t.wait_for(lambda: "starting metrics" in d.log(), "it cannot start")
    finally:
        resource.prlimit(parent, resource.RLIMIT_NOFILE, old)
    t.equal([], listening(d), "sockets that listen")
    again(line)
    t.wait_for(lambda: d.pids("metrics"), "it has started")
    t.wait_for(lambda: listening(d) == ["0100007F"], "it listens")


def test_status(t):
    """status shows the process, its sandbox, and not what it serves."""
    d = served(t).daemon
    found = [p for p in d.ctl_json("status")["daemon"]["processes"]
             if p["role"] == "metrics"]
    t.equal(1, len(found), json.dumps(found))
    t.true("seccomp" in found[0]["sandbox"], found[0]["sandbox"])
