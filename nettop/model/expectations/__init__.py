"""Expectations of helpers: the flows that are to come, and their masters."""
