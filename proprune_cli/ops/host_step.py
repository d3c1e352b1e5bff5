"""Operators in the middle of a network that the processor runs: their import, and the model of int8 codes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner, numpy_helper, version_converter

from proprune_cli.accel.host import plain_session, run_host_model
from proprune_cli.errors import UnsupportedError
from proprune_cli.files.limits import TENSOR_ELEMENTS
from proprune_cli.files.onnx_model import check_sizes
from proprune_cli.ir.graph import Node, Reshape
from proprune_cli.ir.nodes import Host, Shape
from proprune_cli.ir.quantized import QTensor
from proprune_cli.ops.importing import Array, NodeView, remedy_of, rule_of
from proprune_cli.ops.resize import known_sizes, scales_of

OPSETS = range(13, 21)
"""Operator sets before and after these are converted, so that the steps fit into one QDQ model. From 21 on, ONNX
Runtime's optimiser spoils int8 models on some processors: QuantizeLinear with an int8 result and a uint8 zero point."""

IR_VERSION = 8


def host_nodes(view: NodeView, before: Sequence[onnx.NodeProto] = ()) -> list[Node]:
    """The node as a step of the host; features become images of one pixel before it, and features again after it.

    Args:
        before: nodes that run in the same step, before it, such as the MaxPool whose indices a MaxUnpool reads. No
            other node reads what they make.

    Raises:
        UnsupportedError: it reads or makes something else than float channels x height x width, mixes the images of a
            batch, or is nothing that ONNX Runtime runs.
    """
    protos = [*before, view.proto]
    made = {name for proto in protos for name in proto.output if name}
    read = list(dict.fromkeys(name for proto in protos for name in proto.input if name and name not in made))
    xs = tuple(name for name in read if name in view.shapes)
    _check(view, read, xs)
    names = {x: f"x{i}" for i, x in enumerate(xs)}
    constants = {name: _constant(view, name) for name in read if name not in names}
    names |= {name: f"c{i}" for i, name in enumerate(constants)}
    names |= {name: f"t{i}" for i, name in enumerate(sorted(made))} | {view.y: "y"}
    nodes: list[onnx.NodeProto] = []
    for number, proto in enumerate(protos):
        node = onnx.NodeProto()
        node.CopyFrom(proto)
        node.name = f"n{number}"
        del node.input[:], node.output[:]
        node.input.extend(names.get(name, "") for name in proto.input)
        node.output.extend(names[name] if name else "" for name in proto.output)
        nodes.append(node)
    tensors = [numpy_helper.from_array(value, names[name]) for name, value in constants.items()]
    shapes = [_image(view.shapes[x]) for x in xs]
    flat = [names[x] for x in xs if len(view.shapes[x]) == 1]
    model = _converted(view, _model(_flattened(nodes, flat, tensors), tensors, shapes, view.opset), shapes)
    free_batch(model, view.batch)
    shape, features = _shape_of(view, model, shapes)
    _keep_batch(model, shapes[0], shape)
    _repeat_constants(model)
    _check_batch(view, model, shapes)
    around: list[Node] = []
    read_as = {x: f"{view.y}.image.{x}" if len(view.shapes[x]) == 1 else x for x in xs}
    for x, image in read_as.items():
        if image != x:
            around.append(Reshape(f"{view.name}.image.{x}", x, image, _image(view.shapes[x])))
    y, operators = f"{view.y}.image" if features else view.y, tuple(p.op_type for p in protos)
    around.append(Host(view.name, tuple(read_as.values()), y, model.SerializeToString(), operators, shape))
    return [*around, Reshape(view.name + ".features", y, view.y, shape[:1])] if features else around


def codes_model(layer: Host, tensors: dict[str, QTensor]) -> bytes:
    """The step from int8 codes to int8 codes, [1, C, H, W] each: dequantised before the model, quantised after it.

    Args:
        tensors: those that ``layer`` reads and writes, by name.
    """
    model = onnx.load_model_from_string(layer.model)
    y = tensors[layer.y]
    zero = numpy_helper.from_array(np.zeros((), np.int8), "zero")
    scales = [tensors[x].exponent for x in layer.xs]
    constants = [zero, *(_scale(f"scale{i}", e) for i, e in enumerate(scales)), _scale("scale_y", y.exponent)]
    inputs = [name.name for name in model.graph.input]
    before = [
        helper.make_node("DequantizeLinear", [f"{x}/codes", f"scale{i}", "zero"], [x]) for i, x in enumerate(inputs)
    ]
    after = helper.make_node("QuantizeLinear", [model.graph.output[0].name, "scale_y", "zero"], ["y/codes"])
    body = helper.make_graph(
        [*before, *model.graph.node, after],
        "host",
        [_codes(f"{name}/codes", tensors[x]) for name, x in zip(inputs, layer.xs, strict=True)],
        [_codes("y/codes", y)],
        [*constants, *model.graph.initializer],
    )
    return _packed(body, model.opset_import[0].version).SerializeToString()


