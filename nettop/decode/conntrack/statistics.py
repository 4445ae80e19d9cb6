"""Conntrack statistics: per-CPU counters and the table's size (linux/netfilter/nfnetlink_conntrack.h, CTA_STATS_*)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.decode.netlink import (
    ERR_VALUE_SHORT,
    NLMSG_HDRLEN,
    BadAttribute,
    Buffer,
    ErrorRows,
    Messages,
    attributes,
    split,
)
from nettop.linux import conntrack as nfct

_BODY = NLMSG_HDRLEN + nfct.NFGEN_LENGTH
_CPU = nfct.NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_GET_STATS_CPU
_TABLE = nfct.NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_GET_STATS
# Asked of the expectation subsystem, answered under conntrack's own (ctnetlink_exp_stat_fill_info).
_EXPECT_CPU = nfct.NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_EXP_GET_STATS_CPU
_GLOBAL = {nfct.CTA_STATS_GLOBAL_ENTRIES: "entries", nfct.CTA_STATS_GLOBAL_MAX_ENTRIES: "max_entries"}


@dataclass(frozen=True, slots=True)
class CpuStats:
    """One CPU's counters since boot, wrapping at 32 bits; None: this kernel does not send it."""

    cpu: int
    ts_ns: int
    found: int | None = None
    invalid: int | None = None
    insert: int | None = None
    insert_failed: int | None = None
    drop: int | None = None
    early_drop: int | None = None
    error: int | None = None
    search_restart: int | None = None
    clash_resolve: int | None = None
    chain_toolong: int | None = None
    searched: int | None = None  # this and below: no longer counted by current kernels
    new: int | None = None
    ignore: int | None = None
    delete: int | None = None
    delete_list: int | None = None


@dataclass(frozen=True, slots=True)
class ExpectCpuStats:
    """One CPU's counters of expectations since boot."""

    cpu: int
    ts_ns: int
    new: int | None = None
    create: int | None = None
    delete: int | None = None


@dataclass(frozen=True, slots=True)
class TableStats:
    """How many entries the namespace's table holds, and how many it may."""

    ts_ns: int
    entries: int | None = None
    max_entries: int | None = None


@dataclass(frozen=True, slots=True)
class ConntrackStats:
    """What a batch of answers says, in their order."""

    stream: int
    seq: int
    cpus: tuple[CpuStats, ...]
    expect_cpus: tuple[ExpectCpuStats, ...]
    tables: tuple[TableStats, ...]
    errors: DecodeErrors


def decode_ctstats(batch: Batch) -> ConntrackStats:
    """The statistics of a batch of the "ctstats" stream. Never raises on bad bytes; requests of ours are skipped."""
    messages = split(batch)
    errors = ErrorRows()
    found: list[CpuStats | ExpectCpuStats | TableStats] = []
    for row in _answers(batch, messages):
        record, start = int(messages.record[row]), int(messages.offset[row])
        end, ts_ns = start + int(messages.length[row]), int(batch.ts_ns[record])
        try:
            found.append(_answer(int(messages.kind[row]), batch.buf, start, end, ts_ns))
        except BadAttribute as error:
            errors.add(record, error.offset, error.code)
    return ConntrackStats(
        batch.stream,
        batch.seq,
        tuple(one for one in found if isinstance(one, CpuStats)),
        tuple(one for one in found if isinstance(one, ExpectCpuStats)),
        tuple(one for one in found if isinstance(one, TableStats)),
        errors.merged(messages.errors),
    )


def _answer(kind: int, buf: Buffer, start: int, end: int, ts_ns: int) -> CpuStats | ExpectCpuStats | TableStats:
    if kind == _CPU:
        return CpuStats(_cpu(buf, start, end), ts_ns, **_values(buf, start, end, nfct.CTA_STATS_CPU))
    if kind == _EXPECT_CPU:
        return ExpectCpuStats(_cpu(buf, start, end), ts_ns, **_values(buf, start, end, nfct.CTA_STATS_EXP))
    return TableStats(ts_ns, **_values(buf, start, end, _GLOBAL))


def _answers(batch: Batch, messages: Messages) -> Iterator[int]:
    wanted = np.isin(messages.kind, (_CPU, _TABLE, _EXPECT_CPU))
    if isinstance(batch.meta, NetlinkMeta):
        wanted &= ~batch.meta.outgoing[messages.record]
    return iter(np.flatnonzero(wanted).tolist())


def _cpu(buf: Buffer, start: int, end: int) -> int:
    """The CPU's number: the kernel puts it into the nfgenmsg's res_id."""
    if end - start < _BODY:
        raise BadAttribute(start, ERR_VALUE_SHORT)
    return int.from_bytes(buf[start + _BODY - 2 : start + _BODY], "big")


def _values(buf: Buffer, start: int, end: int, names: Mapping[int, str]) -> dict[str, int]:
    """The be32 attributes that have a name."""
    found: dict[str, int] = {}
    for kind, begin, stop in attributes(buf, start + _BODY, end):
        if kind in names:
            if stop - begin < 4:
                raise BadAttribute(begin, ERR_VALUE_SHORT)
            found[names[kind]] = int.from_bytes(buf[begin : begin + 4], "big")
    return found
