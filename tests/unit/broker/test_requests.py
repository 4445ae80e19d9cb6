"""The list of what can be asked: all of it survives JSON, and nothing else is taken."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.broker import request_json, requests
from nettop.broker.requests import CounterName, DumpFilter, FlowKey, ReadRequest, SetName
from nettop.errors import BrokerError
from nettop.kinds import TextKind

FLOW = FlowKey(2, 6, 0, "10.0.0.1", "10.0.0.2", 1, 65535, None)
EVERY_REQUEST: list[requests.Request] = [
    requests.GetNetns("gw-a"),
    requests.LeaveNetns(3),
    requests.GetDevices(0),
    requests.OpenPacketSocket(1, "eth0", "tcp port 80", 96, 1 << 20, 64),
    requests.OpenNetlinkSocket(1, 12, (1, 2, 3), 8 << 20, b""),
    requests.OpenNetlinkSocket(1, 12, (1, 2, 3), 8 << 20, bytes(range(256))),
    requests.SendRead(1, ReadRequest.CONNTRACK_DUMP, None, None),
    requests.SendRead(1, ReadRequest.CONNTRACK_DUMP, DumpFilter(2, 7, 0x10, 0xFF, 2, None), None),
    requests.SendRead(1, ReadRequest.NFT_SET_ELEMENTS, None, SetName(2, "t", "a\udcffb")),
    requests.SendRead(1, ReadRequest.RTNL_ROUTE, None, None, requests.RouteQuestion(2, "10.0.0.1", uid=7)),
    requests.SendRead(1, ReadRequest.NFT_RULES, None, None, None, requests.TableName(1, "fw")),
    requests.SendRead(1, ReadRequest.NFT_RULE, None, None, of=(requests.RuleName(1, "fw", "in", 1 << 40),)),
    requests.ReadDumps(1, (ReadRequest.RTNL_DETAILS, ReadRequest.RTNL_COUNTS)),
    requests.ReleaseSocket(1),
    requests.GetText(1, TextKind.NFT_RULESET),
    requests.OpenSysctl(1, "net.netfilter.nf_conntrack_max"),
    requests.OpenOutput("/tmp/a\udcffb.pcapng"),
    requests.ResolveName("fd00::1", 0, 0),
    requests.SetSysctl(1, "net.netfilter.nf_conntrack_acct", "1"),
    requests.DeleteFlows(1, (FLOW, replace(FLOW, family=10, src="fd00::1", dst="fd00::2", id=7))),
    requests.ResetCounter(1, CounterName("nft-quota", 1, "filter", "q")),
    requests.StartTrace(
        1, (requests.PacketMatch((requests.PacketTest("meta", 16, 1, 6, 6, 255, True),)),), 50, 9, True, False
    ),
    requests.OpenTraceLog(1, 1 << 20),
    requests.StopTrace(1),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=lambda request: type(request).__name__)
def test_every_request_survives_the_wire(request_: requests.Request) -> None:
    assert request_json.from_json(json.loads(json.dumps(request_json.to_json(request_)))) == request_


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=lambda request: type(request).__name__)
@given(data=st.data())
def test_a_request_with_one_field_of_another_type_is_refused(request_: requests.Request, data: st.DataObject) -> None:
    message = request_json.to_json(request_)
    field = data.draw(st.sampled_from(sorted(set(message) - {"ask"})))
    may_be_none = field in ("dump_filter", "of_set", "of_route", "of_table")
    right = {type(message[field]), list} | ({type(None)} if may_be_none else set())
    wrong = data.draw(json_values.filter(lambda value: type(value) not in right))
    with pytest.raises(BrokerError, match="not on the list"):
        request_json.from_json({**message, field: wrong})


@given(st.dictionaries(st.sampled_from(["ask", "id", "netns", "spec", "path", "force"]) | st.text(), json_values))
def test_any_json_object_is_either_on_the_list_or_refused(message: dict[str, object]) -> None:
    try:
        taken = request_json.from_json(message)
    except BrokerError as refused:
        assert "not on the list" in str(refused)
    else:
        assert request_json.to_json(taken)["ask"] == message["ask"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"ask": "RunShell", "command": "id"},
        {"ask": "GetNetns"},
        {"ask": "GetNetns", "spec": "a", "more": 1},
        {"ask": "GetNetns", "spec": "a" * 9000},
        {"ask": "SendRead", "socket": True, "what": "conntrack-dump"},
        {"ask": "SendRead", "socket": 1, "what": "conntrack-flush"},
        {"ask": "OpenNetlinkSocket", "netns": 0, "protocol": 12, "groups": [1] * 1000, "rcvbuf": 1, "program": ""},
        {"ask": "OpenNetlinkSocket", "netns": 0, "protocol": 12, "groups": [], "rcvbuf": 1, "program": "*"},
        {"ask": "OpenNetlinkSocket", "netns": 0, "protocol": 12, "groups": [], "rcvbuf": 1, "program": "A" * 50_000},
        {"ask": "SendRead", "socket": 1, "what": "conntrack-dump", "of_set": None},
        {"ask": "SendRead", "socket": 1, "what": "conntrack-dump", "of_set": None, "dump_filter": {"zone": 1}},
        {"ask": "SendRead", "socket": 1, "what": "conntrack-dump", "dump_filter": None, "of_set": [2, "t", "s"]},
        {"ask": "DeleteFlows", "netns": 0, "flows": [asdict(FLOW)] * 1000},
        {"ask": "DeleteFlows", "netns": 0, "flows": [{**asdict(FLOW), "mark": 1}]},
        {"ask": "DeleteFlows", "netns": 0, "flows": [{**asdict(FLOW), "sport": True}]},
        {"ask": "DeleteFlows", "netns": 0, "flows": [{**asdict(FLOW), "id": "7"}]},
        {"ask": "DeleteFlows", "netns": 0, "flows": [None]},
        {"ask": "ResetCounter", "netns": 0, "counter": "packets"},
        {
            "ask": "StartTrace",
            "netns": 0,
            "matches": [{"tests": [{"of": "meta"}]}],
            "per_second": 1,
            "seconds": 1,
            "bridge": False,
            "ingress": False,
        },
        {"ask": ["GetNetns"], "spec": ""},
    ],
)
def test_what_is_not_on_the_list_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(BrokerError, match="not on the list"):
        request_json.from_json(message)


def test_the_list_of_examples_has_every_request() -> None:
    assert {type(request) for request in EVERY_REQUEST} | {requests.ListNetns} == set(get_args(requests.Request))
