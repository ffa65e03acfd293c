# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A sailapid of a test's own: folders below its directory, ports that the
kernel picked, users that are numbers."""

import http.client
import json
import os
import signal
import sqlite3

from sailtest import gateway, s3, tls

USERS_FROM = 61000
ROLES = {"tls": 0, "api": 1, "meta": 2, "sign": 3, "fetch": 4, "store": 5}


class Server:
    """store: a Gateway, else the embedded one; SAIL_STORE=s3 in the environment
    makes that a Gateway too.  beside: a Server whose database, Gateway and admin
    this one has too.  authority: whose certificate it has, else it speaks no
    TLS; SAIL_TLS=yes in the environment makes one."""

    def __init__(self, t, extra="", name="sailapid", org="acme", store=None,
                 beside=None, authority=None):
        self.t, self.name = t, name
        if beside is not None:
            store = beside.store
            authority = authority or beside.authority
        if authority is None and os.environ.get("SAIL_TLS") == "yes":
            authority = tls.Authority(t, name + ".ca")
            # For sailvolctl and Python.
            os.environ["SAIL_CA_FILE"] = authority.ca
        self.authority = authority
        self.certificate = authority.issue() if authority else None
        self.store = store = store or gateway.of_environment(t, name)
        self.dir = t.path(name)
        os.mkdir(self.dir, 0o711)
        self.program = os.path.join(t.repo, "sailapid", "sailapid")
        self.database = (beside or self).dir + "/db"
        self.conf = self.configure(extra)
        self.key = beside.key if beside is not None else t.run(
            [self.program, "-f", self.conf, "init", org]).stdout.strip()
        self.process = None
        self.start()

    def store_statement(self):
        if self.store is not None:
            return self.store.statement()
        return ('store "%s/objects" listen on 127.0.0.1 %sport 0 '
                'port file "%s/store.port"' % (
                    self.dir, "tls " if self.authority else "", self.dir))

    def tls_statement(self):
        if self.authority is None:
            return ""
        return ('tls { certificate file "%s" key file "%s" }' %
                self.certificate)

    def configure(self, extra):
        return self.t.write("%s/sailapid.conf" % self.name, """
listen on 127.0.0.1 %(tls)sport 0 port file "%(d)s/api.port"
%(cert)s
database "%(b)s"
%(s)s
users from %(u)d
log debug
%(x)s
""" % {"d": self.dir, "b": self.database, "u": USERS_FROM,
       "x": extra, "s": self.store_statement(), "cert": self.tls_statement(),
       "tls": "tls " if self.authority else ""})

    def read(self, name):
        try:
            with open(os.path.join(self.dir, name), encoding="ascii") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self):
        self.process = self.t.spawn(
            [self.program, "-d", "-f", self.conf], self.name + ".log")
        self.ready()

    def ready(self):
        self.t.wait_for(self.up, "sailapid answers")
        if self.store is not None:
            self.s3 = self.store.s3
        else:
            access_key, secret = self.read("objects.key").split()
            self.s3 = s3.S3(self.store_port, access_key, secret,
                            context=self.context)

    def up(self):
        if self.process.poll() is not None:
            self.t.fail("sailapid ended with status %d" %
                        self.process.returncode)
        if not self.read("api.port") or not (
                self.store or self.read("store.port")):
            return False
        try:
            return self.call("GET", "/v1/whoami")[0] == 200
        except OSError:
            return False

    @property
    def port(self):
        return int(self.read("api.port"))

    @property
    def store_port(self):
        return self.store.port if self.store else int(self.read("store.port"))

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % (
            "https" if self.authority else "http", self.port)

    @property
    def context(self):
        """Of a client's TLS; None: without."""
        return self.authority.context() if self.authority else None

    def connection(self):
        if self.authority is None:
            return http.client.HTTPConnection("127.0.0.1", self.port,
                                              timeout=60)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60,
                                           context=self.context)

    def stop(self):
        self.t.equal(0, self.t.stop(self.process), "exit status of sailapid")

    def hup(self, error=None):
        """Reads its configuration again, or not, because of that."""
        done = "%s: " % self.conf + (
            "nothing was changed" if error else "read again")
        count = self.log().count(done)
        self.process.send_signal(signal.SIGHUP)
        self.t.wait_for(lambda: self.log().count(done) > count, done)
        self.t.true(error is None or error in self.log(), "log: %s" % error)

    def log(self):
        with open(self.t.path(self.name + ".log"), encoding="utf-8",
                  errors="backslashreplace") as f:
            return f.read()

    def raw(self, method, target, body=None, headers=None):
        """(status, headers, bytes)"""
        conn = self.connection()
        try:
            conn.request(method, target, body=body, headers=headers or {})
            res = conn.getresponse()
            return (res.status, {k.lower(): v for k, v in res.getheaders()},
                    res.read())
        finally:
            conn.close()

    def call(self, method, target, body=None, key=None):
        """With the admin's key, JSON both ways: (status, object)."""
        data = None if body is None else json.dumps(body).encode()
        status, headers, out = self.raw(
            method, target, data,
            {"Authorization": "Bearer " + (key or self.key)})
        if headers.get("content-type") == "application/json":
            return status, json.loads(out)
        return status, out

    def packs_read(self):
        """There are packs, and the server has read and verified all that have
        come: what was only claimed (1) may never."""
        db = sqlite3.connect("file:%s/db/sailapi.db?mode=ro" % self.dir,
                             uri=True)
        try:
            return {row[0] for row in db.execute(
                "SELECT state FROM object WHERE pack = 1")} - {1} == {3}
        finally:
            db.close()

    def roles(self):
        """{role: pid} of the running roles, by their command names."""
        found = {}
        for pid in os.listdir("/proc"):
            try:
                with open("/proc/%s/stat" % pid, encoding="ascii") as f:
                    stat = f.read()
            except (OSError, ValueError):
                continue
            name, rest = stat[stat.index("(") + 1:].rsplit(")", 1)
            rest = rest.split()
            if int(rest[1]) == self.process.pid and rest[0] != "Z":
                found[name] = int(pid)
        return found
