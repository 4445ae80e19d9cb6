"""Every command once: its keys, where it applies, its words. Bindings, hints, help and the palette come from here."""

from __future__ import annotations

from dataclasses import dataclass

LIST_VIEWS = ("flows", "events", "chains", "packets", "counters")
FILTERED = ("flows", "events", "packets")


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


def _view(number: str, name: str, title: str) -> Command:
    return Command(f"view_{name}", (number,), f"{title}", group="Views")


COMMANDS: tuple[Command, ...] = (
    _view("1", "flows", "Flows: who talks, how fast, rewritten by NAT how"),
    _view("2", "events", "Events: what conntrack says as it happens"),
    _view("3", "chains", "Chains: base chains by hook, rules and counters"),
    _view("4", "packets", "Packets: list, tree and bytes"),
    _view("5", "counters", "Counters: conntrack statistics and table use"),
    Command("open", ("enter",), "Open what the cursor is on", "detail", group="List"),
    Command("back", ("escape",), "Back: close the detail, then clear the filter", group="List", palette=False),
    Command("next_pane", ("tab",), "Next pane", group="List", palette=False),
    Command("previous_pane", ("shift+tab",), "Previous pane", group="List", palette=False),
    Command("filter", ("slash",), "Filter what is shown", "filter", FILTERED, "List"),
    Command("sort", ("s",), "Sort by…", "sort", group="List"),
    Command("columns", ("C",), "Choose columns", "columns", group="List"),
    Command("follow", ("f",), "Follow the newest", "follow", ("events", "packets"), "List"),
    Command("copy", ("y",), "Copy the row, or the open detail", "copy", group="List"),
    Command("pause", ("space",), "Pause the screen: nothing is lost", "pause"),
    Command("capture", ("B",), "Capture packets: devices and capture filter", "capture", ("packets",)),
    Command("stop_capture", (), "Stop capturing"),
    Command("export", ("w",), "Write the packets shown to a pcapng file", "write", ("packets",)),
    Command("record", ("r",), "Record everything to a file, or end the recording", "record"),
    Command("namespace", ("at",), "Watch another namespace", "namespace"),
    Command("acct_on", (), "Switch conntrack accounting on: bytes and packets of new flows"),
    Command("acct_off", (), "Switch conntrack accounting off"),
    Command("theme", (), "Choose a theme"),
    Command("palette", ("colon", "ctrl+p"), "Find a command by its name", palette=False),
    Command("help", ("question_mark",), "Help: every key", "help"),
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


def applies(command: Command, view: str) -> bool:
    """Whether a command does something in this view."""
    return not command.views or view in command.views


def by_name(name: str) -> Command:
    """The command of this name; KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {command.name: command for command in COMMANDS}
