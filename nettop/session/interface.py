"""The session's interface for the screens: views, the header's state, and actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from nettop.model.filter.expression import Filter
from nettop.model.flows.capture import FlowCapture
from nettop.model.table import Detail, Snapshot, ViewInfo, ViewSpec
from nettop.session.status import DeviceChoice, Done, NetnsChoice, Status

_OF_A_FILE = "a file is shown: this is for the live host"


class Session(ABC):
    """One run: its models, its capture, its recording. Every call returns at once; answers come by callback.

    Callbacks are called on any thread (those of views on the model thread); screens go on in their own event loop. The
    actions that need a live host have here the answer of a file.
    """

    @property
    @abstractmethod
    def views(self) -> Mapping[str, ViewInfo]:
        """By name: flows, events, chains, rules, packets, counters. A view that is missing is not shown."""

    @abstractmethod
    def version(self, view: str) -> int:
        """Return a number that grows when the view may show something else, time excepted: cheap, from any thread."""

    @abstractmethod
    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        """Deliver the window that spec describes."""

    @abstractmethod
    def detail(self, view: str, ident: int, deliver: Callable[[Detail | None], None]) -> None:
        """Deliver one row in full; None if it is gone."""

    @abstractmethod
    def status(self) -> Status:
        """Return the header's facts: cheap, from any thread."""

    @abstractmethod
    def count_flows(self, display_filter: Filter | None, deliver: Callable[[int], None]) -> None:
        """Deliver how many flows match now, for a confirmation."""

    @abstractmethod
    def copy_as(self, view: str, ident: int, form: str, deliver: Callable[[str], None]) -> None:
        """Deliver a row of flows or events in one of flows.clipboard.FORMS; "" if it is gone."""

    @abstractmethod
    def flow_capture(self, ident: int, deliver: Callable[[FlowCapture | None], None]) -> None:
        """Deliver the capture of exactly this flow: filter, devices and their sides of the NAT; None: it is gone."""

    @abstractmethod
    def related(self, view: str, ident: int, to: str, deliver: Callable[[int | None, str], None]) -> None:
        """Deliver the row's identity in another view (None: it is not there now) and a display filter that finds it."""

    @abstractmethod
    def timeline(self, deliver: Callable[[Sequence[tuple[int, int, int]]], None]) -> None:
        """Deliver new, update and destroy events of each of the last 60 whole seconds, the newest last."""

    @abstractmethod
    def set_names(self, on: bool) -> None:
        """Show host and service names, resolved in the background, or addresses and numbers."""

    @abstractmethod
    def pause(self, on: bool) -> None:
        """Stop the clock of a replay. Live: the screens do not change, but everything is still received."""

    @abstractmethod
    def start_recording(self, path: str, done: Done) -> None:
        """Record every stream to a new file, beginning with a keyframe; refuse to overwrite."""

    @abstractmethod
    def stop_recording(self, done: Done) -> None:
        """End the recording properly."""

    @abstractmethod
    def export(self, path: str, display_filter: Filter | None, done: Done) -> None:
        """Write the packets that match to a new pcapng file; refuse to overwrite."""

    @abstractmethod
    def close(self) -> None:
        """End every thread, then the recording after the items that sources have put. A second call does nothing."""

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice]], None]) -> None:
        """Deliver the namespaces that can be watched."""
        deliver(())

    def switch_namespace(self, spec: str, done: Done) -> None:
        """Watch another namespace from now on."""
        done("a file has no other namespaces: start `nettop` for the live host")

    def devices(self, deliver: Callable[[Sequence[DeviceChoice]], None]) -> None:
        """Deliver the devices of the watched namespace."""
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
