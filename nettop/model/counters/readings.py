"""Readings of counters from decoded items: conntrack statistics, nft and nfacct objects, files in /proc."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from nettop.broker.requests import CounterName
from nettop.decode.conntrack.statistics import ConntrackStats, CpuStats, ExpectCpuStats
from nettop.decode.net_statistics import NetStatistics, NfLogGroup, NfQueue
from nettop.decode.nfacct import NfacctObject
from nettop.decode.nftables.objects import NftObject
from nettop.linux.nfnetlink import NFPROTO_NUMBERS
from nettop.model.counters.meanings import BAD, HOST_WIDE, MEANING, NET_MEANING, SOFTNET_MEANING
from nettop.model.counters.series import WRAP32, WRAP64, About, Reading
from nettop.text.units import duration, grouped, scaled

TABLE, CONNTRACK, EXPECT, LEDGER = "table", "conntrack", "expect", "ledger"
NFT_COUNTER, NFT_QUOTA, NFT_LIMIT, NFACCT = "nft-counter", "nft-quota", "nft-limit", "nfacct"
NFT_SET, NFT_ELEMENT = "nft-set", "nft-element"
NFQUEUE, NFLOG, SOFTNET = "nfqueue", "nflog", "softnet"
_MAX_REMEMBERED = 50_000  # objects whose readings are remembered
_UNITS = {1: "second", 60: "minute", 3600: "hour", 86_400: "day", 604_800: "week"}  # of a limit
_COPY_MODES = {0: "nothing", 1: "metadata", 2: "packets"}  # NFQNL_COPY_*, NFULNL_COPY_*


def conntrack_cpus(stats: ConntrackStats) -> Iterator[tuple[int, Reading]]:
    """Yield time (ns) and reading of each counter of each CPU that the kernel sends."""
    for cpu in stats.cpus:
        yield from _cpu(CONNTRACK, cpu)
    for expect in stats.expect_cpus:
        yield from _cpu(EXPECT, expect)


def _cpu(group: str, stats: CpuStats | ExpectCpuStats) -> Iterator[tuple[int, Reading]]:
    for name in (one.name for one in fields(stats) if one.name not in ("cpu", "ts_ns")):
        value = getattr(stats, name)
        if value is not None:
            about = About(MEANING[group].get(name, ""), alarming=name in BAD)
            yield stats.ts_ns, Reading(group, name, value, WRAP32, stats.cpu, about=about)


def table_reading(name: str, value: int, unit: str = "entries", limit: int | None = None, note: str = "") -> Reading:
    """Return the reading of a counter of conntrack's table; `note` follows its meaning."""
    return Reading(TABLE, name, value, about=About(MEANING[TABLE][name] + note, unit, limit))


def nft_object(found: NftObject) -> Reading | None:
    """Return the reading of a named counter, quota or limit; None for other objects, which count nothing."""
    name, about = f"{found.family} {found.table} {found.name}", f" ({found.comment})" if found.comment else ""
    used_by = _rules(found.use)
    if found.type == "counter":
        words = About(f"nft counter{about}{used_by}", "packets", resets=_resets(NFT_COUNTER, found))
        return Reading(NFT_COUNTER, name, found.packets, WRAP64, octets=found.bytes, about=words)
    if found.type == "quota":
        return Reading(NFT_QUOTA, name, found.used, WRAP64, about=_quota(found, f"{about}{used_by}"))
    if found.type == "limit":
        return Reading(NFT_LIMIT, name, found.rate, about=_limit(found, f"{about}{used_by}"))
    return None


class ObjectReadings:
    """The readings of nft objects. An object that the decoder returns again is converted once."""

    def __init__(self) -> None:
        # By id(), which is unique while the object is referenced.
        self._known: dict[int, tuple[NftObject, Reading | None]] = {}

    def __call__(self, objects: Iterable[NftObject]) -> Iterator[Reading]:
        """Yield the readings of the named counters, quotas and limits among them."""
        for found in objects:
            known = self._known.get(id(found))
            if known is None:
                known = self._known[id(found)] = found, nft_object(found)
            if known[1] is not None:
                yield known[1]

    def forget(self) -> None:
        """Forget the readings when they are too many. Called when a dump begins."""
        if len(self._known) > _MAX_REMEMBERED:
            self._known.clear()


