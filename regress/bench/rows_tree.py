# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A tree of 100,000 clean files, looked at: what is warm brings no request."""

import os
import subprocess

from bench import memory
from bench.measure import Order, row, seconds
from bench.requests import Requests, in_words
from sailtest import bigvolume


FIRST = 50      # git opens some files of its own, however large the tree is


def _quiet(argv, cwd):
    subprocess.run(argv, cwd=cwd, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL,
                   env=dict(os.environ, GIT_OPTIONAL_LOCKS="0", LC_ALL="C"))


def _git(top, *args):
    _quiet(["git", "-c", "gc.auto=0", "-c", "user.name=x",
            "-c", "user.email=x@x", *args], top)


def _trees(bench, p, files):
    """{variant: the same tree}, with a git repository of it."""
    s = p.stack()
    volume = bigvolume.BigVolume(
        bigvolume.Api(s.server.url, s.server.key), "v")
    volume.tree("t", files)
    ours = s.mount("v", "a") + "/t"
    native = p.path("native")
    p.run(["cp", "-a", ours, native], timeout=1800)
    _git(native, "init", "-q")
    _git(native, "add", "-A")
    _git(native, "commit", "-q", "-m", "all")
    _git(native, "repack", "-a", "-d", "-q")
    _git(native, "prune-packed", "-q")
    p.run(["cp", "-a", native + "/.git", ours], timeout=600)
    s.commit(os.path.dirname(ours), timeout=600)
    s.reload(os.path.dirname(ours))
    for top in native, ours:
        _git(top, "update-index", "-q", "--refresh")
    return s, {"native": native, "ours": ours}


def _works(bench, p, trees):
    lists = {v: "\n".join(
        os.path.join(where, name) for where, _, names in os.walk(top)
        if "/.git" not in where for name in names) + "\n"
        for v, top in trees.items()}
    return {
        "stat": lambda v: bench.work("stat", input=lists[v]),
        "find": lambda v: seconds(_quiet, ["find", "."], trees[v]),
        "find -size": lambda v: seconds(
            _quiet, ["find", ".", "-size", "+100M"], trees[v]),
        "git status": lambda v: seconds(
            _git, trees[v], "status", "--porcelain")}


@row("tree", "stat, find, git status of 100,000 warm files; ls -lR, cold")
def tree(bench, r):
    files = bench.scaled(100000, 2000)
    with bench.place() as p:
        s, trees = _trees(bench, p, files)
        order = Order()
        for v, top in trees.items():
            for _ in range(2):
                _quiet(["ls", "-lR"], top)
        for work, function in _works(bench, p, trees).items():
            for v in trees:
                function(v)     # now all of it is warm
            for _ in range(bench.runs):
                for v in order.of(trees):
                    asked = Requests(s.daemon)
                    r.add(work, v, function(v))
                    if v == "ours":
                        found = asked.since()
                        r.add(work + " requests", v, sum(found.values()), "")
            r.note("requests a file, %s: %s" % (work, in_words(found, files)))
        for _ in range(bench.runs):
            for v in order.of(trees):
                p.drop_caches()
                asked = Requests(s.daemon)
                r.add("ls -lR cold", v, seconds(_quiet, ["ls", "-lR"],
                                                trees[v]))
                if v == "ours":
                    found = asked.since()
                    r.add("ls -lR cold requests", v, sum(found.values()), "")
        r.note("requests a file, ls -lR cold: " + in_words(found, files))
        r.memory = memory.Peaks(s).look()
    for work, goal in (("stat", 0.8), ("find", 0.9), ("find -size", 0.9),
                       ("git status", 0.9), ("ls -lR cold", 0.5)):
        r.faster(work, "native", goal, text="of native")
        if work != "ls -lR cold":
            asked = r.median(work + " requests", "ours")
            r.check(work, "requests for each 1,000 files, after the first %d"
                    % FIRST, 1, max(0, asked - FIRST) * 1000 / files,
                    at_least=False)
