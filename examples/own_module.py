"""Your module and your arrays, from training to the emulated board, and how far the board is from the module.

Images are noise with a bright bar; the class is where it lies. Nothing here has to be importable by proprune.
"""

import numpy as np
import torch
from torch import nn

import proprune_cli


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [count, 1, 16, 16], and the classes 0 to 3."""
    rng = np.random.default_rng(seed)
    images, labels = rng.normal(size=(count, 1, 16, 16)).astype(np.float32), rng.integers(0, 4, count)
    for image, label in zip(images, labels, strict=True):
        image[0, 4 * label : 4 * label + 4] += 1.5
    return images, labels


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.left = nn.Conv2d(16, 16, 3, padding=1)
        self.right = nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16 * 16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.left(x) + self.right(x))
        return self.head(nn.functional.max_pool2d(x, 4).flatten(1))


torch.manual_seed(0)
train, test = bars(300, seed=1), bars(100, seed=2)
result = proprune_cli.run_prune(
    "runs/own_module",  # run the script again: it finds everything done
    model=Net(),
    data=(train, test),
    budget="ops=50%",
    epochs=3,
    finetune_epochs=2,
    train={"batch": 32, "lr": 0.05, "threads": 1},
)
for name, figures in (("dense", result.dense), ("pruned", result.finetuned), ("thin", result.thin)):
    print(f"{name:7} {figures.test_accuracy:5.1f} % of the test images, {figures.macs:,} MACs")

proprune_cli.run_compile("runs/own_module", "own_module.ppr", board="pynq-z2")
small = proprune_cli.load("runs/own_module")  # needs no class Net

images, labels = test
board = proprune_cli.run_artifact("own_module.ppr", images, "emulated:pynq-z2")["output"]
with torch.no_grad():
    floats = small(torch.from_numpy(images)).numpy()
print(f"int8 on the board: {(board.argmax(1) == labels).mean():.1%}, float: {(floats.argmax(1) == labels).mean():.1%}")
print(f"largest difference {np.abs(board - floats).max() / np.abs(floats).max():.1%} of the largest output")
print(f"predicted: {proprune_cli.run_bench('own_module.ppr').latency_ms:.3f} ms an image")
