"""Methods and hooks by their formulas, each against a plain computation of the same thing."""

from __future__ import annotations

import copy

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
from proprune_cli.train.hooks import EpochEnd, Step, TrainHook, TrainRun
from proprune_cli.train.loop import evaluate
from proprune_cli.train.masks import Masks
from proprune_cli.train.task import Task
from tests.small_training import lenet, run_epochs


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(load_data("digits?size=16"))


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
