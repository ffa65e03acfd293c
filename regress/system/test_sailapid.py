# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailapid reads its configuration again without harm, keeps its limits, and
answers errors in the form of the API."""

import json
import os
import re
import signal
import struct
import urllib.parse

from sailtest import s3, server

MAGIC = b"SVWB"


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


def test_twice(t):
    """A second server with the same pid file or port file is refused, and takes
    nothing of the first."""
    srv = server.Server(t, 'pid file "%s/pid"' % t.path("sailapid"))

    def pid():
        return srv.read("pid")

    want = [srv.read("api.port"), srv.read("store.port"), pid()]
    t.equal("%d\n" % srv.process.pid, want[2], "pid file")
    r = t.run([srv.program, "-d", "-f", srv.conf], ok=1)
    t.true("%s/pid: another sailapid that runs wrote it" % srv.dir
           in r.stderr, r.stderr)
    text = t.run(["cat", srv.conf]).stdout.replace("pid file", "# pid file")
    r = t.run([srv.program, "-f", t.write("other.conf", text)], ok=1)
    t.true("api.port: another sailapid" in r.stderr, r.stderr)
    t.equal(want, [srv.read("api.port"), srv.read("store.port"),
                   pid()], "the files of the first")
    t.equal(200, srv.call("GET", "/v1/whoami")[0], "the first")
    t.expect_deaths = True
    srv.process.kill()
    srv.process.wait()
    srv.start()
    t.equal("%d\n" % srv.process.pid, pid(), "after a crash")


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
    got = srv.raw("PUT", "/v1/volumes", b"", headers=key)
    check(got, 405, "method_not_allowed", "method of a route")
    t.equal("GET, HEAD, POST", got[1].get("allow"), "Allow")
    got = srv.raw("DELETE", "/v1/whoami", headers=key)
    t.equal("GET, HEAD", got[1].get("allow"), "Allow")
    want = srv.raw("GET", "/v1/whoami", headers=key)
    got = srv.raw("HEAD", "/v1/whoami", headers=key)
    t.equal((200, b""), (got[0], got[2]), "HEAD")
    t.equal(want[1]["content-length"], got[1]["content-length"], "its length")
    t.equal("GET, HEAD, PUT, POST, DELETE", srv.raw(
        "PATCH", "/v1/whoami", headers=key)[1].get("allow"), "Allow of all")
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


def test_slow_bodies(t):
    """Bodies that are promised and do not come keep nobody out, and a large one
    is taken only for a key that meta knows."""
    srv = server.Server(t, "limits { body size 1M }")

    def head(length, key=srv.key, more=""):
        sock = s3.socket.create_connection(("127.0.0.1", srv.port), 30)
        sock.sendall(("POST /v1/keys HTTP/1.1\r\nHost: x\r\n%s"
                      "Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
                      % (more, key, length)).encode())
        return sock

    slow = [head(1 << 20) for _ in range(4)]
    for sock in slow:
        sock.sendall(b"x" * 1000)
    t.equal(201, srv.call("POST", "/v1/volumes", {"name": "v"})[0], "small")
    large = json.dumps({"name": "w", "x": "x" * 100000})
    key = {"Authorization": "Bearer " + srv.key}
    t.equal(201, srv.raw("POST", "/v1/volumes", large, key)[0], "large")
    for sock in slow:
        sock.close()
    fake = "sk_" + "0" * 64
    status, _, out = srv.raw("POST", "/v1/volumes", large,
                             {"Authorization": "Bearer " + fake})
    t.equal((401, "bad_key"), (status, error(out)["code"]), "unknown key")
    expect = "Expect: 100-continue\r\n"
    for who, want in ((fake, b"401 "), (srv.key, b"100 ")):
        with head(100000, who, expect) as sock:
            got = sock.recv(4096)
            t.true(got.startswith(b"HTTP/1.1 " + want), "%r" % got)
            if want == b"100 ":
                sock.sendall(b"x" * 100000)
                got = sock.recv(4096)
                t.true(got.startswith(b"HTTP/1.1 400 "), "%r" % got)


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


def chunk_urls(t, srv, session, datas):
    """Asks for the upload of chunks: [None or (target, headers)]."""
    body = MAGIC + bytes([3, 1]) + struct.pack("<I", len(datas))
    for d in datas:
        body += bytes.fromhex(s3.sha256(d)) + struct.pack("<I", len(d))
    status, headers, out = srv.raw(
        "POST", session + "/chunks", body,
        {"Authorization": "Bearer " + srv.key})
    t.equal((200, "application/x-sailvol"), (status, headers["content-type"]),
            "chunks: %r" % out[:200])
    t.equal(MAGIC + bytes([4, 1]) + struct.pack("<I", len(datas)), out[:10],
            "head of the answer")
    at, urls = 10, []
    for d in datas:
        if out[at] == 0:
            urls.append(None)
            at += 1
            continue
        t.equal(s3.sha256(d), out[at + 1:at + 33].hex(), "object")
        at += 33
        parts = []
        for _ in range(2):
            (n,) = struct.unpack_from("<H", out, at)
            parts.append(out[at + 2:at + 2 + n].decode())
            at += 2 + n
        url = urllib.parse.urlsplit(parts[0])
        t.equal("127.0.0.1:%d" % srv.store_port, url.netloc, "host of the URL")
        urls.append((url.path + "?" + url.query, dict(
            line.split(": ") for line in parts[1].splitlines())))
    t.equal(len(out), at, "nothing left over")
    return urls


def test_signed_upload(t):
    """The URL that the API gives for a chunk takes that chunk and no other,
    until its time is over."""
    srv = server.Server(t, "url life 2s")
    t.equal(201, srv.call("POST", "/v1/volumes", {"name": "v"})[0], "volume")
    session = "/v1/volumes/v/sessions/" + "5" * 32
    t.true(srv.call("PUT", session, {})[0] in (200, 201), "session")
    datas = [b"one" * 1000, b"x", b"three"]
    urls = chunk_urls(t, srv, session, datas)
    # The URLs of one answer are not one and the same.
    t.equal(3, len({u[0] for u in urls}), "URLs")
    for (target, headers), data in zip(urls, datas):
        headers = dict(headers, **{"Content-Length": str(len(data))})
        wrong = srv.s3.send("PUT", target, headers, data[:-1] + b"?")
        t.equal((400, "XAmzContentSHA256Mismatch"), (wrong.status, wrong.code),
                "another content")
        t.equal(200, srv.s3.send("PUT", target, headers, data).status,
                "upload")
        t.equal(412, srv.s3.send("PUT", target, headers, data).status,
                "upload again")
    # An answer of more than 32 KiB goes another way through the server.
    many = [b"%d" % i for i in range(200)]
    t.equal(200, len({u[0] for u in chunk_urls(t, srv, session, many)}),
            "many URLs")
    target, headers = chunk_urls(t, srv, session, [b"late"])[0]
    headers["Content-Length"] = "4"

    def late():
        a = srv.s3.send("PUT", target, headers, b"1ate")
        return a if a.status == 403 else None

    t.equal("AccessDenied", t.wait_for(late, "the URL expires").code, "expired")
    t.equal(3, len(srv.s3.list()[0]), "objects")


def test_limits(t):
    """More connections than configured wait; silent ones are closed."""
    srv = server.Server(t, "limits { connections 6 per peer 6, idle 1s }")
    held = [s3.socket.create_connection(("127.0.0.1", srv.port), 30)
            for _ in range(20)]
    for sock in held[:10]:
        sock.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n")
    t.wait_for(srv.up, "an answer when the silent ones are closed")
    for sock in held:
        sock.settimeout(30)
        t.equal(b"", sock.recv(100), "a silent connection is closed")
        sock.close()
    t.equal(5, len(srv.roles()), "all roles still run")


def test_background(t):
    """Without -d it goes into the background when nothing can fail any more."""
    srv = server.Server(t)
    srv.stop()
    pid_file = os.path.join(srv.dir, "pid")
    srv.configure('pid file "%s"' % pid_file)
    t.run([srv.program, "-f", srv.conf], timeout=20)
    pid = int(t.wait_for(lambda: srv.read("pid"), "pid file"))
    # A second one cannot take its address, and says so while it is heard.
    conf = t.write("second.conf", t.run(["cat", srv.conf]).stdout.replace(
        "port 0 port file", "port %d port file" % srv.port, 1).replace(
            "/pid\"", "/pid2\"").replace(".port\"", ".port2\""))
    r = t.run([srv.program, "-f", conf], ok=1)
    t.true("Address already in use" in r.stderr, r.stderr)
    os.kill(pid, signal.SIGTERM)
    t.wait_for(lambda: srv.read("pid") == "", "it ends")
