"""ONNX files, checked before any library's native code works on them: what protobuf lets through is no model yet.

`parse_model` and `read_model_file` look at structure: text that is text, tensors that have the data they declare,
functions that end, weights beside the file and nowhere else. `check_sizes` looks at what a model would make.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto, external_data_helper, inliner

from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.files.limits import MODEL_BYTES, MODEL_NODES, TENSOR_ELEMENTS
from proprune_cli.files.read import open_file, read_file, too_long

_REEXPORT = "export the model again, for example with torch.onnx.export(model.eval(), ..., opset_version=18)"
_DAMAGED = "the file is damaged: export the model again"
_STORES = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")

Shapes = dict[str, tuple[int, ...]]


def read_model_file(path: Path) -> onnx.ModelProto:
    """The model in a file, with the weights that lie beside it.

    Raises:
        InputError: the file, or one that it names, is no such file, damaged, elsewhere, or too large.
    """
    where = str(path)
    try:
        data = read_file(path, MODEL_BYTES)
    except OSError as error:
        raise InputError(
            f"the model cannot be read ({error.strerror})", where=where, remedy="give the path of an .onnx file"
        ) from error
    model = parse_model(data, where, outside=True)
    _load_external(model, path.parent, where)
    return model


def parse_model(data: bytes, where: str, *, outside: bool = False) -> onnx.ModelProto:
    """The model that ``data`` holds.

    Args:
        where: its file, for messages. outside: weights may lie in other files, which are not looked at.

    Raises:
        InputError: it is none, damaged, or too large.
    """
    if len(data) > MODEL_BYTES:
        raise too_long(len(data), MODEL_BYTES, where)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise InputError(
            f"the file is not an ONNX model, or is cut short ({len(data)} bytes)", where=where, remedy=_REEXPORT
        ) from error
    check_structure(model, where, outside=outside)
    return model


def check_structure(model: onnx.ModelProto, where: str, *, outside: bool = False) -> None:
    """Refuse what would mislead or exhaust those who read ``model``. Arguments and errors: `parse_model`."""
    if not model.graph.node or not model.opset_import:
        raise InputError("the file holds no ONNX graph: no nodes, or no operator set", where=where, remedy=_REEXPORT)
    for message in _messages(model):
        if not all(isinstance(text, str) for text in _texts(message)):
            # Protobuf hands out bytes where the text is not valid UTF-8.
            raise InputError("the file holds names that are not text: it is damaged", where=where, remedy=_REEXPORT)
        if isinstance(message, TensorProto):
            _check_tensor(message, where, outside)
    _check_functions(model, where)


def inlined(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """``model``, whose structure was checked, without local functions.

    Raises:
        InputError: a function is called otherwise than it is declared.
    """
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the inliner raises its own, unrelated classes
        raise InputError(
            f"the model's local functions cannot be put in place: {str(error)[:200]}", where=where, remedy=_DAMAGED
        ) from error


def check_sizes(model: onnx.ModelProto, where: str, *, known: bool = False, batch: int = 1) -> Shapes:
    """Shapes of what ``model`` makes for ``batch`` images, as ONNX's shape inference finds them; 0 where it does not.

    Args:
        known: refuse a model of which not all sizes are known before it runs.

    Raises:
        UnsupportedError: a tensor is too large. InputError: the shapes contradict each other, or are not known.
    """
    fixed = without_large_weights(model)
    for value in fixed.graph.input:
        for dim in value.type.tensor_type.shape.dim[:1]:
            if not dim.HasField("dim_value"):
                dim.dim_value = batch
    try:
        shapes = _inferred(fixed, strict=known)
        for _ in range(_ROUNDS if known else 0):
            if not _constants_stated(fixed, shapes):
                break
            shapes |= _inferred(fixed, strict=known)
    except Exception as error:  # its own, unrelated classes
        if not known:
            return {}
        raise InputError(
            f"the model's shapes contradict each other: {' '.join(str(error).split())[:200]}",
            where=where,
            remedy=_DAMAGED,
        ) from error
    for name, shape in shapes.items():
        if prod(n for n in shape if n) > TENSOR_ELEMENTS:
            raise UnsupportedError(
                f"the tensor {name!r} has the shape {list(shape)}; at most {TENSOR_ELEMENTS} elements are made",
                where=where,
                remedy="export the model for a smaller image",
            )
    if known:
        for node in fixed.graph.node:
            for name in filter(None, node.output):
                if node.op_type not in _SEQUENCES and (name not in shapes or 0 in shapes[name]):
                    raise InputError(
                        f"the size of {name!r} is known only when the model runs", where=where, remedy=_DAMAGED
                    )
    return shapes


def _inferred(model: onnx.ModelProto, *, strict: bool) -> Shapes:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True).graph
    return {
        value.name: tuple(max(d.dim_value, 0) for d in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _constants_stated(model: onnx.ModelProto, shapes: Shapes) -> bool:
    """Put values for small tensors that are computed of constants and of sizes alone; whether there are any.

    Shape inference follows some such values itself, but not through every operator (Size, Range, slices of a shape).
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    known = {**shapes, **{name: tuple(tensor.dims) for name, tensor in constants.items()}}
    stated: list[onnx.NodeProto] = []
    for node in model.graph.node:
        read, made = list(filter(None, node.input)), list(filter(None, node.output))
        if len(made) != 1 or not read:
            continue
        if node.op_type in ("Shape", "Size") and 0 not in known.get(read[0], (0,)):
            value = _size(node, known[read[0]])
        elif all(name in constants for name in read) and 0 < prod(shapes.get(made[0], (0,))) <= _SMALL:
            value = _evaluated(node, [constants[name] for name in read], model)
        else:
            continue
        if value is not None:
            constants[made[0]] = onnx.numpy_helper.from_array(value, made[0])
            stated.append(node)
    for node in stated:
        model.graph.node.remove(node)
        model.graph.initializer.append(constants[node.output[0]])
    return bool(stated)


