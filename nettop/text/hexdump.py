"""Bytes as hex and ASCII, sixteen a line in two groups of eight."""

from __future__ import annotations

from dataclasses import dataclass

_ASCII = "".join(chr(c) if 32 <= c < 127 else "." for c in range(256))


@dataclass(frozen=True, slots=True)
class HexLine:
    """One line: where it begins, its bytes in hex (two digits each, in order), and the same as printable ASCII."""

    offset: int
    hex: tuple[str, ...]
    ascii: str

    def text(self) -> str:
        """`0010  00 3c 1c 46 40 00 40 06  b1 e6 0a 00 03 07 c8 c8 .<.F@.@.........`."""
        return f"{self.offset:04x}  {' '.join(self.hex[:8]):<23}  {' '.join(self.hex[8:]):<23} {self.ascii}"


def hex_lines(data: bytes, limit: int = 65_536) -> list[HexLine]:
    """The lines of data, of at most `limit` bytes."""
    shown = data[:limit]
    return [
        HexLine(at, tuple(shown[at : at + 16].hex(" ").split()), "".join(_ASCII[b] for b in shown[at : at + 16]))
        for at in range(0, len(shown), 16)
    ]
