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
    check_layout(array.dtype, array.shape, want, where, raw=raw, stored=stored)
    if raw:
        return array
    refuse_bad(bad_values(array), array.size, where)
    return array.astype(np.float32, copy=False)


def check_layout(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    want: tuple[int, int, int],
    where: str,
    *,
    raw: bool = False,
    stored: bool = False,
) -> None:
    """See that an array of this type and shape holds images, before it is read. Arguments: `checked_images`.

    Raises:
        InputError: wrong type or shape, or no image.
    """
    kind = np.dtype(np.int8 if raw else np.float32)
    if dtype != kind and not (stored and not raw and dtype == np.uint8):
        remedy = f"convert it with x.astype(numpy.{kind})"
        if raw:
            remedy = "leave out --raw for real values; with it, give the network's int8 codes"
        elif dtype == np.int8:
            remedy += ", or add --raw if these are int8 codes"
        raise InputError(f"the input is {dtype}, not {kind}", where=where, remedy=remedy)
    if len(shape) != 4 or shape[1:] != want:
        raise InputError(
            f"the input has shape {list(shape)}, the network wants [N, {want[0]}, {want[1]}, {want[2]}]",
            where=where,
            remedy="give images in NCHW order, one array for all of them",
        )
    if not shape[0]:
        raise InputError("the input holds no image", where=where, remedy="give at least one image")


def bad_values(images: NDArray[Any]) -> int:
    """Values that are NaN or infinite."""
    return 0 if images.dtype.kind in "iu" else int(images.size - np.count_nonzero(np.isfinite(images)))


def refuse_bad(bad: int, size: int, where: str) -> None:
    """Refuse ``bad`` values out of ``size``, if there are any.

    Raises:
        InputError: there are.
    """
    if bad:
        raise InputError(
            f"{bad} of {size} input values are NaN or infinite", where=where, remedy="repair the images first"
        )
