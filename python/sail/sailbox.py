# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Sandboxes: Linux namespaces with a Debian root and volumes in them."""

import fcntl
import json
import os
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import termios
import threading
import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set, Tuple, Union

from sail import _bwrap, _disk, _ending, _state, _volumes
from sail.app import App
from sail.errors import (NotFoundError, SailboxCreationError, SailboxError,
                         SailboxExecutionError, SailboxTerminatedError,
                         SailError)
from sail.image import Image, check_runs
from sail.volume import Volume, check_name

PACKET_MAX = 192 * 1024
_F_SETPIPE_SZ, _PIPE = 1031, 1 << 20
_ENVIRONMENT = {"PATH": _bwrap.PATH, "HOME": "/root", "USER": "root",
                "LOGNAME": "root", "SHELL": "/bin/sh", "LANG": "C.UTF-8"}
_WRITE = ('set -e; d=$(dirname -- "$1"); mkdir -p -- "$d"; '
          't=$(mktemp -- "$d/.write.XXXXXX"); '
          'trap \'rm -f -- "$t"\' EXIT; cat >"$t"; '
          'chmod -- "$2" "$t"; mv -fT -- "$t" "$1"; trap - EXIT')
_READ = ('if [ -e "$1" ] && [ ! -f "$1" ]; then '
         'echo "not a regular file" >&2; exit 1; fi; exec cat -- "$1"')
_CODES = {"terminated": SailboxTerminatedError}


class Result:
    """How a command ended: returncode is its status, or minus the number of
    the signal that ended it; timed_out, whether its time was up."""

    def __init__(self, stdout: bytes, stderr: bytes, returncode: int,
                 timed_out: bool) -> None:
        self.stdout_bytes = stdout
        self.stderr_bytes = stderr
        self.returncode = returncode
        self.timed_out = timed_out

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return "<sail.Result %d>" % self.returncode


def _raise(error: Any) -> None:
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code", ""))
    raise _CODES.get(code, SailboxExecutionError)(
        str(error.get("message", "")), "client", code)


# Those that were not closed: one that nobody keeps is not killed for that.
_running: Set["Request"] = set()


class Request:
    """A command that runs.  id names it within its sandbox."""

    def __init__(self, sock: socket.socket, outputs: List[int],
                 background: bool) -> None:
        self._sock = sock
        self._background = background
        self._got: Dict[str, List[bytes]] = {"stdout": [], "stderr": []}
        self._open = dict(zip(("stdout", "stderr"), outputs))
        self._lock = threading.RLock()
        self._result: Optional[Result] = None
        self._error: Optional[Dict[str, Any]] = None
        self._end: Optional[Dict[str, Any]] = None
        self.id = 0
        self._wait_started()

    def _hear(self) -> Tuple[Dict[str, Any], List[int]]:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, PACKET_MAX, 3)
        except ConnectionError:
            data, fds = b"", []
        if not data:
            return {"error": {"code": "terminated",
                              "message": "the sandbox ended"}}, fds
        return json.loads(data), fds

    def _wait_started(self) -> None:
        try:
            message, fds = self._hear()
            if "started" not in message:
                _raise(message.get("error"))
        except BaseException:
            self.close()
            raise
        self.id = message["started"]
        _running.add(self)
        if self._background:
            self._open = dict(zip(("stdout", "stderr"), fds))

    def close(self) -> None:
        """Hears no more of it: in the foreground it is killed."""
        _running.discard(self)
        self._sock.close()
        for fd in self._open.values():
            os.close(fd)
        self._open = {}

    def _tell(self, message: Dict[str, Any]) -> None:
        try:
            self._sock.send(json.dumps(message).encode())
        except OSError:
            # It ended.
            pass

    def signal(self, number: int) -> None:
        """Sends a signal to the command's process group."""
        self._tell({"signal": int(number)})

    def kill(self) -> None:
        """Kills the command and all that it started."""
        self._tell({"kill": True})

    def _read(self, name: str) -> Optional[bytes]:
        """What is there; None where nothing is at the moment, b"" at the
        end."""
        try:
            return os.read(self._open[name], _PIPE)
        except BlockingIOError:
            return None

    def _close_output(self, name: str) -> None:
        os.close(self._open.pop(name))

    def stream(self) -> Iterator[Tuple[str, str]]:
        """("stdout" or "stderr", text) as it comes, until the command ends;
        wait() has all of it then."""
        for name, data in self._pieces(True):
            yield name, data.decode("utf-8", "replace")

    def _pieces(self, live: bool) -> Iterator[Tuple[str, bytes]]:
        with self._lock:
            while self._end is None:
                # A file does not tell when there is more.
                yield from self._some(
                    0.05 if live and self._background else None)
            yield from self._rest()

    def _some(self, timeout_s: Optional[float]) -> Iterator[Tuple[str,
                                                                  bytes]]:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        for name, fd in self._open.items():
            if not self._background:
                os.set_blocking(fd, False)
                poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(
            None if timeout_s is None else timeout_s * 1000)}
        for name, fd in list(self._open.items()):
            if self._background or fd in ready:
                data = self._read(name)
                if data:
                    self._got[name].append(data)
                    yield name, data
                elif data == b"" and not self._background:
                    self._close_output(name)
        if self._sock.fileno() in ready:
            self._end, fds = self._hear()
            for fd in fds:
                os.close(fd)

    def _rest(self) -> Iterator[Tuple[str, bytes]]:
        """What was written before the end; what processes that it left behind
        write later, without an end perhaps, is not waited for."""
        for name, left in [(n, _length(fd)) for n, fd in self._open.items()]:
            while left > 0:
                data = self._read(name)
                if not data:
                    break
                left -= len(data)
                self._got[name].append(data)
                yield name, data
        self.close()

    def wait(self) -> Result:
        """The result, once the command ended."""
        with self._lock:
            for _ in self._pieces(False):
                pass
            assert self._end is not None
            if "error" in self._end:
                _raise(self._end["error"])
            status = int(self._end["status"])
            code = (-os.WTERMSIG(status) if os.WIFSIGNALED(status)
                    else os.WEXITSTATUS(status))
            return Result(b"".join(self._got["stdout"]),
                          b"".join(self._got["stderr"]), code,
                          bool(self._end.get("timed_out")))


