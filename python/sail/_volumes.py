# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The mounts that a sandbox has of its own: made and ended by sailvold, through
its control socket, in the sandbox's private folder."""

import os
from typing import Any, Dict, List, Optional

from sail import mount
from sail.errors import (NotFoundError, RefusedError, SailboxCreationError,
                         SailError, UnavailableError)

_RESERVED = ("proc", "dev", "sys")
# So long sailvold may take.
MOUNT_S, UMOUNT_S = 300, 120


def check_paths(paths: List[str]) -> None:
    """That all may be mounted in a sandbox; SailboxCreationError."""
    for path in paths:
        why = _problem(path)
        if why:
            raise SailboxCreationError("volumes: %r: %s" % (path, why),
                                       "invalid_request", "bad_path")
    for path in paths:
        for other in paths:
            if path != other and path.startswith(other + "/"):
                raise SailboxCreationError(
                    "volumes: %r is below %r" % (path, other),
                    "invalid_request", "bad_path")


def _problem(path: Any) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        return "not an absolute path"
    if "\0" in path or len(os.fsencode(path)) > 1024:
        return "not a path"
    parts = path.split("/")[1:]
    if path == "/":
        return "the root of the sandbox is not a volume"
    if any(p in ("", ".", "..") for p in parts):
        return "not normal: '.', '..' or '/' without a name"
    if parts[0] in _RESERVED:
        return "in /" + parts[0]
    return ""


def mount_one(point: str, volume: str, first_uid: int,
              count: int) -> Dict[str, Any]:
    """Mounts the volume's head there; the answer of sailvold."""
    os.makedirs(point, 0o700)
    return mount.ask_daemon({"request": "mount", "volume": volume,
                             "path": point, "uids": [first_uid, count]},
                            None, MOUNT_S)


def umount_one(point: str, daemon: Optional[str]) -> Dict[str, Any]:
    """What became of the changes there that no commit has: {"stash": its
    object or None, "left": they wait for the next mount there, "error",
    "gone": nothing is mounted there any more}.
    daemon: the socket of the one that made the mount."""
    found: Dict[str, Any] = {"stash": None, "left": False, "error": None,
                             "gone": False}
    # Whatever the configuration says, nothing is committed.
    request = {"request": "umount", "path": point, "commit": False}
    try:
        try:
            mount.ask_daemon(request, daemon, UMOUNT_S)
        except RefusedError:
            found["stash"] = _stash(request, daemon, found)
        found["gone"] = True
    except NotFoundError:
        # The mount went before: with the machine, say.
        found["gone"] = True
        found["left"] = _waits(point, daemon)
        found["stash"] = _newest(point, daemon)
    except SailError as e:
        found["error"] = e.message
    return found


def _list(daemon: Optional[str]) -> Dict[str, Any]:
    try:
        return mount.ask_daemon({"request": "stash", "action": "list"},
                                daemon, UMOUNT_S)
    except SailError:
        return {}


def _waits(point: str, daemon: Optional[str]) -> bool:
    """Whether changes wait for the next mount there."""
    return any(u.get("path") == point
               for u in _list(daemon).get("unmounted", ()))


def _newest(point: str, daemon: Optional[str]) -> Any:
    """The stash that was made there last, as the answer to an umount has
    it."""
    found = [s for s in _list(daemon).get("stashes", ())
             if s.get("path") == point]
    return {k: found[-1].get(k) for k in (
        "id", "changes", "files", "path")} if found else None


def _stash(request: Dict[str, Any], daemon: Optional[str],
           found: Dict[str, Any]) -> Any:
    """Unmounts, with the changes in a stash; that needs no server.  Where it
    fails they wait for the next mount there."""
    try:
        return mount.ask_daemon(dict(request, stash=True), daemon,
                                UMOUNT_S).get("stash")
    except UnavailableError:
        raise  # nobody answers: it is asked again
    except SailError as e:
        found["error"] = e.message
    mount.ask_daemon(dict(request, force=True), daemon, UMOUNT_S)
    found["left"] = _waits(request["path"], daemon)
    return _newest(request["path"], daemon)
