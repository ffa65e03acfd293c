# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Many writers of one volume at once, with kill -9 of the server's processes in
between: what was acknowledged is in the history once, and its content is
there."""

import hashlib
import http.client
import json
import os
import signal
import sqlite3
import struct
import threading
import time

from sailtest import bigvolume, stack

BOTH_STORES = True

WRITERS, EACH, KILLS = 8, 14, 5
PATIENCE_S = 60
OWN, SHARED, CAREFUL, JUNK = range(4)
KINDS = (OWN, SHARED, OWN, JUNK, CAREFUL, OWN, SHARED)


class Writer(threading.Thread):
    """Commits by the API; asks again, with the same key, until it has an
    answer."""

    def __init__(self, server, number):
        super().__init__()
        self.server, self.number = server, number
        self.conn, self.error = None, None
        self.acks = []      # (kind, path, content, status, answer)

    def run(self):
        try:
            for n in range(EACH):
                self.acks.append(self.commit(n, KINDS[n % len(KINDS)]))
        except Exception as e:
            self.error = e

    def ask(self, method, target, body, kind="application/json"):
        """(status, body), whatever happens to the server meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self.conn is None:
                    self.conn = http.client.HTTPConnection(
                        "127.0.0.1", self.server.port, timeout=60)
                self.conn.request(method, target, body=body, headers={
                    "Authorization": "Bearer " + self.server.key,
                    "Content-Type": kind})
                res = self.conn.getresponse()
                data = res.read()
                if res.status < 500:
                    return res.status, data
            except (OSError, http.client.HTTPException):
                self.conn.close()
                self.conn = None
            if time.monotonic() > end:
                raise TimeoutError("no answer: %s %s" % (method, target))

    def upload(self, session, content):
        question = b"SVWB" + struct.pack("<BBI", bigvolume.LOOKUP, 1, 1)
        question += content.hash + struct.pack("<I", len(content.data))
        status, got = self.ask("POST", session + "/chunks", question,
                               bigvolume.BINARY)
        if status != 200:
            raise bigvolume.ApiError("chunks: %d %r" % (status, got))
        if got[10] != 0:
            url, at = bigvolume.BigVolume._str16(got, 11 + 32)
            headers, _ = bigvolume.BigVolume._str16(got, at)
            bigvolume.put_object(url.decode(), headers.decode(), content.data)

    def commit(self, n, kind):
        name = "w%02d-%02d" % (self.number, n)
        path = name if kind in (OWN, JUNK) else "shared"
        content = bigvolume.Content(name.encode() * 5)
        delta = bigvolume.Delta()
        delta.file(path.encode(), 0o644, 1600000000,
                   self.number << 32 | n << 8 | 2, content.chunks)
        session = "/v1/volumes/v/sessions/" + os.urandom(16).hex()
        status, answer = self.ask("PUT", session, json.dumps(
            {"if_unchanged": kind == CAREFUL}).encode())
        if status not in (200, 201):
            raise bigvolume.ApiError("session: %d %r" % (status, answer))
        self.upload(session, content)
        body = bytes(delta.encode())
        status, answer = self.ask("POST", session + "/commit",
                                  body[:-1] if kind == JUNK else body,
                                  bigvolume.BINARY)
        return kind, path, content.data, status, json.loads(answer)


def run_writers(t, server):
    """Their acknowledgements, after some kills of meta."""
    writers = [Writer(server, n) for n in range(WRITERS)]
    for w in writers:
        w.start()

    def acked():
        return sum(len(w.acks) for w in writers)

    for n in range(KILLS):
        enough = (n + 1) * WRITERS * EACH // (KILLS + 2)
        t.wait_for(lambda: acked() >= enough or
                   any(w.error for w in writers), "commits", 60)
        old = t.wait_for(lambda: server.roles().get("meta"), "meta")
        os.kill(old, signal.SIGKILL)
        t.wait_for(lambda: server.roles().get("meta", old) != old,
                   "meta again")
    for w in writers:
        w.join()
    t.wait_for(server.up, "meta answers again")
    t.equal([None] * WRITERS, [w.error for w in writers], "errors")
    return [ack for w in writers for ack in w.acks]


def history(t, server, volume):
    status, answer = server.call("GET", "/v1/volumes/%s/commits?limit=1000"
                                 % volume)
    t.equal(200, status, "history")
    commits = answer["commits"]
    t.equal(list(range(len(commits) - 1, -1, -1)),
            [c["number"] for c in commits], "numbers")
    t.equal([c["id"] for c in commits[1:]],
            [c["parent"] for c in commits[:-1]], "parents")
    return [c["id"] for c in reversed(commits)]


