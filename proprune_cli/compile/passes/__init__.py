"""Transformations of the float graph, one a file, in the order of ``pipeline``.

What they may know: the graph. Each says what it needs and what is gone after it; the verifier runs between them.
"""
