"""The interpreter's output stage, case by case: combinations, tables, and where words go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.step_costs import Traffic
from tests.unit.accel.interpret_build import Conv, Network, references
from tests.unit.accel.test_interpret import convolutions, one_layer

ALL_CODES = np.arange(-128, 128).astype(np.int8)


def identity(channels: int) -> dict[str, object]:
    """A 1×1 convolution that gives its input's codes back: 2 · 32768 / 2^16 = 1."""
    return {
        "kernel": (1, 1),
        "weight": (2 * np.eye(channels)).astype(np.int8)[:, :, None, None],
        "bias": np.zeros(channels, dtype=np.int64),
        "multiplier": np.full(channels, 32768),
    }


def every_pair(combine: isa.Combine, *, subtract: bool, shifts: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    """What the engine makes of all 256 × 256 pairs of codes; with the pairs."""
    copy = Conv("x", "y", **identity(1))
    a, b = np.meshgrid(ALL_CODES, ALL_CODES, indexing="ij")
    # Rows of x hold one code, rows of t all of them; the first layer crops the operand out of one taller input.
    network = Network(
        load_array("z7020-256"),
        {"in": (1, 512, 256), "r": (1, 256, 256), "y": (1, 256, 256)},
        [
            replace(copy, x="in", y="r", window=(256, 0, 256, 256), tile=(4, 256)),
            replace(
                copy, x="in", window=(0, 0, 256, 256), tile=(4, 256),
                residual="r", combine=combine, subtract=subtract, shifts=shifts,
            ),
        ],
        "in",
        "y",
    )  # fmt: skip
    output = interpret.run(network.build(), np.concatenate([a, b])[None]).outputs[0][0]
    return output, a.astype(np.int64), b.astype(np.int64)


@pytest.mark.parametrize("shifts", [(0, 0, 0), (0, 0, 7), (2, 0, 9), (15, 0, 15)])
def test_every_product_of_two_codes(shifts: tuple[int, int, int]) -> None:
    output, a, b = every_pair(isa.Combine.MULTIPLY, subtract=False, shifts=shifts)
    expected = np.clip(np.rint(a * b * 2.0 ** (shifts[0] - shifts[2])), -128, 127)
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("shifts", [(0, 0, 0), (0, 0, 1), (1, 3, 4), (0, 15, 15)])
def test_every_sum_and_difference_of_two_codes(subtract: bool, shifts: tuple[int, int, int]) -> None:
    output, a, b = every_pair(isa.Combine.ADD, subtract=subtract, shifts=shifts)
    sign = -1 if subtract else 1
    exact = (a * 2.0 ** shifts[0] + sign * b * 2.0 ** shifts[1]) / 2.0 ** shifts[2]
    np.testing.assert_array_equal(output, np.clip(np.rint(exact), -128, 127))


@pytest.mark.parametrize("lookup", [isa.Lookup.BEFORE, isa.Lookup.AFTER])
def test_a_table_serves_every_code(lookup: isa.Lookup) -> None:
    table = np.random.default_rng(0).permutation(ALL_CODES)
    layer = Conv("x", "y", **identity(1), lookup=lookup, table=table)
    network = Network(load_array("z7020-256"), {"x": (1, 16, 16), "y": (1, 16, 16)}, [layer], "x", "y")
    output = interpret.run(network.build(), ALL_CODES.reshape(1, 16, 16)).outputs[0].reshape(-1)
    assert output.tolist() == [int(table[c % 256]) for c in range(-128, 128)]


def test_relu_table_and_combination_follow_in_the_order_of_the_contract() -> None:
    # 5 → relu 5 → table 5 − 100 = −95 → −95 + 3 = −92 → relu 0; with the table after: 5 + 3 = 8 → 8 − 100 = −92.
    table = np.clip(np.arange(256).astype(np.int8).astype(np.int64) - 100, -128, 127).astype(np.int8)
    for lookup, expected in ((isa.Lookup.BEFORE, 0), (isa.Lookup.AFTER, -92)):
        layer = Conv(
            "x", "y", **identity(1), relu_before=True, relu_after=True, lookup=lookup, table=table,
            residual="r", shifts=(0, 0, 0),
        )  # fmt: skip
        three = Conv("x", "r", **(identity(1) | {"bias": np.array([-4])}))  # (5·2 − 4) · 32768 / 2^16 = 3
        tensors = {"x": (1, 1, 1), "r": (1, 1, 1), "y": (1, 1, 1)}
        network = Network(load_array("z7020-256"), tensors, [three, layer], "x", "y")
        assert interpret.run(network.build(), np.array([[[5]]], dtype=np.int8)).outputs[0].item() == expected


def test_max_pooling_can_be_combined_and_looked_up() -> None:
    rng = np.random.default_rng(5)
    table = rng.integers(-128, 128, 256).astype(np.int8)
    pool = Conv(
        "x", "y", (2, 2), stride=(2, 2), tile=(2, 3), residual="r", broadcast=True, combine=isa.Combine.MULTIPLY,
        shifts=(0, 0, 6), lookup=isa.Lookup.AFTER, table=table,
    )  # fmt: skip
    scale = Conv("x", "r", **identity(20), window=(3, 3, 1, 1))
    network = Network(
        load_array("zu-1024"), {"x": (20, 8, 10), "r": (20, 1, 1), "y": (20, 4, 5)}, [scale, pool], "x", "y"
    )
    x = rng.integers(-128, 128, (20, 8, 10)).astype(np.int8)
    np.testing.assert_array_equal(interpret.run(network.build(), x).outputs[0], references(network, x)["y"])


def test_layers_interleave_their_outputs() -> None:
    """The four phases of a transposed convolution of stride 2 fill one tensor, each with a layer of its own."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-60, 61, (12, 9, 4, 4)).astype(np.int8)  # [out, in, ky, kx] of the transposed kernel
    bias, multiplier = rng.integers(-900, 900, 12), rng.integers(1, 200, 12)
    layers = [
        Conv(
            # Output row 2i + p takes kernel rows p and p + 2 from input rows i and i − 1: two taps, flipped.
            "x", "y", (2, 2), np.ascontiguousarray(weight[:, :, p::2, q::2][:, :, ::-1, ::-1]), bias, multiplier,
            pads=(1, 1, 1, 1), out_step=(2, 2), out_at=(p, q), tile=(2, 5),
        )
        for p in (0, 1)
        for q in (0, 1)
    ]  # fmt: skip
    network = Network(load_array("z7020-384"), {"x": (9, 5, 6), "y": (12, 12, 14)}, layers, "x", "y")
    x = rng.integers(-128, 128, (9, 5, 6)).astype(np.int8)
    direct = np.zeros((12, 12, 14), dtype=np.int64)
    for i in range(5):
        for j in range(6):
            direct[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum(
                "oikl,i->okl", weight.astype(np.int64), x[:, i, j]
            )
    direct = (direct + bias[:, None, None]) * multiplier[:, None, None] / 65536
    output = interpret.run(network.build(), x).outputs[0]
    np.testing.assert_array_equal(output, np.clip(np.rint(direct), -128, 127))


def test_what_a_layer_leaves_between_its_pixels_stays() -> None:
    rng = np.random.default_rng(4)
    whole = Conv("x", "y", **identity(8))
    some = replace(whole, out_step=(3, 2), out_at=(1, 1), window=(0, 0, 2, 3), bias=np.full(8, 40))
    network = Network(load_array("z7020-256"), {"x": (8, 6, 7), "y": (8, 6, 7)}, [whole, some], "x", "y")
    x = rng.integers(-128, 128, (8, 6, 7)).astype(np.int8)
    output = interpret.run(network.build(), x).outputs[0]
    untouched = np.ones((6, 7), dtype=bool)
    untouched[1::3, 1::2] = False
    np.testing.assert_array_equal(output[:, untouched], x[:, untouched])
    np.testing.assert_array_equal(output[:, 1::3, 1::2], np.minimum(x[:, :2, :3].astype(int) + 20, 127))


def test_a_broadcast_operand_is_read_once_for_a_group_and_block() -> None:
    network, x = one_layer(residual="r", broadcast=True)
    network.tensors["r"] = (12, 1, 1)
    counters = interpret.run(network.build(), x).counters.row(0)
    # Four tiles, two blocks of one group each.
    assert counters.residual_words == 4 * 2
    assert counters.store_words == 8 * 8 * 2


COUNTED = {"fetch_words": "fetch", "weight_words": "weights", "residual_words": "residual", "store_words": "store"}


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_the_timing_model_counts_the_words_that_are_moved(case: tuple[Network, int]) -> None:
    network, seed = case
    program = network.build()
    x = np.random.default_rng(seed).integers(-128, 128, network.tensors["x"]).astype(np.int8)
    counters = interpret.run(program, x).counters
    for number in range(program.layer_count):
        layer = program.layers().row(number)
        steps = program.steps(layer)
        traffic = Traffic.of(layer, steps, on_chip_groups=np.zeros(int(layer.step_count), dtype=np.int64))
        for counter, modelled in COUNTED.items():
            assert int(getattr(traffic, modelled).sum()) == getattr(counters.row(number), counter)
