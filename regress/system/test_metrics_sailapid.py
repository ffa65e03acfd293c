# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailapid says its numbers at /metrics of a socket of its own, which there is
only if the configuration says so: in the text form of Prometheus, as its manual
lists them, and nothing else."""

import http.client
import os
import re
import signal
import socket

from sailtest import server, stack
from sailtest.stack import write

NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
SAMPLE = re.compile(r"(%s)(?:\{(%s=\"[^\"\\\n]*\"(?:,%s=\"[^\"\\\n]*\")*)\})? "
                    r"(\d+(?:\.\d+)?)" % (NAME, NAME, NAME))
LABEL_VALUE = re.compile(r"[A-Za-z0-9_.+]{1,24}")


def statement(t):
    return 'metrics listen on 127.0.0.1 port 0 port file "%s"' % t.path(
        "metrics.port")


def port_of(t):
    with open(t.path("metrics.port"), encoding="ascii") as f:
        return int(f.read())


def ask(t, method="GET", target="/metrics", headers=None):
    """(status, headers, bytes)"""
    conn = http.client.HTTPConnection("127.0.0.1", port_of(t), timeout=60)
    try:
        conn.request(method, target, headers=headers or {})
        res = conn.getresponse()
        return (res.status, {k.lower(): v for k, v in res.getheaders()},
                res.read())
    finally:
        conn.close()


def labels_of(text):
    found = re.findall(r'(%s)="([^"]*)"' % NAME, text or "")
    return tuple(sorted(found))


def parse(t, data):
    """({name: type}, {(name, labels): value}); each line is looked at."""
    text = data.decode("ascii")
    t.true(text.endswith("\n"), "the last line ends")
    types, values, helped, family = {}, {}, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, helped, words = line.split(" ", 3)
            t.true(words.endswith("."), line)
            continue
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            t.equal(helped, family, "HELP before TYPE")
            t.true(family not in types, "%s is there once" % family)
            t.true(kind in ("counter", "gauge", "histogram"), line)
            t.true(family.startswith("sailapid_"), family)
            t.equal(kind == "counter", family.endswith("_total"), family)
            types[family] = kind
            continue
        m = SAMPLE.fullmatch(line)
        t.true(m is not None, "a sample: %r" % line)
        name, labels = m.group(1), labels_of(m.group(2))
        suffix = name[len(family):]
        t.true(name.startswith(family), "%s below its TYPE" % name)
        t.true(suffix in (("_bucket", "_sum", "_count") if types[family] ==
                          "histogram" else ("",)), name)
        for _, value in labels:
            t.true(LABEL_VALUE.fullmatch(value), "a fixed label: %r" % value)
        t.true((name, labels) not in values, "%s is there once" % line)
        values[name, labels] = float(m.group(3))
    buckets(t, types, values)
    return types, values


def buckets(t, types, values):
    for family in (n for n, kind in types.items() if kind == "histogram"):
        got = [(float(dict(labels)["le"]), v) for (n, labels), v in
               values.items() if n == family + "_bucket"]
        t.equal(sorted(got), got, "buckets of " + family)
        t.equal(float("inf"), got[-1][0], "the last bucket")
        t.equal(sorted(v for _, v in got), [v for _, v in got], "cumulative")
        t.equal(values[family + "_count", ()], got[-1][1], "_count")


def scrape(t):
    status, headers, data = ask(t)
    t.equal(200, status, "status")
    t.equal("text/plain; version=0.0.4; charset=utf-8",
            headers["content-type"], "type")
    return parse(t, data)[1]


class Moves:
    """What moved since it was made, by name and labels."""

    def __init__(self, t):
        self.t, self.before = t, scrape(t)

    def moved(self, name, **labels):
        key = (name, tuple(sorted(labels.items())))
        return scrape(self.t)[key] - self.before[key]


def manual(t):
    """The names that sailapid(8) lists."""
    with open(os.path.join(t.repo, "man", "sailapid.8"), encoding="utf-8") as f:
        section = f.read().split("\n.Sh METRICS\n")[1].split("\n.Sh ")[0]
    return re.findall(r"^\.It Dv (sailapid_\w+)", section, re.M)


def test_off(t):
    """Without a line in the configuration nobody listens, and the API has
    nothing of it."""
    s = server.Server(t)
    t.true("metrics" not in s.log(), "the log says nothing of metrics")
    for headers in ({}, {"Authorization": "Bearer " + s.key}):
        status, _, data = s.raw("GET", "/metrics", headers=headers)
        t.equal(404 if headers else 401, status, "/metrics of the API")
        t.true(b"sailapid_" not in data, data)
    s.stop()


def test_text(t):
    """Each line is as it should be; the names are those of the manual; the API's
    port has nothing of it, and this one nothing of the API."""
    s = server.Server(t, extra=statement(t))
    status, headers, data = ask(t)
    t.equal(200, status, "status")
    types, values = parse(t, data)
    t.equal(sorted(manual(t)), sorted(types), "names, as sailapid(8) has them")
    t.equal(1, values["sailapid_meta_up", ()], "meta is there")
    t.equal(200, ask(t, target="/metrics?x=1")[0], "a query is passed over")

    status, head, body = ask(t, "HEAD")
    t.equal((200, b"", headers["content-type"]),
            (status, body, head["content-type"]), "HEAD")
    t.true(int(head["content-length"]) > 1000, "its length")
    for target in ("/", "/metricsx", "/metrics/", "//metrics", "/v1/whoami",
                   "/v1/volumes", "*", "http://x/metrics"):
        got = ask(t, target=target,
                  headers={"Authorization": "Bearer " + s.key})
        t.equal(404, got[0], target)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "x"):
        status, head, _ = ask(t, method)
        t.equal((405, "GET, HEAD"), (status, head.get("allow")), method)
    for headers in ({}, {"Authorization": "Bearer " + s.key}):
        status, _, data = s.raw("GET", "/metrics", headers=headers)
        t.equal(404 if headers else 401, status, "/metrics of the API")
        t.true(b"sailapid_" not in data, data)
    s.stop()
    t.true(not os.path.exists(t.path("metrics.port")), "its port file goes")


def test_loopback(t):
    """Other addresses are refused, and so is TLS."""
    s = server.Server(t)
    for address in ("*", "0.0.0.0", "10.0.0.1", "::", "127.0.0.1 tls"):
        conf = t.write("no.conf", "metrics listen on %s port 0\n" % address)
        got = t.run([s.program, "-n", "-f", conf], ok=False)
        t.equal(1, got.returncode, address)
    conf = t.write("yes.conf", "metrics listen on ::1 port 0\n")
    t.true("metrics listen on ::1 port 0\n" in t.run(
        [s.program, "-nv", "-f", conf]).stdout, "it is printed")
    s.configure("metrics listen on 10.0.0.1 port 1")
    s.process.send_signal(signal.SIGHUP)
    t.wait_for(lambda: "not read, nothing was changed" in s.log(), "refused")
    t.true("plain HTTP is for loopback addresses only" in s.log(), "why")
    t.equal(200, s.call("GET", "/v1/whoami")[0], "it goes on")
    s.stop()


def test_hup(t):
    """It comes and goes with the configuration."""
    s = server.Server(t)
    s.configure(statement(t))
    s.hup()
    t.wait_for(lambda: up(t), "it answers")
    port = port_of(t)
    s.hup()
    t.equal(port, port_of(t), "it stays")
    t.equal(200, ask(t)[0], "it answers")
    s.configure("")
    s.hup()
    t.wait_for(lambda: not listens(port), "nobody listens")
    s.configure(statement(t))
    s.hup()
    t.wait_for(lambda: up(t), "it answers again")
    s.stop()


def test_hup_at_once(t):
    """Off and on again while the old process is not gone: the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = free.getsockname()[1]
    line = statement(t).replace("port 0", "port %d" % at)
    s = server.Server(t)
    s.configure(line)
    s.hup()
    t.wait_for(lambda: up(t), "it answers")
    pid = s.roles()["api"]
    os.kill(pid, signal.SIGSTOP)
    try:
        s.configure("")
        s.hup()
        s.configure(line)
        s.hup()
    finally:
        os.kill(pid, signal.SIGCONT)
    t.wait_for(lambda: up(t), "it answers again")
    t.equal(at, port_of(t), "its port")
    s.stop()


