"""Mutations of JSON documents: values, keys and structure, then now and then the text itself."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from tests.fuzzing.mutate_bytes import mutate_bytes

_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 255, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64),
    *(-(2**31), -(2**63), 10**400, 0.5, -0.0, 1e-320, 1e38, 1e308, float("inf"), float("-inf"), float("nan")),
    *("", "x", "\0", "../../etc/passwd", "/dev/zero", "é" * 300, "9" * 5000, [], {}, [[]], [0], {"": 0}, [None], "nan"),
)


def mutate_json(content: bytes, rng: random.Random, planted: tuple[str, ...] = ()) -> bytes:
    """``content`` with one to three changes; ``planted``: texts that stand in the place of others."""
    how = rng.random()
    if how < 0.08:
        return mutate_bytes(content, rng)
    if how < 0.14:
        return rng.choice((b"", b"{}", b"[]", b"null", b"0", b'""', b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe{}"))
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):  # a change before left no JSON
        return mutate_bytes(content, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        document = _changed(document, rng, planted)
    text = json.dumps(document)
    if how < 0.18:
        depth = rng.choice((10, 900, 200_000))
        text = text.replace(": ", ": " + "[" * depth + "]" * depth + ", " if rng.random() < 0.3 else ": ", 1)
    return text.encode("utf-8", "surrogatepass")


def _changed(document: Any, rng: random.Random, planted: tuple[str, ...]) -> Any:
    places = list(_places(document))
    if not places:
        return rng.choice(_VALUES)
    holder, key = rng.choice(places)
    old = holder[key]
    how = rng.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[rng.choice((f"{key}x", "", "schema", "extra"))] = copy.deepcopy(old)
    elif how == 2 and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = rng.choice((old + 1, old - 1, -old, old * 2, old * 2**20, float(old), str(old), old // 2))
    elif how == 3 and isinstance(old, list) and old:
        holder[key] = rng.choice((old[:-1], old + old[:1], old[::-1], old * 50, [old[0]] * len(old), old[0]))
    elif how == 4:
        other, place = rng.choice(places)
        holder[key] = copy.deepcopy(other[place]) if place in other or isinstance(other, list) else None
    elif how == 5 and isinstance(old, str) and planted:
        holder[key] = rng.choice(planted)
    else:
        holder[key] = copy.deepcopy(rng.choice(_VALUES))
    return document


def _places(document: Any) -> Any:
    """Every (container, key); long lists by some of their items."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                yield value, key
                waiting.append(item)
        elif isinstance(value, list):
            for index in range(min(len(value), 8)):
                yield value, index
                waiting.append(value[index])