def _length(fd: int) -> int:
    """What can be read now: of a pipe, or from a file's offset on."""
    st = os.fstat(fd)
    if stat.S_ISREG(st.st_mode):
        return st.st_size - os.lseek(fd, 0, os.SEEK_CUR)
    count = bytearray(4)
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


class Checkpoint:
    """A copy of a sandbox's own writable files; what is in volumes is never in
    it."""

    def __init__(self, made: Dict[str, Any]) -> None:
        self.id = str(made["id"])
        self._made = made

    @property
    def path(self) -> str:
        return os.path.join(_state.folder(), "checkpoints", self.id)

    @classmethod
    def get(cls, id: str) -> "Checkpoint":
        """The checkpoint of that id; NotFoundError if there is none."""
        if not _state.is_id(id, "cp_"):
            raise NotFoundError("no checkpoint %s" % id, "not_found",
                                "no_checkpoint")
        try:
            return cls(_state.read(os.path.join(
                _state.folder(), "checkpoints", id)))
        except SailError as e:
            raise NotFoundError("no checkpoint %s" % id, "not_found",
                                "no_checkpoint") from e

    def delete(self) -> None:
        """Sandboxes that were made from it stay."""
        _disk.remove_tree(self.path)


_BOOT = """import sys
sys.path.insert(0, sys.argv[1])
from sail._supervisor import main
main(sys.argv[2], int(sys.argv[3]))
"""


def _supervise(path: str, lock: int) -> None:
    """Starts the supervisor; returns when the sandbox runs."""
    told, ready = os.pipe()
    env = {k: v for k, v in os.environ.items()
           if k in ("SAILVOLD_SOCKET", "SAIL_STATE")}
    env["PATH"] = _bwrap.PATH
    with tempfile.TemporaryFile() as err:
        try:
            subprocess.run(
                [sys.executable or "/usr/bin/python3", "-I", "-c", _BOOT,
                 os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                 path, str(ready)],
                env=env, cwd="/", pass_fds=(ready, lock),
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, check=False)
        finally:
            os.close(ready)
        with os.fdopen(told, "rb") as f:
            data = f.read()
        if not data:
            err.seek(0)
            raise SailboxCreationError(
                "the supervisor did not start: %s" % err.read(2000).decode(
                    errors="backslashreplace").strip(), "client", "failed")
    error = json.loads(data).get("error")
    if error:
        raise SailboxCreationError(error["message"], "client", error["code"])


