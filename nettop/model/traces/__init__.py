"""Packets on their way through the chains: what to trace, and the records of the kernel joined to journeys."""
