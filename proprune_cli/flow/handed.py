"""Arguments of the Python functions: objects checked and turned into what the commands' own code takes.

A caller may give anything; whatever is of no use is refused here, by an error that names the argument.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from proprune_cli.errors import InputError, UsageError
from proprune_cli.prune.given import Given
from proprune_cli.spec.handed import DATA, module_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from proprune_cli.artifact import Artifact
    from proprune_cli.nets.models import Module
    from proprune_cli.prune import PruneOptions
    from proprune_cli.prune.sensitivity import Sensitivity

_OWN = ("loss", "metric")
_SIDE = 1 << 16
"""Longest side of an image."""


def path_of(value: object, name: str) -> Path:
    """The path that the argument ``name`` gives.

    Raises:
        InputError: it is none.
    """
    if isinstance(value, (str, os.PathLike)):
        path: object = os.fspath(cast("os.PathLike[Any]", value))
        if isinstance(path, str) and path and "\0" not in path:
            return Path(path)
    shown = repr(value) if isinstance(value, str) else type(value).__name__
    raise InputError(f"{name} is {shown}, not a path", where=name, remedy="give text or a pathlib.Path")


def text_of(value: object, name: str) -> str:
    """The text that the argument ``name`` gives.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} is {type(value).__name__}, not text", where=name, remedy="give its name")
    return value


def module_of(value: object, name: str = "module") -> Module:
    """The module that the argument ``name`` gives, itself.

    Raises:
        InputError: it is none, or its tensors cannot be worked with.
    """
    from proprune_cli.nets.models import checked_module

    return checked_module(value, name)


def taken_or_none(value: object, name: str = "model") -> Module | None:
    """A copy of the module that the argument ``name`` gives, None for None.

    Raises:
        InputError: it is none, or its tensors cannot be worked with.
    """
    from proprune_cli.nets.models import taken

    return None if value is None else taken(value, name)


def shape_of(value: object) -> tuple[int, int, int]:
    """Channels, height and width.

    Raises:
        InputError: ``value`` is something else.
    """
    if isinstance(value, (tuple, list)):
        given = cast("list[Any]", value)
        parts = [int(part) for part in given if _is_whole(part)]
        if len(parts) == len(given) == 3 and all(0 < part <= _SIDE for part in parts):
            return parts[0], parts[1], parts[2]
    raise InputError(
        "shape is not (channels, height, width)", where="shape", remedy="give three whole numbers, as (3, 32, 32)"
    )


def handed_run(model: object, data: object, normalise: object, options: dict[str, Any]) -> tuple[PruneOptions, Given]:
    """Options of `run_prune`, and the objects among them.

    Raises:
        ProPruneError: an argument is wrong.
    """
    from proprune_cli.config import called_options

    if normalise is not None and not isinstance(normalise, bool):
        raise UsageError("normalise is neither true, false nor None", where="normalise", remedy="give True or False")
    train = options.get("train")
    named, own = _functions(cast("dict[str, Any]", train)) if isinstance(train, dict) else (train, {})
    words: dict[str, Any] = {"model": model, "data": data}
    module = source = None
    if not isinstance(model, str):
        module = taken_or_none(model)
        if module is None:
            raise InputError("no model is given", where="model", remedy="give a module, or as --model")
        words["model"] = module_words(type(module))
    if isinstance(data, os.PathLike):
        words["data"] = os.fspath(cast("os.PathLike[str]", data))
    elif not isinstance(data, str):
        from proprune_cli.data.objects import source_of_objects

        source = source_of_objects(data, DATA, "data")
        words["data"] = DATA
    asked = called_options({**options, **words, "train": named})
    return asked, Given(module, source, own.get("loss"), own.get("metric"), normalise)


