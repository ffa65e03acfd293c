# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Control groups, version 2: one for each sandbox, below "sailbox" in the root
of the hierarchy.  Freezing and killing need no controller; limits need the one
of their name."""

import os
import select
import time
from typing import Dict, Optional

PERIOD_US = 100000
PIDS_MAX = 8192
FOLDER = "sailbox"


def find_root(mountinfo: str = "/proc/self/mountinfo") -> Optional[str]:
    """Where the hierarchy of version 2 is mounted for writing."""
    try:
        with open(mountinfo, encoding="utf-8",
                  errors="surrogateescape") as f:
            for line in f:
                left, _, right = line.partition(" - ")
                point, options = left.split()[4:6]
                # Something else may be mounted over it.
                if (right.split()[0] == "cgroup2" and
                        "rw" in options.split(",") and
                        os.access(point, os.W_OK) and os.path.exists(
                            os.path.join(point, "cgroup.controllers"))):
                    return point
    except (OSError, IndexError, ValueError):
        pass
    return None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as f:
        return f.read()


def _enable(folder: str, controller: str) -> str:
    """"" or why the children of that group cannot have the controller."""
    path = os.path.join(folder, "cgroup.subtree_control")
    try:
        if controller in _read(path).split():
            return ""
        if controller not in _read(os.path.join(
                folder, "cgroup.controllers")).split():
            return "there is no %s controller in cgroup v2" % controller
        _write(path, "+" + controller)
        return ""
    except OSError as e:
        return "the %s controller cannot be enabled: %s" % (
            controller, e.strerror)


def leave(root: str) -> None:
    """The group that the calling process has from who started it: of a service,
    say, whose end would be the end of all in it."""
    path = os.path.join(root, FOLDER, "supervisors")
    try:
        os.makedirs(path, 0o755, exist_ok=True)
        _write(os.path.join(path, "cgroup.procs"), "0")
    except OSError:
        # It stays where it is.
        pass


class Group:
    """The group of one sandbox.  not_enforced: {"cpu", "memory", "pids": why},
    of those that do not hold."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.not_enforced: Dict[str, str] = {}

    @classmethod
    def make(cls, root: str, name: str, cpu: float,
             memory_mib: int) -> "Group":
        top = os.path.join(root, FOLDER)
        os.makedirs(top, 0o755, exist_ok=True)
        self = cls(os.path.join(top, name))
        os.mkdir(self.path, 0o755)
        self._limit("cpu", {"cpu.max": "%d %d" % (
            max(1000, round(cpu * PERIOD_US)), PERIOD_US)})
        self._limit("memory", {"memory.max": str(memory_mib << 20)},
                    {"memory.swap.max": "0", "memory.oom.group": "0"})
        self._limit("pids", {"pids.max": str(PIDS_MAX)})
        return self

    def _limit(self, controller: str, values: Dict[str, str],
               wished: Optional[Dict[str, str]] = None) -> None:
        top = os.path.dirname(self.path)
        why = _enable(os.path.dirname(top), controller) or _enable(
            top, controller)
        if not why:
            try:
                for name, value in values.items():
                    _write(os.path.join(self.path, name), value)
            except OSError as e:
                why = "%s: %s" % (name, e.strerror)
        if why:
            self.not_enforced[controller] = why
            return
        for name, value in (wished or {}).items():
            try:
                _write(os.path.join(self.path, name), value)
            except OSError:
                # A kernel without swap accounting.
                pass

    def enter(self) -> None:
        """The calling process."""
        _write(os.path.join(self.path, "cgroup.procs"), "0")

    def freeze(self, frozen: bool, timeout_s: float = 10) -> bool:
        """Holds all processes, or lets them go on; whether it came true."""
        want = "frozen %d" % frozen
        events = os.path.join(self.path, "cgroup.events")
        _write(os.path.join(self.path, "cgroup.freeze"), "%d" % frozen)
        end = time.monotonic() + timeout_s
        with open(events, encoding="ascii") as f:
            poll = select.poll()
            poll.register(f, select.POLLPRI)
            while want not in f.read():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                # Woken when the file changes; read again in any case.
                poll.poll(min(left, 1) * 1000)
                f.seek(0)
        return True

    def kill(self) -> bool:
        """Kills all of it; False where the kernel has no cgroup.kill (5.14)."""
        try:
            _write(os.path.join(self.path, "cgroup.kill"), "1")
            return True
        except OSError:
            return False

    def remove(self) -> None:
        """Once it is empty."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            pass
