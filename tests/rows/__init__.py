"""The rows of the cross-check table, a family a file."""
