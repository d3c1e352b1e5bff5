"""Parts of a network that the host runs as one step, because some node in them is not the engine's work.

A step reads and makes images or features in float32. What lies between those, such as indices, masks, tokens or another
order of the axes, cannot be quantised and stays inside: the part around a node grows until nothing else crosses its
border, and one result leaves it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from proprune_cli.accel.host import plain_session
from proprune_cli.compile.frontend.host_end import PRODUCTS, can_be_end, host_nodes
from proprune_cli.files.onnx_model import check_sizes, without_large_weights
from proprune_cli.ops.host import IN_STEPS
from proprune_cli.ops.registry import BY_NAME

LARGEST = 96
"""Nodes of one part."""

Order = tuple[int, ...]
"""Where each axis of a tensor was before it was transposed."""

Types = dict[str, tuple[int, int]]
"""ONNX element type and rank by name."""

LAYOUT = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


class Regions:
    """Finds the part of a model that one step of the host has to hold.

    Args:
        nodes: in topological order.
        tail: numbers of the nodes that the host runs at the network's end.

    Attributes:
        tail: as given.
        depends: names of the tensors whose values depend on the input's, not on its shape alone.
    """

    def __init__(self, model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], tail: frozenset[int]) -> None:
        self._nodes = nodes
        self.tail = tail
        self._model = model
        self._inferred: Types | None = None
        self._makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
        self._readers: dict[str, list[int]] = {}
        for i, node in enumerate(nodes):
            for name in filter(None, node.input):
                self._readers.setdefault(name, []).append(i)
        stored = {tensor.name for tensor in model.graph.initializer}
        self._image = next(value.name for value in model.graph.input if value.name not in stored)
        self._outputs = {value.name for value in model.graph.output}
        self.depends = self._activations(model)
        self._orders = _orders(nodes)

    def around(self, seeds: frozenset[int]) -> frozenset[int] | None:
        """The least part with these nodes that a step can hold, or None where there is no such part.

        Images whose axes were put in another order stay inside where they are put back before the engine goes on.
        """
        return self._grown(seeds, self._orders) or self._grown(seeds, {})

    def _grown(self, seeds: frozenset[int], orders: Mapping[str, Order]) -> frozenset[int] | None:
        part = set(seeds)
        while len(part) <= LARGEST:
            if any(i in self.tail or _excluded(self._nodes[i]) for i in part):
                return None
            more = self._missing(part, orders)
            if more is None:
                return None
            if not more:
                return frozenset(part)
            part |= more
        return None

    def end_from(self, seeds: Collection[int]) -> frozenset[int] | None:
        """All that the host runs at the network's end if that holds ``seeds`` too; None where it cannot."""
        end = host_nodes(self._nodes, list(self._outputs), seeds)
        return end if end.issuperset(seeds) and can_be_end(self._nodes, end, self.depends, self._image) else None

    def has_products(self, part: Collection[int]) -> bool:
        """Whether any node of ``part`` is work for the engine's array."""
        return any(self._nodes[i].op_type in PRODUCTS for i in part)

    def blamed(self, where: str) -> int | None:
        """The node that an error's place names; where that reads another layout, the node that made the layout."""
        for i, node in enumerate(self._nodes):
            if where.startswith(f"node {node.name or (node.output[0] if node.output else '')!r} ("):
                made = [self._makers[name] for name in node.input if name in self._makers]
                return next((j for j in made if self._nodes[j].op_type in LAYOUT), i)
        return None

    def _missing(self, part: set[int], orders: Mapping[str, Order]) -> set[int] | None:
        """Nodes that must join ``part``: none when it is whole, None when it cannot become so."""
        names = {name for i in part for name in self._nodes[i].input if name and self._makers.get(name) not in part}
        inside = [name for name in names if name in self.depends and not self._crosses(name, orders, entering=True)]
        if any(name not in self._makers for name in inside):
            return None
        if inside:
            return {self._makers[name] for name in inside}
        leaving = [
            name
            for i in sorted(part)
            for name in self._nodes[i].output
            if name in self._outputs or any(j not in part for j in self._readers.get(name, ()))
        ]
        between = self._between(part, names)
        if between:
            return between
        private = [name for name in leaving if not self._crosses(name, orders, entering=False)]
        if not private and len(leaving) == 1:
            return set()
        # The first reader outside goes along: of what cannot leave, or of the earliest of several results.
        for name in private or leaving:
            readers = [j for j in self._readers.get(name, ()) if j not in part]
            if name not in self._outputs and readers:
                return {min(readers)}
        return None

    def _between(self, part: set[int], names: set[str]) -> set[int]:
        """Makers of what the part reads that themselves depend on the part."""
        late = {i for name in names if (i := self._makers.get(name, -1)) > min(part)}
        reached = set(part)
        for i in range(min(part) + 1, max(late, default=-1) + 1):
            if any(self._makers.get(name) in reached for name in self._nodes[i].input):
                reached.add(i)
        return (late & reached) - part

    def _crosses(self, name: str, orders: Mapping[str, Order], *, entering: bool) -> bool:
        """Whether a tensor may cross the border: float32, an image or, where it was not flattened, features."""
        kind, rank = self._types.get(name, (0, 0))
        maker = self._nodes[self._makers[name]].op_type if name in self._makers else ""
        if kind != TensorProto.FLOAT or name in orders:
            return False
        return (rank == 4 and not (entering and maker == "Reshape")) or (
            rank == 2 and not (entering and maker in LAYOUT)
        )

    @property
    def _types(self) -> Types:
        """Found when first asked for: most networks need no step of several nodes."""
        if self._inferred is None:
            self._inferred = _types(self._model, self._makers)
        return self._inferred

    def _activations(self, model: onnx.ModelProto) -> frozenset[str]:
        """Names whose values depend on the input, not on its shape alone."""
        stored = {tensor.name for tensor in model.graph.initializer}
        found = {value.name for value in model.graph.input if value.name not in stored}
        for node in self._nodes:
            if node.op_type != "Shape" and found.intersection(node.input):
                found.update(filter(None, node.output))
        return frozenset(found)


