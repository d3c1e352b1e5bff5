"""ONNX in: a model file or ModelProto becomes the float graph, and the float graph its canonical form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import onnx

from proprune_cli.compile.frontend import read
from proprune_cli.compile.frontend.branches import without_branches
from proprune_cli.compile.frontend.host_check import check_end, with_free_batch
from proprune_cli.compile.frontend.host_end import boundary, host_model, host_nodes
from proprune_cli.compile.frontend.quantised import without_quantisation
from proprune_cli.compile.frontend.regions import Regions
from proprune_cli.compile.frontend.source import asked, source_of
from proprune_cli.compile.passes.pipeline import CANONICAL, LAYOUT, run_passes
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.files.limits import MADE_BYTES, TENSOR_ELEMENTS
from proprune_cli.ir.graph import Graph, HostTail, Node, Reshape, Transpose
from proprune_cli.ir.nodes import Shape
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.shapes import infer
from proprune_cli.ir.verify import verify
from proprune_cli.ops.folding import fold
from proprune_cli.ops.host import HOST, MIDDLE
from proprune_cli.ops.host_step import host_nodes as host_steps
from proprune_cli.ops.importing import Array, Constraint, NodeView, broken_rule, import_node, remedy_of, rule_of
from proprune_cli.ops.registry import BY_NAME
from proprune_cli.work.layer import SourceOperator

Steps = dict[int, tuple[frozenset[int], UnsupportedError]]
"""Parts that the host runs as one step, by the number of every node in them, and why the engine cannot."""


def import_onnx(source: str | Path | onnx.ModelProto) -> Graph:
    """Read an ONNX model (opset 9 to 24, from either PyTorch exporter) as a float graph.

    Softmax, ArgMax and what follows them at the end of the network become ``host_tail``, as does what the engine cannot
    run there; LRN, bilinear Resize and their like elsewhere become ``Host`` nodes.

    The batch may be symbolic or any number; it is dropped. What depends on constants and shapes alone is evaluated, and
    of an If whose condition does, the branch that is taken remains. A model with QuantizeLinear and DequantizeLinear is
    taken as its float function, and the graph's note says so.

    Raises:
        InputError: the file is damaged, a weight is missing or not finite, the graph has a cycle.
        UnsupportedError: an operator, type, shape or operator set that is not supported; names the node.
    """
    model, note = without_quantisation(read.read_model(source))
    return replace(_taken(without_branches(model)), note=note)


def _taken(model: onnx.ModelProto) -> Graph:
    """The float graph, with what the engine cannot compute in steps of the host and in the host's end."""
    placed = _Placed({}, {})
    while True:
        try:
            graph, regions = _imported(model, placed)
        except _NewEnd as found:
            placed = found.placed
            continue
        try:
            check_layout(graph)
        except UnsupportedError as refusal:
            seed = regions.blamed(refusal.where)
            if seed is None:  # nothing to compute at all: canonicalise says so
                return graph
            try:
                placed = _place(placed, seed, refusal, regions)
            except _NewEnd as found:
                placed = found.placed
        else:
            check_end(graph, model, next(iter(placed.ends.values()), None))
            return graph


def check_layout(graph: Graph) -> None:
    """Raises UnsupportedError where reshapes and transpositions do not disappear; names the node."""
    if any(isinstance(node, Reshape | Transpose) for node in graph.nodes):
        with np.errstate(all="ignore"):
            run_passes(graph, LAYOUT)


@dataclass(frozen=True)
class _Placed:
    """What is known so far of the host's share.

    Attributes:
        steps: between the engine's layers.
        ends: numbers of the nodes from which on the host runs all that follows, and why the engine cannot.
    """

    steps: Steps
    ends: Mapping[int, UnsupportedError]


class _NewEnd(Exception):  # noqa: N818 - no error: the import begins anew
    """The host's end begins earlier than was thought."""

    def __init__(self, placed: _Placed) -> None:
        super().__init__()
        self.placed = placed


def _place(placed: _Placed, index: int, refusal: UnsupportedError, regions: Regions) -> _Placed:
    """A node that the engine refuses goes to the host: to its end where no layer worth the engine comes after it, or
    where no step can hold the node; else to a step.

    Raises:
        UnsupportedError: neither can hold it: the ``refusal``.
        _NewEnd: it belongs to the host's end.
    """
    # A step that holds the node already is no remedy.
    part = None if index in placed.steps else regions.around(frozenset({index}))
    end = None if index in regions.tail else regions.end_from({*placed.ends, index})
    if end is not None and (part is None or not regions.has_products(end - part - {index, *placed.ends})):
        kept = {i: step for i, step in placed.steps.items() if not step[0] & end}
        raise _NewEnd(_Placed(kept, {**placed.ends, index: refusal}))
    if part is None:
        raise refusal
    return _Placed({**placed.steps, **dict.fromkeys(part, (part, refusal))}, placed.ends)


