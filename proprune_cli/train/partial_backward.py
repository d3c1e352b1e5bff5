"""Convolutions and fully connected layers whose backward pass leaves out the weights of frozen output channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import nn

Forward = Callable[[torch.Tensor], torch.Tensor]

_WORTH = 0.2
"""Share of a layer's weight gradients from which on leaving them out saves time; picking rows costs a little."""
_BLOCK = 16
"""oneDNN computes channels in blocks as wide as a vector (AVX-512): part of a block costs as much as the whole."""


class _PartialConv(torch.autograd.Function):
    """conv2d with one group; the weight gradient is computed for the rows ``active`` alone and is 0 elsewhere."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        active: torch.Tensor,
        geometry: tuple[list[int], list[int], list[int]],
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, active)
        ctx.geometry, ctx.has_bias = geometry, bias is not None
        stride, padding, dilation = geometry
        return nnf.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, active = ctx.saved_tensors
        (gradient,) = gradients
        stride, padding, dilation = ctx.geometry
        rest = (stride, padding, dilation, False, [0, 0], 1)
        backward = torch.ops.aten.convolution_backward
        to_input = None
        if ctx.needs_input_grad[0]:
            to_input = backward(gradient, x, weight, None, *rest, [True, False, False])[0]
        part = gradient.index_select(1, active)
        rows = backward(part, x, weight.index_select(0, active), None, *rest, [False, True, False])[1]
        to_weight = torch.zeros_like(weight).index_copy_(0, active, rows)
        to_bias = None
        if ctx.has_bias:
            to_bias = gradient.new_zeros(weight.shape[0]).index_copy_(0, active, part.sum(dim=(0, 2, 3)))
        return to_input, to_weight, to_bias, None, None


class _PartialLinear(torch.autograd.Function):
    """A fully connected layer; as `_PartialConv`."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, active: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, active)
        ctx.has_bias = bias is not None
        return nnf.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, active = ctx.saved_tensors
        (gradient,) = gradients
        to_input = gradient @ weight if ctx.needs_input_grad[0] else None
        part = gradient.reshape(-1, weight.shape[0]).index_select(1, active)
        rows = part.T @ x.reshape(-1, weight.shape[1])
        to_weight = torch.zeros_like(weight).index_copy_(0, active, rows)
        to_bias = None
        if ctx.has_bias:
            to_bias = gradient.new_zeros(weight.shape[0]).index_copy_(0, active, part.sum(dim=0))
        return to_input, to_weight, to_bias, None


def saves_time(module: nn.Conv2d | nn.Linear | nn.BatchNorm2d, active: int) -> bool:
    """Whether `partial_forward` knows the layer, and is faster where ``active`` of its output channels learn."""
    blocks = -(-active // _BLOCK) * _BLOCK
    return blocks <= (1 - _WORTH) * module.weight.shape[0] and can_be_partial(module)


def can_be_partial(module: nn.Module) -> bool:
    """Whether `partial_forward` knows the layer."""
    if isinstance(module, nn.Conv2d):
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return isinstance(module, nn.Linear)


def partial_forward(module: nn.Conv2d | nn.Linear, active: torch.Tensor) -> Forward:
    """A ``forward`` whose backward pass computes gradients of the weights of ``active`` (int64) output channels only.

    What the layer computes, and the gradient to its input, are the same as ever.
    """
    bias = module.bias
    if isinstance(module, nn.Linear):
        return lambda x: _PartialLinear.apply(x, module.weight, bias, active)  # pyright: ignore[reportReturnType]
    if isinstance(module.padding, str):
        raise AssertionError("can_be_partial was not asked")
    geometry = (list(module.stride), list(module.padding), list(module.dilation))
    return lambda x: _PartialConv.apply(x, module.weight, bias, active, geometry)  # pyright: ignore[reportReturnType]
