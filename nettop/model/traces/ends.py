"""The end of a journey in words: the verdict, where it was reached, how certain it is, and the packet that answers."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.model.counters.drops import drop_meaning
from nettop.model.ruleset.picture import LEGACY, NFT
from nettop.model.ruleset.words import rule_text
from nettop.model.traces.drops import BY_RULES
from nettop.model.traces.headers import PacketHead
from nettop.model.traces.journey import Journey, JourneyEnd, Step

DIGITS = 2  # of the times of packets: the kernel gives none, they are those when the records were read
_REFUSALS, _NAT = ("reject", "tarpit"), ("dnat", "snat", "masquerade", "redirect", "netmap")  # verdicts of rules
_DONE = {"drop": "dropped", "reject": "rejected", "stolen": "taken over", "queue": "sent to a queue"}
_LOST = {"prerouting": "lost in routing, after prerouting", "output": "lost in routing, after output"}
_READ_MS = 20  # records are read up to so long after the kernel made them
_MAYBE = {"prerouting": ": no route, rp_filter, or forwarding is off"}  # without a drop of the kernel


def verdict_of(end: JourneyEnd) -> str:
    """Return the end in a word: accept, drop, reject, queue, stolen, lost."""
    return "reject" if end.verdict == "drop" and end.step and verdict_word(end.step) == "reject" else end.verdict


def verdict_word(step: Step) -> str:
    """Return the verdict of a step; `reject` and `dnat` where the kernel reports drop and accept."""
    word, said = step.rule.verdict.lower() if step.rule else "", step.record.verdict
    if said == "drop" and word in _REFUSALS:
        return "reject"
    return word if said == "accept" and word in _NAT else said


def origin(journey: Journey) -> str:
    """Return where a packet came from: a device, or `this host, to eth0`."""
    return journey.iif or (f"this host, to {journey.oif}" if journey.oif else "this host")


def certainty(journey: Journey) -> str:
    """Return `certain` if every record of the way came with the id of this packet; else the reason for doubt."""
    if not journey.whole:
        return "incomplete: trace records are missing"
    if (end := journey.shown_end) is None or end.verdict == "lost":
        return "no final verdict was seen"
    if journey.part_of is not None:
        return "likely: fragments are joined by address and id"
    if journey.unseen:
        return f"incomplete: the log of {LEGACY} was not read, its steps in {', '.join(journey.unseen)} are missing"
    if journey.reworded:
        return f"possible: the rules of {LEGACY} changed at that time, its steps may be those of other rules"
    if any(step.legacy is not None for step in journey.steps):
        return f"likely: the steps of {LEGACY} are joined by bytes and time"
    return "likely: its legs are joined by bytes and time" if journey.joined else "certain"


def where(journey: Journey) -> str:
    """Return where and how the packet ended, in one line that names the rule."""
    return _with_verdict(journey, place(journey))


def _with_verdict(journey: Journey, place: str) -> str:
    end = journey.shown_end
    if end is not None and end.step is not None:
        return f"{_DONE[verdict_of(end)]} by {place}"
    return f"{'accepted, ' if journey.verdict == 'accept' else ''}{place}"


def place(journey: Journey, callers: str = "") -> str:
    """Return the same without the verdict: `inet fw ▸ blocked rule 1 “ip daddr @bad drop”`, `out of eth1`."""
    end = journey.shown_end
    if end is None:
        return f"on its way, last seen in {journey.hook}"
    if end.step is not None:
        queued = _reason(journey, "; then dropped: ") if end.verdict == "queue" else ""
        return f"{_decided(end.step)}{callers}{_translation(journey)}{queued}"
    if journey.part_of is not None:
        return f"reassembled into #{journey.part_of.number}"
    if end.verdict == "accept":
        to = f"out of {end.oif}" if end.oif else "for this host"
        return f"{to}{_translation(journey)}{_reason(journey, '; then dropped: ')}"
    return _lost(journey) + _reason(journey, ": ")


def _lost(journey: Journey) -> str:
    """Return where a packet was last seen, and what may have dropped it, without the drop of the kernel."""
    hook, drop = journey.hook, journey.drop
    if drop is None and not journey.whole:
        return f"last seen in {hook}: its later records are missing"
    unseen = f"dropped by a rule that was not seen ({LEGACY} at {hook})"
    if drop is not None and drop.record.reason == BY_RULES:
        return unseen if hook in journey.unseen else f"dropped by a rule that was not seen, in {hook}"
    if journey.family == "bridge" and hook in _LOST:
        return f"lost in the bridge, after {hook}"
    if drop is not None:
        return _LOST.get(hook, f"last seen in {hook}")
    place = f"{_LOST[hook]}{_MAYBE.get(hook, '')}" if hook in _LOST else "taken by a queue or the kernel"
    if hook in journey.unseen:
        place = f"{unseen}, or {place}"
    elif hook not in _LOST:
        place = f"{place}, in {hook}"
    waits = "" if journey.head.fragment is None else ", or it waits for the other fragments"
    return f"{place}{waits}{'; drop reasons were lost' if journey.drops_lost else ''}"


def _reason(journey: Journey, before: str) -> str:
    """Return `: drop reason IP_RPFILTER (likely), in ip_rcv_finish_core`; "" without a drop of the kernel."""
    if journey.drop is None:
        return ""
    record = journey.drop.record
    place = f", in {record.function}" if record.function else ""
    return f"{before}drop reason {record.reason} ({journey.drop.certainty}){place}"


def why_dropped(journey: Journey) -> str:
    """Return `IP_RPFILTER: the route back leads through another device (rp_filter)`; "": no drop of the kernel."""
    end = journey.end
    if journey.drop is None or end is None or (end.step is not None and end.verdict != "queue"):
        return ""
    record = journey.drop.record
    meaning = drop_meaning(record.reason, record.function)
    return f"{record.reason}: {meaning}" if meaning else ""


def backend(step: Step) -> str | None:
    """Return the tool that a step's chain is of; None: it is not known (yet)."""
    return LEGACY if step.legacy is not None else step.chain.backend if step.chain else None


