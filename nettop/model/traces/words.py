"""The words of a journey's steps: the rules of the ruleset, their elements, and their order among other chains."""

from __future__ import annotations

from collections.abc import Callable

from nettop.decode.nftables.trace import TraceRecord
from nettop.model.ruleset.picture import ChainView, RuleView
from nettop.model.ruleset.rule_versions import differ
from nettop.model.traces.elements import FindBranches, element_met
from nettop.model.traces.journey import Journey
from nettop.model.traces.legacy import FindChain, hooks_unseen
from nettop.model.traces.order import put_in_order

# The rule with this handle at this time, which had this verdict, and its chain; None: not known (yet).
FindRule = Callable[[str, str, int | None, int, str], tuple[ChainView, RuleView] | None]


class StepWords:
    """Finds the rules and chains of steps.

    `has_legacy` returns whether iptables-legacy has tables, `is_stale` whether a rule may have other words by now.
    """

    def __init__(
        self,
        find_rule: FindRule,
        find_chain: FindChain,
        find_branches: FindBranches,
        has_legacy: Callable[[], bool],
        is_stale: Callable[[RuleView], bool],
    ) -> None:
        self._find_rule, self._find_chain, self._is_stale = find_rule, find_chain, is_stale
        self._find_branches, self._has_legacy = find_branches, has_legacy

    def find(self, record: TraceRecord) -> tuple[ChainView, RuleView] | None:
        """Return the rule of a record, and its chain; None: not known (yet)."""
        return self._find_rule(record.family, record.table, record.handle, record.ts_ns, record.verdict)

    def order(self, journey: Journey) -> None:
        """Put the steps of a journey in order, as far as its chains are known."""
        for step in journey.steps:
            if step.chain is None and step.found:
                step.chain = step.found[0]
            elif step.chain is None:
                record = step.record
                step.chain = self._find_chain(record.family, record.table, record.chain, step.legacy is not None)
        put_in_order(journey)
        journey.unseen = tuple(hooks_unseen(journey, self._find_chain)) if self._has_legacy() else ()

    def are_known(self, journey: Journey) -> bool:
        """Return whether all rules of a journey have their words, after looking for them."""
        self.order(journey)
        rules = [step for step in journey.steps if step.record.handle is not None]
        for step in rules:
            if (found := self.find(step.record)) and (step.rule is None or differ(step.rule, found[1])):
                step.found = found
            if step.element is None and step.rule is not None and step.rule.verdict == "vmap":
                step.element = element_met(step, self._find_branches(step.rule.raw)) or None
        return all(step.rule and step.rule.text is not None and not self._is_stale(step.rule) for step in rules)
