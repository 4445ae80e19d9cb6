"""The matrix of base chains: which place each has, and the kernel's functions between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.decode.nftables.objects import NftChain, NftTable
from nettop.headless.rule_listing import lines
from nettop.kinds import TextKind
from nettop.model.ruleset.chain_matrix import ChainMatrix
from nettop.model.ruleset.matrix import Matrix, Place, journey_through
from nettop.model.table import ViewSpec
from nettop.ui.widgets.matrix_lines import draw
from tests.unit.model.ruleset.test_ruleset import T0, Feed, S, base, rule, user


def nat(name: str, hook: str, priority: int, family: str = "inet") -> NftChain:
    return base("n", name, hook, priority, type="nat", policy="accept", family=family)


def matrix_of(feed: Feed, path: str = "", kernel: bool = True) -> Matrix:
    model = ChainMatrix(feed.ruleset, feed.chains, feed.finder)
    return model.matrix(ViewSpec(model.default_columns, group=path, zeroes=kernel))


def placed(matrix: Matrix) -> set[tuple[str, str, str]]:
    """(hook, priority, name) of every place."""
    return {(matrix.hooks[p.column], matrix.priorities[p.row].strip(), p.name[0]) for p in matrix.places}


def named(matrix: Matrix, name: str) -> Place:
    return next(place for place in matrix.places if name in place.name[0])


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_each_base_chain_is_in_the_column_of_its_hook_and_the_row_of_its_priority(feed: Feed) -> None:
    feed.layout([base("fw", "in", "input"), base("fw", "pre", "prerouting", -150), user("fw", "lan")])
    matrix = matrix_of(feed)
    assert placed(matrix) == {("input", "0 filter", "N fw/in"), ("prerouting", "-150 mangle", "N fw/pre")}
    assert matrix.hooks == ("prerouting", "input", "forward", "output", "postrouting")


def test_nat_chains_stand_at_the_priority_at_which_nat_runs_below_the_kernels_nat(feed: Feed) -> None:
    feed.layout([nat("pre", "prerouting", -90), nat("post", "postrouting", 300)])
    matrix = matrix_of(feed)
    names = [(matrix.hooks[p.column], matrix.priorities[p.row].split()[0], p.name[0]) for p in matrix.places]
    assert ("prerouting", "-100", "N n/pre") in names and ("postrouting", "100", "N n/post") in names
    assert names.index(("prerouting", "-100", "· NAT ¹")) + 1 == names.index(("prerouting", "-100", "N n/pre"))
    assert ("input", "100", "· NAT ¹") in names, "NAT is registered at all its hooks"
    assert {n for n in names if "conntrack" in n[2]} == {
        ("prerouting", "-200", "· conntrack"), ("output", "-200", "· conntrack")
    }  # fmt: skip


def test_the_chains_of_a_trace_are_named_as_such_and_not_among_those_of_the_host(feed: Feed) -> None:
    own = [base("nettop-7-abc", hook, hook, -(2**31), family="inet") for hook in ("prerouting", "output")]
    feed.layout([base("fw", "in", "input", family="ip"), *own])
    matrix = matrix_of(feed)
    assert ("prerouting", "min", "· trace of nettop") in placed(matrix) and matrix.paths == ("IPv4",)
    assert [place.name[0] for place in matrix.places if place.ident is not None] == ["N fw/in"]
    assert placed(matrix_of(feed, kernel=False)) == {("input", "0 filter", "N fw/in")}


FLOWTABLE = """table inet fw { # handle 1
\tflowtable ft { # handle 7
\t\thook ingress priority filter
\t\tdevices = { eth0, eth1 }
\t}
}
"""


def test_a_flowtable_is_at_its_hook_and_what_skips_the_later_ones_is_said(feed: Feed) -> None:
    feed.layout([base("fw", "in", "input")])
    feed.poll((), [], T0)
    feed.texts(FLOWTABLE)
    matrix = matrix_of(feed)
    assert ("ingress", "0 filter", "· flowtable ft") in placed(matrix) and matrix.hooks[0] == "ingress"
    assert "ingress" not in matrix_of(feed, kernel=False).hooks
    skip = "packets of the flows in it skip all later hooks"
    assert f"Flowtable inet fw ft (eth0, eth1): {skip}" in [text for line in feed.chains.notes() for text, _ in line]
    (row,) = (one for one in feed.objects() if one["kind"] == "flowtable")
    assert [row[key] for key in ("family", "table", "name", "handle", "hook", "priority", "devices")] == [
        "inet", "fw", "ft", 7, "ingress", 0, ["eth0", "eth1"]
    ]  # fmt: skip
    printed = list(lines(feed.ruleset, "gw", json=False))
    assert "  inet fw ft   hook ingress   priority 0   devices eth0, eth1" in printed


def test_conntrack_is_only_shown_where_a_rule_uses_it(feed: Feed) -> None:
    feed.layout([base("fw", "in", "input")])
    feed.poll((rule("in", 4),), [0], T0)
    feed.texts("table inet fw { # handle 1\n\tchain in { # handle 1\n\t\ttcp dport 22 accept # handle 4\n\t}\n}\n")
    assert not [place for place in matrix_of(feed).places if place.ident is None]
    feed.texts("table inet fw { # handle 1\n\tchain in { # handle 1\n\t\tct state new accept # handle 4\n\t}\n}\n")
    assert ("input", "max", "· helper, confirm") in placed(matrix_of(feed))
    assert not [place for place in matrix_of(feed, kernel=False).places if place.ident is None]


def test_a_path_has_the_chains_that_its_packets_see(feed: Feed) -> None:
    families = ("ip", "ip6", "inet", "bridge", "arp")
    chains = [base(f"t{family}", "in", "input", family=family) for family in families]
    chains.append(base("dev", "in", "ingress", -500, family="netdev", devices=("eth0",)))
    feed.layout(chains)
    assert matrix_of(feed).paths == ("IPv4", "IPv6", "bridge", "arp")

    def tables(path: str) -> set[str]:
        return {place.name[0].split("/")[0][2:].lstrip("? ") for place in matrix_of(feed, path).places}

    assert tables("IPv4") == {"tip", "tinet", "dev"} and tables("IPv6") == {"tip6", "tinet", "dev"}
    assert tables("bridge") == {"tbridge"} and tables("arp") == {"tarp"}
    assert matrix_of(feed, "IPv4").hooks[0] == "ingress"
    assert matrix_of(feed, "gone").path == "IPv4", "a path that has no chains any more is left"


@pytest.mark.parametrize(
    ("families", "paths"),
    [
        (("inet",), ("IPv4 and IPv6",)),
        (("inet", "ip"), ("IPv4", "IPv6")),
        (("ip",), ("IPv4",)),
        (("ip6",), ("IPv6",)),
        (("netdev",), ("netdev",)),
        ((), ()),
    ],
)
def test_only_paths_that_have_chains_are_offered(feed: Feed, families: tuple[str, ...], paths: tuple[str, ...]) -> None:
    feed.layout([base("t", f"in{at}", "input", family=family) for at, family in enumerate(families)])
    assert matrix_of(feed).paths == paths


def test_equal_priorities_are_marked_and_a_dormant_chain_sleeps(feed: Feed) -> None:
    chains = [base("a", "one", "input"), base("b", "two", "input"), base("c", "three", "input")]
    feed.layout(chains)
    tables = [NftTable("inet", name, ("dormant",) * (name == "c"), 1, None, None) for name in "abc"]
    feed.ruleset.raw.tables = tables
    feed.ruleset._dirty = True
    feed.texts()
    matrix = matrix_of(feed)
    assert {place.name[0] for place in matrix.places} == {"N? a/one", "N? b/two", "N c/three"}
    assert named(matrix, "three").facts == (("asleep:", "dim"), ("dormant", "dim"))


def test_the_table_of_a_running_program_is_dim() -> None:
    feed = Feed()
    feed.layout([base("trace", "pre", "prerouting", -(2**31)), base("fw", "in", "input")])
    feed.ruleset.raw.tables = [NftTable("inet", "trace", ("owner",), 1, None, None)]
    feed.ruleset._dirty = True
    feed.texts()
    matrix = matrix_of(feed)
    assert named(matrix, "pre").name[1] == "dim" and named(matrix, "fw/in").name[1] == "accent"
    assert matrix.priorities[0] == " min"


def test_drops_are_those_of_rules_policies_and_user_chains_below(feed: Feed) -> None:
    drop = replace(rule("lan", 9), verdicts=("drop",))
    rules = (rule("fwd", 4, "lan"), drop, rule("in", 6, "lan"))
    feed.layout([base("fw", "fwd", policy="accept"), base("fw", "in", "input"), user("fw", "lan")])
    feed.poll(rules, [0, 0, 0], T0)
    feed.poll(rules, [500, 300, 10], T0 + S)
    matrix = matrix_of(feed)
    assert named(matrix, "fwd").facts[0] == ("2r", "number")
    assert ("d ≤300/s", "bad") in named(matrix, "fwd").facts, "the chain that drops is also below input"
    drops = dict(zip(matrix.hooks, matrix.drops, strict=True))
    assert drops["forward"] == ("d 300/s", "bad") and drops["input"] == ("d ≥300/s", "bad"), "nothing counts the policy"
    assert ("d –", "dim") in named(matrix, "in").facts, "those 300 may all be of forward"


def drops_of(verdict: str, first: int | None, second: int | None, more: str = "") -> str:
    """The drops of an input chain with a rule that drops, counted (packets before and after a second), and another."""
    feed, made = Feed(), rule("in", 4)
    feed.layout([base("fw", "in", "input", policy="accept")])
    rules = (replace(made, verdicts=("drop",)), replace(made, handle=5, verdicts=(verdict,)))
    if more:
        words = f"\t\tdrop # handle 4\n\t\t{more} # handle 5\n"
        feed.texts(f"table inet fw {{ # handle 1\n\tchain in {{ # handle 1\n{words}\t}}\n}}\n")
    feed.poll(rules, [None if first is None else 0, None if second is None else 0], T0)
    feed.poll(rules, [first, second], T0 + S)
    if more:
        feed.texts(f"table inet fw {{ # handle 1\n\tchain in {{ # handle 1\n{words}\t}}\n}}\n", ts_ns=T0 + S)
    matrix = matrix_of(feed)
    fact = next(text for text, _ in named(matrix, "in").facts if text.startswith("d "))
    assert dict(zip(matrix.hooks, matrix.drops, strict=True))["input"][0] == fact
    return fact


def test_drops_that_nothing_counts_are_not_said_to_be_none() -> None:
    assert drops_of("drop", None, None) == "d –"
    assert drops_of("drop", 0, None) == "d –"
    assert drops_of("reject", 3, None) == "d ≥3/s"
    assert drops_of("reject", 3, 4) == "d 7/s"
    assert drops_of("accept", 0, None) == "d 0/s"
    assert drops_of("vmap", 3, 9, "tcp dport vmap { 7100 : drop }") == "d ≥3/s", "its counter has the accepted ones too"
    assert drops_of("vmap", 3, 9, "tcp dport vmap { 7100 : accept }") == "d 3/s"


def test_no_drop_below_a_shared_chain_is_none() -> None:
    feed = Feed()
    rules = (rule("fwd", 4, "lan"), replace(rule("lan", 9), verdicts=("drop",)), rule("in", 6, "lan"))
    feed.layout([base("fw", "fwd", policy="accept"), base("fw", "in", "input"), user("fw", "lan")])
    feed.poll(rules, [0, 0, 0], T0)
    feed.poll(rules, [5, 0, 1], T0 + S)
    assert ("d 0/s", "dim") in named(matrix_of(feed), "fwd").facts


def test_a_chain_named_as_its_hook_has_a_short_name(feed: Feed) -> None:
    feed.layout([base("filter", "FORWARD", family="ip"), base("fw", "mine", family="ip")])
    matrix = matrix_of(feed)
    assert {(place.name[0], place.short) for place in matrix.places} == {
        ("I? filter/FORWARD", "I? filter"), ("N? fw/mine", "N? mine")
    }  # fmt: skip


def test_a_narrow_cell_leaves_out_what_does_not_move_and_not_the_policy(feed: Feed) -> None:
    feed.layout([base("fw", "in", "input", policy="accept"), base("fw", "fwd")])
    rules = (replace(rule("in", 4), verdicts=("drop",)), rule("in", 5))
    feed.poll(rules, [0, 0], T0)
    feed.poll(rules, [0, 0], T0 + S)
    drawn = draw(matrix_of(feed), 36)
    text = "\n".join("".join(part for part, _, _ in line) for line in drawn.lines)
    assert "accept" in text and "drop" in text and "2r" in text


def test_the_journey_of_a_packet_is_told_by_the_hooks_that_it_passed() -> None:
    for hooks, journey in (
        (("prerouting", "input"), "to this host"), (("ingress", "prerouting", "forward"), "through it"),
        (("output",), "from this host"), (("output", "postrouting", "prerouting", "input"), "over loopback"),
        (("prerouting",), ""), ((), ""), (("prerouting", "input", "forward"), ""),
    ):  # fmt: skip
        assert journey_through(hooks) == journey


def test_the_matrix_knows_whether_a_rule_may_rewrite_the_destination(feed: Feed) -> None:
    feed.layout([nat("pre", "prerouting", -100), nat("post", "postrouting", 100)])
    feed.poll([rule("post", 1, table="n")], [0], T0)
    assert not matrix_of(feed).dnat
    feed.poll([rule("pre", 2, table="n"), rule("post", 1, table="n")], [0, 0], T0 + S)
    assert matrix_of(feed).dnat


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_a_hook_and_what_it_drops_are_whole_at_any_width(feed: Feed, width: int) -> None:
    feed.layout([base("fw", hook, hook) for hook in ("prerouting", "input", "forward", "output", "postrouting")])
    matrix = replace(matrix_of(feed), drops=(("d ≥123k/s", "bad"),) * 5)
    names, between = ("".join(text for text, _ in line) for line in draw(matrix, width).titles)
    assert all(f" {hook.upper()} " in f"{names} " for hook in matrix.hooks)
    assert (names + between).count("d ≥123k/s") == 5 and len(names) == len(between) <= width


def test_the_line_below_explains_every_sign_that_is_on_the_screen_within_80_cells(feed: Feed) -> None:
    model = ChainMatrix(feed.ruleset, feed.chains, feed.finder)
    below = lambda: "".join(text for text, _ in model.snapshot(ViewSpec((), zeroes=True), T0).totals)  # noqa: E731
    assert below() == ""
    feed.layout([base("fw", "in", "input", policy="accept"), nat("pre", "prerouting", -100)])
    feed.poll((replace(rule("in", 4), verdicts=("accept",)),), [0], T0)
    assert below() == "r rules  N nft  · kernel   ¹ first packet of a flow only"
    feed.layout([base("fw", "in", "input"), base("filter", "FORWARD", family="ip")])
    feed.poll((replace(rule("in", 4), verdicts=("drop",)),), [None], T0 + S)
    assert below() == "d dropped/s  r rules  N nft  I iptables-nft  ≥ – some rules have no counter"
    feed.text(TextKind.IPTABLES_LEGACY_SAVE, "*filter\n:INPUT DROP [0:0]\nCOMMIT\n")
    assert below()[:78].startswith("d dropped/s  r rules  N nft  I iptables-nft  L iptables-legacy  ")
