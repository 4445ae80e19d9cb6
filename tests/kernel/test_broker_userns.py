"""Without any privilege: a broker in user and network namespaces of its own serves an app of an ordinary user."""

from __future__ import annotations

import os

import pytest

from nettop.broker.client import Broker, SetSysctl
from nettop.broker.identity import can_change_ids
from nettop.broker.start import start_in_userns
from nettop.kinds import TextKind
from tests.kernel.namespaces import poll, run_in
from tests.kernel.processes import App, is_gone, status_of

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
        poll(lambda: is_gone(ready["broker"]), 5.0, "the broker's end")


def test_its_namespace_is_its_own_and_works() -> None:
    with start_in_userns(drop=False) as broker:
        ns = broker.netns("")
        assert ns.inode != os.stat("/proc/self/ns/net").st_ino
        assert [(device.name, device.up) for device in broker.devices(ns)] == [("lo", True)]
        counted = "net.netfilter.nf_conntrack_acct"
        broker.change(SetSysctl(ns.handle, counted, "1"))
        assert broker.sysctls(ns, [counted]) == {counted: "1"}
        listed_by_nft(broker)


def listed_by_nft(broker: Broker) -> None:
    namespaces = f"/proc/{broker.pid}/ns"
    enter = ("nsenter", f"--user={namespaces}/user", "--preserve-credentials", f"--net={namespaces}/net")
    run_in("", *enter, "nft", "add table ip inside")
    assert b"table ip inside" in broker.text(broker.netns(""), TextKind.NFT_RULESET)
