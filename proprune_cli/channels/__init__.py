"""Which channels of a network belong together, and how some of them go. Knows torch, and nothing of training."""
