"""The texts of rules: a line of our own, `# nettop {…}` (JSON, ASCII), if there is more to say; then the tool's.

`failures`: what could not be printed, each in one line. `handles`: by table, its own and by chain those of the rules
printed, in order; what is printed of a chain that is not in it may be of another time, or incomplete. `part`: the only
table (`inet fw`) that was requested.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from nettop.broker.children import write_out

_MARK = b"# nettop "


def write_report(report: Mapping[str, object], body: bytes) -> None:
    """Append the line, unless the report is empty, and the tool's text to the answer of the calling child."""
    if report:
        write_out(_MARK + json.dumps(report).encode() + b"\n")
    write_out(body)
