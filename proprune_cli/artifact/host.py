"""The end of a network that is not the engine's work, run by ONNX Runtime on the processor beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.deadline import run_session
from proprune_cli.accel.host import try_session
from proprune_cli.errors import InputError


@dataclass(frozen=True)
class HostSegment:
    """What runs on the host after the engine.

    Attributes:
        model: serialised ONNX model; its inputs are outputs of the engine's part by name, float32 [1, *shape].
        operators: what it runs, in order.
        inputs, outputs: the model's, by name.
    """

    model: bytes
    operators: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, given: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """The engine's outputs, float32 [N, …], image by image, to the segment's; their dtype may be an integer's.

        Raises:
            InputError: ONNX Runtime refuses the model. BoardError: it does not come to an end.
        """
        session = self._session()
        count = len(given[self.inputs[0]])
        who = f"the host segment ({', '.join(self.operators)})"
        answers = [
            run_session(session, self.outputs, {name: given[name][n : n + 1] for name in self.inputs}, who)
            for n in range(count)
        ]
        return {
            name: np.concatenate([np.asarray(answer[number]) for answer in answers])
            for number, name in enumerate(self.outputs)
        }

    def _session(self) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3  # its optimiser warns of the constants that it folds
        try:
            session = ort.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
            try_session(session)
            return session
        except Exception as error:  # ONNX Runtime raises its own, unrelated classes
            raise InputError(
                f"ONNX Runtime {ort.__version__} refuses the artifact's host segment: {error}",
                where=f"host segment ({', '.join(self.operators)})",
                remedy="update onnxruntime, or cut these operators off the model",
            ) from error


def host_segment(model: bytes) -> HostSegment:
    """The segment that a serialised model holds."""
    import onnx

    graph = onnx.load_from_string(model).graph
    return HostSegment(
        model,
        tuple(node.op_type for node in graph.node),
        tuple(value.name for value in graph.input),
        tuple(value.name for value in graph.output),
    )
