"""A session of plain rows with a frozen clock: what the screens are tested against, without kernel or thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nettop.model.filter.expression import Filter
from nettop.model.flows.capture import FlowCapture
from nettop.model.ruleset.changes.log import Commit
from nettop.model.ruleset.findings import findings
from nettop.model.ruleset.sets.contents import SetContents
from nettop.model.table import Detail, Snapshot, ViewSpec
from nettop.session.base import Session
from nettop.session.status import DeviceChoice, Done, NetnsChoice, Status
from tests.ui import plain_tables

NOON = 1_763_640_271_000_000_000

FACTS = Status(
    netns="gw-a",
    count=1204,
    maximum=262_144,
    events_per_s=3100.0,
    capture="off",
    acct="since 12:01",
    lost="0",
    recording="",
    mode="LIVE",
    clock_ns=NOON,
    cpu_percent=1.2,
)

HERE = (NetnsChoice("", "host", "here"), NetnsChoice("gw-a", "gw-a"), NetnsChoice("pid:812", "pid 812", "nginx"))
DEVICES = (DeviceChoice("eth0", "up, mtu 1500", True), DeviceChoice("eth1", "up, mtu 1500"), DeviceChoice("lo", "up"))
OF_A_FLOW = FlowCapture(
    "(host 192.168.1.2 and port 56303) or (host 100.100.100.1 and port 56303)",
    (("eth0", "before SNAT"), ("eth1", "after SNAT")),
    "fragments and ICMP errors of both hosts come along, others' too",
)


def _noted(name: str) -> Callable[..., None]:
    """Return an action that notes its name and arguments, and answers what the session answers."""

    def act(self: PlainSession, *arguments: Any) -> None:
        *what, done = arguments
        self.done.append((name, *(tuple(each) if isinstance(each, list) else each for each in what)))
        done(self.refusal)

    return act


@dataclass
class PlainSession(Session):
    """Answers at once, on the caller's thread; remembers what it was asked to do."""

    views: Any = None  # PlainModel by name; an attribute, so that a test can replace it
    facts: Status = field(default_factory=lambda: FACTS)
    done: list[tuple[object, ...]] = field(default_factory=list)
    asked: list[tuple[str, ViewSpec]] = field(default_factory=list)
    refusal: str | None = None
    held: bool = False  # answers wait
    still: bool = False  # nothing changes
    looks: int = 0
    finder: Any = None  # RuleFinder
    unsearched: tuple[str, ...] = ()
    unread: bool = False  # the rules are not read yet
    changes: list[Commit] = field(default_factory=list)
    reading: Callable[[int], None] = lambda ident: None  # reads the elements of a set
    ticks: int = 0  # how often its status was asked for
    waiting: list[Callable[[], None]] = field(default_factory=list)
    route: Detail | str = "a file is shown"
    choices: tuple[NetnsChoice, ...] = HERE
    relations: dict[tuple[str, str], tuple[int | None, str]] = field(default_factory=dict)  # (view, to)

    switch_namespace = _noted("switch_namespace")
    watch_namespaces = _noted("watch_namespaces")
    start_capture = _noted("start_capture")
    start_recording = _noted("start_recording")
    stop_recording = _noted("stop_recording")
    set_acct = _noted("set_acct")
    watch_only = _noted("watch_only")
    measure_rates = _noted("measure_rates")
    reset_counter = _noted("reset_counter")

    def version(self, view: str) -> int:
        """Rows change under the tables' eyes: every look is a new one, unless `still`."""
        self.looks += not self.still
        return self.looks

    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        self.asked.append((view, spec))

        def answer() -> None:
            deliver(self.views[view].snapshot(spec, self.facts.clock_ns))

        if self.held:
            self.waiting.append(answer)
        else:
            answer()

    def release(self) -> None:
        self.held = False
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()

    def detail(self, view: str, ident: int, deliver: Callable[[Detail | None], None]) -> None:
        deliver(self.views[view].detail(ident, self.facts.clock_ns))

    def status(self) -> Status:
        self.ticks += 1
        return self.facts

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice] | str], None]) -> None:
        deliver(self.choices)

    def devices(self, deliver: Callable[[Sequence[DeviceChoice] | str], None]) -> None:
        deliver(DEVICES)

    def packet_lists(self, deliver: Callable[[Sequence[tuple[int, str, int]]], None]) -> None:
        deliver([(2, "12:04:31 eth0 tcp port 443", 120), (1, "11:59:02 eth0", 4_711)])

    def show_packets(self, number: int) -> None:
        self.done.append(("show_packets", number))

    def stop_capture(self) -> None:
        self.done.append(("stop_capture",))

    def export(
        self, path: str, wanted: Filter | None, done: Done, deliver: Callable[[str], None] = lambda text: None
    ) -> None:
        _noted("export")(self, path, None if wanted is None else wanted.text, done)

    def find_rules(self, text: str, deliver: Callable[..., None]) -> None:
        hits = () if self.finder is None else [hit for _, hit in self.finder.found(text)]
        deliver(None if self.unread else hits, self.unsearched)

    def found_rules(self, text: str, deliver: Callable[..., None]) -> None:
        if self.finder is not None:
            deliver([hit for _, hit in self.finder.found(text)])

    def read_elements(self, ident: int, done: Done) -> None:
        self.done.append(("read_elements", ident))
        self.reading(ident)

    def rule_changes(self, deliver: Callable[[Any], None]) -> None:
        deliver(self.changes)

    def findings(self, deliver: Callable[[Any], None]) -> None:
        found = [] if self.finder is None else findings(self.finder._ruleset, SetContents())
        deliver([(one, None if self.finder is None else self.finder.place(dict(one.place))) for one in found])

    def map_findings(self, deliver: Callable[[Any], None]) -> None:
        deliver(self.views["map"].findings(self.facts.clock_ns))

    def ask_route(self, netns: str, text: str, deliver: Callable[[Detail | str], None]) -> None:
        self.done.append(("ask_route", netns, text))
        deliver(self.route)

    def count_flows(self, wanted: Filter | None, deliver: Callable[[int], None]) -> None:
        spec = ViewSpec((), filter=wanted)
        deliver(len(self.views["flows"]._visible(spec)))

    def delete_flow(self, ident: int, done: Done, told: Callable[[str], None]) -> None:
        self._delete(done, told, "deleted 1 flow", "delete_flow", ident)

    def delete_matching(self, wanted: Filter | None, done: Done, told: Callable[[str], None]) -> None:
        text = None if wanted is None else wanted.text
        self._delete(done, told, "deleted 318 flows; 2 had ended already", "delete_matching", text)

    def _delete(self, done: Done, told: Callable[[str], None], words: str, *what: object) -> None:
        _noted(str(what[0]))(self, *what[1:], done)
        if self.refusal is None:
            told(words)

    def copy_as(self, view: str, ident: int, form: str, deliver: Callable[[str], None]) -> None:
        self.done.append(("copy_as", view, ident, form))
        deliver(f"{form} of {view} {ident}: {self.views[view].rows[ident]['orig']}")

    def flow_capture(self, ident: int, deliver: Callable[[FlowCapture | None], None]) -> None:
        self.done.append(("flow_capture", ident))
        deliver(OF_A_FLOW)

    def related(self, view: str, ident: int, to: str, deliver: Callable[[int | None, str], None]) -> None:
        self.done.append(("related", view, ident, to))
        deliver(*self.relations.get((view, to), (None, "")))

    def set_names(self, on: bool) -> None:
        self.done.append(("set_names", on))
        self.facts = replace(self.facts, names=on)

    def timeline(self, deliver: Callable[[Sequence[tuple[int, int, int]]], None]) -> None:
        deliver([(i * i % 97, i % 7, i * 3 % 50) for i in range(60)])

    def pause(self, on: bool) -> None:
        self.done.append(("pause", on))

    def close(self) -> None:
        self.done.append(("close",))


def session() -> PlainSession:
    """All seven tables."""
    names = ("flows", "groups", "events", "chains", "rules", "packets", "counters")
    return PlainSession({name: getattr(plain_tables, name)() for name in names})