def host_reference(layer: Host, inputs: tuple[NDArray[np.int8], ...], tensors: dict[str, QTensor]) -> NDArray[np.int8]:
    """int8 codes [C, H, W] of the result, by ONNX Runtime.

    Raises:
        InputError: ONNX Runtime refuses the model.
    """
    y = tensors[layer.y]
    model = codes_model(layer, {name: tensors[name] for name in (*layer.xs, layer.y)})
    return run_host_model(model, inputs, (y.channels, y.height, y.width), f"host step {layer.name!r}")


def _check(view: NodeView, read: list[str], xs: tuple[str, ...]) -> None:
    rule = "on the host, in the middle of a network, it must read and make channels x height x width; here: "
    unknown = [name for name in read if name not in view.shapes and name not in view.constants]
    if unknown:
        raise view.refusal(f"it reads {unknown[0]!r}, which is neither an activation nor a constant")
    flat = [view.shapes[x] for x in xs if len(view.shapes[x]) not in (1, 3)]
    if flat or not xs:
        raise view.refusal(rule + (f"it reads {list(flat[0])}" if flat else "it reads constants alone"))
    if view.op in ("Resize", "Upsample"):
        _check_size(view)
    extra = [name for name in view.proto.output[1:] if name in view.used]
    if extra:
        raise view.refusal(f"on the host its first output alone can be used; here: the outputs {extra}")


def _check_size(view: NodeView) -> None:
    """Before ONNX Runtime is asked to make a tensor of it."""
    found, scales = known_sizes(view), scales_of(view)
    if found is not None or scales is None:
        raise view.refusal(f"{rule_of(known_sizes)}; here: {found}", remedy_of(known_sizes))
    elements = prod(view.shape()) * prod(scales)
    if elements > TENSOR_ELEMENTS:
        raise view.refusal(f"on the host it makes at most {TENSOR_ELEMENTS} elements of an image; here: {elements:.0f}")


def _constant(view: NodeView, name: str) -> Array:
    """A constant input; in a Resize's sizes the batch is 1, whatever number an exporter wrote for it."""
    value = np.asarray(view.constants[name])
    axes = view.ints_of("axes") or (0, 1, 2, 3)
    if view.op == "Resize" and name == view.input_name(3) and value.size == len(axes):
        value = np.where(np.asarray(axes).reshape(value.shape) % 4 == 0, np.int64(1), value)
    return value


def _scale(name: str, exponent: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(2.0**exponent, np.float32), name)


def _codes(name: str, t: QTensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT8, [1, t.channels, t.height, t.width])


def _model(
    nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], shapes: list[Shape], opset: int
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["N", *s]) for i, s in enumerate(shapes)]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return _packed(helper.make_graph(nodes, "host", inputs, [y], tensors), opset)


def _packed(body: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="proprune"
    )


def _converted(view: NodeView, model: onnx.ModelProto, shapes: list[Shape]) -> onnx.ModelProto:
    """The model in one of ``OPSETS``; what it is converted to must compute the same."""
    if view.opset in OPSETS:
        return model
    if view.opset > OPSETS[-1]:
        return _older(view, model, shapes)
    refusal = view.refusal(
        f"on the host it needs operator set {OPSETS[0]}, and cannot be converted from {view.opset}",
        f"export the model with opset_version={OPSETS[0]} or later",
    )
    try:
        converted = version_converter.convert_version(model, OPSETS[0])
    except Exception as error:  # the converter raises RuntimeError and its own, unrelated classes
        raise refusal from error
    for node in converted.graph.node:
        known = {a.name for a in node.attribute}
        if node.op_type == "Resize" and view.opset < 11 and "coordinate_transformation_mode" not in known:
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(helper.make_attribute("nearest_mode", "floor"))
    result = _packed(converted.graph, OPSETS[0])
    images = _samples(shapes)
    try:
        wanted = _run(view, model, images)
    except UnsupportedError:  # ONNX Runtime is stricter about old forms, such as an absent region of a Resize
        return result
    got = _run(view, result, images)
    if got.shape != wanted.shape or not np.allclose(got, wanted, 1e-5, 1e-6, equal_nan=True):
        raise refusal
    return result


