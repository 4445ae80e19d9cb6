"""What stands in the bars around a view: header, tabs, totals, titles, keys. Pure: facts in, lines out."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.model.table import Line, Segment
from nettop.session.status import Capturing, Status
from nettop.text.units import ABSENT, clock, grouped, percent, scaled
from nettop.ui.commands import Command, Where, hinted, key_text
from nettop.ui.strips import crop, spread, width_of

ALL_TITLES = 100  # cells from which every view is named, whatever else there is to say
ONE_LINE = 140  # cells from which the header is a single line; below it always takes two, so that nothing jumps


_OVER = ("GONE", "ENDED")  # modes in which nothing more comes
_USE = "ct "  # what the table's use begins with


def _table_use(status: Status) -> list[Segment]:
    if status.count is None:
        return [(_USE, "dim"), (ABSENT, "dim")]
    if not status.maximum:
        return [(_USE, "dim"), (grouped(status.count), "number")]
    share = status.count / status.maximum
    role = "bad" if share >= 0.95 else "warn" if share >= 0.8 else "number"
    words = " full!" if share >= 0.95 else ""
    return [(_USE, "dim"), (f"{status.count:,}/{status.maximum:,} {percent(share)}{words}", role)]


def _facts(status: Status) -> list[list[Segment]]:
    """The left part, most important first."""
    facts = [_table_use(status)]
    if status.events_per_s is not None:
        facts.append([("▲ ", "dim"), (f"{scaled(status.events_per_s):>5} ev/s", "number")])
    facts.append([("▤ ", "dim"), (f"capture {status.capture}" if status.capture == "off" else status.capture, "")])
    if status.acct:
        role = "warn" if status.acct == "off" else ""
        facts.append([("acct ", "dim"), (status.acct, role)])
    if status.read_only:
        facts.append([("read-only", "warn")])
    if status.names:
        facts.append([("names", "accent")])
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
    role = "bad" if status.mode in _OVER else "good"
    return [*out, (status.mode, role), (f" {clock(status.clock_ns)} ", "heading")]


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


def use_span(header: Sequence[Line]) -> tuple[int, int, int]:
    """(line, first cell, cells) of the table's use in the header; no cells where it is not there."""
    for y, line in enumerate(header):
        for i, (text, _) in enumerate(line[:-1]):
            if text == _USE:
                return y, width_of(line[:i]), width_of(line[i : i + 2])
    return 0, 0, 0


def tab_spans(titles: Sequence[str], current: int) -> list[tuple[int, int, str]]:
    """(first cell, cells, text) of every tab; the current one stands in brackets."""
    spans = []
    x = 1
    for i, title in enumerate(titles):
        text = f"[{title}]" if i == current else f" {title} "
        spans.append((x, len(text), text))
        x += len(text)
    return spans


def tab_titles(titles: Sequence[str], current: int, right: Line, width: int) -> list[str]:
    """The titles; on a narrow screen, of the others only their numbers where else the right end would be cut."""
    if width >= ALL_TITLES or 1 + sum(len(title) + 2 for title in titles) + 2 + width_of(right) + 1 <= width:
        return list(titles)
    return [title if i == current else title.split(" ")[0] for i, title in enumerate(titles)]


def tabs_line(titles: Sequence[str], current: int, right: Line, width: int) -> Line:
    """The views, and at the right end what is filtered and grouped by."""
    left: list[Segment] = [(" ", "")]
    for i, (_, _, text) in enumerate(tab_spans(tab_titles(titles, current, right, width), current)):
        left.append((text, "heading" if i == current else "dim"))
    room = max(0, width - width_of(left) - 3)
    return tuple(spread(tuple(left), (*crop(right, room), (" ", "")), width))


def capture_line(now: Capturing, width: int) -> Line:
    """` B  eth0 eth1  tcp port 443  (and not your ssh session, 10.0.0.9:51001)`: the filter is cut first."""
    without: Line = ((f"  (and not {now.without}) ", "dim"),) if now.without else ()
    what = "128 bytes of every packet, for rates" if now.headers else now.expression.strip() or "every packet"
    devices = crop(((" ".join(now.devices), "accent"),), width // 3)
    left: Line = ((" B  ", "key"), *devices, ("  ", ""), (what, ""))
    ends: Line = (("   H", "key"), (" in Flows ends it ", "dim")) if now.headers else ()
    return tuple(crop((*crop((*left, *ends), width - width_of(without)), *without), width))


def title_line(title: Line, width: int) -> Line:
    """A rule across the screen with a title in it."""
    kept = crop((("─ ", "dim"), *title, (" ", "")), width)
    return (*kept, ("─" * (width - width_of(kept)), "dim"))


def hints_line(commands: Sequence[Command], where: Where, width: int) -> Line:
    """The keys that do something here, most useful first; `? help` always stays."""
    last: Line = (("? ", "key"), ("help ", "dim"))
    out: list[Segment] = [(" ", "")]
    room = width - width_of(last) - 2
    for command in commands:
        if command.name == "help" or not hinted(command, where):
            continue
        part = [(f"{key_text(command.keys[0])} ", "key"), (f"{command.hint}  ", "dim")]
        if width_of(out) + width_of(part) <= room:
            out += part
    return tuple(spread(tuple(out), last, width))


def typing_line(completes: bool, width: int) -> Line:
    """The keys while something is typed: every other one is a letter."""
    keys = [("Enter", "take it"), *([("Tab", "complete")] if completes else []), ("↑ ↓", "earlier, later"),
            ("Ctrl-U", "clear"), ("Ctrl-W", "word back"), ("Esc", "leave")]  # fmt: skip
    return tuple(
        crop([(" ", ""), *(part for key, does in keys for part in ((f"{key} ", "key"), (f"{does}  ", "dim")))], width)
    )


def offer_line(width: int) -> Line:
    """Said once where flows have no bytes: what would give them some."""
    parts: Line = (
        (" accounting is off: no bytes   ", "warn"),
        ("A", "key"),
        (" switches it on   ", "dim"),
        ("H", "key"),
        (" rates from headers   ", "dim"),
        ("Esc", "key"),
        (" not now", "dim"),
    )
    return tuple(crop(parts, width))
