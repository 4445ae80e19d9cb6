"""Every command once: its keys, where it applies, its words. Bindings, hints, help and the palette come from here."""

from __future__ import annotations

from dataclasses import dataclass

LIST_VIEWS = ("flows", "events", "chains", "packets", "counters")
FILTERED = ("flows", "events", "chains", "packets")


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can do. `views` () means everywhere."""

    name: str
    keys: tuple[str, ...]  # Textual's key names; the first is the one that is shown
    title: str  # in the help and the palette
    hint: str = ""  # in the line of keys at the bottom; "" is not shown there
    views: tuple[str, ...] = ()
    group: str = "General"
    palette: bool = True
    live: bool = False  # needs a live namespace: a file has none


def _view(number: str, name: str, title: str) -> Command:
    return Command(f"view_{name}", (number,), f"{title}", group="Views")


COMMANDS: tuple[Command, ...] = (
    _view("1", "flows", "Flows: who talks, how fast, which NAT"),
    _view("2", "events", "Events: conntrack, as it happens"),
    _view("3", "chains", "Chains: rules by hook, and counters"),
    _view("4", "packets", "Packets: list, tree and bytes"),
    _view("5", "counters", "Counters: statistics, table use"),
    Command("open", ("enter",), "Open: detail, or the rules of a chain", "detail", group="List"),
    Command("back", ("escape",), "Back: close, then clear filter", group="List", palette=False),
    Command("next_pane", ("tab",), "Next pane", group="List", palette=False),
    Command("previous_pane", ("shift+tab",), "Previous pane", group="List", palette=False),
    Command("filter", ("slash",), "Filter: show what matches", "filter", FILTERED, "List"),
    Command("sort", ("s",), "Sort: choose a column", "sort", group="List"),
    Command("columns", ("C",), "Columns: which, in which order", "columns", group="List"),
    Command("follow", ("f",), "Follow: stay at the newest", "follow", ("events", "packets"), "List"),
    Command("copy", ("y",), "Copy: the row, or its detail", "copy", group="List"),
    Command("pause", ("space",), "Pause: nothing is lost", "pause"),
    Command("capture", ("B",), "Capture: devices and filter", "capture", ("packets",), "List", live=True),
    Command("stop_capture", (), "Stop capturing", live=True),
    Command("export", ("w",), "Write: packets shown to a file", "write", ("packets",), "List"),
    Command("record", ("r",), "Record: all to a file, or end", "record", live=True),
    Command("namespace", ("at",), "Namespace: watch another", "namespace", live=True),
    Command("acct_on", (), "Accounting on: bytes and packets of new flows", live=True),
    Command("acct_off", (), "Accounting off", live=True),
    Command("theme", (), "Theme: choose one"),
    Command("palette", ("colon", "ctrl+p"), "Commands: find by name", palette=False),
    Command("help", ("question_mark",), "Help: this page", "help"),
    Command("quit", ("q", "ctrl+c"), "Quit", "quit"),
)

# The cursor's keys, bound by the table itself and by every text pane.
MOVES: tuple[Command, ...] = (
    Command("down", ("j", "down"), "Down", group="Move", palette=False),
    Command("up", ("k", "up"), "Up", group="Move", palette=False),
    Command("page_down", ("pagedown", "ctrl+f"), "Page down", group="Move", palette=False),
    Command("page_up", ("pageup", "ctrl+b"), "Page up", group="Move", palette=False),
    Command("top", ("g", "home"), "First", group="Move", palette=False),
    Command("bottom", ("G", "end"), "Last", group="Move", palette=False),
    Command("left", ("h", "left"), "Columns to the left", group="Move", palette=False),
    Command("right", ("l", "right"), "Columns to the right", group="Move", palette=False),
)

_SHOWN = {
    "slash": "/", "colon": ":", "at": "@", "question_mark": "?", "space": "Space", "enter": "Enter", "escape": "Esc",
    "tab": "Tab", "shift+tab": "Shift-Tab", "ctrl+p": "Ctrl-P", "ctrl+c": "Ctrl-C",
    "pagedown": "PgDn", "pageup": "PgUp", "ctrl+f": "Ctrl-F", "ctrl+b": "Ctrl-B",
    "home": "Home", "end": "End", "down": "↓", "up": "↑", "left": "←",
    "right": "→",
}  # fmt: skip


def key_text(key: str) -> str:
    """A key as a person reads it: `/`, `Ctrl-P`, `PgDn`."""
    return _SHOWN.get(key, key)


def keys_text(command: Command) -> str:
    """Every key of a command, `j ↓`."""
    return " ".join(key_text(key) for key in command.keys)


def applies(command: Command, view: str, live: bool = True) -> bool:
    """Whether a command does something in this view of a live namespace, or of a file."""
    return (not command.views or view in command.views) and (live or not command.live)


def by_name(name: str) -> Command:
    """The command of this name; KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {command.name: command for command in COMMANDS}
