"""The log of changes of a ruleset: each commit, as the kernel announces it and as the rules differ."""
