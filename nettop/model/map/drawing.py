"""The drawing of the map as a table model: its rows are the devices and namespaces that are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nettop.model.map.scene import EMPTY, Box, Scene, scene_of
from nettop.model.map.table import MapTable
from nettop.model.table import Column, Detail, Row, Snapshot, SortKey, ViewSpec


@dataclass(frozen=True, slots=True)
class DrawingSnapshot(Snapshot):
    """All that is drawn. The same scene is the same object, so it is laid out once.

    `found` are the idents that the filter matches, in the order of the rows.
    """

    scene: Scene = EMPTY
    found: tuple[int, ...] = ()


class MapDrawing:
    """The table model of the drawing. Its idents are those of the map's table."""

    columns = (Column("name", "NAME", 4, sortable=False),)
    default_columns = ("name",)
    default_sort: tuple[SortKey, ...] = ()

    def __init__(self, table: MapTable) -> None:
        self._table = table
        self._drawn_version = -1
        self._scene = EMPTY
        self._rows: tuple[Row, ...] = ()

    @property
    def version(self) -> int:
        """The version, which grows whenever the drawing may look different."""
        return self._table.version

    def _update(self) -> None:
        if self._drawn_version == (version := self.version):
            return
        self._drawn_version, table = version, self._table
        scene = scene_of(table.hosts, table.rows(), table.idents, table.marks, table.here())
        if scene != self._scene:
            self._scene = scene
            self._rows = tuple(row for box in scene.boxes for row in _rows(box))

    def snapshot(self, spec: ViewSpec, now_ns: int) -> DrawingSnapshot:
        """Return all that is drawn, also where the filter does not match."""
        self._update()
        matches = frozenset(() if spec.filter is None else self._table.matching(spec.filter))
        anchor = next((at for at, row in enumerate(self._rows) if row.ident == spec.anchor), None)
        count, found = len(self._rows), tuple(row.ident for row in self._rows if row.ident in matches)
        totals, notes, version = self._table.totals(), self._table.notes(), self._drawn_version
        return DrawingSnapshot(
            spec, 0, self._rows, count, count, anchor, totals, notes, version, scene=self._scene, found=found
        )

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of a device or a namespace."""
        return self._table.detail(ident, now_ns)


def _rows(box: Box) -> Iterator[Row]:
    yield Row(box.ident, (box.title,), ("",))
    yield from (Row(item.ident, (item.name,), ("",)) for item in box.items if item.ident >= 0)
