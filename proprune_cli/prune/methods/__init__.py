"""Pruning methods. A new one: one file here and its name in `METHODS`."""

from __future__ import annotations

import dataclasses
from typing import Any

from proprune_cli.errors import UsageError
from proprune_cli.prune.methods import binary, bn, decay, guided, knapsack, l1, l2, lobster, random, serene, swd, taylor
from proprune_cli.prune.methods.base import Context, Importance, Job, Method, Training
from proprune_cli.prune.spec import Spec, parse_spec

__all__ = ["METHODS", "Context", "Importance", "Job", "Method", "Training", "method_named", "read_options"]

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (l1, l2, bn, taylor, random, swd, lobster, serene, decay, guided, binary, knapsack)
}


def method_named(text: str) -> tuple[Method, Any]:
    """The method that ``text`` (``name`` or ``name?key=value&key=value``) names, and its options.

    Raises:
        UsageError: there is no such method, or an option is unknown or out of range.
    """
    spec = parse_spec(text, "--method")
    if spec.name not in METHODS:
        raise UsageError(
            f"there is no pruning method {spec.name!r}",
            where="--method",
            remedy="choose one of " + ", ".join(METHODS),
        )
    method = METHODS[spec.name]
    return method, read_options(spec, method.options, "--method")


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