def _older(view: NodeView, model: onnx.ModelProto, shapes: list[Shape]) -> onnx.ModelProto:
    """The model of a newer operator set in the last of ``OPSETS``.

    Since then operators have gained element types and changed names of nothing, so that they are taken as they are,
    but for those that are new or mean something else: they are written out as the nodes that ONNX defines them by.
    Which it is, results tell.
    """
    images = _samples(shapes)
    wanted = _run(view, model, images)
    reason: Exception | None = None
    for written_out in (False, True):
        try:
            nodes = _written_out(model) if written_out else model.graph
            result = _packed(nodes, OPSETS[-1])
            got = _run(view, result, images)
        except (UnsupportedError, RuntimeError, TypeError) as error:  # the latter two are the inliner's
            reason = error
            continue
        if got.shape == wanted.shape and np.allclose(got, wanted, 1e-5, 1e-6, equal_nan=True):
            return result
    raise view.refusal(
        f"on the host it needs operator set {OPSETS[-1]} or earlier, and cannot be converted from {view.opset}",
        f"export the model with opset_version={OPSETS[-1]} or earlier",
    ) from reason


def _written_out(model: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with operators that ONNX defines by others replaced by those. Raises RuntimeError or TypeError."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    typed.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in model.graph.initializer
    )
    names = sorted({("", node.op_type) for node in model.graph.node} - {("", "Constant")})
    inlined = inliner.inline_selected_functions(typed, names, inline_schema_functions=True)
    del inlined.graph.value_info[:]
    return inlined.graph


def _samples(shapes: list[Shape]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, *shape)).astype(np.float32) for shape in shapes]


def _run(view: NodeView, model: onnx.ModelProto, inputs: list[Array]) -> Array:
    _check_made(view, model, len(inputs[0]))
    try:
        session = plain_session(model.SerializeToString())
        feeds = {f"x{i}": value for i, value in enumerate(inputs)}
        return np.asarray(cast("list[Any]", session.run(None, feeds))[0])
    except Exception as error:  # ONNX Runtime raises its own, unrelated classes
        reason = " ".join(str(error).split()).partition("Status Message: ")
        said = (reason[2] or reason[0])[:300]
        raise view.refusal(f"it would run on the host, and ONNX Runtime refuses it ({said})") from error


def _check_made(view: NodeView, model: onnx.ModelProto, batch: int) -> None:
    """Before ONNX Runtime is asked to make it."""
    try:
        check_sizes(model, f"node {view.name!r} ({view.op})", batch=batch)
    except UnsupportedError as error:
        raise view.refusal(f"it would run on the host; there {error.what}") from error


def _image(shape: Shape) -> Shape:
    """Features as an image of one pixel."""
    return (*shape, 1, 1) if len(shape) == 1 else shape


