"""`python -m tests.bench.rules_child NETNS RULES SECONDS [--wait]`: live rules in the models: how soon, at what cost.

With --wait it prints a line once they are drawn, and measures the cost from the next line of its stdin on.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence

from nettop.broker.start import start
from nettop.model.table import Row, Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.bench.measure import load_of

HEIGHT = 45


def main(netns: str, rules: int, seconds: float, waits: bool) -> dict[str, float]:
    """Seconds until a screen shows rules with their words, all of them counted; per cent of a core afterwards."""
    began = time.perf_counter()
    with start("root", confine=False) as broker:
        connected = time.perf_counter()
        session = LiveSession(broker, netns)
        try:
            while not _drawn(session, rules):
                threading.Event().wait(0.01)
            drawn = time.perf_counter()
            if waits:
                print("drawn", flush=True)
                sys.stdin.readline()
            watching = threading.Thread(target=_watch, args=(session, ended := threading.Event()))
            watching.start()
            ended.wait(min(2.0, seconds))
            load = load_of(os.getpid(), seconds)
            ended.set()
            watching.join()
            return {"drawn": drawn - connected, "with_broker": drawn - began, "load": load}
        finally:
            session.close()


def _watch(session: LiveSession, ended: threading.Event) -> None:
    """Request the chains and the rules of the first each second, as screens do: others are polled less often."""
    while not ended.wait(1.0):
        _rules(session, _chains(session)[0])


def _chains(session: LiveSession) -> Sequence[Row]:
    return _ask(session, "chains", ViewSpec(session.views["chains"].default_columns, height=HEIGHT)).rows


def _rules(session: LiveSession, chain: Row) -> Snapshot:
    return _ask(session, "rules", ViewSpec(session.views["rules"].default_columns, height=HEIGHT, scope=chain.ident))


def _drawn(session: LiveSession, rules: int) -> bool:
    shown = [_rules(session, chain) for chain in _chains(session)]
    words = session.views["rules"].default_columns.index("rule")
    large = [one for one in shown if one.total >= rules // 2]
    have_words = all("tcp" in row.cells[words] for one in large for row in one.rows)
    return sum(one.total for one in large) >= rules and have_words


def _ask(session: LiveSession, view: str, spec: ViewSpec) -> Snapshot:
    found: list[Snapshot] = []
    here = threading.Event()

    def take(snapshot: Snapshot) -> None:
        found.append(snapshot)
        here.set()

    session.ask(view, spec, take)
    here.wait(30)
    return found[0]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), "--wait" in sys.argv)))
