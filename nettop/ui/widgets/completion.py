"""What may stand at the cursor of the prompt: one line of words, the chosen one in brackets, notes where there is room.

And the walk through them: Tab takes the first, again the next. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nettop.model.filter.completion import Completion, Option
from nettop.model.table import Line
from nettop.ui.strips import crop, width_of

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Walk:
    """A text, what may stand in it, and which option stands there now (-1: none, the text is as it was typed)."""

    text: str
    found: Completion
    at: int = -1

    def step(self, by: int) -> Walk:
        """The next option, or the one before."""
        count = len(self.found.options)
        if not count:
            return self
        return replace(self, at=(self.at + by) % count if self.at >= 0 or by > 0 else count - 1)

    @property
    def filled(self) -> tuple[str, int]:
        """The text with the option in it, and where the cursor stands then. The only one is followed by a blank."""
        if self.at < 0:
            return self.text, self.found.end
        word, rest = self.found.options[self.at].word, self.text[self.found.end :]
        if len(self.found.options) == 1 and not rest.startswith((" ", ")")):
            word += " "
        return self.text[: self.found.start] + word + rest, self.found.start + len(word)


def options_line(options: Sequence[Option], at: int, indent: int, width: int) -> Line:
    """The options that fit, from a place where the chosen one is among them; `+12` says how many do not."""
    room = width - indent
    if not options or room < 8:
        return ()
    noted = [_one(option, i == at, True) for i, option in enumerate(options)]
    if sum(width_of(part) + len(_GAP) for part in noted) <= room:
        return ((" " * indent, ""), *(segment for part in noted for segment in (*part, (_GAP, ""))))
    note = options[at].note if at >= 0 else ""
    parts = [_one(option, i == at, False) for i, option in enumerate(options)]
    first = 0
    kept = _kept(parts, first, room)
    while at >= first + kept and first < len(parts):
        first += max(1, kept)
        kept = _kept(parts, first, room)
    line = [(" " * indent, ""), *(segment for part in parts[first : first + kept] for segment in (*part, (_GAP, "")))]
    if rest := len(parts) - kept:
        line.append((f"+{rest}", "dim"))
    spare = width - width_of(line) - 3
    if note and spare >= 12:
        line += [("   ", ""), *crop(((note, "dim"),), spare)]
    return tuple(line)


def _one(option: Option, chosen: bool, noted: bool) -> Line:
    name = (f"[{option.word}]", "heading") if chosen else (option.word, "accent")
    return (name, (f" {option.note}", "dim")) if noted and option.note else (name,)


def _kept(parts: Sequence[Line], first: int, room: int) -> int:
    """How many of the parts from `first` on fit; the count of the others takes some cells."""
    used, kept = len("+999"), 0
    for part in parts[first:]:
        used += width_of(part) + len(_GAP)
        if used > room:
            break
        kept += 1
    return kept