def _flattened(nodes: list[onnx.NodeProto], flat: list[str], tensors: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """``nodes``, reading the features in the images ``flat`` of one pixel each; a constant joins ``tensors``."""
    if not flat:
        return nodes
    tensors.append(numpy_helper.from_array(np.asarray([0, -1], np.int64), "features"))
    for node in nodes:
        for i, name in enumerate(node.input):
            if name in flat:
                node.input[i] = f"{name}_flat"
    return [*(helper.make_node("Reshape", [name, "features"], [f"{name}_flat"]) for name in flat), *nodes]


def free_batch(model: onnx.ModelProto, batch: int) -> None:
    """Shapes that hold the exporter's batch as their first number: 0, the input's own, or for Expand 1."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        shaped = node.op_type in ("Reshape", "Expand") and len(node.input) > 1
        tensor = values.get(node.input[1]) if shaped else None
        if tensor is None or tensor.data_type != TensorProto.INT64:
            continue
        value = numpy_helper.to_array(tensor).copy()
        if value.size > 1 and value[0] == batch:
            value[0] = 0 if node.op_type == "Reshape" else 1
            for attribute in node.attribute:
                attribute.i = 0 if attribute.name == "allowzero" else attribute.i
            model.graph.initializer.append(numpy_helper.from_array(value, f"shape{number}"))
            node.input[1] = f"shape{number}"


def _shape_of(view: NodeView, model: onnx.ModelProto, shapes: list[Shape]) -> tuple[Shape, bool]:
    """The result's shape as an image, and whether it was features; the model then makes an image of them."""
    y = _run(view, model, [np.zeros((1, *shape), np.float32) for shape in shapes])
    features = y.ndim == 2 and len(y) == 1
    if features:
        made = [i for node in model.graph.node for i, name in enumerate(node.output) if name == "y"]
        last = next(node for node in model.graph.node if "y" in node.output)
        last.output[made[0]] = "y_flat"
        for node in model.graph.node:
            for i, name in enumerate(node.input):
                if name == "y":
                    node.input[i] = "y_flat"
        model.graph.initializer.append(numpy_helper.from_array(np.asarray([0, y.shape[1], 1, 1], np.int64), "image"))
        model.graph.node.append(helper.make_node("Reshape", ["y_flat", "image"], ["y"]))
        y = y[:, :, None, None]
    if y.dtype != np.float32 or y.ndim != 4 or len(y) != 1 or not y.size:
        raise view.refusal(
            "on the host, in the middle of a network, it must read and make channels x height x width; here: it makes "
            f"{y.dtype} {list(y.shape)}"
        )
    return tuple(int(n) for n in y.shape[1:]), features


def _keep_batch(model: onnx.ModelProto, x: Shape, y: Shape) -> None:
    """Sizes of a Resize hold the exporter's batch: scales that give the same sizes stand for them."""
    node = model.graph.node[-1]
    if node.op_type != "Resize" or len(node.input) < 4 or not node.input[3]:
        return
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), [0, 1, 2, 3])
    full, made = (1, *x), (1, *y)
    scales = [_factor(full[axis], made[axis]) for axis in axes]
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(scales, np.float32), "scales"))
    node.input[2] = "scales"
    del node.input[3]


def _repeat_constants(model: onnx.ModelProto) -> None:
    """Constants of one image that are joined to activations, such as a grid of coordinates, follow the batch."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer if tensor.dims and tensor.dims[0] == 1}
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(model.graph.node):
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        constants = [name for name in node.input if ranks.get(name, 0) > 1]
        if node.op_type == "Concat" and axis != 0 and constants and len(constants) < len(node.input):
            shape, count = f"batch{number}/shape", f"batch{number}"
            first = next(name for name in node.input if name not in constants)
            bounds = [f"{count}/{what}" for what in ("start", "stop")]
            for name, value in zip(bounds, (0, 1), strict=True):
                model.graph.initializer.append(numpy_helper.from_array(np.asarray([value], np.int64), name))
            nodes.append(helper.make_node("Shape", [first], [shape]))
            nodes.append(helper.make_node("Slice", [shape, *bounds], [count]))
            for i, name in enumerate(node.input):
                if name in constants:
                    ones, sizes, repeated = (f"{count}/{what}{i}" for what in ("ones", "sizes", "constant"))
                    rest = np.ones(ranks[name] - 1, np.int64)
                    model.graph.initializer.append(numpy_helper.from_array(rest, ones))
                    nodes.append(helper.make_node("Concat", [count, ones], [sizes], axis=0))
                    nodes.append(helper.make_node("Expand", [name, sizes], [repeated]))
                    node.input[i] = repeated
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _factor(size: int, wanted: int) -> np.float32:
    """The least float32 factor at or above the quotient with which ``size`` elements become ``wanted``."""
    factor = np.float32(wanted / size)
    while np.floor(np.float32(factor * np.float32(size))) < wanted:
        factor = np.nextafter(factor, np.float32(np.inf))
    return factor


def _check_batch(view: NodeView, model: onnx.ModelProto, shapes: list[Shape]) -> None:
    """Every image's result must depend on that image alone, but for the last bit.

    Which elements a vectorised kernel computes one by one, with other rounding, depends on the length of the batch.
    """
    rng = np.random.default_rng(0)
    both = [rng.standard_normal((2, *shape)).astype(np.float32) for shape in shapes]
    together = _run(view, model, both)
    alone = np.concatenate([_run(view, model, [x[i : i + 1] for x in both]) for i in (0, 1)])
    if together.shape != alone.shape or not np.allclose(together, alone, 1e-4, 1e-5, equal_nan=True):
        raise view.refusal("on the host it must treat every image of a batch alone; here: it mixes them")
    if not np.isfinite(together).any(axis=(0, 2, 3)).all():
        raise view.refusal("on the host it must make finite numbers; here: some channels are NaN or infinite")
