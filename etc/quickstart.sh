#!/bin/sh
# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
# usage: quickstart.sh [up | down]
# A server and a daemon on loopback, with everything they have under ./run of
# the tree that they were built in; nothing in /etc is touched.
set -eu

cd "$(dirname "$0")/.."
top=$(pwd -P)
# A test has a folder of its own.
run=${SAIL_RUN:-$top/run}
ctl=$top/sailvolctl/sailvolctl
sock=$run/sailvold.sock
users=62000

say() {
	echo "quickstart: $*"
}

die() {
	echo "quickstart: $*" >&2
	for log in "$run/sailapid.log" "$run/sailvold.log"; do
		[ ! -s "$log" ] || { echo "--- $log" >&2; tail -n 15 "$log" >&2; }
	done
	exit 1
}

# The pid of a program that runs, or nothing.
running() {
	pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
	exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 0
	# A new build has taken the old one's place.
	[ "${exe% (deleted)}" != "$top/$1/$1" ] || echo "$pid"
}

# until SECONDS WHAT COMMAND...: tries until it succeeds.
until_done() {
	n=$(($1 * 10)) what=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ "$n" -gt 0 ] || die "$what"
		sleep 0.1
	done
}

gone() {
	[ -z "$(running "$1")" ]
}

# In front of which nothing is asked of a file system: it may be dead.
mounted() {
	awk '{ print $5 }' /proc/self/mountinfo | grep -qxF "$1"
}

mounts() {
	awk -v top="$run/" 'index($5, top) == 1 { print $5 }' \
	    /proc/self/mountinfo | sort -r
}

start() {
	[ -z "$(running "$1")" ] || return 0
	say "starts $1, which logs to run/$1.log"
	setsid "$top/$1/$1" -d -f "$run/$1.conf" </dev/null \
	    >>"$run/$1.log" 2>&1 &
}

configure_server() {
	cat >"$run/sailapid.conf" <<EOF
listen on 127.0.0.1 port 0 port file "$run/api.port"
database "$run/server/db"
store "$run/server/objects"
pid file "$run/sailapid.pid"
users from $users
EOF
}

configure_daemon() {
	cat >"$run/sailvold.conf" <<EOF
api "http://127.0.0.1:$(cat "$run/api.port")" {
	key file "$run/key"
}
state "$run/state"
cache "$run/cache" size 1G
control "$sock"
pid file "$run/sailvold.pid"
users from $((users + 10))
EOF
}

admin() {
	"$top/sailapid/sailapid" -f "$run/sailapid.conf" "$@"
}

start_server() {
	configure_server
	if [ ! -s "$run/key" ]; then
		say "makes the organisation \"quickstart\" and its key, run/key"
		# One that was interrupted has made the organisation already.
		(umask 077 && { admin init quickstart 2>/dev/null ||
		    admin key create quickstart admin; } >"$run/key.new") ||
		    die "the organisation could not be made"
		mv "$run/key.new" "$run/key"
	fi
	[ -n "$(running sailapid)" ] || rm -f "$run/api.port"
	start sailapid
	until_done 20 "sailapid does not start" test -s "$run/api.port"
	until_done 20 "sailapid does not answer" "$ctl" -k "$run/key" \
	    -u "http://127.0.0.1:$(cat "$run/api.port")" volume list
}

start_daemon() {
	configure_daemon
	# One that runs hears where the server is now.
	pid=$(running sailvold)
	[ -z "$pid" ] || kill -HUP "$pid"
	start sailvold
	until_done 20 "sailvold does not start" "$ctl" -s "$sock" status
}

# A daemon that was started again takes its mounts up by itself.
mount_at() {
	mkdir -p "$run/$1" 2>/dev/null || true
	n=50
	until mounted "$run/$1" ||
	    why=$("$ctl" -s "$sock" mount --create demo "$run/$1" 2>&1); do
		n=$((n - 1))
		[ "$n" -gt 0 ] || die "run/$1 could not be mounted: $why"
		sleep 0.2
	done
}

show() {
	say "writes run/a/hello.txt"
	echo "hello from a, $(date '+%Y-%m-%d %H:%M:%S')" >"$run/a/hello.txt"
	id=$("$ctl" commit -m "quickstart" "$run/a") || die "commit"
	say "sailvolctl commit run/a      printed $id"
	id=$("$ctl" reload "$run/b") || die "reload"
	say "sailvolctl reload run/b      printed $id"
	say "cat run/b/hello.txt          shows: $(cat "$run/b/hello.txt")"
	cmp -s "$run/a/hello.txt" "$run/b/hello.txt" ||
	    die "run/a and run/b differ"
	cat <<EOF

One volume, "demo", is mounted at run/a and run/b.  Go on:

    PATH=$top/sailvolctl:\$PATH
    export SAILVOLD_SOCKET=$sock
    cp -a /usr/include run/a
    sailvolctl commit run/a
    sailvolctl reload run/b && ls run/b
    sailvolctl status
    sailvolctl log demo
    man -l man/sailvolctl.8

"make quickstart-down" ends it; "rm -r run" then removes what it stored.
EOF
}

up() {
	[ "$(id -u)" = 0 ] || die "must be run by root: it mounts"
	[ -e /dev/fuse ] || modprobe fuse 2>/dev/null ||
	    die "no /dev/fuse: load the kernel's module fuse, or give the container the device"
	mkdir -p "$run"
	start_server
	start_daemon
	mount_at a
	mount_at b
	show
}

stop() {
	pid=$(running "$1")
	[ -n "$pid" ] || return 0
	say "ends $1"
	kill "$pid" 2>/dev/null || true
	until_done 30 "$1 (pid $pid) does not end" gone "$1"
	rm -f "$run/$1.pid"
}

down() {
	[ -d "$run" ] || return 0
	if [ -n "$(running sailvold)" ]; then
		for path in $(mounts); do
			"$ctl" -s "$sock" umount --force "$path" || true
		done
	fi
	stop sailvold
	for path in $(mounts); do
		umount -l "$path" || true
	done
	stop sailapid
	rm -f "$sock" "$run/api.port"
	[ -z "$(mounts)" ] || die "still mounted: $(mounts)"
	say "ended; what it stored is in run"
}

case ${1:-up} in
up) up ;;
down) down ;;
*)
	echo "usage: quickstart.sh [up | down]" >&2
	exit 2
	;;
esac
