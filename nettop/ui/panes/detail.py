"""The detail of one row: its title, lines and bytes. It stays, marked as gone, when the row leaves its table."""

from __future__ import annotations

from dataclasses import replace

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from nettop.model.table import Detail, JourneyDetail, Line, PacketDetail
from nettop.session.base import Session
from nettop.ui import strips as lines
from nettop.ui.widgets.bar_lines import title_line
from nettop.ui.widgets.packet_tree import HexPane, PacketTree
from nettop.ui.widgets.self_drawn import Covered
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.text_panes import TextPane

WIDE = 120  # screen width in cells from which a packet's tree and bytes are side by side
DUMP = 74  # width in cells of a line of bytes, with its border


class _SideBySide(Horizontal, Covered):
    """Tree and bytes."""


class DetailPane(Vertical, Covered):
    """Pane that shows one row, and requests its detail again on each `request`."""

    DEFAULT_CSS = "DetailPane { width: 1fr; }"

    def __init__(self, name: str, session: Session, post: Post) -> None:
        super().__init__()
        self._session, self._post = session, post
        self.title = TextPane(surface="background")
        self.body = PacketTree(id=f"detail-{name}")
        self.bytes = HexPane(id="hex")
        self.foot = TextPane()  # the rule of the cursor's step, where its line is cut
        self.shown: Detail | None = None
        self.drawn: Detail | None = None  # it, with its sentences wrapped
        self._view = name  # of the row to show
        self._ident: int | None = None
        self._requested: int | None = None  # ident of the row whose detail has not arrived
        self.bytes_in_front = False  # on a narrow screen: the bytes are shown, not the tree

    def compose(self) -> ComposeResult:
        """Yield the title, the tree with the bytes, and the rule under the cursor."""
        self.foot.display = False
        yield self.title
        yield _SideBySide(self.body, self.bytes)
        yield self.foot

    @property
    def has_bytes(self) -> bool:
        """True when there are bytes to show."""
        return bool(_hexdump(self.shown))

    @property
    def has_tree(self) -> bool:
        """True when its lines fold: Enter folds and unfolds."""
        return _is_tree(self.shown)

    def show(self, view: str, ident: int | None) -> None:
        """Show this row of this view from now on."""
        self._view, self._ident = view, ident
        self.request()

    def show_answer(self, answer: Detail) -> None:
        """Show a detail that belongs to no row."""
        self._ident, self.shown = None, answer
        self.bytes.write(())
        self.lay_out()
        self._write_body(top=True)
        self.write_title()

    @property
    def answers(self) -> bool:
        """True while a detail is shown that belongs to no row."""
        return self._ident is None and self.shown is not None

    def forget(self) -> None:
        """Forget the row that was shown."""
        self._ident = self.shown = None

    def request(self) -> None:
        """Request the row's detail as it is now, unless that is pending already."""
        ident = self._ident
        if ident is None or self._requested == ident:
            return
        self._requested = ident
        self._session.detail(self._view, ident, lambda found: self._post(self._on_detail, ident, found))

    def _on_detail(self, ident: int, found: Detail | None) -> None:
        if self._requested == ident:
            self._requested = None
        if not self.is_attached or not self.display or ident != self._ident:
            return
        if found is None:
            self.write_title(("  gone", "warn"))  # its last detail is kept
            return
        other = self.shown is None or self.shown.ident != found.ident
        had_bytes = self.has_bytes
        self.shown = found
        self.bytes.write(_hexdump(found), top=other)
        self._write_body(top=other and not _is_tree(found))
        if other and isinstance(self.drawn, JourneyDetail):
            self.body.go_to(self.drawn.deciding_line)
        if had_bytes != self.has_bytes:
            self.lay_out()
        self.write_title()

    def _write_body(self, *, top: bool = False) -> None:
        if self.shown is not None:
            self.drawn = _wrapped(self.shown, self.app.size.width)
            self.body.show_detail(self.drawn, top=top)

    def write_title(self, *more: tuple[str, str]) -> None:
        """Write the title, and these parts after it, as wide as the screen is now."""
        if self.shown is not None:
            self.title.write([title_line((*self.shown.title, *more), self.app.size.width)])

    def lay_out(self) -> None:
        """Show tree and bytes side by side where there is room, else the one that is in front."""
        both = self.app.size.width >= WIDE
        self.bytes.display = self.has_bytes and (both or self.bytes_in_front)
        self.body.display = both or not self.bytes.display
        self.bytes.styles.width = DUMP if both else "1fr"
        self._write_body()

    def plain(self) -> str:
        """Return title, lines and bytes as plain text, for the clipboard."""
        if self.shown is None:
            return ""
        blocks = ((self.shown.title,), self.shown.lines, _hexdump(self.shown))
        return "\n".join(lines.plain(block) for block in blocks if block)

    def on_packet_tree_pointed(self, message: PacketTree.Pointed) -> None:
        """Highlight the bytes of the field under the tree's cursor."""
        message.stop()
        self.bytes.light(message.start, message.end)
        self._write_foot()

    def _write_foot(self) -> None:
        """Write the rule of the cursor's step in full if its line is cut."""
        width, line = self.app.size.width, self.body.cursor_line
        cut = isinstance(self.drawn, JourneyDetail) and lines.width_of(line) > width
        text = lines.wrapped(((" ", ""), line[-1]), width) if cut else []
        self.foot.write(text)
        self.foot.styles.height = max(1, len(text))
        self.foot.display = bool(text)


def _is_tree(detail: Detail | None) -> bool:
    return isinstance(detail, PacketDetail) and bool(detail.depths)


def _wrapped(detail: Detail, width: int) -> Detail:
    """Return the detail with its sentences on lines of `width` cells."""
    sentences = [part for line in detail.lines[: detail.sentences] for part in lines.wrapped(line, width)]
    more = len(sentences) - detail.sentences
    shown = (*sentences, *detail.lines[detail.sentences :])
    if not isinstance(detail, JourneyDetail):
        return replace(detail, lines=shown, sentences=len(sentences))
    return replace(
        detail,
        lines=shown,
        depths=detail.depths[:1] * len(shown),
        ranges=detail.ranges[:1] * len(shown),
        places=(*detail.places[:1] * more, *detail.places),
        deciding_line=detail.deciding_line and detail.deciding_line + more,
        sentences=len(sentences),
    )


def _hexdump(detail: Detail | None) -> tuple[Line, ...]:
    return detail.hexdump if isinstance(detail, PacketDetail) else ()
