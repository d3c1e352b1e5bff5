"""From an ONNX model to a float graph: reading, regions, what is left to the host at the end.

What it may know: ONNX, the operators of ``ops`` and the passes. The way in is ``graph.import_onnx``.
"""
