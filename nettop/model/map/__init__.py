"""The map as tables: the tree of namespaces and devices, its drawing, details and lists."""
