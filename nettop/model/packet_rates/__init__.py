"""Rates of flows from captured headers, for flows that the kernel does not count."""
