"""Specifications such as ``resnet20?width=0.5``: a name and keyword arguments."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from proprune_cli.errors import InputError

Value = bool | int | float | str


@dataclass(frozen=True)
class Spec:
    """Name before the question mark, arguments after it."""

    name: str
    arguments: dict[str, Value]


def parse_spec(text: str, option: str) -> Spec:
    """Split ``name?key=value&key=value``; values that read as numbers or true/false become those.

    Raises:
        InputError: an argument has no value or stands twice.
    """
    name, _, query = text.partition("?")
    if not name:
        raise InputError("there is no name before '?'", where=f"{option} {text!r}", remedy="write name?key=value")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise InputError(
            f"{query!r} is not a list of arguments", where=f"{option} {text!r}", remedy="write name?key=value&key=value"
        ) from None
    arguments: dict[str, Value] = {}
    for key, value in pairs:
        if not value or key in arguments:
            what = f"the argument {key!r} stands twice" if key in arguments else f"the argument {key!r} has no value"
            raise InputError(what, where=f"{option} {text!r}", remedy="write name?key=value&key=value")
        arguments[key] = _literal(value)
    return Spec(name, arguments)


def _literal(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
