# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Headers that were not signed, added to a signed upload, open nothing: the
store refuses them, or the object is as without them."""

import base64
import hashlib
import os

from sailtest import server
from sailtest.client import Client, Refused, sha

BOTH_STORES = True


def customer_key():
    """Of a client who wants the object to be readable with it alone."""
    key = os.urandom(32)
    name = "x-amz-server-side-encryption-customer-"
    return {name + "algorithm": "AES256",
            name + "key": base64.b64encode(key).decode(),
            name + "key-MD5": base64.b64encode(
                hashlib.md5(key).digest()).decode()}


def put(c, data, headers):
    (signed,) = c.chunks([(sha(data), len(data))])
    return signed, c.srv.s3.send("PUT", signed.target, dict(
        signed.headers, **headers, **{"content-length": str(len(data))}), data)


def test_nobody_else_reads(t):
    """An access list makes the object nobody else's."""
    srv = server.Server(t)
    c = Client(srv)
    for acl in ({"x-amz-acl": "public-read"},
                {"x-amz-grant-read":
                 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'}):
        signed, a = put(c, os.urandom(70000), acl)
        t.true(a.status in (200, 400, 403, 501), a.status)
        a = srv.s3.send("GET", signed.target.split("?")[0])
        t.true(a.status in (403, 404), "%r: who has no key gets %d, %d bytes" % (
            acl, a.status, len(a.body)))


def test_others_publish(t):
    """An object that nobody else can read is in nobody's way."""
    srv = server.Server(t)
    honest = Client(srv)
    status, key = srv.call("POST", "/v1/keys", {"role": "write"})
    t.equal(201, status, "a key")
    evil = Client(srv, key=key["key"])
    data = b"a file that many publish\n" * 4000
    put(evil, data, customer_key())

    def publishes():
        try:
            return honest.write("f", data)["changed"]
        except Refused:
            honest.begin()
            return False

    # The first may fail, and mend it.
    t.wait_for(publishes, "the file of the others", 10)
    t.equal(data, honest.read("f"), "its bytes")


def poisoned(t, srv, c, data):
    """The key of what was there before anybody could know better; None: the store
    takes none such, or, as the embedded one, as if those headers were not there."""
    (signed,) = c.chunks([(sha(data), len(data))])
    key = signed.target.split("?")[0].lstrip("/").split("/", 1)[1]
    a = srv.s3.put(key, data, headers=customer_key())
    t.true(a.status in (200, 400, 501), a.status)
    return key if a.status == 200 and srv.store is not None else None


def test_unreadable_is_healed(t):
    """An object that was brought so that nobody else can read it is named in the
    log; when somebody has deleted it, it is brought again."""
    srv = server.Server(t)
    c = Client(srv)
    data = b"a file that many publish\n" * 4000
    key = poisoned(t, srv, c, data)
    if key is None:
        return
    try:
        c.write("f", data)
        t.fail("published what nobody can read")
    except Refused as e:
        t.equal("store_unavailable", e.code, "refused")
    t.wait_for(lambda: "answers 400 of the object %s:" % key in srv.log(),
               "log", 60)
    srv.s3.delete(key)
    c.begin()
    t.true(c.write("f", data)["changed"], "published")
    t.equal(data, c.read("f"), "its bytes")
