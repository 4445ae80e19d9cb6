"""The filter over the columns that the decoder gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nettop.columns import Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.model.filter.expression import Array, parse
from nettop.model.flows.derive import Data
from nettop.model.flows.fields import FlowFields, ProcessColumns
from tests.unit.decode.netlink_bytes import batch, be, ct, nest, nla, tuple4

A, B, NAT = 0x0A000001, 0x0A000002, 0x64646401


def message(proto: int, sport: int = 5, dport: int = 443, *more: bytes, status: int = 0, mapped: int = A) -> bytes:
    tuples = tuple4(1, A, B, proto, sport, dport), tuple4(2, B, mapped, proto, dport, sport)
    return ct(*tuples, nla(3, be(4, status)), *more, flags=2)


def ping(number: int) -> bytes:
    addresses = nest(1, nla(1, be(4, A)), nla(2, be(4, B)))
    icmp = nest(2, nla(1, be(1, 1)), nla(4, be(2, number)), nla(5, b"\x08"), nla(6, b"\0"))
    return ct(nest(1, addresses, icmp), nest(2, addresses, icmp), flags=2)


class Owned:
    """The first row is nginx's, the others nobody's."""

    def process_codes(self, data: Data) -> tuple[Array, Sequence[str]]:
        codes = np.zeros(len(data["have"]), np.uint8)
        codes[0] = 1
        return codes, ("", "nginx")

    def pids(self, data: Data) -> Array:
        found = np.full(len(data["have"]), -1, np.int64)
        found[0] = 42
        return found


def matching(expression: str, messages: Sequence[bytes], processes: ProcessColumns | None = None) -> list[int]:
    strings = Strings()
    decoded = ConntrackDecoder(strings)(batch(messages))
    wanted = parse(expression, "flow")
    assert wanted is not None
    fields = FlowFields("flow", decoded.cols.data, 0, strings, lambda code: "", processes)
    return np.flatnonzero(wanted.mask(fields)).tolist()


@pytest.mark.parametrize(("expression", "expected"), [("port 443", [0, 1]), ("osrc port 5", [0, 1]), ("gre", [2])])
def test_what_gre_and_icmp_have_where_others_have_ports_are_no_ports(expression: str, expected: list[int]) -> None:
    assert matching(expression, [message(6), message(132), message(47), ping(5), ping(443)]) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("nat", [1, 2, 3]),
        ("nat snat", [1, 3]),
        ("snat", [1, 3]),
        ("nat dnat", [2, 3]),
        ("nat both", [3]),
        ("nat none", [0]),
        ("nat both or nat none", [0, 3]),
        ("not nat snat and nat", [2]),
    ],
)
def test_kinds_of_nat(expression: str, expected: list[int]) -> None:
    assert matching(expression, [message(6, status=bits << 4) for bits in range(4)]) == expected


def test_nat_of_ports_alone() -> None:
    moved = tuple4(1, A, B, 17, 5, 53), tuple4(2, B, A, 17, 53, 1025)
    flows = [message(17, status=16, mapped=NAT), ct(*moved, nla(3, be(4, 16)), flags=2)]
    assert matching("nat port-only", flows) == [1]


@pytest.mark.parametrize(("expression", "expected"), [("offload", [1]), ("offloaded", [1, 2]), ("not offloaded", [0])])
def test_offloaded_is_in_software_or_hardware(expression: str, expected: list[int]) -> None:
    assert matching(expression, [message(6, status=bits) for bits in (0, 1 << 14, 1 << 15)]) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("label 2", [1, 2]), ("label 0x4", [1]), ("label 127", [2]), ("label 3", []), ("label != 2", [0])],
)
def test_a_label_is_a_bit_or_the_whole_number(expression: str, expected: list[int]) -> None:
    labels = [(1 << 2).to_bytes(16, "little"), (1 << 127 | 1 << 2).to_bytes(16, "little")]
    assert matching(expression, [message(6), *(message(6, 5, 443, nla(22, raw)) for raw in labels)]) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("process nginx", [0]),
        ("process ng*", [0]),
        ("process != nginx", [1]),
        ("pid 42", [0]),
        ("pid != 42", []),
        ("pid < 99", [0]),
    ],
)
def test_processes_are_those_of_the_join(expression: str, expected: list[int]) -> None:
    assert matching(expression, [message(6), message(17)], Owned()) == expected


def test_without_a_join_no_flow_has_a_process() -> None:
    assert matching("process * or pid >= 0", [message(6)]) == []
