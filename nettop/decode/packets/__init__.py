"""Frames of many link types: one column a header field."""
