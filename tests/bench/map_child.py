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
from tests.bench.measure import cpu_seconds
from tests.kernel.namespaces import poll

_PARTS = frozenset(("devices", "addresses", "routes", "rules", "neighbours"))
_SETTLE_S = 3.0  # the events of the first reads


def main(netns: str, count: int, seconds: float) -> None:
    """Measure, and print it."""
    with start("root", confine=False) as broker:
        session = LiveSession(broker, netns)
        try:
            _ask(session)
            began = time.perf_counter()
            poll(lambda: _read(session) >= count)
            read = time.perf_counter() - began
            _look(session, _SETTLE_S)
            before, since = cpu_seconds(os.getpid()), time.perf_counter()
            _look(session, seconds)
            load = 100 * (cpu_seconds(os.getpid()) - before) / (time.perf_counter() - since)
            print(json.dumps({"read": read, "load": load}), flush=True)
        finally:
            session.close()


def _ask(session: LiveSession) -> None:
    model = session.views["map"]
    session.ask("map", ViewSpec(model.default_columns, height=45), lambda snapshot: None)


def _look(session: LiveSession, seconds: float) -> None:
    """Ask for the window of the map four times a second, as a screen does."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        _ask(session)
        time.sleep(0.25)


def _read(session: LiveSession) -> int:
    """Return how many namespaces were read, while the map is looked at."""
    _ask(session)
    return session._run.waited(lambda engine, now_ns: _whole(engine))


def _whole(engine: Engine) -> int:
    return sum(space.complete >= _PARTS and len(space.devices) >= 5 for space in engine.host_map.namespaces())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
