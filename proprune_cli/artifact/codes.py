"""Between real images and the int8 codes of a program's input and output tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.program import Plane, ProgramOutput, to_codes, to_real
from proprune_cli.errors import InputError


def quantise_images(images: NDArray[np.float32], plane: Plane) -> NDArray[np.int8]:
    """float32 [N, C, H, W] → int8 [N, C, H, W], in the scale of ``plane``. `Program.codes` preprocesses as well."""
    return to_codes(images, plane.exponent)


def dequantise_output(codes: NDArray[np.int8], output: ProgramOutput) -> NDArray[np.float32]:
    """int8 [N, C, H, W] → float32 [N, *output.shape]."""
    return to_real(codes, output.plane.exponent).reshape(len(codes), *output.shape)


def checked_images(
    array: NDArray[np.generic],
    want: tuple[int, int, int],
    where: str,
    *,
    raw: bool = False,
    stored: bool = False,
) -> NDArray[Any]:
    """Images of the shape ``want`` = (C, H, W), float32 [N, C, H, W], or int8 where ``raw``.

    Args:
        array: what the user gave; float32 [N, C, H, W], or int8 where ``raw``.
        stored: the network takes images as data sets store them, so that uint8 will do too.
        where: its file name, for messages.

    Raises:
        InputError: wrong type or shape, no image, NaN or infinity.
    """
    kind = np.dtype(np.int8 if raw else np.float32)
    if stored and not raw and array.dtype == np.uint8:
        array = array.astype(np.float32)
    if array.dtype != kind:
        remedy = f"convert it with x.astype(numpy.{kind})"
        if raw:
            remedy = "leave out --raw for real values; with it, give the network's int8 codes"
        elif array.dtype == np.int8:
            remedy += ", or add --raw if these are int8 codes"
        raise InputError(f"the input is {array.dtype}, not {kind}", where=where, remedy=remedy)
    if array.ndim != 4 or array.shape[1:] != want:
        raise InputError(
            f"the input has shape {list(array.shape)}, the network wants [N, {want[0]}, {want[1]}, {want[2]}]",
            where=where,
            remedy="give images in NCHW order, one array for all of them",
        )
    if not len(array):
        raise InputError("the input holds no image", where=where, remedy="give at least one image")
    if not raw and not np.isfinite(array.astype(np.float32)).all():
        bad = int((~np.isfinite(array.astype(np.float32))).sum())
        raise InputError(
            f"{bad} of {array.size} input values are NaN or infinite", where=where, remedy="repair the images first"
        )
    return array
