# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What the kernel asked of a daemon's mounts during a piece of work."""


class Requests:
    """By opcode, as status counts them; what it gives back is not asked."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.before = self._now()

    def _now(self):
        total = {}
        for m in self.daemon.ctl_json("status")["daemon"]["mounts"]:
            for opcode, n in m["requests"].items():
                if opcode not in ("FORGET", "BATCH_FORGET"):
                    total[opcode] = total.get(opcode, 0) + n
        return total

    def since(self):
        """{opcode: number} since the last look."""
        now, before = self._now(), self.before
        self.before = now
        return {k: n - before.get(k, 0) for k, n in now.items()
                if n != before.get(k, 0)}


def in_words(found, of):
    """For each of so many files, the most frequent first."""
    return ", ".join("%s %.2f" % (k, n / of) for k, n in sorted(
        found.items(), key=lambda item: -item[1]) if n / of >= 0.005) or "none"
