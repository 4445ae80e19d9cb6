"""A traced packet's journey: its steps, its end, and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from nettop.decode.drops import DropRecord
from nettop.decode.nftables.trace import TraceRecord
from nettop.linux.inet import BEHIND_EXTENSIONS
from nettop.model.ruleset.picture import ChainView, RuleView
from nettop.model.traces.headers import PacketHead, packet_head

IP_FAMILIES = ("inet", "ip", "ip6")
# What a recording may have beyond is left out.
MAX_STEPS = 1000
_MAX_DEPTH = 100  # callers of a chain: 16 of nf_tables; of iptables-legacy as many as there are chains


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
    chain: ChainView | None = None  # None: not known (yet)
    at: int = 0  # index in Journey.hooks
    joined: bool = False  # to its packet by bytes and time
    element: str | None = None  # of the verdict map that led on: `22 in @ways`; None: not known (yet)
    tied: bool = False  # its place among the steps of other chains of its priority is not known

    @property
    def rule(self) -> RuleView | None:
        """The rule, as the ruleset has it."""
        return self.found[1] if self.found else None

    @property
    def ident(self) -> int:
        """The ident of the rule, or that of the chain, negated, of a policy; 0: not known."""
        if self.rule is None:
            return -self.chain.ident if self.chain is not None and self.record.type == "policy" else 0
        return self.rule.ident

    @property
    def number(self) -> int | None:
        """The number of the rule in its chain."""
        return self.found[1].number if self.found else self.record.number


@dataclass(frozen=True, slots=True)
class JourneyEnd:
    """The end of a journey: drop, reject, accept, stolen, queue, or "lost" if no final verdict was seen."""

    verdict: str
    step: Step | None = None  # that decided
    oif: str | None = None  # of an accepted packet that leaves


class Drop(NamedTuple):
    """The drop of a packet: `certainty` is likely, or possible where it fits other packets as well."""

    record: DropRecord
    certainty: str


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
    families: list[str] = field(default_factory=list)  # of the tables that saw it there
    end: JourneyEnd | None = None
    whole: bool = True  # False: records were lost while it was on its way
    ct_id: int | None = None
    ct_state: int | None = None  # as conntrack first saw it: bits of NF_CT_STATE_BIT
    marked_by: int | None = None  # the handle of the rule that marked it
    headers: tuple[bytes, bytes] = (b"", b"")  # of the network and the transport, as it was marked
    behind: int | None = None  # the protocol behind extension headers of IPv6
    mark: int | None = None  # when it was marked for tracing; None: 0
    last_ns: int = 0
    key: tuple[object, ...] = ()  # of its bytes
    ended_by: Step | None = None  # a rule of iptables-legacy in the hook where it was last seen
    device: str | None = None
    family: str = "inet"  # of the table that marked it last
    answers: Journey | None = None  # the packet of the other direction that this one answers
    answer: Journey | None = None  # the first one that answers this
    drop: Drop | None = None  # by the kernel, after its last step
    drops_lost: bool = False  # drops were lost when it ended: its own may be one of them
    joined: bool = False  # its legs are joined by bytes and time
    reworded: bool = False  # rules of iptables-legacy may have changed when it met them
    unseen: tuple[str, ...] = ()  # hooks with tables of iptables-legacy whose steps were not seen
    part_of: Journey | None = None  # of a fragment: the packet that it was reassembled into
    copy_of: Journey | None = None  # the packet that this is another copy of
    _stack: list[tuple[str, tuple[Step, ...]]] = field(default_factory=list)  # chains, and the rules to each

    @property
    def verdict(self) -> str:
        """The verdict that ended it; "lost": none was seen (yet)."""
        return self.end.verdict if self.end else "lost"

    @property
    def shown_end(self) -> JourneyEnd | None:
        """The end; of a packet on its way, that by a rule of iptables-legacy in the hook where it was last seen."""
        by = self.ended_by
        return self.end or (JourneyEnd(by.record.verdict, by) if by is not None and by.hook == self.hook else None)

    def is_long(self) -> bool:
        """Return True if it has as many steps as are kept."""
        return len(self.steps) >= MAX_STEPS

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
                if step.record.target == chain and len(step.callers) < _MAX_DEPTH:
                    callers = (*step.callers, step)
        return callers

    def legacy_at(self, hook: str, priority: int) -> int:
        """Return the index in `hooks` of a record of iptables-legacy, not before that of the one read before."""
        last = next(((one.at, one.legacy) for one in reversed(self.steps) if one.legacy is not None), (-1, 0))
        places = [at for at, name in enumerate(self.hooks) if name == hook and self.families[at] in IP_FAMILIES]
        return next((at for at in places if (at, priority) >= last), places[-1] if places else 0)

    def arrive(self, hook: str, family: str) -> None:
        """Enter a hook of a family."""
        self.hook, self.family = hook, family
        if len(self.hooks) < MAX_STEPS:
            self.hooks.append(hook)
            self.families.append(family)

    def jump(self, step: Step) -> None:
        """Continue in the chain that a step jumps to, if it does."""
        record = step.record
        if record.verdict == "goto":  # it does not come back
            self._stack.pop()
        if record.verdict in ("jump", "goto") and len(step.callers) < _MAX_DEPTH:
            self._stack.append((record.target, (*step.callers, step)))

    def note_protocol(self, handle: int) -> None:
        """Note the protocol behind extension headers: that of the rule with this handle."""
        at = handle - (self.marked_by or 0) - 1
        if 0 <= at < len(BEHIND_EXTENSIONS):
            self.behind = BEHIND_EXTENSIONS[at]
            self.head = self.last = packet_head(*self.headers, self.behind)

    def last_step_end(self) -> JourneyEnd | None:
        """Return the end by the last step, if no record can follow that, or by a queue that did not give it back."""
        if self.shown_end is not None:
            return self.shown_end
        last = next((step for step in reversed(self.steps) if step.legacy is None), None)
        return JourneyEnd("queue", last) if last and last.record.verdict == "queue" and last.hook == self.hook else None

    def copied(self, number: int, ts_ns: int) -> Journey:
        """Return another copy of the packet, from the hook on where it is now."""
        return replace(
            self, number=number, ts_ns=ts_ns, steps=[], hooks=[*self.hooks], families=[*self.families], copy_of=self,
            answer=None, answers=None, drop=None, _stack=[],
        )  # fmt: skip

    def rename(self, before: str, after: str) -> None:
        """Give a device its name."""
        passed: list[Journey | Step] = [self, *self.steps]
        for one in passed:
            one.iif = after if one.iif == before else one.iif
            one.oif = after if one.oif == before else one.oif
        self.device = after if self.device == before else self.device
        if self.end is not None and self.end.oif == before:
            self.end = replace(self.end, oif=after)

    def begin_walk(self) -> None:
        """Leave all chains: a base chain begins."""
        self._stack.clear()
