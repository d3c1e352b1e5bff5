"""The resource tally: block RAM shapes, agreement with the source's marks, and refusal of what does not fit."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from proprune_cli.accel import isa
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.accel.headers import array_macros
from proprune_cli.accel.logic_tally import FABRIC_MULTIPLIERS, PROCESSES, small_queues
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
    assert list(t.demands) == ["BRAM36", "DSP", "LUT", "FF"]
    assert all(0 < taken <= there for taken, there in t.demands.values())


def test_the_tally_of_the_smallest_array_is_as_counted_by_hand() -> None:
    # 2 banks x 16 lanes x 2, 16 accumulators / 2, scratch, cells 2 / 2, walk, sums 7.5, six queues, five AXI adapters.
    t = tally(load_array("z7020-256"))
    assert t.bram36 == 64 + 8 + 16 + 1 + 0.5 + 7.5 + 6 + 5
    assert t.dsp == 2 * 16 * 8 // 2 + 8


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
    assert len(found) == 8
    for queue, macro in found:
        assert depths[queue] == macros[macro]


def test_multipliers_are_those_of_the_source() -> None:
    sources = {p.name: p.read_text() for p in SOURCE.rglob("*.?pp") if p.name != "hls.hpp"}
    named = {m.name for m in tally(load_array("z7020-256")).multipliers}
    # The array's products are not bound: a bound product would keep its addition outside the DSP.
    assert "HLS_DSP_MULTIPLY" not in sources["dot.hpp"]
    assert "chain = pixels * factor + chain;" in sources["dot.hpp"]
    assert {n for n, text in sources.items() if "HLS_DSP_MULTIPLY" in text} == named - {"dot.hpp"}
    marked = {(n, v) for n, text in sources.items() for v in re.findall(r"HLS_FABRIC_MULTIPLY\((\w+)\)", text)}
    assert marked == set(FABRIC_MULTIPLIERS)


def test_every_product_of_two_variables_is_bound() -> None:
    """Where neither factor is a constant: the next line says what makes it, but for the array's own."""
    for path in SOURCE.rglob("*.?pp"):
        lines = re.sub(r"//[^\n]*", "", path.read_text()).splitlines()
        for line, following in itertools.pairwise(lines):
            found = re.search(r"(?<![\w*])([a-z]\w*(?:[.\[][\w().\]]*)*) \* (?:\(\w+\))?([a-z][\w.]*)", line)
            if found and not line.lstrip().startswith("static_assert") and "<" not in line[: found.start()]:
                bound = "_MULTIPLY(" in following or path.name == "dot.hpp"
                assert bound or "isa::" in found.group(2), f"{path.name}: {line.strip()}"


def test_small_queues_are_those_of_the_source() -> None:
    found = {n: int(depth) for n, depth in re.findall(r"HLS_FIFO\((\w+), (\d+)\)", text_of("steps.hpp"))}
    assert found == {n: depth for n, (depth, _) in small_queues(load_array("z7020-256")).items()}
    calls = re.findall(r"^    \w+(?:<[\w, ]+>)?\(\w+,", text_of("steps.hpp").split("HLS_DATAFLOW")[1], re.MULTILINE)
    assert len([c for c in calls if not c.strip().startswith("HLS_")]) == PROCESSES


def test_lookup_tables_are_as_many_as_the_page_says() -> None:
    marks = ("uint64_t table[isa::GROUP][TABLE_WORDS];", "HLS_PARTITION(table, 1)", "HLS_RAM_SMALL(table)")
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
    with pytest.raises(DoesNotFitError, match=r"takes 228 BRAM36, xc7z020clg400-1 has 140 \(88 too many\)"):
        tally(array)
    array = dataclasses.replace(load_array("z7020-256"), oc=16, bank_depth=1024)
    with pytest.raises(DoesNotFitError, match="takes 264 DSP"):
        tally(array)


def test_logic_that_does_not_fit_is_refused_too() -> None:
    array = dataclasses.replace(load_array("z7020-256"), max_patterns=8192)
    with pytest.raises(DoesNotFitError, match=r"takes \d+ LUT, xc7z020clg400-1 has 53200"):
        tally(array)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(InputError, match="xc7a35t"):
        tally(dataclasses.replace(load_array("z7020-256"), part="xc7a35t"))


def test_the_page_has_every_array() -> None:
    text = page()
    for name in array_names():
        assert f"## {name}" in text
