"""The names of the devices of traced packets: records have their indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nettop.model.traces.journey import Journey

_MAX_UNNAMED = 100  # devices


class DeviceNames:
    """The names by index, and the devices whose name is not known yet."""

    def __init__(self, device: Callable[[int, int], str | None]) -> None:
        """`device` gives a device's name by the namespace's code and its index."""
        self._device = device
        self._unnamed: dict[tuple[int, str], int] = {}  # indexes, by namespace and by the text in place of a name

    def name(self, netns: int, index: int | None) -> str | None:
        """Return the name of a device, or `if7` until it is known."""
        if index is None:
            return None
        name, unknown = self._device(netns, index), f"if{index}"
        if name is None and len(self._unnamed) < _MAX_UNNAMED:
            self._unnamed[netns, unknown] = index
        return name or unknown

    def are_known(self, journey: Journey) -> bool:
        """Return whether the devices of a journey have their names."""
        return not any((journey.netns, name) in self._unnamed for name in (journey.iif, journey.oif))

    def rename(self, journeys: Callable[[], Iterable[Journey]]) -> bool:
        """Name the devices of journeys whose names have become known; return whether there were any."""
        found = {key: name for key, index in self._unnamed.items() if (name := self._device(key[0], index)) is not None}
        for (netns, unknown), name in found.items():
            del self._unnamed[netns, unknown]
            for journey in journeys():
                if journey.netns == netns:
                    journey.rename(unknown, name)
        return bool(found)
