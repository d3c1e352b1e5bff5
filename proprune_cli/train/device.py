"""Where a network is trained and measured; everywhere else it lies in the memory of the host."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from proprune_cli.errors import UsageError

CPU = torch.device("cpu")


def require_device(name: str) -> torch.device:
    """The device called ``name``: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UsageError: this machine, or this build of torch, has none.
    """
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            built = "" if torch.version.cuda else f"; torch {torch.__version__} is built without CUDA"
            raise UsageError(
                f"there is no device {name}: torch sees {count} CUDA devices{built}",
                where="--device",
                remedy="train with --device cpu, or install a CUDA build of torch",
            )
    return device


@contextmanager
def reproducible(device: torch.device) -> Generator[None, None, None]:
    """Kernels whose result does not change from run to run, where torch has them, so that a resumed run ends as it
    would have; torch's generators and settings are given back as they were.
    """
    if device.type != "cuda":
        with torch.random.fork_rng(devices=[]):
            yield
        return
    # cuBLAS reads it when it starts (https://docs.nvidia.com/cuda/cublas, "Results reproducibility").
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng(devices=[device]):
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn)


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Generator[None, None, None]:
    """``model`` is on ``device`` within, and where it was after."""
    before = device_of(model)
    model.to(device)
    try:
        yield
    finally:
        model.to(before)


def device_of(model: nn.Module) -> torch.device:
    """The device of a network that lies on one; the host's where it has no parameters."""
    return next((p.device for p in model.parameters()), CPU)


def wait_for(device: torch.device) -> None:
    """Until all that was asked of ``device`` is done, for clocks."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
