"""The quantised network as a QDQ ONNX model, which ONNX Runtime runs to the same bytes."""
