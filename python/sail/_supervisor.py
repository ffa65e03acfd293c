# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The one process that a sandbox has outside of it: makes it, hands commands
to the agent inside, ends it, and writes what became of it.

It is nobody's child, so that it outlives the program that created the sandbox.
Requests come as JSON, one a packet, on the socket of the sandbox's folder, one
a connection:

    {"op": "exec", "argv", "cwd", "env", "timeout", "background"} with three
        descriptors (none with background: it writes to files, which come with
        the answer): {"started": n}, then {"ended": n, "status", "timed_out"};
        meanwhile {"signal": number} and {"kill": true}
    {"op": "attach", "n"}: as exec with background, of one that was started
    {"op": "ping" | "pause" | "resume" | "terminate" | "checkpoint"}:
        {"done": ...}

or {"error": {"code", "message"}}.
"""

import json
import math
import os
import resource
import selectors
import signal
import socket
import sys
import time
from typing import Any, Dict, List, Optional

from sail import (_bwrap, _cgroup, _disk, _ending, _linux, _state, _volumes,
                  mount)
from sail.errors import SailError

PACKET_MAX = 192 * 1024
READY_S = 120
# So long a command may take to go after it was killed.
GRACE_S = 10
# So long process 1 may take to start one.
START_S = 60
LOOK_S = 3600  # at least so often
KEPT = 1000


class Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """A connection, and the command that it started or hears of."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.run: Optional["Run"] = None


class Run:
    """A command: who hears of it, when it is killed, what became of it."""

    def __init__(self, n: int, background: bool,
                 timeout: Optional[float]) -> None:
        self.n = n
        self.background = background
        self.deadline = (None if timeout is None
                         else time.monotonic() + timeout)
        self.timed_out = False
        self.given_up: Optional[float] = None
        self.clients: List[Client] = []
        self.started = False
        self.start_by = time.monotonic() + START_S
        self.answer: Optional[Dict[str, Any]] = None


