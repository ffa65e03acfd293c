# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Volumes: by name at the API server, or by the mount that shows one."""

import os
import re
from typing import Any, Dict, Iterator, Optional

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
        self._client: Optional[Client] = None
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
        volume = cls._from_json(found, None)
        volume._client = client
        return volume

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

    @classmethod
    def list(cls, deleted: bool = False,
             client: Optional[Client] = None) -> "Iterator[Volume]":
        """The volumes of the organisation, by name; or those that were deleted
        and can be restored."""
        client = client or Client()
        after = ""
        while True:
            page = client.request("GET", "/v1/volumes?limit=1000%s%s" % (
                "&deleted=1" if deleted else "", after))
            for found in page.get("volumes", []):
                volume = cls._from_json(found, None)
                volume._client = client
                yield volume
            if not page.get("next"):
                return
            after = "&after=" + page["next"]

    @classmethod
    def restore(cls, id: str, name: Optional[str] = None,
                client: Optional[Client] = None) -> "Volume":
        """Brings a deleted volume back, under its old name unless told."""
        check_name("volume", id)
        client = client or Client()
        volume = cls._from_json(client.request(
            "POST", "/v1/volumes/%s/restore" % id,
            {} if name is None else {"name": name}), None)
        volume._client = client
        return volume

    def rename(self, name: str) -> None:
        """Gives it another name; its id, history and mounts stay."""
        check_name("volume", name)
        self._api("POST", "/rename", {"name": name})
        self.name = name

    def fork(self, name: str, commit: Optional[str] = None) -> "Volume":
        """A new volume of that name that begins as the newest commit is, or as
        that one.  Nothing is copied."""
        check_name("volume", name)
        body = {"name": name}
        if commit is not None:
            body["commit"] = commit
        volume = self._from_json(
            self._api("POST", "/fork", body, retry=False), None)
        volume._client = self._client
        return volume

    def delete(self) -> None:
        """Deletes it: for thirty days Volume.restore(id) brings it back."""
        self._api("DELETE", "")

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

    def changes(self) -> Iterator[Dict[str, Any]]:
        """What the next commit of the mount would publish: objects as
        "changes" of sailvol-ctl(5), with names as strings (os.fsdecode)."""
        after: Dict[str, Any] = {}
        while True:
            page = mount.ask(self._mount(), dict(
                {"request": "diff", "limit": 10000}, **after))
            yield from map(_decoded, page.get("changes", []))
            if not page.get("more"):
                return
            after = {"after": page.get("next")}

    def log(self, limit: Optional[int] = None) -> Iterator[Dict[str, Any]]:
        """The commits of the volume, newest first, as sailapi(7) has them;
        so many at most."""
        before = ""
        while limit is None or limit > 0:
            count = 1000 if limit is None else min(limit, 1000)
            page = self._api("GET", "/commits?limit=%d%s" % (count, before))
            found = page.get("commits", [])
            yield from found
            if limit is not None:
                limit -= len(found)
            if not page.get("next"):
                return
            before = "&before=" + page["next"]

    def diff(self, commit: str, since: Optional[str] = None,
             path: mount.Path = "") -> Iterator[Dict[str, Any]]:
        """What differs from the commit since (else the parent) to the commit,
        at a path and below it: objects as "changes" of sailapi(7), with names
        as strings (os.fsdecode)."""
        body: Dict[str, Any] = {"to": commit,
                                "path": mount.json_name(os.fsencode(path))}
        if since is not None:
            body["from"] = since
        while True:
            page = self._api("POST", "/diff", body)
            yield from map(_decoded, page.get("changes", []))
            if page.get("next") is None:
                return
            body["after"] = page["next"]

    def _api(self, method: str, target: str,
             body: Optional[Dict[str, Any]] = None,
             retry: bool = True) -> Dict[str, Any]:
        """A question about the volume to the API server."""
        if self._client is None:
            self._client = Client()
        return self._client.request(
            method, "/v1/volumes/" + self.id + target, body, retry=retry)

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


def _decoded(change: Dict[str, Any]) -> Dict[str, Any]:
    """The same with its names as strings."""
    out = dict(change)
    for key in ("path", "from"):
        if key in out:
            out[key] = mount.name_of_json(out[key])
    for key in ("was", "now"):
        if isinstance(out.get(key), dict) and "target" in out[key]:
            out[key] = dict(out[key], target=mount.name_of_json(
                out[key]["target"]))
    return out
