# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Bytes to and from the store: large ones beside curl, many small ones beside
rclone and s3fs, and the first one of a very large file."""

import os
import shutil

from bench import curl, memory, peers
from bench.measure import Order, row, seconds
from sailtest import bigvolume


def _pieces(folder, count):
    """Files of 8 MiB, and none of their chunks twice."""
    os.mkdir(folder)
    for n in range(count):
        with open("%s/%04d" % (folder, n), "wb") as f:
            f.write(os.urandom(curl.OBJECT))
    return sorted(os.listdir(folder))


def _join(folder, names, path):
    with open(path, "wb") as out:
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                shutil.copyfileobj(f, out, curl.OBJECT)


@row("large", "commit 1 GiB; cold read of 1 GiB")
def large(bench, r):
    folder = bench.dir + "/pieces"
    names = _pieces(folder, bench.scaled(128, 8))
    order = Order()
    for _ in range(bench.runs):
        with bench.place() as p:
            s = p.stack()
            a = s.mount("v", "a", create=True)
            _join(folder, names, a + "/big")
            up = {"ours": lambda: seconds(s.commit, a, timeout=600),
                  "curl": lambda: curl.upload(p, s.server, folder, "curl")}
            for v in order.of(up):
                p.sync()
                r.add("commit", v, up[v]())
            b = s.add_daemon().mount("v", "b")
            os.stat(b + "/big")
            down = {
                "ours": lambda: bench.work("read", input=b + "/big\n"),
                "curl": lambda: curl.download(p, s.server, names, "curl")}
            for v in order.of(down):
                p.drop_caches()
                r.add("cold read", v, down[v]())
            r.memory = memory.Peaks(s).look()
    shutil.rmtree(folder)
    r.faster("commit", "curl", 0.9, text="of curl --parallel")
    r.faster("cold read", "curl", 0.9, text="of curl --parallel")


def _read_cold(bench, r, p, variant, top):
    paths = sorted(os.path.join(where, name)
                   for where, _, names in os.walk(top) for name in names)
    p.drop_caches()
    r.add("cold read", variant, bench.work(
        "read", input="".join(path + "\n" for path in paths)))
    return len(paths)


def _small_run(bench, r, order, files):
    with bench.place() as p:
        s = p.stack()
        a = s.mount("v", "a", create=True)
        native = p.folder("native")
        bench.work("create", native, files, 4096)
        bench.work("create", a, files, 4096)
        bucket = peers.Bucket(p, s.server, "rclone")
        up = {"ours": lambda: seconds(s.commit, a, timeout=900),
              "rclone copy": lambda: seconds(bucket.rclone_copy, native)}
        for v in order.of(up):
            p.sync()
            r.add("commit", v, up[v]())
        r.add("objects", "ours", sum(
            not key.startswith(bucket.prefix + "/") for key in s.objects()),
            "")
        down = {
            "ours": lambda: (s.add_daemon().mount("v", "b"), lambda: None),
            "rclone mount": lambda: bucket.rclone_mount("rclone"),
            "s3fs": lambda: bucket.s3fs("s3fs")}
        for v in order.of(down):
            top, end = down[v]()
            p.equal(files, _read_cold(bench, r, p, v, top), "files in " + v)
            end()
        r.memory = memory.Peaks(s).look()


@row("small", "commit 10,000 x 4 KiB; cold read of them", ("rclone", "s3fs"))
def small(bench, r):
    files, order = bench.scaled(10000, 200), Order()
    for _ in range(bench.runs):
        _small_run(bench, r, order, files)
    r.check("objects", "objects in the store", 12,
            r.median("objects", "ours"), at_least=False)
    r.faster("commit", "rclone copy", 20)
    r.faster("cold read", "rclone mount", 20)
    r.faster("cold read", "s3fs", 20)


@row("first-byte", "first byte of a cold 10 GiB file")
def first_byte(bench, r):
    size = bench.scaled(10 << 30, 2 << 30)
    chunk = 1 << bigvolume.shift_of(size)
    with bench.place() as p:
        s = p.stack(proxied=True)
        bigvolume.BigVolume(bigvolume.Api(s.server.url, s.server.key),
                            "v").big_file("big", size)
        peaks = memory.Peaks(s)
        for n in range(bench.runs):
            d = s.add_daemon()
            path = d.mount("v", "b%d" % n) + "/big"
            p.equal(size, os.stat(path).st_size, "size")
            p.drop_caches()
            s.api.reset()
            s.store.reset()
            r.add("first byte", "ours", seconds(_first, path))
            r.add("to the server", "ours", s.api.count(), "requests")
            r.add("to the store", "ours", s.store.count(), "requests")
            r.add("from the store", "ours",
                  s.store.bytes("^GET ") / chunk, "chunks")
            r.memory = peaks.look(d)
            d.stop()
    r.check("to the server", "round trips", 2,
            r.median("to the server", "ours"), at_least=False)
    r.check("from the store", "chunks", 1.01,
            r.median("from the store", "ours"), at_least=False)


def _first(path):
    with open(path, "rb", buffering=0) as f:
        if len(f.read(1)) != 1:
            raise OSError("nothing to read")
