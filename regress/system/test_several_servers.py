# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Two sailapid over one database and one bucket: what one was told the other
knows, and none of it is lost with one of them."""

import os
import random
import threading

from sailtest import deadline, gateway, proxy, server, stack

EMBEDDED_STORE = ("test_embedded_is_alone",)


def two(t, daemons=0):
    """A Stack with a Gateway, and the server beside its own."""
    s = stack.Stack(t, daemons=daemons, store=gateway.Gateway(t))
    return s, stack.FixedServer(t, name="second", beside=s.server)


def test_one_service(t):
    """Commits and reloads through both; commits of both at a time; volumes and
    keys."""
    s, other = two(t, daemons=1)
    s.add_daemon(api=other.url)
    a = s.mount("v", "a", create=True)
    b = s.daemons[1].mount("v", "b")
    for size in (10, 100000, 3 << 20):
        for here, there in ((a, b), (b, a)):
            name = "%s%d" % (os.path.basename(here), size)
            data = os.urandom(size)
            with open(os.path.join(here, name), "wb") as f:
                f.write(data)
            s.share(here, there)
            with open(os.path.join(there, name), "rb") as f:
                t.true(f.read() == data, "content of " + name)

    ids = {a: [], b: []}

    def work(top):
        for i in range(15):
            stack.write("%s/%s-%d" % (top, os.path.basename(top), i), str(i))
            ids[top].append(s.commit(top))

    threads = [threading.Thread(target=work, args=(top,)) for top in ids]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    t.equal([15, 15], [len(got) for got in ids.values()], "commits")
    s.reload(a)
    s.reload(b)
    stack.same(t, stack.look(a), stack.look(b), "what both have")
    for n in "ab":
        for i in range(15):
            t.equal(str(i), stack.read("%s/%s-%d" % (a, n, i)), "file")
    for srv in (s.server, other):
        status, answer = srv.call("GET", "/v1/volumes/v/commits?limit=1000")
        t.equal(200, status, "log")
        found = {c["id"] for c in answer["commits"]}
        t.true(set(ids[a] + ids[b]) <= found, "commits in the log")

    status, answer = s.server.call("POST", "/v1/keys", {"role": "read"})
    t.equal(201, status, "key")
    t.equal(200, other.call("GET", "/v1/whoami", key=answer["key"])[0],
            "the new key, at the other")
    t.equal(204, other.call("DELETE", "/v1/keys/" + answer["id"])[0],
            "revoked")
    t.equal(401, s.server.call("GET", "/v1/whoami", key=answer["key"])[0],
            "the revoked key")


class Writer(threading.Thread):
    """Makes files in its own directory of a mount, and commits each."""

    def __init__(self, s, top):
        super().__init__()
        self.s, self.top = s, os.path.join(top, os.path.basename(top))
        self.mount, self.stop, self.done = top, False, []
        self.error = None
        os.mkdir(self.top)

    def run(self):
        try:
            while not self.stop:
                name = "f%d" % len(self.done)
                data = os.urandom(1 + 5000 * (len(self.done) % 50))
                with open(os.path.join(self.top, name), "wb") as f:
                    f.write(data)
                self.done.append((self.s.commit(self.mount), name, data))
        except BaseException as e:
            self.error = e


@deadline(300)
def test_one_dies(t):
    """Behind a balancer, under writers, each server in turn is killed: no
    commit fails, and what was acknowledged is there."""
    rnd = random.Random(t.seed())
    s, other = two(t)
    servers = [s.server, other]
    front = proxy.Balancer([("127.0.0.1", x.port) for x in servers])
    s.url = front.url
    writers = []
    for i in range(2):
        d = s.add_daemon()
        writers.append(Writer(s, d.mount("v", "m%d" % i, create=i == 0)))
    for w in writers:
        w.start()

    def go_on(n):
        """Until each writer has done that many more."""
        at = [len(w.done) + n for w in writers]
        t.wait_for(lambda: any(w.error for w in writers) or all(
            len(w.done) >= i for w, i in zip(writers, at)), "commits", 90)
        for w in writers:
            t.equal(None, w.error, "a commit")

    at_risk = 0
    for i in range(6):
        go_on(rnd.randrange(2, 8))
        front.reset()
        t.wait_for(lambda: front.count("POST .*commit") > 0, "a commit")
        victim = servers[i % 2]
        t.expect_deaths = True
        stack.kill_all(t, victim.process, list(victim.roles().values()))
        at_risk += sum(r.status == 0 for r in front.matching("."))
        go_on(rnd.randrange(2, 8))
        victim.start()
    for w in writers:
        w.stop = True
    for w in writers:
        w.join(120)
        t.equal(None, w.error, "a commit")
    t.true(at_risk > 0, "no request was under way at any of the deaths")
    print("%d commits, %d requests cut off" % (
        sum(len(w.done) for w in writers), at_risk), flush=True)

    fresh = s.daemons[0].mount("v", "fresh")
    for srv in servers:
        status, answer = srv.call("GET", "/v1/volumes/v/commits?limit=1000")
        t.equal(200, status, "log")
        found = {c["id"] for c in answer["commits"]}
        for w in writers:
            t.true({c for c, _, _ in w.done} <= found, "commits in the log")
    for w in writers:
        for _, name, data in w.done:
            path = os.path.join(fresh, os.path.basename(w.top), name)
            with open(path, "rb") as f:
                t.true(f.read() == data, "content of " + path)


def test_embedded_is_alone(t):
    """The embedded store is one server's: a second one is told so."""
    first = server.Server(t)
    conf = t.write("again.conf", """
listen on 127.0.0.1 port 0
database "%s/db"
%s
users from %d
""" % (t.dir, first.store_statement(), server.USERS_FROM))
    r = t.run([first.program, "-d", "-f", conf], ok=1)
    t.true("%s/objects: another sailapid has it" % first.dir in r.stderr,
           r.stderr)
    first.stop()
    again = t.spawn([first.program, "-d", "-f", conf], "again.log")
    t.wait_for(lambda: first.read("store.port"), "the store, when it is free")
    t.stop(again)
