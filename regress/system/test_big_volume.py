# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The generator of big volumes: what it says it publishes is what a mount
shows, the same for the same seed, and its files share a few objects."""

import os
import stat

from sailtest import bigvolume, stack

FILES, NAMES, BIG = 3000, 5000, 24 << 20


def fill(s, name):
    volume = bigvolume.BigVolume(
        bigvolume.Api(s.server.url, s.server.key), name)
    results = [volume.tree("tree", FILES), volume.wide("wide", NAMES),
               volume.big_file("big", BIG)]
    return volume, results


def test_generator(t):
    """Counts, sizes and content as told; two volumes of a seed are equal."""
    s = stack.Stack(t)
    volume, results = fill(s, "one")
    fill(s, "two")
    t.equal([1, 2, 3], [r["number"] for r in results], "commits")
    status, shown = s.server.call("GET", "/v1/volumes/one")
    t.equal((200, FILES + NAMES + 1), (status, shown["files"]), "files")
    contents = {c.hash for _, c in bigvolume.contents()}
    # No chunk is shared by two families.
    t.true(len(s.objects()) <= 2 * (len(contents) + 1), "objects: %d" %
           len(s.objects()))
    a, b = s.mount("one", "a"), s.mount("two", "b")
    got = stack.look(a)
    regular = {p: i for p, i in got.items() if stat.S_ISREG(i["type"])}
    t.equal(FILES, sum(p.startswith(b"tree/") for p in regular), "tree")
    t.equal(NAMES, len(os.listdir(a + "/wide")), "wide")
    t.equal(BIG, regular[b"./big"]["size"], "the big file")
    t.true({bytes.fromhex(i["sha256"]) for p, i in regular.items()
            if p != b"./big"} <= contents, "content is what was made")
    depths = {p.count(b"/") for p in regular}
    t.true(len(depths) > 4, "depths of the tree: %s" % depths)
    t.equal(shown["bytes"], sum(i["size"] for i in regular.values()), "bytes")
    stack.same(t, got, stack.look(b), "two volumes of one seed")


def test_command(t):
    """The command line does the same, and prints the commit's id."""
    s = stack.Stack(t)
    t.write("key", s.server.key + "\n", 0o600)
    argv = ["/usr/bin/python3", os.path.join(t.repo, "regress",
                                             "big-volume.py"),
            "-u", s.server.url, "-k", t.path("key")]
    for kind, number in (("tree", 200), ("wide", 300)):
        ident = t.run(argv + ["v", kind, number]).stdout.strip()
        t.equal(ident, s.server.call("GET", "/v1/volumes/v")[1]["head"],
                "head after " + kind)
    t.equal(500, s.server.call("GET", "/v1/volumes/v")[1]["files"], "files")
    t.run(argv + ["v", "heap", 1], ok=2)
