"""Requests to and from JSON: exactly the listed classes, with exactly their fields and types."""

from __future__ import annotations

import base64
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from nettop.broker import requests
from nettop.errors import BrokerError

MAX_TEXT = 8192  # characters of one string field
MAX_ITEMS = 512  # of one tuple field
MAX_BYTES = 32 << 10  # of one bytes field, which travels as base64

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in requests.ALL}


def to_json(request: requests.Request) -> dict[str, Any]:
    """Return the request as a JSON object: its class name under "ask", and its fields."""
    return {"ask": type(request).__name__, **_fields_of(request)}


def from_json(message: Mapping[str, Any]) -> requests.Request:
    """Return the request in a JSON object; raises BrokerError unless it is listed with exactly its fields and types."""
    ask = message.get("ask")
    kind: Any = _KINDS.get(ask) if isinstance(ask, str) else None
    if kind is None:
        raise BrokerError(f"not on the list: {str(ask)[:80]!r}")
    given = set(message) - {"ask", "id"}
    types = _types(kind)
    if given != set(types):
        raise BrokerError(f"not on the list: {ask} with fields {sorted(given)[:20]}")
    request: requests.Request = kind(**{name: _field(kind, name, of, message[name]) for name, of in types.items()})
    return request


def _field(kind: type[Any], name: str, of: Any, value: object) -> object:
    try:
        return _converted(of, value)
    except ValueError as error:
        raise BrokerError(f"not on the list: {kind.__name__} with {name}={str(value)[:80]!r}") from error


def _fields_of(value: Any) -> dict[str, Any]:
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _fields_of(value) if is_dataclass(value) else value


def _converted(kind: Any, value: object) -> Any:
    """Return a JSON value as `kind`: exactly of this type. ValueError if it is not."""
    if kind in (int, str, bool):
        if type(value) is not kind or (isinstance(value, str) and len(value) > MAX_TEXT):
            raise ValueError("wrong type")
        return value
    if kind is bytes:
        return _bytes(value)
    if is_dataclass(kind):
        return _record(kind, value)
    if get_origin(kind) is UnionType:  # with None
        return None if value is None else _converted(get_args(kind)[0], value)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ValueError("wrong type")
        return tuple(_converted(get_args(kind)[0], item) for item in value)
    return kind(value)  # an Enum


def _record(kind: Any, value: object) -> Any:
    """Return a dataclass inside a request, from an object with exactly its fields."""
    types = _types(kind)
    if not isinstance(value, dict) or set(value) != set(types):
        raise ValueError("wrong fields")
    return kind(**{name: _converted(of, value[name]) for name, of in types.items()})


@cache
def _types(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _bytes(value: object) -> bytes:
    if type(value) is not str or len(value) > MAX_BYTES * 4 // 3 + 4:
        raise ValueError("wrong type")
    return base64.b64decode(value, validate=True)
