"""One view: its table, totals and detail, and for Chains the rules below. Decides what stands where at every size."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from nettop.model.view import Detail, Line, Row, Snapshot
from nettop.text.sanitize import clean
from nettop.ui import lines
from nettop.ui.session_protocol import Session
from nettop.ui.views import CHILD_ADVICE, ViewDef
from nettop.ui.widgets.bars import title_line
from nettop.ui.widgets.packet import Bytes, Tree
from nettop.ui.widgets.paper import Paper
from nettop.ui.widgets.rows import described
from nettop.ui.widgets.table import Post, Table

TALL = 28  # lines from which list and detail stand together
WIDE = 120  # cells from which a packet's tree and bytes stand together
DUMP = 74  # cells of a line of bytes, with its border


class View(Vertical):
    """A table with its totals, a detail pane, and where the view has one, a child table."""

    DEFAULT_CSS = """
    View { height: 1fr; width: 1fr; }
    View #hex { border-left: solid $nt-border; }
    """

    def __init__(self, definition: ViewDef, session: Session, post: Post, live: bool = True) -> None:
        super().__init__(id=f"view-{definition.name}")
        self.definition = definition
        self.session = session
        self.post = post
        name, child = definition.name, definition.child
        self.table = Table(name, session, post, session.views[name], can_follow=definition.can_follow)
        self.table.advice = definition.advice if live else definition.replay_advice
        self.child = Table(child, session, post, session.views[child]) if child in session.views else None
        self.child_title = Paper(surface="background")
        self.totals = Paper()
        self.title = Paper(surface="background")
        self.detail = Tree(id=f"detail-{name}")
        self.hex = Bytes(id="hex")
        self.panes = Horizontal(self.detail, self.hex)
        self.is_open = False  # the detail
        self.inside = False  # the child has (or would have) the screen
        self._detail: Detail | None = None
        self._subject: int | None = None  # whose detail is open; it stays when the row leaves the table
        self._asking: int | None = None
        self._hex_in_front = False  # on a narrow screen
        self._bare = False  # the table is empty, and its child is not shown

    def compose(self) -> ComposeResult:
        yield self.table
        if self.child is not None:
            self.child.advice = CHILD_ADVICE
            yield self.child_title
            yield self.child
        yield self.totals
        yield self.title
        yield self.panes

    def on_mount(self) -> None:
        self.place()

    def on_resize(self) -> None:
        self.place()

    # ── what a person does ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def tables(self) -> list[Table]:
        """The table, and the child where there is one."""
        return [self.table] if self.child is None else [self.table, self.child]

    @property
    def active(self) -> Table:
        """The table that commands are about."""
        return self.child if self.child is not None and self.inside else self.table

    def tick(self) -> None:
        """Ask for what is on the screen, and nothing else."""
        asked = [table.tick() for table in self.tables if table.display]
        if self.is_open and not self.table.paused and (any(asked) or not asked):
            self._ask_detail()

    def open_row(self) -> None:
        """Enter: into the child, or the detail of the row; in a packet's tree, fold or unfold."""
        if self.is_open and self.screen.focused is self.detail:
            self.detail.fold()
        elif self.child is not None and not self.inside:
            self.inside = True
            self.place()
            self.screen.set_focus(self.child)
        elif self.active.current is not None and not self.is_open:
            self.is_open = True
            self.active.window.pin(True)
            self._subject = self.active.current.ident
            self.place()
            self.focus_something()
            self._ask_detail()

    def back(self) -> bool:
        """Esc: one step out; False when there was nothing to leave."""
        if self.is_open:
            self.is_open = False
            self.active.window.pin(False)
        elif self.inside:
            self.inside = False
        else:
            return False
        self.place()
        self.screen.set_focus(self.active)
        self.active.ask()
        return True

    def start_over(self) -> None:
        """Another namespace is watched: back to the list, at its top."""
        self.is_open = self.inside = False
        self._subject = self._detail = None
        for table in self.tables:
            table.start_over()
        if self.display:
            self.place()

    @property
    def filter_kind(self) -> str:
        """What model.filter.parse is told for the active table; "" where it takes no filter."""
        return self.definition.child_filter_kind if self.active is self.child else self.definition.filter_kind

    @property
    def filters(self) -> Line:
        """What is filtered by here: `/ host 10.0.0.1`, and of a child table `rules / verdict drop`."""
        said: list[tuple[str, str]] = []
        for table in self.tables:
            if table.filter is not None:
                of = f"{table.view} " if table is self.child else ""
                said += [(("   " if said else "") + of, "dim"), ("/ ", "key"), (clean(table.filter.text), "accent")]
        return tuple(said)

    def walk(self) -> list[Widget]:
        """The panes that Tab walks through."""
        panes: list[Widget] = [t for t in self.tables if t.display or (self.child is not None and not self.is_open)]
        if self.is_open:
            panes.append(self.detail)
            if self._has_hex():
                panes.append(self.hex)
        return [pane for pane in panes if self._can_show(pane)]

    def next_pane(self, step: int) -> None:
        """Tab and Shift-Tab."""
        panes = self.walk()
        focused = self.screen.focused
        at = panes.index(focused) if focused in panes else -step
        self.show_pane(panes[(at + step) % len(panes)])

    def show_pane(self, pane: Widget) -> None:
        """Focus a pane; on a small screen it takes the place of the one before."""
        if pane in self.tables:
            self.inside = pane is self.child
        self._hex_in_front = pane is self.hex
        self.place()
        self.screen.set_focus(pane)

    def focus_something(self) -> None:
        """Put the focus where the person was."""
        small_open = self.is_open and self._small()
        self.screen.set_focus(self.detail if small_open else self.active)

    def copied(self) -> str:
        """What `y` copies: the open detail, or the row under the cursor."""
        if self.is_open and self._detail is not None:
            blocks = ((self._detail.title,), self._detail.lines, self._detail.hexdump)
            return "\n".join(lines.plain(block) for block in blocks if block)
        row, shown = self.active.current, self.active.window.shown
        return "" if row is None or shown is None else described(row, shown.snapshot.spec, self.active.info.columns)

    # ── what stands where ───────────────────────────────────────────────────────────────────────────────────────

    def _small(self) -> bool:
        return self.app.size.height < TALL

    def _has_hex(self) -> bool:
        return self._detail is not None and bool(self._detail.hexdump)

    def _can_show(self, pane: Widget) -> bool:
        return not (self._small() and self.is_open and isinstance(pane, Table))

    def place(self) -> None:
        """Show and size the parts for this screen."""
        small, height = self._small(), self.size.height
        lists = not (small and self.is_open)
        self._bare = self._is_bare()
        if self._bare and self.inside and not self.is_open:
            self.inside = False
            if self.screen.focused is self.child:
                self.screen.set_focus(self.table)
        alone = small and self.child is not None
        self.table.display = lists and not (alone and self.inside)
        if self.child is not None:
            self.child.display = lists and not (alone and not self.inside) and not self._bare
            self.child_title.display = self.child.display
            self.table.styles.height = self._upper_height(height) if self.child.display else "1fr"
        self.totals.display = lists
        self.title.display = self.panes.display = self.is_open
        self.panes.styles.height = "1fr" if small else self._detail_height(height)
        both = self.app.size.width >= WIDE
        self.hex.display = self._has_hex() and (both or self._hex_in_front)
        self.detail.display = both or not self.hex.display
        self.hex.styles.width = DUMP if both else "1fr"
        self._write_titles()

    def _is_bare(self) -> bool:
        """Whether the table has no row, so that there is nothing a child could belong to: its advice needs the room."""
        shown = self.table.window.shown
        return self.child is not None and shown is not None and not shown.snapshot.matched

    def _upper_height(self, height: int) -> int:
        rows = self.table.window.matched or 1
        return max(2, min(rows + 1, height * 2 // 5))

    def _detail_height(self, height: int) -> int:
        return max(8, height // 2 - 1) if self.definition.name == "packets" else max(8, height // 3)

    def _write_titles(self) -> None:
        width = self.app.size.width
        if self._detail is not None:
            self.title.write([title_line(self._detail.title, width)])
        if self.child is not None and (row := self.table.current) is not None:
            self.child_title.write([title_line(_parent_words(self.table, row), width)])

    # ── what comes from the tables ──────────────────────────────────────────────────────────────────────────────

    def on_table_moved(self, message: Table.Moved) -> None:
        message.stop()
        if message.table is self.table and self.child is not None:
            row = self.table.current
            self.child.set_scope(None if row is None else row.ident)
            self._write_titles()
        if self.is_open and message.table is self.active and not message.table.lost:
            row = message.table.current
            self._subject = None if row is None else row.ident
            self._ask_detail()

    def on_tree_pointed(self, message: Tree.Pointed) -> None:
        message.stop()
        self.hex.light(message.start, message.end)

    def on_table_opened(self, message: Table.Opened) -> None:
        message.stop()
        self.open_row()

    def on_table_arrived(self, message: Table.Arrived) -> None:
        message.stop()
        if message.table is self.active or self.child is None:
            self.totals.write([self._totals_line(message.table, message.snapshot)])
        if message.table is self.table and self.child is not None:
            if self._bare != self._is_bare():
                self.place()
            if self.child.display and self.table.styles.height is not None:
                self.table.styles.height = self._upper_height(self.size.height)
            self._write_titles()

    def _totals_line(self, table: Table, snapshot: Snapshot) -> Line:
        right: Line = ()
        if snapshot.matched and snapshot.notes:
            right = (*snapshot.notes[0], ("  ", ""))
            if snapshot.spec.sort and table.window.holding and not table.window.pinned:
                right = (*right, ("g ", "key"), ("live ", "dim"))
        if table.window.follow:
            right = (*right, ("FOLLOW ▼ ", "key"))
        return tuple(lines.spread(((" ", ""), *snapshot.totals), right, self.app.size.width))

    def _ask_detail(self) -> None:
        ident = self._subject
        if ident is None or self._asking == ident:
            return
        self._asking = ident
        self.session.detail(self.active.view, ident, lambda found: self.post(self._told, ident, found))

    def _told(self, ident: int, found: Detail | None) -> None:
        if self._asking == ident:
            self._asking = None
        if not self.is_attached or not self.is_open or ident != self._subject:
            return
        if found is None:
            self._gone()
            return
        other = self._detail is None or self._detail.ident != found.ident
        had_hex = self._has_hex()
        self._detail = found
        self.hex.write(found.hexdump, top=other)
        self.detail.show_detail(found, top=other and not found.marks.get("depths"))
        if had_hex != self._has_hex():
            self.place()
        self._write_titles()

    def _gone(self) -> None:
        """The row has left its table: what was known of it stays, and says so."""
        if self._detail is not None:
            title: Line = (*self._detail.title, ("  gone", "warn"))
            self.title.write([title_line(title, self.app.size.width)])


def _parent_words(table: Table, row: Row) -> Line:
    """What the rules below belong to: `inet fw forward   priority 0 filter   policy drop   nft`."""
    shown = table.window.shown
    cells = dict(zip(shown.snapshot.spec.columns, row.cells, strict=False)) if shown is not None else {}
    name = " ".join(cells[key].strip() for key in ("family", "table", "chain") if cells.get(key, "").strip())
    rest = [f"{key} {cells[key].strip()}" for key in ("hook", "priority", "policy") if cells.get(key, "").strip()]
    return ((name, "heading"), ("".join(f"   {words}" for words in (*rest, cells.get("backend", "")) if words), "dim"))
