"""The detail of one row: its title, its lines, its bytes. It stays when the row leaves its table, and says so."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from nettop.model.table import Detail, Line, PacketDetail
from nettop.session.interface import Session
from nettop.ui import strips as lines
from nettop.ui.widgets.bar_lines import title_line
from nettop.ui.widgets.packet_tree import HexPane, PacketTree
from nettop.ui.widgets.self_drawn import Covered
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.text_panes import TextPane

WIDE = 120  # cells from which a packet's tree and bytes stand together
DUMP = 74  # cells of a line of bytes, with its border


class _Beside(Horizontal, Covered):
    """The tree and the hexdump."""


class DetailPane(Vertical, Covered):
    """Shows one subject at a time; asks for it anew whenever it is told to."""

    DEFAULT_CSS = "DetailPane { width: 1fr; }"

    def __init__(self, name: str, session: Session, post: Post) -> None:
        super().__init__()
        self._session, self._post = session, post
        self.title = TextPane(surface="background")
        self.body = PacketTree(id=f"detail-{name}")
        self.bytes = HexPane(id="hex")
        self.found: Detail | None = None
        self._view = name  # of the subject
        self._subject: int | None = None
        self._asking: int | None = None
        self.bytes_in_front = False  # on a narrow screen

    def compose(self) -> ComposeResult:
        yield self.title
        yield _Beside(self.body, self.bytes)

    @property
    def has_bytes(self) -> bool:
        """True when there are bytes to show."""
        return bool(_hexdump(self.found))

    @property
    def has_tree(self) -> bool:
        """True when its lines fold: Enter does something there."""
        return _is_tree(self.found)

    def show(self, view: str, ident: int | None) -> None:
        """Show this row of this view from now on."""
        self._view, self._subject = view, ident
        self.ask()

    def forget(self) -> None:
        """Nothing that was shown counts any more."""
        self._subject = self.found = None

    def ask(self) -> None:
        """Ask for the subject as it is now."""
        ident = self._subject
        if ident is None or self._asking == ident:
            return
        self._asking = ident
        self._session.detail(self._view, ident, lambda found: self._post(self._told, ident, found))

    def _told(self, ident: int, found: Detail | None) -> None:
        if self._asking == ident:
            self._asking = None
        if not self.is_attached or not self.display or ident != self._subject:
            return
        if found is None:
            self._gone()
            return
        other = self.found is None or self.found.ident != found.ident
        had_bytes = self.has_bytes
        self.found = found
        self.bytes.write(_hexdump(found), top=other)
        self.body.show_detail(found, top=other and not _is_tree(found))
        if had_bytes != self.has_bytes:
            self.place()
        self.write_title()

    def _gone(self) -> None:
        """What was known of the row stays."""
        if self.found is not None:
            title: Line = (*self.found.title, ("  gone", "warn"))
            self.title.write([title_line(title, self.app.size.width)])

    def write_title(self) -> None:
        """The title as wide as the screen is now."""
        if self.found is not None:
            self.title.write([title_line(self.found.title, self.app.size.width)])

    def place(self) -> None:
        """Show tree and hexdump next to each other if there is room, else the one in front."""
        both = self.app.size.width >= WIDE
        self.bytes.display = self.has_bytes and (both or self.bytes_in_front)
        self.body.display = both or not self.bytes.display
        self.bytes.styles.width = DUMP if both else "1fr"

    def plain(self) -> str:
        """Everything shown, for the clipboard."""
        if self.found is None:
            return ""
        blocks = ((self.found.title,), self.found.lines, _hexdump(self.found))
        return "\n".join(lines.plain(block) for block in blocks if block)

    def on_packet_tree_pointed(self, message: PacketTree.Pointed) -> None:
        message.stop()
        self.bytes.light(message.start, message.end)


def _is_tree(found: Detail | None) -> bool:
    return isinstance(found, PacketDetail) and bool(found.depths)


def _hexdump(found: Detail | None) -> tuple[Line, ...]:
    return found.hexdump if isinstance(found, PacketDetail) else ()
