# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What can go wrong: all of it is a SailError."""

from typing import Any, Dict, Optional


class SailError(Exception):
    """type and code are those of sailapi(7) and sailvol-ctl(5), or ""; answer
    is the whole object that brought the error, or None."""

    def __init__(self, message: str, type: str = "", code: str = "",
                 answer: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        self.code = code
        self.answer = answer


class AuthError(SailError):
    """The key is missing, unknown or revoked, or may not do this."""


class NotFoundError(SailError):
    """There is no such thing, or it belongs to another organisation."""


class ConflictError(SailError):
    """It is there already, or the state is another than it should be."""


class RefusedError(SailError):
    """if_unchanged or if_clean was asked for, and did not hold."""


class UnavailableError(SailError):
    """The server or the daemon does not answer; it may be tried again."""


class MountError(SailError):
    """The path is not in a mount of sailvold, or the mount does not work."""


class SailboxError(SailError):
    """What a sandbox could not do."""


class SailboxCreationError(SailboxError):
    """There is no new sandbox, and nothing of it is left."""


class SailboxExecutionError(SailboxError):
    """A command was not started, or how it ended is not known."""


class SailboxTerminatedError(SailboxExecutionError):
    """The sandbox has ended."""


_BY_TYPE = {
    "authentication": AuthError,
    "permission": AuthError,
    "not_found": NotFoundError,
    "conflict": ConflictError,
    "refused": RefusedError,
    "unavailable": UnavailableError,
}


def from_answer(answer: Any) -> SailError:
    """The error in {"error": {"message", "type", "code"}}."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return SailError("an answer that is neither a result nor an error")
    kind = str(error.get("type", ""))
    return _BY_TYPE.get(kind, SailError)(
        str(error.get("message", "")), kind, str(error.get("code", "")),
        answer)
