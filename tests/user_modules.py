"""Small networks as users of PyTorch write them, one for each way of using an operator; for tests of the front end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Function = Callable[[Tensor], Tensor]

CHANNELS = 8
SIZE = (6, 8)
"""What the part under test reads."""


class Around(nn.Module):
    """A convolution, the part under test, and where it makes an image another convolution."""

    def __init__(self, part: nn.Module | Function, after: int = 0) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.part = part
        self.after = nn.Conv2d(after, 4, 1) if after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.part(self.before(x)))


class Unpooled(nn.Module):
    """Pooling whose indices are used again, as in SegNet."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        y, indices = self.pool(x)
        return self.unpool(functional.relu(y), indices)


class Shared(nn.Module):
    """One ReLU module used twice, and an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.conv = nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(x) + self.conv(self.relu(x)))


class Excited(nn.Module):
    """Squeeze and excitation with fully connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(CHANNELS, 4), nn.Linear(4, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.second(functional.relu(self.first(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class Tokens(nn.Module):
    """A fully connected layer on every pixel as a token, and back to an image."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, 12)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        y = self.linear(x.flatten(2).transpose(1, 2))
        return y.transpose(1, 2).reshape(n, 12, h, w)


class ChannelsLast(nn.Module):
    """The block of a ConvNeXt: normalisation and fully connected layers with the channels as the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)
        self.wide, self.narrow = nn.Linear(CHANNELS, 16), nn.Linear(16, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(functional.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class LastLinear(nn.Module):
    """A fully connected layer over the columns of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIZE[1], 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def head(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *parts)


def shuffled(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def halves(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a * torch.sigmoid(b)


def quarters(x: Tensor) -> Tensor:
    a, b, c = torch.split(x, [2, 4, 2], 1)
    return torch.cat([c, functional.relu(b), a], 1)


def focus(x: Tensor) -> Tensor:
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


def normalised(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=1)


def attention(x: Tensor) -> Tensor:
    """A gate for each pixel from the mean and maximum over the channels, as in CBAM."""
    gate = torch.sigmoid(x.mean(1, keepdim=True) + x.amax(1, keepdim=True))
    return x * gate


def skip(x: Tensor) -> Tensor:
    small = functional.max_pool2d(x, 2)
    return torch.cat([x, functional.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)], 1)


C = CHANNELS
PARTS: dict[str, tuple[Callable[[], nn.Module | Function], int]] = {
    "grouped transposed convolution": (lambda: nn.ConvTranspose2d(C, 6, 3, 2, 1, output_padding=1, groups=2), 6),
    "depthwise transposed convolution": (lambda: nn.ConvTranspose2d(C, C, 4, 2, 1, groups=C), C),
    "chunk": (lambda: halves, 4),
    "split": (lambda: quarters, C),
    "glu": (lambda: nn.GLU(1), 4),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), 2),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(2), 32),
    "channel shuffle": (lambda: shuffled, C),
    "channel shuffle module": (lambda: nn.ChannelShuffle(4), C),
    "focus": (lambda: focus, 32),
    "pad constant": (lambda: lambda x: functional.pad(x, (1, 2, 0, 1), value=0.5), C),
    "pad zeros": (lambda: nn.ZeroPad2d(1), C),
    "pad reflect": (lambda: nn.ReflectionPad2d(2), C),
    "pad replicate": (lambda: nn.ReplicationPad2d((1, 0, 2, 1)), C),
    "pad circular": (lambda: lambda x: functional.pad(x, (1, 1, 2, 1), mode="circular"), C),
    "pad crop": (lambda: lambda x: functional.pad(x, (-1, 0, -1, -1)), C),
    "pad channels": (lambda: lambda x: functional.pad(x, (0, 0, 0, 0, 1, 2)), C + 3),
    "padded convolution reflect": (lambda: nn.Conv2d(C, 5, 3, padding=1, padding_mode="reflect"), 5),
    "padded convolution replicate": (lambda: nn.Conv2d(C, 5, 3, padding=1, padding_mode="replicate"), 5),
    "padded convolution circular": (lambda: nn.Conv2d(C, 5, 3, padding=1, padding_mode="circular"), 5),
    "adaptive average 3x4": (lambda: nn.AdaptiveAvgPool2d((3, 4)), C),
    "adaptive average 1x8": (lambda: nn.AdaptiveAvgPool2d((1, None)), C),
    "adaptive average 4x5": (lambda: nn.AdaptiveAvgPool2d((4, 5)), C),
    "adaptive maximum 2x2": (lambda: nn.AdaptiveMaxPool2d((2, 2)), C),
    "adaptive maximum 1": (lambda: nn.AdaptiveMaxPool2d(1), C),
    "unpooling": (lambda: Unpooled(), C),
    "product of two maps": (lambda: lambda x: x * functional.relu(x + 1), C),
    "x sigmoid(x)": (lambda: lambda x: x * torch.sigmoid(x), C),
    "silu": (lambda: nn.SiLU(), C),
    "mish": (lambda: nn.Mish(), C),
    "hardswish": (lambda: nn.Hardswish(), C),
    "hardsigmoid": (lambda: nn.Hardsigmoid(), C),
    "relu6": (lambda: nn.ReLU6(), C),
    "hardtanh": (lambda: nn.Hardtanh(-0.5, 2), C),
    "clamp": (lambda: lambda x: x.clamp(min=-0.3), C),
    "leaky relu": (lambda: nn.LeakyReLU(0.1), C),
    "prelu": (lambda: nn.PReLU(C), C),
    "elu": (lambda: nn.ELU(), C),
    "softplus": (lambda: nn.Softplus(), C),
    "tanh": (lambda: nn.Tanh(), C),
    "gelu": (lambda: nn.GELU(), C),
    "gelu tanh": (lambda: nn.GELU(approximate="tanh"), C),
    "log sigmoid": (lambda: nn.LogSigmoid(), C),
    "softsign": (lambda: nn.Softsign(), C),
    "tanhshrink": (lambda: nn.Tanhshrink(), C),
    "hardshrink": (lambda: nn.Hardshrink(), C),
    "softshrink": (lambda: nn.Softshrink(), C),
    "threshold": (lambda: nn.Threshold(0.1, 0.0), C),
    "absolute": (lambda: torch.abs, C),
    "square": (lambda: lambda x: x**2, C),
    "square root": (lambda: lambda x: torch.sqrt(x.abs() + 1), C),
    "reciprocal": (lambda: lambda x: 1 / (x.abs() + 1), C),
    "quotient of maps": (lambda: lambda x: x / (x.abs() + 1), C),
    "exponential": (lambda: lambda x: torch.exp(-x.abs()), C),
    "sine": (lambda: torch.sin, C),
    "maximum of maps": (lambda: lambda x: torch.maximum(x, -x + 0.1), C),
    "linear on tokens": (Tokens, 12),
    "channels last": (ChannelsLast, C),
    "linear on columns": (LastLinear, C),
    "layer norm": (lambda: nn.LayerNorm([C, *SIZE]), C),
    "group norm": (lambda: nn.GroupNorm(2, C), C),
    "instance norm": (lambda: nn.InstanceNorm2d(C, affine=True), C),
    "local response norm": (lambda: nn.LocalResponseNorm(3), C),
    "batch norm": (lambda: nn.BatchNorm2d(C), C),
    "normalize": (lambda: normalised, C),
    "softmax": (lambda: nn.Softmax2d(), C),
    "dropout": (lambda: nn.Sequential(nn.Dropout(0.3), nn.Dropout2d(), nn.AlphaDropout()), C),
    "shared modules": (Shared, C),
    "squeeze and excitation": (Excited, C),
    "attention per pixel": (lambda: attention, C),
    "upsample by size": (lambda: nn.Upsample(size=(12, 16)), C),
    "upsample nearest": (lambda: nn.Upsample(scale_factor=2), C),
    "upsample nearest by a fraction": (lambda: nn.Upsample(scale_factor=1.5), C),
    "upsample nearest exact": (lambda: nn.Upsample(scale_factor=2, mode="nearest-exact"), C),
    "upsample bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), C),
    "upsample bilinear corners": (lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), C),
    "upsample bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), C),
    "upsample bilinear by size": (lambda: nn.Upsample(size=(24, 32), mode="bilinear"), C),
    "downsample bilinear": (lambda: nn.Upsample(scale_factor=0.5, mode="bilinear"), C),
    "skip of a u-net": (lambda: skip, 2 * C),
    "dilated pooling": (lambda: nn.MaxPool2d(3, 1, padding=1, dilation=2), C),
    "pooling in ceil mode": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), C),
    "average in ceil mode": (lambda: nn.AvgPool2d(3, 2, ceil_mode=True), C),
    "average in ceil mode without padding": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), C),
    "average with padding": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), C),
    "average without padding": (lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), C),
    "average with a divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), C),
    "lp pooling": (lambda: nn.LPPool2d(2, 2), C),
    "mean over channels": (lambda: lambda x: x.mean(1, keepdim=True), 1),
    "maximum over channels": (lambda: lambda x: x.amax(1, keepdim=True), 1),
    "sum over space": (lambda: lambda x: x.sum((2, 3), keepdim=True), C),
    "maximum over space": (lambda: lambda x: x.amax((2, 3), keepdim=True), C),
    "maximum over rows": (lambda: lambda x: x.max(2, keepdim=True)[0], C),
    "flip": (lambda: lambda x: x.flip(3), C),
    "roll": (lambda: lambda x: x.roll((1, 2), (2, 3)), C),
    "rows side by side": (lambda: lambda x: torch.cat([x, -x], 2), C),
    "transposed image": (lambda: lambda x: x.transpose(2, 3), C),
    "some channels": (lambda: lambda x: x[:, [3, 1, 5]], 3),
    "stack and sum": (lambda: lambda x: torch.stack([x, functional.relu(x)], 1).sum(1), C),
    "repeat": (lambda: lambda x: x.repeat(1, 2, 1, 1), 2 * C),
    "tile over space": (lambda: lambda x: x.repeat(1, 1, 2, 1), C),
    "repeat interleave": (lambda: lambda x: x.repeat_interleave(2, 1), 2 * C),
    "expand": (lambda: lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, *SIZE), C),
    "strided slice": (lambda: lambda x: x[:, :, 1:5, ::2], C),
    "scale per pixel": (lambda: lambda x: x * torch.linspace(0.5, 1.5, SIZE[1]), C),
    "bias per pixel": (lambda: lambda x: x + torch.linspace(-1, 1, C * SIZE[0] * SIZE[1]).view(1, C, *SIZE), C),
    "scale per channel": (lambda: lambda x: x * torch.linspace(0.5, 1.5, C).view(1, C, 1, 1), C),
    "where": (lambda: lambda x: torch.where(x > 0, x, 0.1 * x), C),
    "unfold": (lambda: lambda x: functional.unfold(x, 2, stride=2).view(-1, 4 * C, 3, 4), 4 * C),
    "head flattened": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(C * SIZE[0] * SIZE[1], 5)), 0),
    "head torch.flatten": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(4 * C, 5)), 0),
    "head with batch norm": (lambda: head(nn.Linear(C, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)), 0),
    "head with layer norm": (lambda: head(nn.LayerNorm(C), nn.Linear(C, 3)), 0),
    "head with gelu": (lambda: head(nn.Linear(C, 6), nn.GELU(), nn.Linear(6, 3)), 0),
    "head softmax": (lambda: head(nn.Linear(C, 6), nn.Softmax(1)), 0),
    "head log softmax": (lambda: head(nn.Linear(C, 6), nn.LogSoftmax(-1)), 0),
    "head unflattened": (lambda: head(nn.Linear(C, 16), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 3, 2, 2)), 0),
    "class of each pixel": (lambda: lambda x: x.argmax(1), 0),
    "one class": (lambda: lambda x: x.mean((2, 3)).argmax(1), 0),
    "norm of features": (lambda: lambda x: functional.normalize(x.mean((2, 3))), 0),
}
"""What each part is, and the channels of the convolution after it, 0 for none."""
