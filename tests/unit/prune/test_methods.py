"""Methods and hooks by their formulas, each against a plain computation of the same thing."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.channels.dependencies import analyse
from proprune_cli.data.load import load_data
from proprune_cli.errors import InputError, UsageError
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.methods import METHODS, Context, Job, method_named
from proprune_cli.prune.methods.common.plateau import PlateauThreshold, regularised
from proprune_cli.prune.methods.guided import guided_mask, guided_masks
from proprune_cli.prune.methods.lobster import LossSensitivity
from proprune_cli.prune.methods.serene import NeuronSensitivity
from proprune_cli.prune.methods.swd import SelectiveDecay, SwdOptions
from proprune_cli.prune.saliency import saliency
from proprune_cli.train.freezing import freezing_hooks
from proprune_cli.train.hooks import EpochEnd, HookState, Step, TrainHook, TrainRun
from proprune_cli.train.loop import evaluate, train
from proprune_cli.train.masks import Masks
from proprune_cli.train.neq import Equilibrium, NeqOptions
from proprune_cli.train.partial_backward import partial_forward, saves_time
from proprune_cli.train.progress import SilentProgress
from proprune_cli.train.task import Task


class Memory:
    """A stage that keeps its files in a dictionary."""

    done = False

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def commit(self) -> None: ...


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(load_data("digits?size=16"))


def lenet(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model("lenet5?widths=6,8,16", 1, 10, 16)


def run_epochs(model: nn.Module, task: Task, hooks: list[TrainHook], epochs: int = 1, **options: Any) -> None:
    given = TrainOptions(**{"batch": 128, "threads": 1, "augment": "none", **options})
    train(model, task, given, epochs=epochs, peak=0.05, seed=0, label="test", stage=Memory(),
          progress=SilentProgress(), hooks=hooks)  # fmt: skip


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_masked_weights_stay_exactly_zero_whatever_the_optimiser(task: Task, optimiser: str) -> None:
    model = lenet()
    masks = {"conv2.weight": torch.rand(8, 6, 5, 5) < 0.3, "fc1.weight": torch.rand(16, 8) < 0.5}
    before = model.conv2.weight.detach().clone()
    run_epochs(model, task, [Masks(masks)], optimiser=optimiser)
    assert bool((model.conv2.weight[~masks["conv2.weight"]] == 0).all())
    assert bool((model.fc1.weight[~masks["fc1.weight"]] == 0).all())
    assert bool((model.conv2.weight[masks["conv2.weight"]] != before[masks["conv2.weight"]]).any())


@pytest.mark.parametrize(
    ("kernel", "channels", "groups"), [((3, 3), 20, 1), ((1, 5), 7, 1), ((5, 5), 30, 1), ((2, 3), 8, 2)]
)
def test_guided_keeps_the_position_that_equation_1_names(kernel: tuple[int, int], channels: int, groups: int) -> None:
    layer = nn.Conv2d(channels, 4 * groups, kernel, stride=2, groups=groups)
    mask = guided_mask(layer)
    rows, columns = kernel
    per_group = channels // groups
    for out in range(mask.shape[0]):
        for i in range(per_group):
            k = (out // 4) * per_group + i
            kept = [(r, c) for r in range(rows) for c in range(columns) if (r + c * rows - k) % (rows * columns) == 0]
            assert mask[out, i].nonzero().tolist() == [list(p) for p in kept]
            assert len(kept) == 1


def test_guided_leaves_depthwise_pointwise_and_a_narrow_first_layer_alone() -> None:
    model = build_model("mobilenetv2?width=0.25", 3, 10, 32)
    with pytest.raises(InputError, match="no convolution with a kernel larger"):
        guided_masks(model, example_input(3, (32, 32)))
    assert [tuple(m.shape[2:]) for m in guided_masks(model, example_input(3, (32, 32)), "prune").values()] == [(3, 3)]
    resnet = guided_masks(build_model("resnet8", 3, 10, 16), example_input(3, (16, 16)))
    assert "conv1.weight" not in resnet
    assert all(name.endswith("weight") and mask.shape[2:] == (3, 3) for name, mask in resnet.items())


@pytest.mark.parametrize(("method", "binary"), [("guided", True), ("binary?layers=all", False)])
def test_binary_weights_are_one_scale_per_output_channel_and_zero_where_masked(
    task: Task, method: str, binary: bool
) -> None:
    model = lenet()
    options = PruneOptions(model="x", data="digits", method=method, binary=binary)
    found, own = method_named(method)
    assert found.training is not None
    example = example_input(1, (16, 16))
    masks = guided_masks(copy.deepcopy(model), example) if binary else {}
    training = found.training(Job(model, task, example, options, 1, list), own)
    run_epochs(model, task, training.hooks)
    clipped = model.conv2.parametrizations.weight.original
    assert float(clipped.detach().abs().max()) <= 1
    images = torch.from_numpy(task.data.normalise(task.data.test.images[:16]))
    with torch.no_grad():
        expected = model.eval()(images)
        training.finalise()
        assert torch.equal(model(images), expected)
    layers = {"conv2.weight": model.conv2.weight} if binary else {
        n: p for n, p in model.named_parameters() if p.ndim > 1
    }  # fmt: skip
    for name, weight in layers.items():
        kept = masks.get(name, torch.ones_like(weight, dtype=torch.bool))
        for row, mask in zip(weight.detach(), kept, strict=True):
            assert len(row[mask].abs().unique()) == 1, name
            assert bool((row[~mask] == 0).all())
            assert set(row[mask].sign().tolist()) <= {-1.0, 1.0}


def test_the_gradient_passes_a_binarised_layer_as_if_it_were_not_there() -> None:
    from proprune_cli.prune.methods.binary import Binarised

    mask = torch.tensor([[True, False, True], [True, True, True]])
    weight = torch.tensor([[0.5, 9.0, -0.1], [0.2, -0.4, 0.6]], requires_grad=True)
    binary = Binarised(mask)(weight)
    torch.testing.assert_close(binary, torch.tensor([[0.3, 0.0, -0.3], [0.4, -0.4, 0.4]]))
    binary.backward(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 0.0, 3.0], [4.0, 5.0, 6.0]]


def one_step(model: nn.Module, task: Task, hook: TrainHook) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Weights after the hook's own change alone (learning rate 0), and the images of the step."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    run = TrainRun(model, task, TrainOptions(), optimiser, 1, 1, 0)
    images = torch.from_numpy(task.data.normalise(task.data.train.images[:12]))
    labels = torch.from_numpy(task.data.train.labels[:12])
    hook.attach(run)
    model.train()
    outputs = model(images)
    loss = nnf.cross_entropy(outputs, labels)
    step = Step(0, 0.1, images, labels, outputs, loss)
    hook.before_backward(step)
    loss.backward()
    hook.after_backward(step)
    optimiser.step()
    hook.after_step(step)
    hook.detach()
    return {n: p.detach().clone() for n, p in model.named_parameters()}, images


def test_lobster_shrinks_by_the_insensitivity_of_the_loss(task: Task) -> None:
    model = lenet()
    before = copy.deepcopy(dict(model.named_parameters()))
    with torch.no_grad():
        model.fc2.weight.mul_(40)  # so that some gradients exceed 1
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    after, _ = one_step(model, task, LossSensitivity(0.3))
    large = 0
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        large += int((gradient.abs() > 1).sum())
        expected = before[name] - 0.3 * before[name] * torch.relu(1 - gradient.abs())
        torch.testing.assert_close(after[name], expected, atol=1e-6, rtol=1e-5)
    assert large > 0


@pytest.mark.parametrize("mode", ["full", "lower", "local"])
def test_serene_measures_each_filter_by_itself(task: Task, mode: str) -> None:
    model = lenet()
    with torch.no_grad():
        model.fc1.weight.mul_(30)  # so that filters differ in sensitivity, some beyond 1
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    after, images = one_step(model, task, NeuronSensitivity(0.25, mode))
    # The same by adding a shift to one map at a time: forward-mode, no hooks.
    model.load_state_dict(before)

    def outputs_with(shift: torch.Tensor) -> torch.Tensor:
        x = nnf.max_pool2d(nnf.relu(model.conv1(images) + shift), 2)
        x = nnf.max_pool2d(nnf.relu(model.conv2(x)), 2)
        return model.fc2(nnf.relu(model.fc1(torch.flatten(x, 1))))

    shift = torch.zeros(12, 6, 12, 12)
    if mode == "local":
        sensitivity = (model.conv1(images) > 0).float().mean(dim=(0, 2, 3))
    else:
        jacobian = torch.autograd.functional.jacobian(lambda s: outputs_with(s).sum(dim=0), shift)
        totals = jacobian.abs().sum(dim=0) if mode == "full" else jacobian.sum(dim=0).abs()
        sensitivity = totals.mean(dim=(0, 2, 3)) / 10
    expected = before["conv1.weight"] * (1 - 0.25 * torch.relu(1 - sensitivity)).view(-1, 1, 1, 1)
    torch.testing.assert_close(after["conv1.weight"], expected.detach(), atol=1e-6, rtol=1e-4)
    assert len(sensitivity.unique()) > 1
    assert torch.equal(after["conv1.bias"], before["conv1.bias"])


def test_the_threshold_on_a_plateau_is_the_largest_that_the_loss_allows(task: Task) -> None:
    model = lenet()
    run_epochs(model, task, [], epochs=6)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    hook = PlateauThreshold(twt=0.2, pwe=2)
    hook.attach(TrainRun(model, task, TrainOptions(), optimiser, 100, 1, 0))
    base = evaluate(model, task, task.data.validation).loss
    best = {n: p.detach().clone() for n, p in model.named_parameters()}
    hook.end_epoch(EpochEnd(0, 0.0, base, 0.0))
    with torch.no_grad():
        model.conv1.weight.add_(1.0)  # worse epochs: forgotten when the best weights come back
    for epoch in (1, 2):
        assert all(bool((p != 0).any()) for p in model.parameters())
        hook.end_epoch(EpochEnd(epoch, 0.0, 2 * base, 0.0))
    parameters = regularised(model)
    assert evaluate(model, task, task.data.validation).loss <= 1.2 * base * (1 + 1e-6)
    kept = torch.cat([p.detach().flatten() for p in parameters.values()])
    original = torch.cat([best[n].flatten() for n in parameters])
    assert torch.equal(kept[kept != 0], original[kept != 0])
    zeroed = original[(kept == 0) & (original != 0)].abs()
    assert 0 < len(zeroed) < len(kept)
    assert float(zeroed.max()) < float(kept[kept != 0].abs().min())
    more = torch.sort(original.abs()).values[(kept == 0).sum() + 400]
    with torch.no_grad():
        for p in parameters.values():
            p.masked_fill_(p.abs() < more, 0.0)
    assert evaluate(model, task, task.data.validation).loss > 1.2 * base


def test_selective_decay_takes_only_what_would_go_and_ends_with_nothing_to_lose(task: Task) -> None:
    model = lenet()
    target = [("conv1.weight", 0, torch.tensor([1, 4])), ("conv1.bias", 0, torch.tensor([1, 4]))]
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    after, _ = one_step(model, task, SelectiveDecay(SwdOptions(a_min=100.0, mu=0.01), lambda: target))
    expected = before["conv1.weight"].clone()
    expected[[1, 4]] /= 1 + 0.1 * 100.0 * 0.01
    torch.testing.assert_close(after["conv1.weight"], expected)
    assert torch.equal(after["conv2.weight"], before["conv2.weight"])
    run_epochs(model, task, [SelectiveDecay(SwdOptions(), lambda: target)], epochs=3)
    norms = model.conv1.weight.detach().flatten(1).norm(dim=1)
    assert float(norms[[1, 4]].max()) < 1e-4 * float(norms[[0, 2, 3, 5]].min())


@pytest.mark.parametrize("form", ["sum", "group", "abs"])
def test_taylor_scores_are_first_order_in_the_loss(task: Task, form: str) -> None:
    model = lenet()
    run_epochs(model, task, [], epochs=3)
    channels = analyse(model, example_input(1, (16, 16)))
    method, _ = method_named(f"taylor?form={form}")
    assert method.importance is not None
    group = next(g for g in channels.groups if g.name == "conv1")
    context = Context(dict(model.named_parameters()), np.random.default_rng(0), saliency(model, task, form))
    scores = method.importance(group, context)
    assert scores is not None
    total = np.zeros(6)
    images = torch.from_numpy(task.data.normalise(task.data.validation.images))
    labels = torch.from_numpy(task.data.validation.labels)
    count = 0
    for start in range(0, len(labels), 64):
        loss = nnf.cross_entropy(model(images[start : start + 64]), labels[start : start + 64])
        for parameter in (model.conv1.weight, model.conv1.bias):
            (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
            products = (gradient * parameter).detach().double().reshape(6, -1)
            value = {"sum": products.square().sum(1), "group": products.sum(1).square(), "abs": products.abs().sum(1)}
            total += value[form].numpy()
        count += 1
    np.testing.assert_allclose(scores, total / count, rtol=1e-4)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [("l3", "no pruning method"), ("l1?x=1", "no option 'x'"), ("lobster?lam=2", "lam is 2"),
     ("lobster?pwe=1.5", "not a whole number"), ("serene?mode=none", "not a choice")],
)  # fmt: skip
def test_a_wrong_method_or_option_is_a_usage_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        method_named(text)


def test_options_of_a_method_are_read_by_their_types() -> None:
    _, options = method_named("serene?lam=1&mode=lower&every=4")
    assert (options.lam, options.mode, options.every, options.twt) == (1.0, "lower", 4, 0.05)


@pytest.mark.parametrize(
    "method", [m for m in METHODS if METHODS[m].training is not None and m not in ("binary", "codesign")]
)
def test_a_network_of_which_every_neuron_is_frozen_trains_on_without_a_change(task: Task, method: str) -> None:
    model = lenet()
    found, own = method_named(method)
    assert found.training is not None
    options = PruneOptions(model="x", data="digits", method=method)
    where = [("conv1.weight", 0, torch.tensor([1, 4]))]
    training = found.training(Job(model, task, example_input(1, (16, 16)), options, 2, lambda: where), own)
    hooks = [hook for hook in training.hooks if not isinstance(hook, PlateauThreshold)]
    before = {n: t.clone() for n, t in model.named_parameters()}
    run_epochs(model, task, [*hooks, *freezing_hooks("stochastic?p=1")], epochs=2)
    for name, after in model.named_parameters():
        stayed = after != 0 if method in ("guided", "knapsack") else torch.ones_like(after, dtype=torch.bool)
        assert torch.equal(after[stayed], before[name][stayed]), name
