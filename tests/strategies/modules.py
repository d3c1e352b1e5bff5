"""Random torch modules that mix what users write between layers; for pruning."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as nnf
from hypothesis import strategies as st
from torch import Tensor, nn

Step = Callable[[nn.Module, Tensor], Tensor]


class ActivatedNorm(nn.BatchNorm2d):
    """A norm with its activation, as timm writes it."""

    def forward(self, x: Tensor) -> Tensor:
        x = nnf.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps)
        return nnf.silu(x)


class FrozenNorm(nn.Module):
    """A norm of buffers, written out, as detectors have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.rand(channels) + 0.5)
        self.register_buffer("bias", torch.randn(channels))
        self.register_buffer("running_mean", torch.randn(channels))
        self.register_buffer("running_var", torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


class Block(nn.Module):
    """A convolution, and a step of the user's on what it gives."""

    def __init__(self, inside: int, channels: int, step: Step, **parts: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, channels, 3, padding=1)
        for name, part in parts.items():
            self.add_module(name, part)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, self.conv(x))


def coordinates(_m: nn.Module, x: Tensor) -> Tensor:
    n, _, h, w = x.shape
    rows, columns = torch.linspace(-1, 1, h, device=x.device), torch.linspace(-1, 1, w, device=x.device)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return torch.cat([x, grid.unsqueeze(0).expand(n, -1, -1, -1)], 1)


