"""Hand-made programs for the engine's tests, and what a run must leave in the buffer.

One layer per program. Deliberately naive: it places one tile after the other, splits the input groups over steps as
told, and puts several kernel positions side by side in the lanes where a chunk leaves parts to spare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from tests.unit.accel.engine_case import Case, reference


@dataclass
class Built:
    """A program, and what its run must leave in the buffer.

    Attributes:
        output, output_words: the output planes' address and length, margins included.
        expected: uint64 [output_words] after the run: what the layer fills, and the rest as it was.
    """

    buffer: NDArray[np.uint64]
    layer_table: int
    counters: int
    output: int
    output_words: int
    expected: NDArray[np.uint64]
    iterations: int
    taps: int
    weight_words: int
    fetch_words: int
    residual_words: int
    store_words: int
    steps: int


def _zeros_behind(values: NDArray[Any], groups: int) -> NDArray[Any]:
    """``values`` with channels of zeros up to whole groups."""
    return np.pad(values, [(0, groups * isa.GROUP - len(values)), *[(0, 0)] * (values.ndim - 1)])


def _words(codes: NDArray[np.int8]) -> NDArray[np.uint64]:
    """int8 [8 * groups, rows, cols] as words, uint64 [groups, rows, cols]."""
    channels, rows, cols = codes.shape
    bytes_last = codes.reshape(channels // isa.GROUP, isa.GROUP, rows, cols).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(bytes_last).view("<u8")[..., 0]


def _lane_word(select: list[int]) -> int:
    return sum(s << (3 * i) for i, s in enumerate(select))


def build(case: Case, array: Array) -> Built:
    """Lay the program and its random data out in a buffer."""
    rng = np.random.default_rng(case.seed)
    kh, kw = case.kernel
    oh, ow = case.out_shape
    x = rng.integers(-128, 128, (case.channels, case.height, case.width)).astype(np.int8)
    w = rng.integers(-127, 128, (case.outputs, case.channels, kh, kw)).astype(np.int8)
    if case.same_weights:
        w[:] = w[:, :, :1, :1]
    bias = rng.integers(-5000, 5000, case.outputs).astype(np.int32)
    multiplier = rng.integers(1, 600, case.outputs).astype(np.uint16)
    r = rng.integers(-128, 128, (case.outputs, *((1, 1) if case.broadcast else (oh, ow)))).astype(np.int8)
    table = rng.integers(-128, 128, 256).astype(np.int8)

    gpc, parts = case.groups_per_chunk, array.ic_groups
    groups = -(-case.channels // isa.GROUP)
    per_step = case.groups_per_step or groups
    th, tw = (t or full for t, full in zip(case.tile, (oh, ow), strict=True))
    rows = (th - 1) * case.stride[0] + (kh - 1) * case.dilation[0] + 1
    cols = (tw - 1) * case.stride[1] + (kw - 1) * case.dilation[1] + 1
    pitch = cols + case.pitch_extra
    chunk_cells = rows * pitch
    assert -(-per_step // gpc) * chunk_cells <= array.bank_depth

    select = [lane % isa.GROUP for lane in range(array.ic)]
    if case.shuffle_lanes:
        assert case.mode == isa.Mode.MAC
        select = [int(v) for _ in range(parts) for v in rng.permutation(isa.GROUP)]

    positions = [(ky, kx) for ky in range(kh) for kx in range(kw)]
    offsets = [ky * case.dilation[0] * pitch + kx * case.dilation[1] for ky, kx in positions]

    def repeat(n: int) -> int:
        """Parts from one holder of a group to the next that the same output lanes see: a maximum keeps to its lanes."""
        return array.oc_groups if case.mode == isa.Mode.MAX else n

    def bundles_of(n: int) -> list[list[int]]:
        """Kernel positions of each tap in a chunk of n groups: as many at once as the parts repeat the groups."""
        at_once = 1 if case.same_weights else max(1, parts // repeat(n))
        return [list(range(i, min(i + at_once, len(positions)))) for i in range(0, len(positions), at_once)]

    patterns: list[list[int]] = []

    def pattern_of(n: int, bundle: list[int]) -> int:
        chosen = [bundle[min(lane // isa.GROUP // repeat(n), len(bundle) - 1)] for lane in range(array.ic)]
        entry = [offsets[k] - offsets[bundle[0]] for k in chosen]
        if entry not in patterns:
            patterns.append(entry)
        return patterns.index(entry)

    def tap(chunk: int, first_group: int, count: int, bundle_index: int, o0: int, reuse: bool) -> list[int]:
        n = min(gpc, count - chunk * gpc)
        bundle = bundles_of(n)[bundle_index]
        header = isa.TapHeader(
            base=chunk * chunk_cells + offsets[bundle[0]], pattern=pattern_of(n, bundle), reuse=reuse
        )
        words = [int(v) for v in header.encode().reshape(-1)]
        if reuse:
            return words + [0] * (array.reuse_tap_words - 1)
        block = np.zeros((array.oc, array.ic), dtype=np.int8)
        for lane in range(array.ic):
            part = lane // isa.GROUP
            unit, replica = part % n, part // n
            group = chunk * gpc + unit
            channel = (first_group + group) * isa.GROUP + select[lane]
            if replica >= len(bundle) or channel >= case.channels:
                continue
            ky, kx = positions[bundle[replica]]
            real = min(array.oc, case.outputs - o0)
            block[:real, lane] = w[o0 : o0 + real, channel, ky, kx]
        words += [int(v) for v in block.reshape(-1).view("<u8")]
        return words + [0] * (array.tap_words - len(words))

    def block_head(o0: int, taps: int, slot: int, init: bool, emit: bool) -> list[int]:
        real = min(array.oc, case.outputs - o0)
        b = np.zeros(array.oc, dtype="<i4")
        m = np.zeros(array.oc, dtype="<u2")
        if case.mode == isa.Mode.MAC:
            b[:real], m[:real] = bias[o0 : o0 + real], multiplier[o0 : o0 + real]
        header = isa.BlockHeader(
            taps=taps,
            slot=slot,
            init=int(init),
            emit=int(emit),
            groups=-(-real // isa.GROUP),
            out_group=o0 // isa.GROUP,
        )
        words = [int(header.encode()[0, 0]), *map(int, b.view("<u8")), *map(int, m.view("<u8"))]
        return words + [0] * (array.block_words - len(words))

    stream: list[int] = []
    steps: list[dict[str, int]] = []
    fetch_words = 0
    for oy in range(0, oh, th):
        for ox in range(0, ow, tw):
            height, width = min(th, oh - oy), min(tw, ow - ox)
            beats = max(-(-height * width // array.px), array.min_beats)
            for first in range(0, groups, per_step):
                count = min(per_step, groups - first)
                if case.mode == isa.Mode.MAX:
                    assert per_step == array.oc_groups == gpc or gpc == 1
                start, taps, emit_groups = len(stream), 0, 0
                maximum = case.mode == isa.Mode.MAX
                # A maximum's outputs are its own input groups; each step emits what it loaded.
                o_begin = first * isa.GROUP if maximum else 0
                o_end = min(case.outputs, o_begin + array.oc) if maximum else case.outputs
                last = maximum or first + count == groups
                for slot, o0 in enumerate(range(o_begin, o_end, array.oc)):
                    chunks = 1 if maximum else -(-count // gpc)
                    work = [(c, k) for c in range(chunks) for k in range(len(bundles_of(min(gpc, count - c * gpc))))]
                    use = 0 if case.groups_per_step == 0 or maximum else slot
                    stream += block_head(o0, len(work), use, maximum or first == 0, last)
                    for c, k in work:
                        stream += tap(c, first, count, k, o0, reuse=maximum or (case.same_weights and k > 0))
                    taps += len(work)
                    emit_groups += -(-min(array.oc, o_end - o0) // isa.GROUP)
                    assert (use + 1) * beats <= array.acc_depth
                blocks = len(range(o_begin, o_end, array.oc))
                y0, x0 = oy * case.stride[0] - case.pads[0], ox * case.stride[1] - case.pads[1]
                r_used = (height - 1) * case.stride[0] + (kh - 1) * case.dilation[0] + 1
                c_used = (width - 1) * case.stride[1] + (kw - 1) * case.dilation[1] + 1
                in_rows = max(0, min(y0 + r_used, case.height) - max(y0, 0))
                in_cols = max(0, min(x0 + c_used, case.width) - max(x0, 0))
                fetch_words += in_rows * in_cols * count
                steps.append(
                    {
                        "y0": y0, "x0": x0, "rows": r_used, "cols": c_used, "oy0": oy, "ox0": ox,
                        "tile_height": height, "tile_width": width, "first_group": first, "groups": count,
                        "beats": beats, "blocks": blocks, "weights": start, "weight_words": len(stream) - start,
                        "taps": taps, "iterations": taps * beats, "emit_blocks": blocks if last else 0,
                        "emit_groups": emit_groups if last else 0,
                    }
                )  # fmt: skip

    # Place everything; the tables' addresses follow from the sizes. Random words surround the planes.
    layer_table = 3
    step_table = layer_table + isa.LayerDescriptor.WORDS
    pattern_table = step_table + len(steps) * isa.StepDescriptor.WORDS
    group_table = pattern_table + len(patterns) * array.pattern_words
    out_groups = case.out_groups
    residual_table = group_table + groups
    lookup_table = residual_table + out_groups
    weights = -(-(lookup_table + 32) // array.weight_port_words) * array.weight_port_words
    counters = weights + len(stream)
    source = counters + isa.LayerCounters.WORDS
    in_words, out_words = int(np.prod(case.in_plane)), int(np.prod(case.out_plane))
    residual_plane = (1, 1) if case.broadcast else case.out_plane
    residual = source + groups * in_words
    output = residual + out_groups * int(np.prod(residual_plane)) + 5
    buffer = rng.integers(0, 2**64, output + out_groups * out_words + 3, dtype="<u8")

    a, b, y = case.shifts
    layer = isa.LayerDescriptor(
        mode=int(case.mode), relu_before=int(case.relu_before), combine=int(case.combine),
        subtract=int(case.subtract), broadcast=int(case.broadcast), relu_after=int(case.relu_after),
        lookup=int(case.lookup), lookup_table=lookup_table, shift_a=a, shift_b=b, shift_y=y,
        pad_value=case.pad_value, stride_y=case.stride[0], stride_x=case.stride[1], groups_per_chunk=gpc,
        step_table=step_table, step_count=len(steps),
        in_width=case.width, in_height=case.height, in_pitch=case.in_plane[1], group_table=group_table,
        pitch=pitch, chunk_cells=chunk_cells, pattern_table=pattern_table,
        out_base=output + case.out_margin[0] * case.out_plane[1] + case.out_margin[1],
        out_plane=out_words, out_pitch=case.out_plane[1], out_step_y=case.out_step[0], out_step_x=case.out_step[1],
        residual_table=residual_table, pattern_count=len(patterns), lane_select_0=_lane_word(select[:16]),
        lane_select_1=_lane_word(select[16:]),
    )  # fmt: skip
    buffer[layer_table:step_table] = layer.encode().reshape(-1)
    for index, step in enumerate(steps):
        step["weights"] += weights
        at = step_table + index * isa.StepDescriptor.WORDS
        buffer[at : at + isa.StepDescriptor.WORDS] = isa.StepDescriptor(**step).encode().reshape(-1)
    buffer[pattern_table:group_table] = np.array(patterns, dtype="<u2").reshape(-1).view("<u8")
    # Planes need not be in order: the table is followed, not assumed.
    order = rng.permutation(groups)
    top, left = case.window[:2]
    planes = buffer[source : source + groups * in_words].reshape(groups, *case.in_plane)
    planes[order, top : top + case.height, left : left + case.width] = _words(_zeros_behind(x, groups))
    buffer[group_table : group_table + groups] = source + order * in_words + top * case.in_plane[1] + left
    planes = buffer[residual : output - 5].reshape(out_groups, *residual_plane)[::-1]
    top, left = (0, 0) if case.broadcast else case.out_margin[:2]
    used = (slice(None), slice(0, 1), slice(0, 1)) if case.broadcast else (slice(None), *case.filled)
    planes[used] = _words(_zeros_behind(r, out_groups))
    for group in range(out_groups):
        start = residual + (out_groups - 1 - group) * int(np.prod(residual_plane))
        buffer[residual_table + group] = start + top * residual_plane[1] + left
    buffer[lookup_table : lookup_table + 32] = table.view("<u8")
    buffer[weights:counters] = np.array(stream, dtype="<u8")
    expected = buffer[output : output + out_groups * out_words].copy()
    # Lanes beyond the last channel see zeros, but what they make of them is defined too.
    whole = [_zeros_behind(v, out_groups) for v in (w, bias, multiplier, r)]
    inputs = _zeros_behind(x, groups)
    whole[0] = np.pad(whole[0], [(0, 0), (0, len(inputs) - case.channels), (0, 0), (0, 0)])
    planes = expected.reshape(out_groups, *case.out_plane)
    planes[(slice(None), *case.filled)] = _words(reference(case, inputs, *whole, table))
    emitted = out_groups * oh * ow
    return Built(
        buffer=buffer,
        layer_table=layer_table,
        counters=counters,
        output=output,
        output_words=expected.size,
        expected=expected,
        iterations=sum(s["iterations"] for s in steps),
        taps=sum(s["taps"] for s in steps),
        weight_words=len(stream),
        fetch_words=fetch_words,
        residual_words=0 if not case.combine else sum(s["emit_groups"] for s in steps) if case.broadcast else emitted,
        store_words=emitted,
        steps=len(steps),
    )
