"""The display filter: text to an expression, and an expression to a mask over columns."""
