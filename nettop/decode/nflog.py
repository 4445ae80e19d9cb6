"""Trace records of iptables-legacy, as NFLOG sends them: one for each rule or policy that a marked packet met.

Format: linux/netfilter/nfnetlink_log.h; the prefix is of net/ipv4/netfilter/ip_tables.c, trace_packet():
`TRACE: table:chain:type:number `, the number that of the rule, from 1. Records of other prefixes are not ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import read_each
from nettop.linux import nfnetlink
from nettop.linux.inet import IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ROUTING
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes
from nettop.linux.nf_tables import NF_HOOKS

_BODY = NLMSG_HDRLEN + nfnetlink.NFGEN_LENGTH
_TYPE = nfnetlink.NFNL_SUBSYS_ULOG << 8 | nfnetlink.NFULNL_MSG_PACKET
_PREFIX = re.compile(r"TRACE: ([^:]+):(.+):(rule|return|policy):(\d{1,9}) ?")
_HOOKS = {number: name for number, name in NF_HOOKS["inet"].items()}
_FIXED_IPV6, _NEXT_HEADER = 40, 6
_EXTENSIONS = IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_DSTOPTS


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
    out = LegacyDecoded()

    def read(kind: int, record: int, start: int, end: int) -> None:
        found = Attributes(batch.buf, start + _BODY, end)
        step = _record(found, batch.buf[start + NLMSG_HDRLEN], int(batch.ts_ns[record]))
        out.records += [] if step is None else [step]

    out.errors = read_each(batch, (_TYPE,), read, min_length=_BODY)
    return out


def _record(found: Attributes, family: int, ts_ns: int) -> LegacyRecord | None:
    prefix = _PREFIX.fullmatch(found.text(nfnetlink.NFULA_PREFIX))
    header = found.raw(nfnetlink.NFULA_PACKET_HDR)  # hw_protocol, hook, padding
    hook = _HOOKS.get(header[2]) if len(header) == 4 else None
    if prefix is None or hook is None:
        return None
    table, chain, kind, number = prefix.groups()
    packet = found.raw(nfnetlink.NFULA_PAYLOAD)
    name = nfnetlink.NFPROTO_NAMES.get(family, "")
    return LegacyRecord(ts_ns, name, table, chain, kind, int(number), hook, *_headers(packet))


def _headers(packet: bytes) -> tuple[bytes, bytes]:
    """Return the network and the transport header, as the trace records of nf_tables have them."""
    if not packet or packet[0] >> 4 != 6:
        length = (packet[0] & 0xF) * 4 if packet else 0
        return packet[:length], packet[length:]
    proto, at = packet[_NEXT_HEADER] if len(packet) > _NEXT_HEADER else -1, _FIXED_IPV6
    while proto in _EXTENSIONS and at + 8 <= len(packet):  # RFC 8200
        if proto == IPPROTO_FRAGMENT and int.from_bytes(packet[at + 2 : at + 4], "big") >> 3:
            return b"", packet
        proto, at = packet[at], at + (8 if proto == IPPROTO_FRAGMENT else (packet[at + 1] + 1) * 8)
    return packet[:_FIXED_IPV6], packet[at:]
