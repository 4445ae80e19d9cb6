"""The lines of a matrix of chains, as wide as the screen: a pure function of the matrix, the cursor and what is lit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nettop.model.ruleset.matrix import Matrix, Place
from nettop.model.table import Line, Segment
from nettop.ui.strips import crop, fit, fit_middle, spread, width_of

_NARROW = 18  # cells of a column below which hooks without chains are left out
_POLICY_BESIDE = 24  # cells from which a policy is on the line of its chain's name
_NUMBERS = 5  # cells of the priorities without their names, of a narrow matrix
# What happens between the hooks, in full and short.
_BETWEEN = {
    "ingress": ("from the device ━▶", "from device"),
    "prerouting": ("━ then ROUTING: local? ▶", "━ ROUTING ▶"),
    "input": ("yes ━▶ to this host", "━▶ to here"),
    "forward": ("no ━▶ onward ━▶", "━▶ onward ━▶"),
    "output": ("from this host ━▶", "from here ━▶"),
    "postrouting": ("━▶ to the device", "━▶ to device"),
    "egress": ("━▶ to the device", "━▶ to device"),
}

Part = tuple[str, str, int | None]  # text, role, and the chain that it belongs to


@dataclass(frozen=True, slots=True)
class Drawn:
    """The lines of a matrix: titles that stay, and places that scroll. `top` has the first line of each chain."""

    titles: tuple[Line, ...] = ()
    lines: tuple[tuple[Part, ...], ...] = ()
    top: dict[int, int] | None = None


def draw(matrix: Matrix, width: int, lit: Collection[str] = ()) -> Drawn:
    """Return the lines in `width` cells. Columns whose hook is not in `lit`, if that has any, are dim."""
    label = max((len(text) for text in matrix.priorities), default=0) + 1
    columns = list(range(len(matrix.hooks)))
    if (width - label) // max(1, len(columns)) < _NARROW:
        columns, label = sorted({place.column for place in matrix.places if place.ident is not None}), _NUMBERS
    room = (width - label) // max(1, len(columns)) - 1
    bright = [not lit or hook in lit for hook in matrix.hooks]
    lines: list[tuple[Part, ...]] = []
    top: dict[int, int] = {}
    for row, text in enumerate(matrix.priorities):
        cells = [_cell(matrix.places, row, column, room, bright[column]) for column in columns]
        for y in range(max(map(len, cells), default=0)):
            parts: list[Part] = [(fit(_priority(text, label) if y == 0 else "", label), "number", None)]
            for cell in cells:
                parts += [("│", "dim", None), *(cell[y] if y < len(cell) else [(" " * room, "", None)])]
                for _, _, ident in cell[y] if y < len(cell) else ():
                    if ident is not None:
                        top.setdefault(ident, len(lines))
            lines.append(tuple(parts))
    return Drawn(_titles(matrix, columns, label, room, bright), tuple(lines), top)


def _priority(text: str, label: int) -> str:
    return text if len(text) < label else text[:4]  # the number: ` max`, `-300`


def _titles(matrix: Matrix, columns: Sequence[int], label: int, room: int, bright: Sequence[bool]) -> tuple[Line, ...]:
    names: list[Segment] = [(fit("PRIO" if label == _NUMBERS else "PRIORITY", label), "dim")]
    between: list[Segment] = [(" " * label, "")]
    for column in columns:
        hook, drops = matrix.hooks[column], matrix.drops[column]
        role = "heading" if bright[column] else "dim"
        dropped: Line = ((f"{drops[0]} ", "bad"),) if drops[1] == "bad" else ()
        beside = len(hook) + 2 + width_of(dropped) <= room
        names += [("│", "dim"), *spread(((f" {hook.upper()}", role),), dropped if beside else (), room, 1)]
        texts = _BETWEEN.get(hook, ("", ""))
        text = texts[len(texts[0]) >= room]
        below = () if beside else dropped
        title = fit(" ━▶ " if below else f" {text}", room - width_of(below))
        between += [("│", "dim"), (title, role), *below]
        names.append((" " * (width_of(between) - width_of(names)), ""))
    return tuple(names), tuple(between)


def _cell(places: Sequence[Place], row: int, column: int, room: int, bright: bool) -> list[list[Part]]:
    """Return the lines of one cell: one for a function of the kernel, two for a chain."""
    lines: list[list[Part]] = []
    for place in places:
        if (place.row, place.column) == (row, column):
            lines += _place(place, room, bright)
    return lines


def _place(place: Place, room: int, bright: bool) -> list[list[Part]]:
    inner = room - 1  # the first cell is the cursor's
    name, role = place.name
    if place.ident is None:
        short = name if width_of([place.name]) <= inner else place.short
        return [[(fit(f" {short}", room), role, None)]]
    policy = place.policy if place.policy[0] else None
    beside = inner >= _POLICY_BESIDE and policy is not None
    space = inner - len(place.policy[0]) - 1 if beside else inner
    if width_of([place.name]) > space:
        name = place.short
    if policy and beside:
        side: list[Segment] = [(fit_middle(name, space) + " ", role), policy]
        facts = list(place.facts)
    else:
        side = [(fit_middle(name, inner), role)]
        facts = [*place.facts[:1], *([policy] if policy else []), *place.facts[1:]]
        if policy and policy[0].lower() == "accept" and len(facts) > 1:
            moving = [fact for fact in place.facts if fact[1] != "dim"]
            facts = [*moving, policy, *(fact for fact in place.facts if fact[1] == "dim")]
    lines = [[(" ", ""), *side], [("   " if inner >= _POLICY_BESIDE else " ", ""), *_fitting(facts, inner)]]
    return [
        [(text, own if bright else "dim", place.ident) for text, own in [*crop(line, room), _rest(line, room)]]
        for line in lines
    ]


def _rest(line: Sequence[Segment], room: int) -> Segment:
    return " " * max(0, room - width_of(line)), ""


def _fitting(facts: Sequence[Segment], room: int) -> list[Segment]:
    """Return the first facts that fit, with a blank between them."""
    out: list[Segment] = []
    for text, role in facts:
        part = f" {text}" if out else text
        if width_of(out) + len(part) <= room:
            out.append((part, role))
    return out
