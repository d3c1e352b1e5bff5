"""From a float graph to integers: calibration, exponents of tensors, scales of weights, tables.

What it may know: the graphs of ``ir`` and ONNX Runtime, which runs the calibration images. Nothing of arrays or
tiles. The way in is ``network.quantise``.
"""
