#!/usr/bin/python3
# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Finds what is too long or not KNF in C files.

usage: lengths.py FILE ...

A function over 100 lines, a file over 1,000, a return type on the line of its
function's name, a file without the licence line.  Prints file:line: finding.
"""

import re
import sys

MAX_FUNCTION = 100
MAX_FILE = 1000
LICENCE = "The Sail Volumes developers; ISC licence, see LICENSE."
NAME = re.compile(r"^(.*?)(\w+)\(")


def header(lines, brace):
    """Index of the line with the name of the function whose body begins at
    lines[brace]; None: not a function (a table, a struct)."""
    i = brace - 1
    while i >= 0 and lines[i] and (lines[i][0] in " \t" or
                                   lines[i].startswith(")")):
        i -= 1
    if i < 0 or "(" not in lines[i] or lines[i].startswith("#"):
        return None
    return i


def check(path, lines):
    if LICENCE not in "".join(lines[:3]):
        yield 1, "no licence line"
    if len(lines) > MAX_FILE:
        yield 1, "%d lines, over %d" % (len(lines), MAX_FILE)
    if path.endswith(".y"):
        return
    start = None
    for i, line in enumerate(lines):
        if line.rstrip() == "{":
            start = header(lines, i)
            if start is None:
                continue
            m = NAME.match(lines[start])
            if m and m[1].strip() and not m[1].startswith("__attribute__"):
                yield start + 1, "%s: return type is not on its own line" % (
                    m[2])
        elif start is not None and line.rstrip() == "}":
            m = NAME.match(lines[start])
            if i - start + 1 > MAX_FUNCTION:
                yield start + 1, "%s: %d lines, over %d" % (
                    m[2], i - start + 1, MAX_FUNCTION)
            start = None
        elif re.match(r"^(static |const |unsigned )*\w[\w ]*[ *]\w+\(.*\) ?\{",
                      line):
            yield i + 1, "function not in KNF"


def main(paths):
    found = 0
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        for number, text in check(path, lines):
            print("%s:%d: %s" % (path, number, text))
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
