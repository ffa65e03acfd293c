# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Process 1 of a sandbox: starts commands that the supervisor asks for, and
takes in orphans.  It is read from its standard input by the sandbox's own
python3, so that it uses nothing but the standard library.

Messages are JSON, one a packet, on a socket whose number is its argument.  To
it: {"run": n, "argv", "cwd", "env"} with three descriptors, {"signal": n,
"number"}, {"kill": n}.  From it: {"ready": true}, {"started": n}, {"ended": n,
"status"}, where status is that of wait(2), and {"failed": n, "why"}.

Each command has a runner between it and this process, which is the reaper of
all that the command starts: so the whole tree below it can be found and killed,
whatever sessions its processes made.  qemu-user refuses the prctl(2) for it;
there all that the command starts carries a mark, in a limit that they inherit
and that limits nothing.
"""

import ctypes
import errno
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
from typing import Any, Dict, List, Set

PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PACKET_MAX = 192 * 1024
SPARE = 16  # descriptors
# What a runner tells: one of these, and a number.
_ENDED, _FAILED, _FORKED = 0, 1, 2
_RECORD = struct.Struct("=ii")
# RLIMIT_RTTIME, in microseconds, of the command n is _MARK + n: never reached.
_RLIMIT_RTTIME = 15
_MARK = 1 << 62


def _prctl(option: int, value: int) -> bool:
    return ctypes.CDLL(None).prctl(
        option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0),
        ctypes.c_ulong(0)) == 0


def _all_signals(action: signal.Handlers) -> None:
    for sig in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(sig, action)
        except OSError:
            # One of those that qemu-user keeps for itself.
            pass


class Command:
    """A command that runs: its runner, and the pipe on which that tells of it.
    Before it is forked there is nothing to kill yet."""

    def __init__(self, n: int, runner: int, report: int) -> None:
        self.n = n
        self.runner = runner
        self.report = report
        self.forked = False
        self.killed = False


# ---- in the runner and the command -----------------------------------------

def _become(message: Dict[str, Any], fds: List[int], tell: int) -> None:
    """The command itself: does not come back."""
    try:
        os.setsid()
        for i, fd in enumerate(fds):
            os.dup2(fd, i)
        os.closerange(3, tell)
        os.closerange(tell + 1, 4096)
        os.set_inheritable(tell, False)
        _all_signals(signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        cwd = message.get("cwd") or "/root"
        try:
            os.chdir(cwd)
        except OSError:
            if message.get("cwd"):
                raise
            os.chdir("/")
        os.execvpe(message["argv"][0], message["argv"], message["env"])
    except OSError as e:
        os.write(tell, _RECORD.pack(_FAILED, e.errno or errno.EIO))
    except BaseException:
        os.write(tell, _RECORD.pack(_FAILED, errno.EINVAL))
    os._exit(127)


def _runner(message: Dict[str, Any], fds: List[int], tell: int) -> None:
    """Between process 1 and the command: does not come back."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if not _prctl(PR_SET_CHILD_SUBREAPER, 1):
            mark = _MARK + message["run"]
            resource.setrlimit(_RLIMIT_RTTIME, (mark, mark))
        child = os.fork()
        if child == 0:
            _become(message, fds, tell)
        os.write(tell, _RECORD.pack(_FORKED, 0))
        for fd in fds:
            os.close(fd)
        while True:
            pid, status = os.wait()
            if pid == child:
                os.write(tell, _RECORD.pack(_ENDED, status))
                break
    finally:
        os._exit(0)


# ---- the trees of processes -------------------------------------------------

