"""Without any privilege: a broker in user and network namespaces of its own serves an app of an ordinary user."""

from __future__ import annotations

import os

import pytest

from nettop.broker.client import Broker
from nettop.broker.identity import can_change_ids
from nettop.broker.requests import SetSysctl
from nettop.errors import NotPermitted
from nettop.kinds import TextKind
from nettop.model.filter.expression import parse
from nettop.model.traces.match import matches
from tests.kernel.app import start_in_userns
from tests.kernel.live import sysctl
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.processes import App, is_gone, status_of
from tests.kernel.rights import named_namespaces
from tests.kernel.test_broker_processes import holding, sockets_in

pytestmark = pytest.mark.kernel

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")


def test_a_broker_in_a_user_namespace_serves_an_unprivileged_app() -> None:
    before = AS_NOBODY if can_change_ids() else ()
    with App({"userns": True, "do": ["dump", "capture", "listing"]}, before) as app:
        ready = app.expect("ready")
        assert app.expect("dump")["flows"] == 0
        assert app.expect("capture")["size"] == 4 << 16
        assert app.expect("listing")["length"] == 0
        status = status_of(ready["pid"])
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        if can_change_ids():
            assert status["Uid"].split() == status_of(ready["broker"])["Uid"].split() == ["65534"] * 4
        app.kill()
        poll(lambda: is_gone(ready["broker"]), what="the broker's end")


def test_its_namespace_is_its_own_and_works() -> None:
    with start_in_userns(confine=False) as broker:
        ns = broker.netns("")
        assert ns.inode != os.stat("/proc/self/ns/net").st_ino
        assert [(device.name, device.up) for device in broker.devices(ns)] == [("lo", True)]
        counted = "net.netfilter.nf_conntrack_acct"
        broker.change(SetSysctl(ns.handle, counted, "1"))
        assert sysctl(broker, ns, counted) == "1"
        listed_by_nft(broker)


def test_it_finds_the_processes_in_its_namespaces_and_lists_the_sockets_of_all(lab: Lab) -> None:
    with start_in_userns(confine=False) as broker:
        net = f"/proc/{broker.pid}/ns/net"
        inside = holding(lab, "", "own(V4, UDP).bind(('127.0.0.1', 1001))", *enter(broker))
        holding(lab, net, "own(V4, UDP).bind(('127.0.0.1', 1002))")
        pids = {row["lport"]: row["pid"] for row in sockets_in(broker, "")}
    assert pids == {1001: inside.pid, 1002: None}


def enter(broker: Broker) -> tuple[str, ...]:
    namespaces = f"/proc/{broker.pid}/ns"
    return ("nsenter", f"--user={namespaces}/user", "--preserve-credentials", f"--net={namespaces}/net")


def listed_by_nft(broker: Broker) -> None:
    run_in("", *enter(broker), "nft", "add table ip inside")
    assert b"table ip inside" in broker.text(broker.netns(""), TextKind.NFT_RULESET)


def test_the_records_of_iptables_legacy_come_and_nf_log_is_switched_back() -> None:
    loggers = "/proc/sys/net/netfilter/nf_log/2", "/proc/sys/net/netfilter/nf_log/10"
    with start_in_userns(confine=False) as broker:
        ns = broker.netns("")
        before = run_in(f"pid:{broker.pid}", "cat", *loggers)
        os.close(broker.trace_log(ns).fd)
        assert run_in(f"pid:{broker.pid}", "cat", *loggers) == "nfnetlink_log\n" * 2
        number, _ = broker.start_trace(ns, matches(parse("icmp", "trace")))
        broker.stop_trace(number)
        assert run_in(f"pid:{broker.pid}", "cat", *loggers) == before


@named_namespaces
def test_a_namespace_of_the_host_is_refused_with_the_reason(lab: Lab) -> None:
    spec, said = lab.netns(), "entering the namespace: Operation not permitted: this needs root on the host"
    with start_in_userns(confine=False) as broker, pytest.raises(NotPermitted, match=said):
        broker.devices(broker.netns(spec))
