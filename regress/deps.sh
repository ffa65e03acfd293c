#!/bin/sh
# Installs the Debian packages that build, tests and lint need, or with the word
# bench those that make bench measures beside ours; does nothing when all are
# there.
set -eu

PKGS="gcc libc6-dev make pkg-config bison libfuse3-dev fuse3 libevent-dev
libcurl4-openssl-dev libexpat1-dev libssl-dev libtls-dev openssl libsqlite3-dev libseccomp-dev libjansson-dev
libmicrohttpd-dev libbsd-dev libcmocka-dev mandoc shellcheck clang-format
clang libclang-rt-dev llvm clang-tidy cppcheck valgrind bubblewrap python3 python3-venv
git rsync curl sqlite3
systemd vim-tiny attr patch strace bash zsh fish mmdebstrap e2fsprogs
radosgw ceph-mon ceph-osd patchelf qemu-user-static"
# Another source's Node.js may be there already, which Debian's npm refuses.
command -v npm >/dev/null 2>&1 || PKGS="$PKGS npm"
[ "${1-}" != bench ] || PKGS="bindfs fuse-overlayfs rclone s3fs"

missing=
for p in $PKGS; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null |
	    grep -q '^install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "make deps: not root; missing packages:$missing" >&2
	exit 1
fi
echo "make deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing >/dev/null 2>&1 || {
	apt-get -q update -o DPkg::Lock::Timeout=600
	apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing
}
