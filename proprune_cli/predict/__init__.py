"""Predicting what networks cost on the accelerator, and what they score: data sets, models, their errors.

`dataset` rows come from the loop model of compiled variants; predictors learn from rows, and never mix those that were
predicted with those that were measured unsaid. Knows the compiler and the boards; nothing of pruning. Only `expert`,
whose figures have gradients, knows torch.
"""
