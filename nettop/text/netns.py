"""The words of a shell command that run another one in a namespace."""

from __future__ import annotations

from nettop.text.sanitize import clean


def enter_command(netns: str) -> list[str]:
    """Return the words that enter a namespace (a name, `pid:N` or a path, as for --netns); [] for the own one, ""."""
    label = clean(netns)
    if not label:
        return []
    if label.startswith("pid:"):
        return ["nsenter", f"--net=/proc/{label[4:]}/ns/net", "--"]
    return ["nsenter", f"--net={label}", "--"] if "/" in label else ["ip", "netns", "exec", label]
