"""What the screens ask of a session: views answered on the model thread, facts for the header, and actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from nettop.model.filter.expression import Filter
from nettop.model.flows.capture import FlowCapture
from nettop.model.table import Column, Detail, Snapshot, SortKey, ViewSpec
from nettop.session.status import DeviceChoice, Done, NetnsChoice, Status


class ViewInfo(Protocol):
    """A table's columns; every TableModel is one. Read on the UI thread, so it must not change."""

    @property
    def columns(self) -> Sequence[Column]:
        """Every column the table can show."""
        ...

    @property
    def default_columns(self) -> tuple[str, ...]:
        """Keys of the columns to begin with, in order."""
        ...

    @property
    def default_sort(self) -> tuple[SortKey, ...]:
        """The order to begin with; () is the natural one."""
        ...


class Session(Protocol):
    """One run: its models, its capture, its recording. Every call returns at once; answers come by callback.

    Callbacks are called on any thread (views: on the model thread). The screens hop to their own loop.
    """

    @property
    def views(self) -> Mapping[str, ViewInfo]:
        """By name: flows, events, chains, rules, packets, counters. A view that is missing is not shown."""
        ...

    def version(self, view: str) -> int:
        """Grows whenever what the view shows could differ, but for the time: cheap, from any thread."""
        ...

    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        """The window that spec describes."""
        ...

    def detail(self, view: str, ident: int, deliver: Callable[[Detail | None], None]) -> None:
        """What is known of one row; None when it is gone."""
        ...

    def status(self) -> Status:
        """The header's facts: cheap, from any thread."""
        ...

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice]], None]) -> None:
        """The namespaces that can be watched."""
        ...

    def switch_namespace(self, spec: str, done: Done) -> None:
        """Watch another namespace from now on."""
        ...

    def devices(self, deliver: Callable[[Sequence[DeviceChoice]], None]) -> None:
        """The devices of the watched namespace."""
        ...

    def start_capture(self, devices: Sequence[str], expression: str, done: Done) -> None:
        """Capture on these devices with this capture filter; replaces a running capture."""
        ...

    def stop_capture(self) -> None:
        """Stop capturing; what was captured stays."""
        ...

    def start_recording(self, path: str, done: Done) -> None:
        """Record every stream to path; refuses to overwrite."""
        ...

    def stop_recording(self, done: Done) -> None:
        """End the recording properly."""
        ...

    def export(self, path: str, wanted: Filter | None, done: Done) -> None:
        """Write the packets that match as pcapng; refuses to overwrite."""
        ...

    def set_acct(self, on: bool, done: Done) -> None:
        """Switch nf_conntrack_acct in the watched namespace."""
        ...

    # -- flows -------------------------------------------------------------------------------------------------------

    def count_flows(self, wanted: Filter | None, deliver: Callable[[int], None]) -> None:
        """How many flows match now: what a confirmation says."""
        ...

    def delete_flow(self, ident: int, done: Done, told: Callable[[str], None]) -> None:
        """Delete one flow from the kernel's table; `told` says what became of it."""
        ...

    def delete_matching(self, wanted: Filter | None, done: Done, told: Callable[[str], None]) -> None:
        """Delete every flow that matches; `told` says how many were, and how many had gone already."""
        ...

    def copy_as(self, view: str, ident: int, form: str, deliver: Callable[[str], None]) -> None:
        """A row of flows or events as "text", "json" or the "conntrack" command that shows it; "" when it is gone."""
        ...

    def flow_capture(self, ident: int, deliver: Callable[[FlowCapture | None], None]) -> None:
        """The capture that takes exactly this flow: its filter, its devices and which side of the NAT each shows."""
        ...

    def related(self, view: str, ident: int, to: str, deliver: Callable[[int | None, str], None]) -> None:
        """The same thing in another view: the row's identity there (None: none now) and a filter that finds it."""
        ...

    def set_names(self, on: bool) -> None:
        """Show host and service names, resolved aside, or addresses and numbers."""
        ...

    def watch_only(self, expression: str, done: Done) -> None:
        """Receive only flows and events that match (what can runs in the kernel); "" receives everything again."""
        ...

    def measure_rates(self, done: Done) -> None:
        """Take rates from the headers of packets: a capture of 128 bytes each, on the usual devices."""
        ...

    def timeline(self, deliver: Callable[[Sequence[tuple[int, int, int]]], None]) -> None:
        """New, update and destroy events of each of the last 60 whole seconds, the newest last."""
        ...

    def reset_counter(self, ident: int, done: Done) -> None:
        """Set a counter of the kernel's back to zero, where that can be done."""
        ...

    def pause(self, on: bool) -> None:
        """Replay: hold the clock. Live: screens hold still while everything goes on being received."""
        ...

    def close(self) -> None:
        """End every thread; a recording is ended properly."""
        ...
