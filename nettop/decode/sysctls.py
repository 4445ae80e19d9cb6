"""Text snapshots of sysctls: name to value."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.batch import Text
from nettop.text.sanitize import clean_bytes


@dataclass(frozen=True, slots=True)
class SysctlValues:
    """The values of one snapshot, by name, and when they were read."""

    values: dict[str, str]
    ts_ns: int


def decode_sysctls(text: Text) -> SysctlValues:
    """The values of a TextKind.SYSCTLS item."""
    return SysctlValues(sysctl_values(text.body), text.ts_ns)


def sysctl_values(body: bytes) -> dict[str, str]:
    """The values of a TextKind.SYSCTLS snapshot: `name = value` lines."""
    lines = (clean_bytes(line).partition("=") for line in body.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
