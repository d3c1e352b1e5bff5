"""The form for an HLS compiler with the vendor's own headers: it compiles as C++14, and gives the same words.

The vendor publishes two of them, ``ap_int.h`` and ``hls_stream.h`` (Xilinx/HLS_arbitrary_Precision_Types on GitHub;
the second lies in its history), and has all in the folder ``include`` of an installed tool. ``HLS_HEADERS`` or the
tool's own ``XILINX_HLS`` says where.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from proprune_cli.accel import isa
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.board.native import save_case
from tests.unit.accel.engine_builder import build as build_program
from tests.unit.accel.engine_case import Case
from tests.unit.accel.engine_sequence import join
from tests.unit.accel.engine_threads import VENDOR_FILES, build
from tests.unit.accel.test_engine_programs import engine

SECONDS = 120


def vendor_headers() -> Path:
    """The folder of the vendor's headers; skips the test where there is none."""
    tool = os.environ.get("XILINX_HLS")
    folders = [Path(f) for f in (os.environ.get("HLS_HEADERS"), tool and str(Path(tool) / "include")) if f]
    for folder in folders:
        if all((folder / name).is_file() for name in VENDOR_FILES):
            return folder
    pytest.skip(f"no folder with the vendor's {' and '.join(VENDOR_FILES)}: HLS_HEADERS or XILINX_HLS must name one")


@pytest.mark.parametrize("name", array_names())
def test_the_vendors_integers_and_streams_give_the_same_words(name: str, tmp_path: Path) -> None:
    vendor = vendor_headers()
    array = load_array(name)
    binary = build(array, tmp_path, vendor)
    parts = [
        Case(channels=24, outputs=24, kernel=(3, 3), pads=(1, 1, 1, 1), groups_per_step=2, lookup=isa.Lookup.AFTER),
        Case(height=12, width=11, outputs=16, combine=isa.Combine.ADD, shifts=(1, 1, 1), tile=(5, 4)),
        Case(combine=isa.Combine.MULTIPLY, shifts=(15, 0, 15), out_step=(2, 2), out_margin=(1, 0, 0, 1)),
    ]
    sequence = join([build_program(case, array) for case in parts], array)
    before = sequence.buffer.copy()
    assert engine(name, True).run(sequence.buffer, sequence.layer_table, sequence.steps, sequence.counters)
    registers = (sequence.layer_table, sequence.steps, sequence.counters)
    save_case(tmp_path / "case", array, before, sequence.buffer, registers, (0, before.size))
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1 exitcode=66"}
    for arguments in ([], [str(tmp_path / "case")]):
        command = [str(binary), *arguments]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=SECONDS)
        if "unexpected memory mapping" in done.stderr:
            pytest.skip("the compiler's check for data races does not work with this kernel's address layout")
        assert done.returncode == 0, done.stdout + done.stderr
