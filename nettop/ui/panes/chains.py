"""The view of chains: the matrix of hooks and priorities, or a list, above the rules of the chain under the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from textual.app import ComposeResult

from nettop.model.ruleset.find import Hit
from nettop.model.table import RULE_WORDS, Line, Row
from nettop.session.status import Status
from nettop.ui.panes.pane import PaneHost, ViewDef, ViewState
from nettop.ui.panes.table_view import TableView
from nettop.ui.strips import keys_line
from nettop.ui.widgets.matrix import MatrixTable
from nettop.ui.widgets.table import Table


class ChainsView(TableView):
    """Chains as a matrix or as a list, and their rules."""

    def __init__(self, definition: ViewDef, host: PaneHost) -> None:
        super().__init__(definition, host)
        self.matrix: MatrixTable | None = None
        self._other: Table | None = None  # of matrix and list, the one that is not shown
        self.found = ""  # the text that was searched
        self._hits: Sequence[Hit] = ()
        self._at = -1  # of the hit under the cursor
        self._searching = False  # the answer has not come yet
        self._unread = False  # since the rules are not read yet
        self._unsearched: Sequence[str] = ()  # sets that may hold it
        self._isolated = False
        if "matrix" in self.session.views:
            self.matrix = MatrixTable("matrix", self.session, self.post)
            self.matrix.filter_kind, self.matrix.advice = self.table.filter_kind, self.table.advice
            self.matrix.viewport.has_child = True
            self._other = self.matrix
            self._swap()

    def compose(self) -> ComposeResult:
        """Yield matrix and list, then what is below."""
        yield from self._hidden()
        yield from super().compose()

    def _hidden(self) -> Iterator[Table]:
        if self._other is not None:
            yield self._other

    @property
    def kind(self) -> str:
        """The view's name, or `matrix` while that has the cursor."""
        return "matrix" if self.table is self.matrix and not self.child_in_front else self.definition.name

    @property
    def state(self) -> ViewState:
        """The state of the view for `restore`."""
        return replace(super().state, front=self.table.view)

    def restore(self, state: ViewState) -> None:
        """Show again what was shown in this state."""
        if state.front != self.table.view:
            self._swap()
        super().restore(state)

    def toggle(self) -> None:
        """Show the list instead of the matrix, or the matrix again, with the cursor on the same chain."""
        row = self.table.current
        self._swap()
        self.table.ask()
        if row is not None:
            self.table.seek(row.ident)
        self.lay_out()
        self.focus_something()
        self.post_message(self.Changed())

    def _swap(self) -> None:
        if self._other is not None:
            self.table, self._other = self._other, self.table
            if self.child is not None:
                self.child.parent = self.table

    @property
    def filters(self) -> Line:
        """The filters, and the text to find with the place of the rule under the cursor: `find web 1/3`."""
        if not self.found:
            every: Line = keys_line("every chain  ", "x", " back  ") if self._isolated else ()
            return (*every, *super().filters)
        number = f" {self._at + 1}/{len(self._hits)}" if self._hits else " …" if self._searching else " not found"
        keys = keys_line("  ", "n", " next ", "x", " all" if self._isolated else " only these") if self._hits else ()
        limits: Line = ()
        if self._unsearched:
            number = number if self._hits else ""
            limits = ((f"  sets are not searched: {', '.join(self._unsearched)}", "warn"),)
        line: Line = (("find ", "key"), (self.found, "accent"), (number, "number"), *keys, *limits)
        return (*line, ("  ", ""), *super().filters)

    @property
    def depth(self) -> int:
        """The number of what can be left; a search is one of them."""
        return bool(self.found or self._isolated) + super().depth

    def back(self) -> None:
        """Go one step out (Esc); the search ends before that."""
        if (self.found or self._isolated) and not self.is_open:
            self.find("")
        else:
            super().back()

    def find(self, text: str) -> None:
        """Mark the rules that match and go to the first one; "" ends the search."""
        self.found, self._hits, self._at, self._isolated = text, (), -1, False
        self._unsearched, self._searching = (), True
        self._mark()
        self._search()

    def _search(self) -> None:
        self._unread, text = False, self.found
        if text:
            self.session.find_rules(text, lambda hits, unsearched: self.post(self._on_found, text, hits, unsearched))

    def _on_found(self, text: str, hits: Sequence[Hit] | None, unsearched: Sequence[str]) -> None:
        if text != self.found or not self.is_attached:
            return
        self._unread = hits is None
        if hits is not None:
            self._hits, self._unsearched, self._searching = hits, unsearched, False
            self.next_hit(1)

    def tick(self, status: Status, paused: bool) -> None:
        """Search once the rules are read, if they were not when that was asked; keep what is found up to date."""
        super().tick(status, paused)
        if self._unread:
            self._search()
        elif (text := self.found) and not (paused or self._searching):
            self.session.found_rules(text, lambda hits: self.post(self._on_found_now, text, hits))

    def _on_found_now(self, text: str, hits: Sequence[Hit]) -> None:
        if text != self.found or self._searching or hits == self._hits or not self.is_attached:
            return
        rules, current = [hit.rule for hit in hits], self._hits[self._at].rule if self._hits else None
        self._hits, self._at = hits, rules.index(current) if current in rules else min(self._at, len(hits) - 1)
        self.post_message(self.Changed())

    def _mark(self) -> None:
        for table in (*self.tables, *self._hidden()):
            isolated = self._isolated and self.child is not None and table is self.child.table
            table.set_options(find=self.found, isolated=isolated)
        self.post_message(self.Changed())

    def isolate(self) -> None:
        """Show only the rules found, or without a search all rules, of every chain; or those of the chain again."""
        if self._hits or not self.found:
            self._isolated = not self._isolated
            self._mark()
            self.next_hit(0)
        if self.child is not None and not self.found:
            self.child.in_front = self._isolated
            self.lay_out()
            self.focus_something()

    def open_elements(self) -> None:
        """Open or close the sets that the rule under the cursor uses; behind the last element read the next ones."""
        row = None if self.child is None else self.child.table.current
        if self.child is None or row is None or not row.reads:
            self.app.notify("this rule uses no named set")
            return
        rules = self.child.table
        if row.ident > 0:  # a rule
            rules.set_options(toggled=rules.options.toggled ^ {row.ident})
        if row.ident < 0 or row.ident in rules.options.toggled:
            self.session.read_elements(row.ident, lambda failure: None)

    def _follow_link(self, row: Row) -> bool:
        if row.reads and row.link in (None, row.ident):
            self.open_elements()
            return True
        return super()._follow_link(row)

    def change_words(self) -> None:
        """Show the rule under the cursor in the next words: its own tool's, nft's, the kernel's expressions."""
        if self.child is not None:
            names, options = [*RULE_WORDS], self.child.table.options
            self.child.table.set_options(words=names[(names.index(options.words) + 1) % len(names)])

    def show_moved(self) -> None:
        """Show only rules that matched while they were watched, or all again."""
        if self.child is not None:
            self.child.table.set_options(moved=not self.child.table.options.moved)

    def next_hit(self, step: int) -> None:
        """Go to the next rule found (step 1), or to the one before (-1)."""
        self.post_message(self.Changed())
        if not self._hits:
            return
        self._at = (self._at + step) % len(self._hits)
        self._go_to(self._hits[self._at])

    def show_rule(self, hit: Hit) -> None:
        """Show a rule, or a chain, regardless of the filters."""
        self._close()
        for table in self.tables:
            table.filter = None
        self._go_to(hit)

    def _go_to(self, hit: Hit) -> None:
        if self.child is None:
            return
        rules = self.child.table
        if self.table is self.matrix and not hit.hooked:
            self._swap()
        self.table.seek(hit.chain)
        rules.set_scope(hit.chain)
        toggled, above = rules.options.toggled, frozenset(hit.headings)
        rules.set_options(toggled=toggled | above if hit.folded else toggled - above)
        if hit.rule is not None:
            rules.seek(hit.rule)
        self.child.in_front = hit.rule is not None
        if self.is_mounted:
            self.lay_out()
            self.focus_something()

    def start_over(self) -> None:
        """Go back to the first chain: another namespace is watched."""
        self.find("")
        for table in self._hidden():
            table.start_over()
        super().start_over()

    def lay_out(self) -> None:
        """Show and size the parts for this screen."""
        for table in self._hidden():
            table.display = False
        super().lay_out()


def shown_matrix(screen: Any) -> MatrixTable:
    """Return the matrix on the screen, for its commands."""
    assert isinstance(screen.view, ChainsView) and screen.view.matrix is not None
    return screen.view.matrix
