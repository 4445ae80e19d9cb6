"""The sysctls that decide what becomes of packets as text or JSON objects, with the value in effect and its effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from json import dumps

from nettop.model.topology.device_words import label_text
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.sysctls import SysctlRow, rows


def sysctl_lines(spaces: Sequence[NamespaceMap], json: bool) -> Iterator[str]:
    """Yield the sysctls of each namespace, then those of its devices; as text those that differ begin with `*`."""
    for number, space in enumerate(spaces):
        label = space.namespace.label
        if not json:
            yield from ([""] if number else [])
            yield label_text(label)
        devices = ("", *(one.link.name for one in space.devices.values()))
        for row in (row for device in devices for row in rows(space.sysctls, device)):
            if json:
                yield dumps({"kind": "sysctl", "netns": label, **asdict(row), "changed": row.changed})
            else:
                yield f"{'*' if row.changed else ' '} {_text(row)}"


def _text(row: SysctlRow) -> str:
    effective = f", in effect {row.in_effect}" if row.in_effect != row.value else ""
    meant = f": {row.effect}" if row.effect else ""
    usual = f", default {row.default}" if row.changed else ""
    return f"{row.name} = {row.value or '–'}{effective}{usual}   {row.meaning}{meant}"
