# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The door of a mount, .sailvol: sailvol-ctl(5)."""

import base64
import ctypes
import errno
import json
import os
import select
import socket
import stat
import time
from typing import Any, Callable, Dict, Optional, Tuple, Union

from sail.errors import MountError, UnavailableError, from_answer

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Progress = Callable[[Dict[str, Any]], None]

FUSE_SUPER_MAGIC = 0x65735546
TYPE = "fuse.sailvol"
SOCKET = "/run/sailvold.sock"
LINE_MAX = 64 * 1024
ANSWER_MAX = 64 * 1024 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


def _is_fuse(fd: int) -> bool:
    # struct statfs(2) begins with f_type, a long.
    buf = (ctypes.c_long * 64)()
    if _libc.fstatfs(fd, ctypes.byref(buf)) != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return (buf[0] & 0xffffffff) == FUSE_SUPER_MAGIC


def _types(dev: int) -> set:
    """The types of the mounts of that device, as far as /proc says."""
    want = "%d:%d" % (os.major(dev), os.minor(dev))
    found = set()
    try:
        with open("/proc/self/mountinfo", encoding="utf-8",
                  errors="surrogateescape") as f:
            for line in f:
                left, _, right = line.partition(" - ")
                if left.split()[2] == want:
                    found.add(right.split()[0])
    except (OSError, IndexError):
        pass
    return found


def _top(path: Path) -> int:
    """The root of the mount that path lies in, as a descriptor."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        is_dir = stat.S_ISDIR(os.stat(path).st_mode)
    except ValueError as e:  # a NUL
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from e
    real = os.path.realpath(os.fspath(path))
    if not is_dir:
        real = os.path.dirname(real)
    fd = os.open(real, flags)
    try:
        here = os.fstat(fd)
        while True:
            up = os.open("..", flags, dir_fd=fd)
            above = os.fstat(up)
            if above.st_dev != here.st_dev or above.st_ino == here.st_ino:
                os.close(up)
                return fd
            os.close(fd)
            fd, here = up, above
    except BaseException:
        os.close(fd)
        raise


def _open_ours(dir_fd: int, name: str, flags: int, dev: int) -> int:
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK |
                 os.O_NOCTTY, dir_fd=dir_fd)
    st = os.fstat(fd)
    if not stat.S_ISREG(st.st_mode) or st.st_dev != dev:
        os.close(fd)
        raise MountError("%s: .sailvol is not that of a mount of sailvold" %
                         name, "client", "not_a_mount")
    os.set_blocking(fd, True)
    return fd


def _door(path: Path) -> Tuple[int, int]:
    """(.sailvol as a descriptor, device of the mount); a forged one, in an
    archive say, is not believed."""
    shown = os.fsdecode(os.fspath(path))
    try:
        top = _top(path)
    except OSError as e:
        raise MountError("%s: %s" % (shown, e.strerror), "client",
                         "path") from e
    try:
        dev = os.fstat(top).st_dev
        types = _types(dev)
        if not _is_fuse(top) or (types and TYPE not in types):
            raise MountError("%s is not in a mount of sailvold" % shown,
                             "client", "not_a_mount")
        door = os.open(".sailvol", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW |
                       os.O_CLOEXEC, dir_fd=top)
    except FileNotFoundError as e:
        raise MountError(
            "%s: no .sailvol at the top of this mount: it is a directory of a "
            "volume, bound without the volume's root" % shown, "client",
            "no_door") from e
    except OSError as e:
        raise MountError("%s: %s" % (shown, e.strerror), "client",
                         "path") from e
    finally:
        os.close(top)
    if os.fstat(door).st_dev != dev:
        os.close(door)
        raise MountError("%s: .sailvol is not that of a mount of sailvold" %
                         shown, "client", "not_a_mount")
    return door, dev


def read_volume(path: Path) -> Dict[str, Any]:
    """volume.json of the mount that path lies in."""
    door, dev = _door(path)
    try:
        with os.fdopen(_open_ours(door, "volume.json", os.O_RDONLY, dev),
                       encoding="utf-8") as f:
            value = json.load(f)
    except (OSError, ValueError) as e:
        raise MountError("%s: volume.json: %s" % (os.fsdecode(os.fspath(path)),
                                                  e), "client", "path") from e
    finally:
        os.close(door)
    if not isinstance(value, dict):
        raise MountError("volume.json is no object", "client", "path")
    return value


def ask(path: Path, request: Dict[str, Any],
        progress: Optional[Progress] = None) -> Dict[str, Any]:
    """One request through .sailvol/ctl: the object behind "result"."""
    line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
    if len(line) > LINE_MAX:
        raise MountError("the request is longer than 64 KiB",
                         "invalid_request", "too_long")
    door, dev = _door(path)
    fd = -1
    try:
        os.close(_open_ours(door, "volume.json", os.O_RDONLY, dev))
        try:
            fd = _open_ours(door, "ctl", os.O_RDWR, dev)
        except OSError as e:
            if e.errno != errno.EROFS:
                raise
            return _ask_socket(path, request, progress)
        if request.get("request") == "commit" and _libc.syncfs(fd) != 0:
            e = ctypes.get_errno()
            raise OSError(e, os.strerror(e))
        while line:
            line = line[os.write(fd, line):]
        return _listen(fd, progress)
    except OSError as e:
        raise MountError("%s: .sailvol/ctl: %s" % (
            os.fsdecode(os.fspath(path)), e.strerror), "client",
                         "ctl") from e
    finally:
        os.close(door)
        if fd != -1:
            os.close(fd)


def json_name(raw: bytes) -> Union[str, Dict[str, str]]:
    """A name as sailapi(7) and sailvol-ctl(5) have it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(raw).decode()}


