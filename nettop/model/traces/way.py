"""A traced packet's way: a line for each hook, with the rules that it met and the chains that it did not reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nettop.kinds import TRACE_PREFIX
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.ruleset.matrix import LETTERS
from nettop.model.ruleset.order import is_dormant, path_of, runs_at, sees_same
from nettop.model.ruleset.picture import NFT, ChainView
from nettop.model.ruleset.words import verdict_role
from nettop.model.table import Line, Segment
from nettop.model.traces.ends import backend, verdict_word
from nettop.model.traces.journey import Journey, Step

_ARROW = " ━▶ "
_AFTER = {"forward": "postrouting", "output": "postrouting"}  # what a packet comes to next in any case
_ENDS = ("drop", "reject", "stolen")
_PLAIN = ("continue", "accept", "jump", "goto", "return", "")


def way_lines(journey: Journey, chains: Sequence[ChainView]) -> Iterator[Line]:
    """Yield a title and a line for each hook. `chains` are all of the ruleset."""
    missed = _not_reached(journey, chains)
    lanes = [(hook, at) for at, hook in enumerate(journey.hooks) if any(step.at == at for step in journey.steps)]
    if not lanes:
        return
    yield (("  ITS WAY", "heading"),)
    for hook, at in lanes:
        steps = [step for step in journey.steps if step.at == at]
        yield (f"  {hook:<11} ", ""), *_stations(journey, steps), *_missed("   ", missed.pop(hook, []))
    for hook, names in missed.items():
        yield (f"  {hook:<11}", ""), *_missed(" ", names)


def _stations(journey: Journey, steps: Sequence[Step]) -> Iterator[Segment]:
    end = shown.step if (shown := journey.shown_end) is not None else None
    for step in steps:
        policy = step.record.type == "policy"
        name = step.record.chain if step.callers else _label(step)
        verdict = verdict_word(step)
        yield f"{'' if step is steps[0] else _ARROW}{name} {'policy' if policy else step.number or '?'}", ""
        if verdict not in _PLAIN or step is end:
            yield f" {'✖ ' if step is end and verdict in _ENDS else ''}{verdict.upper()}", verdict_role(verdict)
    if steps[-1].hook == "prerouting" and steps[-1].at + 1 < len(journey.hooks):
        yield f"{_ARROW}routing: {_routed(journey, steps[-1].at + 1)}", "accent"


def _routed(journey: Journey, at: int) -> str:
    """Return what routing decided, before the hook at this place."""
    if journey.hooks[at] == "input":
        return "for this host"
    return f"out {journey.oif}" if journey.oif else "through this host"


def _label(step: Step) -> str:
    """Return `fw/forward` of nft; of iptables, whose chains have the names of their hooks, the table."""
    return f"{step.record.table}/{step.record.chain}" if backend(step) in (None, NFT) else step.record.table


def _missed(before: str, names: Sequence[str]) -> Iterator[Segment]:
    if names:
        yield f"{before}not reached: {', '.join(names)}", "dim"


def _not_reached(journey: Journey, chains: Sequence[ChainView]) -> dict[str, list[str]]:
    """Return the base chains behind the one that ended the packet, by hook; without those that may be before it."""
    end = shown.step if (shown := journey.shown_end) is not None else None
    own = (end.callers[0] if end.callers else end).chain if end is not None else None
    if own is None or own.hook is None or end is None or verdict_word(end) not in _ENDS:
        return {}
    met = {step.chain.ident for step in journey.steps if step.chain is not None}
    found: dict[str, list[str]] = {}
    for one in chains:
        behind = (one.hook == own.hook and _place(one) > _place(own)) or one.hook == _AFTER.get(own.hook)
        same = path_of(one) == path_of(own) and sees_same(own, one) and _sees(one, journey)
        if behind and same and one.ident not in met and not is_dormant(one) and not one.table.startswith(TRACE_PREFIX):
            found.setdefault(one.hook or "", []).append(f"{LETTERS.get(one.backend, 'N')} {one.table}/{one.name}")
    return found


def _place(chain: ChainView) -> tuple[int, int]:
    return runs_at(chain) or 0, chain.priority or 0


def _sees(chain: ChainView, journey: Journey) -> bool:
    return chain.family != {AF_INET: "ip6", AF_INET6: "ip"}.get(journey.head.family)
