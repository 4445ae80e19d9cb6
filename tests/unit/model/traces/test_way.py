"""A packet's way by hook: what it met, where it ended, and the chains of its own path that it did not reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nettop.decode.nftables.trace import TraceDecoded
from nettop.model.ruleset.picture import IPTABLES_NFT, LEGACY, NFT, ChainView
from nettop.model.table import JourneyDetail
from nettop.model.traces.journeys import Journeys
from nettop.model.traces.table import TraceTable
from tests.unit.model.traces.test_journeys import NATED, PORTS, SECOND, TABLE, THROUGH, UDP, marked, of, ours


def base(ident: int, name: str, hook: str, priority: int, family: str = "inet", **more: Any) -> ChainView:
    chain = ChainView(ident, NFT, family, "t", name, hook, priority, "filter", "accept", 0, 1)
    return replace(chain, **more)


CHAINS = [
    base(1, "pre", "prerouting", -150),
    base(2, "early", "forward", -10),
    base(3, "f", "forward", 0),
    base(4, "tied", "forward", 0),
    base(5, "FORWARD", "forward", 50, "ip", backend=LEGACY, table="security"),
    base(6, "later6", "forward", 60, "ip6"),
    base(7, "bridged", "forward", 60, "bridge"),
    base(8, "asleep", "forward", 70, flags=("dormant",)),
    base(9, "in", "input", 0),
    base(10, "POSTROUTING", "postrouting", 100, "ip", backend=IPTABLES_NFT, table="nat", type="nat"),
    base(11, "forward", "forward", 80, table=TABLE),
]
FORWARDED = [
    marked(),
    ours("mark"),
    of("pre", "accept", type="policy", network=UDP),
    ours("prerouting", type="policy", verdict="accept"),
    ours("forward", network=NATED, transport=PORTS, oif=3),
]


def way(*records: object) -> list[str]:
    """The lines of the first packet's way, without their title."""
    by_name = {one.name: one for one in CHAINS}
    chain = lambda family, table, name, legacy: by_name.get(name)  # noqa: E731
    model = Journeys(lambda *_: None, lambda _, index: f"eth{index}", find_chain=chain)
    model.begin(TABLE, only=None)
    model.apply(TraceDecoded(list(records)), 0, SECOND)  # type: ignore[arg-type]
    model.settle(9 * SECOND)
    found = TraceTable(model, chains=lambda: CHAINS).detail(1, SECOND)
    assert isinstance(found, JourneyDetail) and len(found.lines) == len(found.places)
    text = ["".join(part for part, _ in line) for line in found.lines]
    return text[text.index("  ITS WAY") + 1 :] if "  ITS WAY" in text else []


def test_a_drop_names_the_chains_behind_it_and_those_of_the_next_hook() -> None:
    assert way(*FORWARDED, of("f", "drop", 5, network=NATED, oif=3)) == [
        "  prerouting  t/pre policy ━▶ routing: out eth3",
        "  forward     t/f ? ✖ DROP   not reached: L security/FORWARD",
        "  postrouting not reached: I nat/POSTROUTING",
    ]


def test_an_accepted_packet_reached_all() -> None:
    assert way(*THROUGH) == ["  forward     t/f ?"]


def test_without_a_rule_that_it_met_there_is_no_way() -> None:
    assert way(marked()) == []


@pytest.mark.parametrize(("verdict", "shown"), [("stolen", "✖ STOLEN"), ("queue", "QUEUE")])
def test_other_ends_are_named(verdict: str, shown: str) -> None:
    line = way(*FORWARDED, of("f", verdict, 5, network=NATED, oif=3))[1]
    assert line.split("   not reached")[0].endswith(f"t/f ? {shown}")


def test_of_a_chain_that_is_not_known_nothing_is_said_to_be_behind_it() -> None:
    assert way(*FORWARDED, of("new", "drop", 5, network=NATED, oif=3))[1:] == ["  forward     t/new ? ✖ DROP"]
