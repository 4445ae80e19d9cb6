"""Steps in the kernel's order: those of iptables-legacy between those of nft, by priority, never after the end."""

from __future__ import annotations

import pytest

from nettop.decode.nflog import LegacyDecoded, LegacyRecord
from nettop.decode.nftables.trace import TraceDecoded, TraceRecord
from nettop.model.ruleset.hooks import LEGACY_TABLES
from nettop.model.ruleset.merge import IPTABLES_NFT, LEGACY, NFT, ChainView, RuleView
from nettop.model.traces.journeys import Journeys
from tests.unit.model.traces.test_journeys import PORTS, SECOND, UDP, marked, of, ours

# Base chains of nft: (table, chain): type, priority. Those of the table `filter` are of iptables-nft.
CHAINS = {
    ("f", "raw_pre"): ("filter", -290),
    ("f", "in10"): ("filter", 10),
    ("f", "dnat_late"): ("nat", -90),
    ("f", "at100"): ("filter", -100),
    ("filter", "INPUT"): ("filter", 0),
}


def chain(family: str, table: str, name: str, legacy: bool) -> ChainView | None:
    if not legacy and (table, name) not in CHAINS:
        return None
    kind, priority = ("filter", 0) if legacy else CHAINS[table, name]
    backend = LEGACY if legacy else IPTABLES_NFT if table == "filter" else NFT
    hook = "prerouting" if priority < 0 else "input"
    return ChainView(1, backend, family, table, name, hook, priority, kind, "accept", 0, 1)


def legacy_rule(family: str, table: str, name: str, number: int) -> tuple[ChainView, RuleView | None] | None:
    view = chain(family, table, name, True)
    assert view is not None
    verdict = "jump" if number == 2 else "DROP"
    rule = RuleView(1, 0, number, f"-j {verdict}", LEGACY, None, ("user",) if number == 2 else (), verdict)
    return view, rule if number < 9 else None


def legacy(table: str, hook: str, number: int = 9, name: str = "") -> LegacyRecord:
    """Rule 1 drops, 2 jumps to `user`; 9 is the policy, which accepts."""
    kind = "policy" if number == 9 else "rule"
    return LegacyRecord(SECOND, "ip", table, name or hook.upper(), kind, number, hook, UDP, PORTS)


def policy(table: str, name: str, verdict: str = "accept") -> TraceRecord:
    return of(name, verdict, table=table, type="policy", network=UDP, transport=PORTS)


MARKED = [marked(), ours("mark"), ours("prerouting", type="policy", verdict="accept")]
INPUT = [*MARKED, ours("input", network=UDP, transport=PORTS)]
ACCEPTED = [ours("input-end", network=UDP), ours("input-end", type="policy", verdict="accept")]


def steps(records: list[TraceRecord], others: list[LegacyRecord], early: bool = False) -> list[str]:
    """The steps, with `?` where the order is not known. `early`: those of iptables-legacy are read first."""
    model = Journeys(lambda *_: None, lambda *_: None, legacy_rule, chain)
    items = [TraceDecoded(records), LegacyDecoded(others)]
    if early:
        items = [TraceDecoded(records[:1]), items[1], TraceDecoded(records[1:])]
    for item in items:
        model.apply(item, 0, SECOND)
    model.settle(9 * SECOND)
    (journey,) = model.ended
    assert model.worded(journey) or True
    tool = lambda step: "L" if step.legacy is not None else "N"  # noqa: E731
    return [f"{tool(step)}{'?' * step.tied} {step.record.chain} {step.record.verdict}" for step in journey.steps]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("records", "others", "expected"),
    [
        pytest.param(
            [*MARKED, policy("f", "raw_pre")],
            [legacy("mangle", "prerouting", 1)],
            ["N raw_pre accept", "L PREROUTING drop"],
            id="a policy of nft has the priority of its chain",
        ),
        pytest.param(
            [*INPUT, policy("f", "in10"), *ACCEPTED],
            [legacy("filter", "input")],
            ["L INPUT accept", "N in10 accept"],
            id="a policy at a later priority comes after",
        ),
        pytest.param(
            [*INPUT, of("INPUT", "jump", 3, table="filter", target="f2b", network=UDP),
             of("f2b", "drop", 4, table="filter")],
            [legacy("filter", "input", 2), legacy("filter", "input", 9)],
            ["L INPUT jump", "L INPUT accept", "N INPUT jump", "N f2b drop"],
            id="nothing comes after a rule that drops, from its base chain on",
        ),
        pytest.param(
            [*INPUT, policy("filter", "INPUT", "drop")],
            [legacy("filter", "input")],
            ["L INPUT accept", "N INPUT drop"],
            id="nothing comes after a policy that drops",
        ),
        pytest.param(
            [*INPUT, policy("filter", "INPUT")],
            [legacy("filter", "input", 2), legacy("filter", "input", 1, "user")],
            ["N INPUT accept", "L INPUT jump", "L user drop"],
            id="nor after one of iptables-legacy",
        ),
        pytest.param(
            [*INPUT, policy("filter", "INPUT"), policy("f", "in10"), *ACCEPTED],
            [legacy("mangle", "input"), legacy("filter", "input")],
            ["L INPUT accept", "N? INPUT accept", "L? INPUT accept", "N in10 accept"],
            id="chains of one priority that both accept are marked",
        ),
        pytest.param(
            [*INPUT, policy("new", "unknown"), *ACCEPTED],
            [legacy("filter", "input")],
            ["N? unknown accept", "L? INPUT accept"],
            id="a chain that is not known is marked",
        ),
        pytest.param(
            [*MARKED, policy("f", "dnat_late"), ours("input", network=UDP), *ACCEPTED],
            [legacy("nat", "prerouting")],
            ["L PREROUTING accept", "N dnat_late accept"],
            id="in the nat hook the own priorities of the chains count",
        ),
        pytest.param(
            [*MARKED, policy("f", "at100"), ours("input", network=UDP), *ACCEPTED],
            [legacy("nat", "prerouting")],
            ["N? at100 accept", "L? PREROUTING accept"],
            id="a filter chain at the priority of the nat hook is marked",
        ),
    ],
)  # fmt: skip
def test_the_order_of_steps(
    records: list[TraceRecord], others: list[LegacyRecord], expected: list[str], early: bool
) -> None:
    assert steps(records, others, early) == expected


def test_the_frame_of_a_bridge_comes_to_the_chains_of_ip_after_those_of_the_bridge() -> None:
    bridge = marked(family="bridge"), of("b", "accept", 5, family="bridge", network=UDP, transport=PORTS)
    assert steps([*bridge, *INPUT, *ACCEPTED], [legacy("raw", "prerouting")]) == ["N b accept", "L PREROUTING accept"]


def test_each_table_has_its_place_in_each_hook() -> None:
    others = [legacy(table, "input") for table in ("mangle", "filter", "security", "nat")]
    assert LEGACY_TABLES.keys() > {other.table for other in others}
    assert steps([*INPUT, policy("f", "in10"), *ACCEPTED], others)[2] == "N in10 accept"
