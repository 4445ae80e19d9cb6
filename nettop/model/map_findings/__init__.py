"""Findings about the namespaces of the host: what is probably wrong, each with its evidence."""
