"""Copies of a user's module, also where ``copy.deepcopy`` alone gives none, or one that still works on the original."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from proprune_cli.errors import UnsupportedError
from proprune_cli.modules.failures import first_line


def copied(model: nn.Module, instead: Mapping[int, torch.Tensor] | None = None) -> nn.Module:
    """A copy of ``model`` that shares no parameter with it.

    Tensors that a training step left in attributes are copied without their history, what cannot be copied (a lock, an
    open file) is shared, and functions in attributes and hooks that hold a module of ``model`` hold its copy.

    Args:
        instead: the ``id`` of a tensor of ``model`` → what the copy has in its place.

    Raises:
        UnsupportedError: a class of ``model`` refuses to be copied.
    """
    memo: dict[int, Any] = dict(instead or {})
    modules = {id(part) for part in model.modules()}
    cells: list[types.CellType] = []
    for value in _attributes(model):
        if isinstance(value, torch.Tensor) and not value.is_leaf and id(value) not in memo:
            memo[id(value)] = value.detach().clone()
        elif isinstance(value, types.FunctionType) and _holds(value, modules):
            memo[id(value)] = made = _rebound(value)
            cells += made.__closure__ or ()
    first = dict(memo)
    try:
        made, memo = copy.deepcopy(model, first), first
    except Exception:  # noqa: BLE001  # modules raise what they like; what is wrong shows once more below
        made = _sharing(model, memo)
    for cell in cells:
        held = _content(cell)
        owner = held.__self__ if isinstance(held, types.MethodType) else held
        if id(owner) in modules and id(owner) in memo:
            new = memo[id(owner)]
            cell.cell_contents = types.MethodType(held.__func__, new) if isinstance(held, types.MethodType) else new
    return made


def _sharing(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A copy that shares the attributes which cannot be copied."""
    for value in _attributes(model):
        if isinstance(value, (nn.Module, torch.Tensor, types.MethodType, list, tuple, dict)) or id(value) in memo:
            continue
        try:
            copy.deepcopy(value)
        except Exception:  # noqa: BLE001  # whatever it raises, there is no copy
            memo[id(value)] = value
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UnsupportedError(
            f"the network cannot be copied: {first_line(error)}",
            where=type(model).__name__,
            remedy="pruning gives a copy and leaves the module as it is; let copy.deepcopy(model) work, or build the "
            "module without what stands in the way",
        ) from error


def _attributes(model: nn.Module) -> Iterator[object]:
    """What the attributes of every module hold, also inside lists, tuples and dictionaries."""
    seen: set[int] = set()
    waiting: list[Any] = [vars(part) for part in model.modules()]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            waiting += value.values()  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, (list, tuple)):
            waiting += value  # pyright: ignore[reportUnknownArgumentType]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not filled yet


def _holds(function: types.FunctionType, modules: set[int]) -> bool:
    held = [_content(cell) for cell in function.__closure__ or ()]
    return any(id(getattr(h, "__self__", None) if isinstance(h, types.MethodType) else h) in modules for h in held)


def _rebound(function: types.FunctionType) -> types.FunctionType:
    """The same function with variables of its own."""
    cells = tuple(types.CellType(_content(cell)) for cell in function.__closure__ or ())
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(vars(function))
    made.__qualname__ = function.__qualname__
    return made


def without_zeros(model: nn.Module) -> nn.Module:
    """A copy with no weight of zero, which would cost nothing: norms often begin with a scale of 0."""
    model = copied(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.masked_fill_(parameter == 0, 1e-2)
    return model
