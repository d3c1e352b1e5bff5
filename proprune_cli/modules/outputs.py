"""A network's result: one tensor, or several in a tuple, a list, a dictionary or a dataclass that torch knows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.utils import _pytree as pytree


def tensors_of(result: object) -> list[torch.Tensor]:
    """Every tensor of a result, in the order in which torch flattens it, which is that of an exported file's outputs.

    Raises:
        TypeError: it holds no tensor, or something that is neither a tensor nor None.
    """
    leaves: list[object] = pytree.tree_leaves(result)
    found = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    foreign = [type(leaf).__name__ for leaf in leaves if leaf is not None and not isinstance(leaf, torch.Tensor)]
    if foreign or not found:
        raise TypeError(f"its output is {foreign[0] if foreign else type(result).__name__}, not tensors")
    return found


def difference(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Largest difference, relative to the largest magnitude of each expected tensor; infinite where shapes differ."""
    if [t.shape for t in found] != [t.shape for t in expected]:
        return math.inf
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if not b.numel():
            continue
        error = float((a.detach().double() - b.detach().double()).abs().max()) / (float(b.detach().abs().max()) or 1.0)
        worst = max(worst, math.inf if math.isnan(error) else error)
    return worst


def difference_by_image(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """`difference` of each image by itself, the largest; of all where the tensors are not one row for each image."""
    counts = {t.shape[0] if t.ndim else 0 for t in (*found, *expected)}
    if len(counts) != 1 or [t.shape for t in found] != [t.shape for t in expected]:
        return difference(found, expected)
    return max((difference([t[i] for t in found], [t[i] for t in expected]) for i in range(counts.pop())), default=0.0)


def shapes_of(tensors: Sequence[torch.Tensor]) -> str:
    """Their shapes, for messages: ``[2, 10], [2, 4]``."""
    return ", ".join(str(list(t.shape)) for t in tensors)


def names_of(result: object) -> list[str]:
    """A name for each of `tensors_of`: ``output`` for one tensor, else its place (``boxes``, ``output_0``)."""
    if isinstance(result, torch.Tensor):
        return ["output"]
    places, _ = pytree.tree_flatten_with_path(result)
    found = [_name(path) for path, leaf in places if isinstance(leaf, torch.Tensor)]
    return found if len(set(found)) == len(found) else [f"output_{i}" for i in range(len(found))]


def _name(path: tuple[object, ...]) -> str:
    parts = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", "")))) for key in path]
    text = "_".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)
    return text if text and not text[0].isdigit() else f"output_{text}"
