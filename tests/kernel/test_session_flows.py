"""What the session does with flows: only some received, several namespaces in one table, deleted in the kernel."""

from __future__ import annotations

import json
import shlex

import pytest

from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.start import start
from nettop.errors import UsageError
from nettop.model.filter.expression import parse
from nettop.model.table import ViewSpec
from nettop.pipeline.receive_filter import ReceiveFilter
from nettop.session.live import LiveSession
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_session import RULES, Watched

pytestmark = pytest.mark.kernel


def tracked(lab: Lab, name: str) -> str:
    ns = lab.netns(name)
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    return ns


def insert(ns: str, *ports: int) -> None:
    """Flows of TCP from 10.1.0.1 to these ports of 10.2.0.1."""
    for port in ports:
        sides = ("-s", "10.1.0.1", "-d", "10.2.0.1", "--sport", "1000", "--dport", str(port))
        run_in(ns, "conntrack", "-I", "-p", "tcp", *sides, "--state", "ESTABLISHED", "-t", "300")


def kernel_ports(ns: str) -> set[int]:
    """The original destination ports of the kernel's flows."""
    lines = run_in(ns, "conntrack", "-L", "-p", "tcp").splitlines()
    return {int(line.split("dport=")[1].split()[0]) for line in lines}


def shown_ports(watched: Watched) -> set[int]:
    """The original destination ports of the flow table."""
    cells = [row[2] for row in watched.rows("flows") if row[0] == "tcp"]
    return {int(cell.rsplit(":", 1)[1]) for cell in cells}


def test_a_deleted_flow_is_gone_from_the_kernel_and_the_screen(broker: Broker, lab: Lab) -> None:
    ns = tracked(lab, "a")
    watched = Watched(LiveSession(broker, ns))
    try:
        insert(ns, 80, 81, 82)
        poll(lambda: shown_ports(watched) == {80, 81, 82})
        ident = watched.session._run.waited(lambda engine, now: idents(watched, "port 81"))[0]
        told: list[str] = []
        assert watched.do(lambda done: watched.session.delete_flow(ident, done, told.append)) is None
        assert told == ["deleted 1 flow"]
        assert kernel_ports(ns) == {80, 82}
        poll(lambda: shown_ports(watched) == {80, 82})
    finally:
        watched.session.close()


def idents(watched: Watched, expression: str) -> list[int]:
    """Identities of the flows that match; on the model thread."""
    flows = watched.session._run.engine.flows
    rows = flows.snapshot(ViewSpec(("proto",), filter=parse(expression, "flow")), watched.session._run.now_ns()).rows
    return [row.ident for row in rows]


def test_all_that_match_are_counted_and_deleted_in_every_namespace_watched(broker: Broker, lab: Lab) -> None:
    a, b = tracked(lab, "a"), tracked(lab, "b")
    watched = Watched(LiveSession(broker, a, [b]))
    try:
        insert(a, 80, 81, 9)
        insert(b, 80, 82)
        poll(lambda: len(watched.rows("flows")) == 5)
        wanted = parse("portrange 80-90", "flow")
        counts: list[int] = []
        watched.session.count_flows(wanted, counts.append)
        poll(lambda: counts == [4])
        told: list[str] = []
        assert watched.do(lambda done: watched.session.delete_matching(wanted, done, told.append)) is None
        assert told == ["deleted 4 flows"]
        assert (kernel_ports(a), kernel_ports(b)) == ({9}, set())
        poll(lambda: len(watched.rows("flows")) == 1)
    finally:
        watched.session.close()


@pytest.mark.parametrize("option", ["--zone", "--orig-zone", "--reply-zone"])
def test_a_flow_of_any_zone_is_deleted(broker: Broker, lab: Lab, option: str) -> None:
    ns = tracked(lab, "a")
    sides = ("-s", "10.1.0.1", "-d", "10.2.0.1", "--sport", "1000", "--dport", "80")
    run_in(ns, "conntrack", "-I", "-p", "tcp", *sides, "--state", "ESTABLISHED", "-t", "300", option, "7")
    watched = Watched(LiveSession(broker, ns))
    try:
        poll(lambda: shown_ports(watched) == {80})
        told: list[str] = []
        assert watched.do(lambda done: watched.session.delete_matching(None, done, told.append)) is None
        assert told == ["deleted 1 flow"] and not kernel_ports(ns)
    finally:
        watched.session.close()


