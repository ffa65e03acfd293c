# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The server's log has one line for each change, that says who and what, and
nothing secret."""

import os
import re
import socket

from sailtest import server, stack


def lines(s):
    return re.findall(r"^sailapid: meta: audit: (.*)$", s.server.log(), re.M)


def words(line):
    """(what, {name: value})"""
    found = line.split()
    bare = [w for w in found if "=" not in w]
    return bare, dict(w.split("=", 1) for w in found if "=" in w)


def test_changes(t):
    """Each kind of change; who looks, or is refused, changes nothing."""
    s = stack.Stack(t)
    call = s.server.call
    who = call("GET", "/v1/whoami")[1]
    a = s.mount("v", "a", create=True)
    stack.write(os.path.join(a, "f"), "text")
    os.mkdir(os.path.join(a, "d"))
    ident = s.commit(a)
    s.commit(a)     # nothing
    t.equal(200, call("GET", "/v1/volumes/v/commits")[0], "a look")
    vol = call("GET", "/v1/volumes/v")[1]["id"]
    made = call("POST", "/v1/keys", {"role": "read", "name": "a=b c"})[1]
    t.equal(403, call("POST", "/v1/volumes", {"name": "no"},
                      key=made["key"])[0], "what a reader may")
    call("DELETE", "/v1/keys/" + made["id"])
    call("POST", "/v1/volumes/v/fork", {"name": "w"})
    fork = call("GET", "/v1/volumes/w")[1]["id"]
    call("POST", "/v1/volumes/w/rename", {"name": "x"})
    call("DELETE", "/v1/volumes/x")
    call("POST", "/v1/volumes/%s/restore" % fork, {})
    t.equal(409, call("POST", "/v1/volumes", {"name": "v"})[0], "a name twice")

    t.wait_for(lambda: len(lines(s)) >= 8, "the last line")
    got = [words(line) for line in lines(s)]
    for _, values in got:
        t.equal(who["key"]["id"], values["key"], "key")
        t.equal(who["org"]["id"], values["org"], "org")
        t.true(values["peer"].startswith("127.0.0.1"), values["peer"])
    t.equal([["volume-create"], ["commit"], ["key-create"], ["key-revoke"],
             ["volume-fork"], ["volume-rename"], ["volume-delete"],
             ["volume-restore"]], [bare for bare, _ in got], "changes")
    t.equal([vol, vol, None, None, vol, fork, fork, fork],
            [v.get("volume") for _, v in got], "volumes")
    values = got[1][1]
    t.equal((ident, "1", "2", "0", "0"),
            (values["commit"], values["number"], values["puts"],
             values["deletes"], values["overwritten"]), "the commit")
    t.equal((made["id"], "read"), (got[2][1]["id"], got[2][1]["role"]), "key")
    t.equal(made["id"], got[3][1]["id"], "the revoked key")
    t.equal((fork, "x"), (got[4][1]["to"], got[5][1]["to"]), "new names")
    for secret in (s.server.key, made["key"]):
        t.true(secret not in s.server.log(), "a key in the log")


ORG = "acme"
# A /dev of its own, for there may be a log of the machine.
IN_DEV = """
mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 &&
mknod -m 444 /dev/urandom c 1 9 && ln -s "$0" /dev/log && exec "$@"
"""


def test_shell(t):
    """What is changed from a shell goes to syslog, without the key."""
    srv = server.Server(t)
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind(t.path("log"))
    os.chmod(t.path("log"), 0o666)
    log.settimeout(30)

    def shell(*args):
        return t.run(["unshare", "-m", "sh", "-c", IN_DEV, t.path("log"),
                      srv.program, "-f", srv.conf, *args]).stdout
    made = shell("key", "create", ORG, "read", "name").strip()
    line = log.recv(4096).decode()
    bare, values = words(line[line.index("audit:"):])
    t.equal((["audit:", "key-create"], "shell", ORG, "read"),
            (bare, values["peer"], values["org"], values["role"]), line)
    t.true(values["id"] in shell("key", "list", ORG), line)
    t.true(made not in line, "the key in the log")
    shell("key", "revoke", ORG, values["id"])
    shell("key", "revoke", ORG, values["id"])   # it is: no change
    line = log.recv(4096).decode()
    t.true("key-revoke id=%s role=read" % values["id"] in line, line)
    shell("store", "accept")
    line = log.recv(4096).decode()
    t.true("audit: key=- org=- peer=shell store-accept" in line, line)
