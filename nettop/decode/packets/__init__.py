"""Frames of many link types, as one column for each header field."""
