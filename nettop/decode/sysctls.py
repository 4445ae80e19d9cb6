"""Text snapshots of sysctls: name to value."""

from __future__ import annotations

from nettop.text.sanitize import clean_bytes


def sysctl_values(body: bytes) -> dict[str, str]:
    """The values of a TextKind.SYSCTLS snapshot: `name = value` lines."""
    lines = (clean_bytes(line).partition("=") for line in body.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
