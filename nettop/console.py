"""Messages of commands on stderr, and errors when stdout cannot be written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nettop.errors import StdoutError
from nettop.text.sanitize import clean


def say(text: str, *below: str) -> None:
    """Print a line on stderr after the program's name, and the lines below it, made safe for a terminal."""
    print("\n".join(map(clean, (f"nettop: {text}", *below))), file=sys.stderr, flush=True)


@contextmanager
def printing() -> Iterator[None]:
    """Raise StdoutError if a write to stdout fails in this context, but BrokenPipeError if its reader is gone."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(f"standard output: {error.strerror}") from None
