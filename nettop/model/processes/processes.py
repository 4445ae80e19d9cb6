"""Which process of this host a flow belongs to, by the sockets of its namespace; nobody's when it is forwarded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array, Text
from nettop.model.flows.cells import ABSENT, Cell, RowView
from nettop.model.flows.derive import Data
from nettop.model.flows.endpoints import End, by_netns, initiator, responder, row_columns, some
from nettop.model.processes.join import CERTAIN, LIKELY, NO_SOCKET, SocketJoin
from nettop.model.processes.sockets import Socket, SocketTable, read_sockets
from nettop.model.table import Line
from nettop.model.topology.lookup import GROUP, LOCAL
from nettop.model.topology.routing import Routing
from nettop.text import units
from nettop.text.address import endpoint_text
from nettop.text.sanitize import clean

FORWARDED, HERE = "– forwarded", "– this host"  # nobody's: it passes through; an end is here, but no socket is known
FRESH_NS = 3_000_000_000  # so long processes are as they were told
_WORDS = ("", FORWARDED, HERE)
_LOOPBACK_NET, _LOW = 127, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class _Joined:
    """For some rows: the sockets at both ends, how sure they are, and whether the ends are here."""

    near: NDArray[np.int32]  # place of the socket that began the flow, NO_SOCKET
    near_sure: NDArray[np.uint8]
    far: NDArray[np.int32]  # … that answers
    far_sure: NDArray[np.uint8]
    here: Array  # at least one end is an address of this host
    passing: Array  # neither end is


class Processes:
    """Takes TextKind.PROCESSES texts. `routing` tells which addresses are this host's."""

    def __init__(self, routing: Routing | None = None) -> None:
        self.version = 0
        self.hostile = 0  # lines that were not of the format, in all texts
        self._routing = routing or Routing()
        self._joins: dict[int, SocketJoin] = {}
        self._bodies: dict[int, int] = {}  # their hashes: most texts are like the one before
        self._told_ns: dict[int, int] = {}
        self._errors: dict[int, str] = {}
        self._asked: set[int] = set()  # namespaces whose processes somebody wanted to see since they were told

    def apply(self, text: Text, netns: int, now_ns: int) -> None:
        """The sockets of a namespace as they are now. An error leaves what was known, and is said in the detail."""
        self._errors[netns] = clean(text.error)
        self._asked.discard(netns)
        if text.error:
            return
        self._told_ns[netns] = text.ts_ns
        body = hash(text.body)
        if self._bodies.get(netns) == body:
            return
        table = read_sockets(text.body, self.sockets(netns))
        self._bodies[netns], self._joins[netns] = body, SocketJoin(table)
        self.hostile += table.hostile
        self.version += 1

    def sockets(self, netns: int) -> SocketTable:
        """The sockets of a namespace as they were told last."""
        return self._joins[netns].table if netns in self._joins else SocketTable()

    def told_ns(self, netns: int) -> int:
        """Of when the sockets of a namespace are known, in ns since the epoch; 0: never."""
        return self._told_ns.get(netns, 0)

    def wanted(self, netns: int, now_ns: int) -> bool:
        """Somebody looks at processes of this namespace, and what is known of them is no longer fresh: ask again."""
        return netns in self._asked and now_ns - self.told_ns(netns) >= FRESH_NS

    # -- for whole columns -------------------------------------------------------------------------------------------

    def process_codes(self, data: Data) -> tuple[Array, list[str]]:
        """For each row a code and the word of each code: a process's name, FORWARDED, HERE, or "" (not known).

        Where both ends are here it is the process that answers.
        """
        codes, words = np.zeros(len(data["have"]), np.int32), {word: code for code, word in enumerate(_WORDS)}
        for netns, rows in by_netns(data):
            joined = self._joined(netns, some(data, rows))
            mine = np.where(joined.passing, 1, np.where(joined.here, 2, 0)).astype(np.int32)
            names = [words.setdefault(socket.name, len(words)) for socket in self.sockets(netns).sockets]
            places = np.where(joined.far >= 0, joined.far, joined.near)
            known = (places >= 0).nonzero()[0]
            mine[known] = np.array(names, np.int32)[places[known]] if names else 0
            codes[rows] = mine
        return codes, list(words)

    def pids(self, data: Data) -> NDArray[np.int64]:
        """The process id of each row, -1 where it is not known; where both ends are here that of who answers."""
        found = np.full(len(data["have"]), -1, np.int64)
        for netns, rows in by_netns(data):
            if netns not in self._joins:
                continue
            joined = self._joined(netns, some(data, rows))
            places = np.where(joined.far >= 0, joined.far, joined.near)
            pids = np.append(self.sockets(netns).column("pid", np.int64), -1)
            found[rows] = pids[places]  # NO_SOCKET is the last
        return found

    def _joined(self, netns: int, data: Data) -> _Joined:
        self._asked.add(netns)
        near, far = initiator(data), responder(data)
        near_here, near_sure_here = self._here(netns, data["family"], near)
        far_here, _ = self._here(netns, data["family"], far)
        local, group = near_here == LOCAL, far_here == GROUP
        passing = near_sure_here & ~local & (far_here != LOCAL) & ~group
        here = local | (far_here == LOCAL)
        nothing = np.full(len(local), NO_SOCKET, np.int32), np.zeros(len(local), np.uint8)
        join = self._joins.get(netns)
        if join is None:
            return _Joined(*nothing, *nothing, here, passing)
        family, proto = data["family"], data["proto"]
        began = join.find(family, proto, near, local)
        answers = join.find(family, proto, far, (far_here == LOCAL) | group)
        owned = (began[0] >= 0) | (answers[0] >= 0)
        return _Joined(*began, *answers, here, passing & ~owned)

    def _here(self, netns: int, family: Array, end: End) -> tuple[Array, Array]:
        """LOCAL, GROUP or neither, and whether that is known: without routes only what sockets and loopback show."""
        lookup = self._routing.lookup(netns)
        if lookup is not None:
            return lookup.here(family, end.hi, end.lo), np.ones(len(family), np.bool_)
        hi = np.uint64(0) if end.hi is None else end.hi
        loopback = np.where(family == 2, end.lo >> np.uint64(24) == _LOOPBACK_NET, (hi == 0) & (end.lo == 1))
        known = {socket.local for socket in self.sockets(netns).sockets if socket.local}
        own = np.isin(end.lo, np.array([address & _LOW for address in known], np.uint64))
        return np.where(loopback | own, LOCAL, 0).astype(np.uint8), np.zeros(len(family), np.bool_)

    # -- for rows on the screen --------------------------------------------------------------------------------------

    def process(self, rows: Sequence[RowView]) -> list[Cell]:
        """A cell for each row: `nginx[812]`, `nginx[812]+3?` (likely; three others may be meant), `– forwarded`."""
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
            for place, sure in ((joined.near, joined.near_sure), (joined.far, joined.far_sure))
            if place[at] >= 0
        ]
        if found:
            return "→".join(text for text, _ in found), "accent" if all(sure == CERTAIN for _, sure in found) else ""
        if joined.passing[at]:
            return FORWARDED, "dim"
        return (HERE, "dim") if joined.here[at] else ABSENT

    def _text(self, netns: int, place: int, sure: int) -> str:
        join = self._joins[netns]
        socket = join.table.sockets[place]
        others = join.others(place)
        return f"{_name(socket)}{f'+{others}' if others else ''}{'?' if sure == LIKELY else ''}"

    def process_lines(self, row: RowView) -> list[Line]:
        """For the detail of a flow: each end's process with how sure that is and why, or why there is none."""
        netns, data = row.value("netns"), row_columns([row])
        joined = self._joined(netns, data)
        lines: list[Line] = []
        for title, place, sure in (
            ("begun by", joined.near, joined.near_sure),
            ("answered by", joined.far, joined.far_sure),
        ):
            if place[0] >= 0:
                lines += self._end_lines(netns, title, int(place[0]), int(sure[0]))
        if not lines:
            lines.append((("process  ", "key"), (self._nobody(netns, joined), "dim")))
        return lines

    def _nobody(self, netns: int, joined: _Joined) -> str:
        if joined.passing[0]:
            return f"{FORWARDED}: neither end is an address of this host"
        if netns not in self._joins:
            return f"– ({self._errors.get(netns) or 'not asked for yet'})"
        if joined.here[0]:
            return f"{HERE}: no socket with a process fits (it is closed, in TIME_WAIT, or the kernel's own)"
        return "–"

    def _end_lines(self, netns: int, title: str, place: int, sure: int) -> list[Line]:
        join = self._joins[netns]
        socket = join.table.sockets[place]
        alike = join.sharing(place)
        why = "certain: its socket has exactly these ends" if sure == CERTAIN else f"likely: {_socket_words(socket)}"
        at = self._told_ns.get(netns, 0)
        line = ((f"{title}  ", "key"), (_name(socket), "accent"), (f"  uid {socket.uid}", ""))
        lines: list[Line] = [(*line, (f"  {why}, at {units.clock(at)}", "dim"))]
        others = join.others(place)
        if others:
            names = dict.fromkeys(_name(other) for other in alike[1:4] if other.pid != socket.pid)
            whom = f": {', '.join(names)}" if names else ""
            lines.append((("  ", ""), (f"{others} other{'s' * (others > 1)} may be meant, too{whom}", "warn")))
        return lines


def _name(socket: Socket) -> str:
    return f"{socket.name or '?'}[{socket.pid}]"


def _socket_words(socket: Socket) -> str:
    where = endpoint_text(socket.family, socket.local >> 64, socket.local & _LOW, socket.lport)
    return f"a socket on {where} without another end" if socket.state != 10 else f"it listens on {where}"
