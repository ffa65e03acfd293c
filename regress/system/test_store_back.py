# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A store without its objects for a while, a disk that is not mounted or a
bucket of another name, loses nothing: when they are there again, they are read."""

import os

from sailtest import error_of, gateway, proxy, server, stack
from sailtest.stack import read, write

BOTH_STORES = True


def volume(t, **kwargs):
    s = stack.Stack(t, **kwargs)
    a = s.mount("v", "a", create=True)
    for i in range(20):
        write(os.path.join(a, "small%d" % i), "small %d" % i)
    stack.fill(os.path.join(a, "big"), 9)
    s.commit(a)
    d = s.add_daemon()
    return s, a, d.mount("v", "b")


def away(s, text):
    """A function that brings the objects back."""
    if s.server.store is not None:
        write(s.server.conf, text.replace(s.server.store.bucket,
                                          "another-bucket"))
        return lambda: write(s.server.conf, text)
    objects = os.path.join(s.server.dir, "objects")
    os.rename(objects, objects + ".disk")

    def back():
        os.rename(objects, objects + ".empty")
        os.rename(objects + ".disk", objects)
    return back


def refused_and_accepted(t, srv, what):
    """The server does not start with that store, and does when it is told to."""
    process = t.spawn([srv.program, "-d", "-f", srv.conf], srv.name + ".log")
    t.equal(1, process.wait(60), "exit status, " + what)
    for said in ("does not have the mark of this database", "not started"):
        t.true(said in srv.log(), "log, %s: %s" % (what, said))
    t.run([srv.program, "-f", srv.conf, "store", "accept"])
    srv.start()
    t.wait_for(lambda: "store: marked as that of this database" in
               srv.log().rsplit("not started", 1)[1], "a mark, " + what)


def test_away(t):
    """All is missing while somebody reads, and is there again later."""
    s, a, b = volume(t)
    text = read(s.server.conf)
    s.server.stop()
    back = away(s, text)
    if s.server.store is None:
        refused_and_accepted(t, s.server, "an empty folder")
    else:
        s.server.start()
    for name in ("big", "small1"):
        t.equal("EIO", error_of(read, os.path.join(b, name)), "away: " + name)
    t.wait_for(lambda: "is lost in object" in s.server.log() or
               "does not have" in s.server.log(), "the server looked")
    s.server.stop()
    back()
    s.server.start()
    for name in ("small1", "small2"):
        t.wait_for(lambda n=name: error_of(
            read, os.path.join(b, n)) == "done", "there again: " + name)
    t.wait_for(lambda: error_of(stack.sha256, os.path.join(b, "big")) ==
               "done", "there again: big")
    t.equal(stack.sha256(os.path.join(a, "big")),
            stack.sha256(os.path.join(b, "big")), "the same bytes")


def test_wrong_answers(t):
    """A balancer of the store's that has no way to it, and says 404."""
    s, a, b = volume(t, proxied=True)
    path = os.path.join(b, "big")
    f = s.store.fault(proxy.REFUSE, "^GET", 404, 8)
    error_of(stack.sha256, path)
    f.release()
    t.wait_for(lambda: error_of(stack.sha256, path) == "done", "there again")
    t.equal(stack.sha256(os.path.join(a, "big")), stack.sha256(path), "bytes")


def test_wrong_keys(t):
    """What the store has against the server's keys is in the log, until it
    takes them."""
    srv = server.Server(t)
    if srv.store is None:
        return
    path = srv.store.credentials
    text = read(path)
    srv.stop()
    for old, new, said in (
            (gateway.SECRET, "wrong", "the secret access key is not"),
            (gateway.ACCESS_KEY, "WRONG", "does not know the access key")):
        write(path, text.replace(old, new))
        srv.start()
        t.wait_for(lambda s=said: s in srv.log(), said)
        write(path, text)
        n = srv.log().count("takes our requests again")
        srv.hup()
        t.wait_for(lambda c=n: srv.log().count(
            "takes our requests again") > c, "mended", 30)
        srv.stop()
    srv.start()
