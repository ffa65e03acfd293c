# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""sailapi(7) names every route and error code that meta has, its examples run,
and what the API acknowledged is there after meta was killed."""

import glob
import os
import re
import signal

from sailtest import server


# What the page says of a route that not all limited keys reach.
REACHES = {"ORG": " unlimited", "VOLUME": " of whole volumes", "PATH": ""}


def page(t):
    with open(os.path.join(t.repo, "man", "sailapi.7"),
              encoding="utf-8") as f:
        return f.read()


def sources(t):
    text = ""
    for name in sorted(glob.glob(os.path.join(t.repo, "sailapid", "meta*.c"))):
        with open(name, encoding="utf-8") as f:
            text += f.read()
    return text


def test_routes(t):
    """The routes of the manual page are those of the table."""
    table = re.findall(r'{ API_(\w+), KEY_(\w+), REACH_(\w+), \w+,\s*'
                       r'"([^"]+)"', sources(t))
    t.true(len(table) > 15, "the table was found")
    want = sorted("%s /v1/%s %s%s" % (m, p, r.lower(), REACHES[reach])
                  for m, r, reach, p in table)
    have = []
    for m, path, rest in re.findall(
            r"^\.It (GET|PUT|POST|DELETE) (.*)\n((?:(?!\.It ).*\n)*?)"
            r"(?=\.It |\.El)", page(t), re.M):
        path = re.sub(r" Ns Oo.*", "", path)
        path = re.sub(r"Ar \w+", "*", path).replace(" Ns ", "")
        role = re.search(r"^Role:\n\.Cm (\w+) (\.|,\n(.*)\.)$", rest, re.M)
        t.true(role, "%s %s has a role" % (m, path))
        have.append("%s %s %s %s" % (m, path.strip(), role.group(1),
                                     role.group(3) or ""))
    t.equal(want, [x.strip() for x in sorted(have)], "routes and roles")


def test_codes(t):
    """The codes of the manual page are those of the source."""
    codes = set(re.findall(
        r'(?:req_error\(\w+, \d+,|error_json\(\d+,)\s*"(\w+)"', sources(t)))
    # Those of api, which refuses before meta sees anything.
    with open(os.path.join(t.repo, "sailapid", "api.h"),
              encoding="utf-8") as f:
        own = re.findall(r'X\([A-Z_]+, \d+,\s*"\w+",\s*"(\w+)"',
                         re.sub(r"\\\n", "", f.read()))
    t.true(len(own) > 5, "those of api were found")
    codes.update(own)
    t.true(len(codes) > 30, "the codes were found")
    known = set(re.findall(r"\bCm (\w+)", page(t)))
    t.equal([], sorted(codes - known), "codes that the page lacks")
    words = {"read", "write", "admin", "refused"}
    t.equal([], sorted(known - codes - words), "codes that are no more")


def test_examples(t):
    """The examples run as they stand."""
    srv = server.Server(t)
    r = t.run(["mandoc", "-T", "ascii", "-O", "width=200",
               os.path.join(t.repo, "man", "sailapi.7")])
    text = re.sub(".\b", "", r.stdout)
    text = text[text.index("EXAMPLES"):text.index("SEE ALSO")]
    lines = text[text.index("api()"):].splitlines()
    script = "set -eu\n" + "\n".join(line.strip() for line in lines) + "\n"
    env = dict(os.environ, SAIL_API_URL=srv.url, SAIL_API_KEY=srv.key)
    out = t.run(["sh", "-c", script], env=env, cwd=t.path())
    t.true('"error"' not in out.stdout, out.stdout)
    t.true('"state":"open"' in out.stdout, out.stdout)
    t.true(os.path.getsize(t.path("head.bundle")) > 100, "a bundle")
    t.equal(404, srv.call("GET", "/v1/volumes/shared-data")[0], "deleted")
    srv.stop()


def test_meta_killed(t):
    """What was acknowledged is there after kill -9 of meta."""
    t.expect_deaths = True
    srv = server.Server(t)
    names = []
    for i in range(20):
        name = "v%02d" % i
        status, out = srv.call("POST", "/v1/volumes", {"name": name})
        t.equal(201, status, out)
        names.append(name)
        if i % 5 == 4:
            os.kill(srv.roles()["meta"], signal.SIGKILL)
            t.wait_for(lambda: srv.call("GET", "/v1/whoami")[0] == 200,
                       "meta answers again")
    status, out = srv.call("GET", "/v1/volumes?limit=1000")
    t.equal(200, status, "list")
    t.equal(names, [v["name"] for v in out["volumes"]], "volumes")
    srv.stop()
