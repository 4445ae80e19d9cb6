"""The Textual app: draws snapshots, owns the terminal."""
