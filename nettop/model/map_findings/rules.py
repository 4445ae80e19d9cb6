"""Checks of sysctls against rules: forwarding that is off, bridged frames that rules do not see, a full table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.findings import Finding
from nettop.model.map_findings.facts import MapFacts, finding
from nettop.model.map_findings.hook_rules import is_dstnat, rules_at
from nettop.model.ruleset.picture import Picture, RuleView
from nettop.model.ruleset.words import chain_path, rule_text
from nettop.model.topology.device_words import is_on, parameter
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.sysctls import number
from nettop.text.units import grouped, percent, plural

_LISTED = 5  # rules named as evidence
_NEARLY = 0.9  # share of nf_conntrack_max
_FORWARDING = {AF_INET: "net.ipv4.ip_forward", AF_INET6: "net.ipv6.conf.all.forwarding"}
_OF_FAMILY = {"ip": (AF_INET,), "ip6": (AF_INET6,), "inet": (AF_INET, AF_INET6)}
_TO = re.compile(r"(?:--to-destination|dnat (?:ip6? )?to) \[?([0-9a-fA-F.:]+?)\]?(?::\d+)?(?= |$)")
_BRIDGED = re.compile(r"-m physdev|\b(?:ibr|obr|ibri|obri)(?:name|port)\b|\bmeta [io]br(?:name|port)\b")
_PORTS = re.compile(r"--physdev-(?:in|out) (\S+)")


def forwarding_off(facts: MapFacts) -> Iterator[Finding]:
    """Yield the namespaces that have rules for packets to others, which they do not forward."""
    for space, picture in _pictures(facts):
        off = {family for family, name in _FORWARDING.items() if number(space.sysctls, name) == 0}
        off -= {AF_INET} if _forwards_somewhere(space) else set()
        to_others = [rule for rule in _rules(picture, "prerouting", off) if _dnat_to_others(space, rule)]
        # Those that count or drop miss nothing.
        accepting = [rule for rule in _rules(picture, "forward", off) if rule.verdict.lower() == "accept"]
        for rules, word in ((to_others, "DNAT"), (accepting, "forwarding")):
            if rules:
                names = [_FORWARDING[family] for family in sorted(off & _seen(picture, rules))]
                summary = (
                    f"{plural(len(rules), f'{word} rule')}, yet {' and '.join(f'{name} is 0' for name in names)}: "
                    "packets to other hosts are dropped before they get there"
                )
                values = tuple(f"{name} = 0" for name in names)
                yield finding("forwarding-off", summary, space, None, (*values, *_lines(picture, rules)))


def words_matter(facts: MapFacts) -> bool:
    """Return whether the words of rules may decide about a finding, or be its evidence."""
    devices = (device for space, _ in _pictures(facts) for device in space.devices.values())
    return any(device.link.kind == "bridge" for device in devices) or any(forwarding_off(facts))


def _pictures(facts: MapFacts) -> Iterator[tuple[NamespaceMap, Picture]]:
    for space in facts.hosts.namespaces():
        ruleset = facts.ruleset(space.namespace.label)
        if ruleset is not None and space.sysctls:
            yield space, ruleset.picture


def _forwards_somewhere(space: NamespaceMap) -> bool:
    """Return whether a device forwards IPv4, regardless of ip_forward."""
    names = (device.link.name.replace(".", "/") for device in space.devices.values())
    return any(number(space.sysctls, f"net.ipv4.conf.{name}.forwarding") for name in names)


def _rules(picture: Picture, hook: str, off: set[int]) -> list[RuleView]:
    """Return the rules at a hook that see only packets of families that are not forwarded."""
    families = tuple(family for family, numbers in _OF_FAMILY.items() if set(numbers) <= off)
    return list(rules_at(picture, hook, families))


def _seen(picture: Picture, rules: list[RuleView]) -> set[int]:
    return {family for rule in rules for family in _OF_FAMILY.get(picture.chains[rule.chain].family, ())}


def _dnat_to_others(space: NamespaceMap, rule: RuleView) -> bool:
    """Return whether a rule sends packets to an address of another host: those to an own one are not forwarded."""
    if not is_dstnat(rule, "prerouting") or rule.verdict.lower() == "redirect":
        return False
    found = _TO.search(rule.text or "")
    try:
        target = ip_address(found[1]) if found else None
    except ValueError:
        target = None
    own = any(target is not None and one.address == int(target) for one in space.addresses)
    return not own and not (target is not None and target.is_loopback)


def bridged_unseen(facts: MapFacts) -> Iterator[Finding]:
    """Yield the bridges whose frames no rule sees, while rules match their ports."""
    for space, picture in _pictures(facts):
        bridges = [device for device in space.devices.values() if device.link.kind == "bridge"]
        for family, tool in (("ip", "iptables"), ("ip6", "ip6tables")):
            name = f"net.bridge.bridge-nf-call-{tool}"
            on = any(is_on(parameter(bridge, f"nf_call_{tool}")) for bridge in bridges)
            if not bridges or on or number(space.sysctls, name) != 0:
                continue
            rules = [rule for rule in picture.rules if picture.chains[rule.chain].family == family]
            rules = [rule for rule in rules if _BRIDGED.search(rule.text or "")]
            if rules:
                ports = {found for rule in rules for found in _PORTS.findall(rule.text or "")}
                device = next((one for one in space.devices.values() if one.link.name in ports), bridges[0])
                verb = "matches a port" if len(rules) == 1 else "match ports"
                summary = f"{plural(len(rules), 'rule')} {verb} of a bridge, yet bridge-nf-call-{tool} is 0: no match"
                yield finding("bridge-nf-off", summary, space, device, (f"{name} = 0", *_lines(picture, rules)))


def conntrack_full(facts: MapFacts) -> Iterator[Finding]:
    """Yield the namespaces whose conntrack table is nearly full."""
    for space in facts.hosts.namespaces():
        count = number(space.sysctls, "net.netfilter.nf_conntrack_count")
        highest = number(space.sysctls, "net.netfilter.nf_conntrack_max")
        if count and highest and count >= _NEARLY * highest:
            share = percent(count / highest)
            flows = f"{grouped(count)} of {grouped(highest)} flows ({share})"
            summary = f"conntrack has {flows}: when it is full, packets of new ones are dropped"
            values = (f"net.netfilter.nf_conntrack_count = {count}", f"net.netfilter.nf_conntrack_max = {highest}")
            yield finding("conntrack-full", summary, space, None, values)


def _lines(picture: Picture, rules: list[RuleView]) -> tuple[str, ...]:
    lines = [
        f"{chain_path(picture.chains[rule.chain])} rule {rule.number}: {rule_text(rule)}" for rule in rules[:_LISTED]
    ]
    return (*lines, *([f"and {grouped(len(rules) - _LISTED)} more"] if len(rules) > _LISTED else []))


CHECKS = (forwarding_off, bridged_unseen, conntrack_full)
