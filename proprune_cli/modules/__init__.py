"""Any ``torch.nn.Module`` seen from outside: an input for it, whether it runs, what it gives. Knows torch alone."""
