# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Who may ask what by the control socket and by .sailvol/ctl: a row for each
request and door, what each user hears, and what no stranger may hear."""

import json
import os
import re
import subprocess

from sailtest import deadline, stack
from sailtest.stack import write

OWNER, MEMBER, STRANGER, GROUP = 64123, 64124, 64125, 64200
USERS = {"root": None, "owner": (OWNER, []), "member": (MEMBER, [GROUP]),
         "stranger": (STRANGER, [])}

# Asks [[door, path, line]] and prints an answer for each.
CLIENT = r"""
import json, os, socket, sys
def ask(door, path, line):
    data = (json.dumps(line) + "\n").encode()
    out = b""
    try:
        if door == "ctl":
            fd = os.open(path + "/.sailvol/ctl", os.O_RDWR)
            os.write(fd, data)
            while True:
                more = os.read(fd, 65536)
                if not more:
                    break
                out += more
        else:
            with socket.socket(socket.AF_UNIX) as c:
                c.connect(path)
                c.settimeout(60)
                c.sendall(data)
                c.shutdown(socket.SHUT_WR)
                while True:
                    more = c.recv(65536)
                    if not more:
                        break
                    out += more
    except OSError as e:
        return {"error": {"type": e.__class__.__name__, "message": str(e)}}
    return json.loads(out.splitlines()[-1])
