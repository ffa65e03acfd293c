# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The bytes lie behind a Ceph RADOS Gateway: what is told of `store s3'.  What is
told of the embedded store and holds there too is in the tests of that, which run
against both."""

import os

from sailtest import gateway, memory, server, stack


def test_nothing_of_the_embedded(t):
    """No store runs, no folder of it is made, and the keys are nowhere but in
    sign and in the parent, which has them for the next one; those that were
    replaced are nowhere."""
    g = gateway.Gateway(t)
    s = stack.Stack(t, store=g)
    srv = s.server
    # Each has its name a moment after its start.
    t.wait_for(lambda: set(srv.roles()) == {"sign", "fetch", "meta", "api"},
               "roles")
    t.equal({"sailapid.conf", "api.port", "db"}, set(os.listdir(srv.dir)),
            "files")
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    stack.fill(a + "/f", 2)
    s.share(a, b)
    other = "another" + gateway.SECRET[7:]
    secrets = {"the secret": gateway.SECRET.encode(), "the next": other.encode()}
    processes = [(pid, role) for role, pid in srv.roles().items()]
    processes += [(srv.process.pid, "parent")]
    everybody = processes + [(s.daemon.process.pid, "sailvold")] + \
        [x for x in s.daemon.roles() if x[1] != "notify"]
    memory.only_there(t, everybody, secrets, {
        "the secret": {"sign", "parent"}})
    text = stack.read(g.credentials)
    stack.write(g.credentials, text.replace(gateway.SECRET, other))
    srv.hup()
    t.wait_for(lambda: "the next" in memory.find(srv.roles()["sign"],
                                                 secrets)[0], "the next keys")
    memory.only_there(t, processes, secrets, {"the next": {"sign", "parent"}})
    t.true(gateway.SECRET not in srv.log(), "secret in the log")
    stack.write(g.credentials, text)
    srv.hup()


def test_environment(t):
    """Keys of the environment, under the usual names; no process shows them."""
    g = gateway.Gateway(t)
    g.credentials = None
    os.environ["AWS_ACCESS_KEY_ID"] = gateway.ACCESS_KEY
    os.environ["AWS_SECRET_ACCESS_KEY"] = gateway.SECRET
    srv = server.Server(t, store=g)
    for pid in [srv.process.pid] + list(srv.roles().values()):
        with open("/proc/%d/environ" % pid, "rb") as f:
            t.true(gateway.SECRET.encode() not in f.read(),
                   "secret in the environment of %d" % pid)
    srv.stop()
    del os.environ["AWS_SECRET_ACCESS_KEY"]
    r = t.run([srv.program, "-d", "-f", srv.conf], ok=1)
    t.true("keys of the store: environment: no secret access key; set "
           "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in r.stderr, r.stderr)


def put_and_get(t, s, name):
    """A file goes from one daemon to the other; a mount of each."""
    a, b = s.t.path("mnt", "a"), s.t.path("mnt", "b")
    data = os.urandom(3 << 20)
    with open(os.path.join(a, name), "wb") as f:
        f.write(data)
    s.commit(a)
    s.reload(b)
    with open(os.path.join(b, name), "rb") as f:
        t.true(f.read() == data, "content of " + name)


def test_other_keys(t):
    """Keys that are wrong: the error says who refused; new ones count from the
    next SIGHUP on."""
    g = gateway.Gateway(t)
    s = stack.Stack(t, daemons=2, store=g)
    s.mount("v", "a", create=True)
    s.daemons[1].mount("v", "b")
    put_and_get(t, s, "first")
    text = stack.read(g.credentials)
    stack.write(g.credentials, text.replace(gateway.SECRET, "wrong"))
    s.server.hup()
    with open(s.t.path("mnt", "a", "x"), "wb") as f:
        f.write(os.urandom(3 << 20))
    r = s.ctl("commit", s.t.path("mnt", "a"), ok=False)
    # Of the server, or of the store itself where it was asked first.
    t.true("the secret access key is not that of the access key" in r.stderr or
           "store refuses the server's URLs" in r.stderr, "error: " + r.stderr)
    stack.write(g.credentials, text.replace("aws_secret", "aws_sekret"))
    s.server.hup("no secret access key")
    stack.write(g.credentials, text)
    s.server.hup()
    put_and_get(t, s, "second")


def test_session_token(t):
    """Keys that expire, with their token: it stands in each URL, and one that is
    wrong is named."""
    g = gateway.Lender(t)
    text = gateway.CREDENTIALS + "aws_session_token = %s\n"
    access, secret, token = g.borrow()
    stack.write(g.credentials, text % (access, secret, token))
    s = stack.Stack(t, daemons=2, store=g, proxied=True)
    s.mount("v", "a", create=True)
    s.daemons[1].mount("v", "b")
    put_and_get(t, s, "first")
    for method in ("PUT", "GET"):
        t.true(s.store.count("^%s .*X-Amz-Security-Token=" % method),
               "no %s has a token" % method)
    stack.write(g.credentials, text % (access, secret, "A" + token[1:]))
    s.server.hup()
    with open(s.t.path("mnt", "a", "x"), "wb") as f:
        f.write(os.urandom(3 << 20))
    t.equal(1, s.ctl("commit", s.t.path("mnt", "a"), ok=None).returncode,
            "a commit with a wrong token")
    stack.write(g.credentials, text % g.borrow())
    s.server.hup()
    put_and_get(t, s, "second")


def test_virtual_style(t):
    """The bucket is a label of the host's name."""
    g = gateway.Gateway(t)
    g.style, g.host = "virtual", "localhost"
    s = stack.Stack(t, daemons=2, store=g)
    s.mount("v", "a", create=True)
    s.daemons[1].mount("v", "b")
    put_and_get(t, s, "f")
    t.true(len(s.objects()) == 1, "objects: %r" % s.objects())
