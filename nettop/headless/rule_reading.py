"""Reading the rules of a live namespace until they are known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from nettop.broker.client import Broker
from nettop.headless.streaming import sources_of
from nettop.kinds import NATIVE
from nettop.pipeline import feeds
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from nettop.sources.nft_sets import VerdictMapDump

if TYPE_CHECKING:
    from nettop.pipeline.intake import Intake

SETTLE_S, _QUIET_S = 6.0, 0.3
# One listing is wanted now, at any CPU cost.
LISTING = replace(feeds.NFT_LISTING, share=None)
_OTHERS = (
    replace(feeds.NFT_EVENTS, rest_s=0.0),
    replace(feeds.NFT, every_s=SETTLE_S, share=None),
    replace(feeds.SAVES, share=None),
)
RULE_FEEDS = (*_OTHERS, LISTING)
_NATIVE_LISTING = replace(LISTING, part=NATIVE)  # the words of all other rules are those of iptables and its kin

VERDICT_MAPS = replace(feeds.NFT_SETS, source=VerdictMapDump)  # without the elements of other sets
SETS = replace(VERDICT_MAPS, every_s=None, share=None)


@contextmanager
def watched(broker: Broker, netns_spec: str) -> Iterator[tuple[LiveSources, Plumbing]]:
    """Yield the sources of a namespace, which read its rules and sets, and the plumbing that has their items."""
    plumbing = Plumbing()
    with sources_of(broker, netns_spec, plumbing) as live:
        live.watch(*_OTHERS, _NATIVE_LISTING, SETS)
        yield live, plumbing


class Settled:
    """A predicate of the models, true once the ruleset is known: all of it if it is quiet, else one state of it.

    Under continuous changes it is true after SETTLE_S, once everything was read.
    """

    def __init__(self) -> None:
        self._until = time.monotonic() + SETTLE_S
        self._quiet_since: float | None = None

    def __call__(self, engine: Intake) -> bool:
        """Return whether what is known is enough."""
        ruleset = engine.ruleset
        now = time.monotonic()
        if ruleset.is_whole:
            return True
        if not ruleset.is_settled:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        # The event of a change may come after the dump that has it: rules without words may get them yet.
        quiet = self._quiet_since is not None and now - self._quiet_since > _QUIET_S
        return quiet or (ruleset.is_read and now > self._until)
