"""The commands that print instead of drawing: one file for each command."""
