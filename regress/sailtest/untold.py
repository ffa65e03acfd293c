# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A reload between its switch and what the kernel is told of it."""

import json
import os
import signal
import threading

from sailtest import proxy, stack


class Untold:
    """A reload of b that has switched, of which the kernel is told nothing until
    go_on(): nobody starts a notify."""

    def __init__(self, t, s, d, b, *args, number=2):
        self.t, self.d, self.said = t, d, []
        held = s.api.fault(proxy.HOLD, "/head[?]")
        self.run = threading.Thread(target=lambda: self.said.append(
            d.ctl("reload", *args, b, ok=None)))
        self.run.start()
        t.wait_for(lambda: held.done, "it began")
        os.kill(d.process.pid, signal.SIGSTOP)
        held.release()
        t.wait_for(lambda: json.loads(stack.read(
            b + "/.sailvol/volume.json"))["base_number"] == number,
            "the switch")

    def go_on(self):
        os.kill(self.d.process.pid, signal.SIGCONT)

    def end(self):
        self.run.join(90)
        self.t.true(self.said, "the reload ends")
