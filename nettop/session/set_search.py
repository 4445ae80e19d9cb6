"""The sets that hold what is searched in the rules: their elements are read from the kernel for each search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError, UsageError
from nettop.model.ruleset.find import asked_text
from nettop.model.ruleset.membership import Question, holding, ipset_holds, question
from nettop.model.ruleset.sets import SetContents, SetsUsed
from nettop.pipeline.set_pages import ipset_elements, nft_sets, set_elements

Searched = Callable[[SetContents, Sequence[str]], None]  # elements that hold it; sets that were not searched
_MOST = 200_000  # elements read of one set, which takes about a second


def asked_of(text: str) -> Question | None:
    """Return what to look for in sets; None: a text that is no address, network or port."""
    try:
        return question(asked_text(text))
    except UsageError:
        return None


def search_sets(broker: Broker, netns: Netns, asked: Question, used: SetsUsed) -> tuple[SetContents, tuple[str, ...]]:
    """Return the elements that hold what is asked, of the sets that rules use, and the sets that were not read."""
    found, missing = SetContents(), []
    try:
        listed = [one for one in nft_sets(broker, netns) if one.id in used.sets] if used.sets else []
    except BrokerError:
        return found, used.names
    for one in listed:
        try:
            elements, interrupted = set_elements(broker, netns, one, _MOST)
        except BrokerError:
            missing.append(one.name)
            continue
        if elements is not None and (rows := np.flatnonzero(holding(asked, one, elements))).size:
            found.elements[one.id] = elements.rows(rows[:1])
        elif interrupted or (elements is not None and len(elements) >= _MOST):
            missing.append(one.name)
    for name in sorted(used.ipsets):
        try:
            of = ipset_elements(broker, netns, name, _MOST)
        except BrokerError:
            missing.append(name)
            continue
        if held := ipset_holds(asked, of):
            found.of_ipsets[name] = held[:1]
        elif len(of) >= _MOST:
            missing.append(name)
    return found, tuple(missing)
