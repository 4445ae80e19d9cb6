"""The inputs of `nettop read`, and the packets of a batch that match a display filter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nettop.batch import Batch, Stream, select_rows
from nettop.decode.packets.window import CHUNK_ROWS
from nettop.errors import InputError
from nettop.model.packets.lines import stream_ids
from nettop.recording.merging import Select

if TYPE_CHECKING:
    from nettop.model.filter.expression import Filter

InputFile = tuple[str, int | InputError]  # a file's name, and its descriptor or the error


def parse(text: str, kind: str) -> Filter | None:
    """Return the display filter as filter.expression.parse does, which is loaded only for one."""
    if not text.strip():
        return None
    from nettop.model.filter import expression

    return expression.parse(text, kind)


def selection(display_filter: Filter | None) -> Select:
    """Return the function that keeps the matching packets."""
    return partial(matching, display_filter=display_filter)


def matching(batch: Batch, streams: Mapping[int, Stream], display_filter: Filter | None) -> Batch:
    """Return the records that match the filter, decoded only as deep as it needs."""
    n = len(batch)
    if display_filter is None or not n:
        return batch
    from nettop.model.packets.fields import fields_of

    ids, code = np.unique(stream_ids(batch), return_inverse=True)
    known = [streams[one] for one in ids.tolist()]
    masks = [
        display_filter.mask(fields_of(batch, known, code, start, min(start + CHUNK_ROWS, n)))
        for start in range(0, n, CHUNK_ROWS)
    ]
    return select_rows(batch, np.flatnonzero(np.concatenate(masks)))
