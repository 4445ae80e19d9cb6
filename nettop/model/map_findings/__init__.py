"""What is probably wrong with the namespaces of the host, each with its evidence."""
