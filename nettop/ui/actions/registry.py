"""The table of all commands. Key bindings, hints, help and the palette are made from it."""

from __future__ import annotations

from functools import partial

from nettop.ui.actions import dialogs, flows, live, traces
from nettop.ui.actions import map as map_
from nettop.ui.commands import Action, Command, CommandContext
from nettop.ui.panes.chains import shown_matrix
from nettop.ui.panes.pane import ViewDef
from nettop.ui.panes.table_view import TableView
from nettop.ui.screens.capture import stop_capture
from nettop.ui.views import VIEWS

_TABLES = tuple(name for view in VIEWS if issubclass(view.body, TableView) for name in (view.name, view.groups) if name)
_FILTERED = ("matrix", *(name for view in VIEWS if view.filter_kind for name in (view.name, view.groups) if name))
_CHAINS = ("chains", "matrix")
_FOLLOWED = ("flows", *(view.name for view in VIEWS if view.can_follow))
_FLOW_ROWS = ("flows", "events")  # views whose rows are flows or their events
_MAP = ("map",)
_TRACEABLE = (*_FLOW_ROWS, "groups", "packets", "chains", "matrix")  # views whose rows have packets that can be traced
_listed = partial(Command, group="List")  # a command on the rows shown


def _row(context: CommandContext) -> bool:
    return context.row


def _is_listed(context: CommandContext) -> bool:
    return context.listed


def _lives(context: CommandContext) -> bool:
    return context.can_arrive


def _in_matrix(method: str) -> Action:
    """Return the command that calls this method of the matrix of chains, also from the rules below it."""
    return lambda screen: getattr(shown_matrix(screen), method)()


def _show(view: ViewDef) -> Command:
    show = lambda screen: screen.show(view.name)  # noqa: E731
    return Command(f"view_{view.name}", (view.key,), view.about, show, group="Views", needs=view.name)