print(json.dumps([ask(*x) for x in json.load(sys.stdin)]))
"""

OK, PERM, NONE = "result", "permission", "not_found"
EACCES, UNKNOWN = "PermissionError", "invalid_request"

# The root directory of "a", which root mounted, is the owner's, 0750, and of
# the member's group; "his" is a mount of the owner.
#                          root   owner  member stranger
READERS = (OK, OK, OK, PERM)
WRITERS = (OK, OK, PERM, PERM)
NO_SUCH = (NONE, NONE, PERM, PERM)
ROOT = (OK, PERM, PERM, PERM)
CTL = (OK, OK, EACCES, EACCES)
CTL_NO_SUCH = (NONE, NONE, EACCES, EACCES)
CTL_NEVER = (UNKNOWN, UNKNOWN, EACCES, EACCES)

# request: [(door, where it is about, options, what root, ... hear)]
TABLE = {
    "api": [
        ("socket", None, {"method": "GET", "target": "/v1/volumes"}, ROOT),
        ("socket", None, {"method": "GET", "target": "/v1/keys"},
         # The daemon's key is no admin's: the server's answer is a result.
         ROOT),
        ("socket", None, {"method": "POST", "target": "/v1/volumes",
                          "body": {"name": "made"}}, ROOT),
        ("ctl", "a", {"method": "GET", "target": "/v1/volumes"}, CTL_NEVER)],
    "attach": [("socket", "a", {"job": 99999}, NO_SUCH),
               ("ctl", "a", {"job": 99999}, CTL_NO_SUCH)],
    "cancel": [("socket", "a", {"job": 99999}, NO_SUCH),
               ("ctl", "a", {"job": 99999}, CTL_NO_SUCH)],
    "commit": [("socket", "a", {}, WRITERS), ("ctl", "a", {}, CTL),
               ("socket", "nowhere", {}, (NONE,) * 4)],
    "diff": [("socket", "a", {}, READERS), ("ctl", "a", {}, CTL)],
    "log": [("socket", "a", {}, READERS), ("ctl", "a", {}, CTL)],
    "mount": [
        ("socket", "roots", {"volume": "quartz"}, ROOT),
        ("socket", "owners", {"volume": "quartz"}, (OK, OK, PERM, PERM)),
        ("socket", "owners", {"volume": "quartz", "create": True}, ROOT),
        ("socket", "owners", {"volume": "quartz", "uids": [100000, 65536]},
         ROOT),
        ("socket", "owners", {"volume": "quartz", "commit_on_umount": True},
         ROOT),
        ("socket", "owners", {"volume": "quartz", "noexec": True,
                              "readonly": True}, (OK, OK, PERM, PERM)),
        ("ctl", "a", {"volume": "quartz", "path": "/mnt"}, CTL_NEVER)],
    "reload": [("socket", "a", {"keep": True}, WRITERS),
               ("ctl", "a", {"keep": True}, CTL)],
    "restart": [
        ("socket", None, {}, (None, PERM, PERM, PERM)),
        ("ctl", "a", {}, CTL_NEVER)],
    "stash": [
        ("socket", None, {"action": "list"}, ROOT),
        ("socket", "a", {"action": "list"}, WRITERS),
        ("socket", "a", {"action": "show", "id": 99999}, NO_SUCH),
        ("socket", "a", {"action": "restore", "id": 99999}, NO_SUCH),
        ("socket", "a", {"action": "drop", "id": 99999}, NO_SUCH),
        ("ctl", "a", {"action": "list"}, CTL),
        ("ctl", "a", {"action": "show", "id": 99999}, CTL_NO_SUCH),
        ("ctl", "a", {"action": "restore", "id": 99999}, CTL_NO_SUCH),
        ("ctl", "a", {"action": "drop", "id": 99999}, CTL_NO_SUCH)],
    "status": [("socket", None, {}, (OK,) * 4), ("socket", "a", {}, READERS),
               ("ctl", "a", {}, CTL)],
    "umount": [
        ("socket", "a", {}, ("refused", PERM, PERM, PERM)),
        ("socket", "a", {"commit": True}, (None, PERM, PERM, PERM)),
        ("socket", "a", {"force": True}, (None, PERM, PERM, PERM)),
        ("socket", "a", {"keep": True}, (None, PERM, PERM, PERM)),
        ("socket", "his", {}, (OK, OK, PERM, PERM)),
        ("socket", "his", {"force": True}, (OK, OK, PERM, PERM)),
        ("socket", "his", {"keep": True}, (OK, OK, PERM, PERM)),
        ("ctl", "a", {}, CTL_NEVER)],
}


class People:
    def __init__(self, t):
        self.t = t
        self.s = s = stack.Stack(t)
        self.d = s.daemon
        for path in (t.dir, t.path("mnt"), self.d.dir):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        os.chmod(self.d.socket, 0o666)
        self.a = s.mount("quartz", "a", create=True)
        os.chown(self.a, OWNER, GROUP)
        os.chmod(self.a, 0o750)
        s.commit(self.a)
        for name in ("roots", "owners", "his"):
            s.point(name)
        for name in ("owners", "his"):
            os.chown(s.point(name), OWNER, OWNER)

    def path(self, name):
        return self.t.path("mnt", name)

    def ask(self, user, *questions):
        """[(door, name or path of a mount or None, request)]: answers."""
        lines = []
        for door, where, line in questions:
            path = where if where is None or where[0] == "/" else self.path(
                where)
            if door == "ctl":
                lines.append(["ctl", path, line])
                continue
            if path is not None:
                line = dict({"path": path}, **line)
            lines.append(["socket", self.d.socket, line])
        argv = ["/usr/bin/python3", "-c", CLIENT]
        if USERS[user] is not None:
            uid, groups = USERS[user]
            argv = ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid,
                    "--groups=" + ",".join(map(str, groups)) if groups
                    else "--clear-groups"] + argv
        r = subprocess.run(argv, input=json.dumps(lines), check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, timeout=120)
        self.t.equal(0, r.returncode, r.stderr)
        return json.loads(r.stdout)

    def one(self, user, *question):
        return self.ask(user, question)[0]


def requests_of(t):
    """The table of the daemon itself."""
    with open(os.path.join(t.repo, "sailvold/control_request.c"),
              encoding="utf-8") as f:
        text = f.read()
    table = re.search(r"\} requests\[\] = \{\n(.*?)\n\};", text, re.S)
    return set(re.findall(r'\{ "(\w+)",', table.group(1)))


def verdict(answer):
    return OK if "result" in answer else answer["error"]["type"]


def judge(wrong, user, row, answer):
    request, door, options, want = row
    got = verdict(answer)
    what = "%s by %s: %s %s" % (user, door, request, options)
    if got != want:
        wrong.append("%s: expected %s, actual %s" % (what, want, answer))
    if got == PERM and not answer["error"]["message"]:
        wrong.append(what + ": no message")
    if user == "stranger" and ("topaz" in str(answer) or
                               "quartz" in str(answer)):
        wrong.append("%s: %s" % (what, answer))


def rows_of(user, changing):
    """[(request, door, options, what this user hears, where)]"""
    n = list(USERS).index(user)
    return [(request, door, options, wanted[n], where)
            for request, rows in sorted(TABLE.items())
            if (request in ("mount", "umount")) == changing
            for door, where, options, wanted in rows
            if wanted[n] is not None]


def question(row):
    return row[1], row[4], dict({"request": row[0]}, **row[2])


@deadline(200)
def test_table(t):
    """Each request, by each door, by each user."""
    t.equal(requests_of(t), set(TABLE), "requests with a row")
    p = People(t)
    wrong = []
    for user in USERS:
        write(os.path.join(p.a, "topaz"), "not published")
        rows = rows_of(user, False)
        for row, answer in zip(rows, p.ask(user, *map(question, rows))):
            judge(wrong, user, row[:4], answer)
        write(os.path.join(p.a, "topaz"), "not published again")
        for row in rows_of(user, True):
            if row[4] == "his" and not os.path.ismount(p.path("his")):
                p.one("owner", "socket", "his", {
                    "request": "mount", "volume": "quartz"})
            answer = p.one(user, *question(row))
            judge(wrong, user, row[:4], answer)
            if row[0] == "mount" and verdict(answer) == OK:
                p.d.umount(p.path(row[4]), "--force")
    t.equal([], wrong, "what was not as the table says")
    t.true(os.path.ismount(p.a), "a is still there")


def test_status_of_others(t):
    """The status of the whole names no mount, path or volume that one may not
    read, and where the server and its key are is for root."""
    p = People(t)
    p.d.ctl("mount", "--create", "beryl", p.s.point("b"))
    os.chmod(p.path("b"), 0o700)
    p.one("owner", "socket", "his", {"request": "mount", "volume": "quartz"})
    seen = {"root": {"a", "b", "his"}, "owner": {"a", "his"},
            "member": {"a", "his"}, "stranger": set()}
    for user, names in seen.items():
        answer = p.one(user, "socket", None, {"request": "status"})["result"]
        want = sorted(p.path(n) for n in names)
        for what, mounts in (("mounts", answer["mounts"]),
                             ("daemon", answer["daemon"]["mounts"])):
            t.equal(want, sorted(m["path"] for m in mounts),
                    "%s of %s" % (what, user))
        t.true(answer["daemon"]["processes"], "processes for " + user)
        t.equal(user == "root", "server" in answer["daemon"],
                "where the server is, for " + user)
        text = json.dumps(answer)
        for word in ("beryl", p.path("b"), p.s.url, p.d.conf):
            t.true(user == "root" or word not in text,
                   "%s hears %s" % (user, word))


def test_group_that_writes(t):
    """A group that may write in the root of a mount may do what the owner may;
    its primary and its supplementary members."""
    p = People(t)
    os.chmod(p.a, 0o770)
    for door in ("socket", "ctl"):
        for request in ("commit", "reload", "status", "stash", "log"):
            t.equal(OK, verdict(p.one("member", door, "a",
                                      {"request": request})),
                    "%s by %s" % (request, door))
        t.true(OK != verdict(p.one("stranger", door, "a",
                                   {"request": "status"})), door)


def test_hidden_directories(t):
    """Who asks for a mount in directories that he may not look into does not
    hear what is there."""
    p = People(t)
    os.mkdir(t.path("closed"), 0o700)
    os.mkdir(t.path("closed", "d"))
    write(t.path("closed", "f"), "")
    os.symlink("d", t.path("closed", "l"))
    heard = set()
    for name in ("d", "f", "l", "nothing", "f/x", "l/x"):
        path = t.path("closed", name)
        answer = p.one("stranger", "socket", path,
                       {"request": "mount", "volume": "quartz"})
        t.equal(PERM, verdict(answer), "%s: %s" % (name, answer))
        heard.add(answer["error"]["message"].replace(path, "PATH"))
    t.equal(1, len(heard), "different words: %s" % heard)
    # In those that he may look into he hears it.
    for name, words in (("nothing", "there is no such directory"),
                        ("roots", "does not belong to you")):
        answer = p.one("stranger", "socket", name,
                       {"request": "mount", "volume": "quartz"})
        t.true(words in answer["error"]["message"], str(answer))
    # One that he owns is his, wherever it is.
    os.chown(t.path("closed", "d"), STRANGER, STRANGER)
    t.equal(OK, verdict(p.one("stranger", "socket", t.path("closed", "d"), {
        "request": "mount", "volume": "quartz"})), "his own")


def test_who_connects(t):
    """The socket itself: root and its group."""
    p = People(t)
    os.chown(p.d.socket, 0, GROUP)
    os.chmod(p.d.socket, 0o660)
    for user, want in (("root", OK), ("owner", EACCES), ("member", OK),
                       ("stranger", EACCES)):
        t.equal(want, verdict(p.one(user, "socket", None,
                                    {"request": "status"})), user)


def test_commands(t):
    """What sailvolctl says to who may not; each command that asks a daemon
    has a row."""
    p = People(t)
    a, first = p.a, p.s.commit(p.a)
    write(os.path.join(p.a, "topaz"), "not published")
    rows = {
        "mount": ["quartz", p.path("roots")], "umount": [a], "commit": [a],
        "reload": [a], "status": [a], "log": [a], "diff": [a],
        "show": ["quartz"], "restore": [a, "f@" + first],
        "ls": ["quartz:"], "get": ["quartz:topaz", p.path("got")],
        "put": ["/etc/passwd", "quartz:x"], "rm": ["quartz:topaz"],
        "restart": [], "stash list": [a], "stash show": [a, "1"],
        "stash restore": [a, "1"], "stash drop": [a, "1"],
        "volume create": ["made"], "volume list": [], "volume get": ["quartz"],
        "volume rename": ["quartz", "new"], "volume fork": ["quartz", "new"],
        "volume delete": ["quartz"], "volume restore": ["vol_" + 32 * "0"],
        "key create": ["read"], "key list": [], "key revoke": ["1"],
    }
    for where in ("log", "diff"):
        rows[where + " VOLUME"] = ["quartz"] + (
            [first, first] if where == "diff" else [])
    with open(os.path.join(t.repo, "sailvolctl/commands.c"),
              encoding="utf-8") as f:
        found = re.findall(r'\{ \{ "(\w+)", (?:NULL|"(\w+)") \}', f.read())
    alone = {"completion", "help"}
    t.equal({" ".join(w for w in words if w) for words in found} - alone,
            {k for k in rows if "VOLUME" not in k}, "commands with a row")
    # May this user run what is in this folder?
    r = stack.as_user(STRANGER, [p.s.program, "help"])
    if r.returncode == 126 or "ermission denied" in r.stderr:
        t.skip("another user cannot run the programs of this folder")
    for command, operands in sorted(rows.items()):
        words = command.replace(" VOLUME", "").split()
        r = stack.as_user(STRANGER, [p.s.program, "-s", p.d.socket] + words +
                          operands)
        t.equal(1, r.returncode, "%s: %s%s" % (command, r.stdout, r.stderr))
        t.equal("", r.stdout, command)
        t.true(re.search("may not|only root|does not belong|somebody else|"
                         "ermission denied", r.stderr),
               "%s: %s" % (command, r.stderr))
        t.true("topaz" not in r.stderr and p.s.url not in r.stderr,
               "%s: %s" % (command, r.stderr))
