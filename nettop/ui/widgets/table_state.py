"""The saved state of a table."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.model.filter.expression import Filter
from nettop.model.table import SortKey
from nettop.ui.widgets.viewport import ViewportState


@dataclass(frozen=True, slots=True)
class TableState:
    """The filter, order and position of a table, to come back to."""

    filter: Filter | None
    sort: tuple[SortKey, ...]
    scope: int | None
    viewport: ViewportState
