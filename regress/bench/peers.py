# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The others: bindfs and fuse-overlayfs over a folder; rclone and s3fs over a
bucket of the embedded store."""

import os
import subprocess


def _mounted(place, process, path, what):
    def up():
        if process.poll() is not None:
            place.fail("%s ended with status %d" % (what, process.returncode))
        return os.path.ismount(path)
    place.wait_for(up, what + " is mounted")
    return path


def bindfs(place, name="bindfs"):
    below, point = place.folder(name + ".below"), place.folder(name)
    p = place.spawn(["bindfs", "-f", below, point], name + ".log")
    return _mounted(place, p, point, "bindfs")


def fuse_overlayfs(place, name="fuse-overlayfs"):
    parts = {k: place.folder("%s.%s" % (name, k))
             for k in ("lower", "upper", "work")}
    point = place.folder(name)
    p = place.spawn(
        ["fuse-overlayfs", "-f", "-o",
         "lowerdir=%(lower)s,upperdir=%(upper)s,workdir=%(work)s" % parts,
         point], name + ".log")
    return _mounted(place, p, point, "fuse-overlayfs")


class Bucket:
    """A prefix of the embedded store's bucket, as rclone and s3fs see it."""

    def __init__(self, place, server, prefix):
        self.place, self.prefix = place, prefix
        self.url = "http://127.0.0.1:%d" % server.store_port
        self.access, self.secret = server.read("objects.key").split()

    def rclone_env(self):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("AWS_", "RCLONE_"))}
        env.update({
            "RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_R_TYPE": "s3",
            "RCLONE_CONFIG_R_PROVIDER": "Other",
            "RCLONE_CONFIG_R_ACCESS_KEY_ID": self.access,
            "RCLONE_CONFIG_R_SECRET_ACCESS_KEY": self.secret,
            "RCLONE_CONFIG_R_ENDPOINT": self.url,
            "RCLONE_CONFIG_R_REGION": "us-east-1",
            "RCLONE_S3_LIST_VERSION": "2",
            "RCLONE_S3_FORCE_PATH_STYLE": "true",
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
            # The embedded store has no uploads in parts.
            "RCLONE_S3_UPLOAD_CUTOFF": "4G",
            "HOME": self.place.dir})
        return env

    def rclone_copy(self, folder, *args):
        done = subprocess.run(
            ["rclone", "copy", "--transfers", "16", *args, folder,
             "r:sail/" + self.prefix], env=self.rclone_env(), check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            self.place.fail("rclone copy: %s" % done.stdout[-2000:])

    def rclone_mount(self, name):
        """(mount point, function that ends it)"""
        point = self.place.folder(name)
        env = self.rclone_env()
        env["RCLONE_CACHE_DIR"] = point + ".cache"
        with open(self.place.path(name + ".log"), "ab") as log:
            p = subprocess.Popen(
                ["rclone", "mount", "--read-only", "r:sail/" + self.prefix,
                 point], env=env, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        self.place.processes.append(p)
        return _mounted(self.place, p, point, "rclone mount"), \
            lambda: self._end(p, point)

    def s3fs(self, name):
        point = self.place.folder(name)
        words = self.place.write(name + ".passwd", "%s:%s\n" % (
            self.access, self.secret), 0o600)
        p = self.place.spawn(
            ["s3fs", "sail:/" + self.prefix, point, "-f", "-o",
             "url=%s,use_path_request_style,passwd_file=%s,listobjectsv2,"
             "nomultipart,complement_stat,umask=0022,multireq_max=32,"
             "parallel_count=16,max_stat_cache_size=100000" % (
                 self.url, words)], name + ".log")
        return _mounted(self.place, p, point, "s3fs"), \
            lambda: self._end(p, point)

    def _end(self, process, point):
        self.place.run(["umount", point], ok=None)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
