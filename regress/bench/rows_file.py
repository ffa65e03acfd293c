# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""One large warm file, read and written: a local one (of the overlay) and a
clean one (of the cache) beside a native one."""

import os

from bench import memory
from bench.measure import Order, row

BLOCK = 1 << 20


def _file(path, size):
    block = os.urandom(BLOCK)
    with open(path, "wb") as f:
        for i in range(size // BLOCK):
            f.write(i.to_bytes(8, "little") + block[8:])
        f.flush()
        os.fsync(f.fileno())


def _files(bench, p):
    """{variant: path}; all of them warm."""
    size = bench.scaled(1 << 30, 16 << 20)
    s = p.stack()
    a = s.mount("v", "a", create=True)
    _file(a + "/clean", size)
    s.commit(a, timeout=600)
    s.reload(a)
    paths = {"native": p.path("native"), "ours": a + "/own",
             "ours, clean": a + "/clean"}
    _file(paths["native"], size)
    _file(paths["ours"], size)
    for path in paths.values():
        bench.work("seqread", path)
        bench.work("seqread", path)
    return s, paths


def _measure(bench, r, works):
    with bench.place() as p:
        s, paths = _files(bench, p)
        order = Order()
        for _ in range(bench.runs):
            for work, (argv, variants) in works.items():
                for v in order.of(variants):
                    p.sync()
                    r.add(work, v, bench.work(argv[0], paths[v], *argv[1:]))
        r.memory = memory.Peaks(s).look()


READERS, WRITERS = ("native", "ours", "ours, clean"), ("native", "ours")


@row("sequential", "a warm 1 GiB file, sequential, 1 MiB at a time")
def sequential(bench, r):
    _measure(bench, r, {"read": (("seqread",), READERS),
                        "write": (("seqwrite",), WRITERS)})
    r.faster("read", "native", 0.95)
    r.faster("read", "native", 0.95, "ours, clean", "clean file, of native")
    r.faster("write", "native", 0.95)


@row("random", "the same file, 4 KiB at random places")
def random_places(bench, r):
    count = bench.scaled(200000, 5000)
    _measure(bench, r, {"read": (("randread", count), READERS),
                        "write": (("randwrite", count), WRITERS)})
    r.faster("read", "native", 0.8)
    r.faster("read", "native", 0.8, "ours, clean", "clean file, of native")
    r.faster("write", "native", 0.7)
