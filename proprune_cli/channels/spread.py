"""A layer that makes only some channels of a stream, and puts each of them at its place there.

In a residual network with free branches, a branch may drop channels that the shortcut keeps. The branch's last layer
is then *spread*: it computes its survivors, and gives a tensor as wide as the stream, in which the dropped channels
hold what the dropped filters gave, a constant (0 where their parameters were set to zero).

A spread layer keeps its class, its name and the names of its parameters: only its forward pass goes on, as with
``torch.nn.utils.parametrize``. In ONNX it is a Concat of the layer's output with one constant plane for each value
filled in, and a Gather along axis 1.
"""

# No annotations from the future here: TorchScript reads those of a module's attributes, and strings are none to it.

from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

_PREFIX = "Spread"
INDEX, FILL = "spread_index", "spread_fill"
SPREADABLE = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.PReLU,
)  # fmt: skip


class Spread(nn.Module):
    """What a spread layer has besides its own class.

    ``spread_index`` (int64 [channels of the stream], part of the architecture and not of the state dict) says for each
    channel its place among the survivors, followed by the values of ``spread_fill`` (float32 [values filled in]), of
    which the first is 0.
    """

    spread_index: torch.Tensor
    spread_fill: torch.Tensor
    if TYPE_CHECKING:
        _plain_forward: Callable[[torch.Tensor], torch.Tensor]
        """The forward pass of its class before it was spread."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Survivors at their places, constants elsewhere."""
        y = self._plain_forward(x)
        shape, size = [1] * y.dim(), list(y.shape)  # in words that TorchScript knows
        shape[1] = size[1] = -1
        fill = self.spread_fill.to(y.dtype).view(shape).expand(size)
        return torch.cat([y, fill], 1).index_select(1, self.spread_index)

    def extra_repr(self) -> str:
        """The layer's own, and how wide its output is."""
        return f"{super().extra_repr()}, spread to {len(self.spread_index)}"


@cache
def _class(plain: type[nn.Module]) -> type[nn.Module]:
    name = f"{_PREFIX}{plain.__name__}"
    old: Any = plain.forward
    # By another name: TorchScript knows no ``super().forward``, and methods by the names of their functions.
    forward = FunctionType(old.__code__, old.__globals__, "_plain_forward", old.__defaults__, old.__closure__)
    forward.__annotations__ = old.__annotations__
    made: Any = type(name, (Spread, plain), {"__module__": __name__, "_plain_forward": forward})
    return made


def __getattr__(name: str) -> type[nn.Module]:
    """The class of a spread layer by its name, which is how pickle finds it."""
    for plain in SPREADABLE:
        if name == f"{_PREFIX}{plain.__name__}":
            return _class(plain)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def plain_class(module: nn.Module) -> type[nn.Module]:
    """Class of a layer without its spreading."""
    return type(module).__mro__[2] if isinstance(module, Spread) else type(module)


def can_spread(module: nn.Module | None) -> bool:
    """Whether the layer's output is what its class says, so that it can be spread."""
    return module is not None and plain_class(module) in SPREADABLE


def spread(module: nn.Module, index: Sequence[int], fill: torch.Tensor | None = None) -> nn.Module:
    """Make ``module`` spread its channels as ``index`` says; places past its own channels count ``fill``. In place."""
    device = next((t.device for t in module.parameters(recurse=False)), torch.device("cpu"))
    unspread(module)
    module.__class__ = _class(type(module))
    module.register_buffer(INDEX, torch.tensor(list(index), dtype=torch.int64, device=device), persistent=False)
    module.register_buffer(FILL, torch.zeros(1, device=device) if fill is None else fill.clone())
    return module


def unspread(module: nn.Module) -> nn.Module:
    """Make a spread layer a plain one again; others are left alone. In place."""
    if isinstance(module, Spread):
        setattr(module, "__class__", plain_class(module))  # noqa: B010
        del module.spread_index, module.spread_fill
    return module
