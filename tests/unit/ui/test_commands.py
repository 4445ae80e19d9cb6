"""The one table of commands: no key means two things, and every one is in the help."""

from __future__ import annotations

from collections import Counter

import pytest

from nettop.ui.actions.registry import COMMANDS
from nettop.ui.commands import MOVES, CommandContext, applies, keys_text
from nettop.ui.screens.help import help_lines
from nettop.ui.strips import plain
from nettop.ui.views import VIEWS

NAMES = [name for view in VIEWS for name in (view.name, view.groups) if name] + ["matrix"]


@pytest.mark.parametrize("view", NAMES)
def test_no_key_means_two_things(view: str) -> None:
    here = [c for c in COMMANDS if applies(c, CommandContext(view, NAMES))]
    keys = Counter(key for c in (*here, *MOVES) for key in c.keys)
    assert [key for key, count in keys.items() if count > 1] == []


@pytest.mark.parametrize("view", NAMES)
def test_help_names_every_key_of_the_view_and_fits_80_by_24(view: str) -> None:
    found = help_lines(COMMANDS, CommandContext(view, NAMES), 74, 20)
    text = plain(found)
    assert len(found) <= 20
    assert all(keys_text(c) in text for c in COMMANDS if c.keys and applies(c, CommandContext(view, NAMES)))
    assert "…" not in text


def test_names_are_unique() -> None:
    assert len({c.name for c in COMMANDS}) == len(COMMANDS)


@pytest.mark.parametrize("view", NAMES)
def test_no_two_keys_of_a_view_have_one_brief_title(view: str) -> None:
    here = [c for c in (*COMMANDS, *MOVES) if c.keys and (c in MOVES or applies(c, CommandContext(view, NAMES)))]
    titles = Counter(c.title.split(":")[0] for c in here)
    assert [title for title, count in titles.items() if count > 1] == []
