"""Options of what a specification names: declared as fields of a dataclass, read from the arguments after '?'."""

from __future__ import annotations

import dataclasses
from typing import Any

from proprune_cli.errors import UsageError
from proprune_cli.spec.parse import Spec


def option(default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: Any = ()) -> Any:
    """A field of a method's options: its meaning, and the values it may take (``low`` and ``high`` included)."""
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})


def read_options(spec: Spec, kind: type[Any], where: str) -> Any:
    """An instance of the options dataclass ``kind`` from the arguments of ``spec``.

    Raises:
        UsageError: an option is unknown or out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in spec.arguments.items():
        place = f"{where} {spec.name}?{key}={value}"
        if key not in fields:
            known = ", ".join(f"{n}={f.default}" for n, f in fields.items())
            raise UsageError(
                f"{spec.name} has no option {key!r}", where=place, remedy=f"it has {known}" if known else "it has none"
            )
        values[key] = _value(value, fields[key], place)
    return kind(**values)


def _value(value: Any, field: dataclasses.Field[Any], where: str) -> Any:
    choices, low, high = (field.metadata[k] for k in ("choices", "low", "high"))
    wanted: type[Any] = type(field.default)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        name = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}[wanted]
        raise UsageError(f"{value!r} is not {name}", where=where, remedy=f"for example {field.name}={field.default}")
    if choices and value not in choices:
        raise UsageError(f"{value!r} is not a choice", where=where, remedy="choose one of " + ", ".join(choices))
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = " and ".join([f"at least {low:g}"] * (low is not None) + [f"at most {high:g}"] * (high is not None))
        raise UsageError(f"{field.name} is {value:g}", where=where, remedy=f"give {bounds}")
    return value
