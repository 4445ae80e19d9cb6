"""Steps in the kernel's order: those of iptables-legacy between those of nft, by priority, never after the end."""

from __future__ import annotations

import pytest

from nettop.decode.drops import DropRecord
from nettop.decode.nflog import LegacyDecoded, LegacyRecord
from nettop.decode.nftables.trace import TraceDecoded, TraceRecord
from nettop.model.ruleset.hooks import LEGACY_TABLES
from nettop.model.ruleset.picture import IPTABLES_NFT, LEGACY, NFT, ChainView, RuleView
from nettop.model.traces.cells import end_cell
from nettop.model.traces.detail import journey_detail
from nettop.model.traces.ends import certainty, ending, where
from nettop.model.traces.journey import Drop, Journey
from nettop.model.traces.journeys import Journeys
from nettop.model.traces.lines import lines, objects
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
    return of(
        name,
        verdict,
        table=table,
        family="ip" if table == "filter" else "inet",
        type="policy",
        network=UDP,
        transport=PORTS,
    )


MARKED = [marked(), ours("mark"), ours("prerouting", type="policy", verdict="accept")]
INPUT = [*MARKED, ours("input", network=UDP, transport=PORTS)]
ACCEPTED = [ours("input-end", network=UDP), ours("input-end", type="policy", verdict="accept")]


def journey_of(records: list[TraceRecord], others: list[LegacyRecord], early: bool = False) -> Journey:
    """The journey. `early`: the records of iptables-legacy are read first."""
    model = Journeys(lambda *_: None, lambda *_: None, legacy_rule, chain)
    items = [TraceDecoded(records), LegacyDecoded(others)]
    if early:
        items = [TraceDecoded(records[:1]), items[1], TraceDecoded(records[1:])]
    for item in items:
        model.apply(item, 0, SECOND)
    model.settle(9 * SECOND)
    (journey,) = model.ended
    model.worded(journey)
    return journey


def steps(records: list[TraceRecord], others: list[LegacyRecord], early: bool = False) -> list[str]:
    """The steps, with `?` where the order is not known."""
    journey = journey_of(records, others, early)
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
            [*INPUT, of("INPUT", "jump", 3, table="filter", family="ip", target="f2b", network=UDP),
             of("f2b", "drop", 4, table="filter", family="ip")],
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


def test_each_step_and_the_end_name_their_tool() -> None:
    journey = journey_of(
        [*INPUT, policy("filter", "INPUT"), policy("f", "in10"), *ACCEPTED], [legacy("filter", "input")]
    )
    texts = [" ".join(line.split()) for line in lines(journey, "")]
    assert texts[1:4] == [
        "input iptables-nft ip filter INPUT ? policy accept",
        "iptables-legacy ip filter INPUT ? policy accept",
        "inet f in10 policy accept",
    ]
    rows = [row for row in objects(journey, "") if row["kind"] == "step"]
    assert [(row["backend"], row["tied"]) for row in rows] == [(IPTABLES_NFT, True), (LEGACY, True), (NFT, False)]
    dropped = journey_of(INPUT, [legacy("filter", "input", 1)])
    assert where(dropped) == "dropped by ip filter INPUT rule 1 “-j DROP” (iptables-legacy)"
    assert list(objects(dropped, ""))[-1]["backend"] == LEGACY


def test_an_end_is_certain_only_if_no_step_was_guessed() -> None:
    others = [legacy(table, "prerouting") for table in ("raw", "mangle")]
    others += [legacy(table, "input") for table in ("mangle", "filter", "security")]
    assert certainty(journey_of([*INPUT, *ACCEPTED], others)).startswith("likely: the steps of iptables-legacy")
    unseen = journey_of([*INPUT, *ACCEPTED], others[2:])
    missing = "incomplete: the log of iptables-legacy was not read, its steps in prerouting are missing"
    assert certainty(unseen) == missing


def test_what_a_table_of_iptables_legacy_may_have_dropped_is_not_lost_in_routing() -> None:
    unseen = "dropped by a rule that was not seen (iptables-legacy at prerouting)"
    lost = journey_of(MARKED, [])
    assert where(lost).startswith(f"{unseen}, or lost in routing")
    lost.drop = Drop(DropRecord(SECOND, "NETFILTER_DROP", "nf_hook_slow", 0x800, "eth0", 40), "likely")
    assert where(lost) == f"{unseen}: drop reason NETFILTER_DROP (likely), in nf_hook_slow"
    assert where(journey_of(INPUT, [])) == (
        "dropped by a rule that was not seen (iptables-legacy at input), or taken by a queue or the kernel"
    )
    seen = journey_of(MARKED, [legacy("raw", "prerouting"), legacy("mangle", "prerouting")])
    assert where(seen).startswith("lost in routing, after prerouting: no route")


def test_a_drop_by_iptables_legacy_is_shown_at_once_and_not_if_the_packet_is_seen_later() -> None:
    """The kernel reports no verdict of these tables: only the silence of a second makes it final."""
    model = Journeys(lambda *_: None, lambda *_: None, legacy_rule, chain)
    model.apply(TraceDecoded(INPUT), 0, SECOND)
    (journey,) = model.kept.values()
    assert end_cell(journey)[0] == "…"
    model.apply(LegacyDecoded([legacy("filter", "input", 1)]), 0, SECOND)
    model.worded(journey)
    assert end_cell(journey)[0] == "DROP"
    assert ending(journey).startswith("dropped by ip filter INPUT rule 1 “-j DROP”")
    assert "✖ DROP" in "".join(text for line in journey_detail(journey).lines for text, _ in line)
    model.apply(TraceDecoded(ACCEPTED), 0, SECOND)
    assert end_cell(journey)[0] == "accept"
