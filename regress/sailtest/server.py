# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A sailapid of a test's own: folders below its directory, ports that the
kernel picked, users that are numbers."""

import http.client
import json
import os

from sailtest import s3

USERS_FROM = 61000
ROLES = {"tls": 0, "api": 1, "meta": 2, "sign": 3, "fetch": 4, "store": 5}


class Server:
    def __init__(self, t, extra="", name="sailapid", org="acme"):
        self.t, self.name = t, name
        self.dir = t.path(name)
        os.mkdir(self.dir, 0o711)
        self.program = os.path.join(t.repo, "sailapid", "sailapid")
        self.conf = self.configure(extra)
        self.key = t.run([self.program, "-f", self.conf, "init",
                          org]).stdout.strip()
        self.process = None
        self.start()

    def configure(self, extra):
        return self.t.write("%s/sailapid.conf" % self.name, """
listen on 127.0.0.1 port 0 port file "%(d)s/api.port"
database "%(d)s/db"
store "%(d)s/objects" listen on 127.0.0.1 port 0 port file "%(d)s/store.port"
users from %(u)d
log debug
%(x)s
""" % {"d": self.dir, "u": USERS_FROM, "x": extra})

    def read(self, name):
        try:
            with open(os.path.join(self.dir, name), encoding="ascii") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self):
        self.process = self.t.spawn(
            [self.program, "-d", "-f", self.conf], self.name + ".log")
        self.t.wait_for(self.up, "sailapid answers")
        access_key, secret = self.read("objects.key").split()
        self.s3 = s3.S3(self.store_port, access_key, secret)

    def up(self):
        if self.process.poll() is not None:
            self.t.fail("sailapid ended with status %d" %
                        self.process.returncode)
        if not self.read("api.port") or not self.read("store.port"):
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
        return int(self.read("store.port"))

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def stop(self):
        self.t.equal(0, self.t.stop(self.process), "exit status of sailapid")

    def log(self):
        with open(self.t.path(self.name + ".log"), encoding="utf-8",
                  errors="backslashreplace") as f:
            return f.read()

    def raw(self, method, target, body=None, headers=None):
        """(status, headers, bytes)"""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
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
            if int(rest.split()[1]) == self.process.pid:
                found[name] = int(pid)
        return found
