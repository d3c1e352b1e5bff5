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
from proprune_cli.channels.surgery import Cuts, cuts_of, shrink
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.files.json_text import parse_json
from proprune_cli.files.limits import JSON_BYTES, PIXELS
from proprune_cli.files.read import read_file
from proprune_cli.files.records import value_of
from proprune_cli.modules.copying import copied
from proprune_cli.modules.normalised import Normalised
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model, fitting
from proprune_cli.nets.onnx_import import import_onnx
from proprune_cli.prune.result import NETWORK_FILES
from proprune_cli.spec.factories import refuse_stored
from proprune_cli.spec.handed import is_module
from proprune_cli.train.tensors import pack, restore, state, unpack
from proprune_cli.work.layer import LayerWork

ARCHITECTURE_VERSION = 2
VERSIONS = (1, 2)
"""Version 1 had no normalisation: its networks take normalised images."""
SOURCE_ONNX = "source.onnx"
"""Copy, inside the run, of the ONNX file a model was built from."""


@dataclass(frozen=True)
class Architecture:
    """How to build a network: what ``--model`` named, for which data, and the indices that stay of each axis.

    ``normalisation``: scale and shift of each channel of an image as it is stored; None: it is to be normalised before.
    """

    model: str
    in_channels: int
    classes: int
    size: tuple[int, int]
    cuts: Cuts
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Versioned JSON document."""
        return {
            "version": ARCHITECTURE_VERSION,
            "kind": "prune-architecture",
            "model": self.model,
            "in_channels": self.in_channels,
            "classes": self.classes,
            "size": list(self.size),
            "normalisation": self.normalisation,
            "cuts": {tensor: {str(d): kept for d, kept in axes.items()} for tensor, axes in self.cuts.items()},
        }

    @classmethod
    def from_json(cls, document: dict[str, Any], where: str) -> Architecture:
        """Inverse of `to_json`.

        Raises:
            InputError: another version, or not such a document.
        """
        remedy = "run proprune prune again"
        if document.get("kind") != "prune-architecture" or document.get("version") not in VERSIONS:
            raise InputError(
                f"the file is version {document.get('version')} of {document.get('kind')!r}; "
                f"this proprune reads versions 1 and {ARCHITECTURE_VERSION} of 'prune-architecture'",
                where=where,
                remedy=remedy,
            )
        try:
            return cls(
                model=value_of(str, document["model"], "model"),
                in_channels=_count(document, "in_channels", PIXELS),
                classes=_count(document, "classes", PIXELS),
                size=_image_size(document["size"]),
                cuts=cuts_of(document["cuts"]),
                normalisation=_normalisation(document.get("normalisation"), int(document["in_channels"])),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise InputError(f"the description is damaged: {error!r}", where=where, remedy=remedy) from error

    def build(self, run: Path, given: nn.Module | None = None) -> nn.Module:
        """The network with fresh weights; torch's global generator is left as it was.

        Args:
            given: a copy of the module that was handed to the run, if one was.

        Raises:
            InputError: the model cannot be built here, or the cuts do not fit it.
        """
        named = self.model if not self.model.endswith(".onnx") else str(run / SOURCE_ONNX)
        size = (self.in_channels, self.classes, self.size)
        with torch.random.fork_rng(devices=[]):
            if given is None:
                model = build_model(named, *size, gives="anything")
            else:
                model = fitting(copied(given), *size, gives="anything", where=f"--model {self.model}")
        try:
            return shrink(model, self.cuts)
        except (KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise InputError(
                f"the stored channels do not fit the model {self.model!r}: {error}",
                where=str(run),
                remedy="the model's code has changed since the run; restore it, or run again",
            ) from error


def _normalisation(value: Any, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if value is None:
        return None
    pair = value_of(tuple[tuple[float, ...], tuple[float, ...]], value, "normalisation")
    if len({len(part) for part in pair} | {channels}) > 1:
        raise ValueError(f"normalisation is not of {channels} channels")
    return pair


def _count(document: dict[str, Any], name: str, most: int) -> int:
    number = value_of(int, document[name], name)
    if not 1 <= number <= most:
        raise ValueError(f"{name} is {number}")
    return number


def _image_size(value: Any) -> tuple[int, int]:
    size = value_of(tuple[int, int], value, "size")
    if min(size) < 1 or size[0] * size[1] > PIXELS:
        raise ValueError(f"size is {list(size)}")
    return size


def save_network(
    write: Callable[[str, bytes], object], name: str, architecture: Architecture, model: nn.Module
) -> list[str]:
    """Write the `network_files` of ``name``; their names."""
    description, weights = network_files(name)
    write(description, (json.dumps(architecture.to_json()) + "\n").encode())
    write(weights, pack(state(model)))
    return [description, weights]


def network_files(name: str) -> tuple[str, str]:
    """Names of the files of a network in its run: how it is built, and its weights."""
    return f"{name}.json", f"{name}.safetensors"


def load_network(run: Path, name: str = "pruned", *, trust: bool = False, given: nn.Module | None = None) -> nn.Module:
    """Network ``name`` ("pruned", "dense" or "thin") of a finished run, in eval mode, for images as the data set gives
    them: a `Normalised` around the network that was trained. Runs of before that had normalised images as input.

    Where a module was handed to the run and is not ``given`` again, the network is built from its ONNX file, in which
    batch norms are part of their convolutions.

    Raises:
        InputError: no such network there, its files are damaged, or it is code to be imported and not trusted.
        UnsupportedError: a module was handed over, and its ONNX file has operators without an import rule.
    """
    architecture, weights = _stored(run, name)
    if given is None and is_module(architecture.model):
        return _exported(run, name)
    model = _built(run, name, architecture, weights, trust, given)
    return model if architecture.normalisation is None else Normalised(model, *architecture.normalisation).eval()


def _exported(run: Path, name: str) -> nn.Module:
    try:
        return import_onnx(run / NETWORK_FILES[name])
    except UnsupportedError as error:
        raise UnsupportedError(
            f"the network was handed over as a module, and its ONNX file cannot be read back: {error.what}",
            where=error.where,
            remedy="hand the module over again: load(run, model=module)",
        ) from error


def load_bare(
    run: Path, name: str = "pruned", *, trust: bool = False, given: nn.Module | None = None
) -> tuple[Architecture, nn.Module]:
    """Network ``name`` of a finished run as it was trained, for normalised images, in eval mode; and how it is built.

    Args:
        trust: a model that the run names by import path may be imported and called.
        given: a copy of the module that was handed to the run, if one was.

    Raises:
        InputError: no such network there, or its files are damaged, or a module was handed over and is not given.
    """
    architecture, weights = _stored(run, name)
    if given is None and is_module(architecture.model):
        raise InputError(
            f"the run's model was handed over as a {architecture.model}, not named",
            where=str(run),
            remedy="from Python, hand it over again with model=module",
        )
    return architecture, _built(run, name, architecture, weights, trust, given)


def _built(
    run: Path, name: str, architecture: Architecture, weights: bytes, trust: bool, given: nn.Module | None
) -> nn.Module:
    if given is not None and not is_module(architecture.model):
        raise InputError(
            f"the run's model is {architecture.model!r}, and no module was handed to it",
            where=str(run),
            remedy="leave out model",
        )
    if not trust:
        refuse_stored(architecture.model, f"{run / name}.json, model")
    model = architecture.build(run, given)
    where = str(run / f"{name}.safetensors")
    restore(model, unpack(weights, where)[0], where)
    return model.eval()


def _stored(run: Path, name: str) -> tuple[Architecture, bytes]:
    """How the network ``name`` of a finished run is built, and the file of its weights."""
    if name not in NETWORK_FILES:
        raise InputError(f"a run has no network {name!r}", where=str(run), remedy="ask for " + ", ".join(NETWORK_FILES))
    description, weights = (run / file for file in network_files(name))
    try:
        document = parse_json(read_file(description, JSON_BYTES))
        data = read_file(weights)
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
    return Architecture.from_json(document, str(description)), data  # pyright: ignore[reportUnknownArgumentType]


def shapes_of_run(run: Path, network: str = "pruned", given: nn.Module | None = None) -> list[LayerWork]:
    """Convolutions and fully connected layers of ``network`` ("pruned", "dense" or "thin") in the run directory, which
    the caller has just made; with their zeros.

    Raises:
        InputError: the run is not finished, or its files are damaged.
    """
    architecture, model = load_bare(run, network, trust=True, given=given)
    table = CostTable(analyse(model, example_input(architecture.in_channels, architecture.size)))
    return table.surviving(dict(model.named_parameters()))
