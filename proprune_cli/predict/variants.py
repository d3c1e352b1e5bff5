"""Variants of a quantised network: other widths, other image sizes, weights of zero, weights of one bit.

What a pruning method does to a trained network is done here to the integers of one that never was: cycles depend on
which weights are there and not on what they are. A variant is a network like any other, and the compiler does not know
where it comes from.

Channels are cut tensor by tensor. Tensors between which every operator keeps channels apart form a *stream*; each
convolution that feeds a stream has filters for some of its channels: all the same ones (coupled), or its own (free, as
in `proprune_cli.channels.spread`: the others get weights of zero). A stream keeps what any of them makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.nodes import Concat, Host, MaxPool, Select, ShapeError, Upsample
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer, QPad, QTensor
from proprune_cli.ir.window import Window
from proprune_cli.work.macs import NetworkMacs

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Filters = Mapping[str, Bools]
"""Convolution → which of its filters stay, bool [out channels]; those that are not named keep all."""


@dataclass(frozen=True)
class Streams:
    """Which tensors of a network have the same channels.

    Attributes:
        of: tensor → its stream. makers: stream → convolutions that make its channels, none of which must stay as it is.
        channels: of each stream.
    """

    of: dict[str, str]
    makers: dict[str, tuple[str, ...]]
    channels: dict[str, int]


def streams(graph: QGraph) -> Streams:
    """The streams of ``graph``, those with channels that may go among the ``makers``."""
    parent = {name: name for name in graph.tensors}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for layer in graph.layers:
        for name in layer.inputs if _keeps_apart(layer) else ():
            parent[root(name)] = root(layer.y)
    of = {name: root(name) for name in graph.tensors}
    makers: dict[str, list[str]] = {}
    pinned = {of[graph.input], *(of[output.tensor] for output in graph.outputs)}
    gathered: dict[str, list[str]] = {}
    for layer in graph.layers:
        if _keeps_apart(layer):
            continue
        if isinstance(layer, QConv | QConvTranspose) and layer.groups == 1:
            makers.setdefault(of[layer.y], []).append(layer.name)
        elif isinstance(layer, Select) or (isinstance(layer, Concat) and layer.axis == 1):
            gathered.setdefault(of[layer.y], []).extend(of[x] for x in layer.inputs)
            if len(gathered[of[layer.y]]) > len(layer.inputs):
                pinned.add(of[layer.y])  # gathered twice, maybe in another order
        else:
            pinned.update(of[name] for name in (*layer.inputs, layer.y))
    # Channels that are gathered are those of other streams; where something else adds to them, all of them must stay.
    waiting = [stream for stream in gathered if stream in pinned or stream in makers]
    while waiting:
        stream = waiting.pop()
        pinned.add(stream)
        waiting += [source for source in gathered.get(stream, []) if source not in pinned]
        pinned.update(gathered.get(stream, []))
    channels = {stream: graph.tensors[stream].channels for stream in set(of.values())}
    return Streams(of, {s: tuple(m) for s, m in makers.items() if s not in pinned}, channels)


def _keeps_apart(layer: QLayer) -> bool:
    """Every channel of the output comes from the channels of that number of the inputs alone."""
    if isinstance(layer, QConv | QConvTranspose):
        return _depthwise(layer)
    return not isinstance(layer, Concat | Select | Host)


def _depthwise(layer: QConv | QConvTranspose) -> bool:
    return layer.groups > 1 and layer.groups == len(layer.weight) and layer.weight.shape[1] == 1


def narrowed(graph: QGraph, filters: Filters) -> QGraph:
    """``graph`` with the filters that stay, and the channels that any of them makes.

    Args:
        filters: of convolutions that are `Streams.makers` alone.

    Raises:
        ShapeError: an operator takes channels none of which is left.
    """
    found = streams(graph)
    kept: dict[str, Ints] = {}
    for stream, makers in found.makers.items():
        made = np.zeros(found.channels[stream], dtype=np.bool_)
        for name in makers:
            made |= filters.get(name, np.ones_like(made))
        if not made.any():
            made[0] = True
        kept[stream] = np.flatnonzero(made)
    at: dict[str, Ints] = {graph.input: np.arange(graph.tensors[graph.input].channels)}
    layers: list[QLayer] = []
    for layer in graph.layers:
        stream = found.of[layer.y]
        if isinstance(layer, Concat) and layer.axis == 1:
            starts = np.cumsum([0, *(graph.tensors[x].channels for x in layer.xs)])
            at[layer.y] = np.concatenate([start + at[x] for start, x in zip(starts, layer.xs, strict=False)])
        elif isinstance(layer, Select):
            place = np.full(graph.tensors[layer.x].channels, -1)
            place[at[layer.x]] = np.arange(len(at[layer.x]))
            at[layer.y] = np.flatnonzero(place[layer.channels] >= 0)
            layer = replace(layer, channels=place[layer.channels][at[layer.y]])
        elif isinstance(layer, QConv | QConvTranspose) and not _depthwise(layer):
            at[layer.y] = kept.get(stream, np.arange(graph.tensors[layer.y].channels))
            layer = _cut(layer, at[layer.x], at[layer.y], filters.get(layer.name))
        else:
            at[layer.y] = np.arange(graph.tensors[layer.y].channels) if isinstance(layer, Host) else at[layer.inputs[0]]
            if isinstance(layer, QConv | QConvTranspose):
                rows = at[layer.y]
                layer = replace(
                    layer, weight=layer.weight[rows], bias=layer.bias[rows], multiplier=layer.multiplier[rows],
                    groups=len(rows),
                )  # fmt: skip
        if not len(at[layer.y]):
            raise ShapeError(f"no channel of {layer.y} is left")
        layers.append(layer)
    tensors = {name: replace(t, channels=len(at[name])) for name, t in graph.tensors.items() if name in at}
    return replace(graph, layers=tuple(layers), tensors=tensors, sources={})


def _cut(layer: QConv | QConvTranspose, inputs: Ints, outputs: Ints, filters: Bools | None) -> QConv | QConvTranspose:
    if layer.groups > 1:
        return layer
    out_axis = 1 if isinstance(layer, QConvTranspose) else 0
    weight = layer.weight.take(outputs, out_axis).take(inputs, 1 - out_axis)
    if filters is not None and not filters[outputs].all():
        missing = ~filters[outputs]
        weight[(slice(None),) * out_axis + (missing,)] = 0
    return replace(layer, weight=weight, bias=layer.bias[outputs], multiplier=layer.multiplier[outputs])


def resized(graph: QGraph, size: tuple[int, int]) -> QGraph:
    """``graph`` for images of another size, rows × columns.

    A window over all of an image (a global pooling, a layer over flattened pixels) covers all of the new one.

    Raises:
        ShapeError: an operator does not take the size.
    """
    shapes: dict[str, tuple[int, int, int]] = {graph.input: (graph.tensors[graph.input].channels, *size)}
    layers: list[QLayer] = []
    for layer in graph.layers:
        before = [graph.tensors[name] for name in layer.inputs]
        now = [shapes[name] for name in layer.inputs]
        channels = graph.tensors[layer.y].channels
        if isinstance(layer, QConv):
            layer = _over_all(layer, before[0], now[0])
            shapes[layer.y] = (channels, *_window(layer.window.shape(now[0][1:])))
        elif isinstance(layer, QConvTranspose):
            y = graph.tensors[layer.y]
            bare = layer.window.transposed_shape((before[0].height, before[0].width))
            extra = (y.height - bare[0], y.width - bare[1])
            shapes[layer.y] = (channels, *_window(layer.window.transposed_shape(now[0][1:], extra)))
        elif isinstance(layer, QPad):
            top, left, bottom, right = layer.pads
            shapes[layer.y] = (channels, *_window((now[0][1] + top + bottom, now[0][2] + left + right)))
        elif isinstance(layer, Host):
            raise ShapeError("steps of the host are for one size")
        elif isinstance(layer, MaxPool | Upsample | Concat | Select):
            if isinstance(layer, MaxPool):
                layer = replace(layer, window=_global(layer.window, before[0], now[0]))
            shapes[layer.y] = _three(layer.infer(now))
        else:
            shapes[layer.y] = now[0]
            if len(now) == 2 and now[0] != now[1] and now[1][1:] != (1, 1):
                raise ShapeError("operands of different sizes")
        layers.append(layer)
    tensors = {name: replace(t, height=shapes[name][1], width=shapes[name][2]) for name, t in graph.tensors.items()}
    outputs = tuple(replace(o, shape=shapes[o.tensor]) if shapes[o.tensor][1:] != (1, 1) else o for o in graph.outputs)
    return replace(graph, layers=tuple(layers), tensors=tensors, outputs=outputs, sources={})


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = shape
    _window((height, width))
    return channels, height, width


def _window(size: tuple[int, int]) -> tuple[int, int]:
    if min(size) < 1:
        raise ShapeError(f"nothing of the image is left, {size[0]}x{size[1]}")
    return size


def _global(window: Window, before: QTensor, now: tuple[int, int, int]) -> Window:
    over_all = window.kernel == (before.height, before.width) and not any(window.pads)
    return replace(window, kernel=now[1:], stride=(1, 1)) if over_all else window


def _over_all(layer: QConv, before: QTensor, now: tuple[int, int, int]) -> QConv:
    """A window over all of an image, over all of another; its weights are repeated."""
    window = _global(layer.window, before, now)
    if window.kernel == layer.window.kernel or (before.height, before.width) == (1, 1):
        return layer
    rows, columns = (np.arange(now[1 + axis]) % layer.window.kernel[axis] for axis in range(2))
    return replace(layer, window=window, weight=layer.weight[:, :, rows][:, :, :, columns])


# Weights of zero, and of one bit.

Change = Callable[[QConv], NDArray[np.int8]]
"""New weights of a convolution, int8 [out, in / groups, rows, columns]."""


def reweighted(graph: QGraph, change: Change, layers: Sequence[str]) -> QGraph:
    """``graph`` with the weights of some convolutions changed."""
    names = set(layers)
    return replace(
        graph,
        layers=tuple(
            replace(layer, weight=change(layer)) if isinstance(layer, QConv) and layer.name in names else layer
            for layer in graph.layers
        ),
    )


def spatial(graph: QGraph) -> list[str]:
    """Convolutions with kernels larger than 1×1 that mix channels, but for the first layer and windows over all of an
    image."""
    return [
        layer.name
        for layer in graph.layers
        if isinstance(layer, QConv)
        and layer.groups == 1
        and layer.window.positions > 1
        and layer.x != graph.input
        and (graph.tensors[layer.x].height, graph.tensors[layer.x].width) != layer.window.kernel
    ]


def guided(layer: QConv) -> NDArray[np.int8]:
    """One position of every kernel, which the input channel's number decides (Boukli Hacene et al. 2018, Eq. 1)."""
    rows, columns = layer.window.kernel
    position = np.arange(layer.weight.shape[1]) % (rows * columns)
    mask = np.arange(rows * columns).reshape(columns, rows).T[None] == position[:, None, None]
    return _nonzero(layer.weight) * mask[None]


