"""`python -m tests.captures.tracing EXPR record …`: the recorder traces, too, from AFTER_S on, for SECONDS.

As in the app: the records of iptables-legacy go to the process that traces, so only its own recording has them.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Any
from unittest.mock import patch

from nettop import cli
from nettop.headless import record
from nettop.model.filter.expression import parse
from nettop.model.traces.match import matches
from nettop.pipeline import feeds
from nettop.pipeline.live_sources import LiveSources

AFTER_S, SECONDS, RATE = 4.0, 3.0, 4


def trace(live: LiveSources, expression: str) -> None:
    """Trace for a while, as soon as the traffic is on its way."""
    threading.Event().wait(AFTER_S)
    live.watch(*feeds.TRACING)
    live.trace_log()
    number, _ = live.broker.start_trace(live.netns, matches(parse(expression, "trace")), per_second=RATE)
    threading.Event().wait(SECONDS)
    live.broker.stop_trace(number)


def main(expression: str, argv: list[str]) -> int:
    """Run the command; its sources trace when they have begun."""
    begin = record._begin

    def begin_and_trace(options: Any, live: LiveSources, *rest: Any) -> None:
        begin(options, live, *rest)
        threading.Thread(target=trace, args=(live, expression), daemon=True).start()

    changes_rules = partial(record.__dict__["sources"], read_only=False)
    with patch.multiple(record, _begin=begin_and_trace, sources=changes_rules):
        return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
