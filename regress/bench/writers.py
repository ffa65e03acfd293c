# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""64 writers of one volume, as clients of the API and as mounts of a daemon;
every commit must be in."""

import os
import sys
import threading
import time

from bench import memory
from sailtest import bigvolume

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "..", "python"))

import sail  # noqa: E402

WRITERS = 64
PROCESSES = 4   # of API clients: one interpreter would be the limit


def _api_writer(url, key, number, each):
    api = bigvolume.Api(url, key)
    for n in range(each):
        path = b"w%02d-%d" % (number, n)
        delta = bigvolume.Delta()
        delta.file(path, 0o644, 1600000000, number * 100000 + n + 2,
                   bigvolume.flat_chunks(0, []))
        session = "/v1/volumes/api/sessions/" + os.urandom(16).hex()
        api.call("PUT", session, {})
        api.raw("POST", session + "/commit", bytes(delta.encode()),
                bigvolume.BINARY)
    api.close()


def _threads(function, arguments):
    """Runs all at once; the first error of any is raised."""
    errors = []

    def one(args):
        try:
            function(*args)
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(a,)) for a in arguments]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def _check(p, s, volume, commits):
    status, shown = s.server.call("GET", "/v1/volumes/" + volume)
    p.equal((200, commits, commits), (status, shown["number"],
                                      shown["files"]),
            "commits and files of " + volume)


def by_api(p, s, each):
    """Commits a second."""
    s.server.call("POST", "/v1/volumes", {"name": "api"})
    start = time.monotonic()
    pids = []
    for k in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _threads(_api_writer, [
                    (s.server.url, s.server.key, number, each)
                    for number in range(k, WRITERS, PROCESSES)])
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    p.equal([0] * PROCESSES, [os.waitpid(pid, 0)[1] for pid in pids],
            "writers")
    took = time.monotonic() - start
    _check(p, s, "api", WRITERS * each)
    return WRITERS * each / took


def _mount_writer(path, number, each):
    volume = sail.Volume.from_mount(path)
    for n in range(each):
        with open("%s/w%02d-%d" % (path, number, n), "xb") as f:
            f.write(b"%d of %d" % (n, number))
        volume.commit()


def by_mounts(p, s, each):
    """Commits a second, and peaks of memory."""
    paths = [s.mount("mounts", "w%02d" % n, create=True)
             for n in range(WRITERS)]
    start = time.monotonic()
    _threads(_mount_writer, [(path, n, each)
                             for n, path in enumerate(paths)])
    took = time.monotonic() - start
    _check(p, s, "mounts", WRITERS * each)
    return WRITERS * each / took, memory.Peaks(s).look()