def scan(
    run: object,
    asked: dict[str, Any],
    *,
    model: object,
    data: object,
    own: dict[str, str | Callable[..., Any] | None],
) -> Sensitivity:
    """The scan of a run, or of a module on ``data``.

    Raises:
        ProPruneError: an argument is wrong, or the scan itself raises it.
    """
    from proprune_cli.flow.sensitivity import scan_module, scan_run
    from proprune_cli.prune import TrainOptions
    from proprune_cli.prune.sensitivity import SHARES

    for name in ("network", "method", "residual"):
        if asked[name] is not None or name != "residual":
            text_of(asked[name], name)
    if not _is_whole(asked["images"]) or asked["images"] < 1:
        raise UsageError("images is no whole number above 0", where="images", remedy="give a number such as 500")
    named, functions = _functions({name: value for name, value in own.items() if value is not None})
    settings: dict[str, Any] = {name: asked[name] for name in ("method", "residual", "images")} | {
        "shares": list(SHARES)
    }
    if isinstance(run, (str, os.PathLike)):
        from proprune_cli.data.objects import source_of_objects

        source = None if data is None else source_of_objects(data, DATA, "data")
        given = Given(taken_or_none(model), source, functions.get("loss"), functions.get("metric"))
        return scan_run(
            path_of(run, "run"), network=asked["network"], trust=bool(asked["trust"]), given=given, **settings
        )
    if model is not None:
        raise UsageError("a module is scanned, and another given as model", where="model", remedy="give one of them")
    if data is None:
        raise InputError(
            "a module is scanned on data, and none are given", where="data", remedy="give data=(images, labels)"
        )
    if run is None:
        raise InputError("no run is given", where="run", remedy="give a run directory or a module")
    given = Given(taken_or_none(run, "run"), None, functions.get("loss"), functions.get("metric"))
    for name, value in named.items():
        if not isinstance(value, str):
            raise UsageError(f"{name} is {type(value).__name__}", where=name, remedy="give a function")
    return scan_module(given, data, train=TrainOptions(loss=named.get("loss"), metric=named.get("metric")), **settings)


def compiled(source: object, calibration: object, options: dict[str, Any]) -> Artifact:
    """The artifact of a run, an ONNX file or a module.

    Raises:
        ProPruneError: an argument is wrong, or compiling raises it.
    """
    from proprune_cli.config import called_compile_options
    from proprune_cli.flow.build import build, build_module

    if isinstance(calibration, os.PathLike):
        calibration = os.fspath(cast("os.PathLike[str]", calibration))
    named = calibration if isinstance(calibration, str) else None
    asked = called_compile_options({**options, "calibration": named})
    if isinstance(source, (str, os.PathLike)):
        return build(path_of(source, "source"), asked, handed=None if named is not None else calibration)
    module = taken_or_none(source, "source")
    if module is None:
        raise InputError("no source is given", where="source", remedy="give a run, an ONNX file or a module")
    if asked.network is not None:
        raise UsageError("a module is one network", where="network", remedy="leave out network")
    if calibration is None:
        raise InputError(
            "a module says nothing about the images it will see, and quantisation needs some",
            where="calibration",
            remedy="give calibration=images, an array [N, C, H, W] as the module takes them",
        )
    return build_module(module, calibration, asked)


def outputs_of(path: Path, images: object, board: str, raw: bool) -> dict[str, NDArray[Any]]:
    """Outputs of the artifact at ``path`` for ``images``.

    Raises:
        ProPruneError: an argument is wrong, or running raises it.
    """
    from proprune_cli.artifact import load_artifact
    from proprune_cli.artifact.codes import checked_images
    from proprune_cli.board.registry import open_executor
    from proprune_cli.data.objects import numbers
    from proprune_cli.flow.execute import CLIPPED, clipped_share, run_codes, run_images

    network = load_artifact(path)
    program = network.program
    array = checked_images(
        numbers(images, "the images", "images", "give an array or a tensor [N, C, H, W]"),
        network.input_shape,
        "images",
        raw=raw,
        stored=program.preprocess is not None,
    )
    clipped = 0.0 if raw else clipped_share(program, array)
    if clipped > CLIPPED:
        warnings.warn(
            f"{clipped:.0%} of the values lie beyond the range of the calibration images, and are clipped", stacklevel=3
        )
    executor = open_executor(network, text_of(board, "board"), str(path))
    if raw:
        codes = run_codes(executor, array, program.batch)
        return dict(zip([part.name for part in program.outputs], codes, strict=True))
    return run_images(network, executor, array)


def _functions(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[..., Any]]]:
    """Losses and metrics as a run records them, by import path; and those that are functions themselves."""
    functions = {name: given[name] for name in _OWN if callable(given.get(name))}
    return {**given, **{name: _spelled(function) for name, function in functions.items()}}, functions


def _spelled(function: Callable[..., Any]) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}".replace("?", "_")


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
