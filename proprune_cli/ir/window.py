"""A window that slides over an image: of a convolution, a pooling, a pass of the engine."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


def signs(pads: Pads) -> tuple[Pads, Pads]:
    """``pads`` that cut off, negative, and those that add."""
    top, left, bottom, right = pads
    return (
        (min(top, 0), min(left, 0), min(bottom, 0), min(right, 0)),
        (max(top, 0), max(left, 0), max(bottom, 0), max(right, 0)),
    )


@dataclass(frozen=True)
class Window:
    """Kernel, stride and dilation as (y, x); pads as (top, left, bottom, right), negative ones crop."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    @staticmethod
    def over(
        kernel: tuple[int, ...], stride: Pair = (1, 1), pads: Pads = (0, 0, 0, 0), dilation: Pair = (1, 1)
    ) -> Window:
        """A window of a kernel that is the end of a weight's shape, ``weight.shape[2:]``."""
        return Window((kernel[0], kernel[1]), stride, pads, dilation)

    @property
    def positions(self) -> int:
        """Kernel positions."""
        return self.kernel[0] * self.kernel[1]

    @property
    def extent(self) -> Pair:
        """Rows and columns that one window spans."""
        return (self.dilation[0] * (self.kernel[0] - 1) + 1, self.dilation[1] * (self.kernel[1] - 1) + 1)

    def count(self, size: int, axis: int) -> int:
        """How many windows fit along an axis of ``size`` elements, rounded down (ONNX ``ceil_mode=0``); may be <= 0."""
        return (size + self.pads[axis] + self.pads[axis + 2] - self.extent[axis]) // self.stride[axis] + 1

    def reach(self, count: int, axis: int) -> int:
        """Elements along an axis that ``count`` windows span, one after the other."""
        return (count - 1) * self.stride[axis] + self.extent[axis]

    def shape(self, size: Pair) -> Pair:
        """Output (height, width) of a convolution or pooling over ``size`` = (height, width)."""
        return self.count(size[0], 0), self.count(size[1], 1)

    def transposed_shape(self, size: Pair, extra: Pair = (0, 0)) -> Pair:
        """Output (height, width) of a transposed convolution, with ``extra`` rows and columns at the end."""
        full = [(size[i] - 1) * self.stride[i] + self.extent[i] + extra[i] for i in (0, 1)]
        return (full[0] - self.pads[0] - self.pads[2], full[1] - self.pads[1] - self.pads[3])
