"""The words for packets: PROTO and INFO of each row, the same in the list, in `nettop read` and in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from nettop.batch import Array, Batch
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.linux.inet import IPPROTO_ICMPV6, IPPROTO_TCP
from nettop.linux.packet import STP_SAP
from nettop.model.packets import tunnels
from nettop.model.packets.application import application, candidates
from nettop.model.packets.icmp_quotes import quoted
from nettop.model.packets.info import protocol_title, syn_options, tcp_text, window_shift
from nettop.model.packets.tcp_streams import DIRECTION_COLUMNS, Direction, TcpHeader, TcpNumbers
from nettop.model.packets.text import PacketTexts, proto_texts

_SYN = 2
_MAX_TCP_HEADER = 60  # bytes
Described = tuple[list[str], list[str]]  # PROTO and INFO of every row


def tcp_rows(cols: Columns) -> Array:
    """Return the rows with a whole TCP header."""
    return np.flatnonzero(cols["have"] & np.uint16(pc.HAVE_TCP))


def tcp_headers(batch: Batch, cols: Columns, rows: Array, idents: Iterable[int]) -> list[tuple[Direction, TcpHeader]]:
    """Return direction and TCP header of these rows; `idents` are their numbers in the list."""
    columns = (cols.get(name) for name in DIRECTION_COLUMNS)
    ends = [[0] * len(rows) if column is None else column[rows].tolist() for column in columns]
    values = (cols[name][rows].tolist() for name in ("seq", "ack", "flags", "window"))
    found = []
    for row, ident, direction, (seq, ack, flags, window) in zip(
        rows.tolist(), idents, zip(*ends, strict=True), zip(*values, strict=True), strict=True
    ):
        shift = window_shift(_transport(batch, cols, row)) if flags & _SYN else None
        found.append((direction, TcpHeader(ident, seq, ack, flags, window, shift)))
    return found


def _transport(batch: Batch, cols: Columns, row: int) -> bytes:
    at = int(cols["l4"][row])
    return batch.record(row)[at : at + _MAX_TCP_HEADER]


class PacketWords:
    """The words for packets, with a cache of address texts."""

    def __init__(self) -> None:
        self._texts = PacketTexts()
        self.addresses = self._texts.addresses

    def describe(self, batch: Batch, cols: Columns, linktype: int, numbers: Mapping[int, TcpNumbers]) -> Described:
        """Return the protocols and infos of all rows; `numbers`: Seq, Ack and Win of the rows with TCP."""
        names = proto_texts(cols)
        titles = {name: protocol_title(name) for name in set(names)}
        protos = [titles[name] for name in names]
        infos = self._texts.infos(batch, cols, linktype)
        _add_tcp(infos, batch, cols, numbers)
        _add_applications(protos, infos, batch, cols)
        _add_quotes(infos, batch, cols)
        _add_tunnelled(infos, batch, cols)
        for row in np.flatnonzero(cols["have"] & np.uint16(pc.HAVE_LLC)).tolist():
            at = int(cols["l3"][row])
            protos[row] = "STP" if batch.record(row)[at : at + 1] == STP_SAP.to_bytes() else protos[row]
        first = (cols["have"] & (pc.HAVE_FRAGMENT | pc.HAVE_LATER_FRAGMENT)) == pc.HAVE_FRAGMENT
        for row in np.flatnonzero(first).tolist():
            infos[row] += f" (first fragment, id {cols['ip_id'][row]})"
        return protos, infos


def _add_tcp(infos: list[str], batch: Batch, cols: Columns, numbers: Mapping[int, TcpNumbers]) -> None:
    rows = tcp_rows(cols)
    values = zip(rows.tolist(), cols["flags"][rows].tolist(), cols["payload"][rows].tolist(), strict=True)
    for row, flags, payload in values:
        options = syn_options(_transport(batch, cols, row)) if flags & _SYN else ""
        infos[row] = tcp_text(flags, numbers[row], payload, options)


def _add_applications(protos: list[str], infos: list[str], batch: Batch, cols: Columns) -> None:
    rows = candidates(batch, cols)
    values = (cols[name][rows].tolist() for name in ("proto", "sport", "dport", "l4", "payload"))
    for row, proto, sport, dport, l4, payload in zip(rows.tolist(), *values, strict=True):
        record = batch.record(row)
        at = l4 + (record[l4 + 12] >> 4) * 4 if proto == IPPROTO_TCP else l4 + 8
        known = application(proto, (sport, dport), record[at : at + payload], payload)
        if known is not None:
            protos[row], infos[row] = known


def _add_quotes(infos: list[str], batch: Batch, cols: Columns) -> None:
    """Add the packet that an ICMP error is about, before `, length`."""
    errors = cols["have"] & (pc.HAVE_ICMP | pc.HAVE_ICMP_ID) == pc.HAVE_ICMP
    for row in np.flatnonzero(errors).tolist():
        about = quoted(batch.record(row)[int(cols["l4"][row]) :], int(cols["proto"][row]) == IPPROTO_ICMPV6)
        if about:
            message, _, length = infos[row].rpartition(", length")
            infos[row] = f"{message}{about}, length{length}"


def _add_tunnelled(infos: list[str], batch: Batch, cols: Columns) -> None:
    """Put the ends of the packet in a tunnel before `length`."""
    in_ip = np.isin(cols["proto"], tunnels.PROTOCOLS) & (cols["have"] & np.uint16(pc.HAVE_IP) != 0) & (cols["l4"] > 0)
    for row in np.flatnonzero(in_ip | np.isin(cols["ethertype"], tunnels.ETHERTYPES)).tolist():
        record = batch.record(row)
        if in_ip[row]:
            inner = tunnels.in_transport(int(cols["proto"][row]), record[int(cols["l4"][row]) :])
        else:
            inner = tunnels.in_frame(int(cols["ethertype"][row]), record[int(cols["l3"][row]) :])
        if inner:
            message, _, length = infos[row].rpartition("length")
            infos[row] = f"{message}{inner}, length{length}"
