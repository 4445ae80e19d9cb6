"""Text snapshots of sysctls: their values by name."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.batch import Text
from nettop.text.sanitize import clean_bytes


@dataclass(frozen=True, slots=True)
class SysctlValues:
    """The values of one snapshot by name, and the time they were read, in ns since the epoch."""

    values: dict[str, str]
    ts_ns: int


def decode_sysctls(text: Text) -> SysctlValues:
    """Return the values of a TextKind.SYSCTLS item."""
    return SysctlValues(sysctl_values(text.body), text.ts_ns)


def sysctl_values(body: bytes) -> dict[str, str]:
    """Return the values by name of a TextKind.SYSCTLS or MAP_SYSCTLS snapshot: `name = value` lines."""
    lines = (line.partition(b" = ") for line in body.split(b"\n") if line)
    return {clean_bytes(name): clean_bytes(value.strip().replace(b"\t", b" ")) for name, _, value in lines}
