"""Journeys as JSON objects (the kinds `step` and `end`), and as text."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from nettop.decode.nftables.keys import ct_states
from nettop.kinds import TRACE_PREFIX
from nettop.model.ruleset.order import BRIDGE, NETDEV, is_dormant, path_of
from nettop.model.ruleset.picture import Picture
from nettop.model.ruleset.words import rule_text
from nettop.model.traces import ends
from nettop.model.traces.cells import end_cell
from nettop.model.traces.journey import Journey, Step
from nettop.text.units import grouped, plural

_SHOWN = 3  # names of chains


def untraced(counts: tuple[int, int] | None) -> str:
    """Return how many packets a trace left out, of those that it matched and marked; "": none, or it is not known."""
    matched, marked = counts or (0, 0)
    over = f"{plural(matched - marked, 'packet')} of {grouped(matched)} that matched were over the limit"
    return f"{over}, and not traced" if matched > marked else ""


def chains_left_out(picture: Picture, also: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield `ingress` and `bridge`, if they are not traced also, and the names of the base chains that they have."""
    for word, path in (("ingress", NETDEV), ("bridge", BRIDGE)):
        names = [
            f"{chain.family} {chain.table} {chain.name}"
            for chain in picture.chains
            if chain.hook not in (None, "egress") and path_of(chain) == path and not is_dormant(chain)
            if not chain.table.startswith(TRACE_PREFIX)
        ]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        if names and word not in also:
            yield word, ", ".join(names[:_SHOWN]) + more


def objects(journey: Journey, netns: str) -> Iterator[dict[str, Any]]:
    """Yield an object for each step and one for the end."""
    for at, step in enumerate(journey.steps, 1):
        yield {"kind": "step", "netns": netns, "trace": journey.number, **_step_object(journey, at, step)}
    if journey.end is not None:
        yield {"kind": "end", "netns": netns, "trace": journey.number, **_end_object(journey)}


def _step_object(journey: Journey, at: int, step: Step) -> dict[str, Any]:
    record, rule, head = step.record, step.rule, step.head
    return {
        "ts_ns": record.ts_ns,
        "step": at,
        "backend": ends.backend(step),
        "family": record.family,
        "table": record.table,
        "chain": record.chain,
        "hook": step.hook,
        "type": record.type,
        "verdict": record.verdict or None,
        "target": record.target or None,
        "number": step.number,
        "handle": record.handle,
        "text": rule_text(rule) if rule and rule.text else None,
        "element": step.element,
        "ct_id": journey.ct_id,
        "ct_state": None if journey.ct_state is None else ct_states(journey.ct_state),
        "mark": record.mark,
        "iif": step.iif,
        "oif": step.oif,
        "proto": head.proto_text,
        "src": head.src,
        "sport": head.sport,
        "dst": head.dst,
        "dport": head.dport,
        "certainty": "joined by bytes and time" if step.joined else "seen",
        "tied": step.tied,
    }


def _end_object(journey: Journey) -> dict[str, Any]:
    end = journey.end
    assert end is not None
    drop = journey.drop if end.step is None or end.verdict == "queue" else None  # a rule is the better reason
    return {
        "ts_ns": journey.last_ns,
        "verdict": ends.verdict_of(end),
        "where": ends.where(journey),
        "by": [
            {"chain": caller.record.chain, "number": caller.number, "handle": caller.record.handle}
            for caller in (end.step.callers if end.step else ())
        ],
        "backend": ends.backend(end.step) if end.step else None,
        "hooks": journey.hooks,
        "iif": journey.iif,
        "oif": end.oif,
        "nat": list(ends.translated(journey.head, journey.last)),
        "part_of": journey.part_of and journey.part_of.number,
        "copy_of": journey.copy_of and journey.copy_of.number,
        "answers": journey.answers and journey.answers.number,
        "answer_ns": journey.answers and journey.ts_ns - journey.answers.ts_ns,
        "drop_reason": drop and drop.record.reason,
        "drop_function": drop and (drop.record.function or None),
        "drop_certainty": drop and drop.certainty,
        "drop_meaning": ends.why_dropped(journey) or None,
        "certainty": ends.certainty(journey),
    }


def late_object(journey: Journey, netns: str) -> dict[str, Any]:
    """Return the drop of a packet whose end is known already: one that waited for the address of its next hop."""
    assert journey.drop is not None
    drop = {"drop_reason": journey.drop.record.reason, "drop_function": journey.drop.record.function or None}
    found = {"kind": "drop", "netns": netns, "trace": journey.number, "ts_ns": journey.drop.record.ts_ns, **drop}
    return {**found, "drop_certainty": journey.drop.certainty, "where": ends.where(journey)}


def late_line(journey: Journey) -> str:
    """Return the same as text. The caller makes it safe for a terminal."""
    return f"#{journey.number} {ends.where(journey)}"


def lines(journey: Journey, time: str) -> Iterator[str]:
    """Yield the packet, each step, and the end. The caller makes them safe for a terminal."""
    head = journey.head
    size = "" if head.length is None else f"  {head.length} B"
    info = f" {head.info}" if head.info else ""
    way = f"{head.proto_text} {head.way}".rstrip()
    yield f"{time} #{journey.number} from {ends.origin(journey)}  {way}{info}{size}"
    yield from _step_lines(journey)
    if journey.end is not None:
        yield f"  {end_cell(journey)[0].upper():<11} {ends.ending(journey)}"
        if (sure := ends.certainty(journey)) != "certain":
            yield f"  {'':<11} {sure}"
        for more in filter(None, (ends.why_dropped(journey), ends.exchange(journey))):
            yield f"  {'':<11} {more}"


def _step_lines(journey: Journey) -> Iterator[str]:
    wide = max((len(ends.table_name(step)) for step in journey.steps), default=0)
    hook = ""
    for step in journey.steps:
        record, rule = step.record, step.rule
        name = "" if step.hook == hook else step.hook
        hook = step.hook
        place = "" if step.callers else ends.table_name(step)
        chain = f"{'  ' * len(step.callers)}{record.chain}{ends.tie(step)}"
        number = "policy" if record.type == "policy" else str(step.number or "?")
        verdict = f"{record.verdict} {record.target}".strip()
        text = (rule_text(rule) if rule else "") + (f"   {step.element}" if step.element else "")
        yield f"  {name:<11} {place:<{max(12, wide)}} {chain:<20} {number:>6}  {verdict:<18} {text}".rstrip()
