"""Builds small programs record by record, for tests: convolutions and max pooling in every layout allowed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.program import Plane, Program, ProgramOutput
from tests.step_order import distances, with_depends

Int8 = NDArray[np.int8]


@dataclass
class Image:
    """Grows the program's image; ``put`` returns the address of what it added."""

    words: list[NDArray[np.uint64]] = field(default_factory=list)
    size: int = 0

    def put(self, words: NDArray[np.uint64], align: int = 1) -> int:
        if self.size % align:
            self.put(np.zeros(align - self.size % align))
        address = self.size
        self.words.append(np.asarray(words, dtype=np.uint64).reshape(-1))
        self.size += self.words[-1].size
        return address


@dataclass
class Conv:
    """One layer of a test network: a convolution, or max pooling where ``weight`` is None.

    ``window`` (top, left, height, width) is the part of ``x`` that the layer takes for its input. The layer fills every
    ``out_step``-th row and pixel of ``y`` from pixel ``out_at`` on; by default all of it. ``residual`` names a tensor
    of the shape of ``y``, or of 1×1 pixels where ``broadcast``; ``combine`` says what is done with it. ``table`` is
    int8 [256], applied at ``lookup``.

    ``groups_per_chunk`` below the number of parts replicates the groups over the lanes, and the replicas take different
    kernel positions. ``tile`` is the output tile; ``step_groups`` the channel groups that one step loads. ``keep`` (of
    [blocks, chunks, kernel position]) leaves taps out.
    """

    x: str
    y: str
    kernel: tuple[int, int]
    weight: Int8 | None = None
    bias: NDArray[np.int64] | None = None
    multiplier: NDArray[np.int64] | None = None
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups_per_chunk: int = 1
    tile: tuple[int, int] = (1 << 15, 1 << 15)
    step_groups: int = 1 << 15
    slack: int = 0
    relu_before: bool = False
    relu_after: bool = False
    residual: str | None = None
    combine: isa.Combine = isa.Combine.ADD
    subtract: bool = False
    broadcast: bool = False
    lookup: isa.Lookup = isa.Lookup.NONE
    table: Int8 | None = None
    window: tuple[int, int, int, int] | None = None
    out_step: tuple[int, int] = (1, 1)
    out_at: tuple[int, int] = (0, 0)
    shifts: tuple[int, int, int] = (0, 0, 0)
    pad_value: int = 0
    reuse_equal: bool = False
    lane_seed: int | None = None


@dataclass
class Network:
    """Layers over named tensors (channels, height, width); ``build`` encodes them.

    Tensors named in ``on_chip`` lie in the engine's own memory. Every step waits for what it reads and nothing more.
    """

    array: Array
    tensors: dict[str, tuple[int, int, int]]
    layers: list[Conv]
    input: str
    output: str
    on_chip: tuple[str, ...] = ()

    def build(self) -> Program:
        image = Image()
        # Tables hold addresses of planes that follow the image, whose length is known only after a first pass.
        for _ in range(2):
            planes = self._planes(image.size)
            image = Image()
            table = image.put(np.zeros(len(self.layers) * isa.LayerDescriptor.WORDS))
            descriptors = [Lowering(self.array, layer, planes, image).descriptor() for layer in self.layers]
            image.words[0] = np.concatenate([d.encode()[0] for d in descriptors])
        counters = image.size
        last = planes[self.output]
        end = max(p.address + p.words for name, p in planes.items() if name not in self.on_chip)
        program = Program(
            array=self.array.name,
            digest=self.array.digest,
            image=np.concatenate(image.words),
            size=end,
            layer_table=table,
            counters=counters,
            layer_names=tuple(layer.y for layer in self.layers),
            input=planes[self.input],
            outputs=(ProgramOutput("y", last, (last.channels, last.height, last.width)),),
        )
        return with_depends(program, distances(program, self.array))

    def _planes(self, image_size: int) -> dict[str, Plane]:
        at = image_size + len(self.layers) * isa.LayerCounters.WORDS
        on_chip = isa.ON_CHIP
        planes: dict[str, Plane] = {}
        for name, shape in self.tensors.items():
            planes[name] = Plane(on_chip if name in self.on_chip else at, *shape, 0)
            if name in self.on_chip:
                on_chip += planes[name].words
            else:
                at += planes[name].words
        return planes


