"""The fields of flows and events for the display filter, computed when they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nettop import columns as ct
from nettop.batch import Array
from nettop.model.filter.expression import Endpoint
from nettop.model.flows import derive
from nettop.text.flow import EVENT_NAMES, NAT_LABELS, PROTO_NAMES, STATE_LABELS, labels_text
from nettop.text.sanitize import clean_bytes

Mask = NDArray[np.bool_]

_PRESENT = {"mark": ct.HAVE_MARK, "status": ct.HAVE_STATUS, "id": ct.HAVE_ID, "timeout": ct.HAVE_TIMEOUT}
_ENDS = ("osrc", "odst", "rsrc", "rdst")
_SIDES = {"any": _ENDS, "src": ("osrc",), "dst": ("odst",)} | {end: (end,) for end in _ENDS}


class ProcessColumns(Protocol):
    """The processes of flows, from another model."""

    def process_codes(self, data: derive.Data) -> tuple[Array, Sequence[str]]:
        """Return a code for each row and the bare names of the codes ("" not known)."""

    def pids(self, data: derive.Data) -> Array:
        """Return the process id of each row as int64, -1 where it is not known."""


class FlowFields:
    """The filter fields of flow columns; `kind` is "flow" or "event". Only fields that are used are computed."""

    def __init__(
        self,
        kind: str,
        data: derive.Data,
        now_ns: int,
        strings: ct.Strings,
        netns_label: Callable[[int], str],
        processes: ProcessColumns | None = None,
    ) -> None:
        self.kind = kind
        self.n = len(data["have"])
        self._data = data
        self._now_ns = now_ns
        self._strings = strings
        self._netns_label = netns_label
        self._processes = processes
        self._ports: dict[int, Mask] = {}

    def number(self, name: str) -> Array | None:
        """Return the column of a numeric field (rate in B/s, timeout and age in s); None if there is no such column."""
        if name in ("bytes", "packets"):
            return derive.total(self._data, name)
        if name == "rate":
            return derive.rate(self._data) if "rate_up" in self._data else None
        if name == "age":
            known = "first_ns" in self._data
            return np.asarray((self._now_ns - derive.birth_ns(self._data)) / 1e9) if known else None
        if name == "nat":
            return derive.nat_bits(self._data)
        if name == "pid":
            return None if self._processes is None else self._processes.pids(self._data)
        return self._data.get(name)

    def present(self, name: str) -> Mask | None:
        """Return a mask of the rows in which that number is known; None: all of them."""
        if name in ("bytes", "packets"):
            return derive.counted(self._data)
        if name == "rate" and "rate_up" in self._data:
            return ~np.isnan(derive.rate(self._data))
        if name == "pid" and self._processes is not None:
            return np.asarray(self._processes.pids(self._data) >= 0)
        bits = _PRESENT.get(name)
        return None if bits is None else derive.has(self._data, bits)

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Return the endpoints of a side: `src` and `dst` of the original tuple, `any` of both tuples."""
        return [self._endpoint(end) for end in _SIDES.get(side, ())]

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """Return codes and words of state, proto, nat, netns, process, helper, label or (of events) event."""
        data = self._data
        if name == "state":
            return derive.state_codes(data), STATE_LABELS
        if name == "proto":
            return data["proto"], PROTO_NAMES
        if name == "nat":
            return derive.nat_bits(data), NAT_LABELS
        if name == "event" and self.kind == "event":
            return data["event"], EVENT_NAMES
        if name == "netns" and "netns" in data:
            return _coded(data["netns"], self._netns_label)
        if name == "process":
            return None if self._processes is None else self._processes.process_codes(data)
        if name == "helper":
            return _coded(self._coded_or_none("helper", ct.HAVE_HELPER), lambda code: clean_bytes(self._strings[code]))
        if name in ("label", "labels"):
            return _coded(self._coded_or_none("labels", ct.HAVE_LABELS), self._label_word)
        return None

    def _endpoint(self, end: str) -> Endpoint:
        bit = ct.HAVE_OPORTS if end.startswith("o") else ct.HAVE_RPORTS
        if bit not in self._ports:
            self._ports[bit] = derive.has(self._data, bit) & derive.ported(self._data)
        return Endpoint(
            self._data.get(f"{end}_hi"),
            derive.column(self._data, f"{end}_lo"),
            derive.column(self._data, f"{end[:2]}port"),
            self._ports[bit],
        )

    def _coded_or_none(self, name: str, bit: int) -> Array:
        return np.where(derive.has(self._data, bit), derive.column(self._data, name), 0)

    def _label_word(self, code: int) -> str:
        raw = self._strings[code]
        return labels_text(raw) if raw else ""


def _coded(codes: Array, word: Callable[[int], str]) -> tuple[Array, Sequence[str]]:
    """Return dense codes, and the word of each."""
    used, dense = np.unique(codes, return_inverse=True)
    return dense, [word(int(code)) for code in used]
