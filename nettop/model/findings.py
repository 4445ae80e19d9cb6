"""Findings: probable mistakes on a host, each with its evidence. Each domain has checks that yield them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `place`: the keys of the row that it is about, as in JSON. Texts are not safe for a terminal."""

    name: str  # of the check, for scripts: unreachable-rule
    summary: str  # one sentence
    place: tuple[tuple[str, str | int | None], ...]
    evidence: tuple[str, ...] = ()  # one line each


def findings(facts: Facts, checks: Iterable[Callable[[Facts], Iterator[Finding]]]) -> list[Finding]:
    """Return the findings of all checks, in their order."""
    return [found for check in checks for found in check(facts)]
