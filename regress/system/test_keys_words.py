# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What sailapid(8) and sailapi(7) say of audit lines, limited keys and errors."""

import os
import re
import subprocess

from sailtest import proxy, server, stack, wire
from sailtest.client import Client


def audit(srv):
    return re.findall(r" meta: audit: (.*)$", srv.log(), re.M)


def test_repeated_is_no_change(t):
    """What says the same again has no audit line."""
    srv = server.Server(t)
    srv.call("POST", "/v1/volumes", {"name": "v"})
    key = srv.call("POST", "/v1/keys", {"role": "read"})[1]
    for name in ("v", "w"):
        t.equal(204, srv.call("DELETE", "/v1/keys/" + key["id"])[0], "revoke")
        t.equal(200, srv.call("POST", "/v1/volumes/%s/rename" % name,
                              {"name": "w"})[0], "rename")
    srv.call("POST", "/v1/volumes", {"name": "last"})
    t.wait_for(lambda: "name=last" in srv.log(), "the last line")
    for what in ("key-revoke", "volume-rename"):
        t.equal(1, len([a for a in audit(srv) if what in a]), what)


def test_name_of_the_forked(t):
    """A key for a fork does not hear the name of what it was forked from."""
    srv = server.Server(t)
    srv.call("POST", "/v1/volumes", {"name": "secret-project"})
    srv.call("POST", "/v1/volumes/secret-project/fork", {"name": "w"})
    key = srv.call("POST", "/v1/keys", {
        "role": "read", "volumes": [{"volume": "w"}]})[1]["key"]
    for target in ("/commits", "/head", ""):
        out = srv.raw("GET", "/v1/volumes/w" + target, None,
                      {"Authorization": "Bearer " + key})[2]
        t.true(b"secret-project" not in out, "GET %s: %r" % (target, out))


def test_words_of_no_directory(t):
    """A commit by which a key of a path sees nothing come or go is not in its
    log, nor are its words."""
    srv = server.Server(t)
    c = Client(srv)

    def publish(what, message):
        session = c.base + "/sessions/" + os.urandom(16).hex()
        srv.call("PUT", session, {"message": message})
        c.ask(session + "/commit", wire.delta([wire.op(wire.PUT, b"a", what)]))

    publish(wire.directory(), "")
    key = srv.call("POST", "/v1/keys", {
        "role": "read", "volumes": [{"volume": "v", "path": "a"}]})[1]["key"]
    publish(wire.symlink(b"one"), "")
    publish(wire.symlink(b"two"), "now it points to the second vault")
    out = srv.call("GET", "/v1/volumes/v/commits", key=key)[1]["commits"]
    t.true("vault" not in repr(out), "the log: %r" % out)


def test_revoked_while_it_uploads(t):
    """Revoked in the middle of its uploads, a commit ends soon, and says why."""
    s = stack.Stack(t, proxied=True)
    s.mount("v", "whole", create=True)
    key = s.server.call("POST", "/v1/keys", {"role": "write"})[1]
    p = s.add_daemon(key=key["key"]).mount("v", "p")
    stack.fill(os.path.join(p, "f"), 64)
    held = s.store.fault(proxy.HOLD, "^PUT")
    commit = stack.spawn(s, "commit", p)
    t.wait_for(lambda: held.done, "an upload")
    t.equal(204, s.server.call("DELETE", "/v1/keys/" + key["id"])[0], "revoke")
    held.release()
    status, answer = stack.end(commit)
    t.equal(1, status, answer)
    refused = len([r for r in s.api.matching() if r.status == 401])
    t.equal("the API key was revoked", answer["error"]["message"],
            "the error, after %d refusals" % refused)
    t.true(refused <= 4, "asked again %d times" % refused)


def test_revoked_while_it_puts(t):
    """The same without a mount."""
    s = stack.Stack(t, proxied=True)
    s.server.call("POST", "/v1/volumes", {"name": "v"})
    key = s.server.call("POST", "/v1/keys", {"role": "write"})[1]
    src = t.path("src")
    os.mkdir(src)
    stack.fill(src + "/f", 8)
    held = s.api.fault(proxy.HOLD, "/chunks$")
    put = stack.spawn(s, "put", "-u", s.api.url, "-k",
                      t.write("key", key["key"]), src, "v:")
    t.wait_for(lambda: held.done, "a question")
    t.equal(204, s.server.call("DELETE", "/v1/keys/" + key["id"])[0], "revoke")
    held.release()
    status, answer = stack.end(put)
    t.equal(1, status, answer)
    t.equal(("the API key was revoked", "authentication", "bad_key"), tuple(
        answer["error"][x] for x in ("message", "type", "code")), "the error")


def test_names_of_keys(t):
    """The server's own list of keys has nothing that a terminal obeys."""
    srv = server.Server(t)
    status, _ = srv.call("POST", "/v1/keys", {
        "role": "read", "name": "a\u009b31mb\u202e"})
    t.true(status in (201, 400), status)
    out = t.run([srv.program, "-f", srv.conf, "key", "list", "acme"]).stdout
    t.true("\u009b" not in out and "\u202e" not in out, repr(out))


def test_volume_twice(t):
    """A key of one volume twice is refused with words."""
    srv = server.Server(t)
    srv.call("POST", "/v1/volumes", {"name": "v"})
    out = subprocess.run([srv.program, "-f", srv.conf, "key", "create", "acme",
                          "write", "n", "v", "v:/a"], text=True,
                         capture_output=True, check=False)
    t.equal(1, out.returncode, out.stderr)
    t.true("there is no such directory" in out.stderr, out.stderr)
    out = subprocess.run([srv.program, "-f", srv.conf, "key", "create", "acme",
                          "write", "n", "v", "v"], text=True,
                         capture_output=True, check=False)
    t.equal(1, out.returncode, out.stderr)
    t.true("v: the volume stands there twice" in out.stderr, out.stderr)
