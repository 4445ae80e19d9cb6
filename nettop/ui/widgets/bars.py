"""What stands in the bars around a view: header, tabs, totals, titles, keys. Pure: facts in, lines out."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.model.view import Line, Segment
from nettop.text.units import ABSENT, clock, grouped, scaled
from nettop.ui.commands import COMMANDS, applies, key_text
from nettop.ui.lines import crop, spread, width_of
from nettop.ui.session_protocol import Status

ONE_LINE = 140  # cells from which the header is a single line; below it always takes two, so that nothing jumps


def _table_use(status: Status) -> list[Segment]:
    if status.count is None:
        return [("ct ", "dim"), (ABSENT, "dim")]
    if not status.maximum:
        return [("ct ", "dim"), (grouped(status.count), "number")]
    share = 100 * status.count / status.maximum
    role = "bad" if share >= 95 else "warn" if share >= 80 else "number"
    words = " full!" if share >= 95 else ""
    return [("ct ", "dim"), (f"{status.count:,}/{status.maximum:,} {share:.1f}%{words}", role)]


def _facts(status: Status) -> list[list[Segment]]:
    """The left part, most important first."""
    facts = [_table_use(status)]
    if status.events_per_s is not None:
        facts.append([("▲ ", "dim"), (f"{scaled(status.events_per_s):>5} ev/s", "number")])
    facts.append([("▤ ", "dim"), (f"capture {status.capture}" if status.capture == "off" else status.capture, "")])
    if status.acct:
        role = "warn" if status.acct == "off" else ""
        facts.append([("acct ", "dim"), (status.acct, role)])
    if status.cpu_percent is not None:
        facts.append([("cpu ", "dim"), (f"{status.cpu_percent:4.1f}%", "number")])
    return facts


def _name(status: Status) -> list[Segment]:
    return [(" nettop", "heading"), ("  netns ", "dim"), (status.netns or "host", "accent")]


def _losses(status: Status) -> list[Segment]:
    return [("lost ", "dim"), (status.lost, "number" if status.lost == "0" else "bad")]


def _mode(status: Status) -> list[Segment]:
    out: list[Segment] = []
    if status.recording:
        out += [("REC ● ", "bad"), (status.recording, ""), ("   ", "")]
    if status.paused:
        out += [("PAUSED ", "warn")]
    return [*out, (status.mode, "good"), (f" {clock(status.clock_ns)} ", "heading")]


def _joined(parts: Sequence[list[Segment]], room: int) -> list[Segment]:
    """The parts that fit, three blanks between."""
    out: list[Segment] = []
    for part in parts:
        with_gap = [("   ", ""), *part] if out else part
        if width_of(out) + width_of(with_gap) > room:
            break
        out += with_gap
    return out


def header_lines(status: Status, width: int) -> list[Line]:
    """The header: one line on a wide screen, two on a narrow one."""
    losses, mode = _losses(status), _mode(status)
    if width >= ONE_LINE:
        right = [*losses, ("   ", ""), *mode]
        left = _joined([_name(status), *_facts(status)], width - width_of(right) - 2)
        return [tuple(spread(tuple(left), tuple(right), width))]
    first = spread(tuple(_name(status)), tuple(mode), width)
    facts = [[(" ", ""), *part] if i == 0 else part for i, part in enumerate(_facts(status))]
    second = spread(tuple(_joined(facts, width - width_of(losses) - 3)), (*losses, (" ", "")), width)
    return [tuple(first), tuple(second)]


def tab_spans(titles: Sequence[str], current: int) -> list[tuple[int, int, str]]:
    """(first cell, cells, text) of every tab; the current one stands in brackets."""
    spans = []
    x = 1
    for i, title in enumerate(titles):
        text = f"[{title}]" if i == current else f" {title} "
        spans.append((x, len(text), text))
        x += len(text)
    return spans


def tabs_line(titles: Sequence[str], current: int, right: Line, width: int) -> Line:
    """The views, and at the right end the filter."""
    left: list[Segment] = [(" ", "")]
    for i, (_, _, text) in enumerate(tab_spans(titles, current)):
        left.append((text, "heading" if i == current else "dim"))
    room = max(0, width - width_of(left) - 3)
    return tuple(spread(tuple(left), (*crop(right, room), (" ", "")), width))


def title_line(title: Line, width: int) -> Line:
    """A rule across the screen with a title in it."""
    kept = crop((("─ ", "dim"), *title, (" ", "")), width)
    return (*kept, ("─" * (width - width_of(kept)), "dim"))


def hints_line(view: str, width: int, live: bool = True) -> Line:
    """The keys that do something here, most useful first; `? help` always stays."""
    last: Line = (("? ", "key"), ("help ", "dim"))
    out: list[Segment] = [(" ", "")]
    room = width - width_of(last) - 2
    for command in COMMANDS:
        if not command.hint or command.name == "help" or not applies(command, view, live):
            continue
        part = [(f"{key_text(command.keys[0])} ", "key"), (f"{command.hint}  ", "dim")]
        if width_of(out) + width_of(part) <= room:
            out += part
    return tuple(spread(tuple(out), last, width))
