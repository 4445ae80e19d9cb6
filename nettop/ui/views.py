"""The views that exist: their numbers, titles, and what each can do."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.model.table import Line


@dataclass(frozen=True, slots=True)
class ViewDef:
    """One view. `filter_kind` is what model.filter.parse is told ("" where there is no filter)."""

    name: str  # of the session's table
    key: str
    about: str  # its name, a colon, and a few words: for the help and the palette
    filter_kind: str = ""
    can_follow: bool = False
    child: str = ""  # a second table below: what belongs to the row under the cursor
    child_filter_kind: str = ""
    groups: str = ""  # a table of groups that can take its place
    band: bool = False  # a timeline stands above it
    of_all: bool = False  # it shows every namespace that is watched, not only the first
    captures: bool = False  # the capture in force is told above it
    advice: tuple[Line, ...] = ()  # what an empty table says when its model says nothing
    replay_advice: tuple[Line, ...] = ()  # the same of a file

    @property
    def title(self) -> str:
        """Its key and its name, as the tabs have them."""
        return f"{self.key} {self.about.split(':')[0]}"


def _says(*parts: str) -> Line:
    """Text and keys by turns: plain, key, plain, key, …"""
    return tuple((part, "dim" if i % 2 == 0 else "key") for i, part in enumerate(parts))


VIEWS: tuple[ViewDef, ...] = (
    ViewDef(
        "flows",
        "1",
        "Flows: who talks, how fast, which NAT",
        "flow",
        groups="groups",
        of_all=True,
        replay_advice=(
            (("No flows in this file.", "heading"),),
            _says("Recordings of `nettop record` have them; a plain capture has packets: ", "4", "."),
        ),
        advice=(
            (("No flows yet.", "heading"),),
            _says("Conntrack sees a namespace's traffic only when a rule there needs it (ct state, NAT)."),
            _says("", "@", " watches another namespace, ", "3", " shows the rules of this one."),
        ),
    ),
    ViewDef(
        "events",
        "2",
        "Events: conntrack, as it happens",
        "event",
        can_follow=True,
        band=True,
        of_all=True,
        replay_advice=((("No conntrack events in this file.", "heading"),),),
        advice=(
            (("No events yet.", "heading"),),
            _says("New, changed and ended flows appear here as the kernel reports them."),
        ),
    ),
    ViewDef(
        "chains",
        "3",
        "Chains: rules by hook, and counters",
        "chain",
        child="rules",
        child_filter_kind="rule",
        replay_advice=((("No rules in this file.", "heading"),),),
        advice=(
            (("No base chains in this namespace.", "heading"),),
            _says("Neither nftables nor iptables hook anything here. ", "@", " watches another namespace."),
        ),
    ),
    ViewDef(
        "packets",
        "4",
        "Packets: list, tree and bytes",
        "packet",
        can_follow=True,
        captures=True,
        replay_advice=((("No packets in this file.", "heading"),),),
        advice=(
            (("Capture off: no packets.", "heading"),),
            _says("", "B", " starts a capture: choose devices and a capture filter, e.g. tcp port 443."),
            _says("", "c", " in Flows captures exactly the flow under the cursor, on both sides of its NAT."),
        ),
    ),
    ViewDef(
        "counters",
        "5",
        "Counters: statistics, table use",
        advice=((("No counters yet.", "heading"),),),
        replay_advice=((("No counters in this file.", "heading"),),),
    ),
)

CHILD_ADVICE: tuple[Line, ...] = ((("No rules in this chain: its policy decides.", "dim"),),)

_ENDED = {
    "GONE": (
        (("Nothing here, and nothing will come: the namespace is gone.", "heading"),),
        _says("", "@", " watches another namespace."),
    ),
    "ENDED": (
        (("Nothing here, and nothing will come: nettop's broker has ended.", "heading"),),
        _says("Start nettop again: ", "q", " leaves."),
    ),
}


def ended_advice(mode: str) -> tuple[Line, ...]:
    """What an empty table says where nothing more can come; () where it can."""
    return _ENDED.get(mode, ())
