"""The Textual app. It draws snapshots and owns the terminal."""