class Sailbox:
    """A sandbox of this machine.  It goes on when the program that created it
    ends, until terminate()."""

    def __init__(self, state: Dict[str, Any]) -> None:
        self._set(state)

    def _set(self, state: Dict[str, Any]) -> None:
        self._state = state
        self.sailbox_id = str(state["id"])
        self.name = str(state["name"])
        self.app_name = str(state["app"])

    def __repr__(self) -> str:
        return "<sail.Sailbox %s %s>" % (self.name, self.sailbox_id)

    def __enter__(self) -> "Sailbox":
        return self

    def __exit__(self, *_: Any) -> None:
        self.terminate()

    # ---- making and finding -------------------------------------------------

    @classmethod
    def create(cls, app: App, image: Image = Image.debian,
               name: Optional[str] = None,
               volumes: Optional[Mapping[str, Volume]] = None,
               cpu: float = 1, memory_mib: int = 1024,
               disk_gib: float = 8) -> "Sailbox":
        """A new sandbox, which runs when this returns; each volume is mounted
        at its path, at the head.  What limits this machine cannot enforce is
        in warnings."""
        for value, kind, what in ((app, App, "app: a sail.App"),
                                  (image, Image, "image: a sail.Image")):
            if not isinstance(value, kind):
                raise SailboxCreationError("%s is needed, not %r" % (
                    what, value), "invalid_request", "bad_type")
        if volumes is not None and not isinstance(volumes, Mapping):
            raise SailboxCreationError("volumes: {path: sail.Volume}",
                                       "invalid_request", "bad_volume")
        return cls._create(app.id, app.name, name, volumes or {}, {
            "cpu": cpu, "memory_mib": memory_mib, "disk_gib": disk_gib,
            "image": image.name}, image)

    @classmethod
    def _create(cls, app_id: str, app_name: str, name: Optional[str],
                volumes: Mapping[str, Any], state: Dict[str, Any],
                image: Optional[Image]) -> "Sailbox":
        if os.geteuid() != 0:
            raise SailboxCreationError("sandboxes need root", "permission",
                                       "not_root")
        if name is not None:
            try:
                check_name("sandbox", name)
            except SailError as e:
                raise SailboxCreationError(e.message, e.type, e.code) from e
        _check_limits(state)
        paths = list(volumes)
        _volumes.check_paths(paths)
        names = {p: v.name if isinstance(v, Volume) else v
                 for p, v in volumes.items()}
        if not all(isinstance(n, str) for n in names.values()):
            raise SailboxCreationError("volumes: {path: sail.Volume}",
                                       "invalid_request", "bad_volume")
        if shutil.which("bwrap") is None:
            raise SailboxCreationError("bubblewrap is not installed",
                                       "client", "no_bwrap")
        _ending.clean_stale()
        _state.forget_old()
        if image is not None:
            if _state.named(app_id, name or "") is not None:
                # Before the image is made, which takes long.
                raise SailboxCreationError(
                    "there is a sandbox %s in the app %s" % (name, app_name),
                    "conflict", "name_taken")
            state["layers"] = image.ensure()
        else:
            check_runs(state["image"])
        state.update(app_id=app_id, app=app_name, name=name,
                     status="creating", created=time.time(), warnings=[],
                     limits={}, cgroup="", first=None, volumes=[])
        lock = _state.reserve(state)
        path = _state.box(state["id"])
        try:
            state["volumes"] = [
                {"path": p, "volume": names[p], "mounted": False,
                 "point": os.path.join(path, "volumes", str(i))}
                for i, p in enumerate(paths)]
            _state.write(path, state)
            _supervise(path, lock)
        except BaseException:
            _forget(path, state, lock)
            raise
        os.close(lock)
        return cls(_state.read(path))

    @classmethod
    def connect(cls, id: str) -> "Sailbox":
        """The sandbox of that id; NotFoundError if there is none."""
        if not _state.is_id(id) or not os.path.isdir(_state.box(id)):
            raise NotFoundError("no sandbox %s" % id, "not_found",
                                "no_sandbox")
        _ending.clean_stale()
        return cls(_state.read(_state.box(id)))

    @classmethod
    def list(cls, app: Optional[App] = None,
             ended: bool = False) -> List["Sailbox"]:
        """Those of the app (or of all) that live; with ended those that ended
        lately too.  Oldest first."""
        _ending.clean_stale()
        found = []
        for ident in _state.ids():
            try:
                one = cls(_state.read(_state.box(ident)))
            except (SailboxError, KeyError):
                continue
            if app is not None and one._state.get("app_id") != app.id:
                continue
            if ended or one._state.get("status") not in _state.ENDED:
                found.append(one)
        return sorted(found, key=lambda b: float(b._state.get("created", 0)))

    # ---- what it is ---------------------------------------------------------

    @property
    def status(self) -> str:
        """creating, running, paused, terminated or failed."""
        self._look()
        return str(self._state["status"])

    @property
    def limits(self) -> Dict[str, Any]:
        """{"cpu", "memory_mib", "disk_gib": {"limit", "enforced", "why"}}."""
        return dict(self._state["limits"])

    @property
    def warnings(self) -> List[str]:
        """What was asked for and is not in force, in words."""
        return list(self._state["warnings"])

    @property
    def volumes(self) -> List[Dict[str, Any]]:
        """Of each: path, volume, commit, and once the sandbox ended: stash,
        left and error."""
        self._look()
        return [dict(v) for v in self._state["volumes"]]

    def _look(self) -> None:
        path = _state.box(self.sailbox_id)
        if not os.path.isdir(path):
            # Its record was forgotten.
            self._state["status"] = "terminated"
            return
        state = _state.read(path)
        if state.get("status") in ("running", "paused") and self._is_dead():
            _state.wait_released(path)
        if state.get("status") not in _state.ENDED and not _state.is_held(
                path):
            _ending.clean_stale()
            state = _state.read(path)
        self._state = state

    # ---- its supervisor -----------------------------------------------------

    def _is_dead(self) -> bool:
        """Whether the supervisor is past answering; one that is busy is not."""
        try:
            with self._dial() as sock:
                sock.settimeout(2)
                self._send(sock, {"op": "ping"})
                return not sock.recv(PACKET_MAX)
        except socket.timeout:
            return False
        except OSError:
            return True

    def _dial(self) -> socket.socket:
        return _dial(_state.box(self.sailbox_id))

    def _connect(self) -> socket.socket:
        try:
            return self._dial()
        except OSError as e:
            if self.status in _state.ENDED:
                raise SailboxTerminatedError(
                    "sandbox %s ended: %s" % (self.name, self._state.get(
                        "why", "")), "client", "terminated") from e
            raise SailboxExecutionError(
                "sandbox %s does not answer: %s" % (self.name, e.strerror),
                "client", "no_supervisor") from e

    def _send(self, sock: socket.socket, message: Dict[str, Any],
              fds: Optional[List[int]] = None) -> None:
        data = json.dumps(message).encode()
        if len(data) > PACKET_MAX:
            raise SailboxExecutionError(
                "the command and its environment are longer than 192 KiB",
                "invalid_request", "too_long")
        try:
            if fds:
                socket.send_fds(sock, [data], fds)
            else:
                sock.send(data)
        except OSError as e:
            raise self._ended() from e

    def _ended(self) -> SailboxTerminatedError:
        return SailboxTerminatedError("sandbox %s ended" % self.name,
                                      "client", "terminated")

    def _ask(self, message: Dict[str, Any]) -> Any:
        with self._connect() as sock:
            self._send(sock, message)
            try:
                data = sock.recv(_state.STATE_MAX)
            except ConnectionError:
                data = b""
        if not data:
            raise self._ended()
        answer = json.loads(data)
        if "error" in answer:
            error = answer["error"]
            raise (SailboxTerminatedError if error["code"] == "terminated"
                   else SailboxError)(error["message"], "client",
                                      error["code"])
        return answer["done"]

    # ---- commands -----------------------------------------------------------

    def exec(self, command: Union[str, List[str]],
             timeout: Optional[float] = None, cwd: Optional[str] = None,
             env: Optional[Mapping[str, str]] = None,
             background: bool = False) -> Request:
        """Starts a command of /bin/sh (or a list: a program and its
        arguments) as the sandbox's root.

        After timeout seconds it is killed with all that it started.  One in
        the background goes on when this program ends, and its output is kept;
        another one is killed then, and waits when its output is not read.
        """
        argv = (["/bin/sh", "-c", command] if isinstance(command, str) else
                [str(a) for a in command]
                if isinstance(command, (list, tuple)) else [])
        if not argv or any("\0" in a for a in argv):
            raise SailboxExecutionError(
                "%r: not a command: a string, or a list of strings" % (
                    command,), "invalid_request", "bad_command")
        _check_exec(timeout, cwd, env)
        return self._start(argv, timeout, cwd, env, bool(background), None)

    def _start(self, argv: List[str], timeout: Optional[float],
               cwd: Optional[str], env: Optional[Mapping[str, str]],
               background: bool, stdin: Optional[int]) -> Request:
        message = {"op": "exec", "argv": argv, "cwd": cwd,
                   "env": dict(_ENVIRONMENT, **(env or {})),
                   "timeout": timeout, "background": background}
        sock = self._connect()
        theirs: List[int] = []
        ours: List[int] = []
        try:
            if not background:
                theirs.append(os.dup(stdin) if stdin is not None else
                              os.open("/dev/null", os.O_RDONLY))
                for _ in range(2):
                    r, w = os.pipe()
                    try:
                        fcntl.fcntl(w, _F_SETPIPE_SZ, _PIPE)
                    except OSError:
                        # The user has too many of them: a small one will do.
                        pass
                    ours.append(r)
                    theirs.append(w)
            self._send(sock, message, theirs)
        except BaseException:
            sock.close()
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        return Request(sock, ours, background)

    def request(self, id: int) -> Request:
        """A command in the background that was started before, by this
        program or another."""
        if isinstance(id, bool) or not isinstance(id, int):
            raise SailboxExecutionError("%r: not the id of a request" % (id,),
                                        "invalid_request", "bad_id")
        sock = self._connect()
        try:
            self._send(sock, {"op": "attach", "n": id})
        except BaseException:
            sock.close()
            raise
        return Request(sock, [], True)

    def write(self, path: str, data: Union[bytes, bytearray, memoryview, str],
              mode: int = 0o644) -> None:
        """Makes the file with that content, or takes its place; folders that
        are missing are made.  It is whole, or not there."""
        content = _content(data)
        if isinstance(mode, bool) or not isinstance(mode, int):
            raise SailboxExecutionError("%r: not a mode, as 0o644 is" % (
                mode,), "invalid_request", "bad_mode")
        r, w = os.pipe()
        try:
            request = self._start(
                ["/bin/sh", "-c", _WRITE, "sh", _absolute(path),
                 "%o" % (mode & 0o7777)], None, "/", None, False, r)
        except BaseException:
            os.close(w)
            raise
        finally:
            os.close(r)
        ended, end = os.pipe()
        feeder = threading.Thread(target=_feed, args=(w, content, ended),
                                  daemon=True)
        feeder.start()
        try:
            result = request.wait()
        finally:
            os.close(end)
            feeder.join()
            os.close(ended)
        if result.returncode != 0:
            raise SailboxExecutionError("write %s: %s" % (
                path, result.stderr.strip()), "client", "write")

    def read(self, path: str) -> bytes:
        """The content of a regular file."""
        result = self._start(["/bin/sh", "-c", _READ, "sh", _absolute(path)],
                             None, "/", None, False, None).wait()
        if result.returncode != 0:
            raise SailboxExecutionError("read %s: %s" % (
                path, result.stderr.strip()), "client", "read")
        return result.stdout_bytes

    # ---- its life -----------------------------------------------------------

    def pause(self) -> None:
        """Freezes all processes."""
        self._ask({"op": "pause"})

    def resume(self) -> None:
        """Lets them go on."""
        self._ask({"op": "resume"})

    def checkpoint(self) -> Checkpoint:
        """Copies its own writable files, as they are at one moment."""
        return Checkpoint(self._ask({"op": "checkpoint"}))

    def fork(self, name: Optional[str] = None,
             checkpoint: Optional[Checkpoint] = None) -> "Sailbox":
        """A new sandbox from its own writable files as they are now (or as
        they were at the checkpoint), with fresh mounts of its volumes at the
        head.  Processes are not copied."""
        made = checkpoint or self.checkpoint()
        try:
            state = {k: made._made[k] for k in (
                "image", "layers", "cpu", "memory_mib", "disk_gib")}
            state["from"] = made.path
            return Sailbox._create(
                self._state["app_id"], self._state["app"], name,
                {v["path"]: v["volume"] for v in self._state["volumes"]},
                state, None)
        finally:
            if checkpoint is None:
                made.delete()

    def terminate(self) -> Dict[str, Any]:
        """Ends it: all processes are gone and its volumes are unmounted when
        this returns.

        Nothing is committed.  What was changed in a volume and not committed
        is a stash, which the answer names: {"status", "volumes": [{"path",
        "volume", "stash": {"id", ...} or None, "left", "error"}]}, as does
        volumes.  Of one that ended it is the same answer again.
        """
        try:
            self._state = self._ask({"op": "terminate"})
        except SailboxTerminatedError:
            self._look()
        return {"status": self._state["status"],
                "volumes": [dict(v) for v in self._state["volumes"]]}


