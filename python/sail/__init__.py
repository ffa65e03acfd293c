# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Sail Volumes: workspace trees that outlive the machines that mount them.

    import sail

    volume = sail.Volume.from_mount("/mnt/shared")
    volume.commit(message="a notebook")     # the id of the commit
    volume.reload()                         # the newest published state

and sandboxes of this machine that have volumes mounted:

    app = sail.App.find(name="my-app", mint_if_missing=True)
    volume = sail.Volume.get("shared-data", mint_if_missing=True)
    sb = sail.Sailbox.create(app=app, image=sail.Image.debian,
                             name="worker-1", volumes={"/mnt/shared": volume})
    print(sb.exec("ls /mnt/shared").wait().stdout)
    sb.terminate()

Environment: SAIL_API_URL and SAIL_API_KEY, for what asks the API server
(Volume.get), and SAIL_CA_FILE where the system does not know who signed its
certificate.  commit and reload go through the mount itself and need neither.
Sandboxes ask sailvold for their mounts, at SAILVOLD_SOCKET or its default
place, and are kept below SAIL_STATE, by default /var/lib/sailbox.
"""

from sail.app import App
from sail.errors import (AuthError, ConflictError, MountError, NotFoundError,
                         RefusedError, SailboxCreationError, SailboxError,
                         SailboxExecutionError, SailboxTerminatedError,
                         SailError, UnavailableError)
from sail.image import Image
from sail.sailbox import Checkpoint, Request, Result, Sailbox
from sail.volume import Volume

__all__ = ["App", "AuthError", "Checkpoint", "ConflictError", "Image",
           "MountError", "NotFoundError", "RefusedError", "Request", "Result",
           "Sailbox", "SailboxCreationError", "SailboxError",
           "SailboxExecutionError", "SailboxTerminatedError", "SailError",
           "UnavailableError", "Volume"]
__version__ = "0.1"
