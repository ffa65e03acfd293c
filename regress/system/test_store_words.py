# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A store that refuses the server, does not answer, or is another than before is
named in words, in the log and to whoever wants something of it, and soon."""

import os
import sqlite3
import time

from sailtest import gateway, proxy, server, stack, tls
from sailtest.proxy import api_error, s3_error

MARK = "sailapid/[0-9a-f]{32}[?]"


def behind(t):
    """A gateway that a server reaches through a proxy."""
    g = gateway.Gateway(t)
    p = proxy.Proxy(("127.0.0.1", g.port))
    g.host, g.at_port = p.host, p.port
    return g, p


def marked(t, srv):
    t.wait_for(lambda: "signed absence of headers is understood" in srv.log(),
               "the store was looked at", 60)


def test_while_it_runs(t):
    """Each is a line when it begins, and one when it is over, however often the
    store is asked in between."""
    g, p = behind(t)
    srv = server.Server(t, store=g)
    marked(t, srv)
    for answer, said in (
            (s3_error(400, "AuthorizationHeaderMalformed",
                      "<Region>eu-west-1</Region>"),
             'in another region: mend "region", and the host of the store, in '
             'sailapid.conf; it says "eu-west-1"'),
            (s3_error(400, "ExpiredToken"), "the session token has expired"),
            (s3_error(403, "AccessDenied"), "it denies access"),
            (None, "it does not answer: is it up")):
        over = srv.log().count("takes our requests again")
        p.reset()
        if answer is None:
            p.set_down()
        else:
            f = p.fault(proxy.ANSWER, ".", answer, 1000)
        srv.hup()
        t.wait_for(lambda s=said: s in srv.log(), said, 60)
        if answer is None:
            p.set_down(False)
        else:
            t.wait_for(lambda: p.count(MARK) > 1, "it is asked again", 60)
            f.release()
        t.wait_for(lambda c=over: srv.log().count(
            "takes our requests again") > c, "over: " + said, 60)
        t.equal(1, srv.log().count(said), "lines: " + said)
    srv.stop()


def test_tls(t):
    """A certificate that is none of an authority that the server knows."""
    g = gateway.Gateway(t)
    p = proxy.Proxy(("127.0.0.1", g.port), authority=tls.Authority(t, "x.ca"))
    text = g.statement().replace("http://127.0.0.1:%d" % g.at_port, p.url)
    g.statement = lambda: text
    srv = server.Server(t, store=g)
    t.wait_for(lambda: "its authority belongs into the ca file" in srv.log(),
               "words", 60)
    srv.stop()


def test_no_bucket(t):
    """Nobody waits for a bucket that there is not; it may come later."""
    g = gateway.Gateway(t)
    made = g.s3.bucket
    g.bucket = g.s3.bucket = made + "-x"
    s = stack.Stack(t, store=g)
    a = s.mount("v", "a", create=True)
    stack.fill(os.path.join(a, "f"), 2)
    began = time.monotonic()
    r = s.ctl("commit", a, ok=False)
    t.true("does not have the bucket: make it" in r.stderr, r.stderr)
    # It was 90, and without words.
    t.true(time.monotonic() - began < 15, "that took %d s" % (
        time.monotonic() - began))
    t.equal(200, g.s3.put(None, None).status, "the bucket is made")
    t.wait_for(lambda: "takes our requests again" in s.server.log(),
               "it is found", 60)
    s.commit(a)


def test_bucket_goes(t):
    """A bucket that goes away is not the fault of who has uploaded; one of the
    same name that is empty is not taken for it."""
    g = gateway.Gateway(t)
    s = stack.Stack(t, store=g, proxied=True)
    a = s.mount("v", "a", create=True)
    stack.fill(os.path.join(a, "f"), 2)
    s.commit(a)
    stack.fill(os.path.join(a, "g"), 2)
    held = s.api.fault(proxy.HOLD, "^POST .*/commit")
    job = stack.spawn(s, "commit", a)
    t.wait_for(lambda: held.done, "all is uploaded", 60)
    for key in g.s3.sizes(marks=True):
        g.s3.delete(key)
    t.equal(204, g.s3.request("DELETE", None).status, "the bucket goes")
    held.release()
    status, answer = stack.end(job)
    t.true(status != 0, "a commit without a bucket")
    t.equal("store_unusable", answer["error"]["code"], "why")
    t.true("does not have the bucket" in answer["error"]["message"], answer)
    t.equal(200, g.s3.put(None, None).status, "an empty one")
    t.wait_for(lambda: "the mark of this database" in s.server.log(),
               "it is another", 60)
    r = s.ctl("commit", a, ok=False)
    t.true("the mark of this database" in r.stderr, r.stderr)
    t.equal({}, g.s3.sizes(marks=True), "nothing is brought into it")
    srv = s.server
    srv.stop()
    process = t.spawn([srv.program, "-d", "-f", srv.conf], srv.name + ".log")
    t.equal(1, process.wait(60), "exit status")
    t.true("not started" in srv.log(), "log")
    t.run([srv.program, "-f", srv.conf, "store", "accept"])
    srv.start()
    s.commit(a)


def test_after_a_lost_answer(t):
    """What the store has against a commit that is sent again says nothing of the
    first one, which had no answer."""
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    s.add_daemon(api=s.server.url)
    b = s.daemons[1].mount("v", "b")
    stack.write(os.path.join(a, "f"), "one")
    lost = s.api.fault(proxy.LOSE, "^POST .*/commit")
    s.api.fault(proxy.ANSWER, "^POST .*/commit", api_error(
        503, "store_unusable"))
    status, answer = stack.end(stack.spawn(s, "commit", a))
    t.equal(1, lost.done, "answers that were lost")
    t.true(status != 0, "it is not known")
    t.equal("store_unusable", answer["error"]["code"], "why")
    t.true("may have been published" in answer["error"]["message"], answer)
    s.reload(b)
    stack.write(os.path.join(b, "f"), "from b")
    s.commit(b)
    stack.write(os.path.join(a, "g"), "two")
    t.equal([], s.commit_json(a)["overwritten"]["paths"], "overwritten")
    s.reload(b)
    for name, text in (("f", "from b"), ("g", "two")):
        t.equal(text, stack.read(os.path.join(b, name)), name)


def test_two_at_first(t):
    """Two servers that find a store without a mark at once both mark it."""
    g = gateway.Gateway(t)
    one = server.Server(t, store=g)
    two = server.Server(t, name="two", beside=one)
    marked(t, one)
    status, _ = one.call("POST", "/v1/volumes", {"name": "v"})
    t.equal(201, status, "a volume")
    one.stop()
    two.stop()
    db = sqlite3.connect(one.database + "/sailapi.db")
    db.execute("UPDATE store SET mark = 0")
    db.commit()
    db.close()
    (key,) = g.s3.sizes(marks=True)
    g.s3.delete(key)
    for srv in (one, two):
        srv.process = t.spawn([srv.program, "-d", "-f", srv.conf],
                              srv.name + ".log")
    for srv in (one, two):
        t.wait_for(srv.up, "it answers", 60)
        t.wait_for(lambda s=srv: s.log().count(
            "signed absence of headers is understood") == 2, "marked", 60)
        t.true("does not have the mark" not in srv.log(), "log")
    t.equal([key], list(g.s3.sizes(marks=True)), "the mark")
    one.stop()
    two.stop()
