# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Who gets no good answer asks again after a pause that grows, and that is never
quite the same: a server that comes back is not asked by all at once."""

import os

from sailtest import proxy, stack

# sailvol-fetch's: doubled with each try, of which up to half is left out.
FIRST_S, MAX_S = 0.1, 5
TRIES = 7
# A timer is that much early at most; one is late as long as the machine is busy.
EARLY_S, LATE_S = 0.02, 5
# Long enough to be seen on a machine that does much else.
LONG_S = 0.8


def test_pauses(t):
    """A commit, a reload, and an upload under 503, at the same time: when their
    tries come at the server and the store; when these answer again, all three
    are done."""
    s = stack.Stack(t, proxied=True, daemons=3)
    a, b = s.mount("v", "a", create=True), s.daemons[1].mount("v", "b")
    c = s.daemons[2].mount("w", "c", create=True)
    stack.write(a + "/f", "x")
    s.share(a, b)
    stack.write(a + "/f", "y")
    s.commit(a)
    os.mkdir(a + "/d")      # whose commit uploads nothing
    stack.write(c + "/f", "z")
    s.api.reset()
    s.store.reset()
    # One request of each of them, again and again.
    tries = {"commit": (s.api, "^POST .*/commit$"),
             "reload": (s.api, "^GET .*/head[?]have="),
             "upload": (s.store, "^PUT ")}
    for at, pattern in tries.values():
        at.fault(proxy.REFUSE, pattern, at=503, times=1000)
    running = [stack.spawn(s, *words) for words in (
        ("commit", a), ("reload", b), ("commit", c))]
    t.wait_for(lambda: all(at.count(pattern) >= TRIES
                           for at, pattern in tries.values()), "tries", 90)
    s.api.no_faults()
    s.store.no_faults()
    parts, said = [], []
    for name, (at, pattern) in tries.items():
        times = [r.began for r in at.matching(pattern)][:TRIES]
        pauses = [y - x for x, y in zip(times, times[1:])]
        said.append("%s %s" % (name, " ".join("%.2f" % p for p in pauses)))
        for n, pause in enumerate(pauses):
            whole = min(FIRST_S * 2 ** n, MAX_S)
            t.true(pause > whole / 2 - EARLY_S, "%s: pause %d of %.3f s is "
                   "shorter than half of %.1f s" % (name, n, pause, whole))
            t.true(pause < whole + LATE_S, "%s: pause %d of %.3f s is longer "
                   "than %.1f s" % (name, n, pause, whole))
            if whole >= LONG_S:
                parts.append(pause / whole)
    for process in running:
        status, answer = stack.end(process)
        t.equal(0, status, "in the end: %s" % answer)
    # What is always the whole, or always as much of it, is no jitter; a busy
    # machine only adds.
    t.true(min(parts) < 0.97 and max(parts) - min(parts) > 0.05,
           "parts of the whole pauses: %s" % parts)
    t.said = "; ".join(said)
