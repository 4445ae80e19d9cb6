"""Formatting shared by the screens and the command line: pure functions from values to text."""
