"""Records of measurements: each with its source, nothing guessed; the disassembler's listing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.accel.disassemble import Limits, disassemble
from proprune_cli.accel.program import Program
from proprune_cli.artifact import Artifact
from proprune_cli.board.cpu import CpuExecutor
from proprune_cli.compile.pipeline import compile_model
from proprune_cli.errors import InputError, UsageError
from proprune_cli.measure.predicted import predict
from proprune_cli.work.plan import Plan
from tests.cli.conftest import tiny_model

ARRAY = load_array("z7020-256")
BOARD = load_board("pynq-z2")


def test_a_prediction_adds_up(artifact: Artifact) -> None:
    record = predict(artifact, "tiny.ppr", BOARD, ARRAY)
    assert record.source == "predicted"
    assert record.cycles == sum(layer.cycles for layer in record.layers)
    assert record.ddr_bytes == sum(layer.ddr_bytes for layer in record.layers)
    assert record.latency_ms == pytest.approx(sum(layer.latency_ms for layer in record.layers))
    assert record.throughput_per_s == pytest.approx(1e3 / record.latency_ms)
    assert record.energy_low_mj < record.energy_mj < record.energy_high_mj
    assert all(c.source for c in record.coefficients)


def test_a_plan_of_before_useful_work_was_counted_gives_no_utilisation(artifact: Artifact) -> None:
    document = artifact.plan.to_json()
    for row in (*document["layers"], document["totals"]):
        for name in ("nonzero_macs", "issued_macs", "useful_macs"):
            del row[name]
        row["mac_utilisation"] = 7.18
    for row in document["layers"]:
        for source in row["sources"]:
            del source["macs"], source["nonzero_macs"]
    old = dataclasses.replace(artifact, plan=Plan.from_json(document))
    assert old.plan.totals.mac_utilisation is None and old.plan.layers[0].mac_utilisation is None
    now, then = (predict(a, "tiny.ppr", BOARD, ARRAY) for a in (artifact, old))
    assert now.mac_utilisation is not None and now.issued_macs is not None and now.macs == then.macs
    assert then.mac_utilisation is None and then.issued_macs is None and then.nonzero_macs is None
    assert then.energy_mj is not None and then.energy_mj > 0 and any("compile it again" in note for note in then.notes)


def test_energy_is_for_what_the_array_issues(artifact: Artifact) -> None:
    record = predict(artifact, "tiny.ppr", BOARD, ARRAY)
    assert record.issued_macs is not None and record.energy_mj is not None and record.cycles is not None
    assert record.ddr_bytes is not None
    e, seconds = BOARD.energy, record.latency_ms * 1e-3
    joules = e.static_w.value * seconds + 1e-12 * (
        e.mac_pj.value * record.issued_macs
        + e.slot_pj.value * 256 * record.cycles
        + e.ddr_pj_per_byte.value * record.ddr_bytes
    )
    assert record.energy_mj == pytest.approx(joules * 1e3)


def test_slower_memory_takes_longer(artifact: Artifact) -> None:
    slow = dataclasses.replace(BOARD, ddr_latency_ns=BOARD.ddr_latency_ns * 4)
    assert predict(artifact, "", slow, ARRAY).cycles > predict(artifact, "", BOARD, ARRAY).cycles


def test_a_plan_of_another_program_is_refused(artifact: Artifact) -> None:
    other = dataclasses.replace(artifact, plan=dataclasses.replace(artifact.plan, layers=artifact.plan.layers[1:]))
    with pytest.raises(InputError, match="does not list the layers"):
        predict(other, "tiny.ppr", BOARD, ARRAY)


def test_the_cpu_answers_with_the_golden_codes(artifact: Artifact) -> None:
    for optimise in (True, False):
        answer = CpuExecutor(artifact, optimise=optimise).run(artifact.golden.codes_in).outputs
        assert np.array_equal(answer, artifact.golden.codes_out)


def test_a_qdq_model_that_is_none_is_an_input_error(artifact: Artifact) -> None:
    with pytest.raises(InputError, match="not the compiler's"):
        CpuExecutor(dataclasses.replace(artifact, qdq=b"nonsense"))


def listing(program: Program, layer: str | None = None, limits: Limits | None = None) -> list[str]:
    return list(disassemble(program, ARRAY, layer, limits))


def test_a_listing_shows_every_layer_and_is_bounded(artifact: Artifact) -> None:
    program = artifact.program
    lines = listing(program)
    for number, name in enumerate(program.layer_names):
        assert any(line.startswith(f"layer {number} {name!r}") for line in lines)
    short = listing(program, limits=Limits(steps=1, blocks=1, taps=1))
    assert len(short) < len(lines)
    assert any("more taps" in line for line in short)


@pytest.mark.parametrize(
    ("board", "array"), [("pynq-z2", "z7020-256"), ("pynq-z2", "z7020-384"), ("zcu104", "zu-1024")]
)
def test_a_listing_has_every_tap_that_the_steps_announce(board: str, array: str) -> None:
    images = np.random.default_rng(1).normal(size=(4, 1, 8, 8)).astype(np.float32)
    program = compile_model(tiny_model(), images, load_array(array), load_board(board)).program
    for number in range(program.layer_count):
        steps = program.steps(program.layers().row(number))
        lines = list(disassemble(program, load_array(array), str(number), Limits(64, 64, 512)))
        assert sum("      tap " in line for line in lines) == int(np.sum(steps.taps))


def test_an_unknown_layer_is_a_usage_error(artifact: Artifact) -> None:
    with pytest.raises(UsageError, match="no layer is called 'conv9'"):
        listing(artifact.program, "conv9")


def test_a_program_that_points_outside_its_image_is_refused(artifact: Artifact) -> None:
    cut = dataclasses.replace(artifact.program, image=artifact.program.image[:80])
    with pytest.raises(InputError, match="outside its image"):
        listing(cut)
