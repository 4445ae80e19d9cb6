"""The element of a verdict map that a packet matched: the one with its step's verdict and one of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

from nettop.decode.nftables.rules import NftRule
from nettop.model.ruleset.sets.contents import VerdictBranch
from nettop.model.traces.journey import Step

# The named verdict maps that a rule uses, with their elements.
FindBranches = Callable[[NftRule | None], Iterable[tuple[str, tuple[VerdictBranch, ...]]]]


def element_met(step: Step, maps: Iterable[tuple[str, tuple[VerdictBranch, ...]]]) -> str:
    """Return `22 in @ways`; "" if it is not known which element matched."""
    verdict = f"{step.record.verdict} {step.record.target}".strip()
    for name, branches in maps:
        able = [one.key for one in branches if one.value.text == verdict]
        held = [key for key in able if key != "*" and _holds(key, _values(step))]
        found = held or (able if len(able) == 1 else [key for key in able if key == "*"])
        if len(found) == 1:
            return f"{found[0]} in @{name}"
    return ""


def _values(step: Step) -> list[str]:
    """Return the addresses, ports, devices and mark of the packet as it came to the step, as text."""
    head = step.head
    values = (head.src, head.dst, head.sport, head.dport, head.proto_text, step.iif, step.oif)
    mark = f"{step.record.mark or 0:#010x}"
    return [*(str(value) for value in values if value is not None), mark]


def _holds(key: str, values: list[str]) -> bool:
    """Return whether each part of a key holds one of the values, in any order."""
    return all(any(_part_holds(part, value) for value in values) for part in key.split(" . "))


def _part_holds(part: str, value: str) -> bool:
    if part == value:
        return True
    first, dash, last = part.partition("-")
    try:
        if "/" in part:
            return ip_address(value) in ip_network(part)
        if dash and first.isdigit():
            return int(first) <= int(value) <= int(last)
        address = ip_address(value)
        return bool(dash) and ip_address(first) <= address <= ip_address(last)  # type: ignore[operator]
    except (ValueError, TypeError):  # of another type
        return False
