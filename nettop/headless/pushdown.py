"""The part of a display filter that the kernel runs for a command."""

from __future__ import annotations

import argparse

from nettop.console import say
from nettop.model.filter.expression import Filter
from nettop.model.kernel_filter.pushdown import KernelFilter, kernel_filter


def in_kernel(
    options: argparse.Namespace, display_filter: Filter | None, *, events: bool = True, dumps: bool = True
) -> KernelFilter:
    """Return the part of the filter that the kernel can run. With --verbose, report it and the rest on stderr."""
    if display_filter is None:
        return KernelFilter()
    found = kernel_filter(display_filter, events=events, dumps=dumps)
    if options.verbose:
        say(f"filter: {found.summary}")
    return found
