"""The lines of the bars around a view (header, tabs, titles, keys), as pure functions of the status."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.model.table import Line, Segment
from nettop.session.status import Capturing, Status
from nettop.text.units import ABSENT, clock, duration, grouped, percent, scaled
from nettop.ui.commands import Command, CommandContext, hinted, key_text, textual_key
from nettop.ui.strips import crop, keys_line, spread, width_of

ALL_TITLES = 100  # cells from which every tab shows its full title
ONE_LINE = 140  # cells from which the header is one line; below it is always two, so that nothing moves

FINAL_MODES = ("GONE", "ENDED", "REPLAY ENDED")  # nothing more can arrive in these
_USE = "ct "  # the label of the table use
# The command that a click on a fact of the header runs, by the fact's first text.
_CONTROLS = {
    _USE: "holders", "  netns ": "namespace", "▤ ": "capture", "acct ": "accounting", "names": "names",
    "REC ● ": "record", "PAUSED ": "pause",
}  # fmt: skip


def _table_use(status: Status) -> list[Segment]:
    if status.count is None:
        return [(_USE, "dim"), (ABSENT, "dim")]
    if not status.maximum:
        return [(_USE, "dim"), (grouped(status.count), "number")]
    share = status.count / status.maximum
    role = "bad" if share >= 0.95 else "warn" if share >= 0.8 else "number"
    suffix = " full!" if share >= 0.95 else ""
    return [(_USE, "dim"), (f"{status.count:,}/{status.maximum:,} {percent(share)}{suffix}", role)]


def _facts(status: Status) -> list[list[Segment]]:
    """Return the facts of the header's left part, the most important first."""
    facts = [_table_use(status)]
    if status.events_per_s is not None:
        facts.append([("▲ ", "dim"), (f"{scaled(status.events_per_s):>5} ev/s", "number")])
    facts.append([("▤ ", "dim"), (f"capture {status.capture}" if status.capture == "off" else status.capture, "")])
    if status.acct:
        role = "warn" if status.acct == "off" else ""
        facts.append([("acct ", "dim"), (status.acct, role)])
    if status.read_only:
        facts.append([("read-only", "warn")])
    if status.tracing is not None:
        facts.append([("● ", "bad"), (f"tracing {status.tracing.now} pkt/s", "")])
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
    role = "bad" if status.mode in FINAL_MODES else "good"
    return [*out, (status.mode, role), (f" {clock(status.clock_ns)} ", "heading")]


def _joined(parts: Sequence[list[Segment]], room: int) -> list[Segment]:
    """Return the first parts that fit in `room` cells, separated by three blanks."""
    out: list[Segment] = []
    for part in parts:
        with_gap = [("   ", ""), *part] if out else part
        if width_of(out) + width_of(with_gap) > room:
            break
        out += with_gap
    return out


def header_lines(status: Status, width: int) -> list[Line]:
    """Return the header: one line on a wide screen (ONE_LINE), otherwise two."""
    losses, mode = _losses(status), _mode(status)
    if width >= ONE_LINE:
        right = [*losses, ("   ", ""), *mode]
        left = _joined([_name(status), *_facts(status)], width - width_of(right) - 2)
        return [tuple(spread(tuple(left), tuple(right), width))]
    first = spread(tuple(_name(status)), tuple(mode), width)
    facts = [[(" ", ""), *part] if i == 0 else part for i, part in enumerate(_facts(status))]
    second = spread(tuple(_joined(facts, width - width_of(losses) - 3)), (*losses, (" ", "")), width)
    return [tuple(first), tuple(second)]


_WORDS = {"only": "O", "by": "b", "FOLLOW ▼": "f", "FOLLOW ▶": "f"}  # words that are shown as keys, and their keys


def control_at(line: Line, x: int) -> str:
    """Return the command of the fact at cell x of a line of the header; "" if a click there does nothing."""
    command = ""
    for segment in line:
        text = segment[0]
        command = _CONTROLS.get(text, command if text.strip() else "")
        if 0 <= x < width_of((segment,)):
            return command
        x -= width_of((segment,))
    return ""


def key_at(line: Line, x: int) -> str:
    """Return the key that is shown at cell x, or before the words there; "" if there is none. As Textual names it."""
    key, ends = "", 0
    for text, role in line:
        start, ends = ends, ends + width_of(((text, role),))
        if role == "key":
            key = _WORDS.get(text.strip()) or textual_key(text.strip()) or ""
        if start <= x < ends:
            return key if text.strip() else ""
    return ""


def tab_spans(titles: Sequence[str], current: int) -> list[tuple[int, int, str]]:
    """Return (first cell, cells, text) of every tab. The current tab is in brackets."""
    spans = []
    x = 1
    for i, title in enumerate(titles):
        text = f"[{title}]" if i == current else f" {title} "
        spans.append((x, len(text), text))
        x += len(text)
    return spans


def tab_titles(titles: Sequence[str], current: int, right: Line, width: int) -> list[str]:
    """Return the titles. If the right end would be cut on a narrow screen, the other tabs show only their number."""
    if width >= ALL_TITLES or 1 + sum(len(title) + 2 for title in titles) + 2 + width_of(right) + 1 <= width:
        return list(titles)
    return [title if i == current else title.split(" ")[0] for i, title in enumerate(titles)]


