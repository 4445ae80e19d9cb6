"""One set of models with the threads that feed them. A session shows it until the namespace is switched."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from nettop.batch import Batch, Counter64, End, Item, PacketMeta, Text, item_time
from nettop.broker.requests import ResolveName
from nettop.errors import NettopError
from nettop.kinds import TextKind
from nettop.model.events.table import KEEP_EVENTS
from nettop.model.sysctls import ACCOUNTING
from nettop.pipeline.engine import Engine
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.model_thread import ModelThread
from nettop.session.status import Status
from nettop.text.sanitize import clean
from nettop.text.units import scaled

_ALIVE_S = 0.5  # how often a wait for the model thread checks that it is alive

Found = TypeVar("Found")


class Rate:
    """The growth of a total in a second, over about the last second; None in the first second."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._before: tuple[float, float] | None = None  # the total, and the time in s

    def update(self, total: float, now: float) -> float | None:
        """Return the rate at a time in s, when the total is known."""
        before, since = self._before = self._before or (total, now)
        if now - since >= 1:
            self.value, self._before = (total - before) / (now - since), (total, now)
        return self.value


class Run:
    """Plumbing, engine and model thread. Any thread may make requests; the answers come on the model thread.

    `live` False: the time is that of the items (a replay). `each_tick` is called on the model thread at each tick,
    and after a list of namespaces.
    """

    def __init__(
        self,
        netns: str | None,
        live: bool,
        seq: Counter64,
        stream_ids: Counter64,
        keep_events: int = KEEP_EVENTS,
        resolve: Callable[[ResolveName], str | None] = lambda query: None,
    ) -> None:
        self.plumbing = Plumbing(seq=seq, stream_ids=stream_ids)
        self.engine = Engine(netns, keep_events, resolve)
        self.engine.ruleset.raw.sets.keeps_elements = not live  # a live session reads those that are shown
        self.live = live
        self.status = Status(netns=clean(netns or ""), mode="LIVE" if live else "REPLAY")
        self.failure = ""
        self.each_tick: Callable[[Engine], None] = lambda engine: None
        self._clock_ns = 0
        self.stopped_ns = 0  # the models' time from now on: no more items come, ages and rates must not change; 0: none
        self.ended = False  # a file was read to its end
        self._packets, self._packet_rate = 0, Rate()
        self._models = ModelThread(self.plumbing.handoff, self._apply, self._tick, self._failed, self._due)

    def start(self) -> None:
        """Begin to read items and requests."""
        self._models.start()

    def now_ns(self) -> int:
        """Return the models' time: now, the newest of the replay, or that at which the clock was stopped."""
        return self.stopped_ns or (time.time_ns() if self.live else self._clock_ns)

    def on_models(self, do: Callable[[Engine, int], None]) -> None:
        """Call `do` on the model thread, with the engine and the models' time."""
        self.plumbing.handoff.call(lambda: do(self.engine, self.now_ns()))

    def waited(self, find: Callable[[Engine, int], Found]) -> Found:
        """Call `find` on the model thread and wait for its result. NettopError: it failed, or the models ended."""
        found: Future[Found] = Future()

        def answer(engine: Engine, now_ns: int) -> None:
            try:
                found.set_result(find(engine, now_ns))
            except Exception as error:
                found.set_exception(
                    error if isinstance(error, NettopError) else NettopError(f"internal error: {error!r}")
                )

        self.on_models(answer)
        while self._models.is_alive():
            with suppress(TimeoutError):
                return found.result(_ALIVE_S)
        raise NettopError("nothing was done: what was shown has ended")

    def close(self) -> None:
        """End every thread and close files."""
        self.plumbing.close()
        self._models.stop()
        if self._models.is_alive():
            self._models.join()
        self.engine.close()

    def _apply(self, item: Item) -> None:
        self.ended |= not self.live and isinstance(item, End) and item.stream is None
        if not self.live:
            self._clock_ns = max(self._clock_ns, item_time(item) or 0)
        if isinstance(item, Batch) and isinstance(item.meta, PacketMeta):
            self._packets += len(item)
        self.engine.apply(item, self.now_ns())
        if isinstance(item, Text) and item.what is TextKind.NAMESPACES:  # new ones are read at once
            self.each_tick(self.engine)

    def _tick(self) -> None:
        now_ns = self.now_ns()
        self._packet_rate.update(self._packets, time.monotonic())
        self.engine.tick(now_ns)
        self.status = self._facts(now_ns)
        self.each_tick(self.engine)

    def _due(self) -> bool:
        """Return whether something changes by time alone, so that the next tick must come soon."""
        events, now_ns = self.engine.events, self.now_ns()
        counted = (*events.rates.last(now_ns), *events.rates.last(now_ns + 1_000_000_000))
        return any(counted) or bool(self._packet_rate.value) or self.engine.due()

    def _facts(self, now_ns: int) -> Status:
        engine = self.engine
        errors = (*(end.error for end in engine.failures), engine.host_map.error)
        count, maximum = engine.counters.table_use(engine.netns)
        return replace(
            self.status,
            netns=clean(engine.netns),
            count=len(engine.flows) if count is None else count,
            maximum=maximum,
            events_per_s=sum(engine.events.rates.last(now_ns)),
            capture=f"{scaled(self._packet_rate.value or 0)} pkt/s" if self._packets else "off",
            acct={"0": "off", "1": "on"}.get(engine.sysctls.value(engine.netns, ACCOUNTING) or "", ""),
            lost=engine.ledger.lost(),
            clock_ns=now_ns,
            notes=tuple(dict.fromkeys(clean(error) for error in errors if error)),
        )

    def _failed(self, error: Exception) -> None:
        self.failure = clean(f"{type(error).__name__}: {error}")


def return_memory() -> None:
    """Free what a closed session held: its models refer to each other, and glibc keeps the heaps of ended threads."""
    gc.collect()
    with suppress(AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)  # malloc_trim(3)
