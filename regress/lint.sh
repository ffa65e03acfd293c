#!/bin/sh
# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
# Style, lengths, banned calls, manual pages and scripts; lists every finding
# and ends with 1 if there was one.
set -u
cd "$(dirname "$0")/.." || exit 1

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
status=0

# What is in the tree, without what is built.
list() {
	find . \( -name .git -o -name 'obj*' -o -path ./run -o -name venv \
	    -o -name node_modules \) -prune -o -type f "$@" -print |
	    sed 's|^\./||' | LC_ALL=C sort
}

# finding NAME FILE: shows what a check wrote.
finding() {
	[ -s "$2" ] || return 0
	echo "== $1"
	cat "$2"
	status=1
}

list \( -name '*.c' -o -name '*.h' \) >"$tmp/c"
list \( -name '*.c' -o -name '*.h' -o -name '*.y' \) >"$tmp/cy"
list -name '*.py' >"$tmp/py"
list \( -path './man/*.[1-9]' -o -path './imsg/*.3' \) >"$tmp/man"
list | while read -r f; do
	case $f in
	*.sh) echo "$f" ;;
	*.*) ;;
	*) read -r first <"$f" && [ "$first" = '#!/bin/sh' ] && echo "$f" ;;
	esac 2>/dev/null
done >"$tmp/sh"
echo .ci/run >>"$tmp/sh"
LC_ALL=C sort -u -o "$tmp/sh" "$tmp/sh"

# The slow one goes on beside the others.
mkdir -p obj/cppcheck
xargs cppcheck --quiet -j 2 --std=c11 --language=c --max-configs=1 \
    --enable=warning,performance,portability --inline-suppr \
    --suppressions-list=regress/lint/cppcheck.supp \
    --cppcheck-build-dir=obj/cppcheck -I. --include=/usr/include/bsd/sys/queue.h \
    --include=/usr/include/bsd/sys/tree.h -D_GNU_SOURCE -D__linux__ \
    --template='{file}:{line}: {id}: {message}' \
    <"$tmp/c" >"$tmp/cppcheck.out" 2>&1 &
cppcheck=$!

# One line a place is more than anybody reads: files, and how many places.
xargs clang-format --dry-run -Werror <"$tmp/c" 2>&1 |
    sed -n 's/^\([^:]*\):\([0-9]*\):.*\[-Wclang-format-violations\].*/\1 \2/p' |
    awk '{ n[$1]++; if (!($1 in first) || $2 + 0 < first[$1]) first[$1] = $2 + 0 }
	END { for (f in n) printf "%s:%d: %d places: clang-format -i %s\n", f, first[f], n[f], f }' |
    LC_ALL=C sort >"$tmp/format.out"
finding clang-format "$tmp/format.out"

xargs /usr/bin/python3 regress/lint/lengths.py <"$tmp/cy" >"$tmp/lengths.out"
finding lengths "$tmp/lengths.out"

# A name in a comment is followed by its section: strcpy(3).  strnvis: lib/shown.h.
xargs grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|alloca|atoi|atol|atoll|strtok|strnvis)\(($|[^0-9]|[0-9][^)])' \
    <"$tmp/cy" /dev/null >"$tmp/banned.out"
finding 'banned calls' "$tmp/banned.out"

xargs grep -nwE 'TODO|FIXME|XXX' <"$tmp/cy" /dev/null >"$tmp/words.out"
xargs grep -nwE '(#|""").*(TODO|FIXME|XXX)' <"$tmp/py" /dev/null >>"$tmp/words.out"
finding 'unfinished' "$tmp/words.out"

# SQL is what db*.c know, and nobody else.
grep -v -e '/db[^/]*$' -e '^regress/' "$tmp/cy" | xargs grep -nE 'sqlite3|SQLITE_|"(SELECT|INSERT|UPDATE|DELETE FROM) ' \
    /dev/null >"$tmp/sql.out"
finding 'SQL outside of db' "$tmp/sql.out"

if [ -s "$tmp/man" ]; then
	xargs mandoc -T lint -W warning <"$tmp/man" >"$tmp/man.out" 2>&1
	finding mandoc "$tmp/man.out"
fi

xargs shellcheck -f gcc <"$tmp/sh" >"$tmp/sh.out" 2>&1
finding shellcheck "$tmp/sh.out"

PYTHONPYCACHEPREFIX=$tmp/pycache xargs /usr/bin/python3 -m py_compile \
    <"$tmp/py" >"$tmp/py.out" 2>&1
finding python "$tmp/py.out"

wait "$cppcheck"
finding cppcheck "$tmp/cppcheck.out"

[ "$status" = 0 ] && echo "lint: nothing found"
exit "$status"
