"""From a float graph to integers: calibration, exponents of tensors, scales of weights, tables."""
