# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The end of a sandbox: its processes, its mounts, its disk, its name; by its
supervisor, or by who finds that the supervisor died."""

import os
import select
import signal
import time
from typing import Any, Dict, List, Optional

from sail import _cgroup, _disk, _state, _volumes
from sail.errors import SailboxError

GONE_S = 30


def start_time(pid: int) -> Optional[int]:
    """Together with the pid it names one process of this boot."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            return int(f.read().rsplit(b")", 1)[1].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _kill_first(first: Optional[List[int]]) -> bool:
    """Kills process 1 of the sandbox, with which all others end, and waits for
    it; whether it is gone."""
    if not first:
        return True
    pid, started = first
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        if start_time(pid) != started:
            return True
        os.kill(pid, signal.SIGKILL)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(GONE_S * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(fd)


def _end_group(path: str) -> bool:
    """Kills what is in the group, waits until nothing is, and removes it."""
    group = _cgroup.Group(path)
    try:
        group.kill()
        with open(os.path.join(path, "cgroup.events"),
                  encoding="ascii") as f:
            poll = select.poll()
            poll.register(f, select.POLLPRI)
            end = time.monotonic() + GONE_S
            while "populated 0" not in f.read():
                if time.monotonic() > end:
                    return False
                poll.poll(1000)
                f.seek(0)
        group.remove()
    except FileNotFoundError:
        pass
    return True


def unfreeze(path: str, state: Dict[str, Any]) -> None:
    """Of a supervisor that died while it copied the disk: a frozen file system
    holds its writers, so that they cannot be killed, and its device; and what
    it had copied."""
    ident = state.get("copying")
    if not ident:
        return
    _disk.thaw(path)
    _disk.remove_tree(os.path.join(_state.folder(), "checkpoints",
                                   ident + ".new"))
    state["copying"] = None


def processes(state: Dict[str, Any]) -> None:
    """No process of the sandbox lives when it returns; SailboxError if one
    does."""
    gone = _kill_first(state.get("first"))
    if state.get("cgroup"):
        gone = _end_group(state["cgroup"]) and gone
    if not gone:
        raise SailboxError(
            "sandbox %s: a process does not end: it waits in the kernel" %
            state.get("id"), "client", "not_gone")


def finish(path: str, state: Dict[str, Any], status: str, why: str) -> None:
    """All but the record, once no process is there; the record says what
    became of it."""
    unfreeze(path, state)
    processes(state)
    try:
        # First: what is written from here on may have no room because of it.
        _disk.remove(path)
    except OSError:
        pass
    for volume in state.get("volumes", ()):
        if volume.get("mounted"):
            found = _volumes.umount_one(volume["point"],
                                        volume.get("daemon"))
            # Tried again by the next who looks for what is stale; what was
            # found at the first time stays.
            volume["mounted"] = not found.pop("gone")
            volume["error"] = found["error"]
            volume["stash"] = found["stash"] or volume.get("stash")
            volume["left"] = found["left"] or bool(volume.get("left"))
            _state.write(path, state)
        if not (volume.get("stash") or volume.get("left") or
                volume.get("mounted")):
            _rmdir(volume["point"])
    _rmdir(os.path.join(path, "volumes"))
    try:
        os.unlink(os.path.join(path, "sock"))
    except FileNotFoundError:
        pass
    _disk.remove(path)      # or nobody would come back to it
    state.update(status=status, why=why, first=None, cgroup="")
    state.setdefault("ended", time.time())
    _state.write(path, state)
    _state.release_name(state)


def _rmdir(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass


def end(path: str) -> bool:
    """What is left of one whose lock the caller holds; whether something
    was."""
    state = _state.read(path)
    if not _state.is_stale(state):
        return False
    if state.get("status") in _state.ENDED:
        finish(path, state, state["status"], state.get("why", ""))
    else:
        finish(path, state, "failed", "its supervisor died")
    return True


def clean_stale() -> List[str]:
    """Ends what supervisors left that died; the ids."""
    found = []
    for ident in _state.stale():
        path = _state.box(ident)
        try:
            lock = _state.hold(path)
        except (OSError, BlockingIOError):
            continue
        try:
            if end(path):
                found.append(ident)
        except (SailboxError, OSError, RecursionError, KeyError, TypeError,
                ValueError):
            # What cannot be read or ended now stays for the next time.
            pass
        finally:
            os.close(lock)
    return found
