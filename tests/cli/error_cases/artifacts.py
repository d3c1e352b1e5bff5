"""Artifacts, boards, and images to run."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.accel.bitfield import Record
from proprune_cli.artifact import load_artifact
from proprune_cli.artifact.seal import seal
from proprune_cli.cli.app import run_cli
from tests.cli.conftest import Files
from tests.cli.error_cases.registry import Arguments, case

# Artifacts


@case(1)
def artifact_missing(_: Files) -> Arguments:
    return ["inspect", "net.ppr"]


@case(1)
def artifact_truncated(tiny: Files) -> Arguments:
    content = tiny.artifact.read_bytes()
    Path("net.ppr").write_bytes(content[: len(content) // 2])
    return ["run", "net.ppr", "-i", "x.npy", "-o", "y.npy"]


@case(1)
def artifact_bit_flipped(tiny: Files) -> Arguments:
    content = bytearray(tiny.artifact.read_bytes())
    content[len(content) // 3] ^= 4
    Path("net.ppr").write_bytes(content)
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


@case(1)
def artifact_is_something_else(_: Files) -> Arguments:
    Path("net.ppr").write_text("hello")
    return ["bench", "net.ppr"]


@case(1)
def artifact_of_another_format(tiny: Files) -> Arguments:
    with zipfile.ZipFile(tiny.artifact) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps({**manifest, "schema": "proprune.artifact/7"}).encode()
    Path("net.ppr").write_bytes(seal(members))
    return ["inspect", "net.ppr"]


def _with_program(tiny: Files, **changes: object) -> None:
    network = load_artifact(tiny.artifact)
    program = dataclasses.replace(network.program, **changes)  # type: ignore[arg-type]
    dataclasses.replace(network, program=program).save(Path("net.ppr"))


@case(4)
def artifact_of_another_contract(tiny: Files) -> Arguments:
    _with_program(tiny, digest="0123456789abcdef" * 4)
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


@case(4)
def artifact_for_an_unknown_array(tiny: Files) -> Arguments:
    _with_program(tiny, array="z7099-9000")
    return ["bench", "net.ppr"]


@case(4)
def artifact_for_an_array_the_board_cannot_take(tiny: Files) -> Arguments:
    files = [str(tiny.model), "--calibration", str(tiny.images), "-o", "net.ppr"]
    assert run_cli(["compile", *files, "--board", "zcu104", "--array", "zu-1024"]) == 0
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


def _with_record(tiny: Files, record: type[Record], at: int, **fields: int) -> None:
    """The artifact with fields of the record at word ``at`` of its image changed, and sealed again."""
    image = load_artifact(tiny.artifact).program.image.copy()
    row = record.decode(image[at : at + record.WORDS].copy()).row(0)
    image[at : at + record.WORDS] = record(**{**row.__dict__, **fields}).encode()[0]
    _with_program(tiny, image=image)


@case(1)
def artifact_that_writes_over_its_program(tiny: Files) -> Arguments:
    program = load_artifact(tiny.artifact).program
    last = program.layer_table + (program.layer_count - 1) * isa.LayerDescriptor.WORDS
    _with_record(tiny, isa.LayerDescriptor, last, out_base=0)
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


@case(1)
def artifact_that_counts_over_its_program(tiny: Files) -> Arguments:
    _with_program(tiny, counters=0)
    return ["run", "net.ppr", "-i", str(tiny.images), "-o", "y.npy"]


@case(1)
def artifact_that_never_ends(tiny: Files) -> Arguments:
    step = int(load_artifact(tiny.artifact).program.layers().row(0).step_table)
    _with_record(tiny, isa.StepDescriptor, step, taps=2**32 - 1, iterations=2**32 - 1)
    return ["deploy", "net.ppr", "--board", "interpreter"]


@case(1)
def artifact_that_wants_all_memory(tiny: Files) -> Arguments:
    _with_program(tiny, size=2**60)
    return ["bench", "net.ppr"]


@case(1)
def artifact_that_does_more_than_its_plan_says(tiny: Files) -> Arguments:
    network = load_artifact(tiny.artifact)
    first = dataclasses.replace(network.plan.layers[0], iterations=network.plan.layers[0].iterations - 1)
    plan = dataclasses.replace(network.plan, layers=(first, *network.plan.layers[1:]))
    dataclasses.replace(network, plan=plan).save(Path("net.ppr"))
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


@case(2)
def artifact_without_that_layer(tiny: Files) -> Arguments:
    return ["inspect", str(tiny.artifact), "--layer", "conv99"]


# Boards


@case(4)
def board_without_bitstream(tiny: Files) -> Arguments:
    return ["deploy", str(tiny.artifact), "--board", "pynq-z2"]


@case(2)
def board_unknown(tiny: Files) -> Arguments:
    return ["deploy", str(tiny.artifact), "--board", "emulated:pynq-z9"]


@case(2)
def board_is_this_host(tiny: Files) -> Arguments:
    return ["deploy", str(tiny.artifact), "--board", "cpu"]


@case(2)
def board_without_a_clock(tiny: Files) -> Arguments:
    return ["bench", str(tiny.artifact), "--board", "interpreter"]


@case(4)
def board_answers_wrongly(tiny: Files) -> Arguments:
    network = load_artifact(tiny.artifact)
    codes = network.golden.codes_out[0].copy()
    codes[0] ^= 1
    dataclasses.replace(network, golden=dataclasses.replace(network.golden, codes_out=(codes,))).save(Path("net.ppr"))
    return ["deploy", "net.ppr", "--board", "interpreter"]


# Images


def _run(tiny: Files, array: np.ndarray, *more: str) -> Arguments:
    np.save("x.npy", array)
    return ["run", str(tiny.artifact), "-i", "x.npy", "-o", "y.npy", "--board", "cpu", *more]


@case(1)
def images_of_another_type(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((1, 1, 8, 8)))


@case(1)
def images_of_another_shape(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((2, 8, 8, 1), np.float32))


@case(1)
def images_with_nan(tiny: Files) -> Arguments:
    return _run(tiny, np.full((1, 1, 8, 8), np.nan, np.float32))


@case(1)
def images_none(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((0, 1, 8, 8), np.float32))


@case(1)
def images_raw_but_real(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((1, 1, 8, 8), np.float32), "--raw")


@case(1)
def images_not_an_array(tiny: Files) -> Arguments:
    Path("x.npy").write_text("1 2 3")
    return ["run", str(tiny.artifact), "-i", "x.npy", "-o", "y.npy"]


@case(1)
def images_as_python_objects(tiny: Files) -> Arguments:
    np.save("x.npy", np.array([{}], dtype=object), allow_pickle=True)
    return ["run", str(tiny.artifact), "-i", "x.npy", "-o", "y.npy"]


@case(1)
def output_directory_missing(tiny: Files) -> Arguments:
    return ["run", str(tiny.artifact), "-i", str(tiny.images), "-o", "nowhere/y.npy", "--board", "cpu"]
