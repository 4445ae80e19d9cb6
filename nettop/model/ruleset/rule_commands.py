"""A rule to copy: its text, and the commands of its tool that show, insert, reset and delete it."""

from __future__ import annotations

import json
import re
import shlex

from nettop.decode.nftables.iptables_save import words
from nettop.decode.nftables.listing import stateless
from nettop.model.ruleset.picture import NFT, ChainView, RuleView
from nettop.model.ruleset.rule_words import whole_rule
from nettop.model.ruleset.words import is_implicit, is_name, listed_part, rule_text, tool_name
from nettop.text.netns import enter_command
from nettop.text.sanitize import clean

_ESCAPED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BYTES = re.compile(r"\\x[89a-f][0-9a-f]")  # that are not UTF-8, as names and comments are decoded
_IMPLICIT = re.compile(r"__chain\d")  # as nf_tables names them
_SHOW, _INSERT = "The command that shows its chain", "Insert one like it before it"
_NUMBERED_RESET = ("ip", "ip6")  # families whose tool has -Z CHAIN NUMBER


def copies(netns: str, chain: ChainView, rule: RuleView) -> tuple[tuple[str, str], ...]:
    """Return titles and texts: of the rule, and of shell commands that work as they are, in its namespace."""
    commands = _nft_commands(chain, rule) if rule.backend == NFT else _iptables_commands(chain, rule)
    texts = [(title, shlex.join([*enter_command(netns), *command])) for title, command in commands]
    # The others would be of another name or rule.
    whole = [(title, text) for title, text in texts if clean(text) == text and not _BYTES.search(text)]
    return ("The rule", clean(whole_rule(chain, rule))), *whole


def _nft_commands(chain: ChainView, rule: RuleView) -> list[tuple[str, list[str]]]:
    place = f"{chain.family} {chain.table} {chain.name}"
    named = is_name(chain.table) and is_name(chain.name)
    show = _SHOW, ["nft", "-a", f"list {listed_part(chain)}"]
    if rule.handle is None or rule.text is None or is_implicit(chain):
        return [show]
    delete = ["nft", f"delete rule {place} handle {rule.handle}"] if named else _json_delete(chain, rule.handle)
    if not named or not _is_input(rule):
        return [show, ("Delete it", delete)]
    insert = f"insert rule {place} handle {rule.handle} {rule_text(rule)}"
    # nft 1.0.6 has no `reset rule`, its `replace rule` aborts on a set with a range, and it takes `1:2;` for one word.
    reset = ("Reset its counter (a new rule in its place)", ["nft", f"{insert} ; {delete[1]}"])
    counted = [reset] if stateless(rule.text) != rule.text else []
    return [show, (_INSERT, ["nft", insert]), *counted, ("Delete it", delete)]


def _is_input(rule: RuleView) -> bool:
    """Return whether nft reads the words that it prints of a rule: it has no escapes, and adds no meter again.

    It crashes (1.0.6) on the handle of a place for a rule with an implicit chain.
    """
    raw = rule.raw
    if raw is None or "meter" in (rule.text or "").split(" ") or any(map(_IMPLICIT.match, raw.targets)):
        return False
    sets = [name for name in raw.sets if not name.startswith("__")]  # those that have a name
    quoted = any('"' in text for text in (raw.comment or "", *raw.log_prefixes))
    return not quoted and all(map(is_name, (*raw.targets, *sets, *(name for _, name in raw.objects))))


def _json_delete(chain: ChainView, handle: int) -> list[str]:
    """Return the command in nft's JSON, which has every name."""
    named = {"family": chain.family, "table": chain.table, "chain": chain.name, "handle": handle}
    return ["nft", "-j", json.dumps({"nftables": [{"delete": {"rule": named}}]})]


def _iptables_commands(chain: ChainView, rule: RuleView) -> list[tuple[str, list[str]]]:
    tool, number = [tool_name(chain, rule), "-t", chain.table], str(rule.number)
    found = [(_SHOW, [*tool, "-L" if chain.family == "bridge" else "-S", chain.name])]
    if rule.text is not None:
        texts = [_unquoted(word) for word in words(rule_text(rule)) or []]
        found.append((_INSERT, [*tool, "-I", chain.name, number, *texts]))
    if chain.family in _NUMBERED_RESET:
        found.append(("Reset its counter", [*tool, "-Z", chain.name, number]))
    return [*found, ("Delete it", [*tool, "-D", chain.name, number])]


def _unquoted(word: str) -> str:
    """Return a word of iptables-save as it is without its quotes."""
    return _ESCAPED.sub(lambda match: re.sub(r"\\(.)", r"\1", match[1]), word)
