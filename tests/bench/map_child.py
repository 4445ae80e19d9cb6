"""`python -m tests.bench.map_child NETNS COUNT SECONDS`: the map of COUNT namespaces, looked at in a live session.

Prints the seconds until all of them were read, and then the per cent of a core that looking costs.
"""

from __future__ import annotations

import json
import os
import sys
import time

from nettop.broker.start import start
from nettop.model.table import ViewSpec
from nettop.pipeline.engine import Engine
from nettop.session.live import LiveSession
from nettop.ui.screens.main import TICK
from nettop.ui.widgets.snapshot_requests import SnapshotRequests
from tests.bench.measure import cpu_seconds, pass_time
from tests.kernel.namespaces import poll

_PARTS = frozenset(("devices", "addresses", "routes", "rules", "neighbours"))
_SETTLE_S = 3.0  # the events of the first reads


def main(netns: str, count: int, seconds: float) -> None:
    """Measure, and print it."""
    with start("root", confine=False) as broker:
        session = LiveSession(broker, netns)
        screen = _Screen(session)
        try:
            began = time.perf_counter()
            poll(lambda: screen.read() >= count)
            read = time.perf_counter() - began
            screen.look(_SETTLE_S)
            before, since = cpu_seconds(os.getpid()), time.perf_counter()
            screen.look(seconds)
            load = 100 * (cpu_seconds(os.getpid()) - before) / (time.perf_counter() - since)
            print(json.dumps({"read": read, "load": load}), flush=True)
        finally:
            session.close()


class _Screen:
    """Asks for the window of the map as the app's does: when something has changed, by its clock."""

    def __init__(self, session: LiveSession) -> None:
        spec = ViewSpec(session.views["map"].default_columns, height=45)
        self._requests = SnapshotRequests("map", session, lambda do, *of: do(*of), lambda: spec, lambda _: False)
        self._session, self._next = session, 0.0

    def read(self) -> int:
        """Return how many namespaces were read, while the map is looked at."""
        self.tick()
        return self._session._run.waited(lambda engine, now_ns: _whole(engine))

    def tick(self) -> None:
        if time.perf_counter() >= self._next:
            self._next = time.perf_counter() + TICK
            self._requests.tick()

    def look(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self.tick()
            pass_time(TICK)


def _whole(engine: Engine) -> int:
    return sum(space.complete >= _PARTS and len(space.devices) >= 5 for space in engine.host_map.namespaces())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
