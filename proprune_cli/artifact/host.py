"""The end of a network that is not the engine's work, run by ONNX Runtime on the processor beside it."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.program import HostStep
from proprune_cli.accel.segments import run_host_step
from proprune_cli.errors import InputError

REPETITIONS = 30


@dataclass(frozen=True)
class HostSegment:
    """What runs on the host after the engine.

    Attributes:
        model: serialised ONNX model, float32 [1, *output shape of the engine's part] in.
        operators: what it runs, in order.
    """

    model: bytes
    operators: tuple[str, ...]

    def run(self, y: NDArray[np.float32]) -> NDArray[Any]:
        """The engine's output, float32 [N, …], image by image, to the network's; its dtype may be an integer's.

        Raises:
            InputError: ONNX Runtime refuses the model.
        """
        session = self._session()
        name = session.get_inputs()[0].name
        outputs = [cast("list[Any]", session.run(None, {name: image[np.newaxis]}))[0] for image in y]
        return np.concatenate([np.asarray(o) for o in outputs])

    def measure_ms(self, shape: tuple[int, ...]) -> float:
        """Median milliseconds for one image **on the machine that asks**, which is no board."""
        session = self._session()
        image = {session.get_inputs()[0].name: np.zeros((1, *shape), dtype=np.float32)}
        seconds: list[float] = []
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            session.run(None, image)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds) * 1e3

    def _session(self) -> Any:
        import onnxruntime as ort

        try:
            return ort.InferenceSession(self.model, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own, unrelated classes
            raise InputError(
                f"ONNX Runtime {ort.__version__} refuses the artifact's host segment: {error}",
                where=f"host segment ({', '.join(self.operators)})",
                remedy="update onnxruntime, or cut these operators off the model",
            ) from error


def measure_step_ms(step: HostStep) -> float:
    """Median milliseconds of a host step **on the machine that asks**, its copies to and from DDR included.

    Raises:
        InputError: ONNX Runtime refuses the model.
    """
    words = tuple(np.zeros(plane.words, dtype=np.uint64) for plane in step.inputs)
    seconds: list[float] = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        run_host_step(step, words)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]) * 1e3  # the first opens the model


def host_segment(model: bytes) -> HostSegment:
    """The segment that a serialised model holds."""
    import onnx

    return HostSegment(model, tuple(node.op_type for node in onnx.load_from_string(model).graph.node))
