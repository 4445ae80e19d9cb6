"""A view whose body is no table is a view like any other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.app import ComposeResult

from nettop.model.table import Line
from nettop.session.status import Status
from nettop.ui.panes.pane import Pane, PaneHost, ViewDef
from nettop.ui.screens import main
from nettop.ui.views import VIEWS
from nettop.ui.widgets.text_panes import TextPane
from tests.ui.plain_session import session
from tests.ui.plain_tables import PlainModel
from tests.ui.screen_text import SMALL, running


class Plan(Pane, can_focus=True):
    """Draws words; Enter and Esc turn to another sheet and back."""

    def __init__(self, definition: ViewDef, host: PaneHost) -> None:
        super().__init__(definition, host)
        self.sheet, self.text_pane = 0, TextPane()

    def compose(self) -> ComposeResult:
        yield self.text_pane

    @property
    def filters(self) -> Line:
        return ((f"sheet {self.sheet}", "dim"),)

    @property
    def state(self) -> int:
        return self.sheet

    def restore(self, state: int) -> None:
        self._turn(state)

    def open_row(self) -> None:
        self.host.record_position()
        self._turn(self.sheet + 1)

    def back(self) -> None:
        self._turn(0)

    def copy_text(self) -> str:
        return f"the plan of sheet {self.sheet}"

    def tick(self, status: Status, paused: bool) -> None:
        self.text_pane.write([((f"drawn on sheet {self.sheet}", ""),)])

    def _turn(self, sheet: int) -> None:
        self.sheet = sheet
        self.post_message(self.Changed())


async def test_keys_bars_and_the_way_back_work_in_a_view_without_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "VIEWS", (*VIEWS, ViewDef("plan", "6", "Plan: drawn", body=Plan)))
    source = session()
    source.views["plan"] = PlainModel((), (), (), [])
    async with running(source=source) as seen:
        seen.main.show("plan")
        await seen.see("drawn on sheet 0")
        assert "[6 Plan]" in seen.text and "sort" not in seen.lines[-1] and "filter" not in seen.lines[-1]
        for key in ("s", "slash", "C", "b", "f", "D", "tab", "shift+tab", "space", "space", "N"):
            await seen.press(key)
            assert seen.app.screen is seen.main and not seen.main.typing, key
        await seen.press("enter")
        await seen.see("drawn on sheet 1")
        await seen.see("sheet 1 ")
        await seen.press("y")
        await seen.see("the plan of sheet 1")
        await seen.press("left_square_bracket")
        await seen.see("drawn on sheet 0")
        await seen.press("left_square_bracket")
        await seen.see("[1 Flows]")
        assert seen.app.failure is None


@pytest.mark.parametrize("size", [SMALL, (120, 40), (200, 60)])
async def test_the_rule_under_the_cursor_is_read_in_full(size: tuple[int, int]) -> None:
    source = session()
    long = "-s 10.0.0.0/8 " * 12 + "-j DNAT --to-destination 172.17.0.2:80"
    model = source.views["rules"]
    model.columns = tuple(replace(c, key="rule", middle=True) if c.key == "text" else c for c in model.columns)
    model.default_columns = tuple(c.key for c in model.columns)
    for number, row in enumerate(model.rows):
        row["rule"] = long if number == 1 else f"tcp dport {number} accept"
    async with running(size, source) as seen:
        await seen.press("3", "enter")
        await seen.see("tcp dport 0 accept")
        await seen.press("j")
        await seen.until(lambda: long in " ".join(" ".join(seen.lines).split()), "the whole rule")
        table = next(line for line in seen.lines if line.startswith("▶") and "-s 10" in line)
        assert "172.17.0.2:80" in table and "…" in table, "cut in the middle"
        await seen.press("j")
        await seen.until(lambda: long not in " ".join(" ".join(seen.lines).split()), "another rule")
