"""The program interpreter: runs an encoded program in NumPy, exactly as ``docs/engine.md`` says.

It is one of three independent executors (ONNX Runtime and the HLS C++ are the others) and the strictest: whatever a
program says twice or promises is checked, and a fault names its layer, step and block.

Of the orders of writing and reading that the contract allows it takes the latest: a step reads what the steps that it
waits for have left, as if all later ones had written nothing yet. The C++ takes the earliest.
"""

from proprune_cli.accel.interpret.run import Interpretation, InterpreterEngine, run, run_buffer

__all__ = ["Interpretation", "InterpreterEngine", "run", "run_buffer"]