def _unknown(node: onnx.NodeProto) -> bool:
    """Whether running the node may take for ever: neither the engine nor the host would."""
    return node.domain not in ("", "ai.onnx") or node.op_type not in IN_STEPS | BY_NAME.keys()


def _excluded(node: onnx.NodeProto) -> bool:
    return node.op_type not in IN_STEPS or node.domain not in ("", "ai.onnx")


def _types(model: onnx.ModelProto, names: Collection[str]) -> Types:
    """Element type and rank of every tensor: by shape inference, or where that does not know all, by running it."""
    found = _inferred(model)
    return found if all(name in found for name in names) else found | _seen(model, [n for n in names if n not in found])


def _seen(model: onnx.ModelProto, names: list[str]) -> Types:
    """Types of some results on an image of zeros; nothing where ONNX Runtime does not run the model."""
    if any(_unknown(node) for node in model.graph.node):
        return {}
    check_sizes(model, f"model {model.graph.name!r}")
    longer = onnx.ModelProto()
    longer.CopyFrom(model)
    longer.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    stored = {tensor.name for tensor in model.graph.initializer}
    dims = next(value for value in model.graph.input if value.name not in stored)
    shape = [d.dim_value or 1 for d in dims.type.tensor_type.shape.dim]
    try:
        session = plain_session(longer.SerializeToString())
        values = session.run(names, {dims.name: np.zeros(shape, np.float32)})
    except Exception:  # noqa: BLE001 - its own, unrelated classes; the node's own refusal is then the message
        return {}
    arrays = {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
    return {name: (helper.np_dtype_to_tensor_dtype(a.dtype), a.ndim) for name, a in arrays.items()}


def _inferred(model: onnx.ModelProto) -> Types:
    try:
        inferred = onnx.shape_inference.infer_shapes(without_large_weights(model), data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError):  # a damaged model; nothing is known then
        inferred = model
    graph = inferred.graph
    return {
        value.name: (value.type.tensor_type.elem_type, len(value.type.tensor_type.shape.dim))
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _orders(nodes: Sequence[onnx.NodeProto]) -> dict[str, Order]:
    """Tensors whose axes stand in another order than at the input; a Reshape makes a new beginning."""
    found: dict[str, Order] = {}
    for node in nodes:
        given = next((found[name] for name in node.input if name in found), None)
        order = given
        if node.op_type == "Transpose":
            perm = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), ())
            before = given if given is not None and len(given) == len(perm) else tuple(range(len(perm)))
            order = tuple(before[axis] for axis in perm)
        elif node.op_type in LAYOUT:
            order = None
        if order is not None and order != tuple(range(len(order))):
            found.update((name, order) for name in node.output if name)
    return found