def test_kills_of_meta(t):
    t.expect_deaths = True
    s = stack.Stack(t)
    t.equal(201, s.server.call("POST", "/v1/volumes", {"name": "v"})[0],
            "volume")
    acks = run_writers(t, s.server)
    ids = history(t, s.server, "v")
    published = {a[4]["commit"]: a for a in acks if a[3] == 200}
    t.equal(sorted(ids[1:]), sorted(
        a[4]["commit"] for a in acks if a[3] == 200),
        "commits in the history, and those that were acknowledged")
    t.equal({400}, {a[3] for a in acks if a[0] == JUNK}, "junk")
    t.equal({200}, {a[3] for a in acks if a[0] in (OWN, SHARED)}, "others")
    # In their order: the first finds nothing, each other one takes the place
    # of the last; who does not want to is refused.
    shared = [published[i] for i in ids[1:] if published[i][1] == "shared"]
    t.equal([0] + [1] * (len(shared) - 1),
            [a[4]["overwritten"]["count"] for a in shared], "overwritten")
    t.equal([], [a[0] for a in shared[1:] if a[0] == CAREFUL],
            "careful ones that overwrote")
    t.true({a[3] for a in acks if a[0] == CAREFUL} <= {200, 409}, "careful")
    wanted = {a[1]: a[2] for a in acks if a[0] == OWN}
    wanted["shared"] = shared[-1][2]
    path = s.mount("v", "v")
    t.equal(sorted(wanted), sorted(os.listdir(path)), "names")
    for name, content in wanted.items():
        t.equal(hashlib.sha256(content).hexdigest(),
                stack.sha256(os.path.join(path, name)), name)


# ---- all processes, and what a power failure takes ---------------------------

def forget_open_sessions(server):
    """What was not synced yet."""
    path = os.path.join(server.dir, "db", "sailapi.db")
    db = sqlite3.connect(path)
    db.execute("DELETE FROM session_chunk")
    db.execute("DELETE FROM session WHERE state = 1")
    db.execute("DELETE FROM location WHERE state = 1")
    db.execute("DELETE FROM object WHERE state = 1")
    db.commit()
    db.close()
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            os.chown(path + end, *[os.stat(os.path.dirname(path)).st_uid] * 2)


def commit_with_kill(t, s, path, pattern, forget):
    """Kills the server when such a request passes; what the commit answered."""
    began, now = s.api._began, threading.Event()

    def watch(method, target):
        if pattern in "%s %s" % (method, target):
            now.set()
        return began(method, target)

    answers = []
    s.api._began = watch
    thread = threading.Thread(target=lambda: answers.append(
        s.ctl("-j", "commit", path, ok=None)))
    thread.start()
    t.true(now.wait(60), "no request " + pattern)
    stack.kill_all(t, s.server.process, list(s.server.roles().values()))
    s.api._began = began
    if forget:
        forget_open_sessions(s.server)
    s.server.start()
    thread.join()
    return answers[0]


def test_kill_of_all(t):
    t.expect_deaths = True
    s = stack.Stack(t, proxied=True)
    a, b = s.mount("vol", "a", create=True), s.mount("vol", "b")
    wanted = {}
    for forget in (False, True):
        for pattern in ("PUT /v1/volumes/", "/chunks", "/commit"):
            name = "%s-%s" % (pattern.split("/")[-1] or "put", forget)
            wanted[name] = name * 3
            stack.write(os.path.join(a, name), wanted[name])
            done = commit_with_kill(t, s, a, pattern, forget)
            if done.returncode != 0:
                t.true("error" in done.stderr + done.stdout,
                       "fails without a word: %r" % done)
            # It can be repeated, and then it is there.
            s.commit(a)
            s.reload(b)
            t.equal(wanted, {n: stack.read(os.path.join(b, n))
                             for n in os.listdir(b)}, name)
    # Each was published once.
    t.equal(len(wanted) + 1, len(history(t, s.server, "vol")), "commits")


def test_requests_of_a_commit(t):
    """A commit of one small file has four requests."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("vol", "a", create=True)
    t.wait_for(lambda: s.api.count("PUT .*/leases/"), "the lease of the mount")
    stack.write(os.path.join(a, "f"), "first")
    s.commit(a)
    s.api.reset()
    s.store.reset()
    stack.write(os.path.join(a, "f"), "second")
    s.commit(a)
    t.equal([("PUT", "sessions"), ("POST", "chunks"), ("POST", "commit")],
            [(r.method, r.target.split("/")[-1 if r.method == "POST" else -2])
             for r in s.api.requests], "requests to the API")
    # The server finds a gateway where the daemons find it, and looks there, too.
    t.equal(["PUT"] + (["HEAD"] if s.server.store else []),
            [r.method for r in s.store.requests], "requests to the store")
