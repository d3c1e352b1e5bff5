"""Freezing of neurons, and the backward pass that leaves frozen ones out, against plain computations of the same."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from proprune_cli.data.load import load_data
from proprune_cli.nets.models import build_model
from proprune_cli.prune import TrainOptions
from proprune_cli.train.freezing import freezing_hooks
from proprune_cli.train.hooks import EpochEnd, HookState, TrainHook, TrainRun
from proprune_cli.train.neq import Equilibrium, NeqOptions
from proprune_cli.train.partial_backward import partial_forward, saves_time
from proprune_cli.train.task import Task
from tests.small_training import lenet, run_epochs


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(load_data("digits?size=16"))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv2d(5, 8, 3, stride=2, padding=1), (3, 5, 9, 9)), (nn.Conv2d(4, 8, 1, bias=False), (2, 4, 5, 5)),
     (nn.Linear(7, 8), (4, 7))],
)  # fmt: skip
def test_a_partial_backward_pass_gives_the_same_gradients_for_active_rows(
    layer: nn.Conv2d | nn.Linear, shape: tuple[int, ...]
) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    active = torch.tensor([0, 2, 3, 7])
    expected = layer(x)
    parameters = list(layer.parameters())
    wanted = torch.autograd.grad(expected.square().sum(), [x, *parameters])
    found = partial_forward(layer, active)(x)
    assert torch.equal(found, expected)
    got = torch.autograd.grad(found.square().sum(), [x, *parameters])
    torch.testing.assert_close(got[0], wanted[0])
    for mine, full in zip(got[1:], wanted[1:], strict=True):
        torch.testing.assert_close(mine[active], full[active])
        assert bool((mine[[1, 4, 5, 6]] == 0).all())


@pytest.mark.parametrize("name", ["lenet5?widths=6,32,64", "resnet8?widths=8,16,32"])
def test_frozen_neurons_keep_their_bytes_and_cost_no_gradient(task: Task, name: str) -> None:
    model = build_model(name, 1, 10, (16, 16))
    run_epochs(model, task, [], epochs=2)
    model.get_parameter("conv1.weight").requires_grad_(False)

    class Watch(TrainHook):
        """Copies of the weights before each epoch."""

        name = "watch"
        frozen: tuple[dict[str, Any], ...] = ()

        def end_epoch(self, end: EpochEnd) -> None:
            now = {n: w.frozen for n, w in hook._watched.items() if w.frozen is not None}
            self.frozen += ({"masks": now, "weights": {n: p.clone() for n, p in model.state_dict().items()}},)

    hook = Equilibrium(NeqOptions(eps=0.02, mu=0.1, images=32))
    watch = Watch()
    run_epochs(model, task, [hook, watch], epochs=6)
    report = hook.report()
    assert [e["frozen"] for e in report["epochs"][:2]] == [0.0, 0.0]
    assert max(e["frozen"] for e in report["epochs"]) > 0.2
    assert report["backward_macs_share"] < 0.98 or "resnet8" in name  # too narrow for blocks of channels
    compared = 0
    for before, after in zip(watch.frozen[:-1], watch.frozen[1:], strict=True):
        for name, frozen in before["masks"].items():
            for leaf in {"weight", "bias"} & {n for n, _ in model.get_submodule(name).named_parameters()}:
                old, new = before["weights"][f"{name}.{leaf}"], after["weights"][f"{name}.{leaf}"]
                assert torch.equal(old[frozen], new[frozen])
                compared += int(frozen.sum())
    assert compared > 0
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {"conv1.weight"}
    assert all("forward" not in m.__dict__ for m in model.modules())


class Outputs(TrainHook):
    """A neuron's outputs on all held-out images, before the training and after each epoch, in float64 rows."""

    name = "outputs"

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.rows: tuple[np.ndarray, ...] = ()
        self.run: TrainRun | None = None

    def attach(self, run: TrainRun) -> None:
        self.run = run
        self.note()

    def end_epoch(self, end: EpochEnd) -> None:
        self.note()

    def note(self) -> None:
        assert self.run is not None
        seen: list[torch.Tensor] = []
        model, data = self.run.model.eval(), self.run.task.data
        handle = model.get_submodule(self.layer).register_forward_hook(lambda _, __, output: seen.append(output))
        with torch.no_grad():
            model(torch.from_numpy(data.normalise(data.validation.images)))
        handle.remove()
        self.rows += (seen[0].transpose(0, 1).flatten(1).double().numpy(),)


class Frozen(TrainHook):
    """The velocity and the mask of a layer after each epoch."""

    name = "frozen"

    def __init__(self, hook: Any, layer: str) -> None:
        self.hook, self.layer = hook, layer
        self.masks: tuple[np.ndarray, ...] = ()
        self.velocities: tuple[np.ndarray, ...] = ()

    def end_epoch(self, end: EpochEnd) -> None:
        watched = self.hook._watched[self.layer]
        none = torch.zeros(watched.layer.weight.shape[0], dtype=torch.bool)
        self.masks += ((none if watched.frozen is None else watched.frozen).numpy().copy(),)
        if watched.velocity is not None:
            self.velocities += (watched.velocity.numpy().copy(),)


