"""Decoders of bytes into columns: pure functions that never raise on bad bytes."""