def test_a_copied_command_shows_the_very_flow(broker: Broker, lab: Lab) -> None:
    ns = tracked(lab, "a")
    watched = Watched(LiveSession(broker, ns))
    try:
        insert(ns, 80, 81)
        poll(lambda: shown_ports(watched) == {80, 81})
        ident = watched.session._run.waited(lambda engine, now: idents(watched, "port 81"))[0]
        texts: list[str] = []
        for form in ("text", "json", "conntrack"):
            watched.session.copy_as("flows", ident, form, texts.append)
        watched.session.copy_as("flows", -1, "text", texts.append)
        poll(lambda: len(texts) == 4)
        assert ":81" in texts[0] and json.loads(texts[1])["dport"] == 81 and texts[3] == ""
        command = shlex.split(texts[2])
        shown = run_in(ns, *command[command.index("conntrack") :])
        assert shown.count("src=") == 2 and "dport=81" in shown
    finally:
        watched.session.close()


def test_nothing_is_deleted_under_read_only(lab: Lab) -> None:
    ns = tracked(lab, "a")
    insert(ns, 80)
    with start("root", allowed=Options(read_only=True), confine=False) as broker:
        watched = Watched(LiveSession(broker, ns))
        try:
            poll(lambda: shown_ports(watched) == {80})
            assert watched.session.status().read_only
            error = watched.do(lambda done: watched.session.delete_matching(None, done, print))
            assert error is not None and "--read-only" in error
            assert kernel_ports(ns) == {80}
        finally:
            watched.session.close()


def test_several_namespaces_stand_in_one_table_and_one_may_go(broker: Broker, lab: Lab) -> None:
    a, b = tracked(lab, "a"), tracked(lab, "b")
    watched = Watched(LiveSession(broker, a, [b]))
    try:
        insert(a, 80)
        insert(b, 81)
        columns = watched.session.views["flows"].default_columns
        assert columns[-1] == "netns"
        poll(lambda: {row[-1] for row in watched.rows("flows")} == {a, b})
        assert watched.session.status().netns == f"{a} +1"
        lab.remove(b)
        poll(lambda: {row[-1] for row in watched.rows("flows")} == {a})
        assert "gone" in watched.notes()
        insert(a, 82)
        poll(lambda: shown_ports(watched) == {80, 82})
    finally:
        watched.session.close()


def test_only_what_is_wanted_is_received_until_everything_is_wanted_again(broker: Broker, lab: Lab) -> None:
    ns = tracked(lab, "a")
    insert(ns, 80, 443)
    watched = Watched(LiveSession(broker, ns, receive_filter=ReceiveFilter("port 443 or port 444")))
    try:
        poll(lambda: shown_ports(watched) == {443})
        insert(ns, 444, 81)
        poll(lambda: shown_ports(watched) == {443, 444})
        assert watched.session.status().receive_filter.startswith("port 443 or port 444 (")
        assert watched.do(watched.session.watch_only, "") is None
        poll(lambda: shown_ports(watched) == {80, 81, 443, 444})
        assert watched.do(watched.session.watch_only, "port 81") is None
        poll(lambda: shown_ports(watched) == {81})
        insert(ns, 82)
        insert(ns, 8181)
        assert watched.do(watched.session.watch_only, "nonsense") is not None
        assert shown_ports(watched) == {81}
        rows = watched.session._run.waited(lambda engine, now: engine.ledger.rows())
        assert all(row.seen == row.shown + row.filtered + row.evicted + row.lost + row.in_flight for row in rows)
    finally:
        watched.session.close()


def test_what_no_event_can_tell_is_refused() -> None:
    with pytest.raises(UsageError):
        ReceiveFilter("rate > 10k")
