"""The live session: the sources of its namespaces, from their start to the deletion of a namespace."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from nettop.broker.client import Broker
from nettop.broker.requests import Netns, SetSysctl
from nettop.errors import BrokerError
from nettop.model.events.table import KEEP_EVENTS
from nettop.model.filter.expression import Filter
from nettop.model.sysctls import ACCOUNTING
from nettop.model.table import Detail, Snapshot, ViewSpec
from nettop.pipeline import feeds
from nettop.pipeline.captures import MAX_SNAPLEN, CaptureRequest
from nettop.pipeline.engine import Engine
from nettop.pipeline.feed import Feed
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.map_sources import MapSources
from nettop.pipeline.receive_filter import EVERYTHING, ReceiveFilter
from nettop.pipeline.route_checks import RouteChecks
from nettop.session import captures, choices, flow_actions
from nettop.session.base import Session
from nettop.session.own_ssh import Connection
from nettop.session.packet_way import PacketWay, packet_way
from nettop.session.run import Run, return_memory
from nettop.session.sets import KernelSets
from nettop.session.status import Capturing, DeviceChoice, Done, NetnsChoice, Status, TraceRequest
from nettop.session.tracing import Tracer
from nettop.session.visible_views import VisibleViews
from nettop.sources.netlink import ALL_PARTS
from nettop.text.sanitize import clean
from nettop.text.units import clock

HEADERS = 128  # bytes of a packet that identify its flow, with IPv6 extension headers and up to two VLAN tags
_INPUT = "input"  # counts as a view: what is still is read at its normal pace for a while after a key
_Choices = TypeVar("_Choices")
POKE_EVERY_S = 1.0  # models get fresh data on request at most this often


class LiveSession(Session):
    """Watches one namespace through the broker, and the flows of `others`. NettopError if one does not exist.

    `ssh` is the ssh session of nettop's user (own_ssh.own_session, called before privileges are dropped). With an
    `interval` (s) the table is dumped that often at any cost. `buffer` is the kernel's for events, in bytes; the last
    `keep_events` events are kept.
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
        self._broker = self._services = broker
        self._netns, self._ssh = netns, ssh
        self._specs = tuple(dict.fromkeys((spec, *others)))
        self._poked_at: dict[tuple[int, str], float] = {}  # namespace and feed → time of the last request
        self._visible, self._pacing = VisibleViews(), threading.Lock()
        self._capturing: Capturing | None = None
        self._captures = self._acct_since_ns = 0  # captures so far
        self._ended_ns, self._ended_mode = 0, ""  # when the shown namespace ended, and the mode in the header
        self._tracer = Tracer(broker, self._note, lambda change: self._act(change, lambda error: None))
        self._sets = KernelSets(broker, lambda: self._netns)
        self._receive_filter, self._interval, self._buffer = receive_filter, interval, buffer
        self._other_sources: tuple[LiveSources, ...] = ()  # of the other namespaces whose flows are shown
        self._running: tuple[LiveSources, ...] = ()  # of all namespaces; during a switch also of the next ones
        self._map = MapSources(broker, self._run.plumbing)
        broker.on_gone = self._gone  # first, since a namespace may be deleted at any moment
        try:
            begin = lambda: self._begin(self._run, netns, self._others(netns, self._specs))  # noqa: E731
            self._sources, *other_sources = self._control.submit(begin).result()
            self._other_sources = tuple(other_sources)
        except BaseException:
            self.close()
            raise

    def status(self) -> Status:
        """Return the header's facts, with the time since which accounting that we switched on is on."""
        status = super().status()
        if self._acct_since_ns:
            status = replace(status, acct=f"since {clock(self._acct_since_ns)[:5]}")
        status = replace(status, capture="0 pkt/s") if self._capturing and status.capture == "off" else status
        receive_filter = clean(self._receive_filter.text) if self._receive_filter is not None else ""
        others = f" +{len(self._other_sources)}" if self._other_sources else ""
        netns = f"{status.netns or 'host'}{others}" if others else status.netns
        status = replace(status, netns=netns, others=len(self._other_sources))
        status = replace(status, read_only=self._broker.read_only, receive_filter=receive_filter)
        status = replace(status, tracing=self._tracer.tracing)
        if self._ended_ns:
            status = replace(status, mode=self._ended_mode, clock_ns=self._ended_ns, events_per_s=None)
        if self._capturing is None:
            return replace(status, capturing=None, capture="off")
        return replace(status, capturing=replace(self._capturing, devices=captures.capturing(self._watched())))

    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        """Deliver the window that spec describes, on the model thread, and poll the view's feeds."""
        self._request(view)
        super().ask(view, spec, deliver)

    def detail(self, view: str, ident: int, deliver: Callable[[Detail | None], None]) -> None:
        """Deliver one row in full, on the model thread; None if it is gone. Poll its feeds."""
        self._request(f"{view}/detail")
        super().detail(view, ident, deliver)

    def note_input(self) -> None:
        """Poll at the normal pace for some seconds, also where all flows are still."""
        self._request(_INPUT)

    def _request(self, at: str) -> None:
        if self._visible.add(at):
            run = self._run
            run.on_models(lambda engine, now_ns: run.each_tick(engine))

    def _pace(self, engine: Engine, watched: Sequence[LiveSources]) -> None:
        """Set the pace of every feed: slower if it is neither visible nor recorded, or if all flows are still."""
        with self._pacing:
            visible = self._visible.now()
            for sources in watched:
                sources.pace(visible, self._saving.recorder is not None, self._still_dumps(engine, sources))

    def _still_dumps(self, engine: Engine, sources: LiveSources) -> int:
        """Return how many dumps in a row found a namespace's flows still; 0 for some seconds after a key."""
        return 0 if _INPUT in self._visible.now() else engine.flows.still_dumps(engine.code(sources.netns.label))

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice] | str], None]) -> None:
        """Deliver every namespace of the host that can be watched."""
        others = [sources.netns for sources in self._other_sources]
        self._choose(lambda: choices.netns_choices(self._broker, self._specs, self._netns, others), deliver)

    def _choose(self, find: Callable[[], _Choices], deliver: Callable[[_Choices | str], None]) -> None:
        self._act(lambda: deliver(find()), lambda error: None if error is None else deliver(error))

    def switch_namespace(self, spec: str, done: Done) -> None:
        """Watch another namespace from now on; a recording goes on with it. The flows of the others are kept."""
        self._watch(spec, self._specs, done)

    def watch_namespaces(self, specs: Sequence[str], done: Done) -> None:
        """Watch several namespaces from now on: all of the first one, flows and events of the others."""
        self._watch(specs[0], tuple(dict.fromkeys(specs)), done)

    def _watch(self, spec: str, specs: tuple[str, ...], done: Done) -> None:
        def switch() -> None:
            self._switch(spec, specs)
            return_memory()  # that of the models before, which nothing refers to any more

        self._act(switch, done)

    def _switch(self, spec: str, specs: tuple[str, ...]) -> None:
        """Open the next namespaces, then close the current ones. If that fails, the current ones continue."""
        netns = self._broker.netns(spec)
        other_netns = self._others(netns, specs)
        self._sets.close()
        self._tracer.stop()
        run = self._new_run(netns.label)
        if self._saving.recorder is not None:
            run.plumbing.record(self._saving.recorder)
        sources, *others = self._begin(run, netns, other_netns)
        self._specs = specs
        old_run, old_sources = self._run, (self._sources, *self._other_sources)
        self._run, self._sources, self._netns, self._other_sources = run, sources, netns, tuple(others)
        self._capturing, self._acct_since_ns, self._notes = None, 0, ()
        self._ended_ns = 0
        self._running = (sources, *others)
        for old in old_sources:
            old.close()
        old_run.close()
        still_running = {each.netns.handle for each in self._running}
        for old in old_sources:
            if old.netns.handle not in still_running:
                with suppress(BrokerError):  # it may be gone
                    self._broker.leave(old.netns)

    def _begin(self, run: Run, netns: Netns, others: Sequence[Netns]) -> list[LiveSources]:
        """Start the sources of every namespace, the shown one first, and return them. On failure none is left."""
        before, host_map = self._running, MapSources(self._broker, run.plumbing)
        try:
            found = [LiveSources(self._broker, netns, run.plumbing)]
            found += [LiveSources(self._broker, other, run.plumbing) for other in others]
            self._running = (*before, *found)
            run.engine.show_namespaces({each.netns.label: each.netns.inode for each in found})
            run.each_tick = lambda engine: self._serve_models(engine, found, host_map)
            run.engine.watch(self._receive_filter)
            run.engine.checks = RouteChecks(self._broker)
            run.start()
            for sources in found:
                self._conntrack(sources)
                sources.watch(*feeds.EVERYWHERE)
            found[0].watch(feeds.RULE_CHANGES, *feeds.SHOWN)
        except BaseException:
            self._running = before
            run.close()
            raise
        self._map = host_map
        return found

    def _others(self, netns: Netns, specs: Sequence[str]) -> list[Netns]:
        """Return the namespaces other than the shown one, if there are several."""
        if len(specs) == 1:
            return []
        found = {other.handle: other for other in map(self._broker.netns, specs)}
        return [other for handle, other in found.items() if handle != netns.handle]

    def _gone(self, netns: Netns, reason: str) -> None:
        """Stop a deleted namespace's sources, which keep it open. Must not block the client's reader thread."""
        for sources in self._running:
            if sources.netns.handle == netns.handle:
                sources.halt()
        self._map.close_netns(netns)
        self._act(lambda: self._end_namespace(netns, reason), lambda error: None)

    def _end_namespace(self, netns: Netns, reason: str) -> None:
        if netns.handle != self._netns.handle:
            self._end_other(netns, reason)
            return
        self._capturing = None
        self._sets.close()
        self._tracer.stop()
        host_map, goes_on = self._map, not self._broker.ended
        self._run.each_tick = lambda engine: self._serve_map(engine, host_map) if goes_on else None
        self._ended_ns, self._ended_mode = time.time_ns(), "ENDED" if self._broker.ended else "GONE"
        if self._broker.ended:
            self._note(f"{reason}: what is shown is its last state; start nettop again")
        else:
            name = clean(netns.label) or "the host's"
            self._note(f"namespace {name}: {reason}. Its last state is shown, the map goes on; @ chooses another")
        self._sources.close()
        self._stop_clock()

    def _stop_clock(self) -> None:
        """Stop ages and rates at the end of the shown namespace, if no other one is watched."""
        if self._ended_ns and not self._other_sources:
            self._run.stopped_ns = self._ended_ns

    def _end_other(self, netns: Netns, reason: str) -> None:
        """Stop watching another namespace, which is gone."""
        gone = [sources for sources in self._other_sources if sources.netns.handle == netns.handle]
        if not gone:
            return
        self._other_sources = tuple(sources for sources in self._other_sources if sources not in gone)
        self._note(f"namespace {clean(netns.label)}: {reason}")
        for sources in gone:
            sources.close()
        self._run.waited(lambda engine, now_ns: engine.forget(netns.label))
        self._stop_clock()

    def _serve_models(self, engine: Engine, watched: Sequence[LiveSources], host_map: MapSources) -> None:
        """Read what the models request. Called on the model thread, at each tick."""
        self._pace(engine, watched)
        self._serve_map(engine, host_map)
        for sources in watched:
            netns = engine.code(sources.netns.label)
            if engine.flows.resync_wanted(netns):
                self._poke(sources, feeds.TABLE)
            if engine.processes.wanted(netns, time.time_ns(), self._still_dumps(engine, sources)):
                self._poke(sources, feeds.PROCESSES)
            if engine.expectations.resync_wanted(netns):
                self._poke(sources, feeds.EXPECTATIONS)
        if (ended := self._tracer.look(engine, time.time_ns())) is not None:
            self._act(lambda: self._tracer.stop(ended), lambda error: None)
        sources = watched[0]
        if engine.ruleset.dumps.are_old():
            self._poke(sources, feeds.NFT, sources.rest_ns(feeds.NFT_EVENTS) / 1e9, engine.ruleset.dumps.unread())
        sources.want_texts([*engine.ruleset.texts.wanted()])
        sources.show_rules(engine.ruleset.on_screen if "rules" in self._visible.now() else ())
        if engine.ruleset.has_legacy():
            sources.watch(feeds.LEGACY_TEXTS)
        if self._saving.recorder is not None and engine.ruleset.texts.name_ipsets:
            sources.watch(feeds.IPSET_DUMPS)

    def _serve_map(self, engine: Engine, host_map: MapSources) -> None:
        visible = not feeds.NAMESPACES.shown_in.isdisjoint(self._visible.now())
        host_map.serve(engine.host_map, visible or self._saving.recorder is not None)

    def _poke(self, sources: LiveSources, feed: Feed, every_s: float = 0, parts: Collection[str] = ALL_PARTS) -> None:
        now, name = time.monotonic(), (sources.netns.handle, feed.name)
        if now - self._poked_at.get(name, -math.inf) >= max(every_s, POKE_EVERY_S):
            self._poked_at[name] = now
            sources.poke(feed, parts=parts)

    def devices(self, deliver: Callable[[Sequence[DeviceChoice] | str], None]) -> None:
        """Deliver the devices of the watched namespaces. Those of the shown one that are up may be the usual ones."""
        watched = [sources.netns for sources in self._watched()]
        self._choose(lambda: captures.devices(self._broker, watched), deliver)

    def start_capture(self, devices: Sequence[str], expression: str, done: Done, snaplen: int = MAX_SNAPLEN) -> None:
        """Capture on these devices without our own ssh session; the header shows this."""
        self._act(lambda: self._capture(CaptureRequest(tuple(devices), expression, snaplen)), done)

    def _capture(self, request: CaptureRequest) -> None:
        self._captures += 1
        self._capturing = captures.start(self._broker, self._watched(), request, self._captures, self._ssh, self._note)

    def stop_capture(self) -> None:
        """Close the rings; captured packets are kept."""
        self._capturing = None
        self._act(lambda: captures.stop(self._watched()), lambda error: None)

    def delete_flow(self, ident: int, done: Done, deliver: Callable[[str], None]) -> None:
        """Delete one flow of the kernel's table."""
        self._act(lambda: deliver(self._delete(lambda engine, now_ns: flow_actions.one(engine, ident))), done)

    def delete_matching(self, display_filter: Filter | None, done: Done, deliver: Callable[[str], None]) -> None:
        """Delete every flow that matches now."""
        find = lambda engine, now_ns: flow_actions.matching(engine, display_filter, now_ns)  # noqa: E731
        self._act(lambda: deliver(self._delete(find)), done)

    def _delete(self, find: Callable[[Engine, int], list[flow_actions.SelectedFlows]]) -> str:
        netns = {sources.netns.label: sources.netns for sources in self._watched()}
        deleted = flow_actions.delete(self._broker, self._run.waited(find), netns)
        for sources in self._watched():  # an event reports a deletion; without events, a dump
            sources.poke(feeds.TABLE)
        return deleted

    def _watched(self) -> tuple[LiveSources, ...]:
        return (self._sources, *self._other_sources)

    def reset_counter(self, ident: int, done: Done) -> None:
        """Set a counter of nftables or nfacct to zero."""
        self._act(lambda: self._reset(ident), done)

    def _reset(self, ident: int) -> None:
        name = self._run.waited(lambda engine, now_ns: engine.counters.reset_name(ident))
        if name is None:
            raise BrokerError("this counter cannot be reset", "nft counters and quotas, and nfacct objects can")
        self._broker.reset_counter(self._netns, name)

    def start_trace(self, request: TraceRequest, done: Done) -> None:
        """Trace packets: a table of our own marks them until it is stopped, or its time or count is reached."""
        self._act(lambda: self._tracer.start(self._sources, self._run, request), done)

    def stop_trace(self, done: Done) -> None:
        """End the running trace."""
        self._act(self._tracer.stop, done)

    def watch_only(self, expression: str, done: Done) -> None:
        """Receive only flows and events that match; "" receives everything again."""
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
            sources.dump(dump_filter=kernel.dump)
        else:
            sources.dump(replace(feeds.TABLE, every_s=self._interval, still_s=None, share=None), kernel.dump)

    def measure_rates(self, done: Done) -> None:
        """Measure rates by packet headers, on the usual devices."""
        self._act(lambda: self._capture(CaptureRequest(snaplen=HEADERS, headers=True)), done)

    def set_acct(self, on: bool, done: Done) -> None:
        """Switch nf_conntrack_acct in the watched namespaces. It counts only flows that begin later."""
        self._act(lambda: self._set_acct(on), done)

    def _set_acct(self, on: bool) -> None:
        for sources in self._watched():
            self._broker.change(SetSysctl(sources.netns.handle, ACCOUNTING, "1" if on else "0"))
            sources.poke(feeds.SYSCTLS)
        self._acct_since_ns = time.time_ns() if on else 0

    def _keyframe(self) -> None:
        self._pace(self._run.engine, self._watched())
        for sources in self._watched():
            sources.poke(*feeds.KEYFRAMES)
        self._map.refresh()

    def packet_way(self, text: str, done: Done, deliver: Callable[[PacketWay], None]) -> None:
        """Ask the kernel which hooks a packet passes."""
        engine = self._run.engine
        links = engine.routing.links(engine.code(self._netns.label))
        self._act(lambda: deliver(packet_way(self._broker, self._netns, text, links)), done)

    def _unblock(self) -> None:
        """Close the broker: every running call to it fails at once."""
        self._broker.on_gone = None
        self._broker.close()