def _size(node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """What Shape or Size gives."""
    bounds = {a.name: int(a.i) for a in node.attribute}
    part = shape[bounds.get("start", 0) : bounds.get("end")]
    return np.asarray(prod(shape) if node.op_type == "Size" else part, np.int64)


_ROUNDS = 4
"""Each gives sizes to values that the one before made known."""

_SMALL = 4096
"""Elements of a tensor of sizes, axes or indices."""


def _evaluated(node: onnx.NodeProto, given: list[TensorProto], model: onnx.ModelProto) -> np.ndarray[Any, Any] | None:
    """What the node gives, by ONNX's own definition of it in numpy; None where that has none."""
    from onnx.reference import ReferenceEvaluator

    graph = onnx.helper.make_graph([node], "constant", [], [onnx.ValueInfoProto(name=node.output[0])], given)
    single = onnx.helper.make_model(graph, opset_imports=list(model.opset_import))
    try:
        return np.asarray(ReferenceEvaluator(single).run(None, {})[0])  # pyright: ignore
    except Exception:  # noqa: BLE001 - whatever numpy raises; its size then stays unknown, and that is refused
        return None


_SEQUENCES = frozenset({"SequenceConstruct", "SequenceAt"})
"""What they make is one of the tensors that go in, but shape inference does not say so."""


def without_large_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with its large weights as inputs: their shapes are all that shape inference needs of them."""
    slim = onnx.ModelProto()
    slim.CopyFrom(model)
    del slim.graph.initializer[:]
    declared = {value.name for value in slim.graph.input}
    for tensor in model.graph.initializer:
        if len(tensor.dims) <= 1 and sum(tensor.dims) <= 64:
            slim.graph.initializer.append(tensor)
        elif tensor.name not in declared:
            shape = list(tensor.dims)
            slim.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    return slim


def _messages(root: Message) -> Iterator[Message]:
    """``root`` and all messages inside it."""
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting.extend(value if field.is_repeated else [value])


def _texts(message: Message) -> Iterator[object]:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from value if field.is_repeated else [value]


def _check_tensor(tensor: TensorProto, where: str, outside: bool) -> None:
    if external_data_helper.uses_external_data(tensor):
        if outside:
            return
        raise InputError(
            f"the weight {tensor.name!r} lies in another file, which is not read",
            where=where,
            remedy="keep all weights inside the file",
        )
    elements = prod(tensor.dims)
    # Packed types hold up to eight elements in a byte; who reads the tensor compares exactly.
    held = 8 * len(tensor.raw_data) or 8 * max(len(getattr(tensor, store)) for store in _STORES)
    if any(n < 0 for n in tensor.dims) or elements > held:
        raise InputError(
            f"the tensor {tensor.name!r} is damaged: its data do not fill the shape {list(tensor.dims)}",
            where=where,
            remedy=_DAMAGED,
        )


def _load_external(model: onnx.ModelProto, folder: Path, where: str) -> None:
    """Weights in files beside the model, of at most `MODEL_BYTES` in all.

    Raises:
        InputError: a file is missing, lies elsewhere, is shorter than the model says, or is none.
    """
    tensors = [m for m in _messages(model) if isinstance(m, TensorProto) and external_data_helper.uses_external_data(m)]
    total, place = 0, ""
    try:
        for tensor in tensors:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            place = entries.get("location", "")
            parts = PurePosixPath(place).parts
            if not parts or ".." in parts or PurePosixPath(place).is_absolute() or "\0" in place:
                raise ValueError("it lies elsewhere")
            file = folder / place
            if not file.resolve().is_relative_to(folder.resolve()):
                raise ValueError("it leads elsewhere")
            with open_file(file) as stream:
                offset = _number(entries.get("offset", "0"))
                size = stream.seek(0, 2)
                length = _number(entries["length"]) if "length" in entries else max(size - offset, 0)
                total += length
                if offset + length > size:
                    raise ValueError("it is shorter than the model says")
                if total > MODEL_BYTES:
                    raise too_long(total, MODEL_BYTES, where)
                stream.seek(offset)
                tensor.raw_data = stream.read(length)
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
            _check_tensor(tensor, where, outside=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{len(tensors)} weights lie in an external file that cannot be read: {place!r}",
            where=where,
            remedy="keep that file beside the .onnx, or export with torch.onnx.export(..., external_data=False)",
        ) from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{text[:40]!r} is no number")
    return int(text)


Key = tuple[str, str, str]


def _check_functions(model: onnx.ModelProto, where: str) -> None:
    """Local functions call no function that calls them, and are not too many nodes when all calls are written out.

    Raises:
        InputError: otherwise.
    """
    bodies: dict[Key, Any] = {(f.domain, f.name, f.overload): f for f in model.functions}
    calls = {key: [_key(n) for n in _nodes(body)] for key, body in bodies.items()}
    counts: dict[Key, int] = {}
    open_calls: set[Key] = set()
    waiting: list[Key] = list(bodies)
    while waiting:
        key = waiting[-1]
        if key in counts:
            waiting.pop()
            continue
        missing = [called for called in calls[key] if called in bodies and called not in counts]
        if key in open_calls and any(called in open_calls for called in missing):
            raise InputError(f"the local function {key[1]!r} calls itself", where=where, remedy=_DAMAGED)
        if missing:
            open_calls.add(key)
            waiting += dict.fromkeys(missing)
            continue
        open_calls.discard(key)
        counts[key] = sum(counts.get(called, 1) for called in calls[key])
        waiting.pop()
    total = sum(counts.get(_key(node), 1) for node in _nodes(model.graph))
    if max([total, *counts.values()]) > MODEL_NODES:
        raise InputError(
            f"the model has {total} nodes with its local functions in place; at most {MODEL_NODES} are read",
            where=where,
            remedy=_REEXPORT,
        )


def _key(node: onnx.NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _nodes(body: Message) -> list[onnx.NodeProto]:
    """Nodes of a graph or function, those of graphs inside it too."""
    return [message for message in _messages(body) if isinstance(message, onnx.NodeProto)]
