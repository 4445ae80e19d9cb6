"""The namespaces of a TextKind.NAMESPACES snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nettop.batch import Text
from nettop.decode.sysctls import sysctl_values
from nettop.decode.topology.objects import Namespace
from nettop.text.sanitize import clean

_ID_ONLY = "no name and no process: only its id is known"
_ETHTOOL, _PROGRAMS = "ethtool.", "programs."
_SHORT_ID = 12  # characters, as docker prints them
_LONGEST = 512  # characters of one text
_MOST = 64  # names, mounts and the like of one namespace


@dataclass(frozen=True, slots=True)
class NamespaceList:
    """The namespaces of one snapshot. `error` is the reason why there are none, or may be more, in one line."""

    namespaces: tuple[Namespace, ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceSysctls:
    """The sysctls of a namespace, by its label; by ifindex the features of devices that are on, and their programs."""

    netns: str
    values: dict[str, str]
    features: dict[int, tuple[str, ...]]
    programs: dict[int, tuple[str, ...]] = field(default_factory=dict)  # "tcx/ingress id 41 name"


def decode_map_sysctls(text: Text) -> NamespaceSysctls:
    """Return the values of a TextKind.MAP_SYSCTLS snapshot."""
    values = sysctl_values(text.body)
    features = _of_devices(values, _ETHTOOL)
    programs = {
        ifindex: tuple(word.replace(":", " id ", 1).replace(":", " ").rstrip() for word in words)
        for ifindex, words in _of_devices(values, _PROGRAMS).items()
    }
    return NamespaceSysctls(text.netns, values, features, programs)


def _of_devices(values: dict[str, str], prefix: str) -> dict[int, tuple[str, ...]]:
    """Take the lines of devices out of the values, and return their words by ifindex."""
    numbers = {name: name.removeprefix(prefix) for name in values if name.startswith(prefix)}
    found = {name: tuple(values.pop(name).split()) for name in numbers}
    return {
        int(numbers[name]): words
        for name, words in found.items()
        if numbers[name].isdecimal() and len(numbers[name]) < 11
    }


def decode_namespaces(text: Text) -> NamespaceList:
    """Return the namespaces of a snapshot, also those of which only an nsid is known. Damaged lines are skipped."""
    records = [record for line in text.body.splitlines() if (record := _object(line)) is not None]
    unknown: list[Namespace] = []
    found: dict[str, Namespace] = {}
    error = text.error
    for record in records:
        if "error" in record:
            error = _text(record["error"])
            continue
        namespace = _namespace(record, unknown)
        found.setdefault(namespace.label, namespace)
    return NamespaceList((*found.values(), *unknown), clean(error))


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _namespace(record: dict[str, Any], unknown: list[Namespace]) -> Namespace:
    label, container = _text(record.get("label")), record.get("container")
    engine, ident, name = (
        [_text(container.get(key)) for key in ("engine", "id", "name")] if isinstance(container, dict) else ["", "", ""]
    )
    holders = record.get("tuns")
    return Namespace(
        label,
        _number(record.get("inode")),
        _texts(record.get("names")),
        _number(record.get("processes")),
        _text(record.get("command")),
        f"{name or ident[:_SHORT_ID]} {engine}".strip(),
        _texts(record.get("mounts")),
        _text(record.get("refusal")),
        dict(_nsids(label, record.get("nsids"), unknown)),
        _number(record.get("pid")),
        ident,
        {_text(key): _text(of) for key, of in holders.items()} if isinstance(holders, dict) else {},
    )


def _nsids(label: str, nsids: object, unknown: list[Namespace]) -> Iterable[tuple[int, int]]:
    """Yield nsid and inode; those without one become namespaces of their own, with a negative inode."""
    for word, inode in nsids.items() if isinstance(nsids, dict) else ():
        if not (isinstance(word, str) and word.isdecimal() and len(word) < 11):
            continue
        number = _number(inode)
        if not number:
            number = -1 - len(unknown)
            name = f"nsid {int(word)}" + (f" of {label}" if label else "")
            unknown.append(Namespace(name, number, refusal=_ID_ONLY))
        yield int(word), number


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 64 else 0


def _text(value: object) -> str:
    return clean(value[:_LONGEST]) if isinstance(value, str) else ""


def _texts(values: object) -> tuple[str, ...]:
    return tuple(_text(value) for value in values[:_MOST]) if isinstance(values, list) else ()
