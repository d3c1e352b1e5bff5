"""Builds the network that ``--model`` names: from the zoo, by import path, or from an ONNX file."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.prune.spec import Spec, Value, parse_spec
from proprune_cli.prune.trace import check_runs, example_input
from proprune_cli.prune.zoo import ZOO


def build_model(
    spec: str, in_channels: int, classes: int, size: int | tuple[int, int], *, per_pixel: bool = False
) -> nn.Module:
    """Network for ``spec``, checked to take [N, in_channels, height, width] and give [N, classes].

    Args:
        spec: ``resnet20?width=0.5``, ``package.module:factory?depth=20`` or ``net.onnx``.
        in_channels: channels of an image.
        classes: number of classes.
        size: image size in pixels, (height, width) or one number for both.
        per_pixel: let it give [N, classes, rows, columns] instead, a class for every pixel.

    Raises:
        InputError: no such model, wrong arguments, or it does not fit the data.
        UnsupportedError: an ONNX file with an operator that cannot be imported.
    """
    pixels = (size, size) if isinstance(size, int) else size
    parsed = parse_spec(spec, "--model")
    where = f"--model {spec}"
    if parsed.name.endswith(".onnx"):
        from proprune_cli.prune.onnx_import import import_onnx

        if parsed.arguments:
            raise InputError("an ONNX file takes no arguments", where=where, remedy="leave out what follows '?'")
        model: nn.Module = import_onnx(Path(parsed.name))
    elif ":" in parsed.name:
        model = _by_import_path(parsed, where)
    elif parsed.name in ZOO:
        model = _module(ZOO[parsed.name], (in_channels, classes, pixels), parsed.arguments, where)
    else:
        raise InputError(
            f"there is no model {parsed.name!r}",
            where=where,
            remedy=f"choose one of {', '.join(ZOO)}, or give package.module:factory or net.onnx",
        )
    output = check_runs(model, example_input(in_channels, pixels), where, per_pixel=per_pixel)
    if output.shape[1] != classes:
        raise InputError(
            f"the network has {output.shape[1]} outputs, the data set has {classes} classes",
            where=where,
            remedy=f"build it for as many classes, for example --model 'package.module:factory?num_classes={classes}'",
        )
    return model


def _by_import_path(spec: Spec, where: str) -> nn.Module:
    module_name, _, attribute = spec.name.partition(":")
    with _working_directory_importable():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise InputError(
                f"{module_name!r} cannot be imported: {type(error).__name__}: {error}",
                where=where,
                remedy="run from the folder that holds the package, or install it in this environment",
            ) from error
        factory: object = module
        for part in attribute.split("."):
            factory = getattr(factory, part, None)
        if not callable(factory):
            public = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
            raise InputError(
                f"{module_name!r} has no factory {attribute!r}",
                where=where,
                remedy="it has " + (", ".join(public[:12]) or "no callables"),
            )
        return _module(factory, (), spec.arguments, where)


def _module(
    factory: Callable[..., object], positional: tuple[object, ...], arguments: dict[str, Value], where: str
) -> nn.Module:
    model = _call(factory, positional, arguments, where)
    if not isinstance(model, nn.Module):
        raise InputError(
            f"the factory returned {type(model).__name__}, not a torch.nn.Module",
            where=where,
            remedy="name a class or function that builds the network",
        )
    return model


def _call(
    factory: Callable[..., object], positional: tuple[object, ...], arguments: dict[str, Value], where: str
) -> object:
    try:
        inspect.signature(factory).bind(*positional, **arguments)
    except TypeError as error:
        names = [p.name for p in inspect.signature(factory).parameters.values()][len(positional) :]
        raise InputError(
            f"the model's arguments do not fit: {error}",
            where=where,
            remedy="it takes " + (", ".join(names) or "none"),
        ) from error
    except ValueError:
        pass  # a builtin without a signature; the call itself will tell
    try:
        return factory(*positional, **arguments)
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise InputError(
            f"the model cannot be built: {type(error).__name__}: {error}",
            where=where,
            remedy="check the arguments after '?'",
        ) from error


@contextmanager
def _working_directory_importable() -> Generator[None, None, None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
