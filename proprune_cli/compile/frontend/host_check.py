"""What the host runs at the end of a network is tried on import: it must run, be the same each time, treat each image
alone, and leave most of the multiplications to the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from proprune_cli.accel.host import plain_session
from proprune_cli.compile.frontend.host_end import PRODUCTS
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import Conv, ConvTranspose, Gemm, Graph
from proprune_cli.ir.nodes import Shape
from proprune_cli.ops.host_step import free_batch

Values = dict[str, NDArray[Any]]

REMEDY = "cut the model before this node, and compute the rest outside of it"

UNLIKE = 0.01
"""Share of a result's elements that may differ between images together and alone: those at a rounding's edge."""


def check_end(graph: Graph, model: onnx.ModelProto, refusal: UnsupportedError | None) -> None:
    """Refuse a host's end that does not give for each image what the model does, or is most of the network.

    Args:
        model: the whole network.
        refusal: why the engine cannot run the node that the end begins with; None where it begins by itself.

    Raises:
        UnsupportedError: naming the node, the reason and, where there is one, the ``refusal``.
    """
    if graph.host_tail is None:
        return
    end = onnx.load_model_from_string(graph.host_tail.model)
    first = end.graph.node[0]
    try:
        _check(end, graph, model)
    except _Unfit as unfit:
        if refusal is not None:
            what = f"{refusal.what}; nor can the host run it and all that follows ({unfit})"
            raise UnsupportedError(what, where=refusal.where, remedy=refusal.remedy) from unfit
        where = f"node {first.name or first.output[0]!r} ({first.op_type})"
        raise UnsupportedError(
            f"{first.op_type} and all that follows cannot run on the host: {unfit}", where=where, remedy=REMEDY
        ) from unfit


def with_free_batch(end: onnx.ModelProto, shapes: Mapping[str, Shape], model: onnx.ModelProto) -> onnx.ModelProto:
    """The end for any number of images, where one number was written into shapes (by the exporter, or when shapes were
    evaluated on import); else as given.

    Args:
        shapes: of what it reads. model: the whole network.
    """
    batch = _batch(model)
    if batch == 1:
        return end
    batch = max(batch, 1)
    free = onnx.ModelProto()
    free.CopyFrom(end)
    free_batch(free, batch)
    images = _images(shapes, batch)
    try:
        wanted, got = _run(end, images), _run(free, images)
    except _Unfit:
        return end
    same = all(np.array_equal(got[value.name], wanted[value.name], equal_nan=True) for value in end.graph.output)
    return free if same else end


class _Unfit(Exception):  # noqa: N818 - becomes a refusal, which names the node
    """Why the host's end cannot be run."""


def _check(end: onnx.ModelProto, graph: Graph, model: onnx.ModelProto) -> None:
    training = [node.op_type for node in end.graph.node if _in_training(node, end)]
    if training:
        raise _Unfit(f"{training[0]} is in training mode: call model.eval() before the export")
    shapes = {value.name: graph.tensors[value.name] for value in end.graph.input}
    results = [value.name for value in end.graph.output]
    made = _run(end, _images(shapes, 1))
    again = _run(end, _images(shapes, 1))
    for name in results:
        if made[name].shape[:1] != (1,):
            found = f"here: {list(made[name].shape)} for one image"
            raise _Unfit(f"the output {name!r} must have the batch as its first axis; {found}")
        if made[name].tobytes() != again[name].tobytes():
            raise _Unfit(f"the output {name!r} is something else each time")
    _check_work(end, graph, made)
    batch = _batch(model)
    if batch != 1:
        _check_batch(end, shapes, results, batch)


def _in_training(node: onnx.NodeProto, end: onnx.ModelProto) -> bool:
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        modes = {tensor.name: numpy_helper.to_array(tensor) for tensor in end.graph.initializer}
        return bool(np.any(modes.get(node.input[2], np.asarray(True))))
    return any(a.name == "training_mode" and a.i for a in node.attribute)


