"""Builds the network that ``--model`` names: from the zoo, by import path, or from an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from proprune_cli.errors import InputError
from proprune_cli.files.limits import ACTIVATIONS, PARAMETERS
from proprune_cli.modules.copying import copied
from proprune_cli.modules.outputs import shapes_of
from proprune_cli.modules.probe import check_runs, example_input
from proprune_cli.nets.zoo import ZOO
from proprune_cli.spec.factories import imported, made
from proprune_cli.spec.parse import Spec, Value, parse_spec

Module = nn.Module
"""For rooms that hand modules on and know nothing of torch."""
Gives = Literal["classes", "pixels", "anything"]
"""A network's result: [N, classes]; [N, classes, rows, columns]; or whatever its own loss makes of it."""


def build_model(
    spec: str, in_channels: int, classes: int, size: int | tuple[int, int], *, gives: Gives = "classes"
) -> nn.Module:
    """Network for ``spec``, checked to take [N, in_channels, height, width] and to give what is asked for.

    Args:
        spec: ``resnet20?width=0.5``, ``package.module:factory?depth=20`` or ``net.onnx``.
        in_channels: channels of an image.
        classes: number of classes.
        size: image size in pixels, (height, width) or one number for both.
        gives: what its result must be.

    Raises:
        InputError: no such model, wrong arguments, or it does not fit the data.
        UnsupportedError: an ONNX file with an operator that cannot be imported.
    """
    pixels = (size, size) if isinstance(size, int) else size
    parsed = parse_spec(spec, "--model")
    where = f"--model {spec}"
    if parsed.name.endswith(".onnx"):
        from proprune_cli.nets.onnx_import import import_onnx

        if parsed.arguments:
            raise InputError("an ONNX file takes no arguments", where=where, remedy="leave out what follows '?'")
        model: nn.Module = import_onnx(Path(parsed.name))
    elif ":" in parsed.name:
        model = _module(imported(parsed, where), (), parsed.arguments, where)
    elif parsed.name in ZOO:
        given = (in_channels, classes, pixels)
        _check_size(parsed, given, where)
        model = _module(ZOO[parsed.name], given, parsed.arguments, where)
    else:
        raise InputError(
            f"there is no model {parsed.name!r}",
            where=where,
            remedy=f"choose one of {', '.join(ZOO)}, or give package.module:factory or net.onnx",
        )
    return fitting(model, in_channels, classes, pixels, gives, where)


def taken(module: object, where: str = "model") -> nn.Module:
    """A copy, on the CPU, of a module that a caller hands over; the module itself is left as it is.

    Raises:
        InputError: as `checked_module`.
        UnsupportedError: it cannot be copied.
    """
    return copied(checked_module(module, where)).cpu()


def checked_module(module: object, where: str) -> nn.Module:
    """``module`` itself.

    Raises:
        InputError: it is no module, or its parameters and buffers are not float32, not finite, or without values.
    """
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if isinstance(module, type) else f"{type(module).__name__}"
        raise InputError(
            f"the model is {what}, not a torch.nn.Module",
            where=where,
            remedy="give the module itself; a zoo name, package.module:factory or net.onnx where text is taken",
        )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided:
            raise InputError(
                "a tensor of the model has no values, or not one for each place",
                where=f"{where}, {name}",
                remedy="run the module once, so that it is whole, then give it",
            )
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            raise InputError(
                f"a parameter of the model is {parameter.dtype}", where=f"{where}, {name}", remedy="give module.float()"
            )
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor) and not bool(torch.isfinite(tensor).all()):
            raise InputError(
                "the weights hold NaN or infinity", where=f"{where}, {name}", remedy="train the module again"
            )
    return module


def fitting(
    model: nn.Module, in_channels: int, classes: int, pixels: tuple[int, int], gives: Gives, where: str
) -> nn.Module:
    """``model`` in eval mode, checked to take [N, in_channels, *pixels] and to give what is asked for.

    Raises:
        InputError: it does not.
    """
    example = example_input(in_channels, pixels)
    outputs = check_runs(model.eval(), example, where)
    if gives == "anything":
        return model
    wanted = "[batch, classes]" if gives == "classes" else "[batch, classes, rows, columns]"
    if len(outputs) != 1 or outputs[0].ndim != wanted.count(",") + 1 or len(outputs[0]) != len(example):
        raise InputError(
            f"the network's output is {shapes_of(outputs)}, not one tensor {wanted}",
            where=where,
            remedy="give one that returns its logits and nothing else, or say with --loss how it is trained",
        )
    if outputs[0].shape[1] != classes:
        raise InputError(
            f"the network has {outputs[0].shape[1]} outputs, the data set has {classes} classes",
            where=where,
            remedy=f"build it for as many classes, for example --model 'package.module:factory?num_classes={classes}'",
        )
    return model


def _check_size(parsed: Spec, given: tuple[int, int, tuple[int, int]], where: str) -> None:
    """Count a network of the zoo on torch's device without memory, before any is asked for.

    Raises:
        InputError: it has too many parameters, or makes too large a tensor; or its arguments are wrong.
    """
    largest = 0

    def look(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal largest
        largest = max([largest, *(o.numel() for o in (output,) if isinstance(o, torch.Tensor))])

    with torch.device("meta"), torch.no_grad():
        model = _module(ZOO[parsed.name], given, parsed.arguments, where).eval()
        parameters = sum(p.numel() for p in model.parameters())
        for module in model.modules():
            module.register_forward_hook(look)
        # What does not run says so with values, where the reason shows.
        with suppress(RuntimeError, ValueError, TypeError, IndexError):
            model(torch.empty(2, given[0], *given[2]))
    if parameters > PARAMETERS or largest > ACTIVATIONS:
        raise InputError(
            f"the network has {parameters:,} parameters and makes tensors of {largest:,} elements; at most "
            f"{PARAMETERS:,} and {ACTIVATIONS:,} are built",
            where=where,
            remedy="give it a smaller width or smaller images",
        )


def _module(
    factory: Callable[..., object], positional: tuple[object, ...], arguments: dict[str, Value], where: str
) -> nn.Module:
    model = made(factory, positional, arguments, where, "model")
    if not isinstance(model, nn.Module):
        raise InputError(
            f"the factory returned {type(model).__name__}, not a torch.nn.Module",
            where=where,
            remedy="name a class or function that builds the network",
        )
    return model
