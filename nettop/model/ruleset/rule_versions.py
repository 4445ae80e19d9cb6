"""The rules of the kernel by handle, as they were at a time.

A handle may name another rule: `nft replace rule` keeps it, and a table that is made again counts from 1.
"""

from __future__ import annotations

from nettop.model.ruleset.picture import ChainView, Picture, RuleView

_NEAR_NS = 250_000_000  # events of commits are gathered so long: a packet may be read before the change that it met
_ENDING = frozenset(("accept", "drop", "return", "jump", "goto"))

RuleInChain = tuple[ChainView, RuleView]
_Key = tuple[str, str, int]  # family, table, handle


class RuleVersions:
    """The latest rule of each handle, and the one before it."""

    def __init__(self) -> None:
        self._latest: dict[_Key, RuleInChain] = {}
        self._before: dict[_Key, tuple[int, RuleInChain | None]] = {}  # with the time when it changed

    def update(self, picture: Picture, changed_ns: int) -> None:
        """Take the rules of a picture, which changed at this time if they differ."""
        pairs = ((picture.chains[rule.chain], rule) for rule in picture.rules)
        known, self._latest = self._latest, {(c.family, c.table, r.handle): (c, r) for c, r in pairs if r.handle}
        for key, found in self._latest.items() if known else ():
            old = known.get(key)
            changed = old is None or (old[1].text is not None and differ(old[1], found[1]))
            if changed and self._before.get(key, (0,))[0] != changed_ns:  # else its words came later
                self._before[key] = changed_ns, old
        self._before = {key: old for key, old in self._before.items() if key in self._latest}

    def find(self, key: _Key, at_ns: int, verdict: str) -> RuleInChain | None:
        """Return the rule of a handle at this time, which had this verdict; None if it is not known."""
        latest = self._latest.get(key)
        if key not in self._before:
            return latest
        changed_ns, before = self._before[key]
        if abs(at_ns - changed_ns) > _NEAR_NS:
            return latest if at_ns > changed_ns else before
        found = (latest, before) if at_ns >= changed_ns else (before, latest)
        known = [one for one in found if one is not None]
        return next((one for one in known if _may_have(one[1], verdict)), known[0] if known else None)


def differ(old: RuleView, new: RuleView) -> bool:
    """Return whether a rule, or the words that are known of it, are others."""
    return old.raw != new.raw or old.text != new.text


def _may_have(rule: RuleView, verdict: str) -> bool:
    own = _ENDING.intersection(rule.raw.verdicts if rule.raw is not None else ())
    return not own or verdict in own
