"""Hex dumps: 16 bytes in each line, in two groups of eight, and as ASCII."""

from __future__ import annotations

from dataclasses import dataclass

_ASCII = "".join(chr(c) if 32 <= c < 127 else "." for c in range(256))


@dataclass(frozen=True, slots=True)
class HexLine:
    """One line: its offset, its bytes in hex (two digits each), and as ASCII with dots for unprintable ones."""

    offset: int
    hex: tuple[str, ...]
    ascii: str

    def text(self) -> str:
        """Return `0010  00 3c 1c 46 40 00 40 06  b1 e6 0a 00 03 07 c8 c8 .<.F@.@.........`."""
        return f"{self.offset:04x}  {' '.join(self.hex[:8]):<23}  {' '.join(self.hex[8:]):<23} {self.ascii}"


def hex_lines(data: bytes, limit: int = 65_536) -> list[HexLine]:
    """Return the lines of the first `limit` bytes of data."""
    shown = data[:limit]
    return [
        HexLine(at, tuple(shown[at : at + 16].hex(" ").split()), "".join(_ASCII[b] for b in shown[at : at + 16]))
        for at in range(0, len(shown), 16)
    ]
