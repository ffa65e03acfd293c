# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailapid reads its configuration again without harm, keeps its limits, and
answers errors in the form of the API."""

import json
import os
import re
import signal

from sailtest import s3, server


def error(out):
    return json.loads(out)["error"]


def test_print(t):
    """What -nv prints is read again, and printed the same."""
    program = os.path.join(t.repo, "sailapid", "sailapid")
    conf = t.write("a.conf", 'store "/o" { listen on ::1 port 9 } log debug\n'
                   'limits { idle 5m }')
    one = t.run([program, "-nv", "-f", conf]).stdout
    two = t.run([program, "-n", "-v", "-f", t.write("b.conf", one)]).stdout
    t.equal(one, two, "printed again")
    t.true("configuration OK" in t.run([program, "-nf", conf]).stderr, "-n")
    r = t.run([program, "-nf", t.write("c.conf", "listen on * port 80")], ok=1)
    t.true("c.conf:1: listen on *: plain HTTP" in r.stderr, r.stderr)


def test_usage(t):
    """usage() and the SYNOPSIS of the manual page are the same."""
    program = os.path.join(t.repo, "sailapid", "sailapid")
    r = t.run([program, "-x"], ok=2)
    usage = [" ".join(line.split()).replace("usage: ", "")
             for line in r.stderr.splitlines() if "sailapid [" in line]
    page = t.run(["mandoc", "-T", "ascii", "-O", "width=200",
                  os.path.join(t.repo, "man", "sailapid.8")]).stdout
    page = re.sub(".\b", "", page)
    part = page[page.index("SYNOPSIS"):page.index("DESCRIPTION")]
    t.equal(usage, [" ".join(line.split()) for line in part.splitlines()[1:]
                    if line.strip()], "synopsis")
    for words in (["init"], ["key"], ["key", "list"], ["what"],
                  ["-n", "init", "x"], ["key", "create", "a"]):
        t.run([program] + words, ok=2)


def test_commands(t):
    """Keys are made, listed and revoked on the server itself."""
    srv = server.Server(t)

    def key(*words, ok=True):
        return t.run([srv.program, "-f", srv.conf] + list(words), ok=ok)

    secret = key("key", "create", "acme", "read", "for the test").stdout.strip()
    t.true(re.fullmatch("sk_[0-9a-f]{64}", secret), secret)
    t.equal("read", srv.call("GET", "/v1/whoami", key=secret)[1]["key"]["role"],
            "role")
    line = [x for x in key("key", "list", "acme").stdout.splitlines()
            if x.endswith("for the test")]
    t.equal(1, len(line), "lines")
    key("key", "revoke", "acme", line[0].split()[0])
    t.equal(401, srv.call("GET", "/v1/whoami", key=secret)[0], "revoked")
    key("init", "acme", ok=1)
    key("key", "list", "nobody", ok=1)


def test_reload(t):
    """SIGHUP: a typo changes nothing; a new address and new limits are taken;
    what needs a new start is said."""
    srv = server.Server(t)
    old = srv.port

    def hup(text, want):
        t.write("sailapid/sailapid.conf", text)
        srv.process.send_signal(signal.SIGHUP)
        t.wait_for(lambda: want in srv.log(), want)

    good = t.run(["cat", srv.conf]).stdout
    hup(good + "listen on", "not read, nothing was changed")
    hup(good + "listen on 10.0.0.1 port 1", "plain HTTP is for loopback")
    hup(good.replace("/db\"", "/db2\""), "another database needs a new start")
    t.equal((old, 200), (srv.port, srv.call("GET", "/v1/whoami")[0]), "as before")
    hup(good.replace("api.port", "api2.port") + "url life 5s",
        "sailapid.conf: read again")
    t.wait_for(lambda: srv.read("api2.port"), "a new port")
    srv.t.equal(False, old == int(srv.read("api2.port")), "another port")
    os.rename(srv.dir + "/api2.port", srv.dir + "/api.port")
    t.wait_for(srv.up, "an answer at the new port")


def test_refusals(t):
    """Every error is JSON with message, type and code; all answers have Date."""
    srv = server.Server(t, "limits { body size 1M }")
    key = {"Authorization": "Bearer " + srv.key}

    def check(answer, status, code, what):
        t.equal((status, code), (answer[0], error(answer[2])["code"]), what)
        t.true("date" in answer[1], what + ": date")
        t.equal("application/json", answer[1]["content-type"], what)

    check(srv.raw("GET", "/v1/whoami"), 401, "bad_key", "no key")
    check(srv.raw("PATCH", "/v1/whoami", headers=key), 405,
          "method_not_allowed", "method")
    check(srv.raw("POST", "/v1/keys", b"x" * (1 << 20) + b"x", key), 413,
          "body_too_large", "large body")
    check(srv.raw("POST", "/v1/keys", b"x" * 40000), 401, "bad_key",
          "a body that needs a key")
    check(srv.raw("GET", "/v1/" + "x" * 9000, headers=key), 400, "bad_target",
          "long target")
    check(srv.raw("GET", "/v1/whoami", headers={"Authorization": "x" * 600}),
          400, "bad_header", "long header")
    status, _, out = srv.raw("GET", "/v1/nothing", headers=key)
    t.equal((404, True), (status, "error" in json.loads(out)), "no such route")
    status, headers, out = srv.raw("HEAD", "/v1/whoami", headers=key)
    t.equal(b"", out, "head")
    t.true("date" in headers, "head: date")
    c = s3.S3(srv.port, "", "")
    got = c.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100000 +
                b"\r\n\r\n")
    t.true(got == b"" or b" 431 " in got[:20] or b" 413 " in got[:20],
           "headers: %r" % got[:80])


def test_without_meta(t):
    """While meta is away: 503 with Retry-After, also for what it was asked."""
    srv = server.Server(t)
    t.expect_deaths = True
    pid = srv.roles()["meta"]
    os.kill(pid, signal.SIGSTOP)
    with s3.socket.create_connection(("127.0.0.1", srv.port), 30) as sock:
        sock.sendall(("GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: "
                      "Bearer %s\r\n\r\n" % srv.key).encode())
        sock.settimeout(0.5)
        try:
            t.fail("an answer without meta: %r" % sock.recv(4096))
        except TimeoutError:
            pass
        os.kill(pid, signal.SIGKILL)
        sock.settimeout(30)
        got = sock.recv(4096)
    t.true(got.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in got,
           "%r" % got)
    t.wait_for(srv.up, "meta is back")
