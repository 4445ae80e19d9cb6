"""The parts of a rule's text: its matches, its verdict or target with arguments, and the rule in full."""

from __future__ import annotations

import re
from itertools import accumulate

from nettop.decode.nftables.expressions import expression_lines
from nettop.decode.nftables.iptables_save import words
from nettop.model.ruleset.picture import NFT, ChainView, RuleView
from nettop.model.ruleset.words import rule_text

EVERY = "every packet"
_NFT_TOKENS = re.compile(r'(?:[^\s"]|"[^"]*"?)+')  # nft has no escapes in quotes
_TO = re.compile(r"^(?:(?:ip6? )?(prefix )?to |--to(?:-\w+)? )")  # between a translation and what it translates to
_TRANSLATIONS = ("dnat", "snat", "redirect", "netmap", "masquerade")
_ARROW = "→ "
# arptables prints matches behind the target, and before the options of the target
_ARP_MATCH = re.compile(r"!|-[iosd]|--(?:opcode|(?:h|proto)-(?:length|type)|(?:src|dst|source|destination)-mac)")
_ARP_TARGET = ("--mangle-", "--set-", "--and-", "--or-")


def tokens_of(rule: RuleView) -> list[str]:
    """Return the words of a rule as its tool divides them; a quoted string is (part of) one."""
    text = rule_text(rule)
    return _NFT_TOKENS.findall(text) if rule.backend == NFT else [word for word in words(text) or [text] if word]


def arp_matches(behind: list[str]) -> int:
    """Return the number of words of a match among those behind `-j TARGET`; 0: they are those of the target."""
    if not behind or not _ARP_MATCH.fullmatch(behind[0]):
        return 0
    return next((at for at, word in enumerate(behind) if word.startswith(_ARP_TARGET)), len(behind))


def split_rule(rule: RuleView) -> tuple[str, str]:
    """Return the matches of a rule without its comment, and its verdict: `→ lan`, `DNAT 172.17.0.2:80`, `drop`."""
    if rule.text is None:
        return rule_text(rule), _ARROW + rule.targets[0] if rule.verdict == "jump" and rule.targets else rule.verdict
    tokens = _without_comment(rule, tokens_of(rule))
    if rule.backend == NFT:
        matches, verdict = _split_nft(rule.verdict, tokens)
    else:
        matches, verdict = _split_iptables(tokens)
    return " ".join(matches) or EVERY, _verdict(rule, verdict)


def _without_comment(rule: RuleView, tokens: list[str]) -> list[str]:
    """Return the words without every `-m comment --comment "…"` or, at the end, `comment "…"`."""
    if rule.backend == NFT:
        own = _NFT_TOKENS.findall(f'comment "{rule.comment}"')
        return tokens[: -len(own)] if tokens[-len(own) :] == own else tokens
    while "--comment" in tokens[2:-1] and tokens[(at := tokens.index("--comment", 2)) - 1] == "comment":
        tokens = tokens[: at - 2] + tokens[at + 2 :]
    return tokens


def _split_nft(verdict: str, tokens: list[str]) -> tuple[list[str], list[str]]:
    """Return the words before the verdict without the counter, and those of the verdict; not those in braces."""
    depths = list(accumulate((word == "{") - (word == "}") for word in tokens))
    bare = [at for at, word in enumerate(tokens) if not depths[at] and word != "}"]
    found = [at for at in bare if tokens[at] == verdict]
    at = (found[0] if verdict in ("jump", "goto") else found[-1]) if found else len(tokens)
    counters = {one for one in bare if tokens[one] == "counter" and tokens[one + 1 : one + 2] != ["name"]}
    return [word for one, word in enumerate(tokens[:at]) if one not in counters], tokens[at:]


def _split_iptables(tokens: list[str]) -> tuple[list[str], list[str]]:
    at = next((at for at, word in enumerate(tokens) if word in ("-j", "-g")), len(tokens))
    matches, verdict, behind = tokens[:at], tokens[at : at + 2], tokens[at + 2 :]
    moved = arp_matches(behind)
    if verdict:
        verdict = verdict[1:] if verdict[0] == "-j" else ["goto", *verdict[1:]]
    return matches + behind[:moved], verdict + behind[moved:]


def _verdict(rule: RuleView, words: list[str]) -> str:
    if words[:1] == ["jump"] or (rule.verdict == "jump" and words):
        return _ARROW + (rule.targets[0] if words[-1] == "}" and rule.targets else words[-1])
    if words and words[0].lower() in _TRANSLATIONS and len(words) > 1:
        return " ".join((words[0], _TO.sub(r"\1", " ".join(words[1:]))))
    return " ".join(words)


def whole_rule(chain: ChainView, rule: RuleView) -> str:
    """Return the rule in full, as its tool writes it: of iptables with `-A CHAIN`."""
    return rule_text(rule) if rule.backend == NFT else f"-A {chain.name} {rule_text(rule)}"


def expressions(rule: RuleView, counted: tuple[int, int] | None) -> list[str]:
    """Return the expressions of a rule of nf_tables, the last counter with these packets and bytes; of others none."""
    lines = expression_lines(rule.raw.raw) if rule.raw is not None else []
    counters = [at for at, line in enumerate(lines) if line.startswith("[ counter ")]
    if counters:
        lines[counters[-1]] = f"[ counter pkts {counted[0]} bytes {counted[1]} ]" if counted else "[ counter ]"
    return lines
