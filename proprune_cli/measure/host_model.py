"""What a board's processor would take for operators that the host computes. Nothing runs here: it is *predicted*.

Model: ``t = Σ over operators of operator_us + elements · cycles / cpu_mhz``, one core at work. The elements of an
operator are those that it reads or those that it makes, whichever are more; those of a window (LRN, LpPool) count once
for each place in it, those of a matrix product are its products. Operators are of three kinds: moves (copies,
conversions), arithmetic, and functions (exponentials, powers, interpolation; whatever is not known counts as one). The
engine's codes are brought into the processor's order and back, one move each. The cycles of each kind stand in the
board's file, with their source and a factor that bounds them; no board was measured.

Shapes are those that ONNX infers; a tensor without one counts as the largest that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

import onnx
from onnx import shape_inference

from proprune_cli.accel.boards import Board, HostCoefficients
from proprune_cli.accel.program import HostStep
from proprune_cli.artifact.host import HostSegment

MODEL = "proprune host model 1"
"""Name under which its figures are reported."""

MOVES = frozenset(
    {"Cast", "Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "DequantizeLinear", "Dropout"}
    | {"Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxUnpool", "OneHot", "Pad"}
    | {"QuantizeLinear", "Reshape", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose"}
    | {"Unsqueeze"}
)
"""Operators that copy or convert each element."""

ARITHMETIC = frozenset(
    {"Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "Ceil", "Clip", "CumSum", "Div", "Equal", "Floor"}
    | {"Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "Less", "MatMul", "Max", "MaxPool", "Mean", "Min"}
    | {"Mul", "Neg", "Not", "Or", "PRelu", "ReduceL1", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"}
    | {"ReduceSumSquare", "Relu", "Round", "Sign", "Sub", "Sum", "Where"}
)
"""Operators with an addition, a product or a comparison for each element."""


_Largest = Callable[[Iterable[str]], int]


@dataclass(frozen=True)
class HostTime:
    """Predicted milliseconds of one image; ``low_ms`` and ``high_ms`` with every coefficient at its bound."""

    ms: float = 0.0
    low_ms: float = 0.0
    high_ms: float = 0.0
    model: str = MODEL

    def __add__(self, other: HostTime) -> HostTime:
        return HostTime(self.ms + other.ms, self.low_ms + other.low_ms, self.high_ms + other.high_ms)


@dataclass(frozen=True)
class _Counts:
    """Operators, and elements by their kind."""

    operators: int = 0
    moved: int = 0
    added: int = 0
    computed: int = 0


def step_time(step: HostStep, board: Board) -> HostTime | None:
    """Of a step between layers; None where the board's file says nothing of its processor."""
    if board.host is None:
        return None
    planes = [plane.channels * plane.height * plane.width for plane in (*step.inputs, step.output)]
    return _time(_counts(step.model, {}), sum(planes), board.host, board.cpu_mhz)


def segment_time(segment: HostSegment, shapes: Mapping[str, tuple[int, ...]], board: Board) -> HostTime | None:
    """Of the network's end on the host; None where the board's file says nothing of its processor.

    Args:
        shapes: of the engine's outputs, by name, without the batch.
    """
    if board.host is None:
        return None
    read = sum(prod(shapes[name]) for name in segment.inputs)
    return _time(_counts(segment.model, shapes), read, board.host, board.cpu_mhz)


def _time(counts: _Counts, packed: int, host: HostCoefficients, cpu_mhz: float) -> HostTime:
    terms = [
        (host.operator_us, counts.operators * 1e-3),
        (host.move_cycles, (counts.moved + packed) / cpu_mhz * 1e-3),
        (host.arithmetic_cycles, counts.added / cpu_mhz * 1e-3),
        (host.function_cycles, counts.computed / cpu_mhz * 1e-3),
    ]
    return HostTime(
        sum(c.value * amount for c, amount in terms),
        sum(c.value / c.factor * amount for c, amount in terms),
        sum(c.value * c.factor * amount for c, amount in terms),
    )


def _counts(model: bytes, shapes: Mapping[str, tuple[int, ...]]) -> _Counts:
    """What a serialised model does with one image. ``shapes``: of its inputs where it leaves the batch open."""
    proto = onnx.load_model_from_string(model)
    for value in proto.graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape.dim
            del dims[:]
            dims.extend(onnx.TensorShapeProto.Dimension(dim_value=n) for n in (1, *shapes[value.name]))
    graph = shape_inference.infer_shapes(proto, data_prop=True).graph
    known = {v.name: _shape(v) for v in (*graph.input, *graph.value_info, *graph.output)}
    known |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    sizes = {name: prod(shape) for name, shape in known.items() if shape is not None}
    largest = max((sizes[v.name] for v in (*graph.input, *graph.output) if v.name in sizes), default=1)
    moved = added = computed = 0
    for node in graph.node:
        count = _elements(node, known, lambda names: max((sizes.get(n, largest) for n in names if n), default=0))
        if node.op_type in MOVES:
            moved += count
        elif node.op_type in ARITHMETIC:
            added += count
        else:
            computed += count
    return _Counts(len(graph.node), moved, added, computed)


def _elements(node: onnx.NodeProto, known: Mapping[str, tuple[int, ...] | None], largest: _Largest) -> int:
    read, made = largest(node.input), largest(node.output)
    if node.op_type in ("MatMul", "Gemm"):
        left = known.get(node.input[0])
        turned = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
        return made * (left[0 if turned else -1] if left else 1)
    window = prod(next((a.ints for a in node.attribute if a.name == "kernel_shape"), (1,)))
    if node.op_type == "LRN":
        window = next((a.i for a in node.attribute if a.name == "size"), 1)
    return made * window if window > 1 else max(read, made)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The tensor's shape, an open batch being one image; None where anything else is open."""
    dims = value.type.tensor_type.shape.dim
    numbers = [d.dim_value if d.HasField("dim_value") else int(i == 0) for i, d in enumerate(dims)]
    return tuple(numbers) if value.type.tensor_type.HasField("shape") and all(numbers) else None
