"""Bytes to columns: pure functions that never raise on bad bytes."""
