"""The event log: the last conntrack events, filtered, followed and counted by second."""
