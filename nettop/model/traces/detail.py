"""A traced packet in full: its end in a sentence, then its steps, each with the rule and what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nettop.decode.nftables.keys import ct_states
from nettop.model.ruleset.matrix import LETTERS, journey_through
from nettop.model.ruleset.picture import ChainView
from nettop.model.ruleset.words import rule_text, verdict_role
from nettop.model.table import JourneyDetail, Line, RulePlace, Segment
from nettop.model.traces import ends
from nettop.model.traces.cells import end_cell
from nettop.model.traces.journey import Journey, Step
from nettop.model.traces.way import way_lines
from nettop.text.units import clock, plural

_WIDEST_CHAIN = 36  # cells; a longer name is cut in its middle
_CERTAIN = "certain: the kernel reported every step"


def journey_detail(journey: Journey, chains: Sequence[ChainView] = (), alike: str = "") -> JourneyDetail:
    """Return the detail of a packet. `chains` are all of the ruleset; `alike`: how many packets ended like it."""
    lines, steps, end = [*_sentences(journey, alike)], journey.steps, journey.shown_end
    decisive = end.step if end is not None and end.step is not None else steps[-1] if steps else None
    last = None if decisive is None else place_of(decisive)
    sentences = len(lines)
    places = [last] * sentences
    lines += _step_lines(journey)
    lines += way_lines(journey, chains)
    places += [None, *map(place_of, steps)]
    count = len(lines)
    places += [None] * (count - len(places))
    return JourneyDetail(
        journey.number,
        _title(journey),
        tuple(lines),
        depths=(1,) * count,
        ranges=((0, 0),) * count,
        hexdump=(),
        places=tuple(places),
        decisive=last,
        journey=journey_through(journey.hooks),
        deciding_line=sentences + 1 + steps.index(end.step) if end is not None and end.step in steps else 0,
        sentences=sentences,
    )


def place_of(step: Step) -> RulePlace | None:
    """Return the place of a step's rule or policy; None: the rule is not known."""
    record = step.record
    if step.rule is None and record.type != "policy":
        return None
    return RulePlace(record.family, record.table, record.chain, step.rule.ident if step.rule else None)


def _title(journey: Journey) -> Line:
    head = journey.head
    size = "" if head.length is None else f"   {plural(head.length, 'byte')}"
    return (
        (f"{clock(journey.ts_ns, ends.DIGITS)} ", "number"),
        (f"#{journey.number} ", "dim"),
        (f"{head.proto_text} ", "proto"),
        (head.way, "address"),
        (f" {head.info}" if head.info else "", ""),
        (f"   from {ends.origin(journey)}{size}", "dim"),
        (_conntrack(journey), "dim"),
    )


def _conntrack(journey: Journey) -> str:
    state = "" if journey.ct_state is None else f" {ct_states(journey.ct_state)}"
    known = "" if journey.ct_id is None else f" {journey.ct_id}"
    return f"   ct{known}{state}" if known or state else ""


def _sentences(journey: Journey, alike: str) -> Iterator[Line]:
    word, role = end_cell(journey)
    sentence = ends.ending(journey)
    blank = f"  {' ' * len(word)}  "
    yield ((f"  {word}  ", role), (sentence, ""))
    if journey.shown_end is not None:
        sure = ends.certainty(journey)
        yield ((blank, ""), (_CERTAIN if sure == "certain" else sure, "dim"), (f"   {alike}" if alike else "", "dim"))
    for more in filter(None, (ends.why_dropped(journey), ends.exchange(journey))):
        yield ((blank, ""), (more, ""))


def _step_lines(journey: Journey) -> Iterator[Line]:
    """Yield a title and a line for each step, in columns that are as wide as their texts."""
    steps = journey.steps
    if not steps:
        yield (("  no rule of a chain matched it", "dim"),)
        return
    chains = list(map(_chain, steps))
    verdicts = list(map(ends.verdict_word, steps))
    wide, wider = max(map(len, chains)), max(7, *map(len, verdicts))
    yield (
        (
            f"  {'HOOK':<11} {'CHAIN':<{wide}} {'RULE':>6}  {'VERDICT':<{wider}}  CHANGES, RULE AS WRITTEN",
            "heading",
        ),
    )
    hook = ""
    for at, (step, chain, verdict) in enumerate(zip(steps, chains, verdicts, strict=True)):
        policy = step.record.type == "policy"
        number = "policy" if policy else str(step.number or "?")
        role = verdict_role(verdict)
        yield (
            (f"  {'' if step.hook == hook else step.hook:<11} ", ""),
            (f"{chain:<{wide}} ", "accent"),
            (f"{number:>6}  ", "dim" if policy else "number"),
            (f"{verdict:<{wider}}  ", role),
            *_joined(*_changes(journey, at), (rule_text(step.rule) if step.rule else step.record.target, role)),
        )
        hook = step.hook


def _joined(*parts: Segment) -> Iterator[Segment]:
    """Yield the parts that have a text, three blanks apart."""
    for at, (text, role) in enumerate(part for part in parts if part[0]):
        yield f"   {text}" if at else text, role


def _chain(step: Step) -> str:
    """Return `I ip nat PREROUTING`: the letter of the tool and the table, or below its callers the chain alone."""
    name, record = f"{step.record.chain}{ends.tie(step)}", step.record
    tool = ends.backend(step)
    indent = "  " * len(step.callers) or f"{LETTERS.get(tool, 'N') if tool else ' '} {record.family} {record.table} "
    half = max(4, (_WIDEST_CHAIN - len(indent)) // 2)
    return indent + (name if len(name) <= 2 * half else f"{name[: half - 1]}…{name[-half:]}")


def _changes(journey: Journey, at: int) -> Iterator[tuple[str, str]]:
    """Yield the element that led on, and what changed: the mark; addresses, ports, the device out of the next step."""
    steps, step = journey.steps, journey.steps[at]
    if step.element:
        yield step.element, "address"
    before = steps[at - 1].record.mark if at else journey.mark
    if step.record.mark != before:
        yield f"mark {before or 0:#x} → {step.record.mark or 0:#x}", "nat"
    following = steps[at + 1] if at + 1 < len(steps) else None
    head, oif = (following.head, following.oif) if following else (journey.last, journey.oif)
    yield from ((text, "nat") for text in ends.translated(step.head, head))
    if oif != step.oif and oif is not None:
        by = "then routing: " if step.hook == "prerouting" else ""  # the next record has what routing did in between
        yield f"{by}out {oif}", "accent"
