"""How networks learn: tasks, the loop and its hooks, devices, checkpoints. Knows torch and data, and nothing of pruning."""
