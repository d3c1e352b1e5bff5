"""The compiled engine against direct NumPy convolution, on programs made by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proprune_cli.accel import isa
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.board.native import NativeEngine, counters_of
from tests.unit.accel.engine_builder import Built, build
from tests.unit.accel.engine_case import Case

ARRAYS = array_names()
ADD, MULTIPLY = isa.Combine.ADD, isa.Combine.MULTIPLY
BEFORE, AFTER = isa.Lookup.BEFORE, isa.Lookup.AFTER


@cache
def engine(name: str, packed: bool = False) -> NativeEngine:
    return NativeEngine(load_array(name), packed=packed)


def run(case: Case, name: str, *, packed: bool = False) -> Built:
    """Runs a case; the whole buffer must be as it was but for the counters and what the layer fills."""
    built = build(case, load_array(name))
    expected = built.buffer.copy()
    assert engine(name, packed).run(built.buffer, built.layer_table, built.steps, built.counters) == built.steps
    after = built.buffer.copy()
    expected[built.output : built.output + built.output_words] = built.expected
    expected[built.counters : built.counters + isa.LayerCounters.WORDS] = after[
        built.counters : built.counters + isa.LayerCounters.WORDS
    ]
    np.testing.assert_array_equal(after.view(np.int8), expected.view(np.int8))
    return built


PROGRAMS = {
    "one by one": Case(channels=16, outputs=16),
    "padding": Case(kernel=(3, 3), pads=(1, 1, 1, 1), pad_value=-7),
    "asymmetric padding": Case(kernel=(2, 3), pads=(2, 0, 1, 3)),
    "stride and dilation": Case(height=19, width=17, kernel=(3, 2), stride=(2, 3), dilation=(2, 4), pads=(1, 2, 0, 1)),
    "one pixel is padded to the shortest tap": Case(channels=24, height=1, width=1, outputs=8),
    "channels repeated over the lanes": Case(channels=3, kernel=(5, 5), pads=(2, 2, 2, 2), outputs=12),
    "two groups to a chunk": Case(channels=40, outputs=20, groups_per_chunk=2, kernel=(3, 3), pads=(1, 1, 1, 1)),
    "a short last chunk repeats its groups": Case(channels=24, groups_per_chunk=2, kernel=(3, 3)),
    "a chunk that is larger than the step": Case(channels=8, groups_per_chunk=2, kernel=(3, 3)),
    "steps share accumulators": Case(
        channels=40, outputs=24, groups_per_chunk=2, groups_per_step=2, kernel=(3, 3), pads=(1, 1, 1, 1)
    ),
    "steps of one group": Case(channels=24, outputs=16, groups_per_step=1),
    "tiles": Case(height=23, width=21, kernel=(3, 3), pads=(1, 1, 1, 1), tile=(8, 5)),
    "tiles of whole rows": Case(height=23, width=21, kernel=(3, 3), pads=(1, 1, 1, 1), tile=(4, 21)),
    "tiles and split groups": Case(
        channels=33, outputs=17, height=15, width=14, kernel=(3, 3), tile=(6, 6), groups_per_step=2
    ),
    "rows apart": Case(kernel=(3, 3), pitch_extra=5),
    "reused weights": Case(channels=16, kernel=(3, 3), same_weights=True),
    "lanes in another order": Case(channels=16, kernel=(3, 3), groups_per_chunk=2, shuffle_lanes=True),
    "clamp before": Case(relu_before=True),
    "clamp after": Case(relu_after=True),
    "residual": Case(channels=16, outputs=24, combine=ADD, shifts=(2, 0, 3)),
    "residual with clamps": Case(combine=ADD, shifts=(0, 4, 2), relu_before=True, relu_after=True),
    "residual in tiles": Case(height=12, width=11, outputs=16, combine=ADD, shifts=(1, 1, 1), tile=(5, 4)),
    "residual without a right shift": Case(combine=ADD, shifts=(1, 0, 0)),
    "difference": Case(outputs=24, combine=ADD, subtract=True, shifts=(1, 2, 2)),
    "difference with the largest shifts": Case(combine=ADD, subtract=True, shifts=(15, 15, 15)),
    "product": Case(outputs=24, combine=MULTIPLY, shifts=(0, 0, 7)),
    "product shifted left": Case(combine=MULTIPLY, shifts=(3, 9, 0), relu_after=True),
    "product with the largest shifts": Case(combine=MULTIPLY, shifts=(15, 0, 15), relu_before=True),
    "difference does not concern a product": Case(combine=MULTIPLY, subtract=True, shifts=(0, 0, 6)),
    "channel scale": Case(height=11, outputs=40, combine=MULTIPLY, broadcast=True, shifts=(0, 0, 7), tile=(4, 3)),
    "channel offset": Case(outputs=24, combine=ADD, broadcast=True, shifts=(1, 2, 2)),
    "channel offset subtracted": Case(outputs=13, combine=ADD, broadcast=True, subtract=True, shifts=(0, 0, 1)),
    "broadcast and subtract without an operand": Case(broadcast=True, subtract=True, shifts=(3, 3, 3)),
    "table": Case(channels=16, outputs=20, kernel=(3, 3), lookup=BEFORE),
    "table after clamp": Case(relu_before=True, lookup=BEFORE),
    "table, then clamp": Case(relu_after=True, lookup=BEFORE),
    "clamp, then the last table": Case(relu_after=True, lookup=AFTER),
    "table before the sum": Case(outputs=24, lookup=BEFORE, combine=ADD, shifts=(1, 2, 1), relu_after=True),
    "table after the sum": Case(outputs=24, lookup=AFTER, combine=ADD, shifts=(1, 2, 1), relu_before=True),
    "gate: a table, times the operand": Case(outputs=24, lookup=BEFORE, combine=MULTIPLY, shifts=(0, 0, 7)),
    "table of a product": Case(outputs=9, lookup=AFTER, combine=MULTIPLY, broadcast=True, shifts=(0, 0, 6)),
    "every second pixel and row": Case(outputs=24, out_step=(2, 2)),
    "another phase": Case(outputs=16, out_step=(2, 3), out_margin=(1, 2, 1, 0), tile=(4, 3)),
    "every second row": Case(outputs=16, out_step=(2, 1), tile=(3, 7)),
    "every second pixel": Case(outputs=16, out_step=(1, 2)),
    "the longest steps": Case(height=3, width=3, out_step=(15, 15)),
    "a window of the output": Case(outputs=24, out_margin=(2, 1, 1, 3), tile=(5, 7)),
    "rows of the output apart": Case(outputs=16, out_margin=(0, 0, 0, 1)),
    "strided residual": Case(outputs=24, out_step=(2, 2), out_margin=(1, 0, 0, 1), combine=ADD, tile=(4, 4)),
    "residual in a window": Case(outputs=24, out_margin=(1, 1, 1, 1), combine=MULTIPLY, shifts=(0, 0, 6)),
    "strided channel scale": Case(outputs=24, out_step=(2, 2), combine=MULTIPLY, broadcast=True, shifts=(0, 0, 7)),
    "a window of the input": Case(channels=24, kernel=(3, 3), pads=(1, 1, 1, 1), pad_value=9, window=(1, 2, 3, 4)),
    "rows of the input apart": Case(channels=16, kernel=(3, 3), window=(0, 0, 0, 1)),
    "rows above the input": Case(channels=16, kernel=(3, 3), window=(2, 0, 1, 0), tile=(2, 5)),
    "a window in tiles": Case(height=13, width=12, kernel=(3, 3), stride=(2, 2), window=(1, 1, 1, 1), tile=(2, 3)),
    "one row of a window": Case(height=1, width=9, window=(1, 1, 1, 1)),
    "row of pixels": Case(height=1, width=40, kernel=(1, 7), stride=(1, 3)),
    "column of pixels": Case(height=40, width=1, kernel=(7, 1), stride=(3, 1)),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("case", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_program_matches_direct_convolution(case: Case, name: str) -> None:
    run(case, name)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(
    "case",
    [
        Case(kernel=(2, 2), stride=(2, 2), mode=isa.Mode.MAX),
        Case(kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1), pad_value=-128, mode=isa.Mode.MAX, height=13, width=9),
        Case(kernel=(3, 3), mode=isa.Mode.MAX, relu_before=True, tile=(2, 3)),
        Case(
            mode=isa.Mode.MAX, lookup=BEFORE, combine=MULTIPLY, shifts=(0, 0, 7), out_step=(2, 2), window=(1, 1, 1, 1)
        ),
    ],
    ids=["plain", "padded", "clamped in tiles", "table, product, window and steps"],
)
@pytest.mark.parametrize("channels", [8, 40, 64])
def test_maximum(case: Case, channels: int, name: str) -> None:
    width = load_array(name).oc_groups
    values = {**case.__dict__, "channels": channels, "outputs": channels}
    run(Case(**{**values, "groups_per_chunk": width, "groups_per_step": width}), name)


@pytest.mark.parametrize("name", ARRAYS)
def test_packed_multipliers_give_the_same_bytes(name: str) -> None:
    for case in PROGRAMS.values():
        run(case, name, packed=True)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(
    "output",
    [{"combine": ADD}, {"combine": MULTIPLY, "broadcast": True}, {}, {"combine": ADD, "out_step": (2, 2)}],
    ids=["residual", "broadcast", "none", "strided"],
)
def test_counters_count_what_was_done(output: dict[str, Any], name: str) -> None:
    case = Case(channels=33, outputs=17, height=15, width=14, kernel=(3, 3), pads=(1, 0, 0, 1), tile=(6, 6),
                groups_per_step=2, window=(1, 1, 1, 1), **output)  # fmt: skip
    built = run(case, name)
    counts = counters_of(built.buffer, built.counters, 1).row(0)
    assert counts == isa.LayerCounters(
        cycles=0,
        accumulate_span=0,
        iterations=built.iterations,
        taps=built.taps,
        fetch_words=built.fetch_words,
        weight_words=built.weight_words,
        residual_words=built.residual_words,
        store_words=built.store_words,
    )


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("place", [BEFORE, AFTER])
def test_each_layer_has_its_own_table(place: isa.Lookup, name: str) -> None:
    """Three layers in one run on the same input: with one table, with none, with another."""
    built = build(Case(channels=16, outputs=16), load_array(name))
    words = isa.LayerDescriptor.WORDS
    layer = isa.LayerDescriptor.decode(built.buffer[built.layer_table : built.layer_table + words]).row(0)
    tables = np.random.default_rng(5).integers(-128, 128, (2, 256)).astype(np.int8)
    first_table = built.buffer.size
    outputs = first_table + tables.size // isa.WORD_BYTES
    counters = outputs + 3 * built.output_words
    layer_table = counters + 3 * isa.LayerCounters.WORDS
    buffer = np.concatenate([built.buffer, np.zeros(layer_table + 3 * words - first_table, dtype="<u8")])
    buffer[first_table:outputs] = tables.reshape(-1).view("<u8")
    lookups = [(place, first_table), (isa.Lookup.NONE, 0), (place, first_table + 32)]
    for index, (lookup, table) in enumerate(lookups):
        at = outputs + index * built.output_words
        changed = {"lookup": int(lookup), "lookup_table": table, "out_base": at}
        start = layer_table + index * words
        buffer[start : start + words] = isa.LayerDescriptor(**{**layer.__dict__, **changed}).encode()[0]
    assert engine(name).run(buffer, layer_table, 3 * built.steps, counters) == 3 * built.steps
    plain = built.expected.view(np.int8)
    for index, want in enumerate([tables[0][plain.view(np.uint8)], plain, tables[1][plain.view(np.uint8)]]):
        at = outputs + index * built.output_words
        np.testing.assert_array_equal(buffer[at : at + built.output_words].view(np.int8), want)


def test_engines_of_several_arrays_keep_their_accumulators_apart() -> None:
    case = Case(channels=64, outputs=32, height=20, width=20, kernel=(3, 3), tile=(8, 20), groups_per_step=2)
    with ThreadPoolExecutor(len(ARRAYS)) as pool:
        for _ in range(5):
            list(pool.map(lambda name: run(case, name), ARRAYS))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Case]:
    name = draw(st.sampled_from(ARRAYS))
    array = load_array(name)
    small = st.integers(1, 3)
    margins = st.tuples(*[st.integers(0, 2)] * 4)
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(small), draw(small))
    need = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    height = draw(st.integers(max(1, need[0] - pads[0] - pads[2]), 20))
    width = draw(st.integers(max(1, need[1] - pads[1] - pads[3]), 20))
    return name, Case(
        channels=draw(st.integers(1, 50)),
        outputs=draw(st.integers(1, 40)),
        height=height,
        width=width,
        kernel=kernel,
        stride=(draw(small), draw(small)),
        dilation=dilation,
        pads=pads,  # type: ignore[arg-type]
        pad_value=draw(st.integers(-128, 127)),
        groups_per_chunk=draw(st.integers(1, array.ic_groups)),
        groups_per_step=draw(st.integers(1, 3)),
        tile=(draw(st.integers(1, 6)), draw(st.integers(1, 7))),
        shuffle_lanes=draw(st.booleans()),
        relu_before=draw(st.booleans()),
        relu_after=draw(st.booleans()),
        combine=draw(st.sampled_from(isa.Combine)),
        subtract=draw(st.booleans()),
        broadcast=draw(st.booleans()),
        lookup=draw(st.sampled_from(isa.Lookup)),
        out_step=(draw(small), draw(small)),
        out_margin=draw(margins),
        window=draw(margins),
        shifts=(draw(st.integers(0, 15)), draw(st.integers(0, 15)), draw(st.integers(0, 15))),
        seed=draw(st.integers(0, 1000)),
    )


@given(cases())
@settings(max_examples=120, deadline=None)
def test_any_layer_matches_direct_convolution(drawn: tuple[str, Case]) -> None:
    name, case = drawn
    run(case, name)