def _imported(model: onnx.ModelProto, placed: _Placed) -> tuple[Graph, Regions]:
    opset = read.opset_of(model)
    name, batch, shape = read.the_input(model)
    results = read.the_outputs(model)
    constants = read.initializers(model)
    views = _Importer(model, opset, batch, {name: shape}, constants)
    with np.errstate(all="ignore"):  # Overflow is found by the verifier, which names the node.
        protos = _sorted_nodes(model, {name, *constants})
        hosted = host_nodes(protos, results, placed.ends)
        regions = Regions(model, protos, hosted)
        nodes = _import_nodes(views, regions, protos, hosted, placed)
    names = results
    tail: HostTail | None = None
    if hosted:
        rest = [protos[i] for i in sorted(hosted)]
        between = boundary(rest, views.shapes, name)
        given = {x: views.shapes[x] for x in between}
        end = with_free_batch(host_model(model, rest, given, constants), given, model)
        tail = HostTail(end.SerializeToString(), tuple(node.op_type for node in end.graph.node))
        made = {value.name for value in end.graph.output}
        names = tuple(dict.fromkeys((*(result for result in results if result not in made), *between)))
    for output in names:
        if output not in views.shapes or output == name:
            raise InputError(
                f"the output {output!r} does not depend on the input {name!r}",
                where=f"output {output!r}",
                remedy="export the model without it; its result was folded into a constant or is the input itself",
            )
    outputs = tuple(Output(output, output, views.shapes[output]) for output in names)
    graph = Graph(
        model.graph.name or "network", dict(views.shapes), tuple(nodes), name, outputs, tail, results, views.sources
    )
    verify(graph, after="import")
    return graph, regions


def _import_nodes(
    views: _Importer, regions: Regions, protos: list[onnx.NodeProto], tail: frozenset[int], placed: _Placed
) -> list[Node]:
    """All nodes but those of ``tail``. Where the engine refuses one, it and those around it become a host's step.

    Nodes of a step that were imported before it was found remain; nothing reads them.

    Raises:
        _NewEnd: a refused node belongs to the host's end, which ``tail`` does not know.
    """
    nodes: list[Node] = []
    for index, proto in enumerate(protos):
        if index in tail:
            continue
        part, refusal = placed.steps.get(index, (frozenset[int](), None))
        if refusal is None:
            try:
                nodes += views.take(proto)
                continue
            except UnsupportedError as error:
                refusal = error
                before = list(placed.steps.values())
                placed = _place(placed, index, error, regions)
                part = placed.steps[index][0]
            for other, _ in before:
                if part & other and max(other) > index:
                    part = regions.around(part | other) or frozenset()
            if not part:
                raise refusal
            placed = _Placed({**placed.steps, **dict.fromkeys(part, (part, refusal))}, placed.ends)
        if index == max(part):
            nodes += views.take_part([protos[i] for i in sorted(part)], refusal)
    return nodes


def canonicalise(graph: Graph) -> Graph:
    """The same network from Conv, ConvTranspose, MaxPool, Add, Mul, Relu, Activation, Concat, Select, Pad,
    Upsample and Host alone, every tensor channels x height x width.

    Raises:
        InputError: constants overflow when they are folded.
        UnsupportedError: the network has a form that these cannot express, such as batch normalisation of a flattened
            image; names the node.
    """
    with np.errstate(all="ignore"):
        return run_passes(graph, CANONICAL)


