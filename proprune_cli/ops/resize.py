"""Resize and Upsample, nearest and linear, and Expand of single pixels; int8 reference of nearest upsampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Identity, Node, Pad
from proprune_cli.ir.nodes import MaxPool, Upsample
from proprune_cli.ir.window import Pair, Window
from proprune_cli.ops.bilinear import Line, line, resized
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.windows import LARGEST, LARGEST_STEP, factors, image_input

I64 = NDArray[np.int64]


def known_mode(view: NodeView) -> str | None:
    """The mode is nearest or linear, without antialiasing.

    Remedy: resize with mode='nearest' or mode='bilinear'
    """
    mode = _mode(view)
    if mode not in ("nearest", "linear"):
        return f"mode {mode}"
    if view.int_of("antialias", 0):
        return "antialias=1"
    policy = view.string_of("keep_aspect_ratio_policy", "stretch")
    return None if policy == "stretch" else f"keep_aspect_ratio_policy {policy}"


def known_sizes(view: NodeView) -> str | None:
    """Scales or sizes are constants, and change height and width alone."""
    scales = scales_of(view)
    if scales is None:
        return "the scales or sizes are computed at run time, or do not fit the input"
    if not all(0 < scale <= LARGEST for scale in scales):
        return f"scales {[f'{scale:g}' for scale in scales]}"
    return None if scales[0] == scales[1] == 1 else f"scales {[f'{scale:g}' for scale in scales]}"


def whole_factors(view: NodeView) -> str | None:
    """It grows or shrinks by whole factors: pixels are repeated or skipped (nearest), or mixed by one kernel (linear).

    Remedy: choose sizes that are whole multiples of the input's, and align_corners=False
    """
    scales = scales_of(view)
    assert scales is not None
    if _one_pixel(view):
        lengths = [_length(1, scale) for scale in scales[2:]]
        return None if all(_reachable(n, 1) for n in lengths if n) else f"a pixel to {lengths[0]}x{lengths[1]}"
    for axis in (0, 1):
        size, scale = view.shape()[axis + 1], scales[axis + 2]
        if _mode(view) == "linear":
            if _line(view, size, scale) is None:
                return f"{size} pixels by {scale:g} ({_transformation(view)}, linear)"
            grows = {scale > 1 for scale in scales[2:] if scale != 1}
            if len(grows) > 1:
                return f"scales {scales[2]:g} and {scales[3]:g}: one grows and the other shrinks"
        elif _walk(view, size, scale) is None:
            rounding = view.string_of("nearest_mode", "floor" if view.opset < 11 else "round_prefer_floor")
            return f"{size} pixels by {scale:g} ({_transformation(view)}, {rounding})"
    return None


def _one_pixel(view: NodeView) -> bool:
    """A single pixel is repeated, whatever the mode."""
    scales = scales_of(view)
    return scales is not None and view.shape()[1:] == (1, 1) and min(scales[2:]) >= 1


def same_or_one(view: NodeView) -> str | None:
    """The target shape is a constant that repeats single pixels over height and width, and changes nothing else."""
    target = view.constant(1)
    if target is None:
        return "the shape is computed at run time"
    full = [view.batch, *view.shape()]
    dims = [1] * (4 - target.size) + [int(n) for n in target.reshape(-1)]
    fits = len(dims) == 4 and all(n in (1, size) for n, size in zip(dims[:2], full[:2], strict=True))
    fits = fits and all(n in (1, size) or size == 1 for n, size in zip(dims[2:], full[2:], strict=True))
    grown = [n for n, size in zip(dims[2:], full[2:], strict=False) if size == 1]
    fits = fits and min(dims) > 0 and all(_reachable(n, 1) for n in grown)
    return None if fits else f"{full} to {dims}"


def scales_of(view: NodeView) -> tuple[float, ...] | None:
    """Four scales of a Resize or Upsample; None where they are not constants.

    Upsample and opset 10: input 1; from 11 on input 2, or sizes in input 3, for ``axes`` from 18.
    """
    at = 1 if view.op == "Upsample" or view.opset < 11 else 2
    scales, sizes = view.constant(at), view.constant(3) if at == 2 else None
    full = (view.batch, *view.shape())
    axes = tuple(axis % 4 for axis in view.ints_of("axes") or (0, 1, 2, 3))
    if sizes is not None and sizes.size:
        if sizes.size != len(axes):
            return None
        # The whole batch is kept, whatever number an exporter wrote for it.
        given = [1.0 if a == 0 else int(n) / full[a] for a, n in zip(axes, sizes.reshape(-1), strict=True)]
    elif scales is not None and scales.size == len(axes):
        given = [float(s) for s in scales.reshape(-1)]
    else:
        return None
    found = [1.0] * 4
    for axis, scale in zip(axes, given, strict=True):
        found[axis] = scale
    return found[0], found[1], found[2], found[3]


def _mode(view: NodeView) -> str:
    return view.string_of("mode", "nearest")


def _transformation(view: NodeView) -> str:
    old = view.opset < 11 or view.op == "Upsample"
    return view.string_of("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")


def _length(size: int, scale: float) -> int:
    return int(np.floor(size * scale + 1e-6))


def _line(view: NodeView, size: int, scale: float) -> Line | None:
    length = _length(size, scale)
    return line(size, length, scale, _transformation(view)) if length else None


def _sources(view: NodeView, size: int, scale: float) -> I64 | None:
    """Which pixel each output pixel takes, by the formulas of the ONNX operator; None for an unknown mode."""
    length = _length(size, scale)
    at = np.arange(length, dtype=np.float32)
    modes = {
        "half_pixel": (at + np.float32(0.5)) / np.float32(scale) - np.float32(0.5),
        "asymmetric": at / np.float32(scale),
        "align_corners": at * np.float32((size - 1) / max(length - 1, 1)),
        "tf_half_pixel_for_nn": (at + np.float32(0.5)) / np.float32(scale),
    }
    modes["pytorch_half_pixel"] = modes["half_pixel"] if length > 1 else np.zeros_like(at)
    modes["half_pixel_symmetric"] = modes["half_pixel"]
    old = view.opset < 11 or view.op == "Upsample"
    place = modes.get(_transformation(view))
    rounded = {
        "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
        "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
        "floor": np.floor,
        "ceil": np.ceil,
    }.get(view.string_of("nearest_mode", "floor" if old else "round_prefer_floor"))
    if place is None or rounded is None or length < 1:
        return None
    return np.clip(rounded(place), 0, size - 1).astype(np.int64)


def _reachable(factor: int, size: int) -> int | None:
    """The factor by which ``size`` pixels grow before they are cut to ``factor`` times as many: a single one may grow
    by more than is wanted. None where the engine cannot step so far.
    """
    tried = range(factor, LARGEST_STEP**2 + 1) if size == 1 else (factor,)
    return next((n for n in tried if factors(n) is not None), None)


def _repeated(name: str, x: str, y: str, size: Pair, wanted: Pair) -> list[Node]:
    """Every one of ``size`` pixels ``wanted`` times."""
    found = [_reachable(factor, n) for factor, n in zip(wanted, size, strict=True)]
    assert found[0] is not None and found[1] is not None
    scale = (found[0], found[1])
    if scale == wanted:
        return [Upsample(name, x, y, scale)]
    cut = (0, 0, (wanted[0] - scale[0]) * size[0], (wanted[1] - scale[1]) * size[1])
    return [Upsample(f"{name}.larger", x, f"{y}.larger", scale), Pad(name, f"{y}.larger", y, cut)]


def _walk(view: NodeView, size: int, scale: float) -> tuple[int, int, int, int] | None:
    """(factor, 0, 0, 1) for repetition, (1, first, past the last, step) for every step-th pixel, else None."""
    sources = _sources(view, size, scale)
    if sources is None:
        return None
    factor = len(sources) // size
    if factor and len(sources) == factor * size and (sources == np.arange(len(sources)) // factor).all():
        return (factor, 0, size, 1) if _reachable(factor, size) is not None else None
    step = int(sources[1] - sources[0]) if len(sources) > 1 else 1
    if step > 0 and len(sources) < size and (sources == sources[0] + step * np.arange(len(sources))).all():
        return 1, int(sources[0]), int(sources[-1]) + 1, step
    return None


def _resize(view: NodeView) -> list[Node]:
    scales, shape = scales_of(view), view.shape()
    assert scales is not None
    lengths = (_length(shape[1], scales[2]), _length(shape[2], scales[3]))
    if _mode(view) == "linear" and _one_pixel(view):
        return _repeated(view.name, view.x(), view.y, (1, 1), lengths)
    if _mode(view) == "linear":
        rows, columns = (_line(view, shape[i + 1], scales[i + 2]) for i in (0, 1))
        assert rows is not None and columns is not None
        return resized(view.name, view.x(), view.y, shape[0], rows, columns)
    walks = [_walk(view, shape[i + 1], scales[i + 2]) for i in (0, 1)]
    assert walks[0] is not None and walks[1] is not None
    (up_y, top, bottom, step_y), (up_x, left, right, step_x) = walks[0], walks[1]
    steps: list[Node] = []
    name, x = view.name, view.x()

    def then(make: type[Pad] | type[MaxPool], suffix: str, *arguments: object) -> None:
        before = steps[-1].y if steps else x
        steps.append(make(f"{name}.{suffix}", before, f"{view.y}.{suffix}", *arguments))  # pyright: ignore[reportArgumentType]

    cut = (-top, -left, bottom - shape[1], right - shape[2])
    if any(cut):
        then(Pad, "crop", cut)
    if (step_y, step_x) != (1, 1):
        then(MaxPool, "take", Window((1, 1), (step_y, step_x)))
    if (up_y, up_x) != (1, 1):
        before, size = steps[-1].y if steps else x, (bottom - top, right - left)
        steps += _repeated(f"{name}.repeat", before, f"{view.y}.repeat", size, (up_y, up_x))
    return [*steps, Identity(name, steps[-1].y if steps else x, view.y)]


def _expand(view: NodeView) -> list[Node]:
    target = view.constant(1)
    assert target is not None
    dims = [1] * (4 - target.size) + [int(n) for n in target.reshape(-1)]
    scale = [max(n, size) // size for n, size in zip(dims[2:], view.shape()[1:], strict=True)]
    if scale == [1, 1]:
        return [Identity(view.name, view.x(), view.y)]
    _, height, width = view.shape()
    return _repeated(view.name, view.x(), view.y, (height, width), (scale[0], scale[1]))


REPEATED = "shorter tap lists of the convolution after it, else a larger tensor"
MIXED = "; linear: border pixels repeated, then a depthwise transposed convolution (shrinking: means of two pixels)"
RESIZE = Operator("Resize", REPEATED + MIXED, _resize, (image_input, known_mode, known_sizes, whole_factors))
UPSAMPLE = Operator("Upsample", REPEATED + MIXED, _resize, (image_input, known_mode, known_sizes, whole_factors))
EXPAND = Operator("Expand", REPEATED, _expand, (image_input, same_or_one))


def upsample_reference(layer: Upsample, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Every code of [C, H, W] repeated over rows and columns."""
    return x.repeat(layer.scale[0], axis=1).repeat(layer.scale[1], axis=2)
