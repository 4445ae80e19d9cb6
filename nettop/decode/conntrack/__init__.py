"""Conntrack messages: flows, expectations and statistics, as columns."""
