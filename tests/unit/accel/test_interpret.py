"""The interpreter against direct formulas, on random layers in every layout that the contract allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import load_array
from tests.unit.accel.interpret_build import Conv, Network, reference, references

ARRAYS = ("z7020-256", "z7020-384", "zu-1024")


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Network, int]:
    array = load_array(draw(st.sampled_from(ARRAYS)))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height = draw(st.integers(max(1, reach[0] - pads[0] - pads[2]), 14))
    width = draw(st.integers(max(1, reach[1] - pads[1] - pads[3]), 14))
    # Planes that are larger than the input: the layer takes a window of them.
    around = tuple(draw(st.sampled_from([0, 0, 3])) for _ in range(4))
    window = (around[0], around[1], height, width) if any(around) else None
    out_step = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    out_at = tuple(draw(st.integers(0, s - 1)) for s in out_step)
    spare = tuple(draw(st.integers(0, s - 1)) for s in out_step)
    out = [
        (n + before + after - r) // s + 1
        for n, before, after, r, s in zip((height, width), pads[:2], pads[2:], reach, stride, strict=True)
    ]
    cin, cout = draw(st.integers(1, 50)), draw(st.integers(1, 40))
    magnitude = draw(st.sampled_from([1, 20, 127]))
    weight = rng.integers(-magnitude, magnitude + 1, (cout, cin, *kernel)).astype(np.int8)
    weight[rng.random(weight.shape) < draw(st.sampled_from([0.0, 0.9]))] = 0
    per_chunk = draw(st.integers(1, array.ic_groups))
    residual, broadcast = draw(st.booleans()), draw(st.booleans())
    combine = draw(st.sampled_from([isa.Combine.ADD, isa.Combine.MULTIPLY]))
    lookup = draw(st.sampled_from(list(isa.Lookup)))
    layer = Conv(
        "x", "y", kernel, weight,
        bias=rng.integers(-5000, 5001, cout),
        multiplier=rng.integers(1, draw(st.sampled_from([40, 2000, 32768])), cout),
        stride=stride, pads=pads, dilation=dilation, groups_per_chunk=per_chunk,
        tile=(draw(st.integers(1, 14)), draw(st.integers(1, 14))),
        step_groups=per_chunk * draw(st.integers(1, 4)), slack=draw(st.integers(0, 2)),
        relu_before=draw(st.booleans()), relu_after=draw(st.booleans()),
        residual="r" if residual else None, combine=combine, broadcast=residual and broadcast,
        subtract=combine == isa.Combine.ADD and draw(st.booleans()),
        lookup=lookup, table=rng.integers(-128, 128, 256).astype(np.int8) if lookup else None,
        window=window, out_step=out_step, out_at=out_at, shifts=tuple(draw(st.integers(0, 6)) for _ in range(3)),
        pad_value=draw(st.sampled_from([0, 0, -3])),
        reuse_equal=draw(st.booleans()), lane_seed=draw(st.sampled_from([None, 1])),
    )  # fmt: skip
    whole = [a + (n - 1) * s + 1 + e for a, n, s, e in zip(out_at, out, out_step, spare, strict=True)]
    tensors = {
        "x": (cin, height + around[0] + around[2], width + around[1] + around[3]),
        "y": (cout, whole[0], whole[1]),
    }
    layers = [layer]
    if residual:
        # A first layer makes the residual operand, so that the second reads what the engine itself wrote.
        first = replace(layer, y="r", residual=None, broadcast=False, subtract=False, tile=(3, 5))
        tensors["r"] = tensors["y"]
        if broadcast:
            tensors["r"] = (cout, 1, 1)
            first = replace(
                first, kernel=(1, 1), weight=weight[:, :, :1, :1], stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1),
                window=(0, 0, 1, 1), out_step=(1, 1), out_at=(0, 0),
            )  # fmt: skip
        layers = [first, layer]
    return Network(array, tensors, layers, "x", "y"), seed


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_convolutions_equal_the_direct_formula(case: tuple[Network, int]) -> None:
    network, seed = case
    x = np.random.default_rng(seed).integers(-128, 128, network.tensors["x"]).astype(np.int8)
    result = interpret.run(network.build(), x)
    np.testing.assert_array_equal(result.outputs[0], references(network, x)["y"])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(ARRAYS),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 33), st.integers(4, 11), st.integers(4, 11)),
    tile=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    pad=st.integers(0, 1),
    slack=st.integers(0, 1),
    relu=st.booleans(),
)
def test_max_pooling_equals_the_direct_formula(
    name: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int, int],
    tile: tuple[int, int],
    pad: int,
    slack: int,
    relu: bool,
) -> None:
    channels, height, width = size
    pad = min(pad, kernel[0] - 1, kernel[1] - 1)
    layer = Conv(
        "x", "y", kernel, stride=stride, pads=(pad,) * 4, pad_value=-128, tile=tile, slack=slack, relu_before=relu
    )
    out = [(n + 2 * pad - k) // s + 1 for n, k, s in zip((height, width), kernel, stride, strict=True)]
    network = Network(load_array(name), {"x": size, "y": (channels, out[0], out[1])}, [layer], "x", "y")
    x = np.random.default_rng(channels).integers(-128, 128, size).astype(np.int8)
    np.testing.assert_array_equal(interpret.run(network.build(), x).outputs[0], reference(layer, x))


def one_layer(**changes: object) -> tuple[Network, np.ndarray]:
    """A 3×3 convolution of 32 channels at 8×8 to 12, in two steps of channel groups and four tiles."""
    rng = np.random.default_rng(7)
    layer = Conv(
        "x", "y", (3, 3), rng.integers(-127, 128, (12, 32, 3, 3)).astype(np.int8),
        bias=rng.integers(-900, 900, 12), multiplier=rng.integers(1, 60, 12), pads=(1, 1, 1, 1),
        groups_per_chunk=2, tile=(4, 4), step_groups=2,
    )  # fmt: skip
    layer = replace(layer, **changes)  # type: ignore[arg-type]
    network = Network(load_array("z7020-256"), {"x": (32, 8, 8), "y": (12, 8, 8), "r": (12, 8, 8)}, [layer], "x", "y")
    return network, rng.integers(-128, 128, (32, 8, 8)).astype(np.int8)


def test_counters_count_what_the_contract_says() -> None:
    network, x = one_layer(residual="r")
    program = network.build()
    result = interpret.run(program, x)
    counters = result.counters.row(0)
    # Four corner tiles of 4×4, each reading 5×5 pixels inside the image of 4 groups; 16 pixels take 8 beats.
    assert counters.fetch_words == 4 * 25 * 4
    assert counters.taps == 4 * 2 * 2 * 9
    assert counters.iterations == counters.taps * 8
    assert counters.weight_words == 4 * 2 * 2 * (7 + 9 * 17)
    assert counters.residual_words == counters.store_words == 8 * 8 * 2
    assert counters.cycles == counters.accumulate_span == 0
    written = result.buffer[program.counters : program.counters + isa.LayerCounters.WORDS]
    assert isa.LayerCounters.decode(written).row(0) == counters


def test_an_engine_runs_the_same_buffer_in_place() -> None:
    network, x = one_layer()
    program = network.build()
    expected = interpret.run(program, x)
    buffer = np.zeros(program.size, dtype=np.uint64)
    buffer[: program.image.size] = program.image
    buffer[program.input.address : program.input.address + program.input.words] = program.input.pack(x)
    engine = interpret.InterpreterEngine(network.array)
    assert engine.run(buffer, program.layer_table, 8, program.counters) == 8
    np.testing.assert_array_equal(buffer, expected.buffer)
    assert engine.digest() == int(network.array.digest[:8], 16)
    assert engine.run(buffer, 0, 0, 0) == 0


def test_saturated_sums_of_many_lanes_stay_exact() -> None:
    # 1,000 products of -128 · -127 by float32 would still be exact; their total of 9,000 would not.
    weight = np.full((1, 100, 3, 3), -127, dtype=np.int8)
    layer = Conv("x", "y", (3, 3), weight, bias=np.array([1]), multiplier=np.array([1]), groups_per_chunk=2)
    network = Network(load_array("z7020-256"), {"x": (100, 3, 3), "y": (1, 1, 1)}, [layer], "x", "y")
    x = np.full((100, 3, 3), -128, dtype=np.int8)
    total = 900 * 127 * 128 + 1
    assert interpret.run(network.build(), x).outputs[0].item() == min(127, round(total / 65536))
