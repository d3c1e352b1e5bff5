"""How networks learn: tasks, the loop, its hooks, devices, checkpoints. Knows torch and data, nothing of pruning."""
