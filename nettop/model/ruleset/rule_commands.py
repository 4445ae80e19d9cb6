"""A rule to copy: its text, and the commands of its tool that show, insert, reset and delete it."""

from __future__ import annotations

import re
import shlex

from nettop.model.ruleset.merge import NFT, ChainView, RuleView
from nettop.model.ruleset.rule_words import TOKENS, whole_rule
from nettop.model.ruleset.words import rule_text, tool_name
from nettop.text.netns import enter_command
from nettop.text.sanitize import clean

_ESCAPED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NUMBERED_RESET = ("ip", "ip6")  # families whose tool has -Z CHAIN NUMBER


def copies(netns: str, chain: ChainView, rule: RuleView) -> tuple[tuple[str, str], ...]:
    """Return titles and texts: of the rule, and of shell commands that work as they are, in its namespace."""
    found = [("The rule", whole_rule(chain, rule))]
    commands = _nft_commands(chain, rule) if rule.backend == NFT else _iptables_commands(chain, rule)
    found += [(title, shlex.join([*enter_command(netns), *words])) for title, words in commands]
    return tuple((title, clean(text)) for title, text in found)


def _nft_commands(chain: ChainView, rule: RuleView) -> list[tuple[str, list[str]]]:
    place = f"{chain.family} {chain.table} {chain.name}"
    show = ("The command that shows its chain", ["nft", "-a", f"list chain {place}"])
    if rule.handle is None or rule.text is None:
        return [show]
    insert = f"insert rule {place} handle {rule.handle} {rule_text(rule)}"
    delete = f"delete rule {place} handle {rule.handle}"
    return [
        show,
        ("Insert one like it before it", ["nft", insert]),
        # nft 1.0.6 has no `reset rule`, and its `replace rule` aborts on a set with a range.
        ("Reset its counter (a new rule in its place)", ["nft", f"{insert}; {delete}"]),
        ("Delete it", ["nft", delete]),
    ]


def _iptables_commands(chain: ChainView, rule: RuleView) -> list[tuple[str, list[str]]]:
    tool, number = [tool_name(chain, rule), "-t", chain.table], str(rule.number)
    found = [("The command that shows its chain", [*tool, "-L" if chain.family == "bridge" else "-S", chain.name])]
    if rule.text is not None:
        words = [_unquoted(word) for word in TOKENS.findall(rule_text(rule))]
        found.append(("Insert one like it before it", [*tool, "-I", chain.name, number, *words]))
    if chain.family in _NUMBERED_RESET:
        found.append(("Reset its counter", [*tool, "-Z", chain.name, number]))
    return [*found, ("Delete it", [*tool, "-D", chain.name, number])]


def _unquoted(word: str) -> str:
    """Return a word of iptables-save as it is without its quotes."""
    return _ESCAPED.sub(lambda match: re.sub(r"\\(.)", r"\1", match[1]), word)
