"""The commands that print instead of drawing: one file a command."""
