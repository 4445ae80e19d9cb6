"""The engine and recordings: damaged ones, and those that tell of more than a host has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.batch import Batch, Item, NetlinkMeta, StreamAdded
from nettop.model.ledger import LedgerRow
from nettop.model.ruleset.ruleset import Ruleset
from nettop.pipeline.engine import Engine
from nettop.recording.reader import open_reader
from tests.unit.test_captures import CAPTURES

NLMSG_MIN_TYPE = 16  # below it: ends and errors, linux/netlink.h
FIRST_ATTRIBUTE = 20  # of an nfnetlink message: behind nlmsghdr and nfgenmsg


def played(items: list[Item]) -> dict[str, LedgerRow]:
    engine = Engine()
    for item in items:
        engine.apply(item, 0)
    assert engine.ledger.unreadable() == sum(row.unreadable for row in engine.ledger.rows())
    return {row.name: row for row in engine.ledger.rows()}


def damaged(batch: Batch) -> tuple[Batch, int]:
    """The batch with the first attribute of every record longer than its message, and how many those are."""
    assert isinstance(batch.meta, NetlinkMeta)
    buf, count = bytearray(batch.buf), 0
    for i in range(len(batch)):
        at = int(batch.off[i]) + FIRST_ATTRIBUTE
        kind = int.from_bytes(buf[at - 16 : at - 14], "little")
        if not batch.meta.outgoing[i] and kind >= NLMSG_MIN_TYPE:
            buf[at : at + 2], count = b"\xff\xff", count + 1
    return replace(batch, buf=bytes(buf)), count


@pytest.mark.parametrize("name", ["conntrack", "conntrack-dump", "ctstats"])
def test_damaged_messages_are_counted_as_unreadable(name: str) -> None:
    reader = open_reader(str(CAPTURES / "demo-gw-a.pcapng"))
    items = list(reader)
    reader.close()
    assert all(row.unreadable == 0 for row in played(items).values())
    streams = {item.stream.id for item in items if isinstance(item, StreamAdded) and item.stream.name == name}
    bad, spoilt = list[Item](), 0
    for item in items:
        if isinstance(item, Batch) and item.stream in streams:
            item, count = damaged(item)
            spoilt += count
        bad.append(item)
    row = played(bad)[name]
    assert spoilt > 0 and row.unreadable == spoilt
    assert row.seen == row.shown + row.filtered + row.evicted + row.unreadable


def test_namespaces_without_end_are_told_apart_as_far_as_columns_can_and_cost_no_search() -> None:
    engine = Engine()
    codes = [engine.code(f"n{number}") for number in range(70_000)]
    assert codes[:65_536] == list(range(65_536)) and set(codes[65_536:]) == {65_535}
    assert [engine.code(f"n{number}") for number in (0, 65_535, 69_999, 70_000)] == [0, 65_535, 65_535, 65_535]
    assert len(engine.labels) == 65_536


def test_the_title_of_every_column_fits_its_narrowest_width() -> None:
    titles = {(view, c.title): c.width for view, table in Engine().views.items() for c in table.columns}
    assert [name for name, width in titles.items() if len(name[1]) > width] == []


def test_the_versions_of_views_are_read_without_joining_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, joined = Engine(""), list[Ruleset]()
    monkeypatch.setattr(Ruleset, "_join", joined.append)

    assert all(view.version >= 0 for view in engine.views.values())
    assert not joined, "the loop of the screens reads them while the models' thread joins"
