"""Accounting objects of nfacct: named counters with an optional quota (linux/netfilter/nfnetlink_acct.h)."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import read_each
from nettop.linux import nfnetlink as nfnl
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes

_ACCT_NEW = nfnl.NFNL_SUBSYS_ACCT << 8 | nfnl.NFNL_MSG_ACCT_NEW


@dataclass(frozen=True, slots=True)
class NfacctObject:
    """One object. `packets` and `bytes` count since it was created or reset."""

    name: str  # not safe for a terminal
    packets: int
    bytes: int
    use: int | None  # the number of rules that refer to it, plus one
    quota: int | None  # None: without one
    unit: str  # of the quota: packets, bytes, or ""
    over: bool  # the quota was reached and a notification sent


@dataclass(frozen=True, slots=True)
class NfacctDecoded:
    """The objects of one batch of the "nfacct" stream, in its order."""

    ts_ns: int  # of the last datagram
    objects: tuple[NfacctObject, ...]
    errors: DecodeErrors


def decode_nfacct(batch: Batch) -> NfacctDecoded:
    """Decode the objects of a batch. Never raises on bad bytes. Our own requests are skipped."""
    objects: list[NfacctObject] = []

    def read(kind: int, record: int, start: int, end: int) -> None:
        objects.append(_object(Attributes(batch.buf, start + NLMSG_HDRLEN + nfnl.NFGEN_LENGTH, end)))

    errors = read_each(batch, (_ACCT_NEW,), read)
    ts_ns = int(batch.ts_ns[-1]) if len(batch) else 0
    return NfacctDecoded(ts_ns, tuple(objects), errors)


def _object(found: Attributes) -> NfacctObject:
    found.require(nfnl.NFACCT_NAME, nfnl.NFACCT_PKTS, nfnl.NFACCT_BYTES)
    flags = found.number(nfnl.NFACCT_FLAGS, min_size=4) or 0
    unit = "packets" if flags & nfnl.NFACCT_F_QUOTA_PKTS else "bytes" if flags & nfnl.NFACCT_F_QUOTA_BYTES else ""
    quota = found.number(nfnl.NFACCT_QUOTA, min_size=8)
    return NfacctObject(
        found.text(nfnl.NFACCT_NAME),
        found.number(nfnl.NFACCT_PKTS, min_size=8) or 0,
        found.number(nfnl.NFACCT_BYTES, min_size=8) or 0,
        found.number(nfnl.NFACCT_USE, min_size=4),
        quota if unit else None,
        unit,
        bool(flags & nfnl.NFACCT_F_OVERQUOTA),
    )
