"""Requests to and from JSON: exactly the listed classes, with exactly their fields and types."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from nettop.broker import requests
from nettop.errors import BrokerError
from nettop.kinds import TextKind

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
    kind = _KINDS.get(ask) if isinstance(ask, str) else None
    if kind is None:
        raise BrokerError(f"not on the list: {str(ask)[:80]!r}")
    given = set(message) - {"ask", "id"}
    if given != {f.name for f in fields(kind)}:
        raise BrokerError(f"not on the list: {ask} with fields {sorted(given)[:20]}")
    request: requests.Request = kind(
        **{f.name: _field(kind, f.name, str(f.type), message[f.name]) for f in fields(kind)}
    )
    return request


def _field(kind: type[Any], name: str, type_name: str, value: object) -> object:
    try:
        return _CONVERT[type_name](value)
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


def _exactly(kind: type[Any]) -> Callable[[object], Any]:
    def convert(value: object) -> object:
        if type(value) is not kind or (isinstance(value, str) and len(value) > MAX_TEXT):
            raise ValueError("wrong type")
        return value

    return convert


def _optional(convert: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else convert(value)


def _tuple_of(convert: Callable[[object], Any]) -> Callable[[object], Any]:
    def convert_all(value: object) -> object:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ValueError("wrong type")
        return tuple(convert(item) for item in value)

    return convert_all


def _record_of(kind: type[Any]) -> Callable[[object], Any]:
    """Return the converter of a dataclass inside a request: an object with exactly its fields."""
    names = [f.name for f in fields(kind)]
    types = [str(f.type) for f in fields(kind)]

    def convert(value: object) -> object:
        if not isinstance(value, dict) or set(value) != set(names):
            raise ValueError("wrong fields")
        return kind(*[_CONVERT[of](value[name]) for name, of in zip(names, types, strict=True)])

    return convert


def _bytes(value: object) -> bytes:
    if type(value) is not str or len(value) > MAX_BYTES * 4 // 3 + 4:
        raise ValueError("wrong type")
    return base64.b64decode(value, validate=True)


_CONVERT: dict[str, Callable[[object], Any]] = {
    "str": _exactly(str),
    "int": _exactly(int),
    "bool": _exactly(bool),
    "bytes": _bytes,
    "int | None": _optional(_exactly(int)),
    "tuple[int, ...]": _tuple_of(_exactly(int)),
    "tuple[FlowKey, ...]": _tuple_of(_record_of(requests.FlowKey)),
    "tuple[PacketTest, ...]": _tuple_of(_record_of(requests.PacketTest)),
    "tuple[PacketMatch, ...]": _tuple_of(_record_of(requests.PacketMatch)),
    "DumpFilter | None": _optional(_record_of(requests.DumpFilter)),
    "SetName | None": _optional(_record_of(requests.SetName)),
    "RouteQuestion | None": _optional(_record_of(requests.RouteQuestion)),
    "CounterName": _record_of(requests.CounterName),
    "ReadRequest": requests.ReadRequest,
    "tuple[ReadRequest, ...]": _tuple_of(requests.ReadRequest),
    "TextKind": TextKind,
}