def _check_batch(end: onnx.ModelProto, shapes: Mapping[str, Shape], results: list[str], batch: int) -> None:
    """Args: batch: the model's own, 0 when it is symbolic."""
    both = _images(shapes, batch or 2)
    try:
        together = _run(end, both)
    except _Unfit:
        if batch:
            raise
        return  # the exporter wrote one image into the model
    alone = [_run(end, {name: x[i : i + 1] for name, x in both.items()}) for i in range(batch or 2)]
    for name in results:
        wanted = np.concatenate([values[name] for values in alone])
        got = together[name]
        if got.shape != wanted.shape or _unlike(got, wanted) > UNLIKE:
            raise _Unfit(f"the output {name!r} must depend on one image alone; here: it mixes those of a batch")


def _unlike(a: NDArray[Any], b: NDArray[Any]) -> float:
    if not np.issubdtype(a.dtype, np.number):
        return float(np.mean(a != b)) if a.size else 0.0
    return 1.0 - float(np.mean(np.isclose(a, b, 1e-3, 1e-4, equal_nan=True))) if a.size else 0.0


def _check_work(end: onnx.ModelProto, graph: Graph, values: Values) -> None:
    """The host's multiplications are no more than the engine's."""
    if not any(node.op_type in PRODUCTS for node in end.graph.node):
        return
    constants = {tensor.name: tuple(tensor.dims) for tensor in end.graph.initializer}
    given = {value.name: (1, *graph.tensors[value.name]) for value in end.graph.input}
    shapes = constants | given | {name: value.shape for name, value in values.items()}
    hosts = sum(_products(node, shapes) for node in end.graph.node)
    engines = 0
    for node in graph.nodes:
        if isinstance(node, Conv):
            engines += prod(graph.tensors[node.y]) * node.weight[0].size
        elif isinstance(node, ConvTranspose):
            engines += prod(graph.tensors[node.x]) * node.weight[0].size
        elif isinstance(node, Gemm):
            engines += node.weight.size
    if hosts > engines:
        raise _Unfit(f"that would be {hosts} multiplications on the host, and {engines} on the engine")


def _products(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Multiplications of one image; matrix products as √(mk · kn · mn)."""
    if node.op_type not in PRODUCTS:
        return 0
    given = [shapes.get(name, ()) for name in node.input]
    made = shapes.get(node.output[0]) or shapes.get(node.output[-1], ())
    if node.op_type == "Conv":
        return prod(made) * prod(given[1][1:])
    if node.op_type == "ConvTranspose":
        return prod(given[0]) * prod(given[1][1:])
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return prod(given[0][:2]) * (prod(given[1]) + prod(given[2]))
    return round((float(prod(given[0])) * float(prod(given[-1 if node.op_type != "Gemm" else 1])) * prod(made)) ** 0.5)


def _batch(model: onnx.ModelProto) -> int:
    """The images that the model declares, 0 where any number may come."""
    stored = {tensor.name for tensor in model.graph.initializer}
    source = next(value for value in model.graph.input if value.name not in stored)
    return max(int(source.type.tensor_type.shape.dim[0].dim_value), 0)


def _images(shapes: Mapping[str, Shape], count: int) -> Values:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((count, *shape)).astype(np.float32) for name, shape in shapes.items()}


def _run(end: onnx.ModelProto, given: Values) -> Values:
    """Every tensor of the end, by name.

    Raises:
        _Unfit: ONNX Runtime refuses it.
    """
    longer = onnx.ModelProto()
    longer.CopyFrom(end)
    results = [value.name for value in end.graph.output]
    inside = [name for node in end.graph.node for name in node.output if name and name not in results]
    if any(node.op_type in PRODUCTS for node in end.graph.node):
        longer.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
        results += inside
    try:
        session = plain_session(longer.SerializeToString())
        answers = cast("list[Any]", session.run(results, given))
    except Exception as error:  # its own, unrelated classes
        said = " ".join(str(error).split())
        raise _Unfit(f"ONNX Runtime refuses it: {(said.partition('Status Message: ')[2] or said)[:300]}") from error
    return dict(zip(results, (np.asarray(answer) for answer in answers), strict=True))
