# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Sandboxes of a test's own: their state is below its directory; the image is
made once for all tests, in a cache keyed by content: the first one takes
minutes, and the others wait for it."""

import os
import shutil
import sys

# As it is published; %s is the image.
EXAMPLE = """
import sail

app = sail.App.find(name="my-app", mint_if_missing=True)
volume = sail.Volume.get("shared-data", mint_if_missing=True)
sb = sail.Sailbox.create(app=app, image=%s, name="worker-1",
                         volumes={"/mnt/shared": volume})
print(sb.sailbox_id)
"""
INSIDE = """
import sail

volume = sail.Volume.from_mount("/mnt/shared")
with open("/mnt/shared/result.txt", "w") as f:
    f.write("hello from a sandbox")
print(volume.commit())
print(volume.reload())
"""

IMAGES = "/var/cache/sail-regress/images"


class Boxes:
    def __init__(self, t, stack=None):
        self.t, self.stack = t, stack
        if os.geteuid() != 0:
            t.skip("sandboxes need root")
        for name in ("bwrap", "mmdebstrap"):
            if shutil.which(name) is None:
                t.skip("%s is not installed" % name)
        os.environ["SAIL_STATE"] = t.path("boxes")
        os.environ["XDG_STATE_HOME"] = t.path("apps")
        os.environ.setdefault("SAIL_IMAGES", IMAGES)
        if stack is not None:
            os.environ["SAILVOLD_SOCKET"] = stack.daemon.socket
            os.environ["SAIL_API_URL"] = stack.server.url
            os.environ["SAIL_API_KEY"] = stack.server.key
        path = os.path.join(t.repo, "python")
        if path not in sys.path:
            sys.path.insert(0, path)
        import sail
        self.sail = sail
        self.app = sail.App.find(name="my-app", mint_if_missing=True)

    def create(self, name=None, volumes=None, **kwargs):
        return self.sail.Sailbox.create(
            app=self.app, image=self.sail.Image.debian, name=name,
            volumes=volumes or {}, **kwargs)

    def out(self, sb, command, **kwargs):
        """Standard output of a command that ends with 0."""
        done = sb.exec(command, **kwargs).wait()
        if done.returncode != 0:
            self.t.fail("%s: status %d: %s%s" % (
                command, done.returncode, done.stdout, done.stderr))
        return done.stdout

    def all_ended(self):
        """Terminates all; nothing of them is left on the machine."""
        for sb in self.sail.Sailbox.list():
            sb.terminate()
        self.t.equal([], self.sail.Sailbox.list(), "sandboxes")
        self.nothing_left()

    def nothing_left(self):
        top = os.environ["SAIL_STATE"]
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            self.t.true(top not in f.read(), "a mount is left")
        for where, _, names in os.walk(os.path.join(top, "boxes")):
            self.t.equal([], [n for n in names if n in ("disk.img", "sock")],
                         "left in " + where)
        for where, _, names in os.walk(os.path.join(top, "names")):
            self.t.equal([], names, "names")
