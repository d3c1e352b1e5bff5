"""The resource tally: block RAM shapes, agreement with the source's marks, and refusal of what does not fit."""

from __future__ import annotations

import dataclasses
import re

import pytest

from proprune_cli.accel import isa
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.accel.headers import array_macros
from proprune_cli.accel.resources_tally import AXI_OUTSTANDING_WORDS, bram36, page, tally
from proprune_cli.errors import DoesNotFitError, InputError
from proprune_cli.resources import resource_dir

SOURCE = resource_dir("hls") / "src"


def text_of(name: str) -> str:
    return (SOURCE / name).read_text()


@pytest.mark.parametrize(
    ("depth", "width", "two_reads", "blocks"),
    [
        (512, 36, False, 0.5),
        (512, 72, False, 1.0),
        (512, 36, True, 1.0),
        (1024, 18, True, 0.5),
        (2048, 9, True, 0.5),
        (2049, 9, True, 1.0),
        (8192, 8, True, 2.0),
        (4096, 4, True, 0.5),
        (16384, 1, True, 0.5),
        (512, 512, False, 7.5),
        (1, 1, False, 0.5),
    ],
)
def test_block_ram_shapes(depth: int, width: int, two_reads: bool, blocks: float) -> None:
    assert bram36(depth, width, two_reads=two_reads) == blocks


@pytest.mark.parametrize("name", array_names())
def test_every_array_fits_its_part(name: str) -> None:
    t = tally(load_array(name))
    assert 0 < t.dsp <= t.dsp_available
    assert 0 < t.bram36 <= t.bram36_available


def test_the_tally_of_the_smallest_array_is_as_counted_by_hand() -> None:
    # 2 banks x 16 lanes x 2, 16 accumulators / 2, scratch, walk 4 / 2, sums 7.5, five queues, five AXI adapters.
    t = tally(load_array("z7020-256"))
    assert t.bram36 == 64 + 8 + 16 + 2 + 7.5 + 5 + 5
    assert t.dsp == 2 * 16 * 8 // 2 + 8 + 8


def test_buffers_are_those_of_the_source() -> None:
    marked: set[str] = set()
    for path in SOURCE.rglob("*.?pp"):
        if path.name != "hls.hpp":
            marked |= set(re.findall(r"HLS_(?:RAM_2READ|RAM_READ_WRITE|FIFO_BRAM)\((\w+)", path.read_text()))
            marked |= set(re.findall(r"HLS_AXI_(?:READ|WRITE)\(\w+, (\w+)", path.read_text()))
    assert marked == {b.name for b in tally(load_array("z7020-256")).buffers}


@pytest.mark.parametrize("name", array_names())
def test_queue_depths_are_those_of_the_source(name: str) -> None:
    array = load_array(name)
    macros = array_macros(array)
    depths = {b.name: b.depth for b in tally(array).buffers}
    found = re.findall(r"HLS_FIFO_BRAM\((\w+), ARRAY_(\w+)\)", text_of("steps.hpp"))
    assert len(found) == 6
    for queue, macro in found:
        assert depths[queue] == macros[macro]


def test_multipliers_are_those_of_the_source() -> None:
    marked = {p.name for p in SOURCE.rglob("*.hpp") if p.name != "hls.hpp" and "HLS_DSP_MULTIPLY" in p.read_text()}
    assert marked == {m.name for m in tally(load_array("z7020-256")).multipliers}


def test_lookup_tables_are_as_many_as_the_page_says() -> None:
    marks = ("static uint64_t table[isa::GROUP][TABLE_WORDS]", "HLS_PARTITION(table, 1)", "HLS_RAM_SMALL(table)")
    tables = [p.name for p in SOURCE.rglob("*.hpp") if all(mark in p.read_text() for mark in marks)]
    assert sorted(tables) == ["combine.hpp", "requantise.hpp"]
    assert f"{len(tables) * isa.GROUP} copies of the lookup table" in page()


def test_axi_buffers_are_those_of_the_source() -> None:
    for kind in ("read", "write"):
        found = re.search(rf"num_{kind}_outstanding = (\d+) max_{kind}_burst_length = (\d+)", text_of("hls.hpp"))
        assert found is not None
        assert int(found.group(1)) * int(found.group(2)) == AXI_OUTSTANDING_WORDS


def test_an_array_that_is_too_large_is_refused_with_demand_and_bound() -> None:
    array = dataclasses.replace(load_array("z7020-384"), bank_depth=16384)
    with pytest.raises(DoesNotFitError, match=r"takes 227\.5 BRAM36, xc7z020clg400-1 has 140 \(87\.5 too many\)"):
        tally(array)
    array = dataclasses.replace(load_array("z7020-256"), oc=16, bank_depth=1024)
    with pytest.raises(DoesNotFitError, match="takes 272 DSP"):
        tally(array)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(InputError, match="xc7a35t"):
        tally(dataclasses.replace(load_array("z7020-256"), part="xc7a35t"))


def test_the_page_has_every_array() -> None:
    text = page()
    for name in array_names():
        assert f"## {name}" in text
