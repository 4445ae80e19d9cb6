"""The part of a filter that the kernel can run: on dumps of the table, and on the socket that receives events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nettop.broker.requests import DumpFilter
from nettop.model.filter import nodes
from nettop.model.filter.expression import Filter
from nettop.model.kernel_filter.bpf import JEQ
from nettop.model.kernel_filter.clauses import WORD, Clause, Test, clauses
from nettop.model.kernel_filter.program import program
from nettop.text.flow import FAMILY_NAMES, status_names


@dataclass(frozen=True, slots=True)
class KernelFilter:
    """The part of a filter that runs in the kernel. It passes at least what the filter matches."""

    dump: DumpFilter | None = None  # of dumps; None: everything passes
    program: bytes = b""  # of events: struct sock_filter[]; b"": everything passes
    summary: str = ""  # one line: what runs in the kernel, and what is filtered here


def kernel_filter(parsed: Filter, *, events: bool = True, dumps: bool = True) -> KernelFilter:
    """Return what the kernel can run of a filter of flows or events. `events` and `dumps`: which will be read.

    The filter is a conjunction of terms. Those that test only protocol, address, port, zone, mark or status run in
    the kernel. The kernel may pass more than the filter matches: the filter must still be run.
    """
    terms = _terms(parsed, parsed.node, True)
    found = [(_text(parsed, *term, alone=len(terms) == 1), clauses(*term)) for term in terms]
    testable = [clause for _, part in found for clause in part or ()]
    code = program(testable) if events and testable else b""
    dump, whole = _dump(testable) if dumps else (None, False)
    in_kernel = " and ".join(text for text, part in found if part is not None)
    here = [text for text, part in found if part is None]
    text = parsed.text.strip()
    if not events:
        in_kernel, here = "", [] if whole and not here else ["the rest" if dump else text]
    elif not code:
        in_kernel, here = "", [f"{text} (too long for the kernel)" if testable else text]
    return KernelFilter(dump, code, _summary(in_kernel, dump, here))


_Term = tuple[nodes.Node, bool]  # a node, and False if it must not match


def _terms(parsed: Filter, node: nodes.Node, holds: bool) -> list[_Term]:
    """Return the terms that must all hold, as far as the text separates them."""
    if isinstance(node, nodes.Not) and parsed.source(node.node):
        return _terms(parsed, node.node, not holds)
    if not isinstance(node, nodes.AndOr) or not parsed.source(node.first):
        return [(node, holds)]
    *rest, (word, last) = node.rest
    if word != ("and" if holds else "or"):
        return [(node, holds)]
    first = nodes.AndOr(node.first, tuple(rest)) if rest else node.first
    return _terms(parsed, first, holds) + _terms(parsed, last, holds)


def _text(parsed: Filter, node: nodes.Node, holds: bool, alone: bool) -> str:
    source = parsed.source
    text = source(node)
    if isinstance(node, nodes.AndOr) and source(node.first):
        text = " ".join((source(node.first), *(f"{word} {source(part)}" for word, part in node.rest)))
        text = text if alone and holds else f"({text})"
    return text if holds else f"not {text}"


def _dump(testable: Sequence[Clause]) -> tuple[DumpFilter | None, bool]:
    """Return what ctnetlink's dump can test of these clauses, and True if that is all of them."""
    found, whole = DumpFilter(), True
    for clause in testable:
        tests = clause.implied()
        whole = whole and len(tests) == len(clause.alternatives)
        for test in tests:
            more = _with(found, test)
            found, whole = more or found, whole and more is not None
    return (None, False) if found == DumpFilter() else (found, whole)


def _with(found: DumpFilter, test: Test) -> DumpFilter | None:
    """Return the dump filter with one more test; None if it has no field for that."""
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


def _with_status(found: DumpFilter, test: Test) -> DumpFilter | None:
    """Return the dump filter with a test of status bits. No flow matches two tests that contradict each other."""
    single = test.bits & (test.bits - 1) == 0
    if not test.bits or not (test.holds or (single and test.value == 0)):
        return None
    value = test.value if test.holds else test.bits
    return replace(found, status=(found.status or 0) | value, status_mask=(found.status_mask or 0) | test.bits)


def _summary(events: str, dump: DumpFilter | None, here: Sequence[str]) -> str:
    kernel = [f"events by {events}"] if events else []
    kernel += [f"dump by {_dump_text(dump)}"] if dump is not None else []
    parts = [f"kernel: {', '.join(kernel)}"] if kernel else []
    return "; ".join([*parts, *([f"here: {', '.join(here)}"] if here else [])])


def _dump_text(dump: DumpFilter) -> str:
    found = [FAMILY_NAMES[dump.family]] if dump.family in FAMILY_NAMES else []
    found += [] if dump.zone is None else [f"zone {dump.zone}"]
    if dump.mark is not None:
        found.append(f"mark {dump.mark:#x}" + ("" if dump.mark_mask == WORD else f"/{dump.mark_mask:#x}"))
    if dump.status is not None and dump.status_mask is not None:
        found += [f"status {word}" for word in status_names(dump.status)]
        found += [f"not status {word}" for word in status_names(dump.status_mask & ~dump.status)]
    return " and ".join(found)
