# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What curl moves in parallel to and from the embedded store, with signed URLs
and objects of 8 MiB: the ceiling."""

import os
import time

OBJECT = 8 << 20
PARALLEL = 8


def _run(place, config):
    path = place.write("curl.conf", config)
    start = time.monotonic()
    place.run(["curl", "--no-progress-meter", "--fail", "--parallel",
               "--parallel-max", PARALLEL, "--parallel-immediate",
               "-K", path], timeout=600)
    return time.monotonic() - start


def upload(place, server, folder, prefix):
    """Seconds for all files of a folder; the store checks their hashes, as it
    does with ours."""
    config = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        with open(path, "rb") as f:
            headers = server.s3.upload_headers(f.read())
        target = server.s3.presign("PUT", "%s/%s" % (prefix, name), headers)
        del headers["content-length"]   # curl's own, the same
        config += ['url = "http://%s%s"' % (server.s3.host, target),
                   'upload-file = "%s"' % path, 'output = "/dev/null"',
                   'header = "Expect:"']
        config += ['header = "%s: %s"' % h for h in headers.items()]
        config.append("next")
    return _run(place, "\n".join(config[:-1]) + "\n")


def download(place, server, names, prefix):
    config = []
    for name in names:
        target = server.s3.presign("GET", "%s/%s" % (prefix, name))
        config += ['url = "http://%s%s"' % (server.s3.host, target),
                   'output = "/dev/null"', "next"]
    return _run(place, "\n".join(config[:-1]) + "\n")
