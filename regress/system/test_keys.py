# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Keys of the whole: roles, volumes, a time to expire, and revocation, by the
server's commands, sailvolctl, raw HTTP on an open connection, and a mount."""

import concurrent.futures
import http.client
import json
import os
import sqlite3
import time

from sailtest import client, server, stack, wire
from sailtest.stack import write

BOTH_STORES = True


class Talk:
    """One connection that stays open."""

    def __init__(self, srv, key):
        self.key = key
        self.conn = http.client.HTTPConnection("127.0.0.1", srv.port,
                                               timeout=60)
        self.conn.connect()
        self.sock = self.conn.sock

    def get(self, target):
        self.conn.request("GET", target, headers={
            "Authorization": "Bearer " + self.key})
        res = self.conn.getresponse()
        return res.status, json.loads(res.read())

    def same(self):
        return self.conn.sock is self.sock


def is_waiting(srv):
    """The server's database is another's, and a request is first there."""
    conn = http.client.HTTPConnection("127.0.0.1", srv.port, timeout=0.5)
    try:
        conn.request("GET", "/v1/whoami",
                     headers={"Authorization": "Bearer " + srv.key})
        conn.getresponse().read()
        return False
    except TimeoutError:
        return True
    finally:
        conn.close()


def new_key(srv, **body):
    status, out = srv.call("POST", "/v1/keys", body)
    srv.t.equal(201, status, out)
    return out


def test_commands(t):
    """The server's own commands make, list and refuse limited keys."""
    srv = server.Server(t)
    srv.call("POST", "/v1/volumes", {"name": "v"})
    srv.call("POST", "/v1/volumes", {"name": "w"})

    def run(*words, ok=True):
        return t.run([srv.program, "-f", srv.conf] + list(words), ok=ok)

    key = run("key", "create", "-e", "12h", "acme", "write", "a box",
              "v").stdout.strip()
    got = srv.call("GET", "/v1/whoami", key=key)[1]["key"]
    t.equal(["v"], [v["name"] for v in got["volumes"]], "volumes")
    t.true(12 * 3600 - 60 < got["expires"] - time.time() <= 12 * 3600,
           "expires")
    line = [x for x in run("key", "list", "acme").stdout.splitlines()
            if "a box" in x]
    t.equal(1, len(line), "lines")
    t.equal(["a box", "v"], line[0].split(" ", 5)[5].split("\t"), "its end")
    t.equal(404, srv.call("GET", "/v1/volumes/w", key=key)[0], "another")
    for words, status in (
            (("key", "create", "acme", "write", "x", "none"), 1),
            (("key", "create", "acme", "write", "x", "v", "v"), 1),
            (("-e", "12", "key", "create", "acme", "write"), 2),
            (("-e", "0s", "key", "create", "acme", "write"), 2),
            (("-e", "1h", "key", "list", "acme"), 2), (("-e", "1h"), 2)):
        run(*words, ok=status)
    t.equal(2, len(run("key", "list", "acme").stdout.splitlines()), "keys")
    srv.stop()


def test_sailvolctl(t):
    """sailvolctl makes and lists them."""
    srv = server.Server(t)
    srv.call("POST", "/v1/volumes", {"name": "v"})
    srv.call("POST", "/v1/volumes", {"name": "w"})
    keyfile = t.write("admin.key", srv.key + "\n", 0o600)
    program = os.path.join(t.repo, "sailvolctl", "sailvolctl")

    def ctl(*words, ok=True):
        return t.run([program, "-u", srv.url, "-k", keyfile] + list(words),
                     ok=ok)

    key = ctl("key", "create", "--expires", "90s", "read", "box", "v",
              "w").stdout.strip()
    got = srv.call("GET", "/v1/whoami", key=key)[1]["key"]
    t.equal(["v", "w"], [v["name"] for v in got["volumes"]], "volumes")
    t.true(30 < got["expires"] - time.time() <= 90, "expires")
    line = [x.split("\t") for x in ctl("key", "list").stdout.splitlines()]
    line = [x for x in line if x[5] == "box"]
    t.equal([["v", "w"]], [x[6:] for x in line], "volumes in the list")
    t.true(line[0][4].startswith("20"), "expires in the list: %s" % line)
    ctl("key", "create", "--expires", "90", "read", ok=2)
    r = ctl("key", "create", "read", "x", "nothing", ok=1)
    t.true("no volume nothing" in r.stderr, r.stderr)
    limited = t.write("box.key", key + "\n", 0o600)
    r = t.run([program, "-u", srv.url, "-k", limited, "volume", "list"])
    t.equal(["v", "w"], [x.split("\t")[0] for x in r.stdout.splitlines()],
            "its volumes")
    r = t.run([program, "-u", srv.url, "-k", limited, "volume", "create", "x"],
              ok=1)
    t.true("role" in r.stderr, r.stderr)
    srv.stop()


