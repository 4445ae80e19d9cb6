"""The steps of a packet in the kernel's order: the records of iptables-legacy and of nft are read apart.

Each kind is in order. The priorities of the chains order one among the other, and nothing follows a packet's end.
"""

from __future__ import annotations

from itertools import groupby

from nettop.model.ruleset.order import runs_at
from nettop.model.ruleset.picture import ChainView
from nettop.model.traces.journey import Journey, Step


def put_in_order(journey: Journey) -> None:
    """Put the steps of iptables-legacy between those of nft, and mark those whose order is not known."""
    seen = [step for step in journey.steps if step.legacy is None]
    legacy = [step for step in journey.steps if step.legacy is not None]
    if not legacy:
        return
    for step in journey.steps:
        step.tied = False
    end = journey.end.step if journey.end else None
    latest, least, steps = _begin_of_end(seen, end), 0, []
    for _, group in groupby(legacy, lambda step: (step.at, step.record.table)):
        walk = list(group)
        final = any(step is end for step in walk)
        orders = [_is_before(step, walk[0]) for step in seen]
        place = orders.index(False) if False in orders else len(seen)
        place = len(seen) if final else min(latest, max(least, place))
        unknown = [] if final else [step for step, before in zip(seen[:latest], orders, strict=False) if before is None]
        for step in (*unknown, *(walk if unknown else ())):
            step.tied = True
        steps += [*seen[least:place], *walk]
        least = place
    journey.steps = [*steps, *seen[least:]]


def base_chains(journey: Journey) -> list[list[ChainView]]:
    """Return the base chains of nf_tables that a packet met in each hook, in their order: its records are in order."""
    found: dict[int, dict[int, ChainView]] = {}
    for step in journey.steps:
        chain = _base(step).chain
        if chain is not None and step.legacy is None:
            found.setdefault(step.at, {}).setdefault(chain.ident, chain)
    return [list(chains.values()) for chains in found.values() if len(chains) > 1]


def _base(step: Step) -> Step:
    return step.callers[0] if step.callers else step


def _begin_of_end(seen: list[Step], end: Step | None) -> int:
    """Return where the steps of the base chain begin that ended the packet."""
    place = next((at for at, step in enumerate(seen) if step is end), len(seen))
    while end is not None and 0 < place < len(seen) and _walk(seen[place - 1]) == _walk(end):
        place -= 1
    return place


def _walk(step: Step) -> tuple[object, ...]:
    record = _base(step).record
    return step.at, record.family, record.table, record.chain


def _is_before(step: Step, legacy: Step) -> bool | None:
    """Return whether a step of nft is before one of iptables-legacy; None: it is not known."""
    if step.at != legacy.at:
        return step.at < legacy.at
    chain, own = _base(step).chain, legacy.legacy or 0
    priority = runs_at(chain) if chain else None
    if chain and chain.type == "nat" and priority == own and legacy.record.table == "nat":
        priority = chain.priority  # in one hook function their own priorities order them
    return None if priority is None or priority == own else priority < own
