"""The rule that decides about a packet, where rules lead nowhere or match in more ways than one."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from nettop.decode.topology.objects import PolicyRule
from nettop.model.topology.policy import matching
from nettop.model.topology.route_query import RouteQuery


def rule(priority: int, selector: str, action: str = "lookup main", table: int = 254) -> PolicyRule:
    return PolicyRule(2, priority, selector, action, table)


def reached(*rules: PolicyRule, **packet: object) -> list[tuple[int, bool]]:
    query = RouteQuery(ip_address("10.0.0.1"), **packet)  # type: ignore[arg-type]
    return [(one.priority, certain) for one, certain in matching(rules, query)]


def test_a_goto_without_its_rule_is_passed_over() -> None:
    rules = (rule(1, "from all", "goto 99 [unresolved]", 0), rule(2, "from all"))
    assert reached(*rules) == [(2, True)]
    assert reached(rule(1, "from all", "goto 3", 0), rule(2, "from all"), rule(3, "from all")) == [(3, True)]


@pytest.mark.parametrize(
    ("selector", "packet", "expected"),
    [
        ("from all iif nosuch [detached]", {"in_device": "eth0"}, []),
        ("from all oif eth1 [detached]", {"out_device": "eth0"}, []),
        ("from all ipproto gre", {"proto": 47}, [(1, True)]),
        ("from all ipproto gre", {"proto": 6}, []),
        ("from all ipproto ipproto-200", {"proto": 200}, [(1, True)]),
        ("from all ipproto udp", {}, [(1, True)]),  # the kernel's own choice for IPv4
        ("from all fwmark 0/0x1", {"mark": 2}, [(1, True)]),
        ("from all fwmark 0/0x1", {"mark": 1}, []),
        ("from all dscp 0x2e", {}, [(1, False)]),
        ("from all tun_id 5", {}, [(1, False)]),
    ],
)
def test_a_selector_selects_as_the_kernel_does_or_is_uncertain(
    selector: str, packet: dict[str, object], expected: list[tuple[int, bool]]
) -> None:
    assert reached(rule(1, selector), **packet) == expected
