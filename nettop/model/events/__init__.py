"""The event log: a ring of conntrack events, filtered, followed and counted over time."""
