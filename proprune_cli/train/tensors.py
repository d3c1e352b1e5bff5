"""Named tensors as bytes and back: safetensors with a JSON note, so that nothing read from a file can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.read import read_file

_NOTE = "proprune"


def pack(tensors: Mapping[str, torch.Tensor], note: dict[str, Any] | None = None) -> bytes:
    """One safetensors file; ``note`` (JSON values) stands in its header, so that both appear together."""
    plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    return save_tensors(plain, metadata={_NOTE: json.dumps(note or {}, sort_keys=True)})


def unpack(data: bytes, where: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and note of a file made by `pack`, or of any safetensors file (with an empty note).

    Raises:
        InputError: the bytes are damaged.
    """
    try:
        tensors = load_tensors(data)
        length = int.from_bytes(data[:8], "little")
        header = parse_object(data[8 : 8 + length])
        note = parse_object(header.get("__metadata__", {}).get(_NOTE, "{}").encode())
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        raise InputError(
            f"not a readable safetensors file: {error}",
            where=where,
            remedy="it is truncated or damaged; delete it, or write it again with safetensors",
        ) from error
    return tensors, note


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and persistent buffers."""
    return dict(model.state_dict())


def restore(model: nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Load parameters and buffers; every one must be there and fit.

    Raises:
        InputError: the names or shapes are not the network's, or a value is NaN or infinite.
    """
    own = model.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [f"{n} {list(tensors[n].shape)}, not {list(own[n].shape)}"
             for n in own if n in tensors and tensors[n].shape != own[n].shape]  # fmt: skip
    if missing or extra or wrong:
        faults = [
            *(
                f"{len(found)} {kind} ({found[0]})"
                for kind, found in (("missing", missing), ("unknown", extra))
                if found
            ),
            *(f"{len(wrong)} of another shape ({wrong[0]})" for _ in wrong[:1]),
        ]
        raise InputError(
            "the weights do not fit the network: " + ", ".join(faults),
            where=where,
            remedy="give the same model, arguments and data set that the weights were trained with",
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"the weights {name} hold NaN or infinity", where=where, remedy="train again")
    model.load_state_dict(dict(tensors))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(
            f"the weights cannot be read: {error.strerror}", where=str(path), remedy="check the path"
        ) from error
    return unpack(data, str(path))[0]
