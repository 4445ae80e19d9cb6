"""A row's cells stand in their columns; the last text of a row that has no more may run on."""

from __future__ import annotations

from nettop.model.table import Column, Row
from nettop.ui.palette import Palette
from nettop.ui.theme import FALLBACK
from nettop.ui.widgets.column_layout import lay_out
from nettop.ui.widgets.painter import draw_row

COLUMNS = [Column("time", "TIME", 4), Column("proto", "PROTO", 5), Column("state", "STATE", 5), Column("up", "UP", 6)]
LOSS = "┄┄ 2 events lost ┄┄"


def drawn(*cells: str, width: int = 30) -> str:
    row = Row(1, cells, ("",) * len(cells))
    order = {column.key: at for at, column in enumerate(COLUMNS)}
    return draw_row(row, lay_out(COLUMNS, width), order, width, Palette(FALLBACK), "background").text


def test_the_text_of_a_loss_runs_over_the_empty_cells_to_its_right() -> None:
    assert drawn("12:0", LOSS, "", "") == f" 12:0 {LOSS}".ljust(30)
    assert drawn("12:0", LOSS, "", "", width=24) == " 12:0 ┄┄ 2 events lost …"


def test_no_text_runs_over_another() -> None:
    assert drawn("12:0", LOSS, "", "7") == " 12:0 ┄┄ 2…       7           "
    assert drawn("12:0", "tcp", LOSS, "–") == " 12:0 tcp   ┄┄ 2… –           "


def test_a_text_that_is_cut_in_its_middle_runs_up_to_the_next_text() -> None:
    columns = [Column("name", "NAME", 6, middle=True), *COLUMNS[1:]]
    order = {column.key: at for at, column in enumerate(columns)}

    def middle(*cells: str) -> str:
        row = Row(1, cells, ("",) * len(cells))
        return draw_row(row, lay_out(columns, 30), order, 30, Palette(FALLBACK), "background").text

    assert middle("abcdefghijklmno", "", "", "7") == " abcdefghijklmno    7         "
    assert middle("abcdefghijklmno", "", "ok", "7") == " abcdef…klmno ok    7         "
