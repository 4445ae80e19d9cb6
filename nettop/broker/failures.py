"""Errors on the wire: any exception as JSON fields, and its error class made from them."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

from nettop.broker.privileges import missing_rights
from nettop.errors import BrokerError, FilterError, NettopError, NotPermitted

_NEEDS_RIGHTS = (errno.EPERM, errno.EACCES)


def error_fields(error: BaseException) -> dict[str, Any]:
    """Return the JSON fields of an error: type, what, do (and expression, position of a FilterError)."""
    if isinstance(error, FilterError):
        return {"type": "FilterError", "what": error.message, "do": error.expression, "position": error.position}
    if isinstance(error, NettopError):
        kind = "NotPermitted" if isinstance(error, NotPermitted) else "BrokerError"
        return {"type": kind, "what": error.message, "do": error.remedy}
    if isinstance(error, OSError):
        return _os_error_fields(error)
    return {"type": "BrokerError", "what": f"{type(error).__name__}: {error}"[:500], "do": ""}


def from_fields(fields: Mapping[str, Any]) -> NettopError:
    """Return the error that error_fields() described; unknown kinds become a BrokerError."""
    what, do = str(fields.get("what", "the broker failed")), str(fields.get("do", ""))
    if fields.get("type") == "FilterError":
        position = fields.get("position")
        return FilterError(what, do, position if isinstance(position, int) else None)
    return NotPermitted(what, do) if fields.get("type") == "NotPermitted" else BrokerError(what, do)


def _os_error_fields(error: OSError) -> dict[str, Any]:
    what = os.strerror(error.errno) if error.errno else str(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    message = f"{path}: {what}" if path else what
    if error.errno in _NEEDS_RIGHTS:
        return {"type": "NotPermitted", "what": message, "do": missing_rights("NET_ADMIN", "NET_RAW", "SYS_ADMIN")}
    return {"type": "BrokerError", "what": message, "do": ""}
