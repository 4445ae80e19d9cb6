"""The requests of the screens to a session: views, the header's state, and actions, on a run of models.

The run is of a live namespace or of a file. Actions run on a control thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from nettop.batch import Counter64
from nettop.broker.client import Broker
from nettop.broker.requests import ResolveName
from nettop.errors import NettopError
from nettop.model.events.table import KEEP_EVENTS
from nettop.model.filter.expression import Filter
from nettop.model.findings import Finding
from nettop.model.flows.capture import FlowCapture, flow_capture
from nettop.model.flows.clipboard import flow_text
from nettop.model.ruleset.changes.log import Commit
from nettop.model.ruleset.find import Hit
from nettop.model.ruleset.sets.contents import SetContents, SetsUsed
from nettop.model.ruleset.sets.membership import Question
from nettop.model.table import Detail, RulePlace, Snapshot, TableModel, ViewSpec
from nettop.pipeline.engine import Engine
from nettop.session import exports, flow_actions, map_actions, trace_actions
from nettop.session.packet_way import PacketWay
from nettop.session.run import Rate, Run
from nettop.session.saving import Saving
from nettop.session.sets import RecordedSets, SetSource, asked_of, read_pages
from nettop.session.status import DeviceChoice, Done, NetnsChoice, Status, TraceRequest
from nettop.session.trace_actions import MetRule

_NOTES = 8
_OF_A_FILE = "a file is shown: this is for the live host"


class Session:
    """One run: its models, its capture, its recording. Every call returns at once; answers come by callback.

    Callbacks are called on any thread (those of views on the model thread); screens go on in their own event loop. The
    actions that need a live host have here the answer of a file.
    """

    first_view = ""  # the view to begin with; "": the first one

    def __init__(self, netns: str | None, live: bool, mode: str, keep_events: int = KEEP_EVENTS) -> None:
        self._services: Broker | None = None  # creates outputs and resolves names
        self._sets: SetSource = RecordedSets(lambda: self._run)
        self._keep_events = keep_events
        self._seq, self._ids = Counter64(), Counter64()
        self._mode, self._live = mode, live
        self._names = False
        self._run = self._new_run(netns)
        self._control = ThreadPoolExecutor(1, "nettop-control")
        self._saving = Saving(self._seq, self._note)
        self._paused = False
        self._notes: tuple[str, ...] = ()
        self._closed = False
        self._cpu = Rate()

    def _new_run(self, netns: str | None) -> Run:
        run = Run(netns, self._live, self._seq, self._ids, self._keep_events, self._resolve)
        run.engine.names.switch(self._names)
        return run

    def _resolve(self, query: ResolveName) -> str | None:
        return self._services.resolve(query) if self._services is not None else None

    @property
    def views(self) -> Mapping[str, TableModel]:
        """Every view's model, by name; missing ones are not shown. Other threads may read only its columns."""
        return self._run.engine.views

    def version(self, view: str) -> int:
        """Return a number that grows when the view may show something else, time excepted: cheap, from any thread."""
        return self._run.engine.views[view].version

    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        """Deliver the window that spec describes, on the model thread."""
        self._run.on_models(lambda engine, now_ns: deliver(engine.snapshot(view, spec, now_ns)))

    def detail(self, view: str, ident: int, deliver: Callable[[Detail | None], None]) -> None:
        """Deliver one row in full, on the model thread; None if it is gone."""
        self._run.on_models(lambda engine, now_ns: deliver(engine.views[view].detail(ident, now_ns)))

    def status(self) -> Status:
        """Return the header's facts: cheap, from any thread."""
        run, failure = self._run, self._run.failure
        broken = (f"internal error, what is shown no longer changes: {failure}",) if failure else ()
        return replace(
            run.status,
            mode=self._mode,
            clock_ns=run.status.clock_ns if not self._live else time.time_ns(),
            recording=self._saving.text(),
            cpu_percent=self._cpu.update(100 * time.process_time(), time.monotonic()),
            notes=(*broken, *self._notes, *run.status.notes),
            paused=self._paused,
            names=self._names,
        )

    def note_input(self) -> None:
        """Note that a key or the mouse was used."""

    def pause(self, on: bool) -> None:
        """Note that the screens are paused. A replay stops its clock; live, everything is still received."""
        self._paused = on

    def start_recording(self, path: str, done: Done) -> None:
        """Record every stream to a new file, beginning with a keyframe; refuse to overwrite."""

        def start() -> None:
            self._saving.start(path, self._services, self._run.plumbing)
            self._keyframe()

        self._act(start, done)

    def stop_recording(self, done: Done) -> None:
        """End the recording properly."""
        self._act(lambda: self._saving.stop(self._run.plumbing), done)

    def export(
        self, path: str, display_filter: Filter | None, done: Done, deliver: Callable[[str], None] = lambda text: None
    ) -> None:
        """Write the packets that match to a new file, pcap or pcapng; deliver their number, the format and the path."""
        self._act(lambda: deliver(exports.packets(self._run, self._services, path, display_filter)), done)

    def packet_lists(self, deliver: Callable[[Sequence[tuple[int, str, int]]], None]) -> None:
        """Deliver the captures that have packets, the newest first: number, name, count. On the model thread."""
        self._run.on_models(
            lambda engine, now_ns: deliver([(o.number, o.name, o.store.seen) for o in engine.packets.lists.all[::-1]])
        )

    def show_packets(self, number: int) -> None:
        """Show the packets of the capture with this number."""
        self._run.on_models(lambda engine, now_ns: engine.packets.show(number))

    def find_rules(self, text: str, deliver: Callable[[Sequence[Hit] | None, Sequence[str]], None]) -> None:
        """Deliver the rules that match a text, address, port or device, and the sets that could not be searched.

        None instead of rules: a live session has not read them yet.
        """

        def answer(engine: Engine, contents: SetContents, missing: Sequence[str]) -> None:
            if text:  # else only the index is made: what was searched stays
                engine.finder.hold(text, contents)
            deliver([hit for _, hit in engine.finder.found(text)], missing)

        def search(engine: Engine, now_ns: int) -> None:
            used, asked = engine.finder.used(), asked_of(text)
            if self._live and not engine.ruleset.is_read:
                deliver(None, ())
            elif asked is None or not used.names:
                answer(engine, SetContents(), ())
            else:
                self._act(lambda: search_sets(asked, used), lambda failure: None)

        def search_sets(asked: Question, used: SetsUsed) -> None:
            found = self._sets.search(asked, used)
            self._run.on_models(lambda engine, _: answer(engine, *found))

        self._run.on_models(search)

    def found_rules(self, text: str, deliver: Callable[[Sequence[Hit]], None]) -> None:
        """Deliver the rules that match a text now. It was searched before; sets are not read again."""
        self._run.on_models(lambda engine, _: deliver([hit for _, hit in engine.finder.found(text)]))

    def read_elements(self, ident: int, done: Done) -> None:
        """Read the elements of the sets of a rule, or those that follow the last one of a set, and show them there."""
        self._act(lambda: read_pages(self._run, self._sets, ident), done)

    def packet_way(self, text: str, done: Done, deliver: Callable[[PacketWay], None]) -> None:
        """Ask the kernel which hooks a packet passes; deliver the answer."""
        done("a file is shown: the kernel is asked on the live host")

    def rule_changes(self, deliver: Callable[[Sequence[Commit]], None]) -> None:
        """Deliver the latest changes of the rules shown, oldest first, on the model thread."""
        self._run.on_models(lambda engine, now_ns: deliver([*engine.ruleset.changes.commits]))

    def findings(self, deliver: Callable[[Sequence[tuple[Finding, Hit | None]]], None]) -> None:
        """Deliver what is probably wrong in the ruleset, with the place of each."""

        def answer(engine: Engine, now_ns: int) -> None:
            deliver([(one, engine.finder.place(dict(one.place))) for one in engine.findings.all()])

        self._run.on_models(answer)

    def map_findings(self, deliver: Callable[[Sequence[tuple[Finding, int | None]]], None]) -> None:
        """Deliver what is probably wrong with the namespaces of the host, with the ident in the map of each."""
        self._run.on_models(lambda engine, now_ns: deliver(engine.map.findings(now_ns)))

    def ask_route(self, netns: str, text: str, deliver: Callable[[Detail | str], None]) -> None:
        """Deliver the way of a packet in a namespace (its label), step by step, or the error."""
        broker, run = self._services, self._run
        if not self._live or broker is None:
            deliver(_OF_A_FILE)
            return
        answer = lambda: deliver(map_actions.route(broker, run, netns, text))  # noqa: E731
        self._act(answer, lambda error: None if error is None else deliver(error))

    def count_flows(self, display_filter: Filter | None, deliver: Callable[[int], None]) -> None:
        """Deliver how many flows match now, for a confirmation, on the model thread."""
        self._run.on_models(lambda engine, now_ns: deliver(len(engine.flows.matching(display_filter, now_ns))))

    def timeline(self, deliver: Callable[[Sequence[tuple[int, int, int]]], None]) -> None:
        """Deliver new, update and destroy events of each of the last 60 whole seconds, the newest last."""
        self._run.on_models(
            lambda engine, now_ns: deliver([(*row,) for row in engine.events.rates.seconds(now_ns).tolist()])
        )

    def related(self, view: str, ident: int, to: str, deliver: Callable[[int | None, str], None]) -> None:
        """Deliver the row's identity in another view (None: it is not there now) and a display filter that finds it."""

        def answer(engine: Engine, now_ns: int) -> None:
            if to == "map":
                deliver(*map_actions.device_of(engine, view, ident))
            elif view == "traces":
                deliver(*trace_actions.flow_of_journey(engine, ident, now_ns))
            elif view == "packets":
                deliver(None, trace_actions.packet_filter(engine, ident))
            else:
                deliver(*flow_actions.related(engine, view, ident, to))

        self._run.on_models(answer)

    def rule_filter(self, view: str, ident: int, deliver: Callable[[str, str, str, str], None]) -> None:
        """Deliver the filter for traced packets of a row of rules, hooks and packets to trace; or an error."""
        self._run.on_models(lambda engine, now_ns: deliver(*trace_actions.answer_of_rule(engine, view, ident)))

    def rules_met(self, expression: str, deliver: Callable[[Sequence[MetRule]], None]) -> None:
        """Deliver the rules that the traced packets that match have met, in the order of their steps."""
        self._run.on_models(lambda engine, now_ns: deliver(trace_actions.rules_met(engine, expression)))

    def rule_position(self, place: RulePlace, deliver: Callable[[Hit | None], None]) -> None:
        """Deliver where a rule is shown in chains and rules; None: it is gone."""
        self._run.on_models(lambda engine, now_ns: deliver(trace_actions.position_of(engine, place)))

    def copy_as(self, view: str, ident: int, form: str, deliver: Callable[[str], None]) -> None:
        """Deliver a row of flows, events or traces in a form of `flow_text`, on the model thread; "" if it is gone."""

        def answer(engine: Engine, now_ns: int) -> None:
            if view == "traces":
                deliver(trace_actions.packet_text(engine, ident, form))
            else:
                row = flow_actions.flow_of(engine, view, ident)
                deliver("" if row is None else flow_text(row, form))

        self._run.on_models(answer)

    def flow_capture(self, ident: int, deliver: Callable[[FlowCapture | None], None]) -> None:
        """Deliver the capture of exactly this flow: filter, devices and their sides of the NAT; None: it is gone."""

        def answer(engine: Engine, now_ns: int) -> None:
            row = flow_actions.flow_of(engine, "flows", ident)
            deliver(None if row is None else flow_capture(row, engine.devices))

        self._run.on_models(answer)

    def set_names(self, on: bool) -> None:
        """Show host and service names, resolved in the background, or addresses and numbers."""
        self._names = on
        self._run.on_models(lambda engine, now_ns: engine.names.switch(on))

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice] | str], None]) -> None:
        """Deliver the namespaces that can be watched, or the error that kept them from being listed."""
        deliver(())

    def switch_namespace(self, spec: str, done: Done) -> None:
        """Watch another namespace from now on."""
        done("a file has no other namespaces: start `nettop` for the live host")

    def watch_namespaces(self, specs: Sequence[str], done: Done) -> None:
        """Watch several namespaces from now on: all of the first one, flows and events of the others."""
        self.switch_namespace(specs[0], done)

    def devices(self, deliver: Callable[[Sequence[DeviceChoice] | str], None]) -> None:
        """Deliver the devices of the watched namespace, or the error that kept them from being listed."""
        deliver(())

    def start_capture(self, devices: Sequence[str], expression: str, done: Done) -> None:
        """Capture on these devices with this capture filter, in place of a running capture."""
        done("a file is shown: captures are for the live host")

    def stop_capture(self) -> None:
        """Stop capturing; captured packets are kept."""
        return

    def measure_rates(self, done: Done) -> None:
        """Measure rates by packet headers: a capture of 128 bytes of each packet, on the usual devices."""
        done(_OF_A_FILE)

    def set_acct(self, on: bool, done: Done) -> None:
        """Switch nf_conntrack_acct in the watched namespace."""
        done("a file is shown: accounting belongs to the live host")

    def start_trace(self, request: TraceRequest, done: Done) -> None:
        """Trace packets in the watched namespace, in place of those that are traced."""
        done("a file is shown: traces are of the live host")

    def stop_trace(self, done: Done) -> None:
        """End the running trace; its packets are kept."""
        done(_OF_A_FILE)

    def export_traces(
        self, path: str, display_filter: Filter | None, done: Done, deliver: Callable[[str], None]
    ) -> None:
        """Write the traced packets that match to a new file, JSON Lines or (named *.txt) text; deliver a message."""
        self._act(lambda: deliver(exports.traces(self._run, self._services, path, display_filter)), done)

    def watch_only(self, expression: str, done: Done) -> None:
        """Receive only flows and events that match (in the kernel where possible); "" receives everything again."""
        done("a file is shown: / filters it")

    def delete_flow(self, ident: int, done: Done, deliver: Callable[[str], None]) -> None:
        """Delete one flow from the kernel's table, and deliver a message about the result."""
        done(_OF_A_FILE)

    def delete_matching(self, display_filter: Filter | None, done: Done, deliver: Callable[[str], None]) -> None:
        """Delete every flow that matches; deliver how many were deleted, and how many had ended already."""
        done(_OF_A_FILE)

    def reset_counter(self, ident: int, done: Done) -> None:
        """Set a kernel counter to zero, if it can be reset."""
        done(_OF_A_FILE)

    def close(self) -> None:
        """End every thread, then the recording after the items that sources have put. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._run.plumbing.halt()
        self._unblock()
        self._control.shutdown(wait=True, cancel_futures=True)
        self._sets.close()
        self._run.close()
        try:
            self._saving.stop(self._run.plumbing)
        except NettopError as error:
            self._saving.failure = str(error)

    def _unblock(self) -> None:
        """End waits of actions and sources, so that close() is quick."""

    def note_failure(self, error: str | None) -> None:
        """Add an action's failure to the header's notes."""
        if error is not None:
            self._note(error)

    def problem(self) -> str:
        """Return the recording's failure in one line, to be reported when the screen has closed; "": none."""
        return self._saving.failure

    def _act(self, action: Callable[[], None], done: Done) -> None:
        """Run an action on the control thread; its error is one line."""
        try:
            self._control.submit(lambda: done(_failure_of(action)))
        except RuntimeError:  # the session is closing
            done("nettop is ending")

    def _note(self, text: str) -> None:
        """Add a note to the header's; the last few are kept."""
        self._notes = (*self._notes, text)[-_NOTES:]

    def _keyframe(self) -> None:
        """Read again everything that a recording must begin with."""


def _failure_of(action: Callable[[], None]) -> str | None:
    """Run the action. Return its error in one line; None: it succeeded."""
    try:
        action()
    except NettopError as error:
        return str(error)
    except OSError as error:
        return str(error.strerror or error)
    except Exception as error:  # a bug: the caller waits for an answer
        return f"internal error, please report it: {error!r}"
    return None
