"""Mutations that know nothing of a format, and some that know headers of arrays and tensors."""

from __future__ import annotations

import io
import json
import random

import numpy as np


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """``content`` cut, with bytes changed, put in, taken out or repeated."""
    data = bytearray(content)
    how = rng.randrange(6)
    at = rng.randrange(len(data) + 1)
    if how == 0:
        return bytes(data[:at])
    if how == 1:
        for _ in range(rng.choice((1, 2, 8))):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
    elif how == 2:
        data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
    elif how == 3:
        del data[at : at + rng.choice((1, 4, 64))]
    elif how == 4:
        data[at:at] = data[at : at + 64]
    elif data:
        bit = rng.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def mutate_words(content: bytes, rng: random.Random) -> bytes:
    """A program with one to four of its 64-bit words changed; a fifth of the results have other bytes instead."""
    if rng.random() < 0.2:
        return mutate_bytes(content, rng)
    words = np.frombuffer(content[: len(content) // 8 * 8], "<u8").copy()
    for _ in range(rng.choice((1, 1, 2, 4)) if len(words) else 0):
        at = rng.randrange(len(words))
        old = int(words[at])
        small = rng.randrange(16) << rng.randrange(0, 64, 4)
        words[at] = rng.choice((0, 2**64 - 1, old ^ (1 << rng.randrange(64)), (old ^ small) % 2**64, (old + 1) % 2**64))
    return words.tobytes()


_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f4', 'fortran_order': 0, 'shape': 5}",
    "{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999,)}",
    "{}",
    "",
    "(" * 9000,
    "{'descr': __import__('os').system('touch canary'), 'fortran_order': False, 'shape': (1,)}",
    "-" * 9000 + "1",
    "{'descr': '<i1', 'fortran_order': True, 'shape': (10, 1, 1)}",
    " " * 16000,
)


def mutate_npy(content: bytes, rng: random.Random) -> bytes:
    """A ``.npy`` file with another header, other data, or other bytes."""
    how = rng.random()
    if how < 0.4:
        return mutate_bytes(content, rng)
    if how < 0.75:
        header = rng.choice(_HEADERS).encode()
        version = rng.choice((1, 1, 2, 3, 9))
        length = rng.choice((len(header), len(header), 0, 0xFFFF))
        size = length.to_bytes(2 if version == 1 else 4, "little")
        return b"\x93NUMPY" + bytes([version, 0]) + size + header + content[128:]
    stream = io.BytesIO()
    shape = tuple(rng.choice((0, 1, 2, 8, 10)) for _ in range(rng.randrange(6)))
    kind = rng.choice(("<f4", "|i1", "<f8", "<i8", "|b1", "<c8", "<U3"))
    values = np.zeros(shape, kind) if rng.random() < 0.7 else np.full(shape, 1).astype(kind)
    if kind in ("<f4", "<f8") and rng.random() < 0.5:
        values = np.full(shape, rng.choice((np.nan, np.inf, 3e38)), kind)
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def mutate_tensors(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file with another header or other data."""
    from tests.fuzzing.mutate_json import mutate_json

    how = rng.random()
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    if how < 0.35 or length > len(content):
        return mutate_bytes(content, rng)
    if how < 0.5:
        size = rng.choice((0, 1, len(content), 2**31, 2**63, 2**64 - 1, 100_000_001))
        return size.to_bytes(8, "little") + header + data
    if how < 0.65:
        values = np.frombuffer(data[: len(data) // 4 * 4], np.float32).copy()
        if len(values):
            values[rng.randrange(len(values))] = rng.choice((np.nan, np.inf, 3e38, -3e38, 1e-40))
        return content[: 8 + length] + values.tobytes()
    if how < 0.8:
        try:
            document = json.loads(header)
        except (ValueError, RecursionError):  # a change before left no JSON
            return mutate_bytes(content, rng)
        name = rng.choice(list(document))
        if isinstance(document[name], dict) and "dtype" in document[name]:
            kind = rng.choice(("F64", "I64", "BOOL", "U8", "BF16", "F8_E4M3", "F4", "C64", "X"))
            document[name][rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice(
                (kind, [], [2**40, 0], [0, 2**62], [-1], [0, 0])
            )
        changed = json.dumps(document).encode()
    else:
        changed = mutate_json(header, rng)
    return len(changed).to_bytes(8, "little") + changed + data
