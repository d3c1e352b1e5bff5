"""The composition root: the one place that puts pruning, compiler, artifacts, boards and measurements together.

One module per job; the commands import the one they need, so that none waits for another's libraries.
"""
