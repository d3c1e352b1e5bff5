"""The compiler: an ONNX model and calibration images in, a program with its proofs out.

What it may know: ``ops``, ``ir``, ``accel`` and ONNX Runtime. Nothing of torch, boards in use or artifacts' files.
The way in is ``pipeline.compile_model``; its rooms lie in the order in which a network passes through them.
"""