class _Importer:
    """Imports node after node; keeps the shapes and constants known so far."""

    def __init__(
        self, model: onnx.ModelProto, opset: int, batch: int, shapes: dict[str, Shape], constants: dict[str, Array]
    ) -> None:
        self.shapes = shapes
        self.sources: dict[str, tuple[SourceOperator, ...]] = {}
        self._constants = constants
        self._opset = opset
        self._batch = batch
        self._used = frozenset(n for node in model.graph.node for n in node.input if n) | {
            value.name for value in model.graph.output
        }
        self._names: set[str] = set()
        self._made = 0
        self._indices: dict[str, onnx.NodeProto] = {}
        unpooling = [node for node in model.graph.node if node.op_type == "MaxUnpool" and len(node.input) > 1]
        self._unpooled = frozenset(node.input[1] for node in unpooling)
        self._needed = read.reach(model)

    def take(self, proto: onnx.NodeProto) -> list[Node]:
        proto = self._without_indices(proto)
        view = NodeView(proto, self._name(proto), self._opset, self._batch, self.shapes, self._constants, self._used)
        if not any(name in self._needed for name in proto.output):
            return []
        if proto.domain not in ("", "ai.onnx"):
            raise view.refusal(f"it belongs to the operator set {proto.domain!r}")
        values = fold(view)
        if values is not None:
            self._constants.update(values)
            self._made += sum(value.nbytes for value in values.values())
            if self._made > MADE_BYTES:
                raise view.refusal(f"the constants up to here take {self._made / 2**20:,.0f} MiB")
            return []
        operator = BY_NAME.get(proto.op_type)
        if proto.op_type in MIDDLE:
            broken = broken_rule(operator, view) if operator is not None else None
            if operator is None or broken is not None:
                return self._known(self._on_host(view, broken), proto)
        if operator is None:
            reason = "no rule for this operator"
            if proto.op_type in HOST:
                reason = "it runs on the host, at the end of the network alone"
            raise view.refusal(reason, f"one of the {len(BY_NAME)} operators of docs/supported-operators.md may do")
        return self._known(import_node(operator, view), proto)

    def take_part(self, protos: list[onnx.NodeProto], error: UnsupportedError) -> list[Node]:
        """Several nodes as one step of the host. ``error``: why the engine cannot run them."""
        last = protos[-1]
        view = NodeView(last, self._name(last), self._opset, self._batch, self.shapes, self._constants, self._used)
        try:
            return self._known(host_steps(view, protos[:-1]), *protos)
        except UnsupportedError as other:
            also = f"{error.what}; nor can the host run it ({other.what.partition(': ')[2]})"
            raise UnsupportedError(also, where=error.where, remedy=error.remedy) from other

    def _on_host(self, view: NodeView, broken: tuple[Constraint, str] | None) -> list[Node]:
        """The node as a step of the host. ``broken``: the engine's rule that does not hold, for the message."""
        try:
            before = self._indices.get(view.input_name(1))
            return host_steps(view, () if before is None else (before,))
        except UnsupportedError as error:
            if broken is None:
                raise
            rule, found = broken
            reason = f"{rule_of(rule)}; here: {found}; nor can the host run it ({error.what.partition(': ')[2]})"
            raise view.refusal(reason, remedy_of(rule)) from error

    def _known(self, nodes: list[Node], *protos: onnx.NodeProto) -> list[Node]:
        """``nodes``, with the shapes of what they make and the operators that they came from noted."""
        for node in nodes:
            self.shapes[node.y] = infer(node, self.shapes)
            if prod(self.shapes[node.y]) > TENSOR_ELEMENTS:
                shape = list(self.shapes[node.y])
                raise UnsupportedError(
                    f"{node.y!r} has the shape {shape}; at most {TENSOR_ELEMENTS} elements are made",
                    where=f"node {node.name!r}",
                    remedy="export the model for a smaller image",
                )
            macs = [asked(node, proto, self.shapes) for proto in protos]
            self.sources[node.name] = tuple(
                replace(source_of(proto), macs=m.dense, nonzero_macs=m.nonzero)
                for proto, m in zip(protos, macs, strict=True)
            )
        return nodes

    def _without_indices(self, proto: onnx.NodeProto) -> onnx.NodeProto:
        """A MaxPool alone; the host computes its indices once more where a MaxUnpool reads them."""
        if proto.op_type != "MaxPool" or len(proto.output) < 2 or proto.output[1] not in self._unpooled:
            return proto
        pool = onnx.NodeProto()
        pool.CopyFrom(proto)
        self._indices[proto.output[1]] = proto
        del pool.output[1:]
        return pool

    def _name(self, proto: onnx.NodeProto) -> str:
        """The node's own name where it has one that is free, else its output's."""
        base = proto.name or (proto.output[0] if proto.output else proto.op_type) or proto.op_type
        name, count = base, 1
        while name in self._names:
            name, count = f"{base}.{count}", count + 1
        self._names.add(name)
        return name


def _sorted_nodes(model: onnx.ModelProto, given: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes in topological order, stable where the file's order is already one.

    Raises:
        InputError: a tensor is made twice, is never made, or depends on itself.
    """
    makers: dict[str, int] = {}
    known = set(given)
    nodes = list(model.graph.node)
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in makers or name in known:
                raise InputError(
                    f"the tensor {name!r} is assigned more than once",
                    where=_where(node),
                    remedy="the file is damaged or was edited by hand: export the model again",
                )
            makers[name] = index
    waiting = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        for name in {n for n in node.input if n and n not in known}:
            if name not in makers:
                raise InputError(
                    f"{node.op_type} reads {name!r}, which no node, input or initializer provides",
                    where=_where(node),
                    remedy="a weight is missing from the file: export the model again with its parameters",
                )
            waiting[index] += 1
            readers[makers[name]].append(index)
    ready = [index for index, count in enumerate(waiting) if not count]
    order: list[int] = []
    while ready:
        ready.sort(reverse=True)
        index = ready.pop()
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(order) < len(nodes):
        stuck = next(index for index, count in enumerate(waiting) if count)
        raise InputError(
            f"the graph has a cycle: {len(nodes) - len(order)} of {len(nodes)} nodes wait for their own results",
            where=_where(nodes[stuck]),
            remedy="an ONNX graph may not depend on itself: export the model again",
        )
    return [nodes[index] for index in order]


def _where(node: onnx.NodeProto) -> str:
    return f"node {node.name or (node.output[0] if node.output else '')!r} ({node.op_type})"