def name_of_json(name: Any) -> str:
    """Such a name as a string (os.fsdecode)."""
    if isinstance(name, dict):
        return os.fsdecode(base64.b64decode(name.get("b64", "")))
    return os.fsdecode(str(name).encode())


def _ask_socket(path: Path, request: Dict[str, Any],
                progress: Optional[Progress]) -> Dict[str, Any]:
    """The same through the control socket: where the mount is read-only its
    ctl cannot be written to."""
    where = daemon_socket()
    top = _top(path)
    try:
        point = os.readlink("/proc/self/fd/%d" % top)
    finally:
        os.close(top)
    name = json_name(os.fsencode(point))
    line = json.dumps(dict(request, path=name)).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(where)
            s.sendall(line)
        except OSError as e:
            raise MountError(
                "%s: the mount is read-only, so that it is asked by the "
                "control socket: %s: %s" % (
                    os.fsdecode(os.fspath(path)), where, e.strerror),
                "permission", "read_only") from e
        return _listen(s.fileno(), progress)


def daemon_socket() -> str:
    """Where sailvold listens: $SAILVOLD_SOCKET, or its default place."""
    return os.environ.get("SAILVOLD_SOCKET") or SOCKET


def ask_daemon(request: Dict[str, Any], where: Optional[str] = None,
               timeout_s: Optional[float] = None) -> Dict[str, Any]:
    """One request through the control socket: the object behind "result"."""
    where = where or daemon_socket()
    line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
    if len(line) > LINE_MAX:
        raise MountError("the request is longer than 64 KiB",
                         "invalid_request", "too_long")
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(where)
            s.sendall(line)
        except OSError as e:
            raise UnavailableError("sailvold: %s: %s" % (where, e.strerror),
                                   "unavailable", "no_daemon") from e
        return _listen(s.fileno(), None, timeout_s)


def _listen(fd: int, progress: Optional[Progress],
            timeout_s: Optional[float] = None) -> Dict[str, Any]:
    data = b""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while len(data) < ANSWER_MAX:
        if end is not None and not poll.poll(
                max(0, end - time.monotonic()) * 1000):
            raise UnavailableError(
                "sailvold did not answer within %d seconds" % timeout_s,
                "unavailable", "no_answer")
        more = os.read(fd, 65536)
        if not more:
            raise UnavailableError("sailvold ended before it answered",
                                   "unavailable", "no_answer")
        data += more
        *lines, data = data.split(b"\n")
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if isinstance(value, dict) and "progress" in value:
                if progress is not None:
                    progress(value["progress"])
            elif isinstance(value, dict) and isinstance(
                    value.get("result"), dict):
                return value["result"]
            else:
                raise from_answer(value)
    raise MountError("sailvold's answer does not end", "client", "answer")
