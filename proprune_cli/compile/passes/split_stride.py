"""Growing by more than the engine's output can step is done in two steps of which the second only moves pixels.

Handled: Upsample and ConvTranspose. A transposed convolution of stride s = a * b writes every s-th pixel in s passes.
As one of stride a it makes, for each of the b pixels that lie between two of its own, channels of their own (pixel
b * p + q of the result is pixel p of the channels of q, by the weights k with k mod b = q); a transposed convolution of
stride b copies them to their places. Both give the numbers that one gave: nothing is rounded in between. Far fewer
passes are needed, too: along each axis a + b instead of a * b. Left alone: what the engine can step, and factors that
are no product of two that it can.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import F32, ConvTranspose, Graph, Node
from proprune_cli.ir.nodes import Select, Upsample
from proprune_cli.ir.window import Pair, Window
from proprune_cli.ops.conv_transpose import by_filter
from proprune_cli.ops.windows import factors


def _run(graph: Graph) -> Graph:
    nodes: list[Node] = []
    for node in graph.nodes:
        steps = _steps(node)
        if isinstance(node, Upsample) and steps:
            middle = f"{node.y}.rough"
            nodes += [Upsample(f"{node.name}.rough", node.x, middle, steps[0]), replace(node, x=middle, scale=steps[1])]
        elif isinstance(node, ConvTranspose) and steps:
            nodes += _split(node, steps, graph.tensors[node.x][0], _size(graph, node.y))
        else:
            nodes.append(node)
    return with_nodes(graph, nodes)


def _steps(node: Node) -> tuple[Pair, Pair] | None:
    """The steps of the first and of the second part, (y, x) each; None where one part does, or two do not."""
    if not isinstance(node, Upsample | ConvTranspose):
        return None
    down, across = (factors(n) for n in (node.scale if isinstance(node, Upsample) else node.window.stride))
    if down is None or across is None or down[1] == across[1] == 1:
        return None
    return (down[0], across[0]), (down[1], across[1])


def _size(graph: Graph, name: str) -> Pair:
    _, height, width = graph.tensors[name]
    return height, width


def _split(node: ConvTranspose, steps: tuple[Pair, Pair], channels: int, size: Pair) -> list[Node]:
    """The two parts of ``node``, which makes ``size`` pixels of ``channels`` input channels."""
    rough, fine = steps
    filters, blocks = node.weight.shape[1] * node.groups, fine[0] * fine[1]
    depthwise = node.groups == channels == filters
    weight = _by_block(by_filter(node.weight, node.groups) if depthwise else _dense(node), node.window, fine)
    ends = [_ends(node, axis, weight.shape[2 + axis], rough[axis], fine[axis], size[axis]) for axis in (0, 1)]
    longer = [(0, more) for _, _, more in ends]
    weight = np.pad(weight, ((0, 0), (0, 0), *longer))
    window = Window.over(weight.shape[2:], rough, (ends[0][0], ends[1][0], ends[0][1], ends[1][1]))
    nodes: list[Node] = []
    x, groups = node.x, 1
    if depthwise:
        x, groups = f"{node.y}.repeated", blocks * channels
        every = np.tile(np.arange(channels, dtype=np.int64), blocks)
        nodes.append(Select(f"{node.name}.repeated", node.x, x, every))
    else:
        weight = np.ascontiguousarray(weight.swapaxes(0, 1))
    middle = f"{node.y}.blocks"
    bias = np.tile(node.bias, blocks)
    first = replace(node, x=x, weight=weight, bias=bias, window=window, extra=(0, 0), groups=groups)
    first = replace(first, name=f"{node.name}.blocks", y=middle)
    copies = np.zeros((blocks * filters, filters, *fine), np.float32)
    for number, (row, column) in enumerate(product(range(fine[0]), range(fine[1]))):
        copies[number * filters + np.arange(filters), np.arange(filters), row, column] = 1.0
    beyond = [-n % step for n, step in zip(size, fine, strict=True)]
    places = Window.over(fine, fine, (0, 0, beyond[0], beyond[1]))
    zero = np.zeros(filters, np.float32)
    return [*nodes, first, ConvTranspose(node.name, middle, node.y, copies, zero, places, keeps_scale=True)]


def _dense(node: ConvTranspose) -> F32:
    """The weights [out, in, kernel_h, kernel_w] as of one group."""
    weight = by_filter(node.weight, node.groups)
    filters, share = weight.shape[:2]
    full = np.zeros((filters, share * node.groups, *weight.shape[2:]), np.float32)
    for number in range(filters):
        group = number * node.groups // filters
        full[number, group * share : (group + 1) * share] = weight[number]
    return full


def _by_block(weight: F32, window: Window, fine: Pair) -> F32:
    """Weights [out, in, kernel_h, kernel_w] as [blocks * out, in, …], each block with every fine-th of them."""
    shift = [-window.pads[axis] % fine[axis] for axis in (0, 1)]
    length = [-(-(window.extent[axis] + shift[axis]) // fine[axis]) * fine[axis] for axis in (0, 1)]
    spread = np.zeros((*weight.shape[:2], *length), np.float32)
    rows, columns = (
        slice(shift[axis], shift[axis] + window.extent[axis], window.dilation[axis]) for axis in (0, 1)
    )  # fmt: skip
    spread[:, :, rows, columns] = weight
    places = product(range(fine[0]), range(fine[1]))
    return np.concatenate([spread[:, :, y :: fine[0], x :: fine[1]] for y, x in places])


def _ends(node: ConvTranspose, axis: int, kernel: int, rough: int, fine: int, size: int) -> tuple[int, int, int]:
    """Along an axis: pixels that the first part cuts off before and after, and zeros that lengthen its kernel."""
    height_or_width = node.window.transposed_shape((1, 1), node.extra)[axis]
    inputs = (size - height_or_width) // node.window.stride[axis] + 1
    before = -(-node.window.pads[axis] // fine)
    after = (inputs - 1) * rough + kernel - before - -(-size // fine)
    return before, max(after, 0), max(-after, 0)


SPLIT_STRIDE = Pass("split-stride", _run)
