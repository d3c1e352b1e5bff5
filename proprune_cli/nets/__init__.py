"""Networks that a user names or brings: the zoo, factories, ONNX files; and their way out to ONNX."""
