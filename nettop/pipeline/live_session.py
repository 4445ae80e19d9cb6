"""The live session: a namespace's sources, switched, captured, recorded and let go of when it is deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from nettop.broker.client import Broker, Netns, SetSysctl
from nettop.errors import BrokerError
from nettop.pipeline.engine import Engine
from nettop.pipeline.facts import DeviceChoice, Done, NetnsChoice, Status
from nettop.pipeline.live import MAX_SNAPLEN, LiveSources
from nettop.pipeline.run import ACCT, Run
from nettop.pipeline.session import Session
from nettop.pipeline.ssh import Connection, leaving_out
from nettop.text.sanitize import clean
from nettop.text.units import clock

POKE_EVERY_S = 1.0  # a model that wants fresh data asks at most this often


class LiveSession(Session):
    """Watches one namespace at a time through the broker. NettopError when the first one cannot be opened.

    `ssh` is the session that nettop is used through (ssh.own_session, asked before privileges were dropped).
    """

    def __init__(
        self,
        broker: Broker,
        spec: str = "",
        others: Sequence[str] = (),
        mode: str = "LIVE",
        ssh: Connection | None = None,
    ) -> None:
        netns = broker.netns(spec)
        super().__init__(netns.label, live=True, mode=mode)
        self._broker = broker
        self._netns = netns
        self._others = tuple(others)
        self._ssh = ssh
        self._poked: dict[str, float] = {}
        self._acct_since_ns = 0
        self._capturing = False
        self._running: tuple[LiveSources, ...] = ()  # that of the namespace shown and, for a moment, of the next one
        broker.gone = self._gone  # before anything is open there: a namespace may go at any moment
        try:
            self._sources = self._control.submit(lambda: self._begin(self._run, netns)).result()
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
        return status if self._capturing else replace(status, capture="off")

    # -- namespaces --------------------------------------------------------------------------------------------------

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice]], None]) -> None:
        """The host's, the named ones, and those of the command line."""
        self._act(lambda: deliver(self._choices()), lambda error: None if error is None else deliver(()))

    def switch_namespace(self, spec: str, done: Done) -> None:
        """Watch another namespace from now on; a recording goes on with it."""
        self._act(lambda: self._switch(spec), done)

    def _choices(self) -> list[NetnsChoice]:
        specs = dict.fromkeys(("", *self._broker.names(), *self._others))
        here = self._netns.label
        return [NetnsChoice(s, clean(s) or "(where nettop started)", "here" if s == here else "") for s in specs]

    def _switch(self, spec: str) -> None:
        """The next namespace is opened first: if that fails, the present one goes on."""
        netns = self._broker.netns(spec)
        run = self._new_run(netns.label)
        if self._recorder is not None:
            run.plumbing.record(self._recorder)
        sources = self._begin(run, netns)
        old_run, old_sources, old_netns = self._run, self._sources, self._netns
        self._run, self._sources, self._netns = run, sources, netns
        self._capturing, self._acct_since_ns, self._notes = False, 0, ()
        self._running = (sources,)
        old_sources.close()
        old_run.close()
        if old_netns.handle != netns.handle:
            with suppress(BrokerError):  # it may be gone
                self._broker.leave(old_netns)

    def _begin(self, run: Run, netns: Netns) -> LiveSources:
        """Everything that is watched from the start. On failure nothing of it is left."""
        sources = LiveSources(self._broker, netns, run.plumbing)
        before, self._running = self._running, (*self._running, sources)
        run.each_tick = lambda engine: self._wishes(engine, sources)
        run.start()
        try:
            sources.events()
            sources.table()
            sources.statistics()
            sources.sysctls()
            sources.rules()
        except BaseException:
            self._running = before
            run.close()
            raise
        return sources

    def _gone(self, netns: Netns, why: str) -> None:
        """On the client's reader thread, which must not wait: nothing of a dead namespace may be held."""
        for sources in self._running:
            if sources.netns.handle == netns.handle:
                sources.halt()
        self._act(lambda: self._let_go(netns, why), lambda error: None)

    def _let_go(self, netns: Netns, why: str) -> None:
        if netns.handle != self._netns.handle:
            return
        self._capturing = False
        self._run.each_tick = lambda engine: None
        if self._broker.ended:
            self._note(f"{why}: what is shown is its last state; start nettop again")
        else:
            name = clean(netns.label) or "the host's"
            self._note(f"namespace {name}: {why}. What is shown is its last state; @ chooses another")
        self._sources.close()

    # -- what the models want ----------------------------------------------------------------------------------------

    def _wishes(self, engine: Engine, sources: LiveSources) -> None:
        """On the model thread, at each tick."""
        if engine.flows.resync_wanted(engine.code(engine.netns)):
            self._seldom("table", sources.poke_table)
        if engine.ruleset.wants_text() or engine.ruleset.wants_dump():
            self._seldom("rules", sources.poke_rules)
        if engine.ruleset.has_legacy():
            sources.legacy_counters()

    def _seldom(self, name: str, poke: Callable[[], None]) -> None:
        now = time.monotonic()
        if now - self._poked.get(name, -POKE_EVERY_S) >= POKE_EVERY_S:
            self._poked[name] = now
            poke()

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
        ssh = None if self._netns.label else self._ssh
        self._sources.capture(names, leaving_out(expression, ssh), snaplen)
        self._capturing = True
        if ssh is not None:
            self._note(f"your own ssh session from {ssh[0]}:{ssh[1]} is not captured")

    def stop_capture(self) -> None:
        """Close the rings; what was captured stays."""
        self._capturing = False
        self._act(self._sources.stop_capture, lambda error: None)

    def set_acct(self, on: bool, done: Done) -> None:
        """Switch nf_conntrack_acct in this namespace; only flows that begin later are counted."""
        self._act(lambda: self._set_acct(on), done)

    def _set_acct(self, on: bool) -> None:
        self._broker.change(SetSysctl(self._netns.handle, ACCT, "1" if on else "0"))
        self._acct_since_ns = time.time_ns() if on else 0
        self._sources.poke_sysctls()

    def _open_output(self, path: str) -> int:
        return self._broker.open_output(path, False)

    def _keyframe(self) -> None:
        self._sources.poke_table()
        self._sources.poke_rules()
        self._sources.poke_sysctls()

    def _unblock(self) -> None:
        """Without the broker every call that is under way fails at once."""
        self._broker.gone = None
        self._broker.close()
