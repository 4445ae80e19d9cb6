"""Drop reasons as counters: changes are those since the last reading, also of a reason that is new."""

from __future__ import annotations

from nettop.decode.drops import DropCount, DropCounts
from nettop.model.counters.cells import meaning
from nettop.model.counters.series import Series
from nettop.model.counters.table import CounterTable

SECOND = 1_000_000_000


def at(second: int, *counts: tuple[str, str, int], lost: int = 0) -> DropCounts:
    found = [DropCount(reason, function, 0x0800, count) for reason, function, count in counts]
    return DropCounts(second * SECOND, "", SECOND, lost, found)


def rows(table: CounterTable) -> dict[str, Series]:
    return {row.key.name: row for row in table.rows()}


def test_a_reason_that_is_new_was_zero_at_the_last_reading() -> None:
    table = CounterTable()
    table.apply(at(2), 0, 0)
    table.apply(at(4, ("IP_RPFILTER", "ip_rcv_finish_core", 6)), 0, 0)
    found = rows(table)
    assert (found["IP_RPFILTER"].delta, found["IP_RPFILTER"].rate) == (6, 3.0)
    assert (found["all"].value, found["all"].delta) == (6, 6)
    table.apply(at(5, ("IP_RPFILTER", "ip_rcv_finish_core", 6)), 0, 0)
    assert rows(table)["IP_RPFILTER"].delta == 0


def test_drops_before_the_first_reading_have_the_rate_since_counting_began() -> None:
    table = CounterTable()
    table.apply(at(3, ("NO_SOCKET", "__udp4_lib_rcv", 8)), 0, 0)
    assert (rows(table)["NO_SOCKET"].delta, rows(table)["NO_SOCKET"].rate) == (8, 4.0)


def test_the_functions_are_named_with_their_shares() -> None:
    table = CounterTable()
    table.apply(at(3, ("NETFILTER_DROP", "nft_do_chain", 2), ("NETFILTER_DROP", "ipt_do_table", 5)), 0, 0)
    row = rows(table)["NETFILTER_DROP"]
    assert (row.value, row.about.places) == (7, (("ipt_do_table ip", 5), ("nft_do_chain ip", 2)))
    assert meaning(row).startswith("dropped by a rule or a policy; in ipt_do_table ip 5, nft_do_chain ip 2")


def test_lost_drops_are_a_row_and_a_missing_right_is_said() -> None:
    table = CounterTable()
    table.apply(at(3, lost=4), 0, 0)
    assert rows(table)["lost"].value == 4 and rows(table)["lost"].about.alarming
    table = CounterTable()
    table.apply(DropCounts(1, "they need root on the host"), 0, 0)
    assert rows(table)["all"].value is None and "they need root on the host" in meaning(rows(table)["all"])


def test_a_reason_without_a_meaning_here_has_its_name() -> None:
    table = CounterTable()
    table.apply(at(3, ("NEW_IN_LINUX_9", "f", 1)), 0, 0)
    assert meaning(rows(table)["NEW_IN_LINUX_9"]) == "in f ip; of the whole host"
