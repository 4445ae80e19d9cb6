"""What each command does: one function a command, found in the registry."""
