"""nfacct's accounting objects: named counters with an optional quota (linux/netfilter/nfnetlink_acct.h)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.decode.netlink import ERR_VALUE_SHORT, NLMSG_HDRLEN, BadAttribute, Buffer, ErrorRows, attributes, split

_NFNL_SUBSYS_ACCT = 7  # linux/netfilter/nfnetlink.h
_NFGEN_LENGTH = 4  # struct nfgenmsg
_ACCT_NEW = _NFNL_SUBSYS_ACCT << 8  # NFNL_MSG_ACCT_NEW 0: what a dump is answered by
# enum nfnl_acct_type
_NAME, _PACKETS, _BYTES, _USE, _FLAGS, _QUOTA = 1, 2, 3, 4, 5, 6
_NUMBERS = {
    _PACKETS: ("packets", 8),
    _BYTES: ("bytes", 8),
    _USE: ("use", 4),
    _FLAGS: ("flags", 4),
    _QUOTA: ("quota", 8),
}
_QUOTA_PACKETS, _QUOTA_BYTES, _OVERQUOTA = 1, 2, 4  # enum nfnl_acct_flags


@dataclass(frozen=True, slots=True)
class NfacctObject:
    """One object; packets and bytes since it was made or reset."""

    name: str  # not yet safe for a terminal
    packets: int
    bytes: int
    use: int | None  # rules that refer to it, and itself
    quota: int | None  # None: it has none
    unit: str  # of the quota: packets, bytes, or ""
    over: bool  # the quota was reached, and said so once


@dataclass(frozen=True, slots=True)
class NfacctDecoded:
    """What a batch of the "nfacct" stream says, in its order."""

    stream: int
    seq: int
    ts_ns: int  # of the last datagram
    objects: tuple[NfacctObject, ...]
    errors: DecodeErrors


def decode_nfacct(batch: Batch) -> NfacctDecoded:
    """The objects in a batch. Never raises on bad bytes; requests of ours are skipped."""
    messages = split(batch)
    errors = ErrorRows()
    wanted = messages.kind == _ACCT_NEW
    if isinstance(batch.meta, NetlinkMeta):
        wanted &= ~batch.meta.outgoing[messages.record]
    objects: list[NfacctObject] = []
    for row in np.flatnonzero(wanted).tolist():
        start = int(messages.offset[row])
        try:
            objects.append(_object(batch.buf, start, start + int(messages.length[row])))
        except BadAttribute as error:
            errors.add(int(messages.record[row]), error.offset, error.code)
    ts_ns = int(batch.ts_ns[-1]) if len(batch) else 0
    return NfacctDecoded(batch.stream, batch.seq, ts_ns, tuple(objects), errors.merged(messages.errors))


def _object(buf: Buffer, start: int, end: int) -> NfacctObject:
    name = ""
    numbers: dict[str, int] = {}
    for kind, begin, stop in attributes(buf, start + NLMSG_HDRLEN + _NFGEN_LENGTH, end):
        if kind == _NAME:
            name = bytes(buf[begin:stop]).split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
        elif kind in _NUMBERS:
            word, width = _NUMBERS[kind]
            if stop - begin < width:
                raise BadAttribute(begin, ERR_VALUE_SHORT)
            numbers[word] = int.from_bytes(buf[begin : begin + width], "big")
    if not name or not {"packets", "bytes"} <= numbers.keys():
        raise BadAttribute(start, ERR_VALUE_SHORT)
    flags = numbers.get("flags", 0)
    unit = "packets" if flags & _QUOTA_PACKETS else "bytes" if flags & _QUOTA_BYTES else ""
    quota = numbers.get("quota") if unit else None
    return NfacctObject(
        name, numbers["packets"], numbers["bytes"], numbers.get("use"), quota, unit, bool(flags & _OVERQUOTA)
    )