def _error(code: str, message: str) -> Dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class Supervisor:
    def __init__(self, path: str) -> None:
        self.path = path
        self.state = _state.read(path)
        self.group: Optional[_cgroup.Group] = None
        self.agent: Optional[socket.socket] = None
        self.disk = -1
        self.first = -1
        self.bwrap = -1
        self.log = -1
        self.runs: Dict[int, Run] = {}
        self.next_run = 1
        self.paused_at = 0.0
        self.nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.ending: Optional[str] = None
        self.waiting: List[Client] = []
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def save(self) -> None:
        _state.write(self.path, self.state)

    # ---- start --------------------------------------------------------------

    def start(self) -> None:
        """The sandbox runs when it returns."""
        state = self.state
        state["supervisor"] = os.getpid()
        self.limits()
        if state.get("from"):
            _disk.copy(state["from"], self.path)
        else:
            _disk.make(self.path, state["disk_gib"])
        for volume in state["volumes"]:
            # Written before: who finds the folder later knows of the mount.
            volume["mounted"] = True
            volume["daemon"] = mount.daemon_socket()
            self.save()
            try:
                answer = _volumes.mount_one(volume["point"], volume["volume"],
                                            state["uids"], _state.UIDS)
            except SailError as e:
                # Only where the answer was lost it may be there.
                volume["mounted"] = e.code == "no_answer"
                raise
            volume["commit"] = answer.get("commit")
            if answer.get("warning"):
                state["warnings"].append("%s: %s" % (volume["path"],
                                                     answer["warning"]))
        log, write = os.pipe()
        self.log = log
        os.set_blocking(log, False)
        try:
            spec = dict(state, folder=self.path, nofile=self.nofile,
                        hostname=_hostname(state["name"]))
            self.bwrap, self.agent, told, self.disk = _bwrap.start(
                spec, write)
        finally:
            os.close(write)
        self.wait_ready(told)
        self.listen()
        state["status"] = "running"
        self.save()

    def limits(self) -> None:
        state = self.state
        why = {}
        root = _cgroup.find_root()
        if root is None:
            for name in ("cpu", "memory", "pids"):
                why[name] = "there is no writable cgroup v2"
        else:
            _cgroup.leave(root)
            self.group = _cgroup.Group.make(root, state["id"], state["cpu"],
                                            state["memory_mib"])
            state["cgroup"] = self.group.path
            self.save()
            why = self.group.not_enforced
        disk = _disk.can_limit()
        state["limits"] = {
            "cpu": {"limit": state["cpu"], "enforced": "cpu" not in why},
            "memory_mib": {"limit": state["memory_mib"],
                           "enforced": "memory" not in why},
            "disk_gib": {"limit": state["disk_gib"], "enforced": not disk}}
        for name, key in (("cpu", "cpu"), ("memory", "memory_mib"),
                          ("disk", "disk_gib")):
            text = disk if name == "disk" else why.get(name, "")
            if text:
                state["limits"][key]["why"] = text
                state["warnings"].append("%s is not enforced: %s" % (key,
                                                                     text))

    def wait_ready(self, told: int) -> None:
        """The first process says that it runs."""
        assert self.agent is not None
        self.agent.settimeout(READY_S)
        try:
            data = self.agent.recv(PACKET_MAX)
            if json.loads(data or b"null") != {"ready": True}:
                raise OSError(0, "the sandbox did not start: " + self.said())
        except (ValueError, socket.timeout) as e:
            raise OSError(0, "the sandbox did not start: %s: %s" % (
                e, self.said())) from e
        finally:
            with os.fdopen(told, "rb") as f:
                os.set_blocking(told, False)
                info = f.read() or b"{}"
        pid = json.loads(info)["child-pid"]
        started = _ending.start_time(pid)
        if started is None:
            raise OSError(0, "the first process ended at once")
        self.first = os.pidfd_open(pid)
        self.state["first"] = [pid, started]
        self.agent.setblocking(False)
        self.selector.register(self.agent, selectors.EVENT_READ,
                               self.from_agent)
        self.selector.register(self.first, selectors.EVENT_READ,
                               self.first_ended)

    def said(self) -> str:
        try:
            text = os.read(self.log, 4096)
        except OSError:
            text = b""
        return text.decode(errors="backslashreplace").strip()

    def listen(self) -> None:
        # By descriptor: the path may be longer than an address can be.
        folder = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
        try:
            self.listener.bind("/proc/self/fd/%d/sock" % folder)
        finally:
            os.close(folder)
        os.chmod(os.path.join(self.path, "sock"), 0o600)
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ,
                               self.accept)

    # ---- the loop -----------------------------------------------------------

    def serve(self) -> None:
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.selector.register(woken, selectors.EVENT_READ,
                               lambda: os.read(woken, 512))
        while self.ending is None:
            for key, _ in self.selector.select(self.next_deadline()):
                if self.ending is None:
                    key.data()
            self.reap()
            self.look_at_clock()

    def reap(self) -> None:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pid = self.bwrap
        if pid == self.bwrap and self.ending is None:
            self.ending = "its processes ended"

    def next_deadline(self) -> Optional[float]:
        if self.state["status"] == "paused":
            return None
        times = [t for run in self.runs.values() if run.answer is None
                 for t in self.times_of(run) if t is not None]
        if not times:
            return None
        return min(LOOK_S, max(0, min(times) - time.monotonic()))

    def times_of(self, run: Run) -> List[Optional[float]]:
        """When something is to be done about one that has not ended."""
        if run.given_up is not None:
            return [run.given_up]
        return [run.deadline, None if run.started else run.start_by]

    def look_at_clock(self) -> None:
        if self.state["status"] == "paused":
            return
        now = time.monotonic()
        for run in list(self.runs.values()):
            if run.answer is not None:
                continue
            if run.given_up is not None:
                if now >= run.given_up:
                    self.ended(run, _error(
                        "not_gone", "it does not end when killed")
                        if run.started else _error(
                            "not_started", "the sandbox does not start it"))
            elif not run.started and now >= run.start_by:
                self.kill(run)
            elif run.deadline is not None and now >= run.deadline:
                run.timed_out = True
                self.kill(run)

    def kill(self, run: Run) -> None:
        run.given_up = time.monotonic() + GRACE_S
        try:
            self.to_agent({"kill": run.n})
        except Refused:
            pass  # it has ended, or is given up

    def first_ended(self) -> None:
        self.ending = "its first process ended"

    def stop(self, *_: Any) -> None:
        self.ending = "its supervisor was told to end it"

    # ---- clients ------------------------------------------------------------

    def accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        cred = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        uid = int.from_bytes(cred[4:8], sys.byteorder)
        if uid not in (0, os.getuid()):
            sock.close()
            return
        sock.setblocking(False)
        client = Client(sock)
        self.selector.register(sock, selectors.EVENT_READ,
                               lambda: self.from_client(client))

    def drop(self, client: Client) -> None:
        self.selector.unregister(client.sock)
        client.sock.close()
        run = client.run
        if run is not None and client in run.clients:
            run.clients.remove(client)
            if not run.background and run.answer is None:
                # Nobody reads what it writes.
                self.kill(run)

    def tell(self, client: Client, message: Dict[str, Any],
             fds: Optional[List[int]] = None) -> None:
        data = json.dumps(message).encode()
        try:
            if fds:
                socket.send_fds(client.sock, [data], fds)
            else:
                client.sock.send(data)
        except OSError:
            pass

    def from_client(self, client: Client) -> None:
        try:
            data, fds, flags, _ = socket.recv_fds(client.sock, PACKET_MAX, 3)
        except BlockingIOError:
            return
        except OSError:
            data, fds, flags = b"", [], 0
        if not data:
            self.drop(client)
            return
        try:
            message = json.loads(data)
            if flags & socket.MSG_TRUNC or not isinstance(message, dict):
                raise ValueError("not a request")
            self.request(client, message, fds)
        except Refused as e:
            self.tell(client, _error(e.code, str(e)))
        except (ValueError, KeyError, TypeError) as e:
            self.tell(client, _error("invalid_request", "%s" % e))
        except OSError as e:
            self.tell(client, _error("failed", "%s" % e))
        finally:
            for fd in fds:
                os.close(fd)

    def request(self, client: Client, message: Dict[str, Any],
                fds: List[int]) -> None:
        run = client.run
        if run is not None:
            if run.answer is None and message.get("kill"):
                self.kill(run)
            elif run.answer is None and "signal" in message:
                self.to_agent({"signal": run.n,
                               "number": int(message["signal"])})
            return
        operations = {"exec": self.op_exec, "attach": self.op_attach}
        op = message.get("op")
        if op in operations:
            operations[op](client, message, fds)
        elif op == "terminate":
            self.ending = "it was terminated"
            self.waiting.append(client)
        elif op == "ping":
            self.tell(client, {"done": True})
        elif op == "pause":
            self.pause()
            self.tell(client, {"done": True})
        elif op == "resume":
            self.resume()
            self.tell(client, {"done": True})
        elif op == "checkpoint":
            self.tell(client, {"done": self.checkpoint()})
        else:
            raise Refused("invalid_request", "no such operation")

    # ---- commands -----------------------------------------------------------

    def op_exec(self, client: Client, message: Dict[str, Any],
                fds: List[int]) -> None:
        if self.state["status"] == "paused":
            raise Refused("paused", "the sandbox is paused")
        background = bool(message.get("background"))
        if len(fds) != (0 if background else 3):
            raise Refused("invalid_request", "descriptors")
        argv, env = message["argv"], dict(message["env"])
        cwd, timeout = message.get("cwd"), message.get("timeout")
        if not (isinstance(argv, list) and argv and all(
                isinstance(a, str) and "\0" not in a for a in argv)):
            raise Refused("invalid_request", "argv")
        if timeout is not None and not (math.isfinite(float(timeout)) and
                                        float(timeout) >= 0):
            raise ValueError("timeout: not a number of seconds")
        run = Run(self.next_run, background,
                  None if timeout is None else float(timeout))
        give = list(fds)
        own: List[int] = []
        try:
            if background:
                own = [os.open("/dev/null", os.O_RDONLY)]
                # Of a fork there may be one of that number.
                own += self.outputs(run.n, os.O_WRONLY | os.O_APPEND |
                                    os.O_CREAT | os.O_TRUNC)
                give = own
            self.to_agent({"run": run.n, "argv": argv, "env": env,
                           "cwd": cwd}, give)
        finally:
            for fd in own:
                os.close(fd)
        self.next_run += 1
        self.runs[run.n] = run
        run.clients.append(client)
        client.run = run
        self.forget()

    def outputs(self, n: int, flags: int) -> List[int]:
        """Standard output and error of a command in the background: files on
        the sandbox's own disk."""
        fds = []
        folder = os.open("out", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW,
                         dir_fd=self.disk)
        try:
            for name in ("out", "err"):
                fds.append(os.open("%d.%s" % (n, name),
                                   flags | os.O_NOFOLLOW | os.O_CLOEXEC,
                                   0o600, dir_fd=folder))
        finally:
            os.close(folder)
        return fds

    def forget(self) -> None:
        """The oldest of what ended."""
        done = [n for n, run in self.runs.items()
                if run.answer is not None and not run.clients]
        for n in done[:max(0, len(done) - KEPT)]:
            del self.runs[n]
            for name in ("out", "err"):
                try:
                    os.unlink("out/%d.%s" % (n, name), dir_fd=self.disk)
                except OSError:
                    pass

    def op_attach(self, client: Client, message: Dict[str, Any],
                  _: List[int]) -> None:
        run = self.runs.get(message["n"])
        if run is None or not run.background:
            raise Refused("not_found", "no such command in the background")
        client.run = run
        run.clients.append(client)
        if run.started:
            self.tell_started(client, run)
        if run.answer is not None:
            self.tell(client, run.answer)

    def tell_started(self, client: Client, run: Run) -> None:
        fds = self.outputs(run.n, os.O_RDONLY) if run.background else []
        try:
            self.tell(client, {"started": run.n}, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def to_agent(self, message: Dict[str, Any],
                 fds: Optional[List[int]] = None) -> None:
        assert self.agent is not None
        data = json.dumps(message).encode()
        if len(data) > PACKET_MAX:
            raise Refused("too_long", "the command and its environment are "
                          "longer than 192 KiB")
        try:
            if fds:
                socket.send_fds(self.agent, [data], fds)
            else:
                self.agent.send(data)
        except BlockingIOError:
            raise Refused("busy", "the sandbox takes no more commands at the "
                          "moment") from None
        except OSError as e:
            raise Refused("terminated", "the sandbox ended: %s" %
                          e.strerror) from e

    def from_agent(self) -> None:
        """What the sandbox says is not trusted: it can harm its own clients
        only."""
        assert self.agent is not None
        fds: List[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(self.agent, PACKET_MAX, 16)
            if not data:
                self.ending = "its first process ended"
                return
            message = json.loads(data)
            for key in ("started", "ended", "failed"):
                if key in message:
                    self.report(key, message)
                    return
        except BlockingIOError:
            pass
        except OSError:
            self.ending = "its first process ended"
        except (ValueError, KeyError, TypeError, OverflowError,
                RecursionError):
            self.ending = "its first process sent what it should not"
        finally:
            for fd in fds:
                os.close(fd)

    def report(self, key: str, message: Dict[str, Any]) -> None:
        run = self.runs.get(int(message[key]))
        if run is None or run.answer is not None:
            return
        if key == "started":
            run.started = True
            for client in run.clients:
                self.tell_started(client, run)
        elif key == "ended":
            self.ended(run, {"ended": run.n, "status":
                             int(message["status"]) & 0xffff,
                             "timed_out": run.timed_out})
        else:
            self.ended(run, _error("not_started",
                                   str(message["why"])[:1000]))

    def ended(self, run: Run, answer: Dict[str, Any]) -> None:
        run.answer = answer
        for client in run.clients:
            self.tell(client, answer)
        if not run.background:
            del self.runs[run.n]

    # ---- pause, resume, checkpoint ------------------------------------------

    def pause(self) -> None:
        if self.state["status"] == "paused":
            return
        if self.group is None:
            raise Refused("unsupported", "to pause needs a writable cgroup "
                          "v2, which this machine has not")
        if not self.group.freeze(True):
            self.group.freeze(False)
            raise Refused("failed", "the processes cannot be frozen: one "
                          "waits in the kernel")
        self.paused_at = time.monotonic()
        self.state["status"] = "paused"
        self.save()

    def resume(self) -> None:
        if self.state["status"] != "paused" or self.group is None:
            return
        self.group.freeze(False)
        away = time.monotonic() - self.paused_at
        for run in self.runs.values():
            run.start_by += away
            if run.deadline is not None:
                run.deadline += away
            if run.given_up is not None:
                run.given_up += away
        self.state["status"] = "running"
        self.save()

    def checkpoint(self) -> Dict[str, Any]:
        """A copy of the disk, of one moment; its description."""
        whole = os.path.exists(os.path.join(self.path, _disk.FILE))
        if not whole and self.group is None:
            raise Refused("unsupported", "a checkpoint needs a loop device or "
                          "a writable cgroup v2, and this machine has neither")
        paused = self.state["status"] == "paused"
        ident = _state.new_id("cp_")
        target = os.path.join(_state.folder(), "checkpoints", ident)
        # Should this process die, who finds that thaws the disk.
        self.state["copying"] = ident
        self.save()
        frozen = False
        try:
            os.mkdir(target + ".new", 0o700)
            if not paused and self.group is not None:
                self.pause()
            if whole:
                _linux.freeze(self.disk)
                frozen = True
            _disk.copy(self.path, target + ".new")
            made = {"id": ident, "from": self.state["id"],
                    "created": time.time()}
            for key in ("image", "layers", "cpu", "memory_mib", "disk_gib"):
                made[key] = self.state[key]
            _state.write(target + ".new", made)
            os.rename(target + ".new", target)
            return made
        except BaseException:
            _disk.remove_tree(target + ".new")
            raise
        finally:
            if frozen:
                _linux.thaw(self.disk)
            if not paused:
                self.resume()
            self.state["copying"] = None
            self.save()

    # ---- end ----------------------------------------------------------------

    def finish(self, status: str, why: str) -> None:
        for fd in (self.disk, self.first, self.log):
            if fd != -1:
                os.close(fd)
        if self.bwrap != -1:
            _kill_child(self.bwrap)
        _ending.finish(self.path, self.state, status, why)

    def answer_all(self) -> None:
        """To who asked for the end, the record; to others that it came."""
        for key in list(self.selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket) and key.fileobj not in (
                    self.listener, self.agent):
                client = Client(key.fileobj)
                self.tell(client, {"done": self.state} if any(
                    w.sock is key.fileobj for w in self.waiting) else _error(
                        "terminated", "the sandbox ended: %s" % self.ending))


def _kill_child(pid: int) -> None:
    """bubblewrap, which waits for the first process; that one is killed by
    it."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ChildProcessError, ProcessLookupError):
        pass


def _hostname(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)[:63].strip(
        "-") or "sailbox"


def _detach() -> None:
    """Nobody's child, with nothing of who started it."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDWR)
    for i in (0, 1, 2):
        os.dup2(null, i)


def main(path: str, ready: int) -> None:
    """ready: a pipe, on which {} or {"error": ...} tells that it runs.  The
    lock of the folder was inherited."""
    _detach()
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and os.path.lexists("/proc/self/fd/" + name):
            os.set_inheritable(int(name), False)
    supervisor = Supervisor(path)
    # One for each client; the sandbox has what its creator had.
    most = supervisor.nofile[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, supervisor.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        supervisor.start()
    except BaseException as e:
        why = e.strerror if isinstance(e, OSError) and not e.errno else str(e)
        code = e.code if isinstance(e, SailError) else "failed"
        try:
            supervisor.finish("failed", "%s" % why)
        except (SailError, OSError) as f:
            why = "%s; then: %s" % (why, f)
        try:
            os.write(ready, json.dumps(_error(code, "%s" % why)).encode())
        except BrokenPipeError:
            pass
        return
    try:
        os.write(ready, b"{}")
    except BrokenPipeError:
        # Nobody knows of it yet.
        supervisor.ending = "its creator went before it ran"
    os.close(ready)
    try:
        supervisor.serve()
    except Exception as e:  # whatever it is: the volumes are given back
        supervisor.ending = "its supervisor failed: %r" % (e,)
    status = ("terminated" if supervisor.waiting or "told" in
              supervisor.ending else "failed")
    try:
        supervisor.finish(status, supervisor.ending)
    except (SailError, OSError) as e:
        code = e.code if isinstance(e, SailError) else "state"
        for client in supervisor.waiting:
            supervisor.tell(client, _error(code, "its end: %s" % e))
        return
    supervisor.answer_all()
