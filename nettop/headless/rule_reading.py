"""Reading the rules of a live namespace until they are known."""

from __future__ import annotations

import time
from dataclasses import replace

from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.sources.nft_sets import VerdictMapDump

SETTLE_S, _QUIET_S = 6.0, 0.3
# One listing is wanted now, whatever share of a core it takes.
RULE_FEEDS = (
    replace(feeds.NFT_EVENTS, rest_s=0.0),
    replace(feeds.NFT, share=None),
    *(replace(feed, share=None) for feed in feeds.RULE_TEXTS),
)

SETS = replace(feeds.NFT_SETS, source=VerdictMapDump, every_s=None, share=None)  # without the elements of other sets


class Settled:
    """A predicate of the models, true once the ruleset is known: all of it if it is quiet, else one state of it.

    Under continuous changes it is true after SETTLE_S, once everything was read.
    """

    def __init__(self) -> None:
        self._until = time.monotonic() + SETTLE_S
        self._quiet_since: float | None = None

    def __call__(self, engine: Engine) -> bool:
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
