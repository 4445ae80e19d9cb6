"""The namespaces of the host: what tells their containers, and which id is which."""
