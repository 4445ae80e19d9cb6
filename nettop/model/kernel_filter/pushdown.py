"""The part of a filter that the kernel can run: for dumps of the table, and for the socket that events come by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nettop.broker.requests import Narrowing
from nettop.model.filter import nodes
from nettop.model.filter.expression import Filter
from nettop.model.kernel_filter.bpf import JEQ
from nettop.model.kernel_filter.clauses import WORD, Clause, Test, clauses
from nettop.model.kernel_filter.program import program
from nettop.text.flow import FAMILY_WORDS, status_words


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The part of a filter that runs in the kernel. It lets through at least what the filter does."""

    dump: Narrowing | None = None  # of dumps; None: nothing
    program: bytes = b""  # of events: struct sock_filter[]; b"": nothing
    words: str = ""  # both in one line, and what is left to us


def narrowed(wanted: Filter, *, events: bool = True, dumps: bool = True) -> Narrowed:
    """Return what the kernel can run of this filter of flows or events; `events` and `dumps` say which there will be.

    The filter is a conjunction of terms: those that test only protocol, address, port, zone, mark or status go into
    the kernel, the others are left to us. What the filter matches always comes through. On what comes through beside
    that, the filter must still be run.
    """
    terms = _terms(wanted, wanted.node, True)
    found = [(_text(wanted, *term, alone=len(terms) == 1), clauses(*term)) for term in terms]
    asked = [clause for _, part in found for clause in part or ()]
    code = program(asked) if events and asked else b""
    dump, whole = _dump(asked) if dumps else (None, False)
    said = " and ".join(text for text, part in found if part is not None)
    left = [text for text, part in found if part is None]
    text = wanted.text.strip()
    if not events:
        said, left = "", [] if whole and not left else ["the rest" if dump else text]
    elif not code:
        said, left = "", [f"{text} (too long for the kernel)" if asked else text]
    return Narrowed(dump, code, _words(said, dump, left))


_Term = tuple[nodes.Node, bool]  # a node, and whether it must hold or must not


def _terms(wanted: Filter, node: nodes.Node, holds: bool) -> list[_Term]:
    """Return the terms that must all hold, as far as the text separates them."""
    if isinstance(node, nodes.Not) and wanted.source(node.node):
        return _terms(wanted, node.node, not holds)
    if not isinstance(node, nodes.Chain) or not wanted.source(node.first):
        return [(node, holds)]
    *rest, (word, last) = node.rest
    if word != ("and" if holds else "or"):
        return [(node, holds)]
    first = nodes.Chain(node.first, tuple(rest)) if rest else node.first
    return _terms(wanted, first, holds) + _terms(wanted, last, holds)


def _text(wanted: Filter, node: nodes.Node, holds: bool, alone: bool) -> str:
    text = wanted.source(node)
    if isinstance(node, nodes.Chain) and wanted.source(node.first):
        text = " ".join((wanted.source(node.first), *(f"{word} {wanted.source(part)}" for word, part in node.rest)))
        text = text if alone and holds else f"({text})"
    return text if holds else f"not {text}"


# Dumps.


def _dump(asked: Sequence[Clause]) -> tuple[Narrowing | None, bool]:
    """Return what ctnetlink's dump can test of these clauses, and whether that is all."""
    found, whole = Narrowing(), True
    for clause in asked:
        tests = clause.implied()
        whole = whole and len(tests) == len(clause.alternatives)
        for test in tests:
            more = _with(found, test)
            found, whole = more or found, whole and more is not None
    return (None, False) if found == Narrowing() else (found, whole)


def _with(found: Narrowing, test: Test) -> Narrowing | None:
    """Return it with one more test; None where there is no place for that."""
    if test.compare != JEQ:
        return None
    if test.number == "status":
        return _with_status(found, test)
    if not test.holds or not test.bits:
        return None
    if test.number == "mark" and found.mark is None:
        return replace(found, mark=test.value, mark_mask=test.bits)
    if test.number == "zone" and found.zone is None:
        return replace(found, zone=test.value)
    if test.number == "family" and not found.family:
        return replace(found, family=test.value)
    return None


def _with_status(found: Narrowing, test: Test) -> Narrowing | None:
    """Status bits that must have these values. Where two tests contradict one another no flow matches anyway."""
    single = test.bits & (test.bits - 1) == 0
    if not test.bits or not (test.holds or (single and test.value == 0)):
        return None
    value = test.value if test.holds else test.bits
    return replace(found, status=(found.status or 0) | value, status_mask=(found.status_mask or 0) | test.bits)


# In words.


def _words(events: str, dump: Narrowing | None, left: Sequence[str]) -> str:
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
