"""A program: the DDR image that makes the engine run one network, and where its input and output lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.bitfield import Words
from proprune_cli.work.preprocess import Preprocess


def to_codes(real: NDArray[np.float32], exponent: int) -> NDArray[np.int8]:
    """Real values → int8 codes: ``clip(round_half_even(x / 2**exponent))``, as ONNX QuantizeLinear does."""
    return np.clip(np.rint(np.ldexp(real, -exponent)), -128, 127).astype(np.int8)


def to_real(codes: NDArray[np.int8], exponent: int) -> NDArray[np.float32]:
    """int8 codes → float32, exactly ``q * 2**exponent``."""
    return np.ldexp(codes.astype(np.float32), exponent)


def stack(images: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8 [N, C, H, W] → int8 [C, N * H, W]: the images of a batch below one another, as a program takes them."""
    count, channels, height, width = images.shape
    return np.ascontiguousarray(images.transpose(1, 0, 2, 3)).reshape(channels, count * height, width)


def unstack(codes: NDArray[np.int8], count: int) -> NDArray[np.int8]:
    """int8 [C, count * H, W] → int8 [count, C, H, W]; inverse of :func:`stack`."""
    channels, rows, width = codes.shape
    return np.ascontiguousarray(codes.reshape(channels, count, rows // count, width).transpose(1, 0, 2, 3))


@dataclass(frozen=True)
class Plane:
    """A feature tensor in DDR: channel groups of 8, each a plane of ``height * width`` words, one word per pixel.

    Attributes:
        address: word offset of the first plane.
        exponent: real value of code q is ``q * 2**exponent``.
    """

    address: int
    channels: int
    height: int
    width: int
    exponent: int

    @property
    def groups(self) -> int:
        return -(-self.channels // isa.GROUP)

    @property
    def words(self) -> int:
        return self.groups * self.height * self.width

    def pack(self, codes: NDArray[np.int8]) -> Words:
        """int8 [channels, height, width] → uint64 [words]; the lanes beyond ``channels`` are 0."""
        padded = np.zeros((self.groups * isa.GROUP, self.height, self.width), dtype=np.int8)
        padded[: self.channels] = codes
        grouped = padded.reshape(self.groups, isa.GROUP, self.height * self.width).transpose(0, 2, 1)
        return np.ascontiguousarray(grouped).view("<u8").reshape(-1)

    def unpack(self, words: Words) -> NDArray[np.int8]:
        """uint64 [words] → int8 [channels, height, width]."""
        grouped = words.view(np.int8).reshape(self.groups, self.height * self.width, isa.GROUP)
        planes = grouped.transpose(0, 2, 1).reshape(self.groups * isa.GROUP, self.height, self.width)
        return np.ascontiguousarray(planes[: self.channels])


@dataclass(frozen=True)
class HostStep:
    """A computation between two layers that is not the engine's: the processor beside it runs an ONNX model.

    Attributes:
        operators: what the model computes, in order.
        after: how many layers run before it. Steps of one place run in the order in which the program lists them.
        inputs, output: the tensors it reads and the one it writes.
        model: serialised ONNX model, int8 codes [1, channels, height, width] in and out.
    """

    name: str
    operators: tuple[str, ...]
    after: int
    inputs: tuple[Plane, ...]
    output: Plane
    model: bytes


@dataclass(frozen=True)
class ProgramOutput:
    """One output of the network.

    Attributes:
        name: the ONNX output's. plane: the tensor, which may be another output's too.
        shape: the ONNX output's without the batch; as many elements as the tensor has for one image.
    """

    name: str
    plane: Plane
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Everything the engine needs for one network.

    Attributes:
        array: name of the array it was compiled for. digest: that array's contract digest.
        image: uint64 words written once at the start of the buffer: descriptors, tables, weight streams.
        size: words of the whole buffer: image, counters and feature tensors.
        layer_table, counters: addresses for the registers of those names.
        layer_names: one per LayerDescriptor.
        host_steps: what the processor computes between layers, in execution order; empty for most networks.
        batch: images per start. Input and outputs hold them below one another: their planes have ``batch`` times an
            image's rows.
        preprocess: done to an image before its codes are taken; None where nothing is.
    """

    array: str
    digest: str
    image: Words
    size: int
    layer_table: int
    counters: int
    layer_names: tuple[str, ...]
    input: Plane
    outputs: tuple[ProgramOutput, ...]
    host_steps: tuple[HostStep, ...] = ()
    batch: int = 1
    preprocess: Preprocess | None = None

    def codes(self, images: NDArray[np.float32]) -> NDArray[np.int8]:
        """Codes of the input, int8 [N, C, H, W], of images as the network takes them, float32 [N, C, H, W]."""
        return to_codes(self.real_input(images), self.input.exponent)

    def real_input(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `codes` rounds: the images after preprocessing."""
        return images if self.preprocess is None else self.preprocess.apply(images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.input.channels, self.input.height // self.batch, self.input.width

    def unpack_outputs(self, buffer: Words) -> tuple[NDArray[np.int8], ...]:
        """The outputs' codes, int8 [channels, height, width] each, from the whole buffer after a run."""
        planes = [output.plane for output in self.outputs]
        return tuple(plane.unpack(buffer[plane.address : plane.address + plane.words]) for plane in planes)

    @property
    def layer_count(self) -> int:
        return len(self.layer_names)

    @property
    def bytes(self) -> int:
        """Contiguous DDR the program needs."""
        return self.size * isa.WORD_BYTES

    def layers(self) -> isa.LayerDescriptor:
        """The layer descriptors, columnar."""
        return isa.LayerDescriptor.decode(self._table(self.layer_table, self.layer_count, isa.LayerDescriptor.WORDS))

    def steps(self, layer: isa.LayerDescriptor) -> isa.StepDescriptor:
        """The step descriptors of one layer (a row of :meth:`layers`), columnar."""
        return isa.StepDescriptor.decode(
            self._table(int(layer.step_table), int(layer.step_count), isa.StepDescriptor.WORDS)
        )

    def all_steps(self, layers: isa.LayerDescriptor) -> isa.StepDescriptor:
        """The step descriptors of all ``layers`` one after the other, columnar."""
        tables = zip(np.asarray(layers.step_table).tolist(), np.asarray(layers.step_count).tolist(), strict=True)
        words = [self._table(address, count, isa.StepDescriptor.WORDS) for address, count in tables]
        return isa.StepDescriptor.decode(np.concatenate(words))

    def _table(self, address: int, count: int, words: int) -> Words:
        return self.image[address : address + count * words]
