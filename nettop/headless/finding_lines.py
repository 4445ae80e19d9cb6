"""Findings as JSON Lines or text."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Iterable, Iterator

from nettop.model.findings import Finding
from nettop.text.sanitize import clean


def finding_lines(
    found: Iterable[Finding], netns: str, json: bool, where: Callable[[Finding], str] = lambda one: ""
) -> Iterator[str]:
    """Yield the lines. `netns`: of findings whose place names none; `where` puts the place before each name."""
    found = list(found)
    if not found and not json:
        yield "no findings"
    for one in found:
        if json:
            row = {"kind": "finding", "netns": netns, "name": one.name, "summary": one.summary, **dict(one.place)}
            yield json_format.dumps({**row, "evidence": list(one.evidence)})
        else:
            place = where(one)
            yield clean(f"{place + ': ' if place else ''}{one.name}: {one.summary}")
            yield from (clean(f"    {line}") for line in one.evidence)
