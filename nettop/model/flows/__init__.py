"""The flow table: updated by events and dumps, joined, sorted, filtered, shown and printed."""
