# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A meta that says nothing more: who waits for it without a deadline of his own is
told so, in the end."""

import time

from sailtest import deadline, hostile

WAIT_S = 180        # API_WAIT_MS of sailapid/api.h


@deadline(600)
def test_silent_meta(t):
    t.expect_deaths = True
    srv = hostile.Server(t)
    hostile.Order(t, "meta", "silent", 1)
    old = srv.roles()["meta"]
    hostile.kill(old)
    t.wait_for(lambda: srv.roles().get("meta", old) != old, "another")
    conn = srv.connection()
    conn.timeout = 2 * WAIT_S
    begun = time.monotonic()
    while True:
        conn.request("GET", "/v1/volumes",
                     headers={"Authorization": "Bearer " + srv.key})
        answer = conn.getresponse()
        text = answer.read()
        if time.monotonic() - begun > WAIT_S / 2:
            break
        # Of the one that died.
        time.sleep(0.1)
    t.equal(503, answer.status, text)
    t.true(b'"unavailable"' in text, text)
    took = time.monotonic() - begun
    t.true(took < WAIT_S * 1.5, "after %d s" % took)
    t.said = "after %d s" % took
