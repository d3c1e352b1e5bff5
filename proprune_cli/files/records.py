"""JSON values → frozen dataclasses, every field checked against its annotation: what a file holds is never guessed."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

T = TypeVar("T")

_NUMBERS_BELOW = 1e300
"""Beyond it sums and products become infinite, which is none either."""
_INTEGERS_BELOW = 1 << 63
"""Counts, addresses and sizes; beyond it numpy's integers end."""


def record_of(kind: type[T], value: object, name: str) -> T:
    """The dataclass ``kind`` of a JSON object that has its fields, those with a default or not, and no others.

    Args:
        name: of the value, for messages.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    raw = cast("dict[str, Any]", value)
    declared = {f.name: f for f in dataclasses.fields(cast("Any", kind))}
    optional = {n for n, f in declared.items() if f.default is not dataclasses.MISSING
                or f.default_factory is not dataclasses.MISSING}  # fmt: skip
    if missing := declared.keys() - raw.keys() - optional:
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    if unknown := raw.keys() - declared.keys():
        raise ValueError(f"{name} has the unknown {', '.join(sorted(unknown))[:200]}")
    hints = _hints(kind)
    return kind(**{field: value_of(hints[field], item, f"{name}.{field}") for field, item in raw.items()})


def value_of(annotation: Any, value: object, name: str) -> Any:
    """``value`` as ``annotation`` asks for it; lists become tuples where it says so.

    Raises:
        ValueError: it is something else.
    """
    if annotation is Any:
        return value
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise ValueError(f"{name} is none of {', '.join(map(str, arguments))}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, name)
    if origin is tuple:
        return _tuple(arguments, value, name)
    if origin is list:
        return list(_tuple((arguments[0], ...), value, name))
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{name} is no object")
        items = cast("dict[str, Any]", value).items()
        return {key: value_of(arguments[1], item, f"{name}.{key[:60]}") for key, item in items}
    if dataclasses.is_dataclass(annotation):
        return record_of(cast("type[Any]", annotation), value, name)
    return _scalar(annotation, value, name)


def _one_of(choices: tuple[Any, ...], value: object, name: str) -> Any:
    if value is None and type(None) in choices:
        return None
    faults: list[ValueError] = []
    for choice in choices:
        if choice is not type(None):
            try:
                return value_of(choice, value, name)
            except ValueError as error:
                faults.append(error)
    raise faults[0]


def _tuple(arguments: tuple[Any, ...], value: object, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")
    items = cast("list[object]", value)
    kinds = [arguments[0]] * len(items) if arguments[1:] == (...,) else list(arguments)
    if len(kinds) != len(items):
        raise ValueError(f"{name} has {len(items)} items, not {len(kinds)}")
    return tuple(value_of(kind, item, f"{name}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _scalar(annotation: Any, value: object, name: str) -> Any:
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) < _NUMBERS_BELOW:
            return float(value)
    elif annotation is int and type(value) is int:
        if abs(value) < _INTEGERS_BELOW:
            return value
    elif annotation in (str, bool, type(None)) and type(value) is annotation:
        return value
    raise ValueError(f"{name} is not of type {getattr(annotation, '__name__', annotation)}, or beyond all proportion")


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)
