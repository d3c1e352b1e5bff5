"""Quantised layers → engine layers.

Additions, products and tables join the output stage of the pass that produces their operand, where nothing else reads
it; concatenation, selection and cropping become views; what remains gets a pass of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from typing_extensions import assert_never

from proprune_cli.accel import isa
from proprune_cli.compile.cluster.known_codes import nonnegative_codes
from proprune_cli.compile.lower.copies import Run, copy_layer, pad_runs, rectangle_copy
from proprune_cli.compile.lower.dense import asked_products, dense_weight, over_slots, used_slots
from proprune_cli.compile.lower.engine_layer import EngineGraph, EngineLayer, HostPass, Phase, View
from proprune_cli.compile.lower.host_chains import merged
from proprune_cli.compile.lower.live_channels import live_groups, with_groups
from proprune_cli.compile.lower.operand import operand_at, residual_operand
from proprune_cli.compile.lower.transposed import conv_phases
from proprune_cli.compile.lower.views import concatenated, mixed, selected, window_of
from proprune_cli.ir.nodes import (
    Add as Add,
)
from proprune_cli.ir.nodes import (
    Concat as Concat,
)
from proprune_cli.ir.nodes import (
    Host as Host,
)
from proprune_cli.ir.nodes import (
    MaxPool as MaxPool,
)
from proprune_cli.ir.nodes import (
    Mul as Mul,
)
from proprune_cli.ir.nodes import (
    Relu as Relu,
)
from proprune_cli.ir.nodes import (
    Select as Select,
)
from proprune_cli.ir.nodes import (
    Upsample as Upsample,
)
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer, QPad, QTable, QTensor
from proprune_cli.ir.window import Window
from proprune_cli.work.layer import SourceOperator
from proprune_cli.work.macs import NetworkMacs

OUTPUT_STAGE = frozenset({"relu_before", "lookup", "table", "residual", "relu_after"})
"""What an engine layer's output stage does, whatever comes before it."""


def fuse(graph: QGraph) -> EngineGraph:
    """The passes of ``graph`` in execution order."""
    return _Fuser(graph).run()


