"""The words of rules: the tools that print them, and the kernel's own list of the rules that they are the words of."""
