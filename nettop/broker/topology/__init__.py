"""The namespaces of the host and their devices, for the map."""
