"""The live session: the sources of namespaces, switched, captured, recorded and let go of when one is deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from nettop.broker.client import Broker, Netns, SetSysctl
from nettop.errors import BrokerError
from nettop.model.events.table import KEEP_EVENTS
from nettop.model.filter.expression import Filter
from nettop.model.sysctls import ACCOUNTING
from nettop.model.table import Detail, Snapshot, ViewSpec
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.feeds import Feed
from nettop.pipeline.live_sources import MAX_SNAPLEN, LiveSources
from nettop.pipeline.receive_filter import EVERYTHING, ReceiveFilter
from nettop.session import flow_actions
from nettop.session.attention import Attention
from nettop.session.base import RunSession
from nettop.session.own_ssh import Connection, leaving_out
from nettop.session.run import Run
from nettop.session.status import Capturing, DeviceChoice, Done, NetnsChoice, Status
from nettop.text.sanitize import clean
from nettop.text.units import clock

HEADERS = 128  # bytes of a packet that tell its flow, IPv6 extension headers and a tag or two included
POKE_EVERY_S = 1.0  # a model that wants fresh data asks at most this often


class LiveSession(RunSession):
    """Watches one namespace through the broker, and the flows of `others` beside it. NettopError when one is not there.

    `ssh` is the session that nettop is used through (ssh.own_session, asked before privileges were dropped). With an
    `interval` the table is dumped that often (s), whatever it costs. `buffer` is the kernel's for events, in bytes;
    `keep_events` is how many of them are kept.
    """

    def __init__(
        self,
        broker: Broker,
        spec: str = "",
        others: Sequence[str] = (),
        mode: str = "LIVE",
        ssh: Connection | None = None,
        receive_filter: ReceiveFilter | None = None,
        interval: float | None = None,
        buffer: int = feeds.EVENT_RCVBUF,
        keep_events: int = KEEP_EVENTS,
    ) -> None:
        netns = broker.netns(spec)
        super().__init__(netns.label, live=True, mode=mode, keep_events=keep_events)
        self._broker = broker
        self._netns = netns
        self._wanted = tuple(dict.fromkeys((spec, *others)))
        self._ssh = ssh
        self._poked: dict[tuple[int, str], float] = {}  # namespace and feed → when
        self._attention, self._pacing = Attention(), threading.Lock()
        self._acct_since_ns = 0
        self._capturing: Capturing | None = None
        self._went_ns, self._went_word = 0, ""  # when the namespace shown went, and the header's word for it
        self._receive_filter = receive_filter
        self._interval = interval
        self._buffer = buffer
        self._beside: tuple[LiveSources, ...] = ()  # of the other namespaces whose flows are shown
        self._running: tuple[LiveSources, ...] = ()  # of all these and, for a moment, of the next ones
        broker.on_gone = self._gone  # before anything is open there: a namespace may go at any moment
        try:
            self._sources, *beside = self._control.submit(lambda: self._begin(self._run, netns)).result()
            self._beside = tuple(beside)
        except BaseException:
            self.close()
            raise

    def status(self) -> Status:
        """The header's facts; accounting that we switched on says since when."""
        status = super().status()
        if self._acct_since_ns:
            status = replace(status, acct=f"since {clock(self._acct_since_ns)[:5]}")
        if self._capturing and status.capture == "off":
            status = replace(status, capture="0 pkt/s")
        receive_filter = clean(self._receive_filter.text) if self._receive_filter is not None else ""
        beside = f" +{len(self._beside)}" if self._beside else ""
        netns = f"{status.netns or 'host'}{beside}" if beside else status.netns
        status = replace(status, netns=netns, beside=len(self._beside))
        status = replace(status, read_only=self._broker.read_only, receive_filter=receive_filter)
        if self._went_ns:
            status = replace(status, mode=self._went_word, clock_ns=self._went_ns, events_per_s=None)
        return replace(status, capturing=self._capturing, capture=status.capture if self._capturing else "off")

    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        """The window that spec describes, delivered on the model thread; what it shows is polled from now on."""
        self._look(view)
        super().ask(view, spec, deliver)

    def detail(self, view: str, ident: int, deliver: Callable[[Detail | None], None]) -> None:
        """What is known of one row, delivered on the model thread; None when it is gone."""
        self._look(f"{view}/detail")
        super().detail(view, ident, deliver)

    def _look(self, at: str) -> None:
        if self._attention.look(at):
            self._pace(self._watched())

    def _pace(self, watched: Sequence[LiveSources]) -> None:
        """What nobody looks at and no recording takes is polled more seldom."""
        with self._pacing:
            visible = self._attention.now()
            for sources in watched:
                sources.pace(visible, self._recorder is not None)

    # -- namespaces --------------------------------------------------------------------------------------------------

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice]], None]) -> None:
        """The host's, the named ones, and those of the command line."""
        self._act(lambda: deliver(self._choices()), lambda error: None if error is None else deliver(()))

    def switch_namespace(self, spec: str, done: Done) -> None:
        """Watch another namespace from now on; a recording goes on with it."""
        self._act(lambda: self._switch(spec), done)

    def _choices(self) -> list[NetnsChoice]:
        specs = dict.fromkeys(("", *self._broker.names(), *self._wanted))
        notes = {self._netns.label: "here"} | {sources.netns.label: "its flows too" for sources in self._beside}
        return [NetnsChoice(s, clean(s) or "(where nettop started)", notes.get(s, "")) for s in specs]

    def _switch(self, spec: str) -> None:
        """The next namespace is opened first: if that fails, the present one goes on."""
        netns = self._broker.netns(spec)
        run = self._new_run(netns.label)
        if self._recorder is not None:
            run.plumbing.record(self._recorder)
        sources, *beside = self._begin(run, netns)
        old_run, old_sources = self._run, (self._sources, *self._beside)
        self._run, self._sources, self._netns, self._beside = run, sources, netns, tuple(beside)
        self._capturing, self._acct_since_ns, self._notes = None, 0, ()
        self._went_ns = 0
        self._running = (sources, *beside)
        for old in old_sources:
            old.close()
        old_run.close()
        kept = {each.netns.handle for each in self._running}
        for old in old_sources:
            if old.netns.handle not in kept:
                with suppress(BrokerError):  # it may be gone
                    self._broker.leave(old.netns)

    def _begin(self, run: Run, netns: Netns) -> list[LiveSources]:
        """Everything that is watched from the start, the namespace shown first. On failure nothing of it is left."""
        before = self._running
        try:
            found = [LiveSources(self._broker, netns, run.plumbing)]
            found += [LiveSources(self._broker, other, run.plumbing) for other in self._others(netns)]
            self._running = (*before, *found)
            run.engine.show_namespaces([each.netns.label for each in found])
            run.each_tick = lambda engine: self._wishes(engine, found)
            run.engine.watch(self._receive_filter)
            run.start()
            for sources in found:
                self._conntrack(sources)
                sources.watch(*feeds.EVERYWHERE)
            found[0].watch(*feeds.SHOWN)
        except BaseException:
            self._running = before
            run.close()
            raise
        return found

    def _others(self, netns: Netns) -> list[Netns]:
        """The namespaces of the command line but this one, where it named several."""
        if len(self._wanted) == 1:
            return []
        found = {other.handle: other for other in map(self._broker.netns, self._wanted)}
        return [other for handle, other in found.items() if handle != netns.handle]

    def _gone(self, netns: Netns, why: str) -> None:
        """On the client's reader thread, which must not wait: nothing of a dead namespace may be held."""
        for sources in self._running:
            if sources.netns.handle == netns.handle:
                sources.halt()
        self._act(lambda: self._let_go(netns, why), lambda error: None)

    def _let_go(self, netns: Netns, why: str) -> None:
        if netns.handle != self._netns.handle:
            self._forget(netns, why)
            return
        self._capturing = None
        self._run.each_tick = lambda engine: None
        self._went_ns, self._went_word = time.time_ns(), "ENDED" if self._broker.ended else "GONE"
        if self._broker.ended:
            self._note(f"{why}: what is shown is its last state; start nettop again")
        else:
            name = clean(netns.label) or "the host's"
            self._note(f"namespace {name}: {why}. What is shown is its last state; @ chooses another")
        self._sources.close()
        self._stand_still()

    def _stand_still(self) -> None:
        """Ages and rates are as they were when the namespace went, once no other one is watched beside it."""
        if self._went_ns and not self._beside:
            self._run.stop_clock(self._went_ns)

    def _forget(self, netns: Netns, why: str) -> None:
        """One of the namespaces beside the one shown is gone."""
        gone = [sources for sources in self._beside if sources.netns.handle == netns.handle]
        if not gone:
            return
        self._beside = tuple(sources for sources in self._beside if sources not in gone)
        self._note(f"namespace {clean(netns.label)}: {why}")
        for sources in gone:
            sources.close()
        self._run.waited(lambda engine, now_ns: engine.forget(netns.label))
        self._stand_still()

    # -- what the models want ----------------------------------------------------------------------------------------

    def _wishes(self, engine: Engine, watched: Sequence[LiveSources]) -> None:
        """On the model thread, at each tick."""
        self._pace(watched)
        for sources in watched:
            if engine.flows.resync_wanted(engine.code(sources.netns.label)):
                self._seldom(sources, feeds.TABLE)
            if engine.processes.wanted(engine.code(sources.netns.label), time.time_ns()):
                self._seldom(sources, feeds.PROCESSES)
            if engine.expectations.resync_wanted(engine.code(sources.netns.label)):
                self._seldom(sources, feeds.EXPECTATIONS)
        sources = watched[0]
        if engine.ruleset.wants_text() or engine.ruleset.wants_dump():
            self._seldom(sources, feeds.NFT, feeds.RULE_TEXTS)
        if engine.ruleset.has_legacy():
            sources.watch(feeds.LEGACY_TEXTS)

    def _seldom(self, sources: LiveSources, *wanted: Feed) -> None:
        now, name = time.monotonic(), (sources.netns.handle, wanted[0].name)
        if now - self._poked.get(name, -POKE_EVERY_S) >= POKE_EVERY_S:
            self._poked[name] = now
            sources.poke(*wanted)

    # -- capture, accounting, recording ------------------------------------------------------------------------------

    def devices(self, deliver: Callable[[Sequence[DeviceChoice]], None]) -> None:
        """The devices of the watched namespace; those that are up, loopback apart, are the usual ones."""
        self._act(lambda: deliver(self._devices()), lambda error: None if error is None else deliver(()))

    def _devices(self) -> list[DeviceChoice]:
        found = self._broker.devices(self._netns)
        usual = {d.name for d in found if d.up and d.name != "lo"} or {d.name for d in found if d.up}
        return [DeviceChoice(d.name, f"{'up' if d.up else 'down'}, mtu {d.mtu}", d.name in usual) for d in found]

    def start_capture(self, devices: Sequence[str], expression: str, done: Done, snaplen: int = MAX_SNAPLEN) -> None:
        """Rings on these devices; our own ssh session is left out, and the header says so."""
        self._act(lambda: self._capture(devices, expression, snaplen), done)

    def _capture(self, devices: Sequence[str], expression: str, snaplen: int) -> None:
        names = list(devices) or [d.name for d in self._devices() if d.usual]
        if not names:
            raise BrokerError("no device is up here", "`ip link set DEVICE up`, or choose another namespace with @")
        ssh = self._ssh if self._broker.at_home(self._netns) else None
        self._sources.capture(names, leaving_out(expression, ssh), snaplen)
        without = "" if ssh is None else f"your ssh session, {ssh[0]}:{ssh[1]}"
        self._capturing = Capturing(tuple(names), expression, without, snaplen == HEADERS)
        if ssh is not None:
            self._note(f"your own ssh session from {ssh[0]}:{ssh[1]} is not captured")

    def stop_capture(self) -> None:
        """Close the rings; what was captured stays."""
        self._capturing = None
        self._act(self._sources.stop_capture, lambda error: None)

    # -- flows -------------------------------------------------------------------------------------------------------

    def delete_flow(self, ident: int, done: Done, told: Callable[[str], None]) -> None:
        """Delete one flow of the kernel's table."""
        self._act(lambda: told(self._delete(lambda engine, now_ns: flow_actions.one(engine, ident))), done)

    def delete_matching(self, wanted: Filter | None, done: Done, told: Callable[[str], None]) -> None:
        """Delete every flow that matches now."""
        self._act(
            lambda: told(self._delete(lambda engine, now_ns: flow_actions.matching(engine, wanted, now_ns))), done
        )

    def _delete(self, find: Callable[[Engine, int], list[flow_actions.Chosen]]) -> str:
        deleted = gone = 0
        netns = {sources.netns.label: sources.netns for sources in self._watched()}
        for chosen in self._run.waited(find):
            for keys in chosen.chunks():
                done, late = self._broker.delete_flows(netns[chosen.netns], keys)
                deleted, gone = deleted + done, gone + late
        for sources in self._watched():  # who tells of a deletion is the event; where nobody sends any, the dump
            sources.poke(feeds.TABLE)
        return flow_actions.deleted_words(deleted, gone)

    def _watched(self) -> tuple[LiveSources, ...]:
        return (self._sources, *self._beside)

    def reset_counter(self, ident: int, done: Done) -> None:
        """Set a counter of nftables or nfacct to zero."""
        self._act(lambda: self._reset(ident), done)

    def _reset(self, ident: int) -> None:
        name = self._run.waited(lambda engine, now_ns: engine.counters.reset_name(ident))
        if name is None:
            raise BrokerError("this counter cannot be reset", "nft counters and quotas, and nfacct objects can")
        self._broker.reset_counter(self._netns, name)

    def watch_only(self, expression: str, done: Done) -> None:
        """Receive only flows and events that match; "" everything again."""
        self._act(lambda: self._watch_only(ReceiveFilter(expression) if expression.strip() else None), done)

    def _watch_only(self, receive_filter: ReceiveFilter | None) -> None:
        """Empty the flow table and read it again: its flows were received with another filter."""
        self._receive_filter = receive_filter
        for sources in self._watched():
            sources.stop(*feeds.CONNTRACK)
        self._run.waited(lambda engine, now_ns: engine.watch(receive_filter))
        for sources in self._watched():
            self._conntrack(sources)

    def _conntrack(self, sources: LiveSources) -> None:
        kernel = self._receive_filter.kernel if self._receive_filter is not None else EVERYTHING
        sources.events(self._buffer, kernel.program)
        if self._interval is None:
            sources.table(dump_filter=kernel.dump)
        else:
            sources.table(replace(feeds.TABLE, every_s=self._interval, share=None), kernel.dump)

    def measure_rates(self, done: Done) -> None:
        """Rates from the headers of packets, on the usual devices."""
        self.start_capture((), "", done, HEADERS)

    def set_acct(self, on: bool, done: Done) -> None:
        """Switch nf_conntrack_acct where flows are watched; only flows that begin later are counted."""
        self._act(lambda: self._set_acct(on), done)

    def _set_acct(self, on: bool) -> None:
        for sources in self._watched():
            self._broker.change(SetSysctl(sources.netns.handle, ACCOUNTING, "1" if on else "0"))
            sources.poke(feeds.SYSCTLS)
        self._acct_since_ns = time.time_ns() if on else 0

    def _open_output(self, path: str) -> int:
        return self._broker.open_output(path, False)

    def _keyframe(self) -> None:
        self._pace(self._watched())
        for sources in self._watched():
            sources.poke(*feeds.KEYFRAMES)

    def _unblock(self) -> None:
        """Without the broker every call that is under way fails at once."""
        self._broker.on_gone = None
        self._broker.close()
