"""`python -m tests.bench.watcher NETNS [--quiet] [--interval=S]`: the live session, asked for windows all the time.

Prints {"dumped": seconds, "cpu": seconds} once the table was dumped, and what it saw when its stdin ends. With --quiet
nothing is asked, and every dump is told of.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from typing import Any

import numpy as np

from nettop.broker.start import start
from nettop.columns import EVENT_NEW
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.bench.measure import cpu_seconds

ASK_EVERY_S = 0.1
VIEWS = ("flows", "events")


class Asker:
    """Asks for windows and notes how long each answer took."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.took: list[float] = []
        models = {name: session.views[name] for name in VIEWS}
        self._specs = {
            name: ViewSpec(model.default_columns, height=45, sort=model.default_sort, follow=name == "events")
            for name, model in models.items()
        }

    def ask(self) -> None:
        """One window of every view."""
        for name, spec in self._specs.items():
            asked, here = time.perf_counter(), threading.Event()
            self.session.ask(name, spec, lambda snapshot, here=here: here.set())  # type: ignore[misc]
            here.wait(30)
            self.took.append(time.perf_counter() - asked)


def main(netns: str, quiet: bool, interval: float | None) -> None:
    """Until stdin ends."""
    with start("root", confine=False) as broker:
        session = LiveSession(broker, netns, interval=interval)
        try:
            print(json.dumps(_watch(session, quiet)), flush=True)
        finally:
            session.close()


def _watch(session: LiveSession, quiet: bool) -> dict[str, Any]:
    asker, flows = Asker(session), session.views["flows"]
    told: set[int] = set()
    while not select.select([sys.stdin], [], [], ASK_EVERY_S)[0]:
        dumps = set(flows.dumped_ns.values())  # type: ignore[attr-defined]
        if dumps - told and (quiet or not told):
            told |= dumps
            print(json.dumps({"dumped": time.perf_counter(), "cpu": cpu_seconds(os.getpid())}), flush=True)
        if told and not quiet:
            asker.ask()
    asker.ask()
    return {
        "new": session.views["events"].counts[EVENT_NEW],  # type: ignore[attr-defined]
        "flows": _total(session),
        "lost": session.status().lost,
        "answer_p95": float(np.percentile(asker.took, 95)),
    }


def _total(session: LiveSession) -> int:
    found: list[Snapshot] = []
    here = threading.Event()

    def take(snapshot: Snapshot) -> None:
        found.append(snapshot)
        here.set()

    session.ask("flows", ViewSpec(()), take)
    here.wait(30)
    return found[0].total


if __name__ == "__main__":
    asked = [float(word.removeprefix("--interval=")) for word in sys.argv if word.startswith("--interval=")]
    main(sys.argv[1], "--quiet" in sys.argv, asked[0] if asked else None)
