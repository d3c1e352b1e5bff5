"""What an objective costs in training: seconds of a prediction, with and without gradients, and of a training step."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.data.batches import Batches
from proprune_cli.data.dataset import Dataset, Split
from proprune_cli.flow.cost_models import LatencyModel, cost_model
from proprune_cli.modules.copying import copied, without_zeros
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.goals import Sought, read_objective
from proprune_cli.prune.methods import Job, method_named
from proprune_cli.train.hooks import TrainHook, TrainRun
from proprune_cli.train.loop import train_step
from proprune_cli.train.task import Task

PREDICTED = (("resnet8", 1, 28), ("resnet20", 1, 28), ("resnet18", 3, 32), ("mobilenetv2", 3, 32))
"""Networks whose prediction is timed: name, channels and pixels of an image."""


def _known(name: str, channels: int, size: int) -> tuple[torch.nn.Module, torch.Tensor, LatencyModel, CostTable]:
    """A network with the latency model of a PYNQ-Z2 that knows what stands around its layers."""
    torch.manual_seed(0)
    model = build_model(name, channels, 10, size).eval()
    example = example_input(channels, (size, size))
    plain = without_zeros(model).eval()
    table = CostTable(analyse(plain, example))
    images = np.random.default_rng(0).normal(size=(4, channels, size, size)).astype(np.float32)
    latency = cost_model("ms", "pynq-z2", None)
    if not isinstance(latency, LatencyModel):
        raise AssertionError("milliseconds are latency")
    return model, example, latency.around(to_onnx(plain, example, "n"), images, table.layers(table.full)), table


def milliseconds(run: Callable[[], object], times: int) -> float:
    """Median of ``times`` calls."""
    found: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(1e3 * (time.perf_counter() - start))
    return statistics.median(found)


def predictions(times: int) -> None:
    """Print the milliseconds of a prediction for each of `PREDICTED`."""
    print("| network | layers | prediction, ms | with gradients, ms | anchored, ms |\n|---|---:|---:|---:|---:|")
    for name, channels, size in PREDICTED:
        _, _, latency, table = _known(name, channels, size)
        print(_prediction(name, latency, table, times), flush=True)


def _prediction(name: str, latency: LatencyModel, table: CostTable, times: int) -> str:
    works = table.layers(table.full)
    soft = latency.softened(works)
    ones = torch.ones(len(works), dtype=torch.float64)
    shares = [torch.full_like(ones, 0.7).requires_grad_(True) for _ in range(2)]
    plain = milliseconds(lambda: soft(shares[0].detach(), shares[1].detach(), ones, 0.5), times)
    both = milliseconds(lambda: torch.autograd.grad(soft(shares[0], shares[1], ones, 0.5), shares), times)
    anchored = milliseconds(lambda: soft.anchor(works), 5)
    return f"| {name} | {len(works)} | {plain:.2f} | {both:.2f} | {anchored:.1f} |"


def _data(images: int, size: int) -> Dataset:
    rng = np.random.default_rng(0)

    def part(count: int) -> Split:
        shape = (count, 1, size, size)
        return Split(rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 10, count).astype(np.int64))

    classes = tuple(str(number) for number in range(10))
    return Dataset("noise", part(images), part(64), part(64), classes, (0.5,), (0.25,), "noise")


def steps(name: str, rounds: int, batch: int) -> None:
    """Print the milliseconds of a training step with an objective and without; both take turns."""
    model, example, latency, table = _known(name, 1, 28)
    task = Task(_data(batch * 8, 28))
    options = PruneOptions(name, "-", method="codesign", objective="latency=40%", train=TrainOptions(batch=batch))
    dense = latency.cost(table.layers(table.full))
    (goal,) = read_objective("latency=40%")
    sought = Sought(goal, latency, dense, goal.limit(dense), lambda _: 0.4 * dense)
    gated = copied(model)
    method, own = method_named("codesign")
    if method.training is None:
        raise AssertionError("it acts during training")
    hooks = method.training(Job(gated, task, example, options, 4, list, latency, (sought,)), own).hooks
    pairs: list[tuple[str, TrainRun, Sequence[TrainHook]]] = []
    for label, network, own_hooks in (("without", model.train(), []), ("with", gated.train(), hooks)):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        pairs.append((label, TrainRun(network, task, options.train, optimiser, 1000, 8, 0), own_hooks))
    for _, run, own_hooks in pairs:
        for hook in own_hooks:
            hook.attach(run)
    batches = list(Batches(task.data, task.data.train, batch, "none", torch.device("cpu")).shuffled(0))
    found: dict[str, list[float]] = {"without": [], "with": []}
    for number in range(rounds):
        images, labels = batches[number % len(batches)]
        for label, run, own_hooks in pairs if number % 2 else pairs[::-1]:
            start = time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
            train_step(run, images, labels, number, 0.01, own_hooks)
            end = time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
            found[label].append(1e3 * (end - start))
    # Means, not medians: some steps have the loop model to ask.
    plain, objective = (statistics.mean(found[label][4:]) for label in ("without", "with"))
    print(f"{name}, batch {batch}: {plain:.1f} ms a step without, {objective:.1f} ms with: {objective / plain:.3f}×")


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks codesign", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="training steps of each kind")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--network", default="resnet20", help="whose steps are timed")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    predictions(30)
    steps(asked.network, asked.rounds, asked.batch)


if __name__ == "__main__":
    main()