def one_bit(layer: QConv) -> NDArray[np.int8]:
    """The signs of the weights that are not zero."""
    return np.sign(layer.weight).astype(np.int8)


def without_taps(outputs: int, lanes: int, share: float, rng: np.random.Generator) -> Change:
    """Some taps missing: each is a kernel position of ``lanes`` input channels for ``outputs`` filters."""

    def change(layer: QConv) -> NDArray[np.int8]:
        outs, ins = layer.weight.shape[:2]
        shape = (-(-outs // outputs), -(-ins // lanes), *layer.window.kernel)
        mask = rng.random(shape) < share
        mask.reshape(-1)[rng.integers(mask.size)] = True
        whole = mask.repeat(outputs, 0)[:outs].repeat(lanes, 1)[:, :ins]
        return _nonzero(layer.weight) * whole

    return change


def without_positions(share: float, rng: np.random.Generator) -> Change:
    """A share of the kernel's positions, at least one, for all channels alike."""

    def change(layer: QConv) -> NDArray[np.int8]:
        mask = np.zeros(layer.window.positions, dtype=np.int8)
        mask[rng.permutation(layer.window.positions)[: max(1, round(share * layer.window.positions))]] = 1
        return _nonzero(layer.weight) * mask.reshape(layer.window.kernel)

    return change


def _nonzero(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """The weights, with 1 for those that are zero by chance of rounding."""
    return np.where(weight == 0, np.int8(1), weight)


# What variants ask for.


def counted(graph: QGraph, base: QGraph) -> QGraph:
    """``graph``, a variant of ``base``, with its multiply-accumulates stated by operator as `proprune_cli.work.macs`
    defines them: pooling and norms have none."""
    sources = {}
    for layer in graph.layers:
        found = base.sources.get(layer.name, ())
        if isinstance(layer, QConv | QConvTranspose):
            at = graph.tensors[layer.x if isinstance(layer, QConvTranspose) else layer.y]
            macs = NetworkMacs.of_weight(layer.weight.size, int(np.count_nonzero(layer.weight)), at.height * at.width)
            found = tuple(
                replace(source, macs=macs.dense, nonzero_macs=macs.nonzero) if source.macs else source
                for source in found
            )
        sources[layer.name] = found
    return replace(graph, sources=sources)
