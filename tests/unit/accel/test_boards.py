"""Board files: complete, sourced, and refused when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import ASSUMPTION, board_names, load_board, read_board
from proprune_cli.accel.energy import Work, predict_energy
from proprune_cli.accel.resources_tally import tally
from proprune_cli.errors import InputError, UsageError
from proprune_cli.resources import resource_dir

FILE = resource_dir("configs") / "boards" / "pynq-z2.yaml"


@pytest.mark.parametrize("name", board_names())
def test_every_number_has_a_source_and_every_array_exists(name: str) -> None:
    board = load_board(name)
    for path in ("resources.dsp", "ddr.peak_gb_s", "ddr.latency_ns", "hp_ports.bits", "cma_mib", "energy.mac_pj"):
        assert len(board.sources[path]) > 10
    assert board.default_array in board.arrays
    for array in board.arrays:
        load_array(array)
    # What no document gives must say so and give a reason.
    for source in board.sources.values():
        if "assum" in source.lower():
            assert source.startswith(ASSUMPTION)
            assert len(source) > len(ASSUMPTION) + 30


@pytest.mark.parametrize(("name", "array"), [(b, a) for b in board_names() for a in load_board(b).arrays])
def test_every_array_fits_the_boards_it_is_listed_for(name: str, array: str) -> None:
    cost, board = tally(load_array(array)), load_board(name)
    assert cost.dsp <= board.resources.dsp
    assert cost.bram36 <= board.resources.bram36


def test_the_array_of_large_parts_does_not_fit_the_kv260() -> None:
    assert "zu-1024" not in load_board("kv260").arrays
    assert tally(load_array("zu-1024")).bram36 > load_board("kv260").resources.bram36


def test_the_planned_bandwidth_and_port_of_the_pynq_z2() -> None:
    board = load_board("pynq-z2")
    assert (board.ddr_planned_gb_s, board.hp_port_gb_s(100.0)) == (1.4, 0.8)
    assert board.default_array == "z7020-256"


def altered(tmp_path: Path, old: str, new: str) -> Path:
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "odd.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('{value: 53200, source: "DS190, table 1, XC7Z020"}', "53200", "resources.lut is not a mapping"),
        ('{value: 53200, source: "DS190, table 1, XC7Z020"}', "{value: 53200}", "resources.lut.source is missing"),
        ('{value: 53200, source: "DS190, table 1, XC7Z020"}', '{value: 53200, source: " "}', "source must be text"),
        ("{value: 53200,", "{value: many,", "resources.lut.value must be a number"),
        ("{value: 53200,", "{value: -1,", "resources.lut.value must be a number"),
        ("{value: 53200,", "{value: 1.5,", "resources.lut must be a whole number"),
        ("factor: 1.5", "factor: 0.5", "energy.static_w.factor must be at least 1"),
        ("value: 1.4", "value: 2.4", "ddr.planned_gb_s is above the peak"),
        ("title:", "subtitle:", "title is missing"),
        ("rails: []", "rails: []\nwheels: 4", "wheels is no key"),
        ("rails: []", "rails: 3", "rails must be a list"),
        ("[z7020-256, z7020-384]", "[]", "arrays names no array"),
        ("title:", "title: [", "cannot read the board file"),
    ],
)
def test_a_malformed_board_file_is_refused(tmp_path: Path, old: str, new: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        read_board(altered(tmp_path, old, new))
    assert what in caught.value.what
    assert caught.value.where.endswith("odd.yaml")


def test_an_unknown_board_is_a_usage_error_that_names_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        load_board("pynq-z9")
    assert "pynq-z2" in caught.value.remedy


def test_energy_adds_the_terms_of_the_model_and_bounds_them() -> None:
    board, array = load_board("pynq-z2"), load_array("z7020-256")
    energy = predict_energy(board, array, Work(cycles=1e6, macs=200e6, ddr_bytes=5e6))
    by_name = {t.name: t.energy_mj for t in energy.terms}
    assert by_name["static_w"] == pytest.approx(1.6 * 10)  # W · ms
    assert by_name["mac_pj"] == pytest.approx(16 * 0.2)
    assert by_name["slot_pj"] == pytest.approx(16 * 0.256)
    assert by_name["ddr_pj_per_byte"] == pytest.approx(560 * 5e-3)
    assert energy.energy_mj == pytest.approx(sum(by_name.values()))
    assert energy.low_mj < energy.energy_mj < energy.high_mj
    assert (energy.source, energy.model) == ("predicted", "proprune energy model 2")


def test_predicted_power_of_a_busy_pynq_is_that_of_such_boards() -> None:
    board, array = load_board("pynq-z2"), load_array("z7020-256")
    second = predict_energy(board, array, Work(cycles=100e6, macs=25.6e9 * 0.9, ddr_bytes=0.4e9))
    assert 1.6 < second.energy_mj / 1e3 < 4.0


def test_a_faster_clock_takes_less_static_energy() -> None:
    board, array = load_board("pynq-z2"), load_array("z7020-256")
    work = Work(cycles=1e6, macs=0, ddr_bytes=0)
    assert predict_energy(board, array, work, 200.0).energy_mj < predict_energy(board, array, work).energy_mj
