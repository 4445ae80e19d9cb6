"""Themes: what ships can be read by everybody, and a bad file is reported whole and skipped."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.errors import UsageError
from nettop.ui import theme

SHIPPED, NOTICE = theme.load([theme.shipped_dir()])
GOOD = (theme.shipped_dir() / "dark.toml").read_text("utf-8")


def test_a_dark_and_a_light_theme_ship() -> None:
    assert set(SHIPPED) == {"dark", "light"} and not NOTICE
    assert SHIPPED["dark"].dark and not SHIPPED["light"].dark


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1 (WCAG 2.1)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("name", "role"), product(sorted(SHIPPED), theme.ROLE_NAMES))
def test_every_text_can_be_read_on_every_surface(name: str, role: str) -> None:
    worn = SHIPPED[name]
    for surface in ("background", "bar", "cursor", "cursor_idle", "dialog"):
        ratio = contrast(worn.roles[role], worn.surfaces[surface])
        assert ratio >= 4.5, f"{role} on {surface}: {ratio:.2f}"


# Machado et al. 2009, severity 1.0, applied to linear RGB.
BLIND = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


def _seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> list[float]:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    mixed = [min(1.0, max(0.0, sum(w * c for w, c in zip(row, linear, strict=True)))) for row in matrix]
    return [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in mixed]


@pytest.mark.parametrize(("name", "kind"), product(sorted(SHIPPED), BLIND))
def test_good_and_bad_differ_for_the_colour_blind(name: str, kind: str) -> None:
    roles = SHIPPED[name].roles
    for one, other in (("good", "bad"), ("new", "bad"), ("good", "warn")):
        a, b = (_seen(roles[role], BLIND[kind]) for role in (one, other))
        assert sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5 > 0.2, (one, other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('bad = "#', 'bad = "blue#'), "roles.bad is no colour"),
        (('bad = "', 'baad = "'), "roles.baad is not known"),
        (("[roles]", "[rolls]"), "[roles] is missing"),
        (("dark = true", "dark = 1"), "dark must be true or false"),
        (('name = "dark"', 'name = "no/such\\u001b"'), "name must be a word"),
        (("[surfaces]", "[surfaces"), "Expected"),
        (('name = "dark"', 'name = "dark"\nfont = "x"'), "font is not known"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(change: tuple[str, str], said: str) -> None:
    found, problems = theme.parse(GOOD.replace(*change, 1))
    assert found is None and any(said in problem for problem in problems), problems


def test_all_problems_of_all_files_are_in_one_notice_and_the_good_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD.replace('"dark"', '"mine"', 1))
    (tmp_path / "bad1.toml").write_text(GOOD.replace("cursor =", "cursr =", 1))
    (tmp_path / "bad2.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "bad3\x1b.toml").write_text("x" * 100_000)
    (tmp_path / "folder.toml").mkdir()
    found, notice = theme.load([theme.shipped_dir(), tmp_path])
    assert set(found) == {"dark", "light", "mine"}
    for words in ("bad1.toml skipped", "cursr is not known", "cursor is missing", "bad2.toml skipped", "larger than"):
        assert words in notice
    assert "\x1b" not in notice


def test_a_user_theme_of_the_same_name_wins(tmp_path: Path) -> None:
    (tmp_path / "dark.toml").write_text(GOOD.replace('dim = "#9aa7b8"', 'dim = "#ffffff"'))
    assert theme.load([theme.shipped_dir(), tmp_path])[0]["dark"].roles["dim"] == "#ffffff"


def test_an_unknown_theme_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known are dark, light") as caught:
        theme.choose(SHIPPED, "mauve\x1b")
    assert caught.value.exit_code == 2 and "\x1b" not in str(caught.value)


def test_without_any_file_there_is_still_something_to_draw_with() -> None:
    assert theme.choose({}, "").name == "plain"


def test_user_themes_are_looked_for_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    assert theme.user_dir() == Path("/conf/nettop/themes")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert theme.user_dir() == Path("/home/someone/.config/nettop/themes")


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    found, problems = theme.parse(text)
    assert (found is None) == bool(problems)
