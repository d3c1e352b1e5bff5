"""Traces a network: the operators of a forward pass in eval mode, with parameters named as in the module."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from proprune_cli.channels.recorder import Node, Recorder
from proprune_cli.errors import UnsupportedError
from proprune_cli.modules.failures import told
from proprune_cli.modules.outputs import tensors_of
from proprune_cli.modules.restored import restored


@dataclass(frozen=True)
class Traced:
    """Operators in the order they ran, for batch size 2 in eval mode."""

    nodes: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def idle(self) -> list[str]:
        """Parameters and buffers that no operator reads: of heads that run while training alone, or of nothing."""
        read = {source for node in self.nodes for source in node.sources}
        return [node.tensor for node in self.nodes if node.op == "parameter" and node not in read]


def trace(model: nn.Module, example: torch.Tensor, where: str = "model") -> Traced:
    """Trace ``model`` in eval mode on inputs shaped like ``example`` (float32 [2, C, H, W]).

    Runs on the meta device; where the code mixes in tensors of its own that are no buffers, on fake tensors. The module
    is left as it was (`restored`): what its forward keeps would be tensors without values.

    Raises:
        UnsupportedError: the forward pass depends on values, or gives something else than tensors.
    """
    with _eval(model):
        traced, _, error = _traced(model, example)
    if traced is None:
        raise UnsupportedError(
            f"the network cannot be traced: {told(error, model) if error else 'it gives no tensors'}",
            where=where,
            remedy="avoid Python branches on tensor values in forward, which must also run without values",
        ) from error
    return traced


@dataclass(frozen=True)
class Replayed:
    """Operators of a network, as far as it runs."""

    nodes: tuple[Node, ...]
    operator: str
    """The operator that does not run; empty where all run, or where it is the network's own code that stops."""
    error: Exception | None
    """What its forward pass raised."""


def replay(model: nn.Module, example: torch.Tensor) -> Replayed:
    """`trace` in the mode that ``model`` is in, for a network that may not run: nothing is raised."""
    with restored(model, parameters=False):
        traced, recorder, error = _traced(model, example)
    return Replayed(tuple(recorder.nodes) if traced is None else traced.nodes, recorder.failed, error)


@contextmanager
def _eval(model: nn.Module) -> Generator[None, None, None]:
    with restored(model, parameters=False):
        model.eval()
        yield


def _traced(model: nn.Module, example: torch.Tensor) -> tuple[Traced | None, Recorder, Exception | None]:
    """The trace, or how far it came and why no further."""
    recorder = Recorder()
    try:
        with restored(model, parameters=False):
            return _record(model, example, lambda t: torch.empty_like(t, device="meta"), recorder), recorder, None
    except Exception as error:  # noqa: BLE001  # a network's code may raise anything, and has a second try
        first = error
    again = Recorder()
    try:
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        with restored(model, parameters=False), fake, _quiet("torch._subclasses.fake_tensor"):
            return _record(model, example, fake.from_tensor, again), again, None
    except Exception as error:  # noqa: BLE001  # whoever asked tells it
        further = len(again.nodes) >= len(recorder.nodes)
        return (None, again, error) if further else (None, recorder, first)


@contextmanager
def _quiet(logger: str) -> Generator[None, None, None]:
    level = logging.getLogger(logger).level
    logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logging.getLogger(logger).setLevel(level)


def _record(
    model: nn.Module, example: torch.Tensor, empty: Callable[[torch.Tensor], torch.Tensor], recorder: Recorder
) -> Traced:
    stand_ins: dict[int, torch.Tensor] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        stand_ins[id(tensor)] = made = empty(tensor.detach())
        recorder.add(Node("parameter", name, {}, tuple(tensor.shape), tensor=name), made)
    source = empty(example)
    recorder.add(Node("input", "input", {}, tuple(example.shape)), source)
    with warnings.catch_warnings(), torch.no_grad(), _replaced(model, stand_ins), recorder:
        warnings.simplefilter("ignore")
        result = model(source)
    outputs = tuple(recorder.node_of(tensor) for tensor in tensors_of(result))
    return Traced(tuple(recorder.nodes), outputs)


@contextmanager
def _replaced(model: nn.Module, stand_ins: dict[int, torch.Tensor]) -> Generator[None, None, None]:
    """Parameters and buffers replaced for a while (torch.func.functional_call loses those of shared modules)."""
    found: list[tuple[dict[str, Any], str, torch.Tensor]] = []
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):  # pyright: ignore[reportPrivateUsage]
            found += [(tensors, name, t) for name, t in tensors.items() if t is not None]  # pyright: ignore[reportArgumentType]
    try:
        for tensors, name, tensor in found:
            tensors[name] = stand_ins[id(tensor)]
        yield
    finally:
        for tensors, name, tensor in found:
            tensors[name] = tensor
