"""Sizes that are learned together with the weights: gates in training, the space of sizes, and the search.

`gates` closes channels while a network learns, `space` says what sizes cost, `search` moves them.
"""
