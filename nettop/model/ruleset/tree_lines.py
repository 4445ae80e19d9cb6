"""Chains, rules, sets and objects as lines of text: a tree grouped by hook, for a terminal or a ticket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nettop.decode.nftables.listing import Flowtable
from nettop.decode.nftables.objects import NftObject, NftTable
from nettop.decode.nftables.sets import NftSet
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.lines import numbers, object_row
from nettop.model.ruleset.order import IP, PROVEN, UNKNOWN, is_dormant, path_of, ties, traversal
from nettop.model.ruleset.picture import ChainView, Picture
from nettop.model.ruleset.rule_tree import RuleRow, jumpers, reached, rows_of
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import RuleQuery, Selection
from nettop.model.ruleset.set_lines import Row, element_rows, ipset_element_rows, ipset_row, set_line, set_row
from nettop.model.ruleset.sets.contents import SetContents
from nettop.model.ruleset.words import (
    FIRST_PACKET,
    NO_RULES,
    OFFLOADED,
    chain_path,
    priority_text,
    rule_text,
    table_path,
)
from nettop.text.sanitize import clean
from nettop.text.units import grouped, scaled
from nettop.text.width import cells_of

_CHAIN = "CHAIN"
_BRANCHES = 8  # elements of a verdict map that are printed below its rule
_NOT_PRINTED = {"kind", "netns", "family", "table", "name", "handle", "backend", "set", "element", "value"}


def tree(ruleset: Ruleset, query: RuleQuery, shown: Selection, contents: SetContents) -> Iterator[str]:
    """Yield the lines, which may hold any character. A chain is printed below the first rule that jumps to it."""
    picture, place = ruleset.picture, ""
    jumped = jumpers(picture)
    below = reached(picture, jumped)
    tied, marks = ties(picture), set[str]()
    if not picture.chains and not ruleset.texts.legacy_errors():
        yield f"no chains: {NO_RULES}"
    for index, rows in _trees(picture, query, shown, below):
        title = _place(picture.chains[index], index in below, index in jumped)
        if title != place:
            yield title
            place = title
        mark = tied.get(index, "")
        yield _title(picture.chains[index], mark)
        marks.add(mark)
        yield from _rule_lines(ruleset, rows)
    bare = [one for one in ruleset.tables_without_chains() if ("nft", one.family, one.name) in shown.tables]
    yield from _part("tables without chains", [table_path(table) + _comment(table) for table in bare])
    yield from _part(f"flowtables: {OFFLOADED}", map(_flowtable_line, shown.flowtables))
    yield from _part("counters, quotas and other objects", map(_object_line, shown.objects))
    yield from _part("sets and maps", _set_lines(shown, contents))
    if query.holds is not None and not (shown.sets or shown.ipsets):
        yield f"no set holds {query.holds.text}"
    if UNKNOWN in marks:
        yield f"{UNKNOWN}  another chain runs at the same place: which one is first is not known"
    if PROVEN in marks:
        yield f"{PROVEN}  another chain runs at the same place: a trace shows this order"


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if not number:
            yield title
        yield f"  {line}"


def _trees(
    picture: Picture, query: RuleQuery, shown: Selection, below: set[int]
) -> Iterator[tuple[int, list[RuleRow]]]:
    """Yield each chain that has no place below another, with the rows to print."""
    chosen = set(shown.chains)
    printed: set[int] = set()
    for index in traversal(picture):
        named = bool(query.chains) and index in chosen and index not in printed
        if picture.chains[index].hook is None and index in below and not named:
            continue
        rows = _kept(rows_of(picture, index), shown)
        if rows or (index in chosen and query.display_filter is None and query.holds is None):
            printed.update(row.chain for row in rows)
            yield index, rows


def _kept(rows: list[RuleRow], shown: Selection) -> list[RuleRow]:
    """Return the selected rows, and the rules whose jumps lead to them."""
    kept: list[RuleRow] = []
    depth = -1  # of the last row kept: what is less deep before it is its way
    for row in reversed(rows):
        if shown.cells[row.cell] or row.depth < depth:
            kept.append(row)
            depth = row.depth
    return kept[::-1]


def _place(chain: ChainView, below: bool, jumped: bool) -> str:
    """Return the hook, after its path if that is not ip's; for a chain that no packet reaches by a hook, the reason."""
    if chain.hook is None:
        named = "reached by a named map" if chain.references and not jumped else "not reached by any hook"
        return "user chains" if below else named
    if is_dormant(chain):
        return "dormant tables: these chains do not run"
    path = path_of(chain)
    return chain.hook if path == IP else f"{path} {chain.hook}"


