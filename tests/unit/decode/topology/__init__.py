"""The messages of the map, and the list of namespaces."""
