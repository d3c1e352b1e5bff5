"""The quantised network as a QDQ ONNX model, which ONNX Runtime runs to the same bytes as the engine.

What it may know: ``ir`` and ONNX. The way in is ``export.to_qdq``.
"""
