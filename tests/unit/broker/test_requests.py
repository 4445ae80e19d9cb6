"""The list of what can be asked: all of it survives JSON, and nothing else is taken."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.broker import requests
from nettop.errors import BrokerError
from nettop.kinds import TextKind

EVERY_REQUEST: list[requests.Request] = [
    requests.GetNetns("gw-a"),
    requests.LeaveNetns(3),
    requests.GetDevices(0),
    requests.OpenPacketSocket(1, "eth0", "tcp port 80", 96, 1 << 20, 64, True),
    requests.OpenNetlinkSocket(1, 12, (1, 2, 3), 8 << 20),
    requests.SendRead(1, requests.ReadRequest.CONNTRACK_DUMP),
    requests.ReleaseSocket(1),
    requests.GetText(1, TextKind.NFT_RULESET),
    requests.ReadSysctls(1, ("net.netfilter.nf_conntrack_max",)),
    requests.OpenOutput("/tmp/a\udcffb.pcapng", False),
    requests.SetSysctl(1, "net.netfilter.nf_conntrack_acct", "1"),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=lambda request: type(request).__name__)
def test_every_request_survives_the_wire(request_: requests.Request) -> None:
    assert requests.from_json(json.loads(json.dumps(requests.to_json(request_)))) == request_


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=lambda request: type(request).__name__)
@given(data=st.data())
def test_a_request_with_one_field_of_another_type_is_refused(request_: requests.Request, data: st.DataObject) -> None:
    message = requests.to_json(request_)
    field = data.draw(st.sampled_from(sorted(set(message) - {"ask"})))
    right = type(message[field])
    wrong = data.draw(json_values.filter(lambda value: type(value) is not right and not isinstance(value, list)))
    with pytest.raises(BrokerError, match="not on the list"):
        requests.from_json({**message, field: wrong})


@given(st.dictionaries(st.sampled_from(["ask", "id", "netns", "spec", "path", "force"]) | st.text(), json_values))
def test_any_json_object_is_either_on_the_list_or_refused(message: dict[str, object]) -> None:
    try:
        taken = requests.from_json(message)
    except BrokerError as refused:
        assert "not on the list" in str(refused)
    else:
        assert requests.to_json(taken)["ask"] == message["ask"]


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
        {"ask": "OpenNetlinkSocket", "netns": 0, "protocol": 12, "groups": [1] * 1000, "rcvbuf": 1},
        {"ask": ["GetNetns"], "spec": ""},
    ],
)
def test_what_is_not_on_the_list_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(BrokerError, match="not on the list"):
        requests.from_json(message)
