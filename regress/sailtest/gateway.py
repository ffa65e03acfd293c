# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A Ceph RADOS Gateway for tests: a monitor, one store in memory, and the
gateway before it, on loopback; what others run in front of disks.  The runner
keeps one, of which each test gets a bucket of its own; without a runner a test
starts one for itself."""

import http.client
import json
import os
import subprocess
import sys
import threading
import uuid
import xml.etree.ElementTree

from sailtest import s3

ACCESS_KEY = "SAILTESTGATEWAY00001"
SECRET = "sailtestsecret000000000000000000000000001"
SIZE = 16 << 30

CONF = """
[global]
fsid = %(fsid)s
mon_host = [v2:127.0.0.1:%(mon)d/0]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
ms_mon_client_mode = crc
run_dir = %(d)s/run
admin_socket = %(d)s/run/$name.asok
log_file = %(d)s/$name.out
crash_dir = %(d)s
debug_ms = 0/0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_failsafe_full_ratio = 0.99
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
[mon]
mon_data = %(d)s/mon
mon_cluster_log_file = %(d)s/cluster.out
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mon_osd_full_ratio = 0.98
mon_osd_backfillfull_ratio = 0.97
mon_osd_nearfull_ratio = 0.96
auth_allow_insecure_global_id_reclaim = false
# A commit of the monitor's waits this long for others: there are none.
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
[osd]
osd_data = %(d)s/osd
osd_objectstore = memstore
osd_uuid = %(osd)s
crush_location = root=default host=here
memstore_device_bytes = %(size)d
[client.rgw]
rgw_data = %(d)s/run
rgw_frontends = beast endpoint=127.0.0.1:%(port)d tcp_nodelay=1
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_thread_pool_size = 64
rgw_rados_pool_pg_num_min = 4
rgw_crypt_require_ssl = false
rgw_dns_name = localhost
%(more)s
"""


CREDENTIALS = """# The keys of a test.
[default]
aws_access_key_id = %s
aws_secret_access_key = %s
"""


# Who has keys may have some that expire.
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["sts:GetSessionToken", "s3:*"],
     "Resource": ["*"]}]})


class Gateway:
    """host, at_port: where a server's configuration finds it, by name or
    address.  Buckets are labels below localhost, too.  credentials: a file, or None:
    those of the environment."""
    more = ""

    def __init__(self, t, name="gateway"):
        self.t, self.bucket = t, "sail-" + uuid.uuid4().hex[:12]
        name += ".data"
        self.dir = t.path(name)
        os.mkdir(self.dir, 0o755)
        self.style, self.host = "path", "127.0.0.1"
        self.credentials = t.write(name + "/credentials",
                                   CREDENTIALS % (ACCESS_KEY, SECRET), 0o600)
        shared = not self.more and os.environ.get("SAIL_GATEWAY")
        self.port = self.at_port = int(shared) if shared else t.free_port()
        self.s3 = s3.S3(self.port, ACCESS_KEY, SECRET, self.bucket)
        if shared:
            self.processes = []
            t.wait_for(self.up, "the gateway answers")
        else:
            self.configure(name)

    def configure(self, name):
        t, mon = self.t, self.t.free_port()
        for d in ("run", "mon", "osd"):
            os.mkdir(os.path.join(self.dir, d))
        self.fsid, self.osd_id = str(uuid.uuid4()), str(uuid.uuid4())
        self.conf = t.write(name + "/ceph.conf", CONF % {
            "fsid": self.fsid, "osd": self.osd_id, "mon": mon,
            "port": self.port, "d": self.dir, "size": SIZE,
            "more": self.more})
        self.name = name
        self.start(mon)

    def run(self, *argv):
        return self.t.run([argv[0], "-c", self.conf] + list(argv[1:]),
                          env={"CEPH_ARGS": ""})

    def spawn(self, *argv):
        return self.t.spawn(
            [argv[0], "-c", self.conf, "-f"] + list(argv[1:]),
            "%s/%s.out" % (self.name, argv[0]), env={"CEPH_ARGS": ""})

    def start(self, mon):
        monmap = os.path.join(self.dir, "monmap")
        self.t.run(["monmaptool", "--create", "--addv", "a",
                    "[v2:127.0.0.1:%d]" % mon, monmap, "--fsid", self.fsid])
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self.processes = [self.spawn("ceph-mon", "-i", "a")]
        self.run("ceph", "--connect-timeout", "60", "osd", "new",
                 self.osd_id, "0")
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid",
                 self.osd_id)
        self.processes.append(self.spawn("ceph-osd", "-i", "0"))
        self.run("radosgw-admin", "-n", "client.rgw", "user", "create",
                 "--uid=sail", "--display-name=sail", "--max-buckets=100000",
                 "--caps=user-policy=*",
                 "--access-key=" + ACCESS_KEY, "--secret-key=" + SECRET)
        self.processes.append(self.spawn("radosgw", "-n", "client.rgw"))
        self.t.wait_for(self.up, "the gateway answers", 60)

    def up(self):
        for p in self.processes:
            if p.poll() is not None:
                self.t.fail("%s ended with status %d" % (
                    p.args[0], p.returncode))
        try:
            return self.s3.put(None, None).status in (200, 409)
        except (OSError, http.client.HTTPException):
            return False

    def statement(self):
        """For sailapid.conf, of what the attributes say."""
        text = 'bucket "%s" style %s' % (self.bucket, self.style)
        if self.credentials is not None:
            text += ' credentials file "%s"' % self.credentials
        return 'store s3 "http://%s:%d" { %s }' % (self.host, self.at_port, text)


class Lender(Gateway):
    """One of its own that lends keys: AWS Security Token Service.  It no longer
    tells a wrong secret from a key that may do nothing."""
    more = "rgw_s3_auth_use_sts = true\nrgw_sts_key = 0123456789abcdef"

    def borrow(self, seconds=900):
        """(access key, secret, session token) that live so long: STS."""
        service = s3.S3(self.port, ACCESS_KEY, SECRET, "")

        def ask(query, form=b""):
            a = service.request("POST", None, query, form, form and {
                "Content-Type": "application/x-www-form-urlencoded"})
            self.t.equal(200, a.status, "answer: %r" % a.body)
            return xml.etree.ElementTree.fromstring(a.body)
        ask({"Action": "PutUserPolicy", "UserName": "sail",
             "PolicyName": "borrow", "PolicyDocument": POLICY})
        got = ask({}, b"Action=GetSessionToken&DurationSeconds=%d" % seconds)
        return tuple(got.find(".//" + name).text for name in (
            "AccessKeyId", "SecretAccessKey", "SessionToken"))


def of_environment(t, name):
    """A Gateway for the server of that name if the environment wants one."""
    if os.environ.get("SAIL_STORE") == "s3":
        return Gateway(t, name + ".gateway")
    return None


# ---- one for many tests ------------------------------------------------------

LARGE = 1 << 30     # bytes of memory: the next test gets another one


class Shared:
    """A gateway in a process of its own, which ends with its standard input."""

    def __init__(self, runner):
        self.users = 0
        env = {k: v for k, v in os.environ.items() if k != "SAIL_GATEWAY"}
        self.process = subprocess.Popen(
            [sys.executable, runner, "--gateway"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=env,
            start_new_session=True)
        line = self.process.stdout.readline().split()
        if len(line) != 2:
            raise RuntimeError("no gateway: its process ended with %s" %
                               self.process.wait())
        self.port, self.osd = int(line[0]), int(line[1])

    def large(self):
        try:
            with open("/proc/%d/statm" % self.osd, encoding="ascii") as f:
                pages = int(f.read().split()[1])
        except OSError:
            return True
        return pages * os.sysconf("SC_PAGE_SIZE") > LARGE

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Keeper:
    """Of the runner: starts one when the first test wants it."""

    def __init__(self, runner):
        self.runner, self.now = runner, None
        self.lock = threading.Lock()

    def take(self):
        with self.lock:
            old = self.now
            if old is None or old.large():
                self.now = Shared(self.runner)
                if old is not None and old.users == 0:
                    old.stop()
            self.now.users += 1
            return self.now

    def give(self, one):
        with self.lock:
            one.users -= 1
            if one.users == 0 and one is not self.now:
                one.stop()

    def close(self):
        if self.now is not None:
            self.now.stop()


def serve(t):
    """The process of a Shared: until nobody wants it any more."""
    g = Gateway(t)
    print(g.port, g.processes[1].pid, flush=True)
    sys.stdin.read()