def _title(chain: ChainView, mark: str) -> str:
    title = [f"  {chain_path(chain)}", chain.backend]
    if chain.hook is not None:
        title += [chain.hook] if is_dormant(chain) else []
        title += [f"priority {priority_text(chain, mark)}", f"policy {chain.policy}"]
    if chain.devices:
        title.append(f"device {', '.join(chain.devices)}")
    if chain.type == "nat":
        title.append(FIRST_PACKET)
    return "   ".join(title) + _comment(chain)


def _comment(one: ChainView | NftTable | NftSet | NftObject) -> str:
    return f'   comment "{one.comment}"' if one.comment else ""


def _rule_lines(ruleset: Ruleset, rows: list[RuleRow]) -> Iterator[str]:
    """Yield titles and a line for each rule, with the elements of its named verdict maps: where each leads."""
    picture = ruleset.picture
    names = [clean(f"{'  ' * (row.depth - 1)}{picture.chains[row.chain].name}  ") if row.depth else "" for row in rows]
    wide = max(map(cells_of, (*names, _CHAIN + "  " if any(names) else "")), default=0)
    if rows:
        yield f"    {_CHAIN if wide else '':<{wide}}{'#':>6}  {'PACKETS':>7} {'BYTES':>6}  RULE"
    for name, row in zip(names, rows, strict=True):
        yield f"    {name}{' ' * (wide - cells_of(name))}{_rule_line(picture, ruleset.counts, row)}"
        for of, branches in ruleset.branches(None if row.rule is None else picture.rules[row.rule].raw):
            indent = f"{' ' * (wide + 28)}{'  ' * row.depth}@{of}  "
            yield from (f"{indent}{branch.key} : {branch.value.text}" for branch in branches[:_BRANCHES])
            if len(branches) > _BRANCHES:
                yield f"{indent}… {grouped(len(branches) - _BRANCHES)} more"


def _rule_line(picture: Picture, counts: Counts, row: RuleRow) -> str:
    packets, octets = numbers(counts, row.cell)
    number = "policy" if row.rule is None else str(picture.rules[row.rule].number)
    text = picture.chains[row.chain].policy or "" if row.rule is None else rule_text(picture.rules[row.rule])
    handle = None if row.rule is None else picture.rules[row.rule].handle
    tail = "" if handle is None else f"  # handle {handle}"
    return f"{number:>6}  {scaled(packets):>7} {scaled(octets):>6}  {'  ' * row.depth}{row.jump}{text}{tail}"


def _flowtable_line(one: Flowtable) -> str:
    named = f"{one.family} {one.table} {one.name}   hook {one.hook}   priority {one.priority}"
    flags = f"   flags {', '.join(one.flags)}" if one.flags else ""
    return f"{named}   devices {', '.join(one.devices)}{flags}"


def _object_line(one: NftObject) -> str:
    return f"{one.family} {one.table} {one.type} {one.name}   {_properties(object_row(one))}"


def _set_lines(shown: Selection, contents: SetContents) -> Iterator[str]:
    for one in shown.sets:
        yield set_line(f"{one.family} {one.table} @{one.name}", set_row(one))
        yield from map(_element_line, element_rows(one, contents.elements.get(one.id), ""))
    for ipset in shown.ipsets:
        yield set_line(f"ipset {ipset.name}", ipset_row(ipset))
        yield from map(_element_line, ipset_element_rows(ipset, contents, ""))


def _element_line(element: Row) -> str:
    value = f" : {element['value']}" if element["value"] else ""
    return f"  {element['element']}{value}   {_properties(element)}".rstrip()


def _properties(row: Row) -> str:
    """Return `packets 5 bytes 300 timeout 60 over`: what has a value, or is so."""
    given = {key: value for key, value in row.items() if key not in _NOT_PRINTED and value not in (None, False)}
    shown = [(key, value) for key, value in given.items() if key not in ("family", "table", "type")]
    return " ".join(key if value is True else f"{key} {value}" for key, value in shown)
