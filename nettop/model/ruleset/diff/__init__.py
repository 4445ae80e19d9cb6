"""The difference between two moments of a ruleset: of chains and rules, and of all other parts."""
