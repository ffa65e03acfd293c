# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Many small files made, unpacked, installed and removed: ours beside native,
bindfs and fuse-overlayfs, these also with processors kept awake for them."""

import io
import json
import os
import random
import shutil
import subprocess
import tarfile

from bench import memory, peers
from bench.measure import Order, row, seconds
from bench.place import awake, how_awake
from bench.requests import Requests, in_words
from sailtest import bigvolume

VARIANTS = ("native", "bindfs", "bindfs awake", "fuse-overlayfs",
            "fuse-overlayfs awake", "ours")
PACKAGES, PACKAGE_FILES = 20, 100


def _members(files, seed):
    """(name, content) of a tree of small files in some directories."""
    rng = random.Random(seed)
    content = [c.data for part, c in bigvolume.contents() if part < 0.9]
    for n in range(files):
        yield "lib/p%02d/q%d/%s-%d.js" % (
            n // 50, n // 12 % 4, bigvolume.WORDS[n % 97], n), rng.choice(
                content)


def _add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), 1600000000, 0o644
    tar.addfile(info, io.BytesIO(data))


def _archive(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in _members(files, 1):
            _add(tar, "tree/" + name, data)
    return path


def _packages(top, files):
    """A project that depends on packages in archives beside it."""
    os.makedirs(top)
    needs = {}
    for n in range(PACKAGES):
        name = "package-%02d" % n
        with tarfile.open("%s/%s.tgz" % (top, name), "w:gz") as tar:
            _add(tar, "package/package.json", json.dumps(
                {"name": name, "version": "1.0.0"}).encode())
            for member, data in _members(files, n):
                _add(tar, "package/" + member, data)
        needs[name] = "file:%s/%s.tgz" % (top, name)
    with open(top + "/package.json", "w", encoding="ascii") as f:
        json.dump({"name": "x", "version": "1.0.0", "dependencies": needs}, f)
    return top + "/package.json"


def _npm(project, top, cache):
    os.mkdir(top)
    shutil.copy(project, top)
    subprocess.run(
        ["npm", "install", "--offline", "--no-audit", "--no-fund",
         "--ignore-scripts", "--no-package-lock", "--loglevel=error"],
        cwd=top, check=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=dict(os.environ, npm_config_cache=cache,
                 npm_config_update_notifier="false", HOME=cache))


class Work:
    def __init__(self, bench):
        self.bench = bench
        self.files = bench.scaled(10000, 500)
        self.tar = _archive(bench.dir + "/tree.tar", bench.scaled(5000, 500))
        self.project = _packages(bench.dir + "/packages",
                                 bench.scaled(PACKAGE_FILES, 10))

        packages = bench.scaled(PACKAGE_FILES, 10) * PACKAGES
        tarred = bench.scaled(5000, 500)
        self.counts = {"create": self.files, "unpack": tarred,
                       "npm install": packages,
                       "rm -r": self.files + tarred + packages}

    def create(self, top):
        os.mkdir(top + "/create")
        return self.bench.work("create", top + "/create", self.files, 4096)

    def unpack(self, top):
        return seconds(subprocess.run, ["tar", "-xf", self.tar, "-C", top],
                       check=True)

    def npm(self, top):
        return seconds(_npm, self.project, top + "/npm",
                       self.bench.dir + "/npm-cache")

    def remove(self, top):
        return seconds(subprocess.run, ["rm", "-r", top], check=True)

    def end(self):
        os.unlink(self.tar)
        shutil.rmtree(self.bench.dir + "/packages")
        shutil.rmtree(self.bench.dir + "/npm-cache", ignore_errors=True)


def _one_run(bench, r, work, order):
    """{work: requests that ours got}"""
    asked_for = {}
    with bench.place() as p:
        s = p.stack()
        top = {"native": p.folder("native"), "bindfs": peers.bindfs(p),
               "fuse-overlayfs": peers.fuse_overlayfs(p),
               "ours": s.mount("v", "a", create=True)}
        for v in VARIANTS:
            os.mkdir("%s/%s" % (top[v.split()[0]], v.replace(" ", "-")))
        # What is removed is removed when nothing will be made any more.
        for what in ("create", "unpack", "npm install", "rm -r"):
            function = {"create": work.create, "unpack": work.unpack,
                        "npm install": work.npm, "rm -r": work.remove}[what]
            for v in order.of(VARIANTS):
                p.sync()
                asked = Requests(s.daemon)
                with awake(v.endswith("awake")):
                    r.add(what, v, function("%s/%s" % (
                        top[v.split()[0]], v.replace(" ", "-"))))
                if v == "ours":
                    asked_for[what] = asked.since()
        r.memory = memory.Peaks(s).look()
    return asked_for


@row("write", "create 10,000 files of 4 KiB; unpack a tar; npm install; rm -r",
     ("bindfs", "fuse-overlayfs", "npm"))
def write(bench, r):
    work, order = Work(bench), Order()
    try:
        # npm's own cache is warm from the beginning.
        with bench.place() as p:
            work.npm(p.dir)
        for _ in range(bench.runs):
            asked_for = _one_run(bench, r, work, order)
        for what, found in asked_for.items():
            r.note("requests a file, %s: %s" % (what, in_words(
                found, work.counts[what])))
    finally:
        work.end()
    r.note("awake, for the others: " + how_awake())
    for what in ("create", "unpack", "npm install", "rm -r"):
        for peer in ("bindfs", "fuse-overlayfs"):
            r.faster(what, peer, 4)
            r.faster(what, peer + " awake", 1)
        r.faster(what, "native", 0.25, text="of native (0.3 to aim at)")
