"""Any ``torch.nn.Module`` seen from outside: an input for it, whether it runs, what it gives.

What it may know: torch. `probe.example_input` and `probe.check_runs` try a network, `outputs.tensors_of` flattens
what it gives; every room of torch uses them.
"""
