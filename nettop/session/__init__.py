"""Sessions for the screens: the models and threads of a live namespace or of a file."""