COMMANDS: tuple[Command, ...] = (
    *map(_show, VIEWS),
    _listed("open", ("enter",), "Open: detail, group, or rules of a chain", lambda screen: screen.view.open_row(),
            "open", when=lambda context: context.row and not context.reading),
    _listed("back", ("escape",), "Back: one step out, or a jump", lambda screen: screen.back(), "back", palette=False,
            when=lambda context: context.leads_back),
    _listed("next_pane", ("tab",), "Next pane", lambda screen: screen.view.next_pane(1), palette=False),
    _listed("previous_pane", ("shift+tab",), "Previous pane", lambda screen: screen.view.next_pane(-1), palette=False),
    _listed("filter", ("slash",), "Filter, find: what matches", dialogs.filter_or_find, "filter", _FILTERED,
            when=_is_listed),
    _listed("enter_namespace", (), "Enter: watch this namespace", map_.enter, "", _MAP, live=True, when=_row),
    _listed("drawing", ("d",), "Drawing: or the tree, or both", lambda screen: screen.view.toggle_drawing(),
            "drawing", _MAP, needs="drawing"),
    _listed("information", ("i",), "Detail: of a namespace, too", lambda screen: screen.view.open_detail(), "detail",
            _MAP, when=_row),
    _listed("addresses", ("a",), "Addresses: of the device or namespace", map_.list_("addresses"), "addresses", _MAP,
            when=_row),
    _listed("routes", ("o",), "Routes: of the device or namespace", map_.list_("routes"), "routes", _MAP, when=_row),
    _listed("policy", ("u",), "Policy rules: of its namespace", map_.list_("rules"), "rules", _MAP, when=_row),
    _listed("neighbours", ("e",), "Neighbours: ARP, NDP, learned MACs", map_.list_("neighbours"), "neighbours", _MAP,
            when=_row),
    _listed("sysctls", ("v",), "Sysctls: values, and what they do", map_.list_("sysctls"), "sysctls", _MAP, when=_row),
    _listed("packets_here", ("P",), "Capture: on this device", map_.packets, "packets", _MAP, live=True,
            when=_row),
    _listed("route", ("equals_sign",), "Ask a route: of the kernel, step by step", map_.route, "route", _MAP, live=True,
            when=_row),
    _listed("map_findings", ("exclamation_mark",), "Findings: what is probably wrong", map_.findings, "", _MAP),
    _listed("sort", ("s",), "Sort: by one or two columns", dialogs.sort, "sort", _TABLES,
            when=lambda context: context.sortable and context.listed),
    _listed("group", ("b",), "Group by: source, service, …", dialogs.group, "group", ("flows", "groups"),
            needs="groups", when=_is_listed),
    _listed("columns", ("C",), "Columns: which, in which order", dialogs.columns, "columns", _TABLES, when=_is_listed),
    _listed("follow", ("f",), "Follow: the newest, or this flow", flows.follow, "follow", _FOLLOWED,
            when=lambda context: context.row and context.can_arrive and context.listed),
    _listed("flow_of", ("F",), "Its flow: in the table", flows.go_to("flows"), "its flow", ("events", "traces"),
            needs="flows", when=_row),
    _listed("master_of", (), "Its master: the flow that expected it", flows.go_to("flows", "master"), "", _FLOW_ROWS,
            needs="flows"),
    _listed("events_of", ("E",), "Its events", flows.go_to("events"), "events", ("flows",), needs="events",
            when=_row),
    _listed("packets_of", ("P",), "Its packets", flows.go_to("packets"), "packets", _FLOW_ROWS, needs="packets",
            when=_row),
    _listed("trace", ("t",), "Trace: packets of it, through the chains", traces.trace, "trace",
            (*_TRACEABLE, "traces"), live=True, changes=True, when=_lives),
    _listed("stop_trace", ("S",), "Stop tracing", traces.stop, "stop trace", live=True,
            when=lambda context: context.tracing),
    _listed("traces_of", ("T",), "Traced packets: of it", traces.traced, "", _TRACEABLE, needs="traces"),
    _listed("rule_of", ("R",), "Its rule: the one that ended it, or this step's", traces.rule, "its rule",
            (*_FLOW_ROWS, "packets", "groups", "traces"), needs="chains", hinted_in=("traces",), when=_row),
    _listed("delete", ("D",), "Delete: it, or all that match", flows.delete, "delete", ("flows", "groups"), live=True,
            changes=True, when=_row),
    _listed("copy", ("y",), "Copy: as text, JSON, command", flows.copy, "copy", when=_row),
    _listed("capture_flow", ("c",), "Capture it: exactly this flow", flows.capture_flow, "capture", ("flows",),
            live=True, when=_row),
    _listed("capture", ("B",), "Capture: devices and filter", dialogs.capture, "capture", (*_FLOW_ROWS, "packets"),
            live=True, hinted_in=("packets",), when=_lives),
    _listed("packet_lists", ("L",), "Captures: packets of the earlier ones", dialogs.packet_lists, "", ("packets",),
            live=True),
    _listed("export", ("w",), "Write: packets shown to a file", dialogs.export, "write", ("packets", "traces"),
            when=_row),
    _listed("reset", ("Z",), "Reset: this counter to zero", live.reset, "reset", ("counters",), live=True,
            changes=True, when=lambda context: context.resettable),
    _listed("zeroes", ("z",), "Zeros: counters that are 0", live.zeroes, "zeroes", ("counters",)),
    _listed("next_found", ("n",), "Next found: rule or device", lambda screen: screen.view.next_hit(1), "",
            (*_CHAINS, *_MAP)),
    _listed("previous_found", ("N",), "Previous found: rule or device", lambda screen: screen.view.next_hit(-1), "",
            (*_CHAINS, *_MAP)),
    _listed("detail", ("d",), "Detail: of a rule that jumps, too", lambda screen: screen.view.open_detail(), "",
            ("chains",)),
    _listed("elements", ("e",), "Set elements: of the rule's sets and maps",
            lambda screen: screen.view.open_elements(), "", _CHAINS),
    _listed("words", ("i",), "Other words: iptables', nft's, raw", lambda screen: screen.view.change_words(), "",
            _CHAINS),
    _listed("moved", ("v",), "Only moving: rules that match now", lambda screen: screen.view.show_moved(), "moving",
            _CHAINS),
    _listed("isolate", ("x",), "Only found: or rules of every chain", lambda screen: screen.view.isolate(), "",
            _CHAINS),
    _listed("rule_changes", ("L",), "Change log: what, and who did it", dialogs.rule_changes, "", _CHAINS),
    _listed("findings", ("exclamation_mark",), "Findings: what is probably wrong", dialogs.findings, "", _CHAINS),
    _listed("matrix", ("m",), "Matrix or list: of the base chains", lambda screen: screen.view.toggle(),
            "matrix/list", _CHAINS, needs="matrix"),
    _listed("path", ("p",), "Next path: IPv4, IPv6, bridge, …", _in_matrix("next_path"), "path", _CHAINS,
            needs="matrix", hinted_in=("matrix",)),
    _listed("journey", ("o",), "Light a way: to, from or through this host", _in_matrix("next_journey"), "light",
            _CHAINS, needs="matrix", hinted_in=("matrix",)),
    _listed("packet_way", ("O",), "Light one: of a packet that you name", dialogs.packet_way, "", _CHAINS,
            needs="matrix", live=True),
    _listed("kernel", ("z",), "Kernel steps: conntrack, NAT, traces", _in_matrix("show_kernel"), "kernel", _CHAINS,
            needs="matrix", hinted_in=("matrix",)),
    _listed("device_of", ("M",), "Its device: in the map", map_.device_of, "its device",
            (*_FLOW_ROWS, "packets", "traces", *_CHAINS), needs="map", when=_row),
    Command("pause", ("space",), "Pause: nothing is lost", lambda screen: screen.pause(), "pause", when=_lives),
    Command("earlier", ("left_square_bracket",), "Go back: to the previous position",
            lambda screen: screen.navigate(-1), palette=False),
    Command("later", ("right_square_bracket",), "Go forward: to where [ came from", lambda screen: screen.navigate(1),
            palette=False),
    Command("names", ("N",), "Names: of hosts and services", live.names, "", ("flows", "groups", "events")),
    Command("accounting", ("A",), "Accounting: bytes, on or off", live.accounting, live=True, changes=True),
    Command("measure", ("H",), "Rates: from headers, on or off", live.measure, live=True,
            views=("flows", "groups", "packets")),
    Command("only", ("O",), "Watch only: receive only some flows", live.watch_only, views=("flows", "groups", "events"),
            live=True),
    Command("record", ("r",), "Record: all to a file, or end", dialogs.record, "record", live=True, when=_lives),
    Command("namespace", ("at",), "Namespace: watch another", dialogs.namespace, "namespace", live=True),
    Command("holders", (), "Who holds the table: flows by source", dialogs.holders, needs="groups"),
    Command("stop_capture", (), "Stop capturing", stop_capture, live=True),
    Command("theme", (), "Theme: choose one", dialogs.theme),
    Command("palette", ("colon", "ctrl+p"), "Commands: find by name", dialogs.palette, palette=False),
    Command("suspend", ("ctrl+z",), "Suspend: to the shell, fg resumes", dialogs.suspend),
    Command("help", ("question_mark",), "Help: this page", dialogs.help_, "help"),
    Command("quit", ("q", "ctrl+c"), "Quit", dialogs.quit_, "quit"),
)  # fmt: skip
