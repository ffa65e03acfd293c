# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Images: what a sandbox's root begins as.

An image is a Debian root, made once by mmdebstrap(1) from the machine's own
apt sources, with python3, below a thin layer with this package.  Both are kept
read-only in images/KEY below the state folder (or in $SAIL_IMAGES), where KEY
is a hash of all that it is made of, and shared by the sandboxes that use them.
"""

import fcntl
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from typing import Any, Dict, List, Optional, Tuple

from sail import _disk, _linux, _state
from sail.errors import SailboxCreationError

# Raise it when what is made of the same input becomes another.
FORM = 1
PACKAGES = ("python3",)
_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_MACHINE_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_QEMU = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
_BINFMT = "/proc/sys/fs/binfmt_misc"
_ETC = {"hostname": b"sailbox\n", "resolv.conf": b"",
        "hosts": b"127.0.0.1 localhost sailbox\n::1 localhost\n"}
_NEW = "new."
_NO_SOURCES = "the machine's apt sources name no release of Debian"


def machine_kind() -> str:
    """amd64 or arm64: what this machine is."""
    machine = platform.machine()
    if machine not in _MACHINE_NAMES:
        raise SailboxCreationError("no image for a machine of kind %s" %
                                   machine, "client", "machine")
    return _MACHINE_NAMES[machine]


# ---- the machine's apt sources ----------------------------------------------

def _paragraphs(text: str) -> List[Dict[str, str]]:
    """Those of a deb822 file; a field that goes on is kept with its lines."""
    found: List[Dict[str, str]] = []
    for block in re.split(r"\n[ \t]*\n", text):
        fields: Dict[str, str] = {}
        last = ""
        for line in block.split("\n"):
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and last:
                fields[last] += "\n" + line
            elif ":" in line:
                last, _, value = line.partition(":")
                last = last.strip().lower()
                fields[last] = value.strip()
        if fields:
            found.append(fields)
    return found


def _codename(os_release: str) -> str:
    try:
        with open(os_release, encoding="utf-8") as f:
            found = dict(line.rstrip().partition("=")[::2] for line in f
                         if "=" in line)
    except OSError:
        found = {}
    if found.get("ID") == "debian" and found.get("VERSION_CODENAME"):
        return found["VERSION_CODENAME"].strip('"')
    return ""


def _is_of(suite: str, codename: str) -> bool:
    return bool(codename) and suite in (
        codename, codename + "-updates", codename + "-security")


def sources(etc: str = "/etc") -> Tuple[str, List[str]]:
    """(release, lines of sources.list(5)) of the machine: those of Debian
    itself, not what else was added to it."""
    codename = _codename(os.path.join(etc, "os-release"))
    lines: List[str] = []
    names = [os.path.join(etc, "apt/sources.list")]
    names += sorted(glob.glob(os.path.join(etc, "apt/sources.list.d/*.list")))
    for name in names:
        try:
            with open(name, encoding="utf-8") as f:
                text = f.read()
        except OSError:
            continue
        for line in text.split("\n"):
            m = re.match(r"deb\s+(\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)",
                         line.strip())
            if m and _is_of(m.group(3), codename) and "main" in m.group(4):
                lines.append("deb %s%s %s main" % (
                    m.group(1) or "", m.group(2), m.group(3)))
    for name in sorted(glob.glob(os.path.join(
            etc, "apt/sources.list.d/*.sources"))):
        try:
            with open(name, encoding="utf-8") as f:
                text = f.read()
        except OSError:
            continue
        for p in _paragraphs(text):
            lines += _lines_of(p, codename)
    return codename, lines


def _lines_of(p: Dict[str, str], codename: str) -> List[str]:
    if ("deb" not in p.get("types", "").split() or
            "main" not in p.get("components", "").split() or
            p.get("enabled", "yes").lower() == "no"):
        return []
    signed = p.get("signed-by", "")
    option = ""
    if signed.startswith("/") and len(signed.split()) == 1:
        option = "[signed-by=%s] " % signed
    return ["deb %s%s %s main" % (option, uri, suite)
            for uri in p.get("uris", "").split()
            for suite in p.get("suites", "").split()
            if _is_of(suite, codename)]


# ---- the other kind of machine ----------------------------------------------

def _not_emulated(qemu: str) -> str:
    """"" or why that emulator does not run a program of an image."""
    text = ""
    for name in ("status", qemu):
        path = os.path.join(_BINFMT, name)
        try:
            with open(path, encoding="ascii") as f:
                text = f.read()
        except OSError:
            return "%s is not registered in %s" % (qemu, _BINFMT)
        if not text.startswith("enabled"):
            return "%s: it is disabled" % path
    # F: the interpreter was opened when it was registered, so that it need not
    # be in the image.
    if not re.search(r"^flags: .*F", text, re.M):
        return "%s is registered without the flag F (fix binary)" % path
    return ""


# ---- an image ---------------------------------------------------------------

def _package_files() -> Dict[str, bytes]:
    """This package, as it goes into an image."""
    found = {}
    for name in sorted(os.listdir(_PACKAGE)):
        if name.endswith(".py") or name == "py.typed":
            with open(os.path.join(_PACKAGE, name), "rb") as f:
                found[name] = f.read()
    return found


class Image:
    """What a sandbox's root begins as; see Image.debian."""

    # Set below the class.
    debian: "Image"
    debian_amd64: "Image"
    debian_arm64: "Image"

    def __init__(self, name: str, kind: Optional[str] = None) -> None:
        self.name = name
        self._kind = kind

    def __repr__(self) -> str:
        return "<sail.Image %s>" % self.name

    @property
    def kind(self) -> str:
        """amd64 or arm64."""
        return self._kind or machine_kind()

    def ensure(self) -> List[str]:
        """The folders that lie above one another as the root, the upper one
        first; the first time they are made, which takes minutes."""
        self.check_runs()
        codename, lines = sources()
        if not lines:
            raise SailboxCreationError(
                "%s: %s" % (self.name, _NO_SOURCES), "client", "no_sources")
        files = _package_files()
        top = os.environ.get("SAIL_IMAGES") or os.path.join(
            _state.folder(), "images")
        layer = os.path.join(top, "sail-" + _key(
            [FORM, {k: v.decode() for k, v in files.items()}]))
        base = os.path.join(top, "%s-%s" % (self.kind, _key(
            [FORM, codename, lines, PACKAGES])))
        try:
            os.makedirs(top, 0o700, exist_ok=True)
            # One maker at a time; it is let go by the end of the process too.
            with open(os.path.join(top, "lock"), "w", encoding="ascii",
                      opener=lambda p, flags: os.open(p, flags, 0o600)) as lock:
                if not (os.path.isdir(base) and os.path.isdir(layer)):
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    for left in glob.glob(os.path.join(glob.escape(top),
                                                       _NEW + "*")):
                        # Of a maker that was killed.
                        _disk.remove_tree(left)
                    self._make_base(base, codename, lines)
                    self._make_layer(layer, files)
        except OSError as e:
            raise SailboxCreationError("%s: %s" % (self.name, e), "client",
                                       "image") from e
        return [os.path.join(layer, "root"), os.path.join(base, "root")]

    def check_runs(self) -> None:
        """That programs of its kind run on this machine."""
        if self.kind == machine_kind():
            return
        why = _not_emulated(_QEMU[self.kind])
        if why:
            raise SailboxCreationError(
                "%s does not run on this machine, which is %s: %s; install "
                "qemu-user-static, and binfmt-support where systemd does not "
                "register it" % (self.name, machine_kind(), why), "client",
                "no_emulator")

    def _make_base(self, base: str, codename: str, lines: List[str]) -> None:
        """Debian, without this package, which may change more often."""
        if os.path.isdir(base):
            return
        if shutil.which("mmdebstrap") is None:
            raise SailboxCreationError(
                "%s: mmdebstrap is not installed" % self.name, "client",
                "no_mmdebstrap")
        new = tempfile.mkdtemp(prefix=_NEW, dir=os.path.dirname(base))
        try:
            root = os.path.join(new, "root")
            done = subprocess.run(
                # What runs the other kind was looked for in check_runs.
                ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
                 "--format=directory", "--architectures=" + self.kind,
                 "--skip=check/qemu",
                 "--include=" + ",".join(PACKAGES)] + _proxies() +
                [codename, root, "-"], input="\n".join(lines) + "\n",
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="backslashreplace", check=False)
            if done.returncode != 0:
                raise SailboxCreationError(
                    "%s: mmdebstrap failed: %s" % (
                        self.name, done.stdout.strip()[-2000:]), "client",
                    "mmdebstrap")
            _name(new, base)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _make_layer(self, layer: str, files: Dict[str, bytes]) -> None:
        if os.path.isdir(layer):
            return
        new = tempfile.mkdtemp(prefix=_NEW, dir=os.path.dirname(layer))
        try:
            below = "root/usr/lib/python3/dist-packages/sail/"
            for name, data in files.items():
                _put(os.path.join(new, below + name), data)
            for name, text in _ETC.items():
                _put(os.path.join(new, "root/etc", name), text)
            _name(new, layer)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _name(new: str, path: str) -> None:
    """What is whole, also after a loss of power, gets its name."""
    fd = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _linux.syncfs(fd)
    finally:
        os.close(fd)
    os.rename(new, path)


def _key(what: Any) -> str:
    return hashlib.sha256(json.dumps(
        what, sort_keys=True).encode()).hexdigest()[:32]


def _put(path: str, data: bytes) -> None:
    """A file for all to read, and the folders above it."""
    folders = []
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folders.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(folders):
        os.mkdir(folder)
        os.chmod(folder, 0o755)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o644)


def _proxies() -> List[str]:
    """The machine's apt may reach the mirror through a proxy."""
    try:
        text = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True,
                              check=False).stdout
    except OSError:
        return []
    return ["--aptopt=" + line for line in text.split("\n")
            if re.match(r'Acquire::(https?::)?(Proxy|Retries)\S* "[^"]*";$',
                        line, re.I)]


Image.debian = Image("sail.Image.debian")
Image.debian_amd64 = Image("sail.Image.debian_amd64", "amd64")
Image.debian_arm64 = Image("sail.Image.debian_arm64", "arm64")


def check_runs(name: str) -> None:
    """That programs of the image of that name run on this machine."""
    for image in (Image.debian_amd64, Image.debian_arm64):
        if image.name == name:
            image.check_runs()
