"""A traced packet's journey: its steps, its end, and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from nettop.decode.nftables.trace import TraceRecord
from nettop.model.ruleset.merge import ChainView, RuleView
from nettop.model.traces.drops import Drop
from nettop.model.traces.headers import PacketHead
from nettop.model.traces.legacy import position


@dataclass(slots=True)
class Step:
    """One record: a rule that matched, or the policy of a base chain."""

    record: TraceRecord
    hook: str
    callers: tuple[Step, ...]  # the rules that jumped here, the base chain's first
    head: PacketHead
    iif: str | None
    oif: str | None
    found: tuple[ChainView, RuleView] | None = None
    legacy: int | None = None  # of iptables-legacy: the priority of its table

    @property
    def rule(self) -> RuleView | None:
        """The rule, as the ruleset has it."""
        return self.found[1] if self.found else None

    @property
    def number(self) -> int | None:
        """The number of the rule in its chain."""
        return self.found[1].number if self.found else self.record.number


@dataclass(frozen=True, slots=True)
class End:
    """The end of a journey: drop, reject, accept, stolen, queue, or "lost" if no final verdict was seen."""

    verdict: str
    step: Step | None = None  # that decided
    oif: str | None = None  # of an accepted packet that leaves


@dataclass(slots=True, eq=False)
class Journey:
    """One traced packet. `hook` is where it was last seen, `device` the one that it last came from."""

    number: int
    netns: int
    table: str  # that marked it
    ts_ns: int
    hook: str
    head: PacketHead  # as it was marked
    last: PacketHead  # as it was last seen
    iif: str | None
    oif: str | None = None
    steps: list[Step] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)  # it went through
    end: End | None = None
    whole: bool = True  # False: records were lost while it was on its way
    ct_id: int | None = None
    mark: int | None = None  # when it was marked for tracing; None: 0
    last_ns: int = 0
    key: tuple[object, ...] = ()  # of its bytes
    refused_by: Step | None = None  # a rule of iptables-legacy in the hook where it was last seen
    device: str | None = None
    family: str = "inet"  # of the table that marked it last
    answers: Journey | None = None  # the packet of the other direction that this one answers
    answer: Journey | None = None  # the first one that answers this
    drop: Drop | None = None  # by the kernel, after its last step
    _stack: list[tuple[str, tuple[Step, ...]]] = field(default_factory=list)  # chains, and the rules to each

    @property
    def verdict(self) -> str:
        """The verdict that ended it; "lost": none was seen (yet)."""
        return self.end.verdict if self.end else "lost"

    def enter(self, chain: str) -> tuple[Step, ...]:
        """Enter the chain of a record; return the rules that led there, the base chain's first."""
        while self._stack and self._stack[-1][0] != chain:
            self._stack.pop()
        if not self._stack:
            self._stack.append((chain, ()))
        return self._stack[-1][1]

    def enter_legacy(self, hook: str, table: str, chain: str) -> tuple[Step, ...]:
        """Return the rules of iptables-legacy that led to a chain of a table, the base chain's first."""
        callers: tuple[Step, ...] = ()
        for step in self.steps:
            if step.legacy is not None and (step.hook, step.record.table) == (hook, table):
                if step.record.chain == chain:
                    callers = step.callers
                if step.record.target == chain:
                    callers = (*step.callers, step)
        return callers

    def insert(self, step: Step) -> None:
        """Insert a step of iptables-legacy behind those that the packet met before."""
        places = [self._place(one) for one in self.steps]
        self.steps.insert(position(places, self._place(step)), step)

    def _place(self, step: Step) -> tuple[int, int]:
        """Return the number of the step's hook, and the priority of its base chain."""
        found = (step.callers[0] if step.callers else step).found
        priority = (found[0].priority or 0) if step.legacy is None and found else step.legacy or 0
        return self.hooks.index(step.hook) if step.hook in self.hooks else 0, priority

    def jump(self, step: Step) -> None:
        """Go on in the chain that a step leads to, if it does."""
        record = step.record
        if record.verdict == "goto":  # it does not come back
            self._stack.pop()
        if record.verdict in ("jump", "goto"):
            self._stack.append((record.target, (*step.callers, step)))

    def begin_walk(self) -> None:
        """Leave all chains: a base chain begins."""
        self._stack.clear()
