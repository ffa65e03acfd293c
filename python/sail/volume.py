# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Volumes: by name at the API server, or by the mount that shows one."""

import os
import re
from typing import Any, Dict, Optional

from sail import mount
from sail.api import Client
from sail.errors import MountError, SailError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not _NAME.match(name):
        raise SailError(
            "%s %r: a name is 1 to 128 of letters, digits, '.', '_' and '-', "
            "and begins with a letter or digit" % (what, name),
            "invalid_request", "bad_name")


class Volume:
    """A named tree of an organisation, with a history of commits.

    id, name and org (the organisation's name) are strings; path is the mount
    that it came from, or None.  last_result is the whole answer to the last
    commit or reload: what was overwritten, stashed, left dirty or not kept.
    """

    def __init__(self, id: str, name: str, org: str,
                 path: Optional[str] = None) -> None:
        self.id = id
        self.name = name
        self.org = org
        self.path = path
        self.last_result: Optional[Dict[str, Any]] = None

    def __repr__(self) -> str:
        return "<sail.Volume %s %s%s>" % (
            self.name, self.id, " at " + self.path if self.path else "")

    @classmethod
    def get(cls, name: str, mint_if_missing: bool = False,
            client: Optional[Client] = None) -> "Volume":
        """The volume of that name (or id) at the API server; NotFoundError if
        there is none, unless mint_if_missing makes it."""
        check_name("volume", name)
        client = client or Client()
        if mint_if_missing:
            found = client.request(
                "POST", "/v1/volumes",
                {"name": name, "mint_if_missing": True}, retry=True)
        else:
            found = client.request("GET", "/v1/volumes/" + name)
        return cls._from_json(found, None)

    @classmethod
    def from_mount(cls, path: mount.Path) -> "Volume":
        """The volume that is mounted where path lies: the mount point or
        anything inside of it."""
        found = mount.read_volume(path)
        return cls._from_json(
            {"id": found.get("volume_id"), "name": found.get("volume"),
             "org": found.get("org")},
            os.path.abspath(os.fsdecode(os.fspath(path))))

    @classmethod
    def _from_json(cls, found: Dict[str, Any],
                   path: Optional[str]) -> "Volume":
        org = found.get("org", "")
        if isinstance(org, dict):
            org = org.get("name", "")
        if not isinstance(found.get("id"), str):
            raise SailError("an answer without the id of a volume")
        return cls(found["id"], str(found.get("name", "")), str(org), path)

    def commit(self, message: Optional[str] = None,
               if_unchanged: bool = False,
               progress: Optional[mount.Progress] = None) -> str:
        """Publishes the local changes of the mount; the id of the commit.

        if_unchanged: RefusedError, and nothing is published, when somebody
        else changed what was changed here.  progress is called with the
        objects behind "progress" of sailvol-ctl(5).
        """
        request: Dict[str, Any] = {"request": "commit",
                                   "if_unchanged": bool(if_unchanged)}
        if message is not None:
            request["message"] = message
        return self._ask(request, progress)

    def reload(self, keep: bool = False, if_clean: bool = False,
               progress: Optional[mount.Progress] = None) -> str:
        """Moves the mount to the newest published state; the id of its commit.

        Local changes that were not committed go to a stash; keep leaves them
        in view; if_clean raises RefusedError when there are any.
        """
        if keep and if_clean:
            raise SailError("keep and if_clean exclude each other",
                            "invalid_request", "usage")
        return self._ask({"request": "reload", "keep": bool(keep),
                          "if_clean": bool(if_clean)}, progress)

    def status(self) -> Dict[str, Any]:
        """What is dirty and what runs in the mount."""
        return mount.ask(self._mount(), {"request": "status"})

    def _mount(self) -> str:
        if self.path is None:
            raise MountError("volume %s: not from a mount: use "
                             "sail.Volume.from_mount(path)" % self.name,
                             "client", "no_mount")
        return self.path

    def _ask(self, request: Dict[str, Any],
             progress: Optional[mount.Progress]) -> str:
        result = mount.ask(self._mount(), request, progress)
        self.last_result = result
        commit = result.get("commit")
        if not isinstance(commit, str):
            raise SailError("an answer without the id of a commit")
        return commit
