"""The way of items in: each goes through the decoder of its feed to the models of the feed's row."""

from __future__ import annotations

from collections import deque
from typing import Any

from nettop.batch import Batch, Counters, DumpMark, End, Gap, Item, Stream, StreamAdded, Text
from nettop.columns import Strings
from nettop.model.ledger import Ledger
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.rulesets import Rulesets
from nettop.model.table import Model
from nettop.pipeline.feed import Decode, Feed
from nettop.pipeline.feeds import feed_of

_ENDINGS = 32  # of failed streams that are remembered
_LAST_CODE = 0xFFFF  # columns hold codes of namespaces in 16 bits


class Intake:
    """The streams, what was lost, and models. To be used from one thread.

    Those of the rules; Engine has all. `netns` is the label of the namespace whose rules are shown.
    """

    def __init__(self, netns: str) -> None:
        self.netns = netns
        self.strings = Strings()
        self.streams: dict[int, Stream] = {}
        self.labels: list[str] = []
        self._codes: dict[str, int] = {}  # indexes of labels: a recording may have 65,536
        self.failures: deque[End] = deque(maxlen=_ENDINGS)  # the last streams that ended in an error
        self.ledger = Ledger()
        self.ruleset = Ruleset(netns)
        self.rulesets = Rulesets(self.ruleset, self._label)
        self.models: dict[str, Model] = {"rulesets": self.rulesets}  # by the names in pipeline.feeds
        self._decoders: dict[tuple[int, str], Decode] = {}  # of a stream's feed

    def apply(self, item: Item, now_ns: int) -> None:
        """Apply one item (Counters: to the ledger only). No input from outside raises an error."""
        self.ledger.add(item)
        if isinstance(item, StreamAdded):
            self._added(item, now_ns)
        elif isinstance(item, End):
            self._ended(item)
        elif not isinstance(item, Counters) and (stream := self.streams.get(item.stream)):
            self._apply_to(item, stream, now_ns)

    def code(self, netns: str) -> int:
        """Return the code of a namespace in the models' columns. Those beyond 16 bits share the last code."""
        code = self._codes.get(netns)
        if code is None:
            code = self._codes[netns] = min(len(self.labels), _LAST_CODE)
            if len(self.labels) <= _LAST_CODE:
                self.labels.append(netns)
        return code

    def _label(self, code: int) -> str:
        return self.labels[code] if code < len(self.labels) else ""

    def _added(self, item: StreamAdded, now_ns: int) -> None:
        self.streams[item.stream.id] = item.stream
        self.code(item.stream.netns)

    def _ended(self, item: End) -> None:
        if item.error:
            self.failures.append(item)

    def _apply_to(self, item: Batch | Gap | DumpMark | Text, stream: Stream, now_ns: int) -> None:
        feed = feed_of(stream, item)
        if feed is None:
            return
        decoded_item = self._decoded(feed, item, stream) if isinstance(item, (Batch, Text)) else item
        code = self.code(stream.netns)
        decoded_item = self._received(feed, stream, decoded_item, now_ns)
        for name in feed.models:
            if name in self.models:
                self.models[name].apply(decoded_item, code, now_ns)

    def _received(self, feed: Feed, stream: Stream, decoded_item: Any, now_ns: int) -> Any:
        """Return the part of an item that the models get."""
        return decoded_item

    def _decoded(self, feed: Feed, item: Batch | Text, stream: Stream) -> Any:
        if feed.decoder is None:
            return item
        decoder = self._decoders.get((stream.id, feed.name))
        if decoder is None:
            decoder = self._decoders[stream.id, feed.name] = feed.decoder(self.strings)
        decoded = decoder(item)
        if isinstance(item, Batch):
            self.ledger.add_unreadable(stream.id, self._unreadable(feed, item, decoded))
        return decoded

    def _unreadable(self, feed: Feed, item: Batch, decoded: Any) -> int:
        """Return the number of records that could not be decoded."""
        found: int = decoded.errors.records()
        return found
