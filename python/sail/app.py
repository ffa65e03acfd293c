# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Apps: local namespaces for sandboxes.

An app is a name and an id of this machine and user: it is kept in a file,
apps.json in $XDG_STATE_HOME/sail, else in /var/lib/sail for root and in
~/.local/state/sail for others.  The API server does not know of it.
"""

import fcntl
import json
import os
import secrets
import tempfile
import time
from typing import Any, Dict

from sail.errors import NotFoundError, SailError
from sail.volume import check_name


def _folder() -> str:
    base = os.environ.get("XDG_STATE_HOME")
    if base and os.path.isabs(base):
        return os.path.join(base, "sail")
    if os.geteuid() == 0:
        return "/var/lib/sail"
    return os.path.expanduser("~/.local/state/sail")


def _load(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as f:
            apps = json.load(f)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise SailError("%s: %s" % (path, e)) from e
    if not isinstance(apps, dict):
        raise SailError("%s: not an object" % path)
    return apps


def _store(path: str, apps: Dict[str, Any]) -> None:
    fd, new = tempfile.mkstemp(prefix="apps.", dir=os.path.dirname(path))
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            json.dump(apps, f, indent=1, sort_keys=True)
            f.flush()
            os.fsync(f.fileno())
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


class App:
    """A named handle; id stays the same as long as the name is kept."""

    def __init__(self, id: str, name: str, created: float) -> None:
        self.id = id
        self.name = name
        self.created = created

    def __repr__(self) -> str:
        return "<sail.App %s %s>" % (self.name, self.id)

    @classmethod
    def find(cls, name: str, mint_if_missing: bool = False) -> "App":
        """The app of that name; NotFoundError if there is none, unless
        mint_if_missing makes it."""
        check_name("app", name)
        folder = _folder()
        path = os.path.join(folder, "apps.json")
        apps = _load(path)
        if name not in apps and mint_if_missing:
            try:
                apps = cls._mint(folder, path, name)
            except OSError as e:
                raise SailError("%s: %s" % (path, e.strerror)) from e
        if name not in apps:
            raise NotFoundError("no app %s" % name, "not_found",
                                "app_not_found")
        entry = apps[name]
        try:
            return cls(str(entry["id"]), name, float(entry["created"]))
        except (KeyError, TypeError, ValueError) as e:
            raise SailError("%s: app %s is not as it should be" % (
                path, name)) from e

    @staticmethod
    def _mint(folder: str, path: str, name: str) -> Dict[str, Any]:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(path + ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            apps = _load(path)
            # Somebody else may have been first.
            if name not in apps:
                apps[name] = {"id": "app_" + secrets.token_hex(8),
                              "created": time.time()}
                _store(path, apps)
        return apps
