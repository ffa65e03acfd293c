# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The seccomp filter of a sandbox: a BPF program (linux/filter.h) over struct
seccomp_data (linux/seccomp.h), made by hand.

What is not named is allowed.  What is named is what a program in a container
does not need, and what in the past was a way out of one: keys, BPF, tracing of
the kernel, mounts, namespaces, modules, io_uring, userfaultfd.  ptrace(2) is
allowed: a debugger is an ordinary program, and the processes of the sandbox are
all that it can see.
"""

import errno
import platform
import struct
from typing import Dict, List, Optional, Tuple

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

RET_KILL_PROCESS = 0x80000000
RET_ERRNO = 0x00050000
RET_ALLOW = 0x7FFF0000

LD_W_ABS = 0x20
JMP_JEQ_K = 0x15
JMP_JGE_K = 0x35
JMP_JSET_K = 0x45
RET_K = 0x06

# Offsets in struct seccomp_data; both architectures are little endian.
NR, ARCH, ARGS = 0, 4, 16
X32_BIT = 0x40000000

CLONE_NEWUSER = 0x10000000
AF_ALG, AF_VSOCK = 38, 40
TIOCSTI, TIOCLINUX = 0x5412, 0x541C

# name: (number on x86_64, on aarch64); None: there is none.
_DENIED: Dict[str, Tuple[Optional[int], Optional[int]]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
    "vmsplice": (278, 75),
}
_CLONE = (56, 220)
_UNSHARE = (272, 97)
_SOCKET = (41, 198)
_IOCTL = (16, 29)
# Its flags are behind a pointer: libc falls back to clone(2) on ENOSYS.
_CLONE3 = 435

Instruction = Tuple[int, int, int, int]


def _errno(e: int) -> Instruction:
    return RET_K, 0, 0, RET_ERRNO | e


def _if_nr(nr: int, then: List[Instruction]) -> List[Instruction]:
    """then, which returns, for that call; the number is loaded after it as it
    was before."""
    return [(JMP_JEQ_K, 0, len(then), nr)] + then


def _on_argument(nr: int, which: int, code: int,
                 values: Tuple[int, ...]) -> List[Instruction]:
    """EPERM where the lower half of the argument is one of, or has a bit
    of, the values."""
    then: List[Instruction] = [(LD_W_ABS, 0, 0, ARGS + 8 * which)]
    for value in values:
        then += [(code, 0, 1, value), _errno(errno.EPERM)]
    then.append((RET_K, 0, 0, RET_ALLOW))
    return _if_nr(nr, then)


def build(machine: str) -> List[Instruction]:
    """The program for that machine (platform.machine())."""
    if machine not in AUDIT_ARCH:
        raise ValueError("no seccomp filter for %s" % machine)
    i = 0 if machine == "x86_64" else 1
    program: List[Instruction] = [
        (LD_W_ABS, 0, 0, ARCH),
        (JMP_JEQ_K, 1, 0, AUDIT_ARCH[machine]),
        (RET_K, 0, 0, RET_KILL_PROCESS),
        (LD_W_ABS, 0, 0, NR),
    ]
    if machine == "x86_64":
        program += [(JMP_JGE_K, 0, 1, X32_BIT), _errno(errno.ENOSYS)]
    program += _if_nr(_CLONE3, [_errno(errno.ENOSYS)])
    program += _on_argument(_CLONE[i], 0, JMP_JSET_K, (CLONE_NEWUSER,))
    program += _on_argument(_UNSHARE[i], 0, JMP_JSET_K, (CLONE_NEWUSER,))
    program += _on_argument(_SOCKET[i], 0, JMP_JEQ_K, (AF_ALG, AF_VSOCK))
    program += _on_argument(_IOCTL[i], 1, JMP_JEQ_K, (TIOCSTI, TIOCLINUX))
    for name in sorted(_DENIED):
        nr = _DENIED[name][i]
        if nr is not None:
            program += _if_nr(nr, [_errno(errno.EPERM)])
    program.append((RET_K, 0, 0, RET_ALLOW))
    return program


def encode(program: List[Instruction]) -> bytes:
    """An array of struct sock_filter."""
    return b"".join(struct.pack("=HBBI", *one) for one in program)


def filter_bytes() -> bytes:
    """What bwrap --seccomp reads, for this machine."""
    return encode(build(platform.machine()))
