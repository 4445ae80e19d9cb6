"""The counters of a large ruleset while another program changes rules without a pause."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from queue import SimpleQueue

import pytest

from nettop.broker.client import Broker
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.kernel.commits import commits, repeated
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

_RULES, _AT_ONCE = 10_000, 500  # the buffers of a user namespace are small
_HEIGHT = 30
_SEND = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))"
_ON_SCREEN_S, _ALL_S = 4.0, 20.0  # each second and all 5 s on a machine that does nothing else


def shown(session: LiveSession, view: str, **spec: object) -> Snapshot:
    answers: SimpleQueue[Snapshot] = SimpleQueue()
    columns = session.views[view].default_columns
    session.ask(view, ViewSpec(columns, height=_HEIGHT, **spec), answers.put)  # type: ignore[arg-type]
    return answers.get(timeout=30)


def test_counters_on_screen_are_new_at_once_and_all_within_seconds(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("counters")
    run_in(ns, "ip", "link", "set", "lo", "up")
    chain = "add chain inet fw in { type filter hook input priority 0; }"
    run_in(ns, "nft", f"add table inet fw; {chain}; add table inet other; add chain inet other c")
    for first in range(1, _RULES, _AT_ONCE):
        rules = "".join(f"add rule inet fw in udp dport {port} counter\n" for port in range(first, first + _AT_ONCE))
        run_in(ns, "nft", "-f", "-", stdin=rules)
    with closing(LiveSession(broker, ns)) as session:
        rules_of = lambda ident: shown(session, "rules", scope=ident)  # noqa: E731
        poll(lambda: shown(session, "chains").rows and rules_of(None).total >= _RULES, what="all rules")
        (scope,) = [row.ident for row in shown(session, "chains").rows if "in" in row.cells]
        script = "flush chain inet other c; add rule inet other c counter"
        with commits(ns, lambda _: script, 0.02), repeated(lambda: rules_of(scope), 0.5):
            for packets in range(1, 4):
                run_in(ns, sys.executable, "-c", _SEND.format(port=3))
                poll(lambda packets=packets: counted(session, 3) == packets, _ON_SCREEN_S, "a counter on screen")  # type: ignore[misc]
            run_in(ns, sys.executable, "-c", _SEND.format(port=_RULES))
            poll(lambda: counted(session, _RULES) == 1, _ALL_S, "a counter elsewhere")
            before = newest(session)
            poll(lambda: newest(session) != before, _ALL_S, "another rule in the table that changes")


def models(session: LiveSession, ask: Callable[..., object]) -> object:
    answers: SimpleQueue[object] = SimpleQueue()
    session._run.on_models(lambda engine, now_ns: answers.put(ask(engine.ruleset)))
    return answers.get(timeout=30)


def counted(session: LiveSession, number: int) -> object:
    """The packets of a rule of the large chain, None if it has no counter yet."""

    def packets(ruleset) -> int | None:  # type: ignore[no-untyped-def]
        chain = ruleset.picture.chain("inet", "fw", "in", legacy=False)
        cell = chain.first + number - 1
        return int(ruleset.counts.packets[cell]) if ruleset.counts.have[cell] else None

    return models(session, packets)


def newest(session: LiveSession) -> object:
    """The handle of the rule that is known in the chain that is flushed again and again."""

    def handle(ruleset) -> int:  # type: ignore[no-untyped-def]
        chain = ruleset.picture.chain("inet", "other", "c", legacy=False)
        return max((rule.handle for rule in ruleset.picture.rules_of(chain)), default=0)

    return models(session, handle)
