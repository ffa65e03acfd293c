# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What must not depend on how large a volume is, how much memory it takes, and
many writers of one volume."""

import os
import subprocess
import time

from bench import memory, writers
from bench.measure import Order, row, seconds
from sailtest import bigvolume

MIB = 1024      # KiB
FURTHER = 20


def _volumes(bench, s, wanted):
    """Fills volumes: {name: (kind, number)}."""
    api = bigvolume.Api(s.server.url, s.server.key)
    took = {}
    for name, (kind, number) in wanted.items():
        volume = bigvolume.BigVolume(api, name)
        took[name] = seconds(getattr(volume, kind), "t", number)
    api.close()
    return took


def _some_file(top):
    """A file some directories below."""
    while True:
        with os.scandir(top) as entries:
            entries = sorted(entries, key=lambda e: e.name)
        below = [e for e in entries if e.is_dir(follow_symlinks=False)]
        files = [e for e in entries if e.is_file(follow_symlinks=False)]
        if files and (not below or "/t/" in top):
            return files[0].path
        top = below[0].path


def _round_trip(s):
    return seconds(s.server.call, "GET", "/v1/whoami")


@row("scale", "mount, reload of one change, commit of one file; "
     "10 thousand and 1 million files")
def scale(bench, r):
    small = bench.scaled(10000, 1000)
    large = bench.scaled(1000000, 10000)
    wanted = {"small": ("tree", small), "large": ("tree", large),
              "wide": ("wide", large)}
    with bench.place() as p:
        s = p.stack()
        took = _volumes(bench, s, wanted)
        r.note("generated: " + ", ".join(
            "%s %d in %.1f s" % (v, wanted[v][1], took[v]) for v in wanted))
        reader = s.add_daemon()
        readers = {v: reader.mount(v, "reader-" + v) for v in wanted}
        changed = {v: os.path.relpath(_some_file(readers[v]), readers[v])
                   for v in wanted}
        order, peaks = Order(), memory.Peaks(s)
        for n in range(bench.runs):
            for v in order.of(wanted):
                r.add("round trip", "whoami", _round_trip(s))
                d = s.add_daemon()
                _one_volume(r, s, d, v, readers[v], changed[v], n)
                r.memory = peaks.look(reader, d)
                d.stop()
    trip = r.median("round trip", "whoami")
    for work in ("mount", "commit", "reload"):
        for v in wanted:
            r.check(work, "%s: more than a round trip" % v, 0.05,
                    r.median(work, v) - trip, at_least=False, unit="s")
        for v in ("large", "wide"):
            r.check(work, "%s of small (equal within noise)" % v, 1.3,
                    r.ratio(work, v, "small"), at_least=False)


def _one_volume(r, s, d, v, reader, changed, n):
    where = "%s-%d" % (v, n)
    start = time.monotonic()
    a = d.mount(v, where)
    r.add("mount", v, time.monotonic() - start)
    with open(os.path.join(a, changed), "w", encoding="ascii") as f:
        f.write("%d of %s" % (n, v))
    r.add("commit", v, seconds(s.commit, a))
    with open(os.path.join(reader, changed), "rb") as f:
        f.read()
    r.add("reload", v, seconds(s.reload, reader))
    with open(os.path.join(reader, changed), encoding="ascii") as f:
        s.t.equal("%d of %s" % (n, v), f.read(), "the file after reload")


@row("memory", "resident memory of all processes of the daemon")
def resident(bench, r):
    with bench.place() as p:
        s = p.stack()
        files = bench.scaled(1000000, 10000)
        _volumes(bench, s, {"large": ("tree", files)})
        peaks = memory.Peaks(s)
        for n in range(bench.runs if bench.scale < 0.5 else 1):
            d = s.daemon if n == 0 else s.add_daemon()
            a = d.mount("large", "large%d" % n)
            _both(r, "idle", d)
            found = subprocess.run(["find", a], stdout=subprocess.PIPE,
                                   check=True).stdout.count(b"\n")
            p.true(found > files, "find: %d" % found)
            _both(r, "after find", d)
            roles = memory.by_role(d)
            before = memory.now(d)
            for i in range(FURTHER):
                d.mount("further%d" % i, "further%d-%d" % (n, i), create=True)
            r.add("each further", "Pss", (memory.now(d) - before) / FURTHER
                  / MIB, "MiB")
            r.memory = peaks.look(d)
            d.stop()
    r.note("after find, MiB by role: " + ", ".join(
        "%s %.1f" % (k, v / MIB) for k, v in sorted(roles.items())))
    for work, goal in (("idle", 48), ("after find", 128),
                       ("each further", 4)):
        r.check(work, "MiB, shared pages counted once (Pss)", goal,
                r.median(work, "Pss"), at_least=False, unit="MiB")


def _both(r, work, daemon):
    for field in ("Pss", "Rss"):
        r.add(work, field, memory.now(daemon, field) / MIB, "MiB")


@row("writers", "64 writers committing different paths of one volume")
def many_writers(bench, r):
    each = bench.scaled(20, 3)
    for _ in range(bench.runs):
        with bench.place() as p:
            s = p.stack()
            r.add("by the API", "ours", writers.by_api(p, s, each),
                  "commits/s")
            rate, r.memory = writers.by_mounts(p, s, each)
            r.add("by 64 mounts", "ours", rate, "commits/s")
    for work in ("by the API", "by 64 mounts"):
        r.check(work, "commits a second", 200, r.median(work, "ours"))