def _parents() -> Dict[int, int]:
    """{pid: its parent} of all processes."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as f:
                text = f.read()
            found[int(name)] = int(text.rsplit(b")", 1)[1].split()[1])
        except (OSError, ValueError, IndexError):
            pass
    return found


def _marked(n: int) -> Set[int]:
    """All that carry the mark of that command."""
    found = set()
    want = b"%d" % (_MARK + n)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/limits" % name, "rb") as f:
                if want in f.read().split():
                    found.add(int(name))
        except OSError:
            pass
    return found


def _below(top: int, n: int) -> Set[int]:
    """All that the command n, whose runner is top, started."""
    parents = _parents()
    found = {top} | _marked(n)
    grew = True
    while grew:
        more = {p for p, up in parents.items() if up in found} - found
        found |= more
        grew = bool(more)
    return found - {top}


def _send(pids: Set[int], sig: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, sig)
        except OSError:
            pass


def _kill_below(top: int, n: int) -> None:
    """All of the command: held first, so that none makes new ones meanwhile."""
    held: Set[int] = set()
    while True:
        new = _below(top, n) - held
        if not new:
            break
        _send(new, signal.SIGSTOP)
        held |= new
    _send(held, signal.SIGKILL)


# ---- process 1 --------------------------------------------------------------

class Agent:
    def __init__(self, fd: int) -> None:
        self.sock = socket.socket(fileno=fd)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.sock, selectors.EVENT_READ, self.hear)
        self.commands: Dict[int, Command] = {}
        self.most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE
        # A child that ends wakes the loop, which reaps.
        self.woken, wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.woken, selectors.EVENT_READ, self.reap)

    def tell(self, message: Dict[str, Any]) -> None:
        self.sock.send(json.dumps(message).encode())

    def run(self) -> None:
        self.tell({"ready": True})
        while True:
            for key, _ in self.selector.select():
                if isinstance(key.data, Command):
                    self.reported(key.data)
                else:
                    key.data()

    def reap(self) -> None:
        try:
            os.read(self.woken, 4096)
        except BlockingIOError:
            pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            pass

    def hear(self) -> None:
        data, fds, _, _ = socket.recv_fds(self.sock, PACKET_MAX, 3)
        if not data:
            # The supervisor is gone: all ends with this process.
            sys.exit(0)
        try:
            message = json.loads(data)
            if "run" in message:
                self.start(message, fds)
            elif "signal" in message:
                self.signal(message["signal"], message["number"])
            elif "kill" in message:
                self.kill(message["kill"])
        finally:
            for fd in fds:
                os.close(fd)

    def start(self, message: Dict[str, Any], fds: List[int]) -> None:
        n = message["run"]
        made: List[int] = []
        try:
            made.extend(os.pipe())
            # Some are kept for what comes after: to look at /proc, say.
            if len(fds) != 3 or max(made) >= self.most:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            runner = os.fork()
        except OSError as e:
            for fd in made:
                os.close(fd)
            self.tell({"failed": n, "why": e.strerror})
            return
        report, tell = made
        if runner == 0:
            os.close(report)
            self.sock.close()
            _runner(message, fds, tell)
        os.close(tell)
        command = Command(n, runner, report)
        self.commands[n] = command
        self.selector.register(report, selectors.EVENT_READ, command)

    def reported(self, command: Command) -> None:
        data = os.read(command.report, _RECORD.size)
        if len(data) == _RECORD.size and _RECORD.unpack(data)[0] == _FORKED:
            command.forked = True
            self.tell({"started": command.n})
            if command.killed:
                _kill_below(command.runner, command.n)
            return
        self.selector.unregister(command.report)
        os.close(command.report)
        del self.commands[command.n]
        if len(data) < _RECORD.size:
            self.tell({"failed": command.n,
                       "why": "its processes were killed together with what "
                       "watched over them"})
            return
        kind, value = _RECORD.unpack(data)
        if kind == _FAILED:
            self.tell({"failed": command.n, "why": os.strerror(value)})
        else:
            self.tell({"ended": command.n, "status": value})

    def signal(self, n: int, number: int) -> None:
        """To the first process of the command and its group."""
        command = self.commands.get(n)
        if command is None:
            return
        parents = _parents()
        for pid in [p for p, up in parents.items() if up == command.runner]:
            try:
                # Only its own: what it left behind is another session.
                if os.getpgid(pid) == pid:
                    os.killpg(pid, number)
            except OSError:
                pass

    def kill(self, n: int) -> None:
        command = self.commands.get(n)
        if command is not None:
            command.killed = True
            if command.forked:
                _kill_below(command.runner, command.n)


def main() -> None:
    fd = int(sys.argv[1])
    null = os.open("/dev/null", os.O_RDONLY)
    for i in (0, 1, 2):
        os.dup2(null, i)
    # bubblewrap leaves some of its own.
    os.closerange(3, fd)
    os.closerange(fd + 1, 4096)
    _prctl(PR_SET_DUMPABLE, 0)
    # Nobody inside interrupts it.  The kernel sees to that for a process 1
    # without handlers; but qemu-user has some, and would die.
    _all_signals(signal.SIG_IGN)
    Agent(fd).run()


if __name__ == "__main__":
    main()
