"""The kernel's numbers, each named once, in modules by header."""