def up(t):
    try:
        return ask(t)[0] == 200
    except OSError:
        return False


def listens(port):
    with socket.socket() as c:
        return c.connect_ex(("127.0.0.1", port)) == 0


def test_api_moves(t):
    """Requests, refusals and connections count."""
    s = server.Server(t, extra=statement(t) + " limits { idle 2s }")
    m = Moves(t)
    for _ in range(3):
        s.call("GET", "/v1/whoami")
    s.call("GET", "/v1/nothing")
    s.raw("OPTIONS", "/")
    s.raw("GET", "/v1/whoami")
    s.raw("POST", "/v1/volumes", b"x" * 40000)
    total = "sailapid_http_requests_total"
    for n, method, status in ((3, "GET", "200"), (1, "GET", "404"),
                              (1, "other", "405"), (1, "GET", "401"),
                              (1, "POST", "401"), (0, "PUT", "200")):
        t.equal(n, m.moved(total, method=method, status=status),
                "%s %s" % (method, status))
    t.equal(5, m.moved("sailapid_http_request_duration_seconds_count"),
            "requests that came whole")
    for code, n in (("method_not_allowed", 1), ("bad_key", 1),
                    ("unavailable", 0)):
        t.equal(n, m.moved("sailapid_http_refusals_total", code=code), code)
    t.equal(7, m.moved("sailapid_http_connections_total"), "connections")
    t.equal(0, m.moved("sailapid_http_connections_cut_total"), "cut off")
    if s.authority is not None:
        s.stop()
        return
    with socket.create_connection(("127.0.0.1", s.port)) as c:
        c.sendall(b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        t.wait_for(lambda: m.moved("sailapid_http_connections") == 1, "open")
        c.settimeout(60)
        while c.recv(100):
            pass
    t.wait_for(lambda: m.moved("sailapid_http_connections_cut_total") == 1,
               "cut off")
    t.equal(1, m.moved("sailapid_http_requests_unanswered_total"),
            "a request without an answer")
    t.equal(0, m.moved("sailapid_http_connections"), "open")
    s.stop()


def test_commits_move(t):
    """Commits, merged ones, refused ones, and what they bring."""
    s = stack.Stack(t, server_extra=statement(t))
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    m = Moves(t)
    write(os.path.join(a, "big"), "x" * 3000000)
    for n in range(5):
        write(os.path.join(a, "small%d" % n), str(n) * 100)
    s.commit(a)
    t.equal(1, m.moved("sailapid_commits_published_total"), "published")
    t.equal(6, m.moved("sailapid_chunks_confirmed_total"), "chunks")
    t.equal(3000500, m.moved("sailapid_chunks_confirmed_bytes_total"), "bytes")
    t.wait_for(lambda: m.moved("sailapid_objects_verified_total") == 1,
               "the pack is verified")
    s.commit(a)     # nothing
    write(os.path.join(a, "again"), "")
    s.commit(a)
    t.equal(2, m.moved("sailapid_commits_published_total"), "published")
    t.equal(0, m.moved("sailapid_commits_merged_total"), "merged")
    write(os.path.join(b, "other"), "b")
    s.commit(b)
    t.equal(1, m.moved("sailapid_commits_merged_total"), "merged")
    write(os.path.join(b, "again"), "b")
    got = s.ctl("commit", "--if-unchanged", b, ok=False)
    t.equal(3, got.returncode, "refused")
    t.equal(1, m.moved("sailapid_commits_refused_total"), "refused")
    t.equal(1, m.moved("sailapid_sessions_open"), "its session")
    t.equal(0, m.moved("sailapid_paths_overwritten_total"), "overwritten")
    s.commit(b)
    t.equal(1, m.moved("sailapid_paths_overwritten_total"), "overwritten")
    t.equal(4, m.moved("sailapid_commits_published_total"), "published")
    t.equal(0, m.moved("sailapid_objects_wrong_total"), "wrong")
    secret(t, s, ask(t)[2].decode())


def secret(t, s, text):
    """Nothing that names anything."""
    who = s.server.call("GET", "/v1/whoami")[1]
    vol = s.server.call("GET", "/v1/volumes/v")[1]
    for word in (s.server.key, who["key"]["id"], who["org"]["id"],
                 who["org"]["name"], vol["id"], vol["head"], t.path("x")[:-1],
                 "small0", "127.0.0.1"):
        t.true(word not in text, word)
    t.true(not re.search(r"[0-9a-f]{16}", re.sub(r"[0-9.]{13,}", "", text)),
           "no ids")


def test_meta_away(t):
    """Without meta it answers with what api has; a meta that comes back begins
    anew, and says so."""
    t.expect_deaths = True
    s = server.Server(t, extra=statement(t))
    first = scrape(t)
    t.equal(201, s.call("POST", "/v1/volumes", {"name": "v"})[0], "a volume")
    pid = s.roles()["meta"]
    os.kill(pid, signal.SIGSTOP)
    types, values = parse(t, ask(t)[2])
    t.equal(0, values["sailapid_meta_up", ()], "meta does not answer")
    t.true("sailapid_commits_published_total" not in types, "its numbers")
    t.true("sailapid_http_requests_total" in types, "those of api")
    t.true(("sailapid_start_time_seconds", (("role", "meta"),)) not in values,
           "its start")
    os.kill(pid, signal.SIGKILL)
    t.wait_for(lambda: scrape(t)["sailapid_meta_up", ()] == 1, "meta is back")
    again = scrape(t)
    for role in ("api", "meta"):
        key = ("sailapid_start_time_seconds", (("role", role),))
        t.equal(role == "api", first[key] == again[key], "start of " + role)
    key = ("sailapid_uptime_seconds", (("role", "api"),))
    t.true(again[key] > first[key], "seconds since the start of api")
    s.stop()


def test_flood(t):
    """Who comes often, and does not wait, keeps nobody out of the API."""
    s = server.Server(t, extra=statement(t))
    pid = s.roles()["meta"]
    os.kill(pid, signal.SIGSTOP)
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port_of(t))) as c:
            c.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    os.kill(pid, signal.SIGCONT)
    t.equal(200, s.call("GET", "/v1/whoami")[0], "the API")
    t.wait_for(lambda: scrape(t)["sailapid_meta_up", ()] == 1, "meta answers")
    held = [socket.create_connection(("127.0.0.1", port_of(t)))
            for _ in range(30)]
    t.equal(200, s.call("GET", "/v1/whoami")[0], "the API")
    for c in held:
        c.close()
    t.wait_for(lambda: up(t), "it answers")
    s.stop()
