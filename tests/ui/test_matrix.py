"""The matrix of chains on the screen: its lines, its cursor, and the rules below it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from nettop.batch import Text
from nettop.kinds import TextKind
from nettop.model.ruleset.chain_matrix import ChainMatrix
from nettop.model.ruleset.changes.change import Change
from nettop.model.ruleset.changes.log import Commit
from nettop.session.packet_way import PacketWay
from tests.ui.plain_session import PlainSession, session
from tests.ui.screen_text import SMALL, WIDE, running
from tests.unit.decode.nftables.test_expressions import COUNTER, EQUAL, SADDR
from tests.unit.model.ruleset.test_opened_sets import feed as opened_feed
from tests.unit.model.ruleset.test_opened_sets import page
from tests.unit.model.ruleset.test_ruleset import T0, Feed, base, rule, user

CHAINS = [
    base("raw", "PREROUTING", "prerouting", -300, family="ip", policy="accept"),
    base("filter", "INPUT", "input", family="ip"),
    base("filter", "FORWARD", "forward", family="ip"),
    base("filter", "a-chain-with-a-very-long-name-in-it", "forward", 5, family="ip"),
    user("filter", "lan", family="ip"),
    base("six", "in", "input", family="ip6"),
]
RULES = (
    rule("FORWARD", 4, "lan", table="filter", family="ip"),
    rule("lan", 5, table="filter", family="ip"),
    rule("INPUT", 6, table="filter", family="ip"),
    rule("in", 7, table="six", family="ip6"),
)


TEXT = """\
table ip filter { # handle 1
\tchain FORWARD { # handle 1
\t\tjump lan # handle 4
\t}
\tchain lan { # handle 1
\t\ttcp dport 80 accept # handle 5
\t}
\tchain INPUT { # handle 1
\t\ttcp dport 22 accept # handle 6
\t}
}
table ip6 six { # handle 1
\tchain in { # handle 1
\t\tip6 saddr 2001::/16 accept # handle 7
\t}
}
"""


LEGACY = """\
*filter
:INPUT DROP [0:0]
:lan - [0:0]
[8:88] -A INPUT -j lan
[7:77] -A lan -m comment --comment "the rest" -j DROP
[3:33] -A lan -p udp -j ACCEPT
[0:0] -A lan -p tcp -j ACCEPT
COMMIT
"""


def source(words: bool = False) -> PlainSession:
    """A session whose chains are those above."""
    feed, plain = Feed(), session()
    feed.layout(CHAINS)
    feed.poll(RULES, [1, 2, 3, 4], T0)
    if words:
        feed.texts(TEXT)
    plain.finder = feed.finder
    matrix = ChainMatrix(feed.ruleset, feed.chains, feed.finder)
    plain.views |= {"chains": feed.chains, "matrix": matrix, "rules": feed.rules}
    return plain


@pytest.mark.parametrize("size", [WIDE, (120, 40), SMALL])
async def test_every_chain_is_on_the_screen_and_no_line_is_too_long(size: tuple[int, int]) -> None:
    async with running(size, source()) as seen:
        await seen.press("3")
        await seen.see("PREROUTING")
        for word in ("INPUT", "FORWARD", "I raw", "I filter", "n-it"):
            await seen.see(word)
        columns = [line for line in seen.lines if "│" in line]
        assert len({tuple(i for i, c in enumerate(line) if c == "│") for line in columns}) == 1, "straight"


async def test_the_cursor_moves_over_hooks_and_priorities_and_the_rules_follow() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3")
        await seen.see("▶I raw/PREROUTING")
        await seen.press("l")
        await seen.see("▶I filter/INPUT")
        await seen.press("right")
        await seen.see("▶I filter/FORWARD")
        await seen.see("─ ip filter FORWARD   hook forward")
        await seen.see("▾ lan   1 rule, from FORWARD 1   (1 of 1 hit)")
        await seen.press("j")
        await seen.see("▶N a-chain")
        await seen.press("up", "h", "h")
        await seen.see("▶I raw/PREROUTING")


async def test_enter_opens_the_rules_and_esc_leads_back() -> None:
    async with running(SMALL, source()) as seen:
        await seen.press("3", "l", "l", "enter")
        await seen.see("━ ip filter FORWARD")
        assert "━ ROUTING ▶" not in seen.text
        await seen.press("escape")
        await seen.see("━ ROUTING ▶")


async def test_enter_on_a_jump_goes_to_the_chain_and_there_folds_it() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3", "l", "l", "enter", "enter")
        await seen.see("▶▾ lan   1 rule, from FORWARD 1")
        await seen.see("ip filter lan: from FORWARD 1")
        await seen.press("j")
        await seen.see("━ ip filter FORWARD ▸ lan rule 1   hook forward")
        await seen.press("k")
        await seen.press("enter")
        await seen.see("▶▸ lan   1 rule, from FORWARD 1   2 packets")
        await seen.press("enter")
        await seen.see("▶▾ lan")


async def test_m_shows_the_list_with_the_cursor_on_the_same_chain_and_back() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3", "l", "l")
        await seen.see("▶I filter/FORWARD")
        await seen.press("m")
        await seen.until(lambda: "FORWARD" in seen.cursor_line() and "HOOK" in seen.text, "the list")
        await seen.press("m")
        await seen.see("▶I filter/FORWARD")


async def test_p_shows_the_next_path_and_o_lights_a_journey() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3")
        await seen.see("[IPv4]")
        await seen.press("o")
        await seen.see("way: to this host")
        await seen.press("p")
        await seen.see("▶N six/in")


async def test_the_way_of_a_packet_that_is_named_before_the_rules_are_read_is_on_its_path() -> None:
    feed, plain = Feed(), session()
    matrix = ChainMatrix(feed.ruleset, feed.chains, feed.finder)
    plain.views |= {"chains": feed.chains, "matrix": matrix, "rules": feed.rules}
    async with running(WIDE, plain) as seen:
        await seen.press("3")
        seen.pilot.app.screen.view.matrix.light_way(PacketWay("bridged", "from pa to pb", "bridge", False))
        feed.layout([base("t", "routed", family="ip"), base("t", "onports", family="bridge")])
        await seen.see("onports")
        await seen.see("from pa to pb")


def many(count: int) -> PlainSession:
    """A session with `count` chains of inet at the forward hook, none with rules, and one of ip6."""
    feed, plain = Feed(), session()
    chains = [base("t", f"c{at}", "forward", at * 10, policy="accept") for at in range(count)]
    feed.layout([*chains, base("six", "in", "input", family="ip6"), base("tie", "in", "input", family="ip6")])
    matrix = ChainMatrix(feed.ruleset, feed.chains, feed.finder)
    plain.views |= {"chains": feed.chains, "matrix": matrix, "rules": feed.rules}
    return plain


async def test_p_keeps_the_chain_that_is_on_the_next_path_too() -> None:
    async with running(WIDE, many(3)) as seen:
        await seen.press("3")
        await seen.see("[IPv4]")
        await seen.press("j", "j")
        await seen.see("▶N t/c2")
        await seen.press("p")
        await seen.see("[IPv6]")
        await seen.see("▶N t/c2")


async def test_the_matrix_takes_the_lines_that_the_rules_leave_empty_and_says_what_is_below() -> None:
    async with running((120, 40), many(12)) as seen:
        await seen.press("3")
        await seen.see("N t/c11")
    async with running(SMALL, many(12)) as seen:
        await seen.press("3")
        await seen.until(lambda: "↓" in seen.text and "t/c11" not in seen.text, "more is below")
        await seen.press("G")
        await seen.until(lambda: "↑" in seen.text and "↓" not in seen.text, "more is above")


@pytest.mark.parametrize("size", [(120, 40), SMALL])
async def test_the_marks_are_explained_at_any_width(size: tuple[int, int]) -> None:
    async with running(size, many(2)) as seen:
        await seen.press("3")
        await seen.see("? order at equal priority not known")


async def test_a_filter_keeps_the_chains_that_match() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3")
        await seen.see("I raw/PREROUTING")
        await seen.press("slash")
        await seen.write("hook forward")
        await seen.press("enter")
        await seen.see_no("I raw/PREROUTING")
        await seen.press("escape")
        await seen.see("I raw/PREROUTING")


async def test_back_and_forth_between_views_keeps_list_or_matrix() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3", "l", "m")
        await seen.see("HOOK")
        await seen.press("1", "left_square_bracket")
        await seen.see("HOOK")
        await seen.press("left_square_bracket", "3")
        await seen.see("INPUT")


async def test_a_text_is_found_in_all_chains_and_n_goes_on() -> None:
    async with running(WIDE, source(words=True)) as seen:
        await seen.press("3", "slash")
        await seen.write("dport")
        await seen.press("enter")
        await seen.see("find dport 1/2")
        await seen.see("▶I filter/INPUT")
        await seen.see("● 1 found")
        await seen.until(lambda: "tcp dport 22" in seen.lines[-3], "the rule in full")
        await seen.press("n")
        await seen.see("▶I filter/FORWARD")
        await seen.until(lambda: "tcp dport 80" in seen.lines[-3], "the next rule")
        await seen.press("N")
        await seen.see("find dport 1/2")
        await seen.press("x")
        await seen.see("filter lan: tcp dport 80")
        await seen.see(" rules that match dport, of every chain")
        await seen.press("x", "escape")
        await seen.see_no("find dport")


async def test_the_rules_found_follow_a_ruleset_that_changes() -> None:
    plain = source(words=True)
    async with running(WIDE, plain) as seen:
        await seen.press("3", "slash")
        await seen.write("dport")
        await seen.press("enter", "n")
        await seen.see("find dport 2/2")
        finder = plain.finder
        assert finder is not None
        hits = finder.found("dport")
        plain.finder = SimpleNamespace(found=lambda text: hits[1:])
        await seen.see("find dport 1/1")
        await seen.see("▶I filter/FORWARD")
        plain.finder = SimpleNamespace(found=lambda text: hits[:0])
        await seen.see("find dport not found")
        plain.finder = finder
        await seen.see("/2  n next")
        await seen.press("n")
        await seen.see("find dport 1/2")


async def test_a_rule_on_another_path_is_gone_to_and_a_text_without_a_rule_is_said() -> None:
    async with running(WIDE, source(words=True)) as seen:
        await seen.press("3", "slash")
        await seen.write("2001")
        await seen.press("enter")
        await seen.see("[IPv6]")
        await seen.see("▶N six/in")
        await seen.press("slash", "ctrl+u")
        await seen.write("nowhere")
        await seen.press("enter")
        await seen.see("find nowhere not found")
        assert "only these" not in seen.text, "nothing is there to go on to"


async def test_a_search_before_the_rules_are_read_waits_for_them() -> None:
    plain = source(words=True)
    plain.unread = True
    async with running(WIDE, plain) as seen:
        await seen.press("3", "slash")
        await seen.write("dport")
        await seen.press("enter")
        await seen.see("find dport …")
        plain.unread = False
        await seen.see("find dport 1/2")


async def test_sets_that_could_not_be_searched_are_named_instead_of_not_found() -> None:
    plain = source(words=True)
    plain.unsearched = ("bad", "tcpok")
    async with running(WIDE, plain) as seen:
        await seen.press("3", "slash")
        await seen.write("203.0.113.77")
        await seen.press("enter")
        await seen.see("sets are not searched: bad, tcpok")
        assert "not found" not in seen.text


async def test_y_on_a_rule_offers_its_text_and_the_commands_that_change_it() -> None:
    async with running(WIDE, source(words=True)) as seen:
        await seen.press("3", "l", "enter", "y")
        await seen.see("Insert one like it before it")
        await seen.press("4")
        await seen.see("delete rule ip filter INPUT handle 6")


async def test_x_without_a_search_shows_the_rules_of_every_chain_to_be_sorted() -> None:
    async with running(WIDE, source(words=True)) as seen:
        await seen.press("3")
        await seen.see("I raw/PREROUTING")
        await seen.press("x")
        await seen.see("filter lan: tcp dport 80")
        await seen.see("six in: ip6 saddr 2001::/16")
        await seen.see(" all rules, of every chain")
        await seen.see("4 rules of every chain")
        assert " ip raw PREROUTING" not in seen.text
        await seen.press("escape")
        await seen.see_no("filter lan: tcp")
        await seen.see(" ip raw PREROUTING")


async def test_d_opens_the_detail_of_a_rule_that_jumps() -> None:
    async with running(WIDE, source(words=True)) as seen:
        await seen.press("3", "l", "l", "enter", "d")
        await seen.see("jumps to")
        await seen.press("escape")
        await seen.see_no("jumps to")


async def test_v_shows_only_what_moved() -> None:
    async with running(WIDE, source(words=True)) as seen:
        await seen.press("3", "l", "enter")
        await seen.see("tcp dport 22")
        await seen.press("v")
        await seen.see("No rule here matched while it was watched")
        await seen.press("v")
        await seen.see("tcp dport 22")


async def test_the_log_lists_what_changed_and_finds_the_rule() -> None:
    plain = source(words=True)
    added = Change("+", "iptables-nft", "ip filter lan 1", "tcp dport 80 accept", "tcp dport 80 accept")
    rest = Change("…", "", "and 2 more changes", "", "")
    plain.changes = [Commit(T0, "nft (4121)", (added, rest))]
    async with running(WIDE, plain) as seen:
        await seen.press("3", "L")
        await seen.see("+ ip filter lan 1  tcp dport 80 accept")
        await seen.see("nft (4121)")
        await seen.see("… and 2 more changes")
        await seen.press("enter")
        await seen.see("find tcp dport 80 accept 1/1")


async def test_without_a_change_the_log_says_so() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3", "L")
        await seen.see("no rule has changed since nettop started to watch")


@pytest.mark.parametrize("size", [WIDE, (80, 40)])
async def test_findings_are_listed_with_their_evidence_and_lead_to_their_place(size: tuple[int, int]) -> None:
    plain = source(words=True)
    assert plain.finder is not None
    plain.finder._ruleset.texts.apply(Text(2, 0, T0, TextKind.IPTABLES_LEGACY_SAVE, LEGACY.encode(), ""))
    plain.finder._ruleset._dirty = True
    plain.finder._ruleset._rejoin()
    async with running(size, plain) as seen:
        await seen.press("3")
        await seen.see("! 2 findings")
        await seen.see("IPv6   ! 2 findings   o light a way   O of a packet   z kernel shown")
        await seen.press("exclamation_mark")
        await seen.see("rules 2 to 3 of ip filter lan (iptables-legacy) cannot match: ")
        await seen.see("ip filter lan (iptables-legacy) rule 1: ")  # the evidence of the one under the cursor
        await seen.press("down")
        await seen.see("iptables-legacy and nftables both filter ip input: a packet must pass")
        await seen.see("ip filter INPUT (iptables-legacy), priority 0, policy drop")
        await seen.press("up", "enter")
        await seen.until(lambda: "-A lan -p udp -j ACCEPT" in seen.text, "the rule that cannot match")


@pytest.mark.parametrize("size", [WIDE, SMALL])
async def test_hostile_and_wide_names_keep_the_columns_straight(size: tuple[int, int]) -> None:
    feed, plain = Feed(), session()
    names = ("evil\x1b[31m", "漢字漢字漢字漢字漢字漢字漢字", "a\u202eb", "x" * 200)
    feed.layout([base("t", name, "input", at, family="ip") for at, name in enumerate(names)])
    matrix = ChainMatrix(feed.ruleset, feed.chains, feed.finder)
    plain.views |= {"chains": feed.chains, "matrix": matrix, "rules": feed.rules}
    async with running(size, plain) as seen:
        await seen.press("3")
        await seen.see("INPUT")
        strips = seen.app.screen._compositor.render_strips(seen.app.size)
        assert {strip.cell_length for strip in strips} == {size[0]}
        edges = set()
        for strip in strips:
            x, found = 0, []
            for segment in strip:
                found += [x] * (segment.text == "│")
                x += segment.cell_length
            edges |= {tuple(found)} if len(found) > 0 else set()
        assert len(edges) == 1 and "\x1b" not in seen.text and "\u202e" not in seen.text


async def test_an_empty_ruleset_says_so_in_the_matrix() -> None:
    feed, plain = Feed(), session()
    feed.layout([])
    matrix = ChainMatrix(feed.ruleset, feed.chains, feed.finder)
    plain.views |= {"chains": feed.chains, "matrix": matrix, "rules": feed.rules}
    async with running(SMALL, plain) as seen:
        await seen.press("3")
        await seen.see("No chains: no nftables, iptables or iptables-legacy rules in this namespace.")
        await seen.press("j", "l", "enter", "n", "x", "p", "o", "z", "m", "m")
        await seen.see("No chains")


async def test_a_click_selects_a_chain_a_second_one_opens_its_rules_and_words_are_keys() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3")
        await seen.see("I filter/FORWARD")
        y = next(at for at, line in enumerate(seen.lines) if "I filter/FORWARD" in line)
        x = seen.lines[y].index("I filter/FORWARD")
        await seen.pilot.click(offset=(x + 3, y))
        await seen.see("▶I filter/FORWARD")
        await seen.pilot.click(offset=(x + 3, y))
        await seen.see("Esc back")
        row = next(at for at, line in enumerate(seen.lines) if "[IPv4]" in line)
        await seen.press("escape")
        await seen.pilot.click(offset=(seen.lines[row].index("light"), row))
        await seen.see("way: to this host")


async def test_enter_opens_the_sets_of_a_rule_and_reads_the_next_page_behind_the_last_element() -> None:
    plain, made = source(), opened_feed()
    plain.views |= {"chains": made.chains, "rules": made.rules}
    del plain.views["matrix"]
    asked: list[int] = []

    def read(ident: int) -> None:
        for ref, count in made.ruleset.opened.wanted(ident, made.ruleset.picture):
            asked.append(count)
            made.ruleset.opened.put(ref, page(*range(1, 7), count=count - 995, more=count < 1005))

    plain.reading = read
    async with running(SMALL, plain) as seen:
        await seen.press("3", "enter", "enter")
        await seen.see("▾ @bad   set of ipv4_addr")
        await seen.see("10.0.0.5")
        await seen.press("j", "j", "j", "j", "j", "j")
        assert "Enter reads the next" not in seen.cursor_line() and "10.0.0.5" in seen.cursor_line()
        await seen.press("j")
        assert "Enter reads the next" in seen.cursor_line()
        await seen.press("enter")
        await seen.see("10.0.0.6")
        assert "10.0.0.6" in seen.cursor_line() and asked == [1000, 1005]
        await seen.press("g", "enter")
        await seen.see_no("10.0.0.6")
        await seen.press("e")
        await seen.see("10.0.0.5")
        await seen.press("G", "e")
        await seen.see("this rule uses no named set")


async def test_i_shows_the_rule_in_other_words_and_as_the_kernels_expressions() -> None:
    plain, made = session(), Feed()
    made.layout([base("fw", "fwd"), user("fw", "lan")])
    made.poll(
        (replace(rule("fwd", 4), raw=SADDR + EQUAL + COUNTER), rule("fwd", 5, "lan"), rule("lan", 9)), [7, 8, 9], T0
    )
    made.texts(
        "table inet fw { # handle 1\n\tchain fwd { # handle 1\n\t\tip saddr 10.0.0.1 accept # handle 4\n\t}\n}\n"
    )
    plain.views |= {"chains": made.chains, "rules": made.rules}
    async with running(SMALL, plain) as seen:
        await seen.press("3", "enter")
        await seen.see("ip saddr 10.0.0.1")
        await seen.press("i")
        await seen.see("i in full: nft's")
        await seen.press("i")
        await seen.see(" [ payload load 4b @ network header + 12 => reg 1 ]")
        await seen.see(" [ cmp eq reg 1 0x0100000a 0x00000302 ]  [ counter pkts 7 bytes 700 ]")
        await seen.press("i")
        await seen.see_no("[ payload load")
        await seen.press("d")
        await seen.see("  runs      [ payload load 4b @ network header + 12 => reg 1 ]")


async def test_the_pane_that_keys_go_to_has_a_heavy_title_and_keys_of_the_matrix_work_from_the_rules() -> None:
    async with running(WIDE, source()) as seen:
        await seen.press("3")
        await seen.see("─ ip raw PREROUTING")
        await seen.press("enter")
        await seen.see("━ ip raw PREROUTING")
        await seen.press("o")
        await seen.see("way: to this host")
        await seen.press("p")
        await seen.see("[IPv6]")
        await seen.press("shift+tab")
        await seen.see_no("━ ip6 six in")
