"""The rules of the namespaces of the map, read one after the other by sources of their own."""

from __future__ import annotations

import time

from nettop.batch import item_time
from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest
from nettop.decode.nftables.decoder import NftDecoder
from nettop.headless.rule_reading import RULE_FEEDS, Settled
from nettop.headless.streaming import WAIT_S
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.texts import LEGACY_FAMILY
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.intake import Intake
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.set_pages import kernel_dump


def ruleset_of(broker: Broker, netns: Netns) -> Ruleset:
    """Return the rules of a namespace. BrokerError: they cannot be read there."""
    plumbing, intake = Plumbing(), Intake(netns.label)
    if not _has_rules(broker, netns):
        return intake.ruleset
    live = LiveSources(broker, netns, plumbing)
    try:
        live.watch(*RULE_FEEDS)
        settled = Settled()
        while not settled(intake) and plumbing.alive():
            items = plumbing.handoff.get(WAIT_S)[1]
            if not items:
                broker.netns(netns.label)  # raises once the namespace is gone: no more will come
            for item in items:
                intake.apply(item, item_time(item) or time.time_ns())
    finally:
        live.close()
        plumbing.close()
    return intake.ruleset


def _has_rules(broker: Broker, netns: Netns) -> bool:
    """Return whether a namespace has a table: reading the rules of one that has none takes as long."""
    with kernel_dump(broker, netns, ReadRequest.NFT_TABLES) as dump:
        tables = sum(len(NftDecoder()(batch).tables) for batch in dump.batches())
    return bool(tables) or any(broker.text(netns, kind) for kind in LEGACY_FAMILY)
