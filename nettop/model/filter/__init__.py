"""The display filter: parsed from text, and evaluated over columns to a mask of rows."""
