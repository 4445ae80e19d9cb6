"""What a command says beside its output: lines on stderr."""

from __future__ import annotations

import sys

from nettop.text.sanitize import clean


def say(text: str, *below: str) -> None:
    """A line on stderr after the program's name, and the lines below it; what stands in them is safe for a terminal."""
    print("\n".join(map(clean, (f"nettop: {text}", *below))), file=sys.stderr, flush=True)
