# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The state folder of the machine's sandboxes: /var/lib/sailbox, or
$SAIL_STATE; 0700.

    lock                    held (flock) while names and uids are given out
    names/APP/NAME          a symbolic link to the id of the sandbox
    boxes/sb_ID/            one sandbox: lock, state.json, sock, log, disk,
                            volumes/N (its mounts)
    checkpoints/cp_ID/      copies of disks
    images/                 sail.image

A sandbox lives as long as its lock is held: by who makes it, then by its
supervisor.
"""

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from typing import Any, Dict, Iterator, List, Optional

from sail.errors import SailboxCreationError, SailboxError

DEFAULT = "/var/lib/sailbox"
UIDS_FROM = 1000000
UIDS = 65536
# Ids of the kernel end at 2^32 - 2.
UIDS_END = (1 << 32) - 2
KEEP_S = 7 * 24 * 3600
# So long the end of a sandbox is waited for: more than its parts take.
RELEASED_S = 300
STATE_MAX = 1 << 20
# What has no processes any more.
ENDED = ("terminated", "failed")

State = Dict[str, Any]


def folder() -> str:
    path = os.environ.get("SAIL_STATE") or DEFAULT
    if not os.path.isabs(path):
        raise SailboxError("SAIL_STATE=%s: not an absolute path" % path,
                           "client", "state")
    return path


def prepare() -> str:
    """The folder, made where it is missing."""
    top = folder()
    try:
        os.makedirs(top, 0o700, exist_ok=True)
        st = os.lstat(top)
        if st.st_uid != os.geteuid() or st.st_mode & 0o022:
            raise SailboxError(
                "%s: not a folder that nobody else writes to" % top,
                "client", "state")
        if st.st_mode & 0o077:
            os.chmod(top, 0o700)  # nobody else takes its locks
        for name in ("names", "boxes", "checkpoints"):
            os.makedirs(os.path.join(top, name), 0o700, exist_ok=True)
    except OSError as e:
        raise SailboxError("%s: %s" % (top, e.strerror), "client",
                           "state") from e
    return top


def box(ident: str) -> str:
    """The folder of a sandbox; its id has been checked."""
    return os.path.join(folder(), "boxes", ident)


def is_id(ident: Any, prefix: str = "sb_") -> bool:
    return (isinstance(ident, str) and ident.startswith(prefix) and
            len(ident) == 3 + 24 and
            set(ident[3:]) <= set("0123456789abcdef"))


def new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)


def read(path: str) -> State:
    """The state.json of a sandbox's folder."""
    try:
        with open(os.path.join(path, "state.json"), encoding="utf-8") as f:
            value = json.loads(f.read(STATE_MAX))
    except (OSError, ValueError) as e:
        raise SailboxError("%s: state.json: %s" % (path, e), "client",
                           "state") from e
    if not isinstance(value, dict):
        raise SailboxError("%s: state.json: not an object" % path, "client",
                           "state")
    return value


def write(path: str, state: State) -> None:
    """Beside it, then renamed: a reader finds the old one or the new."""
    fd, new = tempfile.mkstemp(prefix="state.", dir=path)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            json.dump(state, f, indent=1, sort_keys=True)
            f.flush()
            os.fsync(f.fileno())
        os.replace(new, os.path.join(path, "state.json"))
    except BaseException:
        os.unlink(new)
        raise


