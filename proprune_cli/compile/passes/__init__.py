"""Transformations of the float graph, one per file; each says what it needs and what it leaves."""
