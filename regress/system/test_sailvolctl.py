# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailvolctl says what is wrong before it asks anybody, and asks the API server
by a sailvol-fetch of its own when it is given a URL and a key."""

import json
import os
import re

from sailtest import server


def program(t):
    return os.path.join(t.repo, "sailvolctl", "sailvolctl")


def ctl(t, *args, ok=True, env=None):
    return t.run([program(t)] + list(args), ok=ok, env=env)


def test_usage(t):
    """usage() and the SYNOPSIS of the manual page are the same."""
    r = ctl(t, ok=2)
    usage = [" ".join(line.split()).replace("usage: ", "")
             for line in r.stderr.splitlines() if "sailvolctl [" in line]
    page = t.run(["mandoc", "-T", "ascii", "-O", "width=200",
                  os.path.join(t.repo, "man", "sailvolctl.8")]).stdout
    page = re.sub(".\b", "", page)
    part = page[page.index("SYNOPSIS"):page.index("DESCRIPTION")]
    t.equal([" ".join(line.split()) for line in part.splitlines()[1:]
             if line.strip()], usage, "synopsis")
    for words in (["commit"], ["mount", "v"], ["volume"], ["what"],
                  ["volume", "what"], ["commit", "--keep", "/"],
                  ["reload", "--keep", "--if-clean", "/"], ["-x"],
                  ["umount", "/", "/"], ["commit", "-m"],
                  ["mount", "-c", "12", "v", "/mnt"]):
        ctl(t, *words, ok=2)
    r = ctl(t, "commit", "--nothing", "/", "-j", ok=2)
    t.equal("usage", json.loads(r.stdout)["error"]["code"], "-j at the end")
    t.equal("", r.stderr, "standard error with -j")


def test_no_mount(t):
    """A path outside of any mount, and a forged .sailvol, are refused."""
    r = ctl(t, "commit", t.dir, ok=1)
    t.equal("", r.stdout, "standard output")
    t.true("is not in a mount of sailvold" in r.stderr, r.stderr)
    os.mkdir(t.path(".sailvol"))
    t.write(".sailvol/ctl", "")
    t.write(".sailvol/volume.json", "{}")
    r = ctl(t, "-j", "reload", t.dir, ok=1)
    error = json.loads(r.stdout)["error"]
    t.equal("not_a_mount", error["code"], "code")
    t.equal("", open(t.path(".sailvol", "ctl")).read(), "the forged ctl")
    r = ctl(t, "status", t.path("missing"), ok=1)
    t.true("missing" in r.stderr, r.stderr)


def test_no_daemon(t):
    """Without a sailvold the socket is named; names are checked before."""
    sock = t.path("no.sock")
    for words in (["status"], ["mount", "v", t.dir], ["umount", t.dir],
                  ["volume", "list"]):
        r = ctl(t, "-s", sock, *words, ok=1)
        t.true("sailvold does not run" in r.stderr and sock in r.stderr,
               r.stderr)
    r = ctl(t, "status", ok=1, env={"SAILVOLD_SOCKET": sock})
    t.true(sock in r.stderr, r.stderr)
    # An empty variable of a script is not the directory where it runs.
    for words in (["mount", "v", ""], ["umount", ""], ["commit", ""]):
        r = ctl(t, "-s", sock, *words, ok=1)
        t.true("No such file" in r.stderr, r.stderr)
    for bad in ("a/b", "", ".x", "x" * 200, "v:sub", "v:/a/../b", "v:/.sailvol"):
        r = ctl(t, "-s", sock, "mount", bad, t.dir, ok=1)
        t.true("sailvold does not run" not in r.stderr, r.stderr)


def test_api(t):
    """volume, key and log against a server: ids alone on standard output."""
    srv = server.Server(t)
    env = {"SAIL_API_URL": srv.url, "SAIL_API_KEY": srv.key}
    ident = ctl(t, "volume", "create", "one", env=env).stdout
    t.true(re.fullmatch("vol_[0-9a-f]{32}\n", ident), ident)
    keyfile = t.write("key", srv.key + "\n", 0o600)
    again = ctl(t, "-u", srv.url, "volume", "create", "--mint-if-missing",
                "one", "-k", keyfile).stdout
    t.equal(ident, again, "the same volume")
    r = ctl(t, "volume", "create", "one", env=env, ok=1)
    t.equal("", r.stdout, "standard output of a failure")
    r = ctl(t, "-j", "volume", "create", "one", env=env, ok=1)
    t.equal("volume_exists", json.loads(r.stdout)["error"]["code"], "code")
    t.equal("", r.stderr, "standard error with -j")
    ctl(t, "volume", "create", "two", env=env)
    got = json.loads(ctl(t, "volume", "list", "-j", env=env).stdout)
    t.equal(["one", "two"], [v["name"] for v in got["volumes"]], "list")
    t.equal(2, len(ctl(t, "volume", "list", env=env).stdout.splitlines()),
            "lines of the list")
    t.true(ident.strip() in ctl(t, "volume", "get", "one", env=env).stdout,
           "get")
    log = json.loads(ctl(t, "-j", "log", "one", env=env).stdout)["commits"]
    t.equal([0], [c["number"] for c in log], "numbers in the log")
    line = ctl(t, "log", "-n", "1", "one", env=env).stdout
    t.true(line.startswith(log[0]["id"] + " 0 "), line)
    for words in (("log", "one"), ("-j", "volume", "list")):
        r = t.run(["sh", "-c", '(sleep 0.5; "$0" "$@"; echo $? >&2) | true',
                   program(t)] + list(words), env=env)
        t.equal("141\n", r.stderr, "nobody reads")
        r = t.run(["sh", "-c", '"$0" "$@" >/dev/full',
                   program(t)] + list(words), env=env, ok=1)
        t.equal("sailvolctl: standard output failed\n", r.stderr, "full")
    ctl(t, "volume", "delete", "two", env=env)
    r = ctl(t, "volume", "get", "two", env=env, ok=1)
    t.true("two" in r.stderr or "volume" in r.stderr, r.stderr)


def test_bad_url(t):
    """A URL that cannot be one is refused before anybody is asked, with the
    reason, and with -j nothing is on standard error."""
    for url, why in (("ftp://x", "neither http:// nor https://"),
                     ("http://10.1.2.3:1", "plain http is for loopback"),
                     ("https://x:99999", "the port is not 1 to 65535"),
                     ("https://x/v1", "a path behind the host"),
                     ("", "neither http:// nor https://")):
        r = ctl(t, "-u", url, "volume", "list", ok=1,
                env={"SAIL_API_KEY": "k"})
        t.equal("sailvolctl: -u %s: %s" % (url, why),
                r.stderr.strip()[:15 + len(url) + 2 + len(why)], url)
        r = ctl(t, "-j", "volume", "list", ok=1,
                env={"SAIL_API_KEY": "k", "SAIL_API_URL": url})
        t.equal(("", True), (r.stderr, "SAIL_API_URL" in json.loads(
            r.stdout)["error"]["message"]), url)


def test_keys(t):
    """A key is shown once, works by its role, and not after it was revoked."""
    srv = server.Server(t)
    env = {"SAIL_API_URL": srv.url, "SAIL_API_KEY": srv.key}
    r = ctl(t, "key", "create", "read", "of a test", env=env)
    t.true(re.fullmatch("sk_[0-9a-f]{64}\n", r.stdout), r.stdout)
    key = r.stdout.strip()
    ident = re.search("key_[0-9a-f]{16}", r.stderr)[0]
    mine = dict(env, SAIL_API_KEY=key)
    ctl(t, "volume", "list", env=mine)
    r = ctl(t, "-j", "volume", "create", "x", env=mine, ok=1)
    t.equal("permission", json.loads(r.stdout)["error"]["type"], "type")
    t.true([x for x in ctl(t, "key", "list", env=env).stdout.splitlines()
            if x.startswith(ident) and x.endswith("of a test")], "key list")
    ctl(t, "key", "revoke", ident, env=env)
    r = ctl(t, "-j", "volume", "list", env=mine, ok=1)
    t.equal("bad_key", json.loads(r.stdout)["error"]["code"], "revoked")
    ctl(t, "key", "create", "owner", env=env, ok=1)
    r = ctl(t, "volume", "list", ok=1, env=dict(
        env, SAIL_API_URL="http://192.0.2.1:80"))
    t.true(r.stderr.startswith("sailvolctl"), r.stderr)
    r = ctl(t, "-u", srv.url, "volume", "list", ok=1)
    t.true("no key" in r.stderr, r.stderr)


def test_user(t):
    """A user who is not root uses a server and key of their own, too."""
    srv = server.Server(t)
    os.chmod(t.dir, 0o755)
    r = t.run(["setpriv", "--reuid=64123", "--regid=64123", "--clear-groups",
               program(t), "volume", "list", "-u", srv.url], ok=None,
              env={"SAIL_API_KEY": srv.key})
    if r.returncode == 126 or "setpriv" in r.stderr:
        t.skip("another user cannot run the programs of this folder: " +
               r.stderr.strip())
    t.equal((0, ""), (r.returncode, r.stdout), "exit status: " + r.stderr)
    r = t.run(["setpriv", "--reuid=64123", "--regid=64123", "--clear-groups",
               program(t), "volume", "list"], ok=1)
    t.true("only root" in r.stderr, r.stderr)
