"""Flows summed by a common key."""