def padded(_m: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([x.new_zeros(x.shape[0], 2, *x.shape[2:]), x, torch.ones_like(x)], 1)


def asserting(m: nn.Module, x: Tensor) -> Tensor:
    assert x.shape[1] == 8
    return x


def written_out(_m: nn.Module, x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape[0], 8, *x.shape[2:])


def between(m: nn.Module, x: Tensor) -> Tensor:
    halves = x.split(4, 1)
    return torch.cat([m.left(halves[0]), m.right(halves[1])], 1)


C = 8
CONV = nn.Conv2d
STEPS: dict[str, tuple[Step, int, Callable[[], dict[str, nn.Module]], bool]] = {
    "relu": (lambda m, x: nnf.relu(x), C, dict, True),
    "flip": (lambda m, x: x.flip(1), C, dict, True),
    "flip and add": (lambda m, x: x + x.flip((1, 3)), C, dict, True),
    "roll rows": (lambda m, x: x.roll((1, -2), (2, 3)), C, dict, True),
    "roll channels": (lambda m, x: x.roll(1, 1), C, dict, False),
    "maximum with a number": (lambda m, x: torch.maximum(x, torch.tensor(0.5)), C, dict, True),
    "maximum with a map": (lambda m, x: torch.minimum(x, m.k(x)), C, lambda: {"k": CONV(C, 1, 1)}, True),
    "maximum of maps": (lambda m, x: torch.maximum(x, m.k(x)), C, lambda: {"k": CONV(C, C, 1)}, True),
    "every other": (lambda m, x: x[:, ::2] * torch.sigmoid(x[:, 1::2]), C // 2, dict, True),
    "shuffle": (lambda m, x: nnf.channel_shuffle(x, 2), C, dict, True),
    "repeat": (lambda m, x: x.repeat(1, 2, 1, 1), 2 * C, dict, True),
    "repeat each": (lambda m, x: x.repeat_interleave(2, 1), 2 * C, dict, True),
    "tile over space": (lambda m, x: x.repeat(1, 1, 2, 1)[:, :, ::2], C, dict, True),
    "glu": (lambda m, x: nnf.glu(x, 1), C // 2, dict, True),
    "where": (lambda m, x: torch.where(x > 0.1, x, 0.3 - x), C, dict, True),
    "masked fill": (lambda m, x: x.masked_fill(x < 0, 0.25), C, dict, True),
    "mask": (lambda m, x: x * (x > 0.2), C, dict, True),
    "centred": (lambda m, x: x - x.mean((2, 3), keepdim=True), C, dict, True),
    "deviation": (lambda m, x: x + x.std((2, 3), keepdim=True), C, dict, True),
    "maximum over rows": (lambda m, x: x - x.max(2, keepdim=True)[0], C, dict, True),
    "running sum of rows": (lambda m, x: x.cumsum(2), C, dict, True),
    "running sum of channels": (lambda m, x: x.cumsum(1), C, dict, False),
    "sorted rows": (lambda m, x: x.sort(3)[0], C, dict, True),
    "sorted channels": (lambda m, x: x.sort(1)[0], C, dict, False),
    "best channels": (lambda m, x: x.topk(4, 1)[0], 4, dict, False),
    "softmax over channels": (lambda m, x: x.softmax(1), C, dict, False),
    "log softmax over columns": (lambda m, x: x.log_softmax(3), C, dict, True),
    "zeros as wide": (lambda m, x: x + torch.zeros(1, x.shape[1], 1, 1), C, dict, True),
    "ones of a number": (lambda m, x: x * torch.ones(1, 8, 1, 1), C, dict, False),
    "a ramp over channels": (lambda m, x: x - torch.linspace(0, 1, 8).view(1, 8, 1, 1), C, dict, False),
    "a mean subtracted": (lambda m, x: x - torch.tensor([0.5]), C, dict, True),
    "coordinates": (coordinates, C + 2, dict, True),
    "zeros and ones beside": (padded, 2 * C + 2, dict, True),
    "zeros around": (lambda m, x: nnf.pad(x, (0, 0, 0, 0, 3, 1)), C + 4, dict, True),
    "assertion": (asserting, C, dict, False),
    "written-out shuffle": (written_out, C, dict, False),
    "chosen channels": (lambda m, x: x[:, [3, 1, 4, 1, 5]], 5, dict, False),
    "permuted": (lambda m, x: x[:, torch.tensor([7, 2, 5, 0, 3, 6, 1, 4], device=x.device)], C, dict, False),
    "activated norm": (lambda m, x: m.n(x), C, lambda: {"n": ActivatedNorm(C)}, True),
    "frozen norm": (lambda m, x: m.n(x), C, lambda: {"n": FrozenNorm(C)}, True),
    "synchronised norm": (lambda m, x: m.n(x), C, lambda: {"n": nn.SyncBatchNorm(C)}, True),
    "group norm": (lambda m, x: m.n(x), C, lambda: {"n": nn.GroupNorm(4, C)}, True),
    "instance norm": (lambda m, x: m.n(x), C, lambda: {"n": nn.InstanceNorm2d(C, affine=True)}, True),
    "tracking instance norm": (
        lambda m, x: m.n(x), C, lambda: {"n": nn.InstanceNorm2d(C, affine=True, track_running_stats=True)}, True,
    ),
    "instance and batch norm": (
        between, C, lambda: {"left": nn.InstanceNorm2d(4, affine=True), "right": nn.BatchNorm2d(4)}, False,
    ),
}  # fmt: skip
"""Name → step, the channels that it gives for 8, its modules, and whether some of the 8 may go."""


class Steps(nn.Module):
    """Blocks one after another, some with a shortcut around, and an end: a mean, or a recurrent layer over columns."""

    def __init__(self, names: list[str], shortcuts: list[bool], end: str) -> None:
        super().__init__()
        width, self.names, self.shortcuts, self.end = 3, names, [], end
        self.blocks = nn.ModuleList()
        for name, around in zip(names, shortcuts, strict=True):
            step, given, parts, _ = STEPS[name]
            self.shortcuts.append(around and given == width)  # asked of a pruned network, widths may say something else
            self.blocks.append(Block(width, C, step, **parts()))
            width = given
        self.fuse = nn.Conv2d(width, C, 1)
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU}
        self.rnn = kinds[end](C, 6, batch_first=True) if end in kinds else nn.Identity()
        self.fc = nn.Linear(6 if end in kinds else C, 4)

    def extra_repr(self) -> str:
        return f"{self.names}, shortcuts={self.shortcuts}"

    def forward(self, x: Tensor) -> Tensor:
        for block, around in zip(self.blocks, self.shortcuts, strict=True):
            y = block(x)
            x = x + y if around else y
        x = nnf.relu(self.fuse(x))
        if self.end == "mean":
            return self.fc(x.mean((2, 3)))
        return self.fc(self.rnn(x.mean(2).transpose(1, 2))[0][:, -1])


@st.composite
def modules(draw: st.DrawFn) -> Steps:
    """One to four blocks with random weights, in eval mode, with norms as after training."""
    names = draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))
    shortcuts = [draw(st.booleans()) for _ in names]
    torch.manual_seed(draw(st.integers(0, 999)))
    return trained(Steps(names, shortcuts, draw(st.sampled_from(["mean", "mean", "lstm", "gru"]))))


def trained(model: nn.Module) -> nn.Module:
    """Norms with statistics as after training; with fresh ones many mistakes would not show."""
    for part in model.modules():
        if getattr(part, "running_var", None) is not None:
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
        if isinstance(part, (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    return model.eval()
