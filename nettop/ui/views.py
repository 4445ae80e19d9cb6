"""Definitions of all views: their keys, names, bodies and abilities."""

from __future__ import annotations

from functools import partial

from nettop.ui.panes.chains import ChainsView
from nettop.ui.panes.map import MapView
from nettop.ui.panes.pane import ViewDef
from nettop.ui.panes.table_view import TableView
from nettop.ui.strips import keys_line
from nettop.ui.widgets.bar_lines import capture_lines, tracing_lines

_table = partial(ViewDef, body=TableView)

VIEWS: tuple[ViewDef, ...] = (
    _table(
        "flows",
        "1",
        "Flows: who talks, how fast, which NAT",
        filter_kind="flow",
        groups="groups",
        offers_accounting=True,
        all_namespaces=True,
        replay_advice=(
            (("No flows in this file.", "heading"),),
            keys_line("Recordings of `nettop record` have them; a plain capture has packets: ", "4", "."),
        ),
        advice=(
            (("No flows yet.", "heading"),),
            keys_line("Conntrack sees a namespace's traffic only when a rule there needs it (ct state, NAT)."),
            keys_line("", "@", " watches another namespace, ", "3", " shows the rules of this one."),
        ),
    ),
    _table(
        "events",
        "2",
        "Events: conntrack, as it happens",
        filter_kind="event",
        can_follow=True,
        timeline=True,
        all_namespaces=True,
        replay_advice=((("No conntrack events in this file.", "heading"),),),
        advice=(
            (("No events yet.", "heading"),),
            keys_line("New, changed and ended flows appear here as the kernel reports them."),
        ),
    ),
    ViewDef(
        "chains",
        "3",
        "Chains: rules by hook, and counters",
        ChainsView,
        filter_kind="chain",
        child="rules",
        child_filter_kind="rule",
        replay_advice=((("No rules in this file.", "heading"),),),
        advice=(
            (("No base chains in this namespace.", "heading"),),
            keys_line("Neither nftables nor iptables hook anything here. ", "@", " watches another namespace."),
        ),
    ),
    _table(
        "packets",
        "4",
        "Packets: list, tree and bytes",
        filter_kind="packet",
        can_follow=True,
        facts=capture_lines,
        replay_advice=((("No packets in this file.", "heading"),),),
        advice=(
            (("Capture off: no packets.", "heading"),),
            keys_line("", "B", " starts a capture: choose devices and a capture filter, e.g. tcp port 443."),
            keys_line("", "c", " in Flows captures exactly the flow under the cursor, on both sides of its NAT."),
        ),
    ),
    _table(
        "counters",
        "5",
        "Counters: statistics, table use",
        filter_kind="counter",
        advice=((("No counters yet.", "heading"),),),
        replay_advice=((("No counters in this file.", "heading"),),),
    ),
    ViewDef(
        "map",
        "6",
        "Map: namespaces, devices, routes",
        MapView,
        filter_kind="device",
        advice=((("Reading the namespaces of this host.", "heading"),),),
        replay_advice=(
            (("No map in this file.", "heading"),),
            keys_line("Recordings of `nettop record` have the namespaces and devices of the host."),
        ),
    ),
    _table(
        "traces",
        "7",
        "Traces: packets through the chains",
        filter_kind="traced packet",
        can_follow=True,
        facts=tracing_lines,
        replay_advice=(
            (("No traced packets in this file.", "heading"),),
            keys_line("A recording that runs during a trace keeps its packets."),
        ),
        advice=(
            (("Nothing is traced.", "heading"),),
            keys_line("", "t", " traces packets on their way through the chains, and names the rule that ends each."),
            keys_line("Type what to trace, e.g. host 10.0.3.7, or press ", "t", " on a flow, a packet or a rule."),
        ),
    ),
)
