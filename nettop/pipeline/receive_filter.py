"""The receive filter: only matching flows and events reach the models, as far as possible filtered in the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nettop.columns import Columns, Decoded, Strings
from nettop.errors import UsageError
from nettop.model.filter.expression import Filter, parse
from nettop.model.flows.fields import FlowFields
from nettop.model.kernel_filter.pushdown import KernelFilter, kernel_filter

EVERYTHING = KernelFilter()


class ReceiveFilter:
    """An expression that flows, of dumps and events alike, must match to be received. FilterError, UsageError."""

    def __init__(self, expression: str) -> None:
        parse(expression, "event")  # refuses fields that no message has (rate, age)
        parsed = parse(expression, "flow")
        if parsed is None:
            raise UsageError("an expression is needed", "such as `net 10.0.0.0/8`")
        self.filter: Filter = parsed
        self.kernel: KernelFilter = kernel_filter(parsed)

    @property
    def text(self) -> str:
        """The expression, and what of it runs in the kernel."""
        return f"{self.filter.text} ({self.kernel.summary})"

    def select(
        self, decoded: Decoded, now_ns: int, strings: Strings, netns_label: Callable[[int], str]
    ) -> tuple[Decoded, int]:
        """Return the rows that match, and the number of records that do not."""

        def mask(cols: Columns) -> NDArray[np.bool_]:
            if not len(cols):
                return np.ones(0, np.bool_)
            return self.filter.mask(FlowFields("flow", cols.data, now_ns, strings, netns_label))

        flows, expect = mask(decoded.cols), mask(decoded.expect)
        if flows.all() and expect.all():
            return decoded, 0
        some = replace(decoded, cols=decoded.cols.take(flows), record=decoded.record[flows])
        if len(expect):
            some = replace(some, expect=decoded.expect.take(expect), expect_record=decoded.expect_record[expect])
        return some, sum(len(each) - int(np.count_nonzero(each)) for each in (flows, expect))
