"""The order of chains at one hook and priority, proven by a traced packet, and that of the kernel."""

from __future__ import annotations

from contextlib import closing

import pytest

from nettop.broker.client import Broker
from nettop.model.table import ViewSpec
from nettop.session.live import LiveSession
from nettop.session.status import TraceRequest
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_opened_sets import answer

pytestmark = pytest.mark.kernel

TABLE = "table inet {0} {{\n chain in {{\n type filter hook input priority 0; counter;\n }}\n}}\n"


def test_a_trace_proves_which_of_two_tied_chains_is_first(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("tied")
    run_in(ns, "ip", "link", "set", "lo", "up")
    run_in(ns, "nft", "-f", "-", stdin=TABLE.format("aa"))
    run_in(ns, "nft", "-f", "-", stdin=TABLE.format("bb"))  # registered last: the kernel runs it first
    columns = ("table", "priority")
    with closing(LiveSession(broker, ns)) as session:

        def chains() -> list[tuple[str, ...]]:
            rows = answer(session.ask, "chains", ViewSpec(columns, height=99)).rows
            return [row.cells for row in rows if not row.cells[0].startswith("nettop-")]

        poll(lambda: chains() == [("aa", "0 filter ?"), ("bb", "0 filter ?")], what="the tie")
        assert answer(session.start_trace, TraceRequest("icmp")) is None

        def proven() -> bool:
            run_in(ns, "ping", "-c", "1", "-W", "1", "127.0.0.1")
            return chains() == [("bb", "0 filter ✓"), ("aa", "0 filter ✓")]

        poll(proven, what="the proof")
        assert answer(session.stop_trace) is None
        poll(lambda: "nettop-" not in run_in(ns, "nft", "list", "tables"))
        run_in(ns, "nft", "add", "rule", "inet", "aa", "in", "accept")
        assert chains() == [("bb", "0 filter ✓"), ("aa", "0 filter ✓")]
        run_in(ns, "nft", "delete", "table", "inet", "aa")
        run_in(ns, "nft", "-f", "-", stdin=TABLE.format("aa"))
        poll(lambda: {mark[-1] for _, mark in chains()} == {"?"}, what="made again: not known")
