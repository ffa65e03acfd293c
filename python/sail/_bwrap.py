# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""From a sandbox's folder to its first process: a user namespace, a mount
namespace with the root in it, and bubblewrap, which makes the rest.

bubblewrap is started as the first of the sandbox's own ids, which owns the
user namespace: it never has a privilege on the machine.  It finds what it binds
below /tmp, on a tmpfs of a mount namespace of its own: nobody else sees it, and
it goes with the last process.
"""

import array
import os
import re
import resource
import shutil
import signal
import socket
import stat
from typing import Any, Dict, List, Set, Tuple

from sail import _cgroup, _disk, _linux, _seccomp

IDS = 65536
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETUID",
                "SETGID")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROCESSES = 4096
SHM_BYTES = 64 << 20
_RLIMIT_RTTIME = 15
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_SET_SECUREBITS = 28
_PR_SET_PDEATHSIG = 1
_PLAIN = _linux.MOUNT_ATTR_NOSUID | _linux.MOUNT_ATTR_NODEV


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def make_userns(first: int) -> int:
    """A user namespace in which first..first+65535 are 0..65535, owned by
    first, in which no other can be made; as a descriptor."""
    told, tell = os.pipe()
    hear, answer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(told)
            os.close(answer)
            # Without a cgroup it is what bounds a fork bomb; a user namespace
            # keeps the limit that it was made with.
            resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
            _become(first)
            _linux.unshare(_linux.CLONE_NEWUSER)
            os.write(tell, b"u")
            if os.read(hear, 1) == b"m":
                # Nothing that would have to be imported: what Python is made
                # of may be for root alone, in /root, say.
                fd = os.open("/proc/sys/user/max_user_namespaces",
                             os.O_WRONLY)
                os.write(fd, b"0")
                os.write(tell, b"d")
                os.read(hear, 1)
        finally:
            os._exit(1)
    os.close(tell)
    os.close(hear)
    try:
        if os.read(told, 1) != b"u":
            raise OSError(0, "the kernel makes no user namespace")
        for name in ("gid_map", "uid_map"):
            with open("/proc/%d/%s" % (child, name), "w",
                      encoding="ascii") as f:
                f.write("0 %d %d\n" % (first, IDS))
        fd = os.open("/proc/%d/ns/user" % child, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.write(answer, b"m")
            if os.read(told, 1) != b"d":
                raise OSError(0, "user namespaces in the sandbox cannot be "
                              "turned off")
        except BaseException:
            os.close(fd)
            raise
        return fd
    finally:
        os.close(told)
        os.close(answer)
        os.waitpid(child, 0)


# ---- in the child that becomes bubblewrap -----------------------------------

def _needed() -> List[str]:
    """What this process and bubblewrap still open of the machine."""
    found = ["/proc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc",
             os.path.dirname(os.__file__)]
    found += ["/dev/" + name for name in (
        "null", "zero", "full", "random", "urandom", "tty")]
    program = shutil.which("bwrap", path=PATH)
    if program is not None:
        found.append(program)
    return found + [os.path.realpath(p) for p in found]


def _is_needed(point: str, needed: List[str]) -> bool:
    """What hides a part of /proc stays as well."""
    return point == "/" or point.startswith("/proc/") or any(
        p == point or p.startswith(point + "/") for p in needed)


def _hide_mounts() -> None:
    """Copies of the machine's other mounts would keep them alive beyond their
    umount, and their devices busy."""
    needed = _needed()
    points = []
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as f:
        for line in f:
            point = re.sub(r"\\([0-7]{3})",
                           lambda m: chr(int(m.group(1), 8)),
                           line.split()[4])
            if not _is_needed(point, needed):
                points.append(point)
    for point in reversed(points):
        try:
            _linux.umount(point, _linux.MNT_DETACH)
        except OSError:
            pass


def _idmapped(fd: int, userns: int, attributes: int) -> int:
    _linux.mount_setattr(
        fd, attributes | _PLAIN | _linux.MOUNT_ATTR_IDMAP, userns)
    return fd


def _volume(point: str) -> int:
    """The volume's mount as a descriptor.  sailvold in another mount namespace
    would have it there, and here there would be the folder below."""
    fd = _linux.open_tree(-100, point)
    if os.fstat(fd).st_dev == os.stat(os.path.dirname(point)).st_dev:
        os.close(fd)
        raise OSError(0, "a volume is not mounted where the sandbox is made: "
                      "sailvold runs in another mount namespace")
    return fd


def _root(spec: Dict[str, Any], userns: int, tell: socket.socket) -> None:
    """/tmp/root and /tmp/volumes/N, in a mount namespace of this process."""
    first, path = spec["uids"], spec["folder"]
    _linux.unshare(_linux.CLONE_NEWNS)
    _linux.mount(None, "/", None, _linux.MS_REC | _linux.MS_PRIVATE)
    layers = [_idmapped(_linux.open_tree(-100, layer), userns,
                        _linux.MOUNT_ATTR_RDONLY) for layer in spec["layers"]]
    volumes = [_volume(v["point"]) for v in spec["volumes"]]
    folder, loop = -1, -1
    if os.path.exists(os.path.join(path, _disk.FILE)):
        device, loop = _linux.loop_open(os.path.join(path, _disk.FILE))
    else:
        folder = _linux.open_tree(-100, os.path.join(path, _disk.FOLDER))
    _hide_mounts()
    flags = _linux.MS_NOSUID | _linux.MS_NODEV
    _linux.mount("tmpfs", "/tmp", "tmpfs", flags, "mode=711,size=1m")
    os.umask(0o022)
    for name in ("image", "plain", "disk", "root", "volumes"):
        os.mkdir("/tmp/" + name)
    for i, fd in enumerate(layers):
        os.mkdir("/tmp/image/%d" % i)
        _linux.move_mount(fd, "/tmp/image/%d" % i)
    if loop != -1:
        _linux.mount(device, "/tmp/plain", "ext4", flags)
        os.close(loop)
        _disk.complete("/tmp/plain")
        folder = _linux.open_tree(-100, "/tmp/plain")
    else:
        _linux.move_mount(_linux.open_tree(folder), "/tmp/plain")
    disk = os.open("/tmp/plain", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    tell.sendmsg([b"disk"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                              array.array("i", [disk]).tobytes())])
    os.close(disk)
    _linux.move_mount(_idmapped(folder, userns, 0), "/tmp/disk")
    _mount_overlay(first, flags, len(layers))
    for path in ["/proc", "/dev"] + [v["path"] for v in spec["volumes"]]:
        _check_way("/tmp/root", path)
    for i, fd in enumerate(volumes):
        os.mkdir("/tmp/volumes/%d" % i)
        _linux.move_mount(fd, "/tmp/volumes/%d" % i)


def _check_way(root: str, path: str) -> None:
    """That no symbolic link is on the way, which who had the files before (a
    fork's) may have made: bubblewrap would follow it out of the root."""
    at = root
    for part in path.split("/")[1:]:
        at = os.path.join(at, part)
        try:
            mode = os.lstat(at).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            raise OSError(0, "%s: %s is not a directory in the image" % (
                path, at[len(root):]))


def _mount_overlay(first: int, flags: int, layers: int) -> None:
    """overlayfs makes its files as who mounted it: an id that the layers have,
    with the capabilities of root."""
    _linux.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    _linux.setfsids(first, first)
    try:
        _linux.mount("overlay", "/tmp/root", "overlay", flags,
                     "lowerdir=%s,upperdir=/tmp/disk/upper,"
                     "workdir=/tmp/disk/work" % ":".join(
                         "/tmp/image/%d" % i for i in range(layers)))
    finally:
        _linux.setfsids(0, 0)
        _linux.prctl(_PR_SET_SECUREBITS, 0)


def arguments(spec: Dict[str, Any], userns: int, seccomp: int, info: int,
              agent: int) -> List[str]:
    """The command line of bubblewrap."""
    args = ["bwrap", "--userns", str(userns), "--unshare-ipc",
            "--unshare-pid", "--unshare-net", "--unshare-uts",
            "--unshare-cgroup", "--hostname", spec["hostname"],
            "--new-session", "--die-with-parent", "--as-pid-1", "--bind",
            "/tmp/root", "/", "--proc", "/proc", "--dev", "/dev", "--perms",
            "1777", "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm",
            "--remount-ro", "/dev"]
    for i, volume in enumerate(spec["volumes"]):
        args += ["--bind", "/tmp/volumes/%d" % i, volume["path"]]
    for name in CAPABILITIES:
        args += ["--cap-add", "CAP_" + name]
    args += ["--seccomp", str(seccomp), "--info-fd", str(info), "--clearenv",
             "--setenv", "PATH", PATH, "--chdir", "/",
             "/usr/bin/python3", "-I", "-S", "-", str(agent)]
    return args


def _inherit(wanted: Set[int]) -> None:
    """These descriptors, and no other, go through the exec: all others would
    be in the hands of the sandbox."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            os.set_inheritable(fd, fd in wanted)
        except OSError:
            # That of the listing.
            pass


def _child(spec: Dict[str, Any], userns: int, agent: socket.socket,
           tell: socket.socket, info: int, log: int) -> None:
    _linux.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if spec["cgroup"]:
        _cgroup.Group(spec["cgroup"]).enter()
    # Before what is below /tmp is hidden.
    code = os.open(os.path.join(os.path.dirname(__file__), "_agent.py"),
                   os.O_RDONLY | os.O_CLOEXEC)
    _root(spec, userns, tell)
    program = os.memfd_create("seccomp", 0)
    os.write(program, _seccomp.filter_bytes())
    os.lseek(program, 0, os.SEEK_SET)
    os.dup2(code, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _inherit({0, 1, 2, userns, agent.fileno(), info, program})
    os.chdir("/")
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, spec["nofile"])
    # The agent marks commands by it; a service may have it lowered.
    resource.setrlimit(_RLIMIT_RTTIME, (resource.RLIM_INFINITY,) * 2)
    _become(spec["uids"])
    os.execvpe("bwrap", arguments(spec, userns, program, info,
                                  agent.fileno()), {"PATH": PATH})


def start(spec: Dict[str, Any], log: int) -> Tuple[int, socket.socket, int,
                                                   int]:
    """(pid of bubblewrap, socket to the agent, descriptor on which bubblewrap
    tells the pid of the first process, the disk as a descriptor).

    spec: folder, layers (of the image), uids, hostname, volumes [{point, path}],
    nofile (a limit) and cgroup (or "").
    """
    userns = make_userns(spec["uids"])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    hear, tell = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told, info = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for sig in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(sig, signal.SIG_DFL)
            _child(spec, userns, theirs, tell, info, log)
        except BaseException as e:
            why = e.strerror if isinstance(e, OSError) and not e.errno else e
            tell.send(str(why).encode()[:2000] or b"failed")
        finally:
            os._exit(1)
    for s in (theirs, tell):
        s.close()
    os.close(info)
    os.close(userns)
    try:
        data, fds, _, _ = socket.recv_fds(hear, 2048, 1)
        # Closed by the exec that succeeds.
        more = hear.recv(2048) if data == b"disk" and fds else data
        if more:
            for fd in fds:
                os.close(fd)
            raise OSError(0, more.decode(errors="backslashreplace"))
        if not fds:
            raise OSError(0, "the root was not made")
        return child, ours, told, fds[0]
    except BaseException:
        ours.close()
        os.close(told)
        os.waitpid(child, 0)
        raise
    finally:
        hear.close()
