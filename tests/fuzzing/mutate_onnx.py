"""Mutations of ONNX models that know what a model is: nodes, attributes, tensors, shapes, names, functions."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.fuzzing.mutate_bytes import mutate_bytes

_INTS = (0, 1, -1, 2, 3, 4, 7, 8, 100, -3, 65536, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63), 2**63 - 1)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"), 0.5)
_OPERATORS = (
    *("If", "Loop", "Scan", "SequenceMap", "NonZero", "RandomNormal", "Conv", "ConvTranspose", "MaxPool", "Resize"),
    *("Reshape", "Expand", "Tile", "ConstantOfShape", "Range", "Pad", "Gather", "GatherND", "ScatterND", "Einsum"),
    *("LSTM", "Softmax", "TopK", "OneHot", "MaxUnpool", "RoiAlign", "Transpose", "Slice", "Split", "Concat", "Add"),
    *("MatMul", "Upsample", "LRN", "Identity", "NoSuchOperator", "", "DepthToSpace", "Cast", "Unsqueeze", "Squeeze"),
    *("AveragePool", "LpPool", "InstanceNormalization", "BatchNormalization", "Gemm", "Clip", "ReduceSum", "Where"),
    *("StringNormalizer", "ImageDecoder", "OptionalGetElement", "SequenceAt", "Col2Im", "GridSample", "CumSum"),
)


def mutate_onnx(content: bytes, rng: random.Random) -> bytes:
    """``content`` with one to three changes; a fifth of the results have changed bytes instead."""
    if rng.random() < 0.2:
        return mutate_bytes(content, rng)
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError):  # a change before left no model
        return mutate_bytes(content, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_MUTATIONS)(model, rng)
    try:
        return model.SerializeToString()
    except Exception:  # noqa: BLE001 - a change that protobuf itself refuses to write
        return mutate_bytes(content, rng)


def _node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto:
    return rng.choice(model.graph.node) if model.graph.node else model.graph.node.add()


def _tensor(model: onnx.ModelProto, rng: random.Random) -> TensorProto:
    held = [a.t for n in model.graph.node for a in n.attribute if a.type == AttributeProto.TENSOR]
    tensors = [*model.graph.initializer, *held]
    return rng.choice(tensors) if tensors else model.graph.initializer.add()


def _names(model: onnx.ModelProto) -> list[str]:
    names = {n for node in model.graph.node for n in (*node.input, *node.output)}
    return sorted({*names, *(t.name for t in model.graph.initializer), "", "unknown"})


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if not node.attribute or rng.random() < 0.2:
        name = rng.choice(("axis", "pads", "strides", "group", "kernel_shape", "perm", "mode", "dilations", "to"))
        node.attribute.append(helper.make_attribute(name, rng.choice((1, 2**40, [0], [2**31] * 4, "x", 0.5))))
        return
    found = rng.choice(node.attribute)
    how = rng.randrange(6)
    if how == 0:
        node.attribute.remove(found)
    elif how == 1:
        found.type = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 10))
    elif found.ints and how < 5:
        index = rng.randrange(len(found.ints))
        found.ints[index] = rng.choice(_INTS)
        if rng.random() < 0.2:
            del found.ints[index:]
    elif found.type == AttributeProto.FLOAT:
        found.f = rng.choice(_FLOATS)
    elif found.type == AttributeProto.STRING:
        found.s = rng.choice((b"", b"SAME_UPPER", b"VALID", b"reflect", b"linear", b"cubic", b"\xff\xfe", b"x" * 9999))
    else:
        found.i = rng.choice(_INTS)


def _operator(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    node.op_type = rng.choice(_OPERATORS)
    if rng.random() < 0.1:
        node.domain = rng.choice(("com.microsoft", "ai.onnx.ml", "canary", "local"))


def _wire(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    names = _names(model)
    side = rng.choice((node.input, node.output))
    how = rng.randrange(5)
    if how == 0 and side:
        side[rng.randrange(len(side))] = rng.choice(names)
    elif how == 1 and side:
        del side[rng.randrange(len(side))]
    elif how == 2:
        side.append(rng.choice(names))
    elif how == 3:
        del side[:]
    else:
        node.name = rng.choice((*names, "x" * 5000, "a\nb", "\0"))


def _nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    how = rng.randrange(4)
    if how == 0:
        model.graph.node.remove(rng.choice(nodes))
    elif how == 1:
        model.graph.node.append(rng.choice(nodes))
    elif how == 2:
        rng.shuffle(nodes)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    else:
        operator = rng.choice(_OPERATORS)
        node = helper.make_node(operator, [rng.choice(_names(model))], ["made"])
        model.graph.node.append(node)
        reader = rng.choice(nodes)
        if reader.input:
            reader.input[0] = "made"


def _weights(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    how = rng.randrange(9)
    if how == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_INTS)
    elif how == 1:
        tensor.data_type = rng.randrange(26)
    elif how == 2:
        tensor.raw_data = mutate_bytes(tensor.raw_data, rng)
    elif how == 3:
        tensor.name = rng.choice(_names(model))
    elif how == 4:
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", rng.choice(("../canary", "/etc/passwd", "/dev/zero", "canary", ".", "", "a/../../b", "pipe"))),
            ("offset", rng.choice(("0", "-1", "9" * 30, "x"))),
            ("length", rng.choice(("4", str(2**40), "-4", ""))),
        ):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    elif how == 5:
        del tensor.dims[:]
        tensor.dims.extend([rng.choice((0, 1, 2**20, 2**31)) for _ in range(rng.randrange(7))])
    else:
        _values(tensor, rng)


def _values(tensor: TensorProto, rng: random.Random) -> None:
    """Other numbers in the tensor: huge sizes for shapes, infinities for weights."""
    try:
        value = numpy_helper.to_array(tensor).copy()
    except Exception:  # noqa: BLE001 - it holds nothing that can be changed
        return
    if not value.size or value.dtype.kind not in "iuf":
        return
    flat = value.reshape(-1)
    at = rng.randrange(len(flat))
    with np.errstate(all="ignore"):
        if value.dtype.kind == "f":
            flat[at if rng.random() < 0.5 else slice(None)] = rng.choice((*_FLOATS, 1e-30, 1e30))
        else:
            low, high = np.iinfo(value.dtype).min, np.iinfo(value.dtype).max
            flat[at] = min(max(rng.choice(_INTS), low), high)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _shape(model: onnx.ModelProto, rng: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    kind = rng.choice(values).type.tensor_type
    how = rng.randrange(4)
    if how == 0:
        kind.elem_type = rng.randrange(26)
    elif how == 1 and kind.shape.dim:
        dim = rng.choice(kind.shape.dim)
        dim.dim_value = rng.choice(_INTS)
    elif how == 2 and kind.shape.dim:
        rng.choice(kind.shape.dim).dim_param = rng.choice(("N", "", "x" * 300))
    else:
        kind.shape.dim.add().dim_value = rng.choice(_INTS)


def _border(model: onnx.ModelProto, rng: random.Random) -> None:
    part = rng.choice((model.graph.input, model.graph.output))
    how = rng.randrange(4)
    if how == 0:
        del part[:]
    elif how == 1 and part:
        part.append(rng.choice(part))
    elif how == 2 and part:
        rng.choice(part).name = rng.choice(_names(model))
    else:
        part.append(helper.make_tensor_value_info(rng.choice(_names(model)), TensorProto.FLOAT, [1, 2]))


def _versions(model: onnx.ModelProto, rng: random.Random) -> None:
    how = rng.randrange(4)
    if how == 0:
        model.opset_import[0].version = rng.choice((0, 1, 6, 8, 9, 11, 13, 18, 20, 21, 24, 99, -1, 2**40))
    elif how == 1:
        model.ir_version = rng.choice((0, 1, 3, 99, 2**40))
    elif how == 2:
        model.opset_import.append(helper.make_opsetid(rng.choice(("", "com.microsoft", "local")), rng.choice((1, 99))))
    else:
        del model.opset_import[:]


def _functions(model: onnx.ModelProto, rng: random.Random) -> None:
    """Local functions that call each other, themselves, or twice as many at each level."""
    how = rng.randrange(3)
    count = rng.choice((1, 3, 40))
    for number in range(count):
        called = f"f{(number + 1) % count}" if how == 0 else f"f{number + 1}"
        last = how and number == count - 1
        inner = helper.make_node("Identity" if last else called, ["a"], ["b"], domain="" if last else "local")
        again = helper.make_node("Identity" if last or how == 1 else called, ["b"], ["c"], domain=inner.domain)
        again.domain = inner.domain if again.op_type == inner.op_type else ""
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        model.functions.append(helper.make_function("local", f"f{number}", ["a"], ["c"], [inner, again], opsets))
    if rng.random() < 0.8:
        model.opset_import.append(helper.make_opsetid("local", 1))
        node = _node(model, rng)
        if node.input and node.output:
            reader = helper.make_node("f0", [node.input[0]], ["called"], domain="local")
            node.input[0] = "called"
            model.graph.node.insert(0, reader)


def _graphs(model: onnx.ModelProto, rng: random.Random) -> None:
    """Control flow: a body within a node, some of them without an end."""
    name = rng.choice(_names(model))
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", 9, [])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    for constant, value in (("times", np.asarray(2**62, np.int64)), ("yes", np.asarray(True))):
        model.graph.initializer.append(numpy_helper.from_array(value, constant))
    operator = rng.choice(("Loop", "If", "Scan"))
    node = helper.make_node(operator, ["times", "yes"] if operator == "Loop" else ["yes"], ["looped"])
    node.attribute.append(helper.make_attribute("body" if operator != "If" else "then_branch", body))
    if operator == "If":
        node.attribute.append(helper.make_attribute("else_branch", body))
    model.graph.node.insert(0, node)
    rng.choice(model.graph.node).input.append(rng.choice(("looped", name)))


def _grown(model: onnx.ModelProto, rng: random.Random) -> None:
    """A tensor that grows: sizes out of a constant, or by doubling."""
    node = _node(model, rng)
    if not node.input:
        return
    x = node.input[0]
    if rng.random() < 0.4:
        for number in range(rng.choice((4, 30))):
            operator = rng.choice(("Concat", "Concat", "Add", "Mul"))
            given = {"axis": rng.choice((1, 2))} if operator == "Concat" else {}
            model.graph.node.append(helper.make_node(operator, [x, x], [f"g{number}"], **given))
            x = f"g{number}"
    else:
        operator = rng.choice(("Expand", "Tile", "Pad", "Resize", "ConstantOfShape", "Upsample", "Reshape"))
        size = [1, *(rng.choice((1, 2, 2**10, 2**20, 2**31)) for _ in range(3))]
        constant = np.asarray(size, np.float32 if operator in ("Resize", "Upsample") else np.int64)
        if operator == "Pad":
            constant = np.asarray([0, 0, 0, 0, *size], np.int64)
        model.graph.initializer.append(numpy_helper.from_array(constant, "size"))
        inputs = {"Resize": [x, "", "size"], "ConstantOfShape": ["size"]}.get(operator, [x, "size"])
        model.graph.node.append(helper.make_node(operator, inputs, ["grown"]))
        x = "grown"
    node.input[0] = x


_MUTATIONS: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    *(_attribute, _attribute, _attribute, _operator, _wire, _wire, _nodes, _weights, _weights, _shape, _border),
    *(_versions, _functions, _graphs, _grown),
)
