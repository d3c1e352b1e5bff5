"""How a kind of node is declared: one dataclass with real fields, and what is true of its kind beside them.

A kind derives from what it reads (`Unary`, `Binary`, `Several`) and, where a ReLU may end it, from `Clamping`. It says
what shape it gives and what is wrong with its weights; whether it ties scales and keeps signs. Whatever has to do
something else for each kind matches over the union of all kinds and ends in ``assert_never``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.window import Pair, Window

if TYPE_CHECKING:
    from typing_extensions import Self

Shape = tuple[int, ...]
"""Shape of one image's tensor, without the batch: (channels, height, width), or (features,) after a flatten."""

Weights = Iterable[tuple[str, NDArray[np.float32], int]]
"""Name, array and rank of each of a node's weights."""


class ShapeError(ValueError):
    """A node does not accept the shapes that reach it; the message says why."""


class Declared:
    """What is true of a kind of node, where it says nothing else."""

    @property
    def ties(self) -> bool:
        """Codes are moved or picked and none is changed: inputs and output have one scale."""
        return False

    @property
    def keeps_signs(self) -> bool:
        """Where no input is negative, the output is not."""
        return False

    @property
    def clamped(self) -> bool:
        """A ReLU is fused into it."""
        return False

    @property
    def never_negative(self) -> bool:
        """The output is not negative, whatever the inputs are."""
        return self.clamped

    def weights(self) -> Weights:
        """Its weights, float32."""
        return ()

    def fault(self) -> str:
        """What is wrong with its weights beside type and rank; empty where nothing is."""
        return ""


@dataclass(frozen=True, eq=False)
class Unary(Declared):
    """Reads one tensor."""

    name: str
    x: str
    y: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)

    def reading(self, names: Mapping[str, str]) -> Self:
        """The same node with its inputs replaced as ``names`` says."""
        return replace(self, x=names[self.x]) if self.x in names else self


@dataclass(frozen=True, eq=False)
class Binary(Declared):
    """Reads two tensors of one shape, or ``b`` of 1×1 pixels for every pixel of ``a``."""

    name: str
    a: str
    b: str
    y: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.a, self.b)

    def reading(self, names: Mapping[str, str]) -> Self:
        """The same node with its inputs replaced as ``names`` says."""
        if names.keys().isdisjoint(self.inputs):
            return self
        return replace(self, a=names.get(self.a, self.a), b=names.get(self.b, self.b))

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        """Shape of the output."""
        a, b = shapes
        if a != b and (len(a) != 3 or b != (a[0], 1, 1)):
            raise ShapeError(f"its operands have different shapes, {list(a)} and {list(b)}")
        return a


@dataclass(frozen=True, eq=False)
class Several(Declared):
    """Reads any number of tensors."""

    name: str
    xs: tuple[str, ...]
    y: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.xs

    def reading(self, names: Mapping[str, str]) -> Self:
        """The same node with its inputs replaced as ``names`` says."""
        return self if names.keys().isdisjoint(self.xs) else replace(self, xs=tuple(names.get(x, x) for x in self.xs))


@dataclass(frozen=True, eq=False)
class Clamping(Declared):
    """``relu``: clamp the result at zero from below."""

    relu: bool = field(default=False, kw_only=True)

    @property
    def clamped(self) -> bool:
        return self.relu


class Moving(Declared):
    """Moves codes, or picks among them, and makes none."""

    @property
    def ties(self) -> bool:
        return True

    @property
    def keeps_signs(self) -> bool:
        return True


def image(shape: Shape) -> tuple[int, int, int]:
    """A shape of channels x height x width.

    Raises:
        ShapeError: it is none.
    """
    if len(shape) != 3:
        raise ShapeError(f"it needs a channels x height x width tensor, {list(shape)} arrives")
    return shape[0], shape[1], shape[2]


def windows(window: Window, size: Pair) -> Pair:
    """Height and width of what ``window`` makes of ``size``.

    Raises:
        ShapeError: it does not fit.
    """
    found = window.shape(size)
    if min(found) < 1:
        kernel = "x".join(map(str, window.kernel))
        raise ShapeError(f"a kernel of {kernel} does not fit into an input of {size[0]}x{size[1]}")
    return found


# Kinds that carry no numbers. They stand in the float graph and in the quantised network, where they act on codes.


@dataclass(frozen=True, eq=False)
class MaxPool(Moving, Unary, Clamping):
    """Maximum over the window; padding never wins."""

    window: Window

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        channels, height, width = image(shapes[0])
        return (channels, *windows(self.window, (height, width)))


@dataclass(frozen=True, eq=False)
class Add(Binary, Clamping):
    """``a + b`` or ``a - b``."""

    subtract: bool = False

    @property
    def keeps_signs(self) -> bool:
        return not self.subtract


@dataclass(frozen=True, eq=False)
class Mul(Binary, Clamping):
    """``a * b``."""

    @property
    def keeps_signs(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class Relu(Unary):
    """``max(x, 0)``: a ReLU that is not fused into what made ``x``."""

    @property
    def ties(self) -> bool:
        return True

    @property
    def never_negative(self) -> bool:
        return True

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Concat(Moving, Several):
    """Channels of several tensors one after the other; with ``axis`` 2 their rows, with 3 their columns."""

    axis: int = 1

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        x, at = shapes[0], self.axis - 1
        if at >= len(x) or any((*shape[:at], *shape[at + 1 :]) != (*x[:at], *x[at + 1 :]) for shape in shapes):
            raise ShapeError(f"its inputs have different sizes, {[list(shape) for shape in shapes]}")
        return (*x[:at], sum(shape[at] for shape in shapes), *x[at + 1 :])


@dataclass(frozen=True, eq=False)
class Select(Moving, Unary):
    """Channels by number: ``y[c] = x[channels[c]]`` (Slice, Split, channel shuffle); int64 [out_channels]."""

    channels: NDArray[np.int64]

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        (x,) = shapes
        if not self.channels.size or int(self.channels.min()) < 0 or int(self.channels.max()) >= x[0]:
            raise ShapeError(f"it selects channels that a tensor of {x[0]} does not have")
        return (int(self.channels.size), *x[1:])


@dataclass(frozen=True, eq=False)
class Upsample(Moving, Unary):
    """Nearest upsampling by whole factors ``scale`` = (y, x): ``y[c, i, j] = x[c, i // scale_y, j // scale_x]``."""

    scale: Pair

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        channels, height, width = image(shapes[0])
        return (channels, height * self.scale[0], width * self.scale[1])


@dataclass(frozen=True, eq=False)
class Host(Several):
    """One operator, or several, that are not the engine's: the processor runs them between the engine's layers.

    In the quantised network ``y = quantise(model(dequantise(xs[0]), …))``. ONNX Runtime defines the result: on the CPU,
    one thread, graph optimisation off, one image at a time; so it is the same on every run. More threads or a longer
    batch may change the last bit of a float result, and so, rarely, a code.

    Attributes:
        xs: the activations it reads, all channels x height x width; its other inputs are constants of the model.
        model: serialised ONNX model of operator set 13 or later, float32 [N, *shape] in (in the order of ``xs``) and
            out; it keeps the images of a batch apart.
        operators: the ONNX operators that it runs, in order.
        shape: of the result, channels x height x width.
    """

    model: bytes
    operators: tuple[str, ...]
    shape: Shape

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        for shape in shapes:
            image(shape)
        return self.shape


Shared: TypeAlias = MaxPool | Add | Mul | Relu | Concat | Select | Upsample | Host
"""Kinds of both networks."""
