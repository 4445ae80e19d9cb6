"""Commands on the watched namespace: accounting, rates, names, the receive filter, resetting counters."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

from nettop.model.filter.expression import parse
from nettop.model.table import CounterDetail, Detail, Row
from nettop.ui.actions.choosing import confirm
from nettop.ui.screens.pending import has_ended, open_with_answer
from nettop.ui.widgets.choices import Choice
from nettop.ui.widgets.prompt_request import PromptRequest, discard
from nettop.ui.widgets.text_panes import AccountingOffer

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

ACCT = "net.netfilter.nf_conntrack_acct"


def accounting(screen: MainScreen) -> Awaitable[None] | None:
    """Ask, then switch conntrack accounting on or off."""
    if has_ended(screen):
        return None
    on = screen.status.acct in ("", "off")
    where = screen.status.netns or "the host"
    if on:
        text = f"Sets {ACCT} = 1 in {where}. New flows have bytes, packets and rates then; older ones stay –."
        choice = Choice("on", "Switch accounting on")
    else:
        text = f"Sets {ACCT} = 0 in {where}. New flows have no bytes and no rates then."
        choice = Choice("off", "Switch accounting off")

    def on_confirmed(answer: str) -> None:
        _decline_offer(screen)
        message = "accounting is on: new flows are counted" if answer == "on" else "accounting is off"
        screen.session.set_acct(answer == "on", screen.done(message))

    return confirm(screen, "Accounting", text, [choice], on_confirmed)


def _decline_offer(screen: MainScreen) -> None:
    for offer in screen.query(AccountingOffer):
        offer.decline(screen.status.netns)


def measure(screen: MainScreen) -> None:
    """Start or stop measuring rates from packets' headers, which needs no accounting."""
    if has_ended(screen):
        return
    now = screen.session.status().capturing
    if now is not None and now.headers:
        screen.session.stop_capture()
        screen.say("rates from packet headers stopped")
        return
    instead = f", in place of the capture on {' '.join(now.devices)}" if now is not None else ""
    message = f"rates come from packets' headers now (128 bytes of each){instead}; H ends that"
    screen.session.measure_rates(screen.done(message, lambda: _decline_offer(screen)))


def names(screen: MainScreen) -> None:
    """Show host and service names, or addresses and numbers again."""
    on = not screen.status.names
    screen.session.set_names(on)
    screen.say("names are resolved in the background" if on else "addresses and numbers")


def watch_only(screen: MainScreen) -> Awaitable[None]:
    """Ask for the receive filter: which flows and events are received at all."""

    def apply(text: str) -> None:
        screen.session.watch_only(text, screen.done(f"receiving only {text}" if text else "receiving everything"))

    advice = "host 10.0.0.1 and mark 0x1 · filtered in the kernel where possible · empty receives everything"
    check = lambda text: discard(parse(text, "flow"))  # noqa: E731
    return screen.open_prompt(PromptRequest("only", " only ", "", check, advice, apply, "flow"))


def zeroes(screen: MainScreen) -> None:
    """Show the counters that are 0, or hide them again."""
    screen.table.set_options(zeroes=not screen.table.options.zeroes)


def reset(screen: MainScreen) -> Awaitable[None] | None:
    """Ask, then set the counter under the cursor to zero; report one that cannot be reset."""
    row = screen.table.current
    if row is None:
        screen.say("there is no counter here")
        return None
    request = partial(screen.session.detail, screen.table.view, row.ident)
    return open_with_answer(screen, request, partial(_confirm_reset, screen, row))


def _confirm_reset(screen: MainScreen, row: Row, found: Detail | None) -> Awaitable[None] | None:
    name = " ".join(cell.strip() for cell in row.cells[:2])
    if not isinstance(found, CounterDetail) or not found.resettable:
        screen.say(f"{name} cannot be reset: nft counters and quotas, and nfacct objects can")
        return None

    def on_confirmed(_: str) -> None:
        screen.session.reset_counter(row.ident, screen.done(f"{name} begins at zero"))

    text = f"{name}: every program that reads this counter sees it begin at zero."
    return confirm(screen, "Reset a counter", text, [Choice("reset", "Set it to zero")], on_confirmed)
