"""The local process of each flow, found by the sockets of its namespace; forwarded flows have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array, Text
from nettop.model.flows.cells import ABSENT, RowView
from nettop.model.flows.derive import Data
from nettop.model.flows.endpoints import EndpointColumns, by_netns, initiator, responder, row_columns, some
from nettop.model.processes.join import CERTAIN, LIKELY, NO_SOCKET, SocketJoin
from nettop.model.processes.sockets import Socket, SocketTable, read_sockets
from nettop.model.table import Cell, Line
from nettop.model.topology.lookup import GROUP, LOCAL
from nettop.model.topology.routing import Routing
from nettop.text import units
from nettop.text.address import endpoint_text

FORWARDED, THIS_HOST = "– forwarded", "– this host"  # no process: forwarded; local, but no socket is known
FRESH_NS = 3_000_000_000  # processes are read again after this time,
_STILL = 2  # or up to so many times it later while all flows are still: their processes seldom change
_WORDS = ("", FORWARDED, THIS_HOST)
_LOOPBACK_NET, _LOW = 127, (1 << 64) - 1


_Match = tuple[NDArray[np.int32], NDArray[np.uint8]]  # of each row: index of its socket, or NO_SOCKET; certainty


@dataclass(frozen=True, slots=True)
class _Joined:
    """For some flows: the sockets of both endpoints, and whether the endpoints are local."""

    initiator: _Match
    responder: _Match
    local: Array  # at least one endpoint is an address of this host
    forwarded: Array  # neither is

    @property
    def sockets(self) -> Array:
        """The index of the responder's socket, else of the initiator's, else NO_SOCKET."""
        return np.where(self.responder[0] >= 0, self.responder[0], self.initiator[0])


class Processes:
    """The sockets and processes of each namespace, from TextKind.PROCESSES texts. `routing` has its addresses."""

    def __init__(self, routing: Routing | None = None) -> None:
        self.version = 0
        self._routing = routing or Routing()
        self._joins: dict[int, SocketJoin] = {}
        self._bodies: dict[int, int] = {}  # hash of the last text of each namespace: most repeat
        self._read_ns: dict[int, int] = {}
        self._errors: dict[int, str] = {}
        self._shown: set[int] = set()  # namespaces whose processes were shown since the last text

    def apply(self, text: Text, netns: int, now_ns: int) -> None:
        """Replace the sockets of a namespace. A text with an error keeps them; the flow's detail shows the error."""
        self._errors[netns] = text.error
        self._shown.discard(netns)
        if text.error:
            return
        self._read_ns[netns] = text.ts_ns
        body = hash(text.body)
        if self._bodies.get(netns) == body:
            return
        self._bodies[netns], self._joins[netns] = body, SocketJoin(read_sockets(text.body, self.sockets(netns)))
        self.version += 1

    def sockets(self, netns: int) -> SocketTable:
        """Return the sockets of a namespace as of its last text."""
        return self._joins[netns].table if netns in self._joins else SocketTable()

    def read_ns(self, netns: int) -> int:
        """Return the time of the last text of a namespace, in ns since the epoch; 0: none yet."""
        return self._read_ns.get(netns, 0)

    def wanted(self, netns: int, now_ns: int, still: int = 0) -> bool:
        """Return whether processes of this namespace are being shown and are older than FRESH_NS.

        Or older than up to 9 s after `still` dumps in a row that found the flows as they were.
        """
        return netns in self._shown and now_ns - self.read_ns(netns) >= FRESH_NS * (1 + min(still, _STILL))

    def process_codes(self, data: Data) -> tuple[Array, list[str]]:
        """Return a code for each row and the label of each code: a process name, FORWARDED, THIS_HOST, or "" (unknown).

        Where both endpoints are local it is the responder's process.
        """
        codes, words = np.zeros(len(data["have"]), np.int32), {word: code for code, word in enumerate(_WORDS)}
        for netns, rows in by_netns(data):
            joined = self._joined(netns, some(data, rows))
            owner = np.where(joined.forwarded, 1, np.where(joined.local, 2, 0)).astype(np.int32)
            names = [words.setdefault(socket.name, len(words)) for socket in self.sockets(netns).sockets]
            places = joined.sockets
            known = (places >= 0).nonzero()[0]
            owner[known] = np.array(names, np.int32)[places[known]] if names else 0
            codes[rows] = owner
        return codes, list(words)

    def pids(self, data: Data) -> NDArray[np.int64]:
        """Return the process id of each row as int64, -1 if unknown; the responder's where both endpoints are local."""
        found = np.full(len(data["have"]), -1, np.int64)
        for netns, rows in by_netns(data):
            if netns not in self._joins:
                continue
            joined = self._joined(netns, some(data, rows))
            places = joined.sockets
            pids = np.append(self.sockets(netns).column("pid", np.int64), -1)
            found[rows] = pids[places]  # NO_SOCKET (-1) is the last
        return found

    def _joined(self, netns: int, data: Data) -> _Joined:
        self._shown.add(netns)
        family, proto, first, second = data["family"], data["proto"], initiator(data), responder(data)
        first_place, certain = self._locality(netns, family, first)
        second_place, _ = self._locality(netns, family, second)
        first_local, second_local, group = first_place == LOCAL, second_place == LOCAL, second_place == GROUP
        local, forwarded = first_local | second_local, certain & ~first_local & ~second_local & ~group
        join = self._joins.get(netns)
        if join is None:
            none = np.full(len(local), NO_SOCKET, np.int32), np.zeros(len(local), np.uint8)
            return _Joined(none, none, local, forwarded)
        began = join.find(family, proto, first, first_local)
        answers = join.find(family, proto, second, second_local | group)
        owned = (began[0] >= 0) | (answers[0] >= 0)
        return _Joined(began, answers, local, forwarded & ~owned)

    def _locality(self, netns: int, family: Array, end: EndpointColumns) -> tuple[Array, Array]:
        """Return LOCAL, GROUP or 0 for each endpoint, and whether that is certain.

        Without routes only loopback and the sockets' own addresses are known to be local.
        """
        lookup = self._routing.lookup(netns)
        if lookup is not None:
            return lookup.here(family, end.hi, end.lo), np.ones(len(family), np.bool_)
        hi = np.uint64(0) if end.hi is None else end.hi
        loopback = np.where(family == 2, end.lo >> np.uint64(24) == _LOOPBACK_NET, (hi == 0) & (end.lo == 1))
        known = {socket.local for socket in self.sockets(netns).sockets if socket.local}
        own = np.isin(end.lo, np.array([address & _LOW for address in known], np.uint64))
        return np.where(loopback | own, LOCAL, 0).astype(np.uint8), np.zeros(len(family), np.bool_)

    def process(self, rows: Sequence[RowView]) -> list[Cell]:
        """Return a cell for each row: `nginx[812]`, `nginx[812]+3?` (likely; 3 others match as well), `– forwarded`."""
        cells = [ABSENT] * len(rows)
        if not rows:
            return cells
        data = row_columns(rows)
        for netns, places in by_netns(data):
            joined = self._joined(netns, some(data, places))
            for at, row in enumerate(np.arange(len(rows))[places].tolist()):
                cells[row] = self._cell(netns, joined, at)
        return cells

    def _cell(self, netns: int, joined: _Joined, at: int) -> Cell:
        found = [
            (self._text(netns, int(place[at]), int(sure[at])), int(sure[at]))
            for place, sure in (joined.initiator, joined.responder)
            if place[at] >= 0
        ]
        if found:
            return "→".join(text for text, _ in found), "accent" if all(sure == CERTAIN for _, sure in found) else ""
        if joined.forwarded[at]:
            return FORWARDED, "dim"
        return (THIS_HOST, "dim") if joined.local[at] else ABSENT

    def _text(self, netns: int, place: int, sure: int) -> str:
        join = self._joins[netns]
        socket = join.table.sockets[place]
        others = join.others(place)
        return f"{_name(socket)}{f'+{others}' if others else ''}{'?' if sure == LIKELY else ''}"

    def process_lines(self, row: RowView) -> list[Line]:
        """Return lines for a flow's detail: the process of each endpoint with its certainty, or why there is none."""
        netns, data = row.value("netns"), row_columns([row])
        joined = self._joined(netns, data)
        lines: list[Line] = []
        for title, (place, sure) in (("begun by", joined.initiator), ("answered by", joined.responder)):
            if place[0] >= 0:
                lines += self._endpoint_lines(netns, title, int(place[0]), int(sure[0]))
        if not lines:
            lines.append((("process  ", "key"), (self._no_process(netns, joined), "dim")))
        return lines

    def _no_process(self, netns: int, joined: _Joined) -> str:
        if joined.forwarded[0]:
            return f"{FORWARDED}: neither end is an address of this host"
        if netns not in self._joins:
            return f"– ({self._errors.get(netns) or 'not asked for yet'})"
        if joined.local[0]:
            return f"{THIS_HOST}: no socket with a process fits (it is closed, in TIME_WAIT, or the kernel's own)"
        return "–"

    def _endpoint_lines(self, netns: int, title: str, place: int, certainty: int) -> list[Line]:
        join = self._joins[netns]
        socket = join.table.sockets[place]
        equal = join.candidates(place)
        why = (
            "certain: its socket has exactly these ends" if certainty == CERTAIN else f"likely: {_socket_words(socket)}"
        )
        at = self._read_ns.get(netns, 0)
        line = ((f"{title}  ", "key"), (_name(socket), "accent"), (f"  uid {socket.uid}", ""))
        lines: list[Line] = [(*line, (f"  {why}, at {units.clock(at)}", "dim"))]
        others = join.others(place)
        if others:
            names = dict.fromkeys(_name(other) for other in equal[1:4] if other.pid != socket.pid)
            named = f": {', '.join(names)}" if names else ""
            match = "other matches" if others == 1 else "others match"
            lines.append((("  ", ""), (f"{others} {match} as well{named}", "warn")))
        return lines


def _name(socket: Socket) -> str:
    return f"{socket.name or '?'}[{socket.pid}]"


def _socket_words(socket: Socket) -> str:
    where = endpoint_text(socket.family, socket.local >> 64, socket.local & _LOW, socket.lport)
    return f"a socket on {where} without another end" if socket.state != 10 else f"it listens on {where}"
