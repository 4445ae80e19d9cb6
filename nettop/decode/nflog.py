"""Trace records of iptables-legacy, as NFLOG sends them: one for each rule or policy that a marked packet met.

Format: linux/netfilter/nfnetlink_log.h; the prefix is of net/ipv4/netfilter/ip_tables.c, trace_packet():
`TRACE: table:chain:type:number `, the number that of the rule, from 1. Records of other prefixes are not ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import ErrorRows
from nettop.linux import nfnetlink
from nettop.linux.netlink import ERR_VALUE_SHORT, NLMSG_HDRLEN, Attributes, MalformedError, messages
from nettop.linux.nf_tables import NF_HOOKS

_BODY = NLMSG_HDRLEN + nfnetlink.NFGEN_LENGTH
_TYPE = nfnetlink.NFNL_SUBSYS_ULOG << 8 | nfnetlink.NFULNL_MSG_PACKET
_PREFIX = re.compile(r"TRACE: ([^:]+):(.+):(rule|return|policy):(\d{1,9}) ?")
_HOOKS = {number: name for number, name in NF_HOOKS["inet"].items()}
_FIXED_IPV6 = 40


@dataclass(frozen=True, slots=True)
class LegacyRecord:
    """One step of a packet. The headers are those that it had there."""

    ts_ns: int
    family: str  # ip or ip6
    table: str
    chain: str
    type: str  # as the kernel says: it also calls rules without matches return or policy
    number: int  # of the rule
    hook: str
    network: bytes
    transport: bytes


@dataclass(slots=True)
class LegacyDecoded:
    """The records of one batch."""

    records: list[LegacyRecord] = field(default_factory=list)
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


def decode_nflog(batch: Batch) -> LegacyDecoded:
    """Decode a batch of datagrams. Never raises: bad bytes become errors."""
    out, errors = LegacyDecoded(), ErrorRows()
    for row in range(len(batch)):
        data = batch.record(row)
        try:
            for kind, at, end in messages(data):
                record = _record(data, at, end, int(batch.ts_ns[row])) if kind == _TYPE else None
                if record is not None:
                    out.records.append(record)
        except MalformedError as error:
            errors.add(row, int(batch.off[row]) + error.offset, error.code)
    out.errors = errors.merged()
    return out


def _record(data: bytes, at: int, end: int, ts_ns: int) -> LegacyRecord | None:
    if end - at < _BODY:
        raise MalformedError(at, ERR_VALUE_SHORT)
    found = Attributes(data, at + _BODY, end)
    prefix = _PREFIX.fullmatch(found.text(nfnetlink.NFULA_PREFIX))
    header = found.raw(nfnetlink.NFULA_PACKET_HDR)  # hw_protocol, hook, padding
    hook = _HOOKS.get(header[2]) if len(header) == 4 else None
    if prefix is None or hook is None:
        return None
    table, chain, kind, number = prefix.groups()
    packet = found.raw(nfnetlink.NFULA_PAYLOAD)
    length = _FIXED_IPV6 if packet[:1] and packet[0] >> 4 == 6 else (packet[0] & 0xF) * 4 if packet else 0
    family = nfnetlink.NFPROTO_NAMES.get(data[at + NLMSG_HDRLEN], "")
    return LegacyRecord(ts_ns, family, table, chain, kind, int(number), hook, packet[:length], packet[length:])
