"""All checks of the map. A new one is a function from the facts to findings, in the CHECKS of its file."""

from __future__ import annotations

from nettop.model.findings import Finding
from nettop.model.map_findings import addresses, links, reverse_path, rules
from nettop.model.map_findings.facts import MapFacts
from nettop.model.topology.device_words import label_text

CHECKS = (*rules.CHECKS, *reverse_path.CHECKS, *links.CHECKS, *addresses.CHECKS)


def map_findings(facts: MapFacts) -> list[Finding]:
    """Return what is probably wrong with the namespaces of the host."""
    return [found for check in CHECKS for found in check(facts)]


def where(found: Finding) -> str:
    """Return the place of a finding of the map: `vm4 @ gw-a`, or the namespace alone. It is not safe for a terminal."""
    place = dict(found.place)
    label = label_text(str(place["netns"]))
    return f"{place['device']} @ {label}" if "device" in place else label
