"""A network of a run on disk: JSON that says how to build it, safetensors that fill it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.surgery import Cuts, shrink
from proprune_cli.errors import InputError
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model
from proprune_cli.train.tensors import pack, restore, state, unpack
from proprune_cli.work.layer import LayerWork

ARCHITECTURE_VERSION = 1
SOURCE_ONNX = "source.onnx"
"""Copy, inside the run, of the ONNX file a model was built from."""
NETWORKS = ("pruned", "dense", "thin")


@dataclass(frozen=True)
class Architecture:
    """How to build a network: what ``--model`` named, for which data, and the indices that stay of each axis."""

    model: str
    in_channels: int
    classes: int
    size: tuple[int, int]
    cuts: Cuts

    def to_json(self) -> dict[str, Any]:
        """Versioned JSON document."""
        return {
            "version": ARCHITECTURE_VERSION,
            "kind": "prune-architecture",
            "model": self.model,
            "in_channels": self.in_channels,
            "classes": self.classes,
            "size": list(self.size),
            "cuts": {tensor: {str(d): kept for d, kept in axes.items()} for tensor, axes in self.cuts.items()},
        }

    @classmethod
    def from_json(cls, document: dict[str, Any], where: str) -> Architecture:
        """Inverse of `to_json`.

        Raises:
            InputError: another version, or not such a document.
        """
        remedy = "run proprune prune again"
        if document.get("kind") != "prune-architecture" or document.get("version") != ARCHITECTURE_VERSION:
            raise InputError(
                f"the file is version {document.get('version')} of {document.get('kind')!r}; "
                f"this proprune reads version {ARCHITECTURE_VERSION} of 'prune-architecture'",
                where=where,
                remedy=remedy,
            )
        try:
            return cls(
                model=str(document["model"]),
                in_channels=int(document["in_channels"]),
                classes=int(document["classes"]),
                size=(int(document["size"][0]), int(document["size"][1])),
                cuts={
                    tensor: {int(d): [int(i) for i in kept] for d, kept in axes.items()}
                    for tensor, axes in document["cuts"].items()
                },
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise InputError(f"the description is damaged: {error!r}", where=where, remedy=remedy) from error

    def build(self, run: Path) -> nn.Module:
        """The network with fresh weights; torch's global generator is left as it was.

        Raises:
            InputError: the model cannot be built here, or the cuts do not fit it.
        """
        named = self.model if not self.model.endswith(".onnx") else str(run / SOURCE_ONNX)
        with torch.random.fork_rng(devices=[]):
            model = build_model(named, self.in_channels, self.classes, self.size, gives="anything")
        try:
            return shrink(model, self.cuts)
        except (KeyError, IndexError, RuntimeError) as error:
            raise InputError(
                f"the stored channels do not fit the model {self.model!r}: {error}",
                where=str(run),
                remedy="the model's code has changed since the run; restore it, or run again",
            ) from error


def save_network(
    write: Callable[[str, bytes], object], name: str, architecture: Architecture, model: nn.Module
) -> list[str]:
    """Write ``name.json`` and ``name.safetensors``; the names of both."""
    write(f"{name}.json", (json.dumps(architecture.to_json()) + "\n").encode())
    write(f"{name}.safetensors", pack(state(model)))
    return [f"{name}.json", f"{name}.safetensors"]


def load_network(run: Path, name: str = "pruned") -> nn.Module:
    """Network ``name`` ("pruned", "dense" or "thin") of a finished run, in eval mode.

    Raises:
        InputError: no such network there, or its files are damaged.
    """
    if name not in NETWORKS:
        raise InputError(f"a run has no network {name!r}", where=str(run), remedy="ask for " + ", ".join(NETWORKS))
    description, weights = run / f"{name}.json", run / f"{name}.safetensors"
    try:
        document = json.loads(description.read_bytes())
        data = weights.read_bytes()
    except OSError as error:
        raise InputError(
            f"this directory has no finished {name} network: {error.strerror}",
            where=str(error.filename or run),
            remedy="run proprune prune with --out on this directory; a run that was stopped resumes",
        ) from error
    except ValueError as error:
        raise InputError(
            f"the description is no JSON: {error}", where=str(description), remedy="run proprune prune again"
        ) from error
    if not isinstance(document, dict):
        raise InputError("the description is no object", where=str(description), remedy="run proprune prune again")
    model = Architecture.from_json(document, str(description)).build(run)  # pyright: ignore[reportUnknownArgumentType]
    restore(model, unpack(data, str(weights))[0], str(weights))
    return model.eval()


def shapes_of_run(run: Path, network: str = "pruned") -> list[LayerWork]:
    """Convolutions and fully connected layers of ``network`` ("pruned", "dense" or "thin") in the run directory.

    Raises:
        InputError: the run is not finished, or its files are damaged.
    """
    model = load_network(run, network)
    document = json.loads((run / f"{network}.json").read_bytes())
    height, width = document["size"]
    table = CostTable(analyse(model, example_input(int(document["in_channels"]), (int(height), int(width)))))
    return table.layers(table.full)
