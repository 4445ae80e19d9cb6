"""Functions of the commands, and the registry of all commands."""
