"""Files that a session writes: packets and traced packets that match a filter."""

from __future__ import annotations

import os

from nettop.broker.client import Broker
from nettop.errors import BrokerError
from nettop.model.filter.expression import Filter
from nettop.recording.item_export import export_items
from nettop.session import trace_actions
from nettop.session.run import Run
from nettop.text.units import plural


def save_path(path: str) -> str:
    """Return the path that a person has typed, with ~ replaced by the home directory."""
    return os.path.expanduser(path.strip())


def open_output(services: Broker | None, path: str) -> int:
    """Create a file, which must not exist, and return its descriptor. BrokerError if that fails."""
    if services is None:
        raise BrokerError("files cannot be written here")
    return services.open_output(path)


def packets(run: Run, services: Broker | None, path: str, display_filter: Filter | None) -> str:
    """Write the packets that match; return their number, the format and the path."""
    items = run.waited(lambda engine, now_ns: list(engine.packets.export(display_filter)))
    path = save_path(path)
    return export_items(items, open_output(services, path), path)


def traces(run: Run, services: Broker | None, path: str, display_filter: Filter | None) -> str:
    """Write the traced packets that match, as text if the file is named *.txt, else as JSON; return a message."""
    path = save_path(path)
    plain = path.endswith(".txt")
    count, text = run.waited(lambda engine, now_ns: trace_actions.trace_text(engine, display_filter, plain))
    with open(open_output(services, path), "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return f"{plural(count, 'packet')} written to {path}"
