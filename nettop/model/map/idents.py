"""The identities of the map's rows: a namespace's number and an ifindex in one integer."""

from __future__ import annotations

_SHIFT = 32  # bits of an ifindex


class MapIdents:
    """Numbers the namespaces as they come. A number is never reused, so a row is never taken for another one."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._labels: list[str] = []

    def of(self, label: str, ifindex: int = 0) -> int:
        """Return the ident of a namespace (ifindex 0) or of a device in it."""
        number = self._numbers.get(label)
        if number is None:
            number = self._numbers[label] = len(self._labels)
            self._labels.append(label)
        return number << _SHIFT | ifindex

    def place(self, ident: int) -> tuple[str, int] | None:
        """Return the label and the ifindex of an ident; None: it was never given."""
        number, ifindex = ident >> _SHIFT, ident & (1 << _SHIFT) - 1
        return (self._labels[number], ifindex) if 0 <= number < len(self._labels) else None


def is_namespace(ident: int) -> bool:
    """Return whether an ident is that of a namespace, not of a device."""
    return not ident & (1 << _SHIFT) - 1


def same_namespace(one: int, other: int) -> bool:
    """Return whether two idents are of the same namespace."""
    return one >> _SHIFT == other >> _SHIFT