def test_at_once(t):
    """Revocation and expiry count on a connection that is open, and for a
    second server over the same database they would, too: no key is kept."""
    srv = server.Server(t)
    made = new_key(srv, role="read")
    owner, talk = Talk(srv, srv.key), Talk(srv, made["key"])
    for one in (owner, talk):
        t.equal(200, one.get("/v1/volumes")[0], "before")
    t.equal(204, srv.call("DELETE", "/v1/keys/" + made["id"])[0], "revoked")
    status, out = talk.get("/v1/volumes")
    t.equal((401, "bad_key"), (status, out["error"]["code"]), "after")
    t.true("revoked" in out["error"]["message"], out)
    t.equal(200, owner.get("/v1/volumes")[0], "the owner")
    t.true(talk.same() and owner.same(), "the connections are the same")

    made = new_key(srv, role="read", life=6)
    talk = Talk(srv, made["key"])
    t.equal(200, talk.get("/v1/volumes")[0], "before it expires")
    t.wait_for(lambda: time.time() > made["expires"], "its end")
    status, out = talk.get("/v1/volumes")
    t.equal((401, "bad_key"), (status, out["error"]["code"]), "expired")
    t.true("expired" in out["error"]["message"], out)
    t.true(talk.same(), "the connection is the same")
    srv.stop()


def test_while_it_waits(t):
    """What waits for another server to write is refused when that took the key
    away meanwhile: no commit, and no key of the next one."""
    srv = server.Server(t)
    admin = new_key(srv, role="admin")
    writer = new_key(srv, role="write")
    c = client.Client(srv, "v", writer["key"])
    delta = wire.delta([wire.op(wire.PUT, b"late", wire.symlink(b"x"))])

    def commit():
        try:
            return 200, c.ask(c.session + "/commit", delta)
        except client.Refused as e:
            return e.status, e.code

    def make():
        return srv.call("POST", "/v1/keys", {"role": "admin"},
                        key=admin["key"])

    for made, ask in ((writer, commit), (admin, make)):
        other = sqlite3.connect(os.path.join(srv.dir, "db", "sailapi.db"),
                                isolation_level=None, timeout=60)
        other.execute("BEGIN IMMEDIATE")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asked = pool.submit(ask)
            t.wait_for(lambda: is_waiting(srv), "the request to wait")
            public = bytes.fromhex(made["id"][len("key_"):])
            t.equal(1, other.execute(
                "UPDATE key SET revoked = ? WHERE public = ?",
                (time.time_ns(), public)).rowcount, "keys")
            other.execute("COMMIT")
            other.close()
            status = asked.result()[0]
        t.equal(401, status, "what waited")
    t.equal(0, srv.call("GET", "/v1/volumes/v")[1]["number"], "commits")
    srv.stop()


def test_misspelt(t):
    """What a key is limited by is never left out because it is not understood."""
    srv = server.Server(t)
    srv.call("POST", "/v1/volumes", {"name": "v"})
    for body in ({"role": "read", "volume": "v"}, {"role": "read", "expires": 5},
                 {"role": "read", "volumes": [{"volume": "v", "Path": "a"}]},
                 {"role": "read", "volumes": [{"volume": "v", "path": ""}]},
                 {"role": "read", "volumes": [{"volume": "v", "path": None}]}):
        status, out = srv.call("POST", "/v1/keys", body)
        t.equal((400, "bad_json"), (status, out["error"]["code"]), body)
    srv.stop()


def test_mount(t):
    """A daemon whose key is for one volume mounts that and no other; once it
    is revoked the mount reads and writes on, and cannot commit; with another
    key nothing is lost."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    write(os.path.join(a, "f"), "one")
    s.commit(a)
    s.ctl("-s", s.daemon.socket, "volume", "create", "w")
    made = new_key(s.server, role="write", volumes=[{"volume": "v"}])
    d = s.add_daemon(key=made["key"])
    r = d.mount("w", "b", ok=1)
    t.true("no such volume" in r.stderr, r.stderr)
    r = d.mount("other", "b", create=True, ok=1)
    t.true("not limited" in r.stderr, r.stderr)
    b = d.mount("v", "b", create=True)
    t.equal("one", stack.read(os.path.join(b, "f")), "read")
    write(os.path.join(b, "f"), "two")
    s.commit(b)
    s.reload(a)
    t.equal("two", stack.read(os.path.join(a, "f")), "committed")
    write(os.path.join(b, "g"), "three")
    s.server.call("DELETE", "/v1/keys/" + made["id"])
    got = s.commit_json(b, ok=1)
    t.equal("bad_key", got["error"]["code"], "commit")
    t.equal("three", stack.read(os.path.join(b, "g")), "still there")
    t.write("%s/key" % d.name, new_key(
        s.server, role="write", volumes=[{"volume": "v"}])["key"] + "\n",
        0o600)
    d.hup()
    t.wait_for(lambda: "commit" in s.commit_json(b, ok=None),
               "a commit with the new key")
    s.reload(a)
    t.equal("three", stack.read(os.path.join(a, "g")), "nothing was lost")
