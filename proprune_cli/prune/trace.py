"""Traces a network with torch.export and gives back its ATen graph, with parameters named as in the module."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import fx, nn

from proprune_cli.errors import InputError, UnsupportedError


@dataclass(frozen=True)
class Traced:
    """An ATen graph of batch size 2 in eval mode."""

    graph: fx.Graph
    tensors: dict[str, str]
    """Placeholder name → qualified name of the parameter or buffer it stands for."""
    constants: frozenset[str]
    """Placeholders that are constants of the traced code."""
    inputs: frozenset[str]
    """Placeholders that are the network's own inputs."""


def example_input(in_channels: int, size: tuple[int, int], batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Random input, float32 [batch, in_channels, height, width], from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, in_channels, *size, generator=generator)


def op_name(node: fx.Node) -> str:
    """``conv2d`` for ``aten::conv2d`` and its in-place and overloaded spellings; else the target's own name."""
    schema = getattr(node.target, "_schema", None)
    name = str(schema.name) if schema is not None else getattr(node.target, "__name__", str(node.target))
    name = name.removeprefix("aten::")
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of a node's tensor, () where it is no tensor."""
    value = node.meta.get("val")
    return tuple(int(d) for d in value.shape) if isinstance(value, torch.Tensor) else ()


def module_of(node: fx.Node) -> str:
    """Qualified name of the module whose forward made this node."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    return str(list(stack.values())[-1][0])


def check_runs(model: nn.Module, example: torch.Tensor, where: str, *, per_pixel: bool = False) -> torch.Tensor:
    """Output of the network in eval mode for ``example``, shape [batch, classes].

    Where ``per_pixel``, [batch, classes, rows, columns] is right too.

    Raises:
        InputError: it does not run on this input, or gives something else than one tensor.
    """
    model.eval()
    try:
        with torch.no_grad():
            output = model(example)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"the network does not run on an input of shape {list(example.shape)}: {_first_line(error)}",
            where=where,
            remedy="check the model's input channels and image size against the data set "
            "(for instance --data 'NAME?size=32')",
        ) from error
    ranks = (2, 4) if per_pixel else (2,)
    if not isinstance(output, torch.Tensor) or output.ndim not in ranks or output.shape[0] != example.shape[0]:
        found = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InputError(
            f"the network's output is {found}, not one tensor [batch, classes]",
            where=where,
            remedy="give a classifier that returns its logits and nothing else",
        )
    return output


def trace(model: nn.Module, example: torch.Tensor, where: str = "model") -> Traced:
    """Trace ``model`` in eval mode on ``example`` (float32 [2, C, H, W]).

    Raises:
        UnsupportedError: the forward pass depends on values in a way that cannot be traced.
    """
    model.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(model, (example,), strict=False)
    except Exception as error:
        raise UnsupportedError(
            f"the network cannot be traced: {_first_line(error)}",
            where=where,
            remedy="avoid Python branches on tensor values in forward; torch.export.export must accept the model",
        ) from error
    signature = program.graph_signature
    tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = frozenset(getattr(signature, "inputs_to_lifted_tensor_constants", {}))
    return Traced(program.graph, tensors, constants, frozenset(signature.user_inputs))  # pyright: ignore[reportArgumentType]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
