"""Findings: probable mistakes on a host, each with its evidence. Each domain has checks that yield them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `place`: the keys of the row that it is about, as in JSON. Texts are not safe for a terminal."""

    name: str  # of the check, for scripts: unreachable-rule
    summary: str  # one sentence
    place: tuple[tuple[str, str | int | None], ...]
    evidence: tuple[str, ...] = ()  # one line each
