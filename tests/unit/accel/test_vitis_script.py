"""The script for the HLS tool, with stand-ins for the tool's commands in a Tcl shell; and what logs tell it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from proprune_cli.resources import resource_dir

SCRIPTS = resource_dir("hls") / "scripts"

CLEAN = """INFO: [HLS 200-1470] Pipelining result : Target II = 1, Final II = 1, Depth = 3, loop 'words'
INFO: [HLS 200-741] Implementing PIPO engine_bank_0_RAM using 2 memories
WARNING: [HLS 200-1020] Increasing the depth of FIFO 'x'
"""

BAD = [
    "WARNING: [HLS 200-880] The II Violation in module 'accumulate' (loop 'beats'): Unable to enforce a dependence",
    "WARNING: [HLS 200-885] The II Violation in module 'fill_banks': Unable to schedule 'load'",
    "ERROR: [HLS 200-976] Argument 'scratch' failed dataflow checking: Cannot read as well as write",
    "ERROR: [HLS 200-994] Variable 'scratch' failed dataflow checking",
    "WARNING: [HLS 214-475] Merging processes 'fetch' and 'store' due to feedback on 'scratch'",
    "WARNING: [HLS 200-1449] Process store has both a predecessor and reads an input from its caller",
    "WARNING: [HLS 214-169] There are a total of 2 such instances of non-canonical statements in the dataflow region",
    "INFO: [HLS 200-1470] Pipelining result : Target II = 1, Final II = 4, Depth = 9, loop 'beats'",
    "WARNING: [HLS 207-5301] unexpected pragma argument 'style'",
    "ERROR: [HLS 200-70] Pre-synthesis failed.",
]

TOOL = """
proc note {args} { puts "TOOL $args" }
foreach name {open_project set_top add_files open_solution set_part create_clock config_interface config_rtl
              csim_design cosim_design export_design close_solution close_project} {
    proc $name args "note $name {*}\\$args"
}
proc csynth_design {} {
    note csynth_design
    file mkdir engine_$::env(EXPECTED)/solution
    file copy -force $::env(LOG) engine_$::env(EXPECTED)/solution/solution.log
}
"""


@pytest.fixture
def tcl() -> str:
    found = shutil.which("tclsh")
    if found is None:
        pytest.skip("no Tcl interpreter (tclsh) here")
    return found


def run_script(tcl: str, folder: Path, log: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The script with the tool's commands replaced, in ``folder``."""
    (folder / "log").write_text(log)
    start = folder / "start.tcl"
    # An HLS tool names the script that it runs as the one that is read, not as the program.
    start.write_text(f"{TOOL}\nset argv0 vitis_hls\nsource {{{SCRIPTS / 'vitis.tcl'}}}\n")
    environment = {**os.environ, "LOG": str(folder / "log"), "EXPECTED": "z7020_256", **variables}
    return subprocess.run(
        [tcl, str(start), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_clean_synthesis_is_exported(tcl: str, tmp_path: Path) -> None:
    done = run_script(tcl, tmp_path, CLEAN, "array=z7020_256", "part=xc7z020clg400-1", "clock_mhz=100")
    assert done.returncode == 0, done.stdout + done.stderr
    for call in ("set_top engine", "set_part xc7z020clg400-1", "create_clock -period 10.0", "export_design"):
        assert f"TOOL {call}" in done.stdout
    sources = [line for line in done.stdout.splitlines() if line.startswith("TOOL add_files")]
    assert all("-std=c++14" in line for line in sources)
    named = {Path(word).name for line in sources for word in line.split() if word.endswith(".cpp")}
    assert named == {"engine.cpp", *(p.name for p in (SCRIPTS.parent / "tb").glob("*.cpp"))}


def test_options_come_from_the_environment_where_the_tool_passes_no_words(tcl: str, tmp_path: Path) -> None:
    variables = {"HLS_ARRAY": "zu_1024", "HLS_PART": "xck26", "HLS_CLOCK_MHZ": "250", "EXPECTED": "zu_1024"}
    done = run_script(tcl, tmp_path, CLEAN, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TOOL open_project -reset engine_zu_1024" in done.stdout
    assert "TOOL create_clock -period 4.0" in done.stdout


@pytest.mark.parametrize("line", BAD, ids=[line.split("]")[0].split("[")[-1] for line in BAD])
def test_a_synthesis_that_is_not_as_the_source_says_fails(tcl: str, line: str, tmp_path: Path) -> None:
    done = run_script(tcl, tmp_path, CLEAN + line + "\n")
    assert done.returncode != 0
    assert line in done.stdout
    assert "export_design" not in done.stdout


def test_a_known_message_can_be_accepted(tcl: str, tmp_path: Path) -> None:
    assert run_script(tcl, tmp_path, CLEAN + BAD[5] + "\n", "accept=200-1449").returncode == 0
    assert run_script(tcl, tmp_path, CLEAN + BAD[5] + "\n", "accept=200-880").returncode != 0


def test_no_log_unknown_options_and_arrays_fail(tcl: str, tmp_path: Path) -> None:
    assert run_script(tcl, tmp_path, CLEAN, EXPECTED="another").returncode != 0
    assert run_script(tcl, tmp_path, CLEAN, "aray=z7020_256").returncode != 0
    assert run_script(tcl, tmp_path, CLEAN, "array=none").returncode != 0


def test_a_log_can_be_checked_alone(tcl: str, tmp_path: Path) -> None:
    for text, code in ((CLEAN, 0), (CLEAN + BAD[0], 1)):
        (tmp_path / "log").write_text(text)
        command = [tcl, str(SCRIPTS / "check_log.tcl"), str(tmp_path / "log")]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code
