"""Which part of a filter the kernel can run: for dumps of the table, and for the socket that events come by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nettop.broker.requests import Narrowing
from nettop.model.filter import nodes
from nettop.model.filter.expression import Filter
from nettop.model.kernel_filter.formula import TRUE, WORD, All, Formula, In, all_of, any_of, exact, opposite
from nettop.model.kernel_filter.program import program
from nettop.text.flow import FAMILY_WORDS, status_words


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What of a filter runs in the kernel. It lets through at least what the filter does."""

    dump: Narrowing | None  # of dumps; None: nothing
    program: bytes  # of events: struct sock_filter[]; b"": nothing
    words: str  # both in one line, and what is left to us
    exact: bool  # of events nothing is left to us


def narrowed(wanted: Filter, *, events: bool = True, dumps: bool = True) -> Narrowed:
    """What of this filter (of flows or events) the kernel can run; `events` and `dumps` say what there will be of both.

    It is sound: an event or a dumped flow that the filter takes always comes through. What comes through beside that
    the filter, which is still to be run on it, tells.
    """
    part = _part(wanted, wanted.node, True)
    code = program(part.formula) if events and part.formula != TRUE else b""
    dump, whole = _dump(part.formula) if dumps else (None, False)
    long = events and not code and part.formula != TRUE
    left = part.left if code else (wanted.text.strip() + (" (too long for the kernel)" if long else ""),)
    if dump is not None and not events:
        left = () if whole and not part.left else ("the rest",)
    words = _words(part.said if code else "", dump, left)
    return Narrowed(dump, code, words, bool(code) and not part.left)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the filter: what of it the kernel can tell, as a formula and in words, and what not."""

    formula: Formula
    said: str = ""
    left: tuple[str, ...] = ()
    joint: str = ""  # that joins `said`


def _part(wanted: Filter, node: nodes.Node, holds: bool) -> _Part:
    """A node, or its opposite. What a message does not tell counts as true."""
    if isinstance(node, nodes.Not) and wanted.source(node.node):
        return _part(wanted, node.node, not holds)
    if isinstance(node, nodes.Chain) and wanted.source(node.first):
        found = _part(wanted, node.first, holds)
        for word, other in node.rest:
            found = _joined(word if holds else {"and": "or", "or": "and"}[word], found, _part(wanted, other, holds))
        return found
    text = wanted.source(node) if holds else f"not {wanted.source(node)}"
    formula = exact(node)
    if formula is None:
        return _Part(TRUE, "", (text,))
    return _Part(formula if holds else opposite(formula), text)


def _joined(word: str, one: _Part, other: _Part) -> _Part:
    left = tuple(dict.fromkeys((*one.left, *other.left)))
    formula = (all_of if word == "and" else any_of)((one.formula, other.formula))
    if word == "or" and TRUE in (one.formula, other.formula):  # an alternative that the kernel cannot see
        return _Part(formula, "", tuple(dict.fromkeys((*left, *(part.said for part in (one, other) if part.said)))))
    parts = [part for part in (one, other) if part.said]
    said = f" {word} ".join(f"({part.said})" if part.joint not in ("", word) else part.said for part in parts)
    return _Part(formula, said, left, word if len(parts) > 1 else parts[0].joint if parts else "")


# Dumps.


def _dump(formula: Formula) -> tuple[Narrowing | None, bool]:
    """What of a conjunction ctnetlink's dump can test (each test alone is implied by the filter), and whether all."""
    found, whole = Narrowing(), True
    for test in formula.parts if isinstance(formula, All) else (formula,):
        more = _with(found, test) if isinstance(test, In) else None
        found, whole = more or found, whole and more is not None
    return (None, False) if found == Narrowing() else (found, whole)


def _with(found: Narrowing, test: In) -> Narrowing | None:
    """With one more test; None where there is no place for it."""
    if test.low != test.high:
        return None
    if test.number == "status":
        return _with_status(found, test)
    if not test.holds or not test.bits:
        return None
    if test.number == "mark" and found.mark is None:
        return replace(found, mark=test.low, mark_mask=test.bits)
    if test.number == "zone" and found.zone is None and test.bits == WORD and test.low <= 0xFFFF:
        return replace(found, zone=test.low)
    if test.number == "family" and not found.family and test.bits == WORD:
        return replace(found, family=test.low)
    return None


def _with_status(found: Narrowing, test: In) -> Narrowing | None:
    """Status bits that must have these values. Where two tests contradict one another no flow matches anyway."""
    single = test.bits & (test.bits - 1) == 0
    if not test.bits or not (test.holds or (single and test.low == 0)):
        return None
    value = test.low if test.holds else test.bits
    return replace(found, status=(found.status or 0) | value, status_mask=(found.status_mask or 0) | test.bits)


# In words.


def _words(events: str, dump: Narrowing | None, left: tuple[str, ...]) -> str:
    kernel = [f"events by {events}"] if events else []
    kernel += [f"dump by {_dump_words(dump)}"] if dump is not None else []
    parts = [f"kernel: {', '.join(kernel)}"] if kernel else []
    return "; ".join([*parts, *([f"here: {', '.join(left)}"] if left else [])])


def _dump_words(dump: Narrowing) -> str:
    found = [FAMILY_WORDS[dump.family]] if dump.family in FAMILY_WORDS else []
    found += [] if dump.zone is None else [f"zone {dump.zone}"]
    if dump.mark is not None:
        found.append(f"mark {dump.mark:#x}" + ("" if dump.mark_mask == WORD else f"/{dump.mark_mask:#x}"))
    if dump.status is not None and dump.status_mask is not None:
        found += [f"status {word}" for word in status_words(dump.status)]
        found += [f"not status {word}" for word in status_words(dump.status_mask & ~dump.status)]
    return " and ".join(found)
