"""Conntrack statistics: per-CPU counters and the table's size (linux/netfilter/nfnetlink_conntrack.h, CTA_STATS_*)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import read_each
from nettop.linux import conntrack as nfct
from nettop.linux.netlink import ERR_VALUE_SHORT, NLMSG_HDRLEN, Attributes, Buffer, MalformedError
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_CTNETLINK

_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_CPU = NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_GET_STATS_CPU
_TABLE = NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_GET_STATS
# Requested from the expectation subsystem, answered as conntrack's own (ctnetlink_exp_stat_fill_info).
_EXPECT_CPU = NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_EXP_GET_STATS_CPU
_GLOBAL = {nfct.CTA_STATS_GLOBAL_ENTRIES: "entries", nfct.CTA_STATS_GLOBAL_MAX_ENTRIES: "max_entries"}


@dataclass(frozen=True, slots=True)
class CpuStats:
    """The counters of one CPU since boot, which wrap at 32 bits. None: this kernel does not send it."""

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
    searched: int | None = None  # this one and those below: not counted by current kernels
    new: int | None = None
    ignore: int | None = None
    delete: int | None = None
    delete_list: int | None = None


@dataclass(frozen=True, slots=True)
class ExpectCpuStats:
    """The counters of expectations of one CPU since boot."""

    cpu: int
    ts_ns: int
    new: int | None = None
    create: int | None = None
    delete: int | None = None


@dataclass(frozen=True, slots=True)
class TableStats:
    """The number of entries in the namespace's table, and its limit."""

    ts_ns: int
    entries: int | None = None
    max_entries: int | None = None


@dataclass(frozen=True, slots=True)
class ConntrackStats:
    """The statistics in one batch of answers, in their order."""

    cpus: tuple[CpuStats, ...]
    expect_cpus: tuple[ExpectCpuStats, ...]
    tables: tuple[TableStats, ...]
    errors: DecodeErrors


def decode_ctstats(batch: Batch) -> ConntrackStats:
    """Decode a batch of the "ctstats" stream. Never raises on bad bytes. Our own requests are skipped."""
    found: list[CpuStats | ExpectCpuStats | TableStats] = []

    def read(kind: int, record: int, start: int, end: int) -> None:
        found.append(_answer(kind, batch.buf, start, end, int(batch.ts_ns[record])))

    errors = read_each(batch, (_CPU, _TABLE, _EXPECT_CPU), read)
    return ConntrackStats(
        tuple(one for one in found if isinstance(one, CpuStats)),
        tuple(one for one in found if isinstance(one, ExpectCpuStats)),
        tuple(one for one in found if isinstance(one, TableStats)),
        errors,
    )


def _answer(kind: int, buf: Buffer, start: int, end: int, ts_ns: int) -> CpuStats | ExpectCpuStats | TableStats:
    if kind == _CPU:
        return CpuStats(_cpu(buf, start, end), ts_ns, **_values(buf, start, end, nfct.CTA_STATS_CPU))
    if kind == _EXPECT_CPU:
        return ExpectCpuStats(_cpu(buf, start, end), ts_ns, **_values(buf, start, end, nfct.CTA_STATS_EXP))
    return TableStats(ts_ns, **_values(buf, start, end, _GLOBAL))


def _cpu(buf: Buffer, start: int, end: int) -> int:
    """Return the number of the CPU, which the kernel puts into the res_id of the nfgenmsg."""
    if end - start < _BODY:
        raise MalformedError(start, ERR_VALUE_SHORT)
    return int.from_bytes(buf[start + _BODY - 2 : start + _BODY], "big")


def _values(buf: Buffer, start: int, end: int, names: Mapping[int, str]) -> dict[str, int]:
    """Return the values of the attributes in `names`, by name. They are big endian, of at least 4 bytes."""
    found = Attributes(buf, start + _BODY, end)
    values = {name: found.number(kind, min_size=4) for kind, name in names.items()}
    return {name: value for name, value in values.items() if value is not None}
