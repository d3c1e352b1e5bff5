"""Training on another device: no GPU is needed to see that every tensor goes where its network is.

torch's ``meta`` device has shapes but no values. A dispatch mode refuses, as a GPU would, to mix it with the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from proprune_cli.data.batches import Batches
from proprune_cli.data.load import load_data
from proprune_cli.errors import UsageError
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.zoo.resnet_cifar import resnet8
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.methods import method_named
from proprune_cli.prune.methods.common.base import Job
from proprune_cli.train.device import device_of, on_device, require_device
from proprune_cli.train.hooks import TrainHook, TrainRun
from proprune_cli.train.loop import train_step
from proprune_cli.train.masks import Masks
from proprune_cli.train.neq import Equilibrium, NeqOptions
from proprune_cli.train.task import Task

META = torch.device("meta")
TRAINED = ("lobster", "serene?mode=full", "serene?mode=lower", "serene?mode=local", "decay", "guided", "swd", "binary")

aten = torch.ops.aten
BETWEEN = (aten.copy_.default, aten._to_copy.default, aten.index.Tensor, aten.index_put_.default)
"""What may take tensors of two devices: copies, and indices that lie on the host."""


class OneDevice(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor) and t.ndim]
        if len({t.device for t in tensors}) > 1 and func not in BETWEEN:
            raise RuntimeError(f"{func} on more than one device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("augment", ["none", "crop+flip"])
def test_every_tensor_of_a_step_is_on_the_networks_device(method: str, augment: str) -> None:
    data = load_data("digits", data_dir=None, validation=0.1, seed=0)
    options = PruneOptions(model="resnet8", data="digits", method=method)
    model = resnet8(data.in_channels, 10, data.size)
    found, own = method_named(method)
    assert found.training is not None
    slices = [("conv1.weight", 0, torch.tensor([1, 3]))]
    example = example_input(data.in_channels, data.size)
    training = found.training(Job(model, Task(data), example, options, 1, lambda: slices), own)
    mask = Masks({"fc.weight": torch.zeros(model.get_parameter("fc.weight").shape, dtype=torch.bool)})
    mask.name = "one more mask"
    hooks: list[TrainHook] = [*training.hooks, mask, Equilibrium(NeqOptions(images=4))]
    with on_device(model.to(META), META), OneDevice():
        assert device_of(model) == META
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        run = TrainRun(model, Task(data), options.train, optimiser, 1, 2, 0)
        for hook in hooks:
            hook.attach(run)
        batches = Batches(data, data.train.take(np.arange(16)), 8, augment, META)  # pyright: ignore[reportArgumentType]
        model.train()
        for number, (images, labels) in enumerate(batches.shuffled(0)):
            assert images.device == labels.device == META
            assert train_step(run, images, labels, number, 0.1, hooks).device == META


def test_a_tensor_left_on_the_host_shows() -> None:
    with OneDevice(), pytest.raises(RuntimeError, match="more than one device"):
        torch.zeros(4, device=META).masked_fill_(torch.ones(4, dtype=torch.bool), 0.0)


def test_a_network_comes_back_from_its_device() -> None:
    model = torch.nn.Linear(2, 2).double()
    with pytest.raises(ValueError, match="stop"), on_device(model, torch.device("cpu")):
        raise ValueError("stop")
    assert device_of(model) == torch.device("cpu")
    assert device_of(torch.nn.ReLU()) == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no device cuda:99"):
        require_device("cuda:99")
    with pytest.raises(UsageError, match="'gpu' is not a device"):
        TrainOptions(device="gpu")
    assert require_device("cpu") == torch.device("cpu")
