# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A commit whose answer was lost is found out before anything else of its mount,
whatever is said of it when it is asked for again: nobody's work is overwritten
by one that is published already."""

import os

from sailtest import proxy, stack
from sailtest.proxy import api_error

REFUSALS = ((401, "bad_key"), (403, "key_limited"), (404, "volume_not_found"),
            (404, "session_not_found"), (400, "bad_session_key"),
            (405, "from_a_box_on_the_way"))


def two(t):
    s = stack.Stack(t, proxied=True)
    a = s.mount("v", "a", create=True)
    s.add_daemon(api=s.server.url)
    return s, a, s.daemons[1].mount("v", "b")


def begin(s, t, a):
    """A commit that has its session, and uploads."""
    held = s.api.fault(proxy.HOLD, "^POST .*/(packs|chunks)")
    job = stack.spawn(s, "commit", a)
    t.wait_for(lambda: held.done, "it uploads", 60)
    return held, job


def changed(s, t, b, i):
    """Another mount sees what was published, and changes it."""
    s.reload(b)
    t.equal("a %d" % i, stack.read(os.path.join(b, "f")), "it was published")
    stack.write(os.path.join(b, "f"), "b %d" % i)
    s.commit(b)


def not_overwritten(s, t, answer, b, i):
    t.equal([], answer["overwritten"]["paths"], "overwritten")
    s.reload(b)
    for name, text in (("f", "b %d" % i), ("g", "g %d" % i)):
        t.equal(text, stack.read(os.path.join(b, name)), name)


def after(s, t, a, b, i):
    """What another mount does is not overwritten by the next commit."""
    changed(s, t, b, i)
    stack.write(os.path.join(a, "g"), "g %d" % i)
    not_overwritten(s, t, s.commit_json(a), b, i)
    s.reload(a)


def test_refused(t):
    """Who refuses what is sent again says nothing of what was sent first."""
    s, a, b = two(t)
    for i, (status, code) in enumerate(REFUSALS):
        stack.write(os.path.join(a, "f"), "a %d" % i)
        held, job = begin(s, t, a)
        lost = s.api.fault(proxy.LOSE, "^POST .*/commit")
        for pattern in ("^POST .*/commit", "^PUT .*/sessions/"):
            s.api.fault(proxy.ANSWER, pattern, api_error(status, code), 2)
        held.release()
        result, answer = stack.end(job)
        t.equal(1, lost.done, "answers that were lost")
        t.true(result != 0, "it is not known: %d %s" % (status, code))
        t.equal(code, answer["error"]["code"], "why")
        t.true("may have been published" in answer["error"]["message"],
               answer)
        s.api.no_faults()
        after(s, t, a, b, i)


def test_found_out(t):
    """One that is refused when it is sent again is asked about: it was
    published, and that is the answer; or it was not, and may be changed."""
    s, a, b = two(t)
    for i, (status, code) in enumerate(((403, "key_limited"),
                                        (404, "session_not_found"))):
        stack.write(os.path.join(a, "f"), "a %d" % i)
        s.api.fault(proxy.LOSE, "^POST .*/commit")
        s.api.fault(proxy.ANSWER, "^POST .*/commit", api_error(status, code))
        t.true(s.commit_json(a)["changed"], "it was published")
        after(s, t, a, b, i)
    stack.write(os.path.join(a, "f"), "a 2")
    s.api.fault(proxy.CLOSE, "^POST .*/commit")
    s.api.fault(proxy.ANSWER, "^POST .*/commit", api_error(403, "no_such"))
    answer = s.commit_json(a, ok=None)
    t.equal("no_such", answer["error"]["code"], "why")
    t.true("may have been" not in answer["error"]["message"], answer)
    stack.write(os.path.join(a, "h"), "h")
    t.true(s.commit_json(a)["changed"], "the next one")
    s.reload(b)
    t.equal("a 2", stack.read(os.path.join(b, "f")), "f")


def test_key_revoked(t):
    """The key is revoked before the answer comes, and there is another one."""
    s, a, b = two(t)
    status, made = s.server.call("POST", "/v1/keys", {"role": "write"})
    t.equal(201, status, "a key")
    d = s.add_daemon(key=made["key"], api=s.url)
    c = d.mount("v", "c")
    stack.write(os.path.join(c, "f"), "a 0")
    held = s.api.fault(proxy.WITHHOLD, "^POST .*/commit")
    job = stack.spawn(s, "commit", c)
    t.true(held.reached.wait(60), "it is published")
    t.equal(204, s.server.call("DELETE", "/v1/keys/" + made["id"])[0],
            "revoked")
    s.api.set_down()
    s.api.set_down(False)
    held.release()
    result, answer = stack.end(job)
    t.equal("bad_key", answer["error"]["code"], "why")
    t.true("may have been published" in answer["error"]["message"], answer)
    changed(s, t, b, 0)
    stack.write(os.path.join(c, "g"), "g 0")
    t.write("%s/key" % d.name, s.server.key + "\n", 0o600)
    d.hup()
    said = []

    def committed():
        said.append(s.commit_json(c, ok=None))
        return "commit" in said[-1]
    t.wait_for(committed, "a commit with the new key", 60)
    not_overwritten(s, t, said[-1], b, 0)


def test_put(t):
    """The same of what sailvolctl publishes itself."""
    s, a, b = two(t)
    del b
    path = t.write("x", "from outside")
    env = {"SAIL_API_URL": s.url, "SAIL_API_KEY": s.server.key,
           "XDG_STATE_HOME": t.path("state")}
    program = os.path.join(t.repo, "sailvolctl", "sailvolctl")
    again = api_error(401, "bad_key")
    s.api.fault(proxy.LOSE, "^POST .*/commit")
    s.api.fault(proxy.ANSWER, "^POST .*/commit", again)
    t.run([program, "put", path, "v:/x"], env=env)
    t.write("x", "once more")
    s.api.fault(proxy.LOSE, "^POST .*/commit")
    s.api.fault(proxy.ANSWER, "^(POST .*/commit|GET .*/sessions/)", again, 3)
    r = t.run([program, "-j", "put", path, "v:/x"], ok=False, env=env)
    t.true("unknown_result" in r.stdout + r.stderr, r.stdout + r.stderr)
    s.api.no_faults()
    # Nothing was lost: it is what it says.
    t.write("x", "the third")
    s.api.fault(proxy.ANSWER, "^POST .*/commit", again)
    r = t.run([program, "-j", "put", path, "v:/x"], ok=False, env=env)
    t.true("bad_key" in r.stdout + r.stderr, r.stdout + r.stderr)
