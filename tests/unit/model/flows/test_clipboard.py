"""What is copied of a flow enters the flow's namespace, and is safe to paste into a shell."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pytest

from nettop.columns import EVENT_NEW, HAVE_ZONE_ORIG_ONLY, Strings
from nettop.model.flows.cells import RowView, row_views
from nettop.model.flows.clipboard import flow_text
from tests.unit.model.flows.flow_rows import T0, columns, ip, row


def view(label: str = "", **given: Any) -> RowView:
    data = columns(row() | given if "have" in given and not given["have"] else row(**given)).data
    return row_views(data | {"netns": np.zeros(1, np.uint16)}, np.array([0]), Strings(), lambda code: label)[0]


def command(label: str = "", **given: Any) -> list[str]:
    return shlex.split(flow_text(view(label, **given), "conntrack"))


@pytest.mark.parametrize(
    ("label", "entered"),
    [
        ("", []),
        ("gw-a", ["ip", "netns", "exec", "gw-a"]),
        ("pid:812", ["nsenter", "--net=/proc/812/ns/net", "--"]),
        ("/run/my ns", ["nsenter", "--net=/run/my ns", "--"]),
        ("a; rm -rf $HOME", ["ip", "netns", "exec", "a; rm -rf $HOME"]),
        ("\x1b[2J", ["ip", "netns", "exec", "\\x1b[2J"]),
    ],
)
def test_the_command_enters_the_flows_namespace(label: str, entered: list[str]) -> None:
    wanted = ["conntrack", "-G", "-p", "udp", "-s", "10.0.0.1", "-d", "10.0.0.2", "--sport", "1000", "--dport", "80"]
    assert command(label) == [*entered, *wanted]


def test_in_another_zone_the_table_is_gone_through_for_it() -> None:
    assert command(zone=5)[:2] == ["conntrack", "-L"] and command(zone=5)[-2:] == ["--zone", "5"]
    assert command(zone=5, have=HAVE_ZONE_ORIG_ONLY)[-2:] == ["--orig-zone", "5"]


def test_ids_are_called_what_conntrack_calls_them() -> None:
    assert command(proto=1, osport=77, odport=8 << 8)[-6:] == [
        "--icmp-type",
        "8",
        "--icmp-code",
        "0",
        "--icmp-id",
        "77",
    ]
    assert command(proto=47, osport=3, odport=4)[2:4] == ["-p", "gre"]
    assert command(proto=47, osport=3, odport=4)[-4:] == ["--srckey", "3", "--dstkey", "4"]
    assert command(proto=50)[2:] == ["-p", "50", "-s", "10.0.0.1", "-d", "10.0.0.2"]


def test_an_event_is_copied_as_an_event() -> None:
    text = flow_text(view(event=EVENT_NEW, ts_ns=T0, osrc_lo=ip("10.9.9.9")), "json")
    assert text.startswith('{"kind":"event","event":"new"') and f'"ts_ns":{T0}' in text and "10.9.9.9" in text


def test_a_row_that_names_no_flow_copies_as_nothing() -> None:
    assert flow_text(view(have=0), "json") == ""
