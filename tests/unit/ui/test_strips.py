"""Lines are exactly as wide as they must be, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nettop.model.table import Line
from nettop.session.status import Status
from nettop.ui.actions.registry import COMMANDS
from nettop.ui.commands import CommandContext
from nettop.ui.palette import Palette
from nettop.ui.strips import crop, fit, fit_path, flowed, keys_line, plain, spread, width_of
from nettop.ui.theme import FALLBACK
from nettop.ui.widgets.bar_lines import header_lines, hints_line, tabs_line, title_line
from nettop.ui.widgets.prompt import caret_line
from nettop.ui.widgets.timeline import timeline_lines

texts = st.text(max_size=40)
lines = st.lists(st.tuples(texts, st.sampled_from(["", "dim", "bad"])), max_size=6).map(tuple)


@given(texts, st.integers(0, 60), st.booleans())
def test_fit_is_exact_and_safe(text: str, width: int, right: bool) -> None:
    found = fit(text, width, right)
    assert cell_len(found) == width
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in found)


def test_fit_keeps_numbers_at_the_right_and_says_when_it_cut() -> None:
    assert fit("12", 5, True) == "   12"
    assert fit("abcdef", 4) == "abc…"
    assert fit("界界界", 4) == "界 …" or cell_len(fit("界界界", 4)) == 4


PATH = "inet firewalld ▸ lvl1 ▸ lvl2 ▸ lvl3 rule 12 “ip saddr 192.0.2.7 drop”"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        (PATH, 80, PATH),
        (PATH, 60, "inet firewalld ▸ lvl1 ▸ lvl2 ▸ lvl3 rule 12 “ip saddr 192.0…"),
        (PATH, 46, "inet firewalld ▸ … ▸ lvl3 rule 12 “ip saddr 1…"),
        (PATH, 40, "inet firewalld ▸ … ▸ lvl3 rule 12 “ip s…"),
        (PATH, 36, "… ▸ lvl3 rule 12 “ip saddr 192.0.2.…"),
        (PATH, 14, "… ▸…l3 rule 12"),
        ("inet firewalld filter_INPUT rule 5 “ip saddr @bad drop”", 44, "inet firewalld filter_INPUT rule 5 “ip sadd…"),
        ("inet firewalld filter_INPUT policy", 24, "… filter_INPUT policy"),
        ("ip t c handle 7", 12, "… c handle 7"),
        ("lost in routing, after prerouting: no route", 20, "lost in routing, af…"),
    ],
)
def test_a_path_to_a_rule_is_cut_in_its_middle_and_keeps_the_last_chain_and_the_number(
    text: str, width: int, shown: str
) -> None:
    assert fit_path(text, width).rstrip() == shown


@given(texts, st.integers(0, 60))
def test_a_path_is_fitted_exactly_whatever_is_in_it(text: str, width: int) -> None:
    assert cell_len(fit_path(f"inet {text} ▸ {text} rule 1 {text}", width)) == width


@given(lines, st.integers(0, 80))
def test_crop_never_exceeds(line: Line, width: int) -> None:
    assert width_of(crop(line, width)) <= width


@given(lines, lines, st.integers(1, 120))
def test_spread_never_exceeds(left: Line, right: Line, width: int) -> None:
    assert width_of(spread(left, right, width)) <= width


@given(st.builds(Status, netns=texts, capture=texts, acct=texts, lost=texts, recording=texts, mode=texts,
                 count=st.none() | st.integers(0, 2**40), maximum=st.none() | st.integers(0, 2**40),
                 events_per_s=st.none() | st.floats(0, 1e12), cpu_percent=st.none() | st.floats(0, 10_000)),
       st.integers(1, 250))  # fmt: skip
def test_the_header_fits_any_width_and_takes_one_or_two_lines(status: Status, width: int) -> None:
    found = header_lines(status, width)
    assert len(found) == (1 if width >= 140 else 2)
    assert all(width_of(line) <= width for line in found)


def test_the_header_does_not_jump_when_numbers_grow() -> None:
    small = Status(netns="gw-a", count=1, maximum=262144, events_per_s=3.0, cpu_percent=1.0)
    large = Status(netns="gw-a", count=1, maximum=262144, events_per_s=99_900.0, cpu_percent=99.9)
    at = [plain(header_lines(status, 160)).index("cpu") for status in (small, large)]
    assert at[0] == at[1]


@given(st.integers(1, 250))
def test_bars_fit_any_width(width: int) -> None:
    titles = ["1 Flows", "2 Events", "3 Chains"]
    for line in (
        tabs_line(titles, 1, (("/ ", "key"), ("x" * 300, "accent")), width),
        title_line((("t" * 300, ""),), width),
        hints_line(COMMANDS, CommandContext("packets", {"packets"}), width),
    ):
        assert width_of(line) <= max(width, 1)


@given(st.integers(0, 300), st.none() | st.integers(0, 300), texts, st.integers(10, 200))
def test_the_caret_line_fits_and_points_at_the_error(at: int, position: int | None, message: str, width: int) -> None:
    found = caret_line(at, position, message, width)
    if position is not None and at + position < width:
        assert plain((found,)).find("^") >= 0
        assert width_of(found) <= width
        before = plain((found,)).split("^")[0]
        assert cell_len(before) == at + position or "^" in message


def test_without_colour_nothing_is_coloured_and_the_cursor_is_reversed() -> None:
    palette = Palette(FALLBACK, colour=False)
    for surface in ("background", "cursor", "bar"):
        for role in ("", "bad", "dim"):
            assert palette.style(role, surface).color is None and palette.style(role, surface).bgcolor is None
    assert palette.style("", "cursor").reverse


@given(st.lists(st.tuples(*[st.integers(0, 10**7)] * 3), max_size=60), st.sampled_from([1, 3]), st.integers(1, 250))
def test_the_timeline_fits_any_width(seconds: list[tuple[int, int, int]], lines: int, width: int) -> None:
    found = timeline_lines(seconds, lines, width)
    assert len(found) == lines and all(width_of(line) <= width for line in found)


def test_every_kind_of_the_timeline_has_its_own_scale_and_ends_with_now() -> None:
    new, update, destroy = plain(timeline_lines([(0, 0, 0), (800, 100, 0), (400, 100, 0)], 3, 120)).split("\n")
    assert new.split()[:3] == ["NEW", "█▄", "400/s"] and new.endswith("peak 800/s")
    assert update.split()[1] == "██" and destroy.split() == ["DESTROY", "0/s", "peak", "0/s"]


def test_advice_flows_over_lines_and_keeps_its_keys() -> None:
    line = keys_line("", "t", " traces packets on their way, ", "@", " watches another namespace.")
    found = flowed(line, 24)
    assert plain(found) == "t traces packets on\ntheir way, @ watches\nanother namespace."
    assert [text.strip() for part in found for text, role in part if role == "key"] == ["t", "@"]
    assert flowed((("heading", "heading"),), 24) == [(("heading", "heading"),)]
