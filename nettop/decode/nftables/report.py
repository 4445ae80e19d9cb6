"""The line before a tool's text, `# nettop {…}`: what it printed, with handles, and what it could not print."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_MARK = b"# nettop "
Handles = dict[tuple[str, str], tuple[int, list[int]]]


@dataclass(slots=True)
class Report:
    """The content of the line. `handles`: of the table, and of the rules printed in order, by (table, chain).

    Without the line (an older recording) `handles` is None. `part`: the only table listed (family, name).
    """

    handles: Handles | None = None
    failures: tuple[str, ...] = ()
    part: tuple[str, str] | None = None


def parse_report(body: bytes) -> tuple[Report, bytes]:
    """Return the report of a text, and the text after it. Never raises."""
    line, newline, rest = body.partition(b"\n")
    if not line.startswith(_MARK) or not newline:
        return Report(), body
    try:
        found = json.loads(line[len(_MARK) :])
        failures = tuple(str(one) for one in found.get("failures", ()))
        return Report(_handles(found.get("handles")), failures, _part(found.get("part"))), rest
    except (ValueError, TypeError, AttributeError, KeyError):
        return Report(), rest


def _handles(tables: Any) -> Handles | None:
    if tables is None:
        return None
    return {
        (str(table), str(chain)): (int(one["handle"]), [int(handle) for handle in handles])
        for table, one in tables.items()
        for chain, handles in one["chains"].items()
    }


def _part(part: Any) -> tuple[str, str] | None:
    if part is None:
        return None
    family, _, table = str(part).partition(" ")
    return family, table
