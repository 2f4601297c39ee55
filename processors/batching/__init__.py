"""Pure: what is released together, and why then."""
