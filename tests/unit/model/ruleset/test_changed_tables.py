"""The words of a table whose rules changed are listed again, and nothing else is old then."""

from __future__ import annotations

from dataclasses import replace

from nettop.batch import Gap
from nettop.decode.nftables.commits import Announced, MembersChanged, NftCommit
from nettop.decode.nftables.decoder import NftDecoded
from nettop.decode.nftables.objects import Generation
from nettop.decode.nftables.rules import NftRule
from nettop.kinds import GapReason, TextKind
from tests.unit.model.ruleset.test_ruleset import T0, Feed, S, base, rule

FW, OTHER = rule("in", 4), rule("in", 5, table="other")
TABLE = "table inet {} {{ # handle 1\n\tchain in {{ # handle 1\n{}\t}}\n}}\n"
LISTING, SAVE = TextKind.NFT_RULESET, TextKind.IPTABLES_SAVE


def table(name: str, **words: str) -> str:
    """A table of a listing with rules by handle: h4="tcp dport 22 accept"."""
    return TABLE.format(name, "".join(f"\t\t{text} # handle {handle[1:]}\n" for handle, text in words.items()))


def part(of: str, body: str) -> str:
    return f'# nettop {{"part": "{of}"}}\n{body}'


def known() -> Feed:
    """Two tables of nft and one of iptables; all is listed."""
    feed = Feed()
    chains = [base("fw", "in", "input"), base("other", "in", "input"), base("filter", "INPUT", "input", family="ip")]
    feed.layout(chains)
    feed.poll((FW, OTHER), [None, None], T0)
    feed.texts(table("fw", h4="tcp dport 22 accept") + table("other", h5="udp dport 53 accept"), ts_ns=T0)
    assert wanted(feed) == set() and not feed.ruleset.stale()
    return feed


def wanted(feed: Feed) -> set[tuple[TextKind, tuple[str, str] | None]]:
    return set(feed.ruleset.texts.wanted())


def commit(feed: Feed, ts_ns: int, *changes: Announced, members: tuple[MembersChanged, ...] = ()) -> None:
    generation = Generation(7, 41, "nft", ts_ns)
    made = NftCommit(generation, list(changes), list(members))
    feed.ruleset.apply(NftDecoded(3, 0, generations=[generation], commits=[made]), ts_ns)


def words(feed: Feed) -> list[tuple[str | None, bool]]:
    return [(one.text, feed.ruleset.is_stale(one)) for one in feed.ruleset.picture.rules]


def test_a_new_rule_makes_only_its_table_old_until_that_is_listed() -> None:
    feed, new = known(), rule("in", 6, table="other")
    commit(feed, T0 + S, Announced(True, new))
    assert wanted(feed) == {(LISTING, ("inet", "other"))} and feed.ruleset.stale()
    feed.poll((FW, OTHER, new), [None] * 3, T0 + 2 * S)
    assert words(feed) == [("tcp dport 22 accept", False), ("udp dport 53 accept", True), (None, False)]
    listed = table("other", h5="udp dport 53 accept", h6="udp dport 54 accept")
    feed.text(LISTING, part("inet other", listed), T0 + 3 * S)
    assert wanted(feed) == set() and not feed.ruleset.stale()
    assert words(feed) == [(f"{text} accept", False) for text in ("tcp dport 22", "udp dport 53", "udp dport 54")]


def test_a_rule_in_a_table_of_iptables_is_printed_by_both_tools() -> None:
    feed = known()
    commit(feed, T0 + S, Announced(True, rule("INPUT", 9, table="filter", family="ip")))
    assert wanted(feed) == {(LISTING, ("ip", "filter")), (SAVE, ("ip", "filter"))}
    feed.text(LISTING, part("ip filter", ""), T0 + 2 * S)
    assert wanted(feed) == {(SAVE, ("ip", "filter"))}
    feed.text(SAVE, "", T0 + 2 * S, error="it failed")
    assert wanted(feed) == set() and feed.ruleset.stale()
    feed.text(SAVE, "", T0 + 3 * S)
    assert not feed.ruleset.stale()


def test_elements_and_deleted_rules_leave_all_words_as_they_are() -> None:
    feed = known()
    members = MembersChanged(("inet", "fw", "blocked"), True, 1)
    commit(feed, T0 + S, Announced(False, OTHER), members=(members,))
    assert wanted(feed) == set() and feed.ruleset.dumps.are_old()


def test_a_flowtable_that_is_added_or_deleted_has_its_table_listed_and_those_of_others_stay() -> None:
    feed = known()
    flowtable = "\tflowtable {} {{ # handle 9\n\t\thook ingress priority filter\n\t\tdevices = {{ eth0 }}\n\t}}\n"
    listed = table("other", h5="udp dport 53 accept").replace("\tchain", flowtable.format("slow") + "\tchain", 1)
    feed.texts(table("fw", h4="tcp dport 22 accept") + listed, ts_ns=T0 + S)
    generation = Generation(7, 41, "nft", T0 + 2 * S)
    made = NftCommit(generation, flowtables={("inet", "fw")})
    feed.ruleset.apply(NftDecoded(3, 0, generations=[generation], commits=[made]), T0 + 2 * S)
    assert wanted(feed) == {(LISTING, ("inet", "fw"))}
    again = table("fw", h4="tcp dport 22 accept").replace("\tchain", flowtable.format("fast") + "\tchain", 1)
    feed.text(LISTING, part("inet fw", again), T0 + 3 * S)
    assert feed.ruleset.picture and {one.name for one in feed.ruleset.texts.flowtables} == {"slow", "fast"}
    feed.text(LISTING, part("inet other", table("other", h5="udp dport 53 accept")), T0 + 4 * S)
    assert feed.ruleset.picture and [one.name for one in feed.ruleset.texts.flowtables] == ["fast"]


def test_a_loss_of_events_makes_all_texts_old() -> None:
    feed = known()
    feed.ruleset.apply(Gap(3, 0, 5, GapReason.KERNEL, T0, T0 + S), T0 + S)
    assert {(LISTING, None), (SAVE, None)} < wanted(feed)
    feed.text(LISTING, part("inet other", table("other", h5="udp dport 53 accept")), T0 + 2 * S)
    assert (LISTING, None) in wanted(feed)


def test_a_listing_requested_before_the_change_does_not_have_it() -> None:
    feed = known()
    commit(feed, T0 + 2 * S, Announced(True, OTHER))
    feed.text(LISTING, part("inet other", table("other", h5="udp dport 53 accept")), T0 + S)
    feed.texts(table("fw", h4="tcp dport 22 accept"), ts_ns=T0 + S)
    assert wanted(feed) == {(LISTING, ("inet", "other"))}


def test_a_comment_of_two_lines_that_is_known_later_leaves_the_words_of_other_tables() -> None:
    feed = known()
    odd = replace(rule("in", 7, table="other"), comment="one\ntwo")
    commit(feed, T0 + S, Announced(True, odd))
    feed.text(LISTING, part("inet other", table("other", h7='udp dport 55 accept comment "one\ntwo"')), T0 + 2 * S)
    feed.poll((FW, odd), [None, None], T0 + 3 * S)
    assert [text for text, _ in words(feed)] == ["tcp dport 22 accept", 'udp dport 55 accept comment "one\ntwo"']


def test_a_commit_that_is_too_large_to_be_described_may_concern_every_table() -> None:
    feed = known()
    commit(feed, T0 + S, *[Announced(True, _numbered(handle)) for handle in range(20_000)])
    assert (LISTING, None) in wanted(feed)


def _numbered(handle: int) -> NftRule:
    return rule("in", handle, table="other")
