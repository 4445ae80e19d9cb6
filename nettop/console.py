"""Messages of commands on stderr, and errors when stdout cannot be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nettop.errors import StdoutError
from nettop.text.sanitize import clean


def say(text: str, *below: str) -> None:
    """Print a line on stderr after the program's name, and the lines below it, made safe for a terminal.

    If that cannot be written, stderr is redirected to nowhere: no message ends a command.
    """
    try:
        print("\n".join(map(clean, (f"nettop: {text}", *below))), file=sys.stderr, flush=True)
    except OSError:
        nowhere = os.memfd_create("nettop-null")  # the confined app may not open /dev/null for writing
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


@contextmanager
def printing() -> Iterator[None]:
    """Raise StdoutError if a write to stdout fails in this context, but BrokenPipeError if its reader is gone."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(f"standard output: {error.strerror}") from None
