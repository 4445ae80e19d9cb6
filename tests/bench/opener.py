"""`python -m tests.bench.opener FILE [FILTER]`: a file in the session of the app, without a screen; prints seconds."""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from nettop.model.filter.expression import parse
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.replay import ReplaySession

HEIGHT = 45


def main(path: str, expression: str) -> dict[str, float]:
    """From the session's start: a first screen, the end of all that was read, the file read; then End and a filter."""
    began = time.perf_counter()
    session = ReplaySession(path)
    session.start()
    try:
        spec = ViewSpec(session.views["packets"].default_columns, height=HEIGHT)
        first = _until(session, spec, lambda snapshot: len(snapshot.rows) == HEIGHT) - began
        end = replace(spec, follow=True)
        whole = _until(session, end, _still()) - began
        took_end, snapshot = _ask(session, end)
        took_filter, matching = _ask(session, replace(spec, filter=parse(expression, "packet")))
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"first": first, "whole": whole, "end": took_end, "filter": took_filter, "rss": rss,
                "packets": snapshot.total, "matched": matching.matched}  # fmt: skip
    finally:
        session.close()


def _ask(session: ReplaySession, spec: ViewSpec) -> tuple[float, Snapshot]:
    found: list[Snapshot] = []
    here = threading.Event()

    def take(snapshot: Snapshot) -> None:
        found.append(snapshot)
        here.set()

    asked = time.perf_counter()
    session.ask("packets", spec, take)
    here.wait(60)
    return time.perf_counter() - asked, found[0]


def _until(session: ReplaySession, spec: ViewSpec, enough: Callable[[Snapshot], bool]) -> float:
    while not enough(_ask(session, spec)[1]):
        threading.Event().wait(0.005)
    return time.perf_counter()


def _still() -> Callable[[Snapshot], bool]:
    """Whether the table has been the same size for 40 looks: the file is read."""
    state = {"total": -1, "same": 0}

    def enough(snapshot: Snapshot) -> bool:
        state["same"] = state["same"] + 1 if snapshot.total == state["total"] else 0
        state["total"] = snapshot.total
        return state["same"] >= 40

    return enough


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2])))
