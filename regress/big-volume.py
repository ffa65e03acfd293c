#!/usr/bin/python3
# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Fills a volume of a server with very many names, or very large files.

usage: big-volume.py -u URL -k KEYFILE [-s SEED] VOLUME KIND NUMBER [PATH]

KIND is tree (NUMBER files, as in real trees), wide (one directory of NUMBER
names) or file (one of NUMBER GiB, all the same chunk).  The id of the commit
is printed.  The same seed gives the same names.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from sailtest import bigvolume  # noqa: E402


def main():
    p = argparse.ArgumentParser(prog="big-volume.py")
    p.add_argument("-u", required=True, help="URL of the server")
    p.add_argument("-k", required=True, help="file with an API key")
    p.add_argument("-s", type=int, default=1, help="seed")
    p.add_argument("volume")
    p.add_argument("kind", choices=("tree", "wide", "file"))
    p.add_argument("number", type=int)
    p.add_argument("path", nargs="?")
    args = p.parse_args()
    with open(args.k, encoding="ascii") as f:
        key = f.read().strip()
    volume = bigvolume.BigVolume(bigvolume.Api(args.u, key), args.volume,
                                 args.s)
    path = args.path or args.kind
    if args.kind == "tree":
        result = volume.tree(path, args.number)
    elif args.kind == "wide":
        result = volume.wide(path, args.number)
    else:
        result = volume.big_file(path, args.number << 30)
    print(result["commit"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
