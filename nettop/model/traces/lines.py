"""Journeys as JSON objects (the kinds `step` and `end`), and as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nettop.model.ruleset.words import rule_text
from nettop.model.traces.headers import PacketHead
from nettop.model.traces.journey import End, Journey, Step
from nettop.text.units import grouped, plural

_DONE = {"drop": "dropped", "reject": "rejected", "stolen": "taken by the kernel", "queue": "sent to a queue"}
_LOST = {"prerouting": "lost in routing, after prerouting", "output": "lost in routing, after output"}
_MAYBE = {"prerouting": ": no route, rp_filter, or forwarding is off"}  # without a drop of the kernel


def verdict_of(end: End) -> str:
    """Return the end in a word: accept, drop, reject, queue, stolen, lost."""
    rule = end.step.rule if end.step else None
    refuses = rule is not None and rule.verdict.lower() in ("reject", "tarpit")
    return "reject" if end.verdict == "drop" and refuses else end.verdict


def certainty(journey: Journey) -> str:
    """Return `certain` if every record of the way came."""
    if not journey.whole:
        return "incomplete: trace records were lost"
    return "certain" if journey.end is not None and journey.end.verdict != "lost" else "no final verdict was seen"


def where(journey: Journey) -> str:
    """Return where and how the packet ended, in one line that names the rule."""
    end = journey.end
    if end is None:
        return ""
    if end.step is not None:
        return f"{_DONE.get(verdict_of(end), end.verdict)} by {_decided(end.step)}{_translation(journey)}"
    if end.verdict == "accept":
        place = f"out of {end.oif}" if end.oif else "for this host"
        return f"accepted, {place}{_translation(journey)}{_reason(journey, '; then dropped: ')}"
    if journey.family == "bridge" and journey.hook in _LOST:
        return f"lost in the bridge, after {journey.hook}{_reason(journey, ': ')}"
    lost = _LOST.get(journey.hook, f"no final verdict seen, in {journey.hook}")
    unseen = _MAYBE.get(journey.hook, "" if journey.hook in _LOST else f": {_UNSEEN}")
    return lost + (_reason(journey, ": ") or unseen)


_UNSEEN = "a chain of iptables-legacy, a queue or the kernel took it"


def _reason(journey: Journey, before: str) -> str:
    """Return `: drop reason IP_RPFILTER (likely), in ip_rcv_finish_core`; "" without a drop of the kernel."""
    if journey.drop is None:
        return ""
    record = journey.drop.record
    place = f", in {record.function}" if record.function else ""
    return f"{before}drop reason {record.reason} ({journey.drop.certainty}){place}"


def _decided(step: Step) -> str:
    """Return `ip filter L3 rule 1 (handle 8) "…", by INPUT 1 → L1 1`, or `the policy of inet fw forward`."""
    record = step.record
    path = f"{record.family} {record.table} {record.chain}"
    if record.type == "policy":
        return f"the policy of {path}"
    rule = step.rule
    number = f"rule {step.number or '?'}" + (f" (handle {record.handle})" if record.handle is not None else "")
    text = f' "{rule_text(rule)}"' if rule else ""
    return f"{path} {number}{text}"


def _translation(journey: Journey) -> str:
    """Return `, after NAT: dst → 10.9.0.4:8443` if its addresses or ports were changed."""
    changes = ", ".join(translated(journey.head, journey.last))
    return f", after NAT: {changes}" if changes else ""


def translated(before: PacketHead, after: PacketHead) -> Iterator[str]:
    """Yield what NAT changed: `src → 10.0.0.1:49152`, `dst → 10.9.0.4:8443`."""
    if after.src is not None and after.source != before.source:
        yield f"src → {after.source}"
    if after.dst is not None and after.destination != before.destination:
        yield f"dst → {after.destination}"


def exchange(journey: Journey) -> str:
    """Return `[SYN, ACK] back after 3.1 ms: #2`, or `answers #1 after 3.1 ms`; "" without the other packet."""
    if (answer := journey.answer) is not None:
        what = answer.head.info or answer.head.proto_text
        return f"{what} back after {_ms(answer.ts_ns - journey.ts_ns)}: #{answer.number}"
    if (asked := journey.answers) is not None:
        return f"answers #{asked.number} after {_ms(journey.ts_ns - asked.ts_ns)}"
    return ""


def _ms(elapsed_ns: int) -> str:
    return f"{max(0, elapsed_ns) / 1e6:.1f} ms"


def untraced(counts: tuple[int, int] | None) -> str:
    """Return how many packets a trace left out, of those that it matched and marked; "": none, or it is not known."""
    matched, marked = counts or (0, 0)
    over = f"{plural(matched - marked, 'packet')} of {grouped(matched)} that matched were over the limit"
    return f"{over}, and not traced" if matched > marked else ""


def objects(journey: Journey, netns: str) -> Iterator[dict[str, Any]]:
    """Yield an object for each step and one for the end."""
    sure = certainty(journey)
    for at, step in enumerate(journey.steps, 1):
        record, rule, head = step.record, step.rule, step.head
        yield {
            "kind": "step",
            "netns": netns,
            "trace": journey.number,
            "ts_ns": record.ts_ns,
            "step": at,
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
            "ct_id": journey.ct_id,
            "mark": record.mark,
            "iif": step.iif,
            "oif": step.oif,
            "proto": head.proto_text,
            "src": head.src,
            "sport": head.sport,
            "dst": head.dst,
            "dport": head.dport,
            "certainty": "seen" if step.legacy is None else "joined by bytes and time",
        }
    end = journey.end
    drop = journey.drop if end is None or end.step is None else None  # a rule is the better reason
    if end is not None:
        yield {
            "kind": "end",
            "netns": netns,
            "trace": journey.number,
            "ts_ns": journey.last_ns,
            "verdict": verdict_of(end),
            "where": where(journey),
            "by": [
                {"chain": caller.record.chain, "number": caller.number, "handle": caller.record.handle}
                for caller in (end.step.callers if end.step else ())
            ],
            "hooks": journey.hooks,
            "iif": journey.iif,
            "oif": end.oif,
            "nat": list(translated(journey.head, journey.last)),
            "answers": journey.answers and journey.answers.number,
            "answer_ns": journey.answers and journey.ts_ns - journey.answers.ts_ns,
            "drop_reason": drop and drop.record.reason,
            "drop_function": drop and (drop.record.function or None),
            "drop_certainty": drop and drop.certainty,
            "certainty": sure,
        }


def lines(journey: Journey, time: str) -> Iterator[str]:
    """Yield the packet, each step, and the end. The caller makes them safe for a terminal."""
    head = journey.head
    came = journey.iif or f"this host, to {journey.oif}"
    size = "" if head.length is None else f"  {head.length} B"
    info = f" {head.info}" if head.info else ""
    yield f"{time} #{journey.number} from {came}  {head.proto_text} {head.source} → {head.destination}{info}{size}"
    hook = ""
    for step in journey.steps:
        record, rule = step.record, step.rule
        name = "" if step.hook == hook else step.hook
        hook = step.hook
        place = f"{record.family} {record.table}" if not step.callers else ""
        chain = "  " * len(step.callers) + record.chain
        number = "policy" if record.type == "policy" else str(step.number or "?")
        verdict = f"{record.verdict} {record.target}".strip()
        text = rule_text(rule) if rule else ""
        yield f"  {name:<11} {place:<12} {chain:<20} {number:>6}  {verdict:<18} {text}".rstrip()
    if journey.end is not None:
        yield f"  {verdict_of(journey.end).upper():<11} {ending(journey)}"
        if (sure := certainty(journey)) != "certain":
            yield f"  {'':<11} {sure}"
        if linked := exchange(journey):
            yield f"  {'':<11} {linked}"


def ending(journey: Journey) -> str:
    """Return where and how the packet ended, and the rules that led it there."""
    callers = journey.end.step.callers if journey.end and journey.end.step else ()
    by = " → ".join(f"{caller.record.chain} {caller.number or '?'}" for caller in callers)
    return f"{where(journey)}{f', by {by}' if by else ''}"
