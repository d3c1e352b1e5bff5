"""Pruning inside a training loop of your own: train, cut, train on, compile."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import proprune_cli

torch.manual_seed(0)
torch.set_num_threads(1)
digits = load_digits()
images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]  # [1797, 1, 8, 8]
labels = torch.tensor(digits.target)
held = slice(1500, None)


def train(module: nn.Module, epochs: int, rate: float) -> None:
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate)
    module.train()
    for _ in range(epochs):
        for batch in torch.randperm(1500).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimiser.step()


def accuracy(module: nn.Module) -> float:
    with torch.no_grad():
        return float((module.eval()(images[held]).argmax(1) == labels[held]).float().mean())


net = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(32, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(32 * 16, 10),
)
train(net, epochs=4, rate=3e-3)
print(f"dense: {accuracy(net):.1%}")

# Gradients of the last batch are still there: taylor weighs channels by them.
small = proprune_cli.prune_module(net, (1, 8, 8), method="taylor", budget="ops=40%")
print(f"{small.macs / small.dense_macs:.0%} of the operations, {accuracy(small.model):.1%} before it learns again")
train(small.model, epochs=3, rate=1e-3)
print(f"pruned: {accuracy(small.model):.1%}; the dense network is what it was: {accuracy(net):.1%}")

artifact = proprune_cli.run_compile(small.model, "own_training_loop.ppr", calibration=images[:200])
codes = proprune_cli.run_artifact("own_training_loop.ppr", images[held])["output"]
print(f"int8: {np.mean(codes.argmax(1) == labels[held].numpy()):.1%}, array {artifact.program.array}")
