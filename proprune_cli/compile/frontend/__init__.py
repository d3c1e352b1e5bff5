"""From an ONNX model to a float graph: reading, regions, what is left to the host at the end."""
