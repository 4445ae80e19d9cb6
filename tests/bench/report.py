"""A line of the benchmark, and the table of them: ours, the peer's, their ratio, the floor, the budget, the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """What another program needs for the same thing, in the unit of the line; None: not measured in this run."""

    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One measured figure. `holds` is None where no budget is set."""

    row: str
    what: str
    ours: float
    unit: str
    peer: Peer | None = None
    floor: float | None = None
    budget: str = ""
    holds: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours by the peer's."""
        return None if self.peer is None or not self.peer.value else self.ours / self.peer.value


def line(
    row: str,
    what: str,
    ours: float,
    unit: str = "s",
    *,
    peer: Peer | None = None,
    floor: float | None = None,
    most: float | None = None,
    most_ratio: float | None = None,
    note: str = "",
) -> Line:
    """A line whose budget is an amount (`most`), a ratio to the peer (`most_ratio`), both or none."""
    budgets, holds = [], []
    made = Line(row, what, ours, unit, peer, floor)
    if most is not None:
        budgets.append(f"≤ {number(most)} {unit}")
        holds.append(ours <= most)
    if most_ratio is not None:
        budgets.append(f"≤ {most_ratio:g}×")
        holds.append(made.ratio is not None and made.ratio <= most_ratio)
    return Line(row, what, ours, unit, peer, floor, ", ".join(budgets), all(holds) if holds else None, note)


def number(value: float | None) -> str:
    """Three digits that matter; whole numbers whole."""
    if value is None or value != value:
        return "–"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def as_object(one: Line) -> dict[str, object]:
    """The line for --json."""
    return {"kind": "bench", **asdict(one), "ratio": one.ratio}


HEADS = ("row", "what", "ours", "peer", "ratio", "floor", "budget", "holds", "note")


def table(lines: Iterable[Line]) -> list[str]:
    """The lines aligned, with their heads."""
    cells = [HEADS, *(_cells(one) for one in lines)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADS) - 1)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip() for row in cells
    ]


def _cells(one: Line) -> tuple[str, ...]:
    peer, ratio = one.peer, one.ratio
    return (
        one.row,
        one.what,
        f"{number(one.ours)} {one.unit}",
        "" if peer is None else f"{peer.name} {number(peer.value)}",
        "" if ratio is None else f"{ratio:.2f}×",
        "" if one.floor is None else number(one.floor),
        one.budget,
        {None: "", True: "yes", False: "NO"}[one.holds],
        one.note,
    )
