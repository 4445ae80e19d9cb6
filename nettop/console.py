"""What a command says beside its output, on stderr, and what becomes of that output where it cannot be written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nettop.errors import StdoutError
from nettop.text.sanitize import clean


def say(text: str, *below: str) -> None:
    """A line on stderr after the program's name, and the lines below it; what stands in them is safe for a terminal."""
    print("\n".join(map(clean, (f"nettop: {text}", *below))), file=sys.stderr, flush=True)


@contextmanager
def printing() -> Iterator[None]:
    """Writing to stdout: StdoutError where that fails, but BrokenPipeError where nobody reads any more."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(f"standard output: {error.strerror}") from None
