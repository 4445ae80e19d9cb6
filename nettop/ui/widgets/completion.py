"""Completion in the prompt: the words that may come at the cursor, as one line, and Tab steps through them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nettop.model.filter.completion import Completion, Option
from nettop.model.table import Line
from nettop.ui.strips import crop, width_of

_GAP = "  "


@dataclass(frozen=True, slots=True)
class OptionCycle:
    """A text, its completion, and the index of the inserted option (-1: none, the text is as typed)."""

    text: str
    found: Completion
    at: int = -1

    def step(self, by: int) -> OptionCycle:
        """Return the state with the next option inserted, or (by=-1) the previous one."""
        count = len(self.found.options)
        if not count:
            return self
        return replace(self, at=(self.at + by) % count if self.at >= 0 or by > 0 else count - 1)

    @property
    def filled(self) -> tuple[str, int]:
        """The text with the option inserted, and the cursor position after it. A blank follows an only option."""
        if self.at < 0:
            return self.text, self.found.end
        word, rest = self.found.options[self.at].word, self.text[self.found.end :]
        if len(self.found.options) == 1 and not rest.startswith((" ", ")")):
            word += " "
        return self.text[: self.found.start] + word + rest, self.found.start + len(word)


def options_line(options: Sequence[Option], at: int, indent: int, width: int) -> Line:
    """Return one line of options: the chosen one in brackets, notes if they fit, `+12` for 12 that do not fit."""
    room = width - indent
    if not options or room < 8:
        return ()
    noted = [_one(option, i == at, True) for i, option in enumerate(options)]
    if sum(width_of(part) + len(_GAP) for part in noted) <= room:
        return ((" " * indent, ""), *(segment for part in noted for segment in (*part, (_GAP, ""))))
    note = options[at].note if at >= 0 else ""
    parts = [_one(option, i == at, False) for i, option in enumerate(options)]
    first = 0
    count = _fitting(parts, first, room)
    while at >= first + count and first < len(parts):
        first += max(1, count)
        count = _fitting(parts, first, room)
    line = [(" " * indent, ""), *(segment for part in parts[first : first + count] for segment in (*part, (_GAP, "")))]
    if rest := len(parts) - count:
        line.append((f"+{rest}", "dim"))
    spare = width - width_of(line) - 3
    if note and spare >= 12:
        line += [("   ", ""), *crop(((note, "dim"),), spare)]
    return tuple(line)


def _one(option: Option, chosen: bool, noted: bool) -> Line:
    name = (f"[{option.word}]", "heading") if chosen else (option.word, "accent")
    return (name, (f" {option.note}", "dim")) if noted and option.note else (name,)


def _fitting(parts: Sequence[Line], first: int, room: int) -> int:
    """Return the number of parts from `first` that fit, with room for the count of the others."""
    used, count = len("+999"), 0
    for part in parts[first:]:
        used += width_of(part) + len(_GAP)
        if used > room:
            break
        count += 1
    return count