class _Fuser:
    def __init__(self, graph: QGraph) -> None:
        self._graph = graph
        self._tensors: dict[str, QTensor] = {graph.input: graph.tensors[graph.input]}
        self._views: dict[str, View] = {graph.input: View.of(graph.tensors[graph.input])}
        self._passes: list[list[EngineLayer]] = []
        self._producer: dict[str, int] = {}
        self._hosted: list[HostPass] = []
        self._nonnegative = nonnegative_codes(graph)
        self._sources: tuple[SourceOperator, ...] = ()
        """Operators that the pass to be made computes."""
        self._asked = NetworkMacs()
        """What the network asks of the pass to be made."""
        self._moved: dict[str, tuple[SourceOperator, ...]] = {}
        """Operators of views, which the passes that read through them take over."""
        self._uses: dict[str, int] = dict.fromkeys((output.tensor for output in graph.outputs), 1)
        for layer in graph.layers:
            for name in layer.inputs:
                self._uses[name] = self._uses.get(name, 0) + 1

    def run(self) -> EngineGraph:
        for layer in self._graph.layers:
            self._take(layer)
        outputs = tuple(replace(o, tensor=self._stored(o.tensor)) for o in self._graph.outputs)
        layers = tuple(layer for passes in self._passes for layer in passes)
        starts = np.cumsum([0, *(len(passes) for passes in self._passes)])
        returned = {output.tensor for output in outputs}
        steps = merged([replace(h, after=int(starts[h.after])) for h in self._hosted], self._uses, self._graph.tensors)
        kept = {name for step in steps for name in (*step.xs, step.layer.y)}
        for step in self._hosted:
            if step.layer.y not in kept and step.layer.y not in returned:
                del self._tensors[step.layer.y]
        return EngineGraph(self._graph.name, self._tensors, layers, self._graph.input, outputs, steps)

    def _take(self, layer: QLayer) -> None:
        moved = [source for name in layer.inputs for source in self._moved.get(name, ())]
        self._sources = tuple(dict.fromkeys((*moved, *self._graph.sources.get(layer.name, ()))))
        self._asked = asked_products(layer, self._graph)
        self._lower(layer)
        if layer.y not in self._tensors:
            self._moved[layer.y] = self._sources

    def _lower(self, layer: QLayer) -> None:
        match layer:
            case Concat():
                self._concat(layer) if layer.axis == 1 else self._join_space(layer)
            case Select():
                self._views[layer.y] = selected(self._views[layer.x], layer.channels)
            case QPad():
                self._pad(layer)
            case Upsample():
                self._upsample(layer)
            case QConv():
                self._conv(layer)
            case QConvTranspose():
                self._conv_transpose(layer)
            case MaxPool():
                y = self._graph.tensors[layer.y]
                self._max(layer.name, layer.x, y, window=layer.window, pad_value=-128, relu_before=layer.relu)
            case Relu():
                self._max(layer.name, layer.x, self._graph.tensors[layer.y], relu_before=True)
            case QTable():
                self._table(layer)
            case Host():
                self._outside(layer)
            case Add() | Mul():
                self._combine(layer)
            case _:
                assert_never(layer)

    # Passes.

    def _add(self, y: QTensor, passes: list[EngineLayer]) -> None:
        """Append the passes that fill ``y``."""
        shares = self._asked.dealt(len(passes))
        passes = [replace(p, sources=self._sources, asked=share) for p, share in zip(passes, shares, strict=True)]
        self._tensors[y.name] = y
        self._views[y.name] = View.of(y)
        self._producer[y.name] = len(self._passes)
        self._passes.append(passes)

    def _max(self, name: str, x: str, y: QTensor, **options: object) -> None:
        """A pass without weights; one that gathers the channels too where they are scattered and only codes change."""
        if options.keys() <= OUTPUT_STAGE:
            layer = copy_layer(name, self._views[x], y)
        else:
            layer = EngineLayer(name, "max", self._canonical(x), y.name, y.channels, (y.height, y.width))
        self._add(y, [replace(layer, **options)])  # pyright: ignore[reportArgumentType]

    def _conv(self, layer: QConv) -> None:
        x, y = self._graph.tensors[layer.x], self._graph.tensors[layer.y]
        diagonal = layer.groups > 1 and layer.groups == x.channels == y.channels
        if layer.window.kernel == (1, 1) and not self._views[layer.x].canonical:
            # A dense layer gathers the channels and scales them in one pass.
            diagonal = diagonal and not self._views[layer.x].distinct
        view = self._canonical(layer.x) if diagonal else self._dense_view(layer.x)
        weight = layer.weight.reshape(len(layer.weight), -1) if diagonal else dense_weight(layer.weight, layer.groups)
        self._add(
            y,
            [
                EngineLayer(
                    layer.name,
                    "diagonal" if diagonal else "dense",
                    view,
                    y.name,
                    y.channels,
                    (y.height, y.width),
                    layer.window,
                    weight=weight if diagonal else over_slots(weight, view),
                    bias=layer.bias,
                    multiplier=layer.multiplier,
                    relu_before=layer.relu,
                )
            ],
        )

    def _conv_transpose(self, layer: QConvTranspose) -> None:
        x, y = self._graph.tensors[layer.x], self._graph.tensors[layer.y]
        diagonal = layer.groups > 1 and layer.groups == x.channels == y.channels
        view = self._canonical(layer.x) if diagonal else self._dense_view(layer.x)
        phases = list(conv_phases(layer, (y.height, y.width), diagonal=diagonal))
        parts = [
            (view, p.weight.reshape(len(p.weight), -1))
            if diagonal
            else used_slots(p.weight.reshape(*p.weight.shape[:2], -1), view)
            for p in phases
        ]
        passes = [
            EngineLayer(
                f"{layer.name}[{p.first[0]},{p.first[1]}]" if len(phases) > 1 else layer.name,
                "diagonal" if diagonal else "dense",
                part,
                y.name,
                y.channels,
                p.size,
                Window.over(p.weight.shape[2:], pads=(*p.pads, 0, 0), dilation=p.dilation),
                weight=weight,
                bias=layer.bias,
                multiplier=layer.multiplier,
                relu_before=layer.relu,
                phase=Phase((y.height, y.width), p.first, layer.window.stride),
                padding_counts=False,
            )
            for p, (part, weight) in zip(phases, parts, strict=True)
        ]
        self._add(y, passes)

    def _upsample(self, layer: Upsample) -> None:
        x, y = self._graph.tensors[layer.x], self._graph.tensors[layer.y]
        view = self._canonical(layer.x)
        firsts = [(py, px) for py in range(layer.scale[0]) for px in range(layer.scale[1])]
        passes = [
            EngineLayer(
                f"{layer.name}[{first[0]},{first[1]}]", "max", view, y.name, y.channels, (x.height, x.width),
                phase=Phase((y.height, y.width), first, layer.scale),
            )
            for first in firsts
        ]  # fmt: skip
        self._add(y, passes)

    def _pad(self, layer: QPad) -> None:
        y = self._graph.tensors[layer.y]
        if max(layer.pads) <= 0:
            first = (-layer.pads[0], -layer.pads[1])
            self._views[layer.y] = window_of(self._views[layer.x], first, (y.height, y.width))
        elif layer.mode == "constant":
            self._max(layer.name, layer.x, y, window=Window(pads=layer.pads), pad_value=layer.value)
        else:
            x, (top, left, bottom, right) = self._graph.tensors[layer.x], layer.pads
            rows = pad_runs(x.height, top, bottom, layer.mode)
            columns = pad_runs(x.width, left, right, layer.mode)
            view = self._canonical(layer.x)
            self._add(y, [rectangle_copy(layer.name, view, y, row, column) for row in rows for column in columns])

    def _join_space(self, layer: Concat) -> None:
        y = self._graph.tensors[layer.y]
        passes: list[EngineLayer] = []
        at = 0
        for name in layer.xs:
            x = self._graph.tensors[name]
            first = (at, 0) if layer.axis == 2 else (0, at)
            rows, columns = Run(0, first[0], x.height), Run(0, first[1], x.width)
            passes.append(rectangle_copy(layer.name, self._canonical(name), y, rows, columns))
            at += x.height if layer.axis == 2 else x.width
        self._add(y, passes)

    def _outside(self, layer: Host) -> None:
        """The processor computes between the passes so far and those to come: a barrier."""
        xs = tuple(self._stored(x) for x in layer.xs)
        y = self._graph.tensors[layer.y]
        self._hosted.append(HostPass(layer, len(self._passes), xs))
        self._tensors[y.name] = y
        self._views[y.name] = View.of(y)
        # There for every pass to come, and for none before: no earlier one may take it as an operand.
        self._producer[y.name] = len(self._passes) - 1

    def _concat(self, layer: Concat) -> None:
        views = [self._views[x] for x in layer.xs]
        if not all(v.same_planes(views[0]) for v in views):
            views = [View.of(self._tensors[self._stored(x)]) for x in layer.xs]
        self._views[layer.y] = concatenated(views)

    # The output stage.

    def _host(self, name: str) -> int | None:
        """The passes whose output stage may work on ``name`` further: its producer, if nothing else reads it."""
        index = self._producer.get(name)
        own = index is not None and index >= 0 and any(p.y == name for p in self._passes[index])
        return index if own and self._uses.get(name, 0) == 1 else None

    def _add_in_part(self, layer: Add) -> bool:
        """Add only the channel groups in which a convolution has filters; the result is a view of both operands.

        The others are the other operand's as they are: on the result's scale, and in no need of a clamp.
        """
        y = self._graph.tensors[layer.y]
        own, other = sorted((layer.a, layer.b), key=lambda name: -self._producer.get(name, -1))
        host = self._host(own)
        passing = self._graph.tensors[other].exponent == y.exponent and (not layer.relu or other in self._nonnegative)
        # An operand that is stretched over the plane has no groups to leave out: each of its pixels goes everywhere.
        whole = self._graph.tensors[own].height == y.height and self._graph.tensors[own].width == y.width
        if host is None or own == other or layer.subtract or not passing or not whole:
            return False
        groups = live_groups(self._passes[host])
        if groups is None or len(groups) == -(-y.channels // isa.GROUP):
            return False
        view = self._operand(other, y, broadcast=False)
        if (view.height, view.width) != (y.height, y.width) or max(
            (self._producer.get(s, -1) for s in view.storages), default=-1
        ) >= host:
            return False
        del self._tensors[own]
        if not groups:
            # Nothing is left to compute: whoever reads the other operand takes the operators along.
            before = (source for dropped in self._passes[host] for source in dropped.sources)
            self._sources = tuple(dict.fromkeys((*before, *self._sources)))
            self._passes[host] = []
            self._views[y.name] = view
        else:
            part = with_groups(self._passes[host][0], groups, f"{y.name}/in part")
            taken = replace(view, groups=tuple(view.groups[g] for g in groups), slots=np.arange(part.channels))
            residual = residual_operand(layer, own, other, taken, self._graph, broadcast=False)
            sources = (*part.sources, *self._sources)
            self._passes[host] = [replace(part, residual=residual, relu_after=layer.relu, sources=sources)]
            self._tensors[part.y] = replace(y, name=part.y, channels=part.channels)
            self._producer[part.y] = host
            self._views[y.name] = mixed(view, part.y, groups)
        self._producer[y.name] = host
        return True

    def _join(self, host: int, y: QTensor, changes: list[EngineLayer]) -> None:
        """Let passes ``host`` fill ``y`` instead of what they filled."""
        del self._tensors[self._passes[host][0].y]
        self._passes[host] = [replace(p, y=y.name, sources=(*p.sources, *self._sources)) for p in changes]
        self._tensors[y.name] = y
        self._views[y.name] = View.of(y)
        self._producer[y.name] = host

    def _table(self, layer: QTable) -> None:
        y = self._graph.tensors[layer.y]
        host = self._host(layer.x)
        if host is not None and self._passes[host][0].lookup == isa.Lookup.NONE:
            after = self._passes[host][0].residual is not None
            lookup = isa.Lookup.AFTER if after else isa.Lookup.BEFORE
            self._join(host, y, [replace(p, lookup=lookup, table=layer.table) for p in self._passes[host]])
        else:
            self._max(layer.name, layer.x, y, lookup=isa.Lookup.BEFORE, table=layer.table)

    def _combine(self, layer: Add | Mul) -> None:
        if isinstance(layer, Add) and self._add_in_part(layer):
            return
        y = self._graph.tensors[layer.y]
        a, b = self._graph.tensors[layer.a], self._graph.tensors[layer.b]
        broadcast = (a.height, a.width) != (b.height, b.width)
        own, other = layer.a, layer.b
        fixed = broadcast or (isinstance(layer, Add) and layer.subtract)
        if not fixed and self._producer.get(other, -1) > self._producer.get(own, -1):
            own, other = other, own
        view = self._operand(other, y, broadcast=broadcast)
        residual = residual_operand(layer, own, other, view, self._graph, broadcast=broadcast)
        host = self._host(own)
        # Whatever the operand is read from must lie there before the host runs.
        ready = max((self._producer.get(s, -1) for s in view.storages), default=-1)
        if host is not None and own != other and self._passes[host][0].residual is None and ready < host and (
            self._passes[host][0].lookup != isa.Lookup.AFTER
        ):  # fmt: skip
            self._join(
                host,
                y,
                [
                    replace(p, residual=operand_at(residual, p.output), relu_after=layer.relu)
                    for p in self._passes[host]
                ],
            )
        else:
            self._max(layer.name, own, y, residual=residual, relu_after=layer.relu)

    # Views.

    def _canonical(self, name: str) -> View:
        """A view of ``name`` with its channels in order; a pass gathers them where they are not."""
        view = self._views[name]
        return view if view.canonical else View.of(self._tensors[self._stored(name)])

    def _dense_view(self, name: str) -> View:
        """A view of ``name`` that a dense convolution can read: any that has no channel twice."""
        return self._views[name] if self._views[name].distinct else self._canonical(name)

    def _operand(self, name: str, y: QTensor, *, broadcast: bool) -> View:
        """A view of ``name`` for the output stage: canonical, and with rows as far apart as those of ``y``."""
        view = self._canonical(name)
        fits = broadcast or not view.windowed
        return view if fits and (broadcast or view.pitch == y.width) else View.of(self._tensors[self._stored(name)])

    def _stored(self, name: str) -> str:
        """The name of a tensor in memory that equals ``name``: itself, or a copy."""
        if name in self._tensors:
            return name
        view, t = self._views[name], self._graph.tensors[name]
        reader, self._sources = self._sources, self._moved.pop(name, ())
        asked, self._asked = self._asked, NetworkMacs()
        self._add(t, [copy_layer(f"{name} (copy)", view, t)])
        self._sources = tuple(source for source in reader if source not in self._passes[-1][0].sources)
        self._asked = asked
        return name