@dataclass
class Lowering:
    array: Array
    layer: Conv
    planes: dict[str, Plane]
    image: Image
    patterns: list[tuple[int, ...]] = field(default_factory=list)

    def layer_geometry(self) -> tuple[int, int, int, int]:
        """Tile height and width of a full tile, pitch and chunk_cells."""
        layer = self.layer
        out_height, out_width = self.output_size()
        height, width = min(layer.tile[0], out_height), min(layer.tile[1], out_width)
        rows, cols = self.input_tile(height, width)
        pitch = cols + layer.slack
        return height, width, pitch, rows * pitch + layer.slack

    def output_size(self) -> tuple[int, int]:
        """Rows and pixels that the layer makes: the share of ``y`` that it fills."""
        layer, y = self.layer, self.planes[self.layer.y]
        (sy, sx), (top, left) = layer.out_step, layer.out_at
        return -(-(y.height - top) // sy), -(-(y.width - left) // sx)

    def input_tile(self, height: int, width: int) -> tuple[int, int]:
        (kh, kw), (sy, sx), (dy, dx) = self.layer.kernel, self.layer.stride, self.layer.dilation
        return (height - 1) * sy + (kh - 1) * dy + 1, (width - 1) * sx + (kw - 1) * dx + 1

    def descriptor(self) -> isa.LayerDescriptor:
        layer, array = self.layer, self.array
        x, y = self.planes[layer.x], self.planes[layer.y]
        height, width, pitch, chunk_cells = self.layer_geometry()
        is_max = layer.weight is None
        per_chunk = array.oc_groups if is_max else layer.groups_per_chunk
        select = np.arange(array.ic) % isa.GROUP
        if layer.lane_seed is not None:
            select = np.random.default_rng(layer.lane_seed).permutation(isa.GROUP)[select]
        in_top, in_left, in_height, in_width = layer.window or (0, 0, x.height, x.width)
        first_pixel = in_top * x.width + in_left
        group_table = self.image.put(x.address + first_pixel + np.arange(x.groups) * (x.height * x.width))
        step_groups = per_chunk if is_max else min(layer.step_groups, x.groups)
        streams: dict[int, tuple[int, dict[str, int]]] = {}
        steps: list[isa.StepDescriptor] = []
        out_height, out_width = self.output_size()
        for oy in range(0, out_height, height):
            for ox in range(0, out_width, width):
                th, tw = min(height, out_height - oy), min(width, out_width - ox)
                rows, cols = self.input_tile(th, tw)
                beats = max(-(-th * tw // array.px), array.min_beats)
                for first in range(0, x.groups, step_groups):
                    groups = min(step_groups, x.groups - first)
                    if first not in streams:
                        words, counts = self.stream(first, groups, step_groups, per_chunk, pitch, chunk_cells, select)
                        streams[first] = (
                            self.image.put(words, array.weight_port_words),
                            counts | {"weight_words": words.size},
                        )
                    address, counts = streams[first]
                    steps.append(
                        isa.StepDescriptor(
                            y0=oy * layer.stride[0] - layer.pads[0],
                            x0=ox * layer.stride[1] - layer.pads[1],
                            rows=rows, cols=cols, oy0=oy, ox0=ox, tile_height=th, tile_width=tw,
                            first_group=first, groups=groups, beats=beats, weights=address,
                            iterations=counts["taps"] * beats, **counts,
                        )
                    )  # fmt: skip
        residual_table = lookup_table = 0
        out_first = layer.out_at[0] * y.width + layer.out_at[1]
        if layer.residual is not None:
            r = self.planes[layer.residual]
            offset = 0 if layer.broadcast else out_first
            residual_table = self.image.put(r.address + offset + np.arange(r.groups) * (r.height * r.width))
        if layer.table is not None:
            lookup_table = self.image.put(layer.table.view("<u8"))
        return isa.LayerDescriptor(
            mode=isa.Mode.MAX if is_max else isa.Mode.MAC,
            relu_before=layer.relu_before, relu_after=layer.relu_after,
            combine=layer.combine if layer.residual is not None else isa.Combine.NONE,
            subtract=layer.subtract, broadcast=layer.broadcast, lookup=layer.lookup, lookup_table=lookup_table,
            shift_a=layer.shifts[0], shift_b=layer.shifts[1], shift_y=layer.shifts[2], pad_value=layer.pad_value,
            stride_y=layer.stride[0], stride_x=layer.stride[1], groups_per_chunk=per_chunk,
            step_table=self.image.put(np.concatenate([s.encode()[0] for s in steps])), step_count=len(steps),
            in_width=in_width, in_height=in_height, in_pitch=x.width, group_table=group_table,
            pitch=pitch, chunk_cells=chunk_cells,
            pattern_table=self.image.put(np.array(self.patterns, dtype="<u2").view("<u8")),
            pattern_count=len(self.patterns),
            out_base=y.address + out_first, out_plane=y.height * y.width, out_pitch=y.width,
            out_step_y=layer.out_step[0], out_step_x=layer.out_step[1],
            residual_table=residual_table,
            lane_select_0=sum(int(s) << 3 * i for i, s in enumerate(select[:16])),
            lane_select_1=sum(int(s) << 3 * i for i, s in enumerate(select[16:])),
        )  # fmt: skip

    def stream(
        self, first: int, groups: int, step_groups: int, per_chunk: int, pitch: int, chunk_cells: int, select: NDArray
    ) -> tuple[NDArray[np.uint64], dict[str, int]]:
        """The weight stream of one step and the counts of its descriptor."""
        layer, array = self.layer, self.array
        x, y = self.planes[layer.x], self.planes[layer.y]
        is_max = layer.weight is None
        kh, kw = layer.kernel
        positions = [(i // kw * layer.dilation[0] * pitch + i % kw * layer.dilation[1]) for i in range(kh * kw)]
        part = np.arange(array.ic) // isa.GROUP
        out: list[NDArray[np.uint64]] = []
        counts = {"taps": 0, "blocks": 0, "emit_blocks": 0, "emit_groups": 0}
        oc_groups = array.oc_groups
        block_outputs = [first] if is_max else range(0, y.groups, oc_groups)
        for slot, out_group in enumerate(block_outputs):
            taps: list[NDArray[np.uint64]] = []
            previous: Int8 | None = None
            for chunk in range(1 if is_max else -(-groups // per_chunk)):
                # A short last chunk repeats its groups over more parts. MAX folds lanes by OC whatever the chunk holds.
                size = per_chunk if is_max else min(per_chunk, groups - chunk * per_chunk)
                replica, unit, replicas = part // size, part % size, array.ic_groups // size
                for k in range(0, kh * kw, replicas):
                    # Kernel position of each lane; lanes past the last position repeat it and weigh nothing.
                    wanted = k + replica
                    position = np.minimum(wanted, kh * kw - 1)
                    lane_offset = np.array(positions)[position]
                    pattern = tuple(int(v) for v in lane_offset - positions[k])
                    if pattern not in self.patterns:
                        self.patterns.append(pattern)
                    header = isa.TapHeader(
                        base=chunk * chunk_cells + positions[k], pattern=self.patterns.index(pattern), reuse=int(is_max)
                    )
                    if is_max:
                        taps.append(self.padded(header.encode()[0], array.reuse_tap_words))
                        continue
                    assert layer.weight is not None
                    group = chunk * per_chunk + unit
                    channel = (first + group) * isa.GROUP + select
                    live = (wanted < kh * kw) & (replica < replicas) & (channel < x.channels)
                    weights = np.zeros((array.oc, array.ic), dtype=np.int8)
                    o = np.arange(out_group * isa.GROUP, min((out_group + oc_groups) * isa.GROUP, y.channels))
                    lanes = np.flatnonzero(live)
                    at = position[lanes]
                    weights[: len(o), lanes] = layer.weight[o][:, channel[lanes], at // kw, at % kw]
                    if layer.reuse_equal and previous is not None and np.array_equal(previous, weights):
                        header = isa.TapHeader(base=header.base, pattern=header.pattern, reuse=1)
                        taps.append(self.padded(header.encode()[0], array.reuse_tap_words))
                    else:
                        words = np.concatenate([header.encode()[0], weights.reshape(-1).view("<u8")])
                        taps.append(self.padded(words, array.tap_words))
                    previous = weights
            emit = is_max or first + step_groups >= x.groups
            emitted = min(oc_groups, y.groups - out_group)
            # Blocks that finish within their step can all use one slot.
            whole = first == 0 and emit
            head = isa.BlockHeader(
                taps=len(taps),
                slot=0 if whole else slot,
                init=int(is_max or first == 0),
                emit=int(emit),
                groups=emitted,
                out_group=out_group,
            )
            bias = np.zeros(array.oc, dtype="<i4")
            multiplier = np.zeros(array.oc, dtype="<u2")
            if not is_max:
                n = min(array.oc, y.channels - out_group * isa.GROUP)
                o0 = out_group * isa.GROUP
                bias[:n], multiplier[:n] = layer.bias[o0 : o0 + n], layer.multiplier[o0 : o0 + n]
            words = np.concatenate([head.encode()[0], bias.view("<u8"), multiplier.view("<u8")])
            out += [self.padded(words, array.block_words), *taps]
            counts["taps"] += len(taps)
            counts["blocks"] += 1
            counts["emit_blocks"] += int(emit)
            counts["emit_groups"] += emitted * int(emit)
        return np.concatenate(out), counts

    @staticmethod
    def padded(words: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
        return np.pad(words, (0, length - words.size))


def requantize(values: NDArray[np.int64], multiplier: NDArray[np.int64]) -> NDArray[np.int64]:
    """Direct formula: float64 holds every product here exactly, and np.rint rounds halves to even."""
    scaled = np.rint(values.astype(np.float64) * multiplier[:, None, None] / 65536)
    return np.clip(scaled, -128, 127).astype(np.int64)


def windows(x: NDArray[np.int64], layer: Conv, fill: int) -> NDArray[np.int64]:
    """int64 [C, kh, kw, OH, OW] of a padded input, by plain loops over kernel positions."""
    top, left, bottom, right = layer.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=fill)
    (kh, kw), (sy, sx), (dy, dx) = layer.kernel, layer.stride, layer.dilation
    oh = (padded.shape[1] - (kh - 1) * dy - 1) // sy + 1
    ow = (padded.shape[2] - (kw - 1) * dx - 1) // sx + 1
    out = np.zeros((x.shape[0], kh, kw, oh, ow), dtype=np.int64)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dy, i * dy + (oh - 1) * sy + 1, sy)
            out[:, i, j] = padded[:, rows, j * dx : j * dx + (ow - 1) * sx + 1 : sx]
    return out


def look_up(table: Int8, y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each code's entry, by a plain loop over the codes."""
    out = np.zeros_like(y)
    for code in range(-128, 128):
        out[y == code] = table[code if code >= 0 else code + 256]
    return out


def combined(layer: Conv, y: NDArray[np.int64], residual: Int8) -> NDArray[np.int64]:
    """The combination in float64, which holds every value here exactly; ``residual`` may be C×1×1."""
    (a, b, s), r = layer.shifts, residual.astype(np.float64)
    if layer.combine == isa.Combine.MULTIPLY:
        exact = y * r * 2.0**a
    else:
        exact = y * 2.0**a + (-r if layer.subtract else r) * 2.0**b
    return np.clip(np.rint(exact / 2.0**s), -128, 127).astype(np.int64)


def reference(layer: Conv, x: Int8, residual: Int8 | None = None) -> Int8:
    """The layer by its direct formula: the pixels it makes. ``residual``: of that shape, or C×1×1."""
    if layer.window is not None:
        top, left, height, width = layer.window
        x = x[:, top : top + height, left : left + width]
    if layer.weight is None:
        y = windows(x.astype(np.int64), layer, layer.pad_value).max(axis=(1, 2))
    else:
        sums = np.einsum(
            "ocij,cijyx->oyx", layer.weight.astype(np.int64), windows(x.astype(np.int64), layer, layer.pad_value)
        )
        y = requantize(sums + layer.bias[:, None, None], layer.multiplier)
    if layer.relu_before:
        y = np.maximum(y, 0)
    if layer.lookup == isa.Lookup.BEFORE:
        y = look_up(layer.table, y)
    if residual is not None:
        y = combined(layer, y, residual)
    if layer.relu_after:
        y = np.maximum(y, 0)
    if layer.lookup == isa.Lookup.AFTER:
        y = look_up(layer.table, y)
    return y.astype(np.int8)


def references(network: Network, x: Int8) -> dict[str, Int8]:
    """Every tensor of the network by direct formulas; pixels that no layer makes are 0."""
    tensors = {name: np.zeros(shape, dtype=np.int8) for name, shape in network.tensors.items()}
    tensors[network.input] = x
    for layer in network.layers:
        made = (
            slice(None),
            slice(layer.out_at[0], None, layer.out_step[0]),
            slice(layer.out_at[1], None, layer.out_step[1]),
        )
        residual = tensors[layer.residual] if layer.residual else None
        if residual is not None and not layer.broadcast:
            residual = residual[made]
        tensors[layer.y][made] = reference(layer, tensors[layer.x], residual)
    return tensors
