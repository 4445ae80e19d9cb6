"""The parts of a view: its table, its detail, its groups."""
