"""The return of memory to the kernel."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def return_memory() -> None:
    """Free what a closed session held: its models refer to each other, and glibc keeps the heaps of ended threads."""
    gc.collect()
    with suppress(AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)  # malloc_trim(3)
