"""The processes of sockets: those of a namespace, with their holders, as text."""