def _resets(group: str, found: NftObject) -> CounterName:
    return CounterName(group, NFPROTO_NUMBERS.get(found.family, 0), found.table, found.name)


def _rules(use: int | None) -> str:
    return f", in {use} rule{'s'[: use != 1]}" if use else ", in no rule"


def _quota(found: NftObject, rest: str) -> About:
    over = found.quota is not None and (found.used or 0) > found.quota
    side = "over" if found.inverted else "until"
    meaning = f"bytes counted by an nft quota, matches {side} {scaled(found.quota)}{': OVER' if over else ''}{rest}"
    return About(meaning, "bytes", found.quota, alarming=over, resets=_resets(NFT_QUOTA, found))


def _limit(found: NftObject, rest: str) -> About:
    unit = "bytes" if found.limit_type == "bytes" else "packets"
    per = _UNITS.get(found.unit or 0, f"{found.unit} s")
    number = grouped(found.rate) if unit == "packets" else f"{scaled(found.rate)} bytes"
    burst = f", burst {grouped(found.burst)} {unit}" if found.burst else ""
    over = "matches what is over " if found.inverted else "lets through "
    return About(f"{over}{number} per {per}{burst}: a definition, it counts nothing{rest}", unit)


def nfacct_objects(objects: Iterable[NfacctObject]) -> Iterator[Reading]:
    """Yield packets and bytes of every object, and the use of those with a quota in packets."""
    for found in objects:
        by_bytes = found.unit == "bytes"
        over = found.over or (found.quota is not None and (found.bytes if by_bytes else found.packets) > found.quota)
        quota = f", quota {grouped(found.quota)} {found.unit}{': OVER' if over else ''}" if found.unit else ""
        limit = found.quota if found.unit == "packets" else None
        use = None if found.use is None else max(0, found.use - 1)  # one reference is the object's own
        meaning = f"nfacct object{quota}{_rules(use)}"
        resets = CounterName(NFACCT, 0, "", found.name)
        about = About(meaning, "packets", limit, alarming=over, resets=resets)
        yield Reading(NFACCT, found.name, found.packets, WRAP64, octets=found.bytes, about=about)


def net_statistics(found: NetStatistics) -> Iterator[Reading]:
    """Yield the counters of NET_MEANING, those of softnet by CPU, queues and logs."""
    for group, names in NET_MEANING.items():
        for name, (meaning, bad) in names.items():
            if name in found.counters:
                yield Reading(group, name, found.counters[name], WRAP64, about=About(meaning, alarming=bad))
    for cpu in found.softnet:
        for name, (meaning, bad) in SOFTNET_MEANING.items():
            value = getattr(cpu, name)
            if value is not None:
                wrap = None if name == "backlog" else WRAP32
                yield Reading(SOFTNET, name, value, wrap, cpu.cpu, about=About(meaning + HOST_WIDE, alarming=bad))
    for queue in found.queues or ():
        yield from _queue(queue)
    for log in found.logs or ():
        yield _log(log)


def _queue(queue: NfQueue) -> Iterator[Reading]:
    copied = _COPY_MODES.get(queue.copy_mode, str(queue.copy_mode))
    who = f"NFQUEUE {queue.number}, {copied} to netlink port {queue.portid}"
    parts = (
        ("packets", queue.sequence, WRAP32, f"packets given to {who}", False),
        ("waiting", queue.waiting, None, f"packets without a verdict yet: {who}", False),
        ("dropped", queue.dropped, WRAP32, f"dropped: the queue was full: {who}", True),
        ("user dropped", queue.user_dropped, WRAP32, f"dropped: the program's buffer was full: {who}", True),
    )
    for name, value, wrap, meaning, bad in parts:
        yield Reading(NFQUEUE, f"{queue.number} {name}", value, wrap, about=About(meaning, "packets", alarming=bad))


def _log(log: NfLogGroup) -> Reading:
    copied = _COPY_MODES.get(log.copy_mode, str(log.copy_mode))
    meaning = (
        f"records gathered for the next message of NFLOG group {log.group}: {copied} to netlink port {log.portid},"
        f" at the latest after {duration(log.flush_timeout / 100)}"
    )
    return Reading(NFLOG, f"{log.group} waiting", log.waiting, about=About(meaning, "records"))
