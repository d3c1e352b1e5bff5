"""Whether a program may run at all: the one check before it reaches an engine, a board or the interpreter.

A file's checksum says that nobody changed it since it was sealed, not who sealed it. So everything is read here as if
an enemy had written it: what the engine reads as program lies in the image, which nothing writes; whatever is written
lies behind the image and spares the counters; nothing reaches outside the buffer, the banks or the accumulators; and
the work is bounded before it starts. All sums are formed in 64 bits, of fields of at most 32, or in Python's integers.

`layout_faults` needs the manifest's numbers alone, `check_program` walks the image.
"""

from proprune_cli.accel.check.layout import layout_faults
from proprune_cli.accel.check.program import check_program
from proprune_cli.accel.check.work import MAX_ITERATIONS, LayerSteps, work_faults

__all__ = ["MAX_ITERATIONS", "LayerSteps", "check_program", "layout_faults", "work_faults"]