def _absolute(path: str) -> str:
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise SailboxExecutionError("%r: not an absolute path" % (path,),
                                    "invalid_request", "bad_path")
    return path


def _content(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode("utf-8", "surrogateescape")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise SailboxExecutionError("%s: bytes or text can be written" %
                                type(data).__name__, "invalid_request",
                                "bad_data")


def _check_exec(timeout: Any, cwd: Any, env: Any) -> None:
    """That a command can be started with these; SailboxExecutionError."""
    why = ""
    if timeout is not None and (isinstance(timeout, bool) or
                                not isinstance(timeout, (int, float))):
        why = "timeout=%r: not a number of seconds" % (timeout,)
    elif cwd is not None and (not isinstance(cwd, str) or "\0" in cwd):
        why = "cwd=%r: not a path" % (cwd,)
    elif env is not None and not isinstance(env, Mapping):
        why = "env=%r: {name: value}" % (env,)
    else:
        for name, value in (env or {}).items():
            if (not isinstance(name, str) or not isinstance(value, str) or
                    not name or "=" in name or "\0" in name + value):
                why = "env: %r: %r: not a name and a string" % (name, value)
    if why:
        raise SailboxExecutionError(why, "invalid_request", "bad_argument")


def _feed(fd: int, data: bytes, ended: int) -> None:
    """Into a pipe, whose reader may end before, or keep it and not read:
    until the other end of ended is closed."""
    left = memoryview(data)
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.register(ended, 0)
    os.set_blocking(fd, False)
    try:
        while left and ended not in dict(poll.poll()):
            left = left[os.write(fd, left[:_PIPE]):]
    except OSError:
        pass
    finally:
        os.close(fd)


def _dial(path: str) -> socket.socket:
    """A connection to the supervisor of that folder."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        folder = os.open(path, os.O_PATH | os.O_DIRECTORY)
        try:
            sock.connect("/proc/self/fd/%d/sock" % folder)
        finally:
            os.close(folder)
        return sock
    except BaseException:
        sock.close()
        raise


def _check_limits(state: Dict[str, Any]) -> None:
    for key, least in (("cpu", 0.01), ("memory_mib", 16),
                       ("disk_gib", 0.0625)):
        value = state[key]
        if (isinstance(value, bool) or not isinstance(value, (int, float)) or
                not least <= value <= 1 << 20):
            raise SailboxCreationError(
                "%s=%r: a number from %s on" % (key, value, least),
                "invalid_request", "bad_limit")
    state["memory_mib"] = int(state["memory_mib"])


def _hold_again(path: str) -> int:
    """The lock, which the supervisor has while it lives: it is told to end, and
    one that does not run yet finds that its creator went."""
    end = time.monotonic() + _state.RELEASED_S
    while True:
        try:
            return _state.hold(path)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        try:
            with _dial(path) as sock:
                sock.settimeout(1)
                sock.send(json.dumps({"op": "terminate"}).encode())
                sock.recv(_state.STATE_MAX)
        except OSError:
            time.sleep(0.02)


def _forget(path: str, state: Dict[str, Any], lock: int) -> None:
    """A sandbox that was not made: nothing of it stays, unless something of it
    could not be ended.  lock: of its folder, which is let go."""
    os.close(lock)
    try:
        lock = _hold_again(path)
    except OSError:
        return
    try:
        _ending.end(path)
        _state.remove(path, _state.read(path))
        _state.release_name(state)
    except (SailboxError, OSError):
        pass
    finally:
        os.close(lock)
