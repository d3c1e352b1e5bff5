"""Which pass reads what which others made, guessed from shapes, and which tensors then lie on chip.

Rows of a data set say of each pass what it is, not where its operands come from. Its input is taken to be the latest
tensor of its shape, or what an earlier pass of its kind read together with what came since, or the latest ones whose
channels add up to it; a residual operand the latest one of the output's shape. That is right of chains, of residual
and dense blocks, and of most concatenations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.compile.lower.allocate import Lifetime, gap_for

_BACK = 48
"""Passes back that are looked at."""


@dataclass(frozen=True)
class Operands:
    """Operands of the passes of one network, by numbers of passes.

    Attributes:
        inputs: makers of the input, latest first; none where it is the network's, or unknown.
        residual: maker of the residual operand, -1 where there is none or it is unknown.
    """

    inputs: tuple[tuple[int, ...], ...]
    residual: tuple[int, ...]


def operands(passes: Mapping[str, NDArray[Any]]) -> Operands:
    """Guess the operands of a network's passes (columns of `schema.LAYER`)."""
    step, channels = passes["step_w"].tolist(), passes["out_channels"].tolist()
    size = zip(passes["out_h"].tolist(), passes["out_w"].tolist(), step, channels, strict=True)
    made = [(h * s, w * s, c) for h, w, s, c in size]
    wanted = list(zip(passes["in_h"].tolist(), passes["in_w"].tolist(), passes["in_channels"].tolist(), strict=True))
    has_residual = passes["residual"].tolist()
    broadcast = passes["broadcast"].tolist()
    inputs: list[tuple[int, ...]] = []
    residual: list[int] = []
    latest: dict[tuple[int, int, int], int] = {}
    kinds = list(zip(passes["kind"].tolist(), passes["kernel_h"].tolist(), passes["kernel_w"].tolist(), strict=True))
    readers: dict[tuple[object, ...], int] = {}
    read: set[int] = set()
    for number, shape in enumerate(wanted):
        found = latest.get(shape)
        if found is not None:
            inputs.append((found,))
        else:
            # Where every layer reads all before it, it reads what the one of its kind did, and what came since.
            newest = made[number - 1] if number else (0, 0, 0)
            before = readers.get((*shape[:2], shape[2] - newest[2], kinds[number]), -1)
            unread = [p for p in range(number - 1, max(number - _BACK, -1), -1) if p not in read]
            fresh = _together(made, shape, unread)
            if sum(made[p][2] for p in fresh) == shape[2]:
                inputs.append(fresh)
            elif before >= 0 and newest[:2] == shape[:2]:
                inputs.append((number - 1, *inputs[before]))
            else:
                inputs.append(_of_batch(made, shape, number))
        read.update(inputs[-1])
        readers[(*shape, kinds[number])] = number
        other = -1
        if has_residual[number]:
            h, w, c = made[number]
            key = (1, 1, c) if broadcast[number] else (h, w, c)
            other = latest.get(key, -1)
            if other >= 0 and inputs[-1] == (other,):
                other = next((p for p in range(other - 1, max(other - _BACK, -1), -1) if made[p] == key), -1)
        residual.append(other)
        latest[made[number]] = number
    return Operands(tuple(inputs), tuple(residual))


def _of_batch(made: list[tuple[int, int, int]], shape: tuple[int, int, int], number: int) -> tuple[int, ...]:
    """The latest tensors that make an input of ``shape`` together, or those of the images of a batch, below one
    another."""
    last = made[number - 1] if number else (0, 0, 0)
    found = _together(made, shape, range(number - 1, max(number - _BACK, -1), -1))
    whole = sum(made[p][2] for p in found) == shape[2]
    if not whole and last[1] == shape[1] and last[2] == shape[2] and last[0] and shape[0] % last[0] == 0:
        return (number - 1,)
    return found


def _together(made: list[tuple[int, int, int]], shape: tuple[int, int, int], among: Iterable[int]) -> tuple[int, ...]:
    """Tensors of the size of ``shape``, in the order of ``among``, as many as have room in its channels."""
    height, width, rest = shape
    found: list[int] = []
    for before in among:
        h, w, c = made[before]
        if (h, w) == (height, width) and c <= rest:
            found.append(before)
            rest -= c
            if not rest:
                break
    return tuple(found)


def same_tensor(passes: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Number of the first pass that writes to the tensor of each pass, int64 [passes].

    Passes that fill every other column of their planes come one after the other until the planes are full.
    """
    step = passes["step_w"]
    like = np.zeros(len(step), dtype=np.bool_)
    like[1:] = (step[1:] > 1) & (step[1:] == step[:-1])
    for name in ("out_channels", "in_channels", "in_h", "in_w", "twin"):
        like[1:] &= passes[name][1:] == passes[name][:-1]
    first = np.arange(len(step))
    phase = 0
    for number in np.flatnonzero(step > 1).tolist():
        phase = phase + 1 if like[number] and phase + 1 < step[number] ** 2 else 0
        first[number] = number - phase
    return first


def on_chip(
    passes: Mapping[str, NDArray[Any]], found: Operands, stored: NDArray[Any], loaded: NDArray[Any], array: Array
) -> NDArray[np.bool_]:
    """Which passes' tensors would be put on chip, bool [passes], by the rule of `proprune_cli.compile.lower.on_chip`.

    Args:
        stored, loaded: words that each pass stores, and cells that it loads, [passes].
    """
    count = len(stored)
    groups = -(-passes["out_channels"] // isa.GROUP)
    words = (groups * passes["out_h"] * passes["out_w"] * passes["step_w"] ** 2).tolist()
    tensor = same_tensor(passes)
    channels, of = passes["out_channels"].tolist(), tensor.tolist()
    saved = np.bincount(tensor, weights=stored, minlength=count).tolist()
    last = [-1] * count
    barred = [False] * count
    for number, makers in enumerate(found.inputs):
        total = sum(channels[m] for m in makers)
        for maker in makers:
            last[of[maker]] = number
            saved[of[maker]] += float(loaded[number]) * channels[maker] / total
    for maker in found.residual:
        if maker >= 0:
            barred[of[maker]] = True
    stops = np.flatnonzero(passes["host_before"]).tolist()
    room = array.scratch_words
    candidates = [n for n in range(count) if last[n] > n and not barred[n] and words[n] <= room]
    if stops:
        candidates = [n for n in candidates if not any(n < stop <= last[n] for stop in stops)]
    placed: list[tuple[int, Lifetime]] = []
    chosen = np.zeros(count, dtype=np.bool_)
    for n in sorted(candidates, key=lambda n: -saved[n] / (words[n] * (last[n] - n + 1))):
        one = Lifetime(str(n), words[n], n, last[n])
        live = [p for p in placed if p[1].first <= last[n] and n <= p[1].last]
        address = gap_for(one, live) if live else 0
        if address + one.words <= room:
            placed.append((address, one))
            chosen[n] = True
    return chosen[tensor]
