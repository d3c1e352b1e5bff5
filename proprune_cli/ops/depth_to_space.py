"""DepthToSpace, which is PixelShuffle: channels become the pixels of blocks; moves numbers and computes none."""

from __future__ import annotations

import numpy as np

from proprune_cli.ir.graph import ConvTranspose, Node
from proprune_cli.ir.window import Window
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.windows import image_input

LARGEST = 4
"""Block size: a layer takes its square in passes."""


def block_fits(view: NodeView) -> str | None:
    """The block size is from 1 to 4, its square divides the channels, and the mode is DCR or CRD."""
    block, channels, mode = view.int_of("blocksize", 0), view.shape()[0], _mode(view)
    fits = 1 <= block <= LARGEST and channels % block**2 == 0 and mode in ("DCR", "CRD")
    return None if fits else f"blocksize {block}, mode {mode}, {channels} channels"


def _mode(view: NodeView) -> str:
    return view.string_of("mode", "DCR")


def _build(view: NodeView) -> list[Node]:
    block, channels = view.int_of("blocksize", 1), view.shape()[0]
    filters = channels // block**2
    weight = np.zeros((channels, filters, block, block), np.float32)
    filter_, row, column = np.indices((filters, block, block))
    source = (row * block + column) * filters + filter_
    if _mode(view) == "CRD":
        source = (filter_ * block + row) * block + column
    weight[source, filter_, row, column] = 1.0
    bias = np.zeros(filters, np.float32)
    return [
        ConvTranspose(
            view.name, view.x(), view.y, weight, bias, Window.over(weight.shape[2:], (block, block)), keeps_scale=True
        )
    ]


DEPTH_TO_SPACE = Operator(
    "DepthToSpace",
    "a transposed convolution that copies: one pass per pixel of a block",
    _build,
    (image_input, block_fits),
)
