"""Trace records of nf_tables: one for each rule that a marked packet met, or for a chain's policy.

Format: linux/netfilter/nf_tables.h, enum nft_trace_attributes; net/netfilter/nf_tables_trace.c. The headers and devices
are in the first record of each base chain only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.decode.netlink import ErrorRows
from nettop.decode.netlink_shapes import Shapes
from nettop.decode.nftables.objects import family_name
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import ERR_VALUE_SHORT, NLMSG_HDRLEN, Attributes, MalformedError, Span, messages
from nettop.linux.nfnetlink import NF_VERDICTS, NFGEN_LENGTH, NFNL_SUBSYS_NFTABLES

_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_TYPE = NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_TRACE
_NF_VERDICT_MASK = 0xFF  # linux/netfilter.h; above it the number of a queue


class TraceRecord(NamedTuple):
    """One step of a packet. What a record does not have is None or empty; `iif` and `oif` are indexes of devices."""

    ts_ns: int
    id: int  # of a packet on its way; the next packet may have the same
    family: str  # of the table
    table: str
    chain: str
    handle: int | None  # None: the end of the chain, or no rule
    type: str  # rule, return, policy
    verdict: str  # continue, accept, drop, jump, goto, return, queue … or of a policy accept, drop
    target: str = ""  # chain of a jump or goto
    iif: int | None = None
    oif: int | None = None
    mark: int | None = None
    protocol: int | None = None  # NFPROTO_* of the packet
    ct_id: int | None = None
    ct_state: int | None = None  # bits of NF_CT_STATE_BIT
    network: bytes = b""  # the header's first bytes, and those of the transport header
    transport: bytes = b""
    number: int | None = None  # of a rule of iptables-legacy, which has no handle


@dataclass(slots=True)
class TraceDecoded:
    """The records of one batch."""

    records: list[TraceRecord] = field(default_factory=list)
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


class _TraceShape(NamedTuple):
    """A step, and where the records of other packets that took it have their values."""

    fixed: tuple[Any, ...]  # the fields of TraceRecord between `id` and `mark`
    protocol: int | None
    spans: tuple[Span, ...]  # of _VARYING, from the message's first byte; empty: the record does not have it

    def record(self, data: bytes, at: int, ts_ns: int) -> TraceRecord:
        values = [data[at + first : at + last] for first, last in self.spans]
        number, mark, ct_id, ct_state = [int.from_bytes(value, "big") if value else None for value in values[:4]]
        return TraceRecord._make((ts_ns, number, *self.fixed, mark, self.protocol, ct_id, ct_state, *values[4:], None))


class TraceDecoder:
    """The decoder of one stream. Most records are of a step that an earlier packet took, too."""

    def __init__(self) -> None:
        self._shapes: Shapes[_TraceShape] = Shapes()

    def __call__(self, batch: Batch) -> TraceDecoded:
        """Decode a batch of datagrams. Never raises: bad bytes become errors."""
        out, errors = TraceDecoded(), ErrorRows()
        outgoing = batch.meta.outgoing if isinstance(batch.meta, NetlinkMeta) else None
        columns = zip(batch.off.tolist(), batch.caplen.tolist(), batch.ts_ns.tolist(), strict=True)
        for row, (first, size, ts_ns) in enumerate(columns):
            if outgoing is not None and outgoing[row]:
                continue
            data = bytes(batch.buf[first : first + size])
            try:
                for kind, at, end in messages(data):
                    if kind == _TYPE:
                        out.records.append(self._record(data, at, end, ts_ns))
            except MalformedError as error:
                errors.add(row, first + error.offset, error.code)
        out.errors = errors.merged()
        return out

    def _record(self, data: bytes, at: int, end: int, ts_ns: int) -> TraceRecord:
        if end - at < _BODY:
            raise MalformedError(at, ERR_VALUE_SHORT)
        shape = self._shapes.find(data, at, end)
        if shape is None:
            found = Attributes(data, at + _BODY, end)
            record = _decoded(found, family_name(data[at + NLMSG_HDRLEN]), ts_ns)
            spans = [found.span(kind) if kind in found else (at, at) for kind in _VARYING]
            own = tuple((first - at, last - at) for first, last in spans)
            self._shapes.add(data, at, end, spans, _TraceShape(record[2:11], record.protocol, own))
            return record
        return shape.record(data, at, ts_ns)


_VARYING = (
    nft.NFTA_TRACE_ID,
    nft.NFTA_TRACE_MARK,
    nft.NFTA_TRACE_CT_ID,
    nft.NFTA_TRACE_CT_STATE,
    nft.NFTA_TRACE_NETWORK_HEADER,
    nft.NFTA_TRACE_TRANSPORT_HEADER,
)


def _decoded(found: Attributes, family: str, ts_ns: int) -> TraceRecord:
    found.require(nft.NFTA_TRACE_ID, nft.NFTA_TRACE_TYPE)
    verdict, target = _verdict(found)
    kind = found.number(nft.NFTA_TRACE_TYPE, 4, 4) or 0
    return TraceRecord(
        ts_ns,
        found.number(nft.NFTA_TRACE_ID, 4, 4) or 0,
        family,
        found.text(nft.NFTA_TRACE_TABLE),
        found.text(nft.NFTA_TRACE_CHAIN),
        found.number(nft.NFTA_TRACE_RULE_HANDLE, 8),
        nft.NFT_TRACE_TYPES.get(kind, f"type {kind}"),
        verdict,
        target,
        found.number(nft.NFTA_TRACE_IIF, 4, 4),
        found.number(nft.NFTA_TRACE_OIF, 4, 4),
        found.number(nft.NFTA_TRACE_MARK, 4, 4),
        found.number(nft.NFTA_TRACE_NFPROTO, 4, 4),
        found.number(nft.NFTA_TRACE_CT_ID, 4, 4),
        found.number(nft.NFTA_TRACE_CT_STATE, 4, 4),
        found.raw(nft.NFTA_TRACE_NETWORK_HEADER),
        found.raw(nft.NFTA_TRACE_TRANSPORT_HEADER),
    )


def _verdict(found: Attributes) -> tuple[str, str]:
    """Return the verdict's name, and the chain of a jump or goto."""
    if (policy := found.number(nft.NFTA_TRACE_POLICY, 4, 4)) is not None:
        return NF_VERDICTS.get(policy & _NF_VERDICT_MASK, str(policy)), ""
    verdict = found.nested(nft.NFTA_TRACE_VERDICT)
    code = verdict.number(nft.NFTA_VERDICT_CODE, 4, 4, signed=True)
    if code is None:
        return "", ""
    name = nft.NFT_VERDICTS.get(code) if code < 0 else NF_VERDICTS.get(code & _NF_VERDICT_MASK)
    return name or str(code), verdict.text(nft.NFTA_VERDICT_CHAIN)
