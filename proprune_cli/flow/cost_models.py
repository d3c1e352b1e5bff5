"""What pruning is told about hardware: predicted latency and energy of layer shapes, and the taps of an engine.

Figures come from the shape model (`proprune_cli.compile.estimate`). Pruning tells it of convolutions and fully
connected layers; what stands between them is known once the dense network has been shown (`around`), and without that
pooling, additions and norms of their own are not in the figure. What runs on the host never is. The compiled network's
own prediction is the one to quote; pruning tightens its choice until that one keeps to the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from typing_extensions import Self

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board, board_with_array
from proprune_cli.accel.energy import MODEL as ENERGY_MODEL
from proprune_cli.accel.energy import Work, predict_energy
from proprune_cli.accel.memory import Memory
from proprune_cli.compile.estimate import MODEL, Estimate, ShapeModel
from proprune_cli.compile.frame import Frame, frame_of
from proprune_cli.flow.build import predict_model, predict_source
from proprune_cli.prune.objective import EngineTaps
from proprune_cli.work.layer import LayerWork

if TYPE_CHECKING:
    from proprune_cli.measure.predicted import Prediction
    from proprune_cli.predict.expert import SoftNetwork, Tensor, Weights
    from proprune_cli.prune.objective import SoftLayer


@dataclass(frozen=True)
class _OnBoard:
    """What both models share."""

    board: Board
    array: Array
    frame: Frame | None = None
    """What the compiler makes of the dense network around its layers."""

    @cached_property
    def taps(self) -> EngineTaps:
        """The engine's taps, for the knapsack method."""
        return engine_taps(self.array)

    @cached_property
    def _shapes(self) -> ShapeModel:
        return ShapeModel(self.array, Memory.of(self.board, self.array))

    def figure(self, predicted: Prediction) -> float:
        """What this model counts, of a scheduled network's prediction."""
        raise NotImplementedError

    def compiled(self, network: bytes, images: NDArray[np.float32]) -> float:
        """See `CompiledModel`."""
        return self.figure(predict_model(onnx.load_model_from_string(network), images, self.board, self.array))

    def predicted(self, source: Path, calibration: Path | None) -> Prediction:
        """Prediction of a run directory or an ONNX file, scheduled for this board and array."""
        from proprune_cli.compile.options import CompileOptions

        where = None if calibration is None else str(calibration)
        return predict_source(source, CompileOptions(self.board.name, self.array.name, where))

    def around(self, network: bytes, images: NDArray[np.float32], layers: Sequence[LayerWork]) -> Self:
        """See `CompiledModel`."""
        found = frame_of(onnx.load_model_from_string(network), images, layers)
        return self if found is None else replace(self, frame=found)

    def weights(self) -> Weights:
        """The figure as a sum of what the engine does."""
        raise NotImplementedError

    def softened(self, layers: Sequence[LayerWork]) -> SoftNetwork:
        """See `DifferentiableCost`: the expert model of the network around these layers."""
        from proprune_cli.predict.expert import SoftNetwork

        memory = Memory.of(self.board, self.array)
        return SoftNetwork(layers, self.array, memory, self.weights(), self._attributed)

    def soft_cost(self, layers: Sequence[SoftLayer]) -> Tensor:
        """See `DifferentiableCost`."""
        from proprune_cli.predict.expert import soft_figure

        soft = self.softened([layer.work for layer in layers])
        return soft_figure(soft, [(layer.inputs, layer.outputs, layer.taps) for layer in layers])

    def _attributed(self, layers: Sequence[LayerWork]) -> tuple[Estimate, NDArray[np.int64]]:
        frame = self.frame
        found = _there(layers) if frame is None else frame.attributed(layers)
        owners = np.array([-1 if owner is None else owner for _, owner in found], dtype=np.int64)
        return self._shapes.estimate([work for work, _ in found]), owners

    def estimate(self, layers: Sequence[LayerWork]) -> Estimate:
        """What one image is predicted to ask of the engine; a layer of no channels is gone.

        Raises:
            DoesNotFitError: a layer fits no tile of the array.
        """
        found = _there(layers) if self.frame is None else self.frame.attributed(layers)
        return self._shapes.estimate([work for work, _ in found])


def _there(layers: Sequence[LayerWork]) -> list[tuple[LayerWork, int | None]]:
    """Layers that have channels, each with its place."""
    return [(work, place) for place, work in enumerate(layers) if work.out_channels]


@dataclass(frozen=True)
class LatencyModel(_OnBoard):
    """Predicted milliseconds of one image. Satisfies `CostModel`, `DifferentiableCost` and `TapModel`."""

    unit = "ms"

    @property
    def name(self) -> str:
        """See `CostModel`."""
        return f"latency on {self.board.name} with {self.array.name}, predicted by {MODEL}"

    def cost(self, layers: Sequence[LayerWork]) -> float:
        """See `CostModel`."""
        return float(self.estimate(layers).cycles.sum()) / (self.array.clock_mhz * 1e3)

    def figure(self, predicted: Prediction) -> float:
        """Milliseconds of one image."""
        return predicted.latency_ms

    def weights(self) -> Weights:
        """Cycles alone."""
        from proprune_cli.predict.expert import Weights

        return Weights(1 / (self.array.clock_mhz * 1e3))


@dataclass(frozen=True)
class EnergyModel(_OnBoard):
    """Predicted millijoules of one image. Satisfies `CostModel`, `DifferentiableCost` and `TapModel`."""

    unit = "mJ"

    @property
    def name(self) -> str:
        """See `CostModel`."""
        return f"energy on {self.board.name} with {self.array.name}, predicted by {ENERGY_MODEL} on {MODEL}"

    def cost(self, layers: Sequence[LayerWork]) -> float:
        """See `CostModel`."""
        asked = self.estimate(layers)
        work = Work(float(asked.cycles.sum()), asked.issued, asked.ddr_bytes)
        return predict_energy(self.board, self.array, work).energy_mj

    def figure(self, predicted: Prediction) -> float:
        """Millijoules of one image."""
        return predicted.energy_mj

    def weights(self) -> Weights:
        """Time and idle lanes by the cycle, products, bytes: the energy model is linear in them."""
        from proprune_cli.predict.expert import Weights

        def of(work: Work) -> float:
            return predict_energy(self.board, self.array, work).energy_mj

        return Weights(of(Work(1.0, 0.0, 0.0)), of(Work(0.0, 1.0, 0.0)), of(Work(0.0, 0.0, 1.0)))


def engine_taps(array: Array) -> EngineTaps:
    """What a tap of ``array`` holds and costs."""
    return EngineTaps(
        name=array.name,
        lanes=array.ic,
        outputs=array.oc,
        pixels=array.px,
        min_beats=array.min_beats,
        accumulators=array.acc_depth,
        tap_words=array.tap_words,
        port_words=array.weight_port_words,
        group=isa.GROUP,
    )


def cost_model(kind: str, board_name: str, array_name: str | None) -> LatencyModel | EnergyModel:
    """The model that counts a budget of ``kind`` (``mj`` energy, everything else latency).

    Raises:
        UsageError: no such board or array.
        DoesNotFitError: the board cannot carry the array.
    """
    board, array = board_with_array(board_name, array_name)
    return (EnergyModel if kind == "mj" else LatencyModel)(board, array)