def table_name(step: Step) -> str:
    """Return the table of a step: `inet fw`, `iptables-legacy ip filter`."""
    tool, record = backend(step), step.record
    return f"{'' if tool in (None, NFT) else f'{tool} '}{record.family} {record.table}"


def tie(step: Step) -> str:
    """Return ` ?` behind a chain whose place among others of its priority is not known."""
    return " ?" if step.tied else ""


def _decided(step: Step) -> str:
    """Return `ip filter ▸ L1 ▸ L3 rule 1 “…” (handle 8, iptables-nft)`, or `inet fw forward policy`: a rule's chain
    with those that led there from the base chain.
    """
    record, rule, tool = step.record, step.rule, backend(step)
    chains = [*(caller.record.chain for caller in step.callers[1:]), record.chain]
    path = f"{record.family} {record.table} {'▸ ' if step.callers else ''}{' ▸ '.join(chains)}"
    numbered = step.number is not None or record.handle is None
    number = f"rule {step.number or '?'}" if numbered else f"handle {record.handle}"
    notes = [f"handle {record.handle}"] if numbered and record.handle is not None else []
    notes += [tool] if tool not in (None, NFT) else []
    words = f" “{rule_text(rule)}”" if rule and record.type != "policy" else ""  # they have plain quotes
    note = f" ({', '.join(notes)})" if notes else ""
    return f"{path} {'policy' if record.type == 'policy' else number}{words}{note}"


def step_text(step: Step) -> str:
    """Return `forward  inet fw lan 3  → jump blocked`, or with `policy` and its verdict: a step in one line."""
    record = step.record
    number = "policy" if record.type == "policy" else step.number or "?"
    verdict = f"{record.verdict} {record.target}".strip()
    words = rule_text(step.rule) if step.rule else verdict
    return f"{step.hook}  {table_name(step)} {record.chain} {number}  {words}"


def _translation(journey: Journey) -> str:
    """Return `, NAT dst → 10.9.0.4:8443` if its addresses or ports were changed."""
    changes = ", ".join(translated(journey.head, journey.last))
    return f", NAT {changes}" if changes else ""


def translated(before: PacketHead, after: PacketHead) -> Iterator[str]:
    """Yield what NAT changed: `src → 10.0.0.1:49152`, `dst → 10.9.0.4:8443`."""
    if after.src is not None and after.source != before.source:
        yield f"src → {after.source}"
    if after.dst is not None and after.destination != before.destination:
        yield f"dst → {after.destination}"


def exchange(journey: Journey) -> str:
    """Return `[SYN, ACK] back after ≈ 57 ms: #2`, `answers #1 within 20 ms` or `copy of #1`; "": it is alone."""
    if journey.copy_of is not None:
        return f"another copy of #{journey.copy_of.number}"
    if (answer := journey.answer) is not None:
        what = answer.head.info or answer.head.proto_text
        return f"{what} back {_elapsed(answer.ts_ns - journey.ts_ns)}: #{answer.number}"
    if (asked := journey.answers) is not None:
        return f"answers #{asked.number} {_elapsed(journey.ts_ns - asked.ts_ns)}"
    return ""


def _elapsed(elapsed_ns: int) -> str:
    """Return the time between two packets. The kernel gives none: theirs are those when they were read."""
    return f"within {_READ_MS} ms" if elapsed_ns < _READ_MS * 1_000_000 else f"after ≈ {elapsed_ns / 1e6:.0f} ms"


def ending(journey: Journey) -> str:
    """Return where and how the packet ended, and the rules that led it there."""
    callers = end.step.callers if (end := journey.shown_end) and end.step else ()
    by = " → ".join(f"{caller.record.chain} {caller.number or '?'}" for caller in callers)
    return _with_verdict(journey, place(journey, f", reached by {by}" if by else ""))
