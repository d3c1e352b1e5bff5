"""This host: ONNX Runtime on the artifact's own QDQ model."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from proprune_cli.accel.check import MAX_ITERATIONS
from proprune_cli.accel.deadline import model_seconds, run_session
from proprune_cli.accel.host import try_session
from proprune_cli.accel.program import stack, to_real, unstack
from proprune_cli.artifact import Artifact
from proprune_cli.artifact.codes import quantise_images
from proprune_cli.artifact.models import check_qdq
from proprune_cli.board.base import RunResult
from proprune_cli.compile.qdq.export import without_preprocess
from proprune_cli.errors import InputError

MAX_MACS = 1024 * MAX_ITERATIONS
"""Of one start: no array multiplies more in an iteration."""


class CpuExecutor:
    """Runs the QDQ model. Its int8 codes are those of the engine: the arithmetic is the same by construction.

    Args:
        optimise: ONNX Runtime's graph optimisation; the bytes do not depend on it.
        threads: threads of one operator; 0: as many as there are cores.
    """

    name = "cpu"

    def __init__(self, artifact: Artifact, *, optimise: bool = True, threads: int = 1) -> None:
        check_qdq(artifact.qdq, artifact.program, f"{artifact.name}, QDQ model")
        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        try:
            qdq = artifact.qdq
            if artifact.program.preprocess is not None:
                # Codes come in, which preprocessing has behind it.
                qdq = without_preprocess(onnx.load_from_string(qdq)).SerializeToString()
            self._session = ort.InferenceSession(qdq, options, providers=["CPUExecutionProvider"])
            try_session(self._session)
        except Exception as error:  # ONNX Runtime raises its own, unrelated classes
            raise InputError(
                f"ONNX Runtime {ort.__version__} refuses the artifact's QDQ model: {error}",
                where=artifact.name,
                remedy="update onnxruntime, or use --board interpreter",
            ) from error
        self._artifact = artifact
        macs = artifact.plan.totals.macs
        self._seconds = model_seconds(max(0, min(macs, MAX_MACS)) if type(macs) is int else 0)
        self._input = str(self._session.get_inputs()[0].name)

    def run_float(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """float32 [1, C, H, W], preprocessed, → float32 [1, *shape] of each output.

        Raises:
            BoardError: it does not come to an end.
        """
        names = [output.name for output in self._artifact.program.outputs]
        answers: list[Any] = run_session(self._session, names, {self._input: image}, self.name, self._seconds)
        for answer, output in zip(answers, self._artifact.program.outputs, strict=True):
            if answer.shape != (1, *output.shape):
                raise InputError(
                    f"the QDQ model gives {list(answer.shape)} for {output.name!r}, not {[1, *output.shape]}",
                    where=self._artifact.name,
                    remedy="compile the network again",
                )
        return [np.asarray(answer, dtype=np.float32) for answer in answers]

    def run(self, codes: NDArray[np.int8]) -> RunResult:
        """Codes in the program's layout, int8 [C, batch * H, W], to those of each output, image by image.

        They go through the exact power-of-two scales.
        """
        start = time.perf_counter()
        program = self._artifact.program
        images = to_real(unstack(codes, program.batch), program.input.exponent)
        answers = [self.run_float(images[n : n + 1]) for n in range(program.batch)]
        planes = [output.plane for output in program.outputs]
        outputs = tuple(
            stack(quantise_images(np.stack(ys).reshape(program.batch, p.channels, -1, p.width), p))
            for p, ys in zip(planes, zip(*answers, strict=True), strict=True)
        )
        return RunResult(outputs, None, "measured", time.perf_counter() - start)
