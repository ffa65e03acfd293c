# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Memory of our processes by role: the peak of each (VmHWM, pages shared with
others counted in full), and what all hold together now (the sum of Pss: each
shared page counted once)."""

from sailtest import stack


def _field(pid, name, field):
    try:
        with open("/proc/%d/%s" % (pid, name), encoding="ascii",
                  errors="replace") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def processes(daemon):
    if daemon.process.poll() is not None:
        return []
    return [(daemon.process.pid, "parent")] + daemon.roles()


def peaks(daemon):
    """{role: KiB of the largest VmHWM of its processes}"""
    found = {}
    for pid, role in processes(daemon):
        found[role] = max(found.get(role, 0), _field(pid, "status", "VmHWM"))
    return found


class Peaks:
    """The largest of each role of a server and daemons that come and go."""

    def __init__(self, s):
        self.stack, self.found = s, {}

    def look(self, *daemons):
        """Those of the stack, or only some: before they end."""
        some = [peaks(d) for d in daemons or self.stack.daemons]
        for found in some + [server_peaks(self.stack.server)]:
            for role, kib in found.items():
                self.found[role] = max(self.found.get(role, 0), kib)
        return self.found


def now(daemon, field="Pss"):
    """KiB of all processes of a daemon."""
    return sum(_field(pid, "smaps_rollup", field)
               for pid, _ in processes(daemon))


def by_role(daemon, field="Pss"):
    found = {}
    for pid, role in processes(daemon):
        found[role] = found.get(role, 0) + _field(pid, "smaps_rollup", field)
    return found


def server_peaks(server):
    found = {"sailapid": _field(server.process.pid, "status", "VmHWM")}
    for pid, role in stack.children(server.process.pid):
        found["sailapid " + role] = max(
            found.get("sailapid " + role, 0), _field(pid, "status", "VmHWM"))
    return found
