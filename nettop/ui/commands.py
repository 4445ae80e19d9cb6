"""Every command once: its keys, where it applies, its words. Bindings, hints, help and the palette come from here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

LIST_VIEWS = ("flows", "groups", "events", "chains", "packets", "counters")
FILTERED = ("flows", "groups", "events", "chains", "packets")
SOME_FLOW = ("flows", "events")  # views whose rows are a flow, or about one


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can do. `views` () means everywhere; "groups" are flows that are grouped."""

    name: str
    keys: tuple[str, ...]  # Textual's key names; the first is the one that is shown
    title: str  # in the help and the palette
    hint: str = ""  # in the line of keys at the bottom; "" is not shown there
    views: tuple[str, ...] = ()
    group: str = "General"
    palette: bool = True
    live: bool = False  # needs a live namespace: a file has none
    changes: bool = False  # changes the host: refused, with the reason, under --read-only
    needs: str = ""  # a table that the session must have
    hinted_in: tuple[str, ...] = ()  # views whose line of keys has the hint; () is each


def _view(number: str, name: str, title: str) -> Command:
    return Command(f"view_{name}", (number,), f"{title}", group="Views", needs=name)


COMMANDS: tuple[Command, ...] = (
    _view("1", "flows", "Flows: who talks, how fast, which NAT"),
    _view("2", "events", "Events: conntrack, as it happens"),
    _view("3", "chains", "Chains: rules by hook, and counters"),
    _view("4", "packets", "Packets: list, tree and bytes"),
    _view("5", "counters", "Counters: statistics, table use"),
    Command("open", ("enter",), "Open: detail, group, or rules of a chain", "open", group="List"),
    Command("back", ("escape",), "Back: close, then clear filter", "back", group="List", palette=False),
    Command("next_pane", ("tab",), "Next pane", group="List", palette=False),
    Command("previous_pane", ("shift+tab",), "Previous pane", group="List", palette=False),
    Command("filter", ("slash",), "Filter: show what matches", "filter", FILTERED, "List"),
    Command("sort", ("s",), "Sort: by one or two columns", "sort", group="List"),
    Command("group", ("b",), "Group by: source, service, …", "group", ("flows", "groups"), "List", needs="groups"),
    Command("columns", ("C",), "Columns: which, in which order", "columns", group="List"),
    Command("follow", ("f",), "Follow: the newest, or this flow", "follow", ("flows", "events", "packets"), "List"),
    Command("flow_of", ("F",), "Its flow: in the table", "its flow", ("events",), "List", needs="flows"),
    Command("master_of", (), "Its master: the flow that expected it", "", SOME_FLOW, "List", needs="flows"),
    Command("events_of", ("E",), "Its events", "events", ("flows",), "List", needs="events"),
    Command("packets_of", ("P",), "Its packets", "packets", SOME_FLOW, "List", needs="packets"),
    Command("delete", ("D",), "Delete: it, or all that match", "delete", ("flows", "groups"), "List",
            live=True, changes=True),
    Command("copy", ("y",), "Copy: as text, JSON, command", "copy", group="List"),
    Command("capture_flow", ("c",), "Capture it: exactly this flow", "capture", ("flows",), "List", live=True),
    Command("capture", ("B",), "Capture: devices and filter", "capture", (*SOME_FLOW, "packets"), "List", live=True,
            hinted_in=("packets",)),
    Command("export", ("w",), "Write: packets shown to a file", "write", ("packets",), "List"),
    Command("reset", ("Z",), "Reset: this counter to zero", "reset", ("counters",), "List", live=True, changes=True),
    Command("pause", ("space",), "Pause: nothing is lost", "pause"),
    Command("earlier", ("left_square_bracket",), "Back: to what was shown before", palette=False),
    Command("later", ("right_square_bracket",), "Forward: the way that [ came", palette=False),
    Command("names", ("N",), "Names: of hosts and services", "", ("flows", "groups", "events")),
    Command("accounting", ("A",), "Accounting: bytes, on or off", live=True, changes=True),
    Command("measure", ("H",), "Rates: from headers, on or off", views=("flows", "groups"), live=True),
    Command("only", ("O",), "Watch only: receive only some flows", views=("flows", "groups", "events"), live=True),
    Command("record", ("r",), "Record: all to a file, or end", "record", live=True),
    Command("namespace", ("at",), "Namespace: watch another", "namespace", live=True),
    Command("holders", (), "Who holds the table: flows by source", needs="groups"),
    Command("stop_capture", (), "Stop capturing", live=True),
    Command("theme", (), "Theme: choose one"),
    Command("palette", ("colon", "ctrl+p"), "Commands: find by name", palette=False),
    Command("help", ("question_mark",), "Help: this page", "help"),
    Command("quit", ("q", "ctrl+c"), "Quit", "quit"),
)  # fmt: skip

# The cursor's keys, bound by the table itself and by every text pane.
MOVES: tuple[Command, ...] = (
    Command("down", ("j", "down"), "Down", group="Move", palette=False),
    Command("up", ("k", "up"), "Up", group="Move", palette=False),
    Command("page_down", ("pagedown", "ctrl+f"), "Page down", group="Move", palette=False),
    Command("page_up", ("pageup", "ctrl+b"), "Page up", group="Move", palette=False),
    Command("top", ("g", "home"), "First", group="Move", palette=False),
    Command("bottom", ("G", "end"), "Last", group="Move", palette=False),
    Command("left", ("h", "left"), "Left: columns that do not fit", group="Move", palette=False),
    Command("right", ("l", "right"), "Right: columns that do not fit", group="Move", palette=False),
)

_SHOWN = {
    "slash": "/", "colon": ":", "at": "@", "question_mark": "?", "space": "Space", "enter": "Enter", "escape": "Esc",
    "tab": "Tab", "shift+tab": "Shift-Tab", "ctrl+p": "Ctrl-P", "ctrl+c": "Ctrl-C",
    "pagedown": "PgDn", "pageup": "PgUp", "ctrl+f": "Ctrl-F", "ctrl+b": "Ctrl-B",
    "home": "Home", "end": "End", "down": "↓", "up": "↑", "left": "←",
    "right": "→", "left_square_bracket": "[", "right_square_bracket": "]",
}  # fmt: skip


def key_text(key: str) -> str:
    """A key as a person reads it: `/`, `Ctrl-P`, `PgDn`."""
    return _SHOWN.get(key, key)


def keys_text(command: Command) -> str:
    """Every key of a command, `j ↓`."""
    return " ".join(key_text(key) for key in command.keys)


@dataclass(frozen=True, slots=True)
class Where:
    """Where a person stands: the view ("groups" for grouped flows), and what there is."""

    view: str
    tables: Collection[str] = LIST_VIEWS  # that the session has
    live: bool = True  # a namespace is watched, not a file
    read_only: bool = False
    reading: bool = False  # a detail is open


def applies(command: Command, where: Where) -> bool:
    """Whether a command means something there."""
    return (
        (not command.views or where.view in command.views)
        and (where.live or not command.live)
        and (not command.needs or command.needs in where.tables)
    )


def offered(command: Command, where: Where) -> bool:
    """Whether its key is shown there: it does something, and may."""
    return applies(command, where) and not (command.changes and where.read_only)


def hinted(command: Command, where: Where) -> bool:
    """Whether the line of keys at the bottom names it: what closes a detail only where one is open."""
    needless = command.name == ("open" if where.reading else "back")
    here = not command.hinted_in or where.view in command.hinted_in
    return bool(command.hint) and here and not needless and offered(command, where)


def by_name(name: str) -> Command:
    """The command of this name; KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {command.name: command for command in COMMANDS}
