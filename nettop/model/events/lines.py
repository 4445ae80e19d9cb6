"""Decoded events and losses as lines of a headless stream."""

from __future__ import annotations

from collections.abc import Callable
from json import dumps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Gap
from nettop.columns import EVENT_EXPECT, Columns, Decoded, Strings
from nettop.model.events.rows import event_rows
from nettop.model.expectations.expectation import expectation_json, expectation_line, expectations_of
from nettop.model.filter.expression import Filter
from nettop.model.flows.derive import Data
from nettop.model.flows.fields import FlowFields
from nettop.model.flows.lines import FlowLines, JoinedColumns, Owners
from nettop.model.flows.templates import json_template, text_template
from nettop.text.times import TimeTexts


class EventLines:
    """Formats events as JSON Lines or as text."""

    def __init__(
        self, strings: Strings, netns_label: Callable[[int], str] = lambda code: "", times: TimeTexts | None = None
    ) -> None:
        """Begin. `times` are those of lines of text; None: JSON."""
        self._strings = strings
        self._netns_label = netns_label
        template, by = (json_template, _by_json) if times is None else (text_template, _by_text)
        self._lines = FlowLines(strings, netns_label, template, joined=by)
        self._times = times

    def __call__(
        self, decoded: Decoded, netns: int, display_filter: Filter | None = None, now_ns: int = 0
    ) -> list[str]:
        """Return the matching events of a decoded batch, one line each without newline; no rows of dumps."""
        cols = self._matching(event_rows(decoded), netns, display_filter, now_ns)
        if not len(cols):
            return []
        expected = cols["event"] > EVENT_EXPECT
        lines = self._mixed(cols, expected, netns) if expected.any() else self._lines.lines(cols.data, netns)
        if self._times is None:
            return lines
        times = self._times(cols["ts_ns"].astype(np.int64), 3)
        return [f"{time} {line}".lstrip() for time, line in zip(times, lines, strict=True)]

    def _matching(self, cols: Columns, netns: int, display_filter: Filter | None, now_ns: int) -> Columns:
        if display_filter is None or not len(cols):
            return cols
        data = cols.data | {"netns": np.full(len(cols), netns, np.uint16)}
        return cols.take(display_filter.mask(FlowFields("event", data, now_ns, self._strings, self._netns_label)))

    def _mixed(self, cols: Columns, expected: NDArray[np.bool_], netns: int) -> list[str]:
        lines: NDArray[Any] = np.empty(len(cols), object)
        flows = cols.take(~expected)
        if len(flows):
            lines[~expected] = self._lines.lines(flows.data, netns)
        line, label = expectation_json if self._times is None else expectation_line, self._netns_label(netns)
        lines[expected] = [line(one, label) for one in expectations_of(cols.take(expected), netns, self._strings)]
        found: list[str] = lines.tolist()
        return found


def _by_json(data: Data, _owners: Owners | None) -> JoinedColumns | None:
    """Return `,"portid":812` for each event that a program caused, "" for the kernel's own; None: all are."""
    return _by(data, ',"portid":{}')


def _by_text(data: Data, _owners: Owners | None) -> JoinedColumns | None:
    return _by(data, " USERSPACE portid {}")


def _by(data: Data, form: str) -> JoinedColumns | None:
    if "portid" not in data:
        return None
    return ([form.format(portid) if portid else "" for portid in data["portid"].tolist()],)


def gap_json(gap: Gap, stream: str, netns: str | None = None) -> str:
    """Return a loss as the JSON object `gap`."""
    values = {"kind": "gap", "stream": stream, "netns": netns, "lost": gap.lost, "reason": gap.why.value}
    return dumps(values | {"from_ns": gap.from_ns, "to_ns": gap.to_ns}, separators=(",", ":"))
