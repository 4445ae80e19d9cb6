"""From a row of one view to the same thing in another: its identity there now, and a filter that finds it."""

from __future__ import annotations

from nettop.columns import HAVE_ORIG
from nettop.model.related import filter_of
from nettop.pipeline.engine import Engine
from nettop.pipeline.flow_actions import flow_of


def related(engine: Engine, view: str, ident: int, to: str) -> tuple[int | None, str]:
    """For a row of "flows" or "events": the identity in `to` (None: none there now) and the filter's text.

    `to` is "flows" (its flow; of an expectation's event, the master's), "events" (its last one kept), "packets" (only
    the filter), or "master" (in the flows: the flow that expected it). (None, "") when the row is gone or is none.
    """
    row = flow_of(engine, view, ident)
    if row is not None and to == "master":
        row, to = engine.expectations.master_of(row), "flows"
    if row is None or not row.have & HAVE_ORIG:
        return None, ""
    text = filter_of(row, to, netns=len(engine.labels) > 1)
    if to == "flows":
        return engine.flows.ident_of(row), text
    if to == "events":
        kept = engine.events.of_flow(row)
        return (int(kept[-1]) if len(kept) else None), text
    return None, text