def tabs_line(titles: Sequence[str], current: int, right: Line, width: int) -> Line:
    """Return the line of tabs, with `right` (filters and grouping) at the right end."""
    left: list[Segment] = [(" ", "")]
    for i, (_, _, text) in enumerate(tab_spans(tab_titles(titles, current, right, width), current)):
        left.append((text, "heading" if i == current else "dim"))
    room = max(0, width - width_of(left) - 3)
    return tuple(spread(tuple(left), (*crop(right, room), (" ", "")), width))


def capture_lines(status: Status, width: int) -> list[Line]:
    """Return the line of the running capture; none if there is none."""
    return [] if status.capturing is None else [capture_line(status.capturing, width)]


def tracing_lines(status: Status, width: int) -> list[Line]:
    """Return what is traced and how much of it, and what is on the host for it; nothing if nothing is traced."""
    tracing = status.tracing
    if tracing is None:
        return []
    request = tracing.request
    options = [request.only and f"   only {request.only}", request.syn and "   opening TCP connections"]
    left = ((" ● TRACING  ", "bad"), (request.expression or "every packet", "accent"), *((o, "") for o in options if o))
    left_s = max(0, tracing.until_ns - status.clock_ns) // 1_000_000_000
    right: list[Segment] = [(f"  {tracing.now} of {request.per_second:,} pkt/s", "number")]
    if tracing.over:
        right.append((f", {grouped(tracing.over)} over the limit", "warn"))
    right.append((f"  {duration(left_s)} left ", "dim"))
    keys = keys_line("  ", "S", " stop  ", "t", " new ")
    table: Line = (("   on the host: ", "dim"), (f"table inet {tracing.table}", "accent"), (_OWNED, "dim"))
    return [
        tuple(spread(tuple(crop(left, width - width_of(right))), tuple(right), width)),
        tuple(spread(tuple(crop(table, width - width_of(keys))), keys, width)),
    ]


_OWNED = ", in all hooks; the kernel removes it with nettop"


def capture_line(capture: Capturing, width: int) -> Line:
    """Return ` B  eth0 eth1  tcp port 443  (and not your ssh session, 10.0.0.9:51001)`. The filter is cut first."""
    without: Line = ((f"  (and not {capture.without}) ", "dim"),) if capture.without else ()
    text = "128 bytes of every packet, for rates" if capture.headers else capture.expression.strip() or "every packet"
    devices = crop(((" ".join(capture.devices), "accent"),), width // 3)
    left: Line = ((" B  ", "key"), *devices, ("  ", ""), (text, ""))
    hint: Line = (("   H", "key"), (" ends it ", "dim")) if capture.headers else ()
    return tuple(crop((*crop((*left, *hint), width - width_of(without)), *without), width))


def title_line(title: Line, width: int, focused: bool = False) -> Line:
    """Return a horizontal line across the screen with a title in it; a heavy one above the part that keys go to."""
    line, role = ("━", "key") if focused else ("─", "dim")
    cut = crop(((f"{line} ", role), *title, (" ", "")), width)
    return (*cut, (line * (width - width_of(cut)), role))


def hints_line(commands: Sequence[Command], context: CommandContext, width: int) -> Line:
    """Return the keys that work here, the most useful first. `? help` is never cut."""
    last: Line = (("? ", "key"), ("help ", "dim"))
    out: list[Segment] = [(" ", "")]
    room = width - width_of(last) - 2
    for command in commands:
        if command.name == "help" or not hinted(command, context):
            continue
        part = [(f"{key_text(command.keys[0])} ", "key"), (f"{command.hint}  ", "dim")]
        if width_of(out) + width_of(part) <= room:
            out += part
    return tuple(spread(tuple(out), last, width))


def typing_line(completes: bool, width: int) -> Line:
    """Return the keys of the prompt. While it is open every other key types a character."""
    complete = ("Tab ", "complete  ") if completes else ()
    edit = ("↑ ↓ ", "history  ", "Ctrl-U ", "clear  ", "Ctrl-W ", "delete word  ", "Esc ", "cancel  ")
    return tuple(crop(keys_line(" ", "Enter ", "apply  ", *complete, *edit), width))


def offer_line(width: int) -> Line:
    """Return the offer of accounting: the keys that give flows byte counts."""
    keys = keys_line("", "A", " switches it on   ", "H", " rates from headers   ", "Esc", " cancel")
    return tuple(crop(((" accounting is off: no bytes   ", "warn"), *keys), width))


def no_match(rows: str, total: int, filter_text: str, esc_text: str) -> tuple[Line, ...]:
    """Return the text of a table of which no row matches the filter; `rows` as "flows", `esc_text` is what Esc does."""
    return (
        (
            (f"No {rows.removesuffix('s')} matches ", "heading"),
            (filter_text, "accent"),
            (f" ({total:,} {rows})", "dim"),
        ),
        keys_line("", "Esc", f" {esc_text}, ", "/", " changes it."),
    )
