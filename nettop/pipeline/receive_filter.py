"""Receiving only some flows: what the kernel can leave out it does, the rest is withheld from the models here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nettop.columns import Columns, Decoded, Strings
from nettop.errors import UsageError
from nettop.model.filter.expression import Filter, parse
from nettop.model.flows.fields import FlowFields
from nettop.model.kernel_filter.pushdown import Narrowed, narrowed

EVERYTHING = Narrowed()


class Only:
    """One expression that flows, in dumps and events alike, must match to be received. FilterError, UsageError."""

    def __init__(self, expression: str) -> None:
        parse(expression, "event")  # what only the table knows (rate, age) no message says
        wanted = parse(expression, "flow")
        if wanted is None:
            raise UsageError("an expression is needed", "such as `net 10.0.0.0/8`")
        self.filter: Filter = wanted
        self.kernel: Narrowed = narrowed(wanted)

    def kept(
        self, decoded: Decoded, now_ns: int, strings: Strings, netns_label: Callable[[int], str]
    ) -> tuple[Decoded, int]:
        """The rows that match, and how many records did not."""

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
