"""What the screens talk to: models and threads of a live namespace or of a file."""
