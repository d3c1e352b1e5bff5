"""One file per operator family: how it is imported from ONNX, what it may not ask for, and its int8 reference."""
