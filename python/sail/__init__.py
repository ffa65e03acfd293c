# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Sail Volumes: workspace trees that outlive the machines that mount them.

    import sail

    volume = sail.Volume.from_mount("/mnt/shared")
    volume.commit(message="a notebook")     # the id of the commit
    volume.reload()                         # the newest published state

Environment: SAIL_API_URL and SAIL_API_KEY, for what asks the API server
(Volume.get).  commit and reload go through the mount itself and need neither.
"""

from sail.app import App
from sail.errors import (AuthError, ConflictError, MountError, NotFoundError,
                         RefusedError, SailError, UnavailableError)
from sail.volume import Volume

__all__ = ["App", "AuthError", "ConflictError", "MountError", "NotFoundError",
           "RefusedError", "SailError", "UnavailableError", "Volume"]
__version__ = "0.1"
