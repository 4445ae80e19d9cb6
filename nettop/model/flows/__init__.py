"""The flow table: kept by events and dumps, joined, sorted, filtered, shown and printed."""
