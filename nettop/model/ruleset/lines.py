"""Tables, chains, rules and objects as lines of JSON, with the sets and elements of set_lines.py.

Rules are by far the most lines. Theirs are made from a text of their chain, at a third of the cost of json.dumps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from nettop.decode.nftables.listing import with_counters
from nettop.decode.nftables.objects import NftObject
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.order import PROVEN, UNKNOWN, ties
from nettop.model.ruleset.picture import IPTABLES_NFT, LEGACY, NFT, ChainView
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import Selection
from nettop.model.ruleset.set_lines import Row, element_rows, ipset_element_rows, ipset_row, set_row
from nettop.model.ruleset.sets.contents import SetContents, sets_of

Numbers = tuple[int | None, int | None]


_TIES = {UNKNOWN: "unknown", PROVEN: "proven"}  # the order among chains that run at the same place
_encoded = json.JSONEncoder().encode
_word = lru_cache(1024)(_encoded)  # of values that repeat


def json_lines(ruleset: Ruleset, netns: str, shown: Selection, contents: SetContents) -> Iterator[str]:
    """Yield tables, objects, sets with their elements; then each chain, in traversal order, with rules and policy."""
    yield from map(_encoded, parts(ruleset, netns, shown, contents))
    picture, counts = ruleset.picture, ruleset.counts
    tied = ties(picture)
    for index in shown.chains:
        chain = picture.chains[index]
        where = _where(chain, netns)
        policy = picture.policy_cell(index)
        yield _encoded({"kind": "chain", **where, **_chain(chain, tied.get(index), numbers(counts, policy))})
        yield from _rules(ruleset, chain, where, shown)
        if chain.policy is not None and shown.cells[policy]:
            yield _encoded({"kind": "rule", **where, **_policy(chain, numbers(counts, policy)), "stale": False})


def parts(ruleset: Ruleset, netns: str, shown: Selection, contents: SetContents) -> Iterator[Row]:
    """Yield tables, flowtables, objects, and sets with their elements."""
    yield from _tables(ruleset, netns, shown)
    for flowtable in shown.flowtables:
        yield {"kind": "flowtable", "netns": netns, **asdict(flowtable), "backend": NFT}
    for one in shown.objects:
        yield {"kind": "object", "netns": netns, **object_row(one)}
    for found in shown.sets:
        yield {"kind": "set", "netns": netns, **set_row(found)}
        yield from element_rows(found, contents.elements.get(found.id), netns)
    for ipset in shown.ipsets:
        yield {"kind": "set", "netns": netns, **ipset_row(ipset)}
        yield from ipset_element_rows(ipset, contents, netns)


def numbers(counts: Counts, cell: int) -> Numbers:
    """Return the packets and bytes of a rule or policy; None: it has no counter."""
    if not counts.have[cell]:
        return None, None
    return int(counts.packets[cell]), int(counts.bytes[cell])


def _tables(ruleset: Ruleset, netns: str, shown: Selection) -> Iterator[Row]:
    known = {(one.family, one.name): one for one in ruleset.raw.tables}
    by_iptables = ruleset.picture.tables_of_iptables()
    for key in shown.tables:
        backend, family, name = key
        table = known.get((family, name)) if backend != LEGACY else None
        flags, comment = (list(table.flags), table.comment) if table else ([], None)
        named = {"family": family, "table": name, "handle": table and table.handle, "flags": flags}
        yield {
            "kind": "table",
            "netns": netns,
            **named,
            "owner": table and table.owner,
            "comment": comment,
            "backend": IPTABLES_NFT if key in by_iptables else backend,
        }


def object_row(one: NftObject) -> Row:
    """Return the keys of a stateful object; those that its type does not have are None."""
    own = {name: getattr(one, name) for name in ("packets", "bytes", "quota", "used", "rate", "unit", "burst")}
    limited = {"limit_type": one.limit_type, "over": one.inverted if one.type in ("quota", "limit") else None}
    named = {"family": one.family, "table": one.table, "name": one.name, "type": one.type, "handle": one.handle}
    more = {"helper": one.helper, "comment": one.comment, "references": one.use, **dict(one.properties)}
    return {**named, **own, **limited, **more}


def _where(chain: ChainView, netns: str) -> Row:
    return {
        "netns": netns,
        "family": chain.family,
        "table": chain.table,
        "chain": chain.name,
        "hook": chain.hook,
        "priority": chain.priority,
        "priority_name": chain.priority_name,
        "device": ",".join(chain.devices) or None,
        "policy": chain.policy,
    }


def _chain(chain: ChainView, mark: str | None, policy: Numbers) -> Row:
    return {
        "type": chain.type,
        "handle": chain.handle,
        "rules": chain.count,
        "flags": list(chain.flags),
        "tie": _TIES.get(mark or ""),
        "comment": chain.comment,
        "packets": policy[0],
        "bytes": policy[1],
        "backend": chain.backend,
    }


def _rules(ruleset: Ruleset, chain: ChainView, where: Row, shown: Selection) -> Iterator[str]:
    """Yield the lines of a chain's rules. Their keys are those of its policy."""
    picture, counts = ruleset.picture, ruleset.counts
    head, cells = _encoded({"kind": "rule", **where})[:-1], slice(chain.first, chain.first + chain.count)
    values = (counts.have[cells].tolist(), counts.packets[cells].tolist(), counts.bytes[cells].tolist())
    for rule, is_shown, counted, packets, octets in zip(
        picture.rules_of(chain), shown.cells[cells].tolist(), *values, strict=True
    ):
        if not is_shown:
            continue
        text = rule.text
        if text is not None and counted and rule.backend == NFT:
            text = with_counters(text, packets, octets)
        jumps = [picture.chains[target].name for target in picture.targets(rule)] if rule.targets else []
        yield (
            f'{head}, "number": {rule.number}, "handle": {_or_null(rule.handle)}, "text": {_text(text)}, '
            f'"verdict": {_word(rule.verdict.lower() or None)}, "jumps": {_encoded(jumps) if jumps else "[]"}, '
            f'"sets": {_word(sets_of(rule.raw, rule.text))}, "comment": {_text(rule.comment)}, '
            f'"packets": {_or_null(packets if counted else None)}, "bytes": {_or_null(octets if counted else None)}, '
            f'"backend": {_word(rule.backend)}, "stale": {_word(ruleset.is_stale(rule))}}}'
        )


def _text(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


def _or_null(number: int | None) -> str:
    return "null" if number is None else str(number)


def _policy(chain: ChainView, counted: Numbers) -> Row:
    return {
        "number": None,
        "handle": None,
        "text": f"policy {chain.policy}",
        "verdict": chain.policy,
        "jumps": [],
        "sets": [],
        "comment": None,
        "packets": counted[0],
        "bytes": counted[1],
        "backend": chain.backend,
    }
