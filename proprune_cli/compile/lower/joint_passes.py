"""Passes over the images of a batch together: which layers have them, and what they are.

The images lie below one another, h rows each, and h may be the vertical stride: a pass then makes one row of every
image. A layer whose windows stay inside their image needs one pass. Where windows reach into the padding above or
below, they would meet another image; so each output row of the images is a pass, with the kernel rows that meet no
padding in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proprune_cli.accel import isa
from proprune_cli.compile.lower.engine_layer import EngineLayer, Phase, Residual, View
from proprune_cli.ir.quantized import QTensor

MAX_STRIDE = isa.LayerDescriptor.layout()["stride_y"].bounds[1]
MAX_STEP = isa.LayerDescriptor.layout()["out_step_y"].bounds[1]


def joined(layer: EngineLayer, tensors: Mapping[str, QTensor], images: int, few: int) -> list[EngineLayer]:
    """The passes that make the pixels of all images; none where the layer has to run image by image.

    Args:
        tensors: those of one image.
        few: pixels of one image above which a layer gains nothing.
    """
    residual = layer.residual
    if (
        layer.size[0] * layer.size[1] > few
        or layer.phase is not None
        or not _is_whole(layer.view, tensors)
        or (residual is not None and (residual.broadcast or not _is_whole(residual.view, tensors)))
    ):
        return []
    return _one_pass(layer, images) or _pass_for_each_row(layer, images)


def _one_pass(layer: EngineLayer, images: int) -> list[EngineLayer]:
    """All rows of all images at a stride that goes on from one image to the next."""
    rows, count, window = layer.view.height, layer.size[0], layer.window
    stride = rows if count == 1 else window.stride[0]
    first = -window.pads[0]
    end = first + window.reach(count, 0)
    if count * stride != rows or first < 0 or end > rows or stride > MAX_STRIDE:
        return []
    return [
        replace(
            layer,
            view=_taller(layer.view, images),
            size=(count * images, layer.size[1]),
            window=replace(window, stride=(stride, window.stride[1])),
            residual=_operand(layer.residual, 0, images),
            asked=layer.asked.times(images),
        )
    ]


def _pass_for_each_row(layer: EngineLayer, images: int) -> list[EngineLayer]:
    """A pass for each output row, where together they read fewer weights than the images would one by one.

    For dense layers alone: the others read few, and gain less than the passes cost.
    """
    rows, (count, width), window = layer.view.height, layer.size, layer.window
    kernels = [_kernel_rows(layer, row) for row in range(count)]
    if (
        layer.kind != "dense"
        or any(first >= last for first, last in kernels)
        or sum(last - first for first, last in kernels) >= images * window.kernel[0]
        or layer.pad_value != 0
        or rows > MAX_STRIDE
        or count > MAX_STEP
    ):
        return []
    shares = layer.asked.times(images).dealt(count)
    weight = layer.weight
    assert weight is not None, "a dense layer has weights"
    return [
        replace(
            layer,
            name=f"{layer.name}[{row}]",
            view=_taller(layer.view, images),
            size=(images, width),
            window=replace(
                window,
                kernel=(last - first, window.kernel[1]),
                stride=(rows, window.stride[1]),
                pads=(
                    -(row * window.stride[0] - window.pads[0] + first * window.dilation[0]),
                    window.pads[1],
                    0,
                    window.pads[3],
                ),
            ),
            weight=weight[..., first * window.kernel[1] : last * window.kernel[1]],
            residual=_operand(layer.residual, row, images),
            phase=Phase((count * images, width), (row, 0), (count, 1)),
            asked=shares[row],
        )
        for row, (first, last) in enumerate(kernels)
    ]


def _kernel_rows(layer: EngineLayer, row: int) -> tuple[int, int]:
    """The kernel's rows [first, last) that read the image, not its padding, for an output row."""
    window = layer.window
    start = row * window.stride[0] - window.pads[0]
    inside = [k for k in range(window.kernel[0]) if 0 <= start + k * window.dilation[0] < layer.view.height]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _operand(residual: Residual | None, row: int, images: int) -> Residual | None:
    """The operand of the output stage from output row ``row`` on."""
    if residual is None:
        return None
    view = _taller(residual.view, images)
    return replace(residual, view=replace(view, top=row))


def _taller(view: View, images: int) -> View:
    return replace(view, height=view.height * images)


def _is_whole(view: View, tensors: Mapping[str, QTensor]) -> bool:
    """Whether the view is of whole planes, so that those of several images can follow one another."""
    return not view.windowed and all(tensors[name].height == view.height for name in view.storages)
