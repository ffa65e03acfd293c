# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""No process has a secret in its memory but those that cannot do without: API
keys, the store's secret and the private key of TLS, in /proc/PID/mem of all."""

import base64
import os

from sailtest import memory, server, stack, tls

EMBEDDED_STORE = ("test_sailapid",)  # its role is one of them

def api_key(name, text):
    """As it is written, and its bytes."""
    return {name: text[3:].encode(), name + ", bytes": bytes.fromhex(text[3:])}


def private_key(path):
    """As in its file, and as numbers in both orders: {form: bytes}."""
    with open(path, encoding="ascii") as f:
        lines = [line.strip() for line in f if "-----" not in line]
    der = base64.b64decode("".join(lines))
    at = der.index(b"\x02\x01\x01\x04\x20") + 5
    return {"file": lines[1].encode(), "number": der[at:at + 32],
            "reversed": der[at + 32 - 1:at - 1:-1]}


def test_sailvold(t):
    """The key is in sailvol-fetch, and in the parent that hands it to the next
    one.  One that was replaced is at most where libcurl sent it from."""
    s = stack.Stack(t, daemons=2, extra="metrics listen on 127.0.0.1 port 0\n")
    d, far = s.daemons
    old, new = s.new_key(), s.new_key()
    far.stop()
    stack.write(far.dir + "/key", old + "\n")
    far.start()
    a, b = s.mount("v", "a", create=True), far.mount("v", "b")
    secrets = {**api_key("the key", old), **api_key("the next key", new),
               **api_key("another's key", s.server.key),
               "the store's secret": s.server.s3.secret.encode()}

    def work():
        for top, other in ((a, b), (b, a)):
            stack.fill(top + "/" + os.path.basename(top), 1)
            s.share(top, other)
            stack.sha256(other + "/" + os.path.basename(top))
        # notify comes and goes.
        found = [x for x in far.roles() if x[1] != "notify"]
        t.equal({"fuse", "manifest", "cache", "fetch", "metrics"},
                {role for _, role in found}, "roles")
        return found + [(far.process.pid, "parent")]

    # Its bytes are nowhere: nobody computes with them.
    memory.only_there(t, work(), secrets, {"the key": {"fetch", "parent"}})
    stack.write(far.dir + "/key", new + "\n")
    far.hup()
    t.wait_for(lambda: "sailvold.conf: taken" in far.log(), "the next key")
    memory.only_there(t, work(), secrets, {"the next key": {"fetch", "parent"}},
                      {"the key": {"fetch"}})
    t.true(not memory.find(d.process.pid, api_key("key", new))[0],
           "another daemon")


def test_sailapid(t):
    """A private key is in tls alone, the store's secret in sign and store and,
    for the next of them, in the parent.  The keys of clients are nowhere when
    they were served, meta's own making among them; but that what libtls and
    libmicrohttpd have sent or read may lie where they gave it up."""
    s = stack.Stack(t, authority=tls.Authority(t))
    srv = s.server
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    stack.fill(a + "/f", 2)
    s.share(a, b)
    made, used = s.new_key(), s.new_key(org="other")
    for key in (made, used):
        t.equal(200, srv.call("GET", "/v1/whoami", key=key)[0], "a key")
    private = {"private key, " + form: data for form, data in
               private_key(srv.certificate[1]).items()}
    secrets = {**private, **api_key("a key, made", made),
               **api_key("a key, used", used),
               "the store's secret": srv.s3.secret.encode()}
    roles = srv.roles()
    t.equal(set(server.ROLES), set(roles), "roles")
    # The end of a connection is heard a moment later.
    t.wait_for(lambda: not memory.find(roles["api"], api_key("used", used))[0],
               "api to forget a key")
    memory.only_there(
        t, [(pid, role) for role, pid in roles.items()] +
        [(srv.process.pid, "parent")], secrets,
        {"the store's secret": {"sign", "store", "parent"},
         "private key, number": {"tls"}},
        {**{name: {"tls"} for name in private},
         "a key, made": {"tls", "api"}, "a key, used": {"tls"}})
