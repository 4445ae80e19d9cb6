"""Flows summed by what they have in common."""
