"""JSON of files: any text gives a value or a ``ValueError``, however long, deep or odd it is."""

from __future__ import annotations

import json
import math
from typing import Any, cast

from proprune_cli.files.limits import JSON_BYTES


def parse_json(content: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        ValueError: it is too long, too deeply nested, not UTF-8, or no JSON; NaN and infinities are no JSON.
    """
    if len(content) > JSON_BYTES:
        raise ValueError(f"{len(content)} bytes of JSON, and at most {JSON_BYTES} are read")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def parse_object(content: bytes) -> dict[str, Any]:
    """As `parse_json`, for an object.

    Raises:
        ValueError: as there, or it is something else.
    """
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("the JSON is no object")
    return cast("dict[str, Any]", value)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond all numbers")
    return number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
