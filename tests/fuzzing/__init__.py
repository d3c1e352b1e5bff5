"""Mutated files through the commands' own code path: how files are mutated, and what counts as a fault."""