@pytest.mark.parametrize("mu", [0.0, 0.2, 0.5])
def test_the_velocity_of_a_neuron_is_the_sum_of_equation_3(task: Task, mu: float) -> None:
    eps, layer = 0.1, "conv2"
    hook = Equilibrium(NeqOptions(eps=eps, mu=mu, images=10**6))
    outputs, frozen = Outputs(layer), Frozen(hook, layer)
    run_epochs(lenet(), task, [outputs, hook, frozen], epochs=6)
    rows = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in outputs.rows]
    # φ^t of Eq. 3: the cosine between a neuron's outputs at time t and at t - 1, on the validation set.
    phi = [(now * before).sum(axis=1) for before, now in itertools.pairwise(rows)]
    for t in range(len(phi)):
        if mu:
            v = phi[t] + sum((-1) ** a * (mu ** (a - 1) + mu**a) * phi[t - a] for a in range(1, t + 1))
        else:
            v = phi[t] - phi[t - 1] if t else phi[0]
        np.testing.assert_allclose(frozen.velocities[t], v, atol=1e-5)
        clear = np.abs(np.abs(v) - eps) > 1e-4
        np.testing.assert_array_equal(frozen.masks[t][clear], (np.abs(v) < eps)[clear] & (t > 0))
    assert any(mask.any() and not mask.all() for mask in frozen.masks[:-1])


def test_a_checkpoint_of_before_goes_on_from_its_first_cosine(task: Task) -> None:
    model = lenet()
    run = TrainRun(model, task, TrainOptions(), torch.optim.SGD(model.parameters(), lr=0.1), 3, 1, 0)
    first, second = (Equilibrium(NeqOptions(images=16)) for _ in range(2))
    first.attach(run)
    first.end_epoch(EpochEnd(0, 0.0, 0.0, 0.0))
    kept = first.state()
    first.detach()
    second.attach(run)
    second.restore(HookState({n: t for n, t in kept.tensors.items() if "velocity" not in n}, kept.note))
    assert torch.equal(second.state().tensors["conv1/velocity"], kept.tensors["conv1/similarity"])
    second.detach()


def test_with_no_tolerance_not_even_a_dead_neuron_is_at_equilibrium(task: Task) -> None:
    model = lenet()
    with torch.no_grad():
        model.get_parameter("conv1.weight")[0] = 0
        model.get_parameter("conv1.bias")[0] = 0
    hook = Equilibrium(NeqOptions(eps=0.0, images=16))
    frozen = Frozen(hook, "conv1")
    model.get_parameter("conv1.bias").requires_grad_(False)
    run_epochs(model, task, [hook, frozen], epochs=3)
    assert not any(mask.any() for mask in frozen.masks)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_random_neurons_are_frozen_at_the_rate_that_is_asked_for_and_anew_each_epoch(task: Task, p: float) -> None:
    model = build_model("lenet5?widths=16,64,128", 1, 10, 16)
    (hook,) = freezing_hooks(f"stochastic?p={p}")
    watch = [Frozen(hook, layer) for layer in ("conv1", "conv2", "fc1")]
    before = {n: t.clone() for n, t in model.named_parameters()}
    run_epochs(model, task, [hook, *watch], epochs=3)
    report = hook.report()
    assert all(abs(epoch["frozen"] - p) < 0.1 for epoch in report["epochs"])  # the first epoch included
    assert len({tuple(mask.tolist()) for mask in watch[2].masks}) == (3 if 0 < p < 1 else 1)
    changed = [not torch.equal(t, before[n]) for n, t in model.named_parameters()]
    assert not any(changed) if p == 1 else all(changed)
    again = freezing_hooks(f"stochastic?p={p}")
    other = Frozen(again[0], "fc1")
    run_epochs(build_model("lenet5?widths=16,64,128", 1, 10, 16), task, [*again, other], epochs=3)
    assert all((a == b).all() for a, b in zip(other.masks, watch[2].masks, strict=True))


@pytest.mark.parametrize(
    ("layer", "active", "saves"),
    [(nn.Conv2d(8, 16, 3), 1, False), (nn.Conv2d(8, 64, 3), 32, True), (nn.Conv2d(8, 64, 3), 49, False),
     (nn.Linear(8, 100), 80, True), (nn.Conv2d(64, 64, 3, groups=64), 16, False)],
)  # fmt: skip
def test_gradients_are_left_out_by_whole_blocks(layer: nn.Conv2d | nn.Linear, active: int, saves: bool) -> None:
    assert saves_time(layer, active) == saves
