"""The parts of a rule's text: its matches, its verdict or target with arguments, and the rule in full."""

from __future__ import annotations

import re

from nettop.decode.nftables.expressions import expression_lines
from nettop.model.ruleset.merge import NFT, ChainView, RuleView
from nettop.model.ruleset.words import rule_text

EVERY = "every packet"
TOKENS = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+')  # words; a quoted string is (part of) one
_NAT_OPTIONS = ("--to-destination", "--to-source", "--to-ports", "--to", "to", "ip", "ip6")
_TRANSLATIONS = ("dnat", "snat", "redirect", "netmap", "masquerade")
_ARROW = "→ "


def split_rule(rule: RuleView) -> tuple[str, str]:
    """Return the matches of a rule without its comment, and its verdict: `→ lan`, `DNAT 172.17.0.2:80`, `drop`."""
    if rule.text is None:
        return rule_text(rule), _ARROW + rule.targets[0] if rule.verdict == "jump" and rule.targets else rule.verdict
    tokens = _without_comment(TOKENS.findall(rule_text(rule)))
    at = _verdict_at(rule, tokens)
    matches, verdict = tokens[:at], tokens[at:]
    if rule.backend == NFT:
        matches = [word for word in matches if word != "counter"]
    elif verdict:
        verdict = verdict[1:] if verdict[0] == "-j" else ["goto", *verdict[1:]]
    return " ".join(matches) or EVERY, _verdict(rule, verdict)


def _without_comment(tokens: list[str]) -> list[str]:
    """Return the words without `-m comment --comment "…"` or, at the end, `comment "…"`."""
    if "--comment" in tokens[2:-1]:
        at = tokens.index("--comment", 2)
        return tokens[: at - 2] + tokens[at + 2 :] if tokens[at - 1] == "comment" else tokens
    return tokens[:-2] if tokens[-2:-1] == ["comment"] else tokens


def _verdict_at(rule: RuleView, tokens: list[str]) -> int:
    """Return the index of the first word of the verdict; the number of words if there is none."""
    first = (rule.verdict,) if rule.backend == NFT else ("-j", "-g")
    found = [at for at, word in enumerate(tokens) if word in first]
    return (found[-1] if rule.backend == NFT else found[0]) if found else len(tokens)


def _verdict(rule: RuleView, words: list[str]) -> str:
    if words[:1] == ["jump"] or (rule.verdict == "jump" and words):
        return _ARROW + words[-1]
    if words and words[0].lower() in _TRANSLATIONS:
        return " ".join(word for word in words if word not in _NAT_OPTIONS)
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
