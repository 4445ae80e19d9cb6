"""The rules of the namespaces of the map, read once each: the kernel's dumps, and words where they are needed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from nettop.batch import End, Item
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.headless.load import fill
from nettop.headless.rule_reading import SETS
from nettop.kinds import TextKind
from nettop.model.ruleset.picture import IPTABLES_NFT, Picture
from nettop.model.ruleset.ruleset import Ruleset
from nettop.pipeline import feeds
from nettop.pipeline.feed import Feed
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.intake import Intake
from nettop.pipeline.live_sources import LiveSources

_SAVES = {"ip": TextKind.IPTABLES_SAVE, "ip6": TextKind.IP6TABLES_SAVE}
_LEGACY = Feed("legacy", texts=(TextKind.IPTABLES_LEGACY_SAVE, TextKind.IP6TABLES_LEGACY_SAVE), models=("rulesets",))
_DUMPS = replace(feeds.NFT, rounds=feeds.NFT.rounds[:3])  # tables, chains, rules


def ruleset_of(
    broker: Broker, netns: Netns, wants: Callable[[Ruleset], Collection[TextKind]] = lambda ruleset: ()
) -> Ruleset:
    """Return the rules of a namespace, with the words that `wants` returns. BrokerError: they cannot be read there."""
    intake = Intake(netns.label)
    _read(broker, netns, intake, _DUMPS, _LEGACY)
    if any("vmap" in rule.verdicts for rule in intake.ruleset.raw.rules):
        _read(broker, netns, intake, SETS)
    if words := wants(intake.ruleset):
        _read(broker, netns, intake, replace(feeds.NFT_LISTING, texts=tuple(words)))
        if any(intake.ruleset.texts.errors.values()):
            broker.devices(netns)  # raises if the namespace is gone; a tool that is missing is no such error
    return intake.ruleset


def missing_words(picture: Picture) -> set[TextKind]:
    """Return the texts with the words of rules for IP packets that have none yet."""
    owned = [
        (rule.backend == IPTABLES_NFT, picture.chains[rule.chain].family) for rule in picture.rules if not rule.text
    ]
    return {_SAVES[of] if iptables else TextKind.NFT_RULESET for iptables, of in owned if of in (*_SAVES, "inet")}


def _read(broker: Broker, netns: Netns, intake: Intake, *wanted: Feed) -> None:
    plumbing, left = Plumbing(), len(wanted)

    def ended(_: Intake, item: Item | None) -> bool:
        nonlocal left
        left -= isinstance(item, End)
        return not left

    live = LiveSources(broker, netns, plumbing)
    try:
        live.watch(*wanted, once=True)
        fill(intake, plumbing, ended)
    finally:
        live.close()
        plumbing.close()
    failed = [*(end.error for end in intake.failures), *(reason for _, reason in intake.ruleset.texts.legacy_errors())]
    if failed:
        raise BrokerError(failed[0])