@contextlib.contextmanager
def locked() -> Iterator[str]:
    """The state folder, while nobody else gives out names or ids."""
    top = prepare()
    fd = os.open(os.path.join(top, "lock"),
                 os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield top
    finally:
        os.close(fd)


def hold(path: str) -> int:
    """The lock of a sandbox's folder, as a descriptor; BlockingIOError if
    somebody has it."""
    fd = os.open(os.path.join(path, "lock"),
                 os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_held(path: str) -> bool:
    try:
        fd = os.open(os.path.join(path, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def wait_released(path: str) -> bool:
    """Until nobody holds it: of a supervisor that is about to end; whether it
    came true."""
    end = time.monotonic() + RELEASED_S
    while is_held(path):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def ids() -> List[str]:
    try:
        names = os.listdir(os.path.join(folder(), "boxes"))
    except FileNotFoundError:
        return []
    return sorted(n for n in names if is_id(n))


def _free_uids(top: str) -> int:
    """The first id of a range that no sandbox has whose processes may live, or
    whose volumes are still mounted with it."""
    first = UIDS_FROM
    text = os.environ.get("SAIL_UIDS")
    if text:
        if not text.isdigit() or int(text) < UIDS:
            raise SailboxCreationError(
                "SAIL_UIDS=%s: not a number from %d on" % (text, UIDS),
                "client", "uids")
        first = int(text)
    used = set()
    for ident in ids():
        try:
            state = read(os.path.join(top, "boxes", ident))
        except SailboxError:
            continue
        if is_stale(state):
            used.add(state.get("uids"))
    while any(isinstance(u, int) and u < first + UIDS and first < u + UIDS
              for u in used):
        first += UIDS
    if first + UIDS > UIDS_END:
        raise SailboxCreationError("all ranges of uids are in use", "client",
                                   "uids")
    return first


def reserve(state: State) -> int:
    """A new sandbox's folder, name and uids, entered in state; its lock, as a
    descriptor.  Stale ones were looked for before.

    The folder is made beside and held before it has its name: nobody finds one
    that is nobody's."""
    with locked() as top:
        boxes = os.path.join(top, "boxes")
        for name in os.listdir(boxes):
            if name.startswith(_NEW):
                # Of one who died in here.
                remove(os.path.join(boxes, name), {})
        ident = new_id("sb_")
        state["id"] = ident
        state["name"] = state.get("name") or ident
        if named(state["app_id"], state["name"]) is not None:
            raise SailboxCreationError(
                "there is a sandbox %s in the app %s" % (
                    state["name"], state["app"]), "conflict", "name_taken")
        state["uids"] = _free_uids(top)
        new = os.path.join(boxes, _NEW + ident)
        os.mkdir(new, 0o700)
        lock = -1
        try:
            lock = hold(new)
            write(new, state)
            os.rename(new, os.path.join(boxes, ident))
            _name(top, state)
        except BaseException:
            try:
                remove(new, {})
                remove(os.path.join(boxes, ident), {})
            finally:
                if lock != -1:
                    os.close(lock)
            raise
        return lock


_NEW = ".new-"


def _name(top: str, state: State) -> None:
    """Gives the name, which nobody has, to the sandbox."""
    names = os.path.join(top, "names", state["app_id"])
    os.makedirs(names, 0o700, exist_ok=True)
    path = os.path.join(names, state["name"])
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    os.symlink(state["id"], path)


def release_name(state: State) -> None:
    """The name may be taken again."""
    with locked() as top:
        path = os.path.join(top, "names", state["app_id"], state["name"])
        try:
            if os.readlink(path) == state["id"]:
                os.unlink(path)
        except OSError:
            pass


def named(app_id: str, name: str) -> Optional[str]:
    """The id of the sandbox of that name that has not ended."""
    try:
        ident = os.readlink(os.path.join(folder(), "names", app_id, name))
    except OSError:
        return None
    try:
        return None if read(box(ident)).get("status") in ENDED else ident
    except SailboxError:
        # What cannot be read may live.
        return ident if os.path.lexists(box(ident)) else None


def is_stale(state: State) -> bool:
    """Whether something of a sandbox is to be ended that nobody holds."""
    return state.get("status") not in ENDED or any(
        v.get("mounted") for v in state.get("volumes", ()))


def stale() -> List[str]:
    """The ids of those whose supervisor died before it could say what became
    of them, or could not unmount."""
    found = []
    for ident in ids():
        path = box(ident)
        if is_held(path):
            continue
        try:
            if not is_stale(read(path)):
                continue
        except SailboxError:
            pass
        found.append(ident)
    return found


def remove(path: str, state: State) -> None:
    """The folder of a sandbox that ended.  Nothing is looked for below a mount
    point: if a volume is mounted there after all, all of it stays."""
    for volume in state.get("volumes", ()):
        try:
            os.rmdir(volume["point"])
        except FileNotFoundError:
            pass
        except OSError:
            return
    try:
        os.rmdir(os.path.join(path, "volumes"))
    except OSError:
        pass
    try:
        names = os.listdir(path)
    except OSError:
        return  # it is not there
    for name in names:
        try:
            os.unlink(os.path.join(path, name))
        except OSError:
            pass
    try:
        os.rmdir(path)
    except OSError:
        pass


def forget_old() -> None:
    """Records of those that ended a week ago, and left nothing."""
    for ident in ids():
        path = box(ident)
        try:
            state = read(path)
            if (state.get("status") in ENDED and not is_held(path) and
                    time.time() - float(state["ended"]) > KEEP_S and
                    not any(v.get("stash") or v.get("left")
                            or v.get("mounted")
                            for v in state.get("volumes", ()))):
                remove(path, state)
        except (SailboxError, KeyError, TypeError, ValueError):
            pass
