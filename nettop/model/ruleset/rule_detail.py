"""The detail of a rule: its words, counters, chains, sets and objects, and the expressions that the kernel runs."""

from __future__ import annotations

from nettop.model.ruleset import words
from nettop.model.ruleset.picture import ChainView, RuleView
from nettop.model.ruleset.rule_commands import copies
from nettop.model.ruleset.rule_tree import verdict_of
from nettop.model.ruleset.rule_words import expressions
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.table import CopyDetail, Line
from nettop.text.units import plural, scaled


def rule_detail(ruleset: Ruleset, cell: int, traced: int, now_ns: int) -> CopyDetail:
    """Return the detail of the rule of a cell. `traced`: the packets of the latest trace that met it."""
    rule = ruleset.picture.rules[cell]
    chain = ruleset.picture.chains[rule.chain]
    title: Line = (
        (words.chain_path(chain), "accent"),
        (f"   rule {rule.number}", "number"),
        (f"   {rule.backend}", "dim"),
    )
    lines = tuple(_lines(ruleset, chain, cell, traced, now_ns))
    return CopyDetail(rule.ident, title, lines, copies(ruleset.netns, chain, rule))


def _lines(ruleset: Ruleset, chain: ChainView, cell: int, traced: int, now_ns: int) -> list[Line]:
    picture = ruleset.picture
    rule = picture.rules[cell]
    pairs = [
        ("rule", words.rule_text(rule)),
        ("comment", rule.comment or ""),
        ("handle", str(rule.handle) if rule.handle is not None else ""),
        ("changed", ruleset.changes.mark(chain, rule, now_ns)),
        ("counted", _counted(ruleset, cell, traced, now_ns)),
        ("verdict", verdict_of(rule)),
        ("jumps to", ", ".join(picture.chains[i].name for i in picture.targets(rule))),
        ("command", words.tool_command(chain, rule)),
    ]
    lines = words.detail_lines(pairs + _raw_pairs(ruleset, chain, rule))
    if chain.type == "nat":
        lines.append(((f"  its chain sees the {words.FIRST_PACKET}", "nat"),))
    return lines


def _counted(ruleset: Ruleset, cell: int, traced: int, now_ns: int) -> str:
    counts = ruleset.counts
    if not counts.have[cell]:
        told = f"the latest trace saw {plural(traced, 'packet')} in it" if traced else "t counts packets by a trace"
        return f"{words.named_counter(ruleset.picture.rules[cell]) or 'no counter in this rule'}: {told}"
    text = f"{plural(int(counts.packets[cell]), 'packet')}, {plural(int(counts.bytes[cell]), 'byte')}"
    rate, idle = float(counts.rate[cell]), words.counter_note(counts, cell, 0, now_ns)
    return f"{text}{f'   {scaled(rate)} pkt/s' if rate == rate else ''}   {idle}".rstrip()


def _raw_pairs(ruleset: Ruleset, chain: ChainView, rule: RuleView) -> list[tuple[str, str]]:
    if rule.raw is None:
        return []
    pairs = []
    sets = [name for name in rule.raw.sets if not name.startswith("__")]
    if sets:
        pairs.append(("sets", ", ".join(f"@{name}" for name in sets)))
    for one in ruleset.raw.objects:
        same = (one.family, one.table) == (chain.family, chain.table)
        if same and (one.type, one.name) in rule.raw.objects:
            counts = [plural(n, noun) for n, noun in ((one.packets, "packet"), (one.bytes, "byte")) if n is not None]
            pairs.append((one.type, one.name + "".join(counts and ("   ", ", ".join(counts)))))
    if rule.raw.extensions:
        pairs.append(("xtables", ", ".join(rule.raw.extensions)))
    lines = expressions(rule, None)
    return [*pairs, *(("runs" if at == 0 else " ", line) for at, line in enumerate(lines))]
