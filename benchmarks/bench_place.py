"""Places and routes the RTL beside a Zynq-7000's processors with open tools, and writes a bitstream never loaded.

    make place                                              # z7020-256 at 50 MHz, into rtl/reports
    python -m benchmarks place --array z7020-256 --mhz 100 --seed 2

docs/place-and-route.md says which tools it takes, and where each is looked for. Without them it says what is missing.
The bitstream is decoded again: bits that it holds and the routed design does not, or the other way, end in exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_synthesis import digest_of, read_design, run_yosys, yosys
from proprune_cli import pages
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.headers import identifier
from proprune_cli.accel.rtl_reports import Routed, routed_path

PART = "xc7z020clg400-1"
TOP = "zynq7000"
REPLACED = {"src/multiply_add.sv": "boards/multiply_add_dsp48e1.sv"}
ECC_WORD, ECC_BITS = 50, 13
"""Of each frame: what the writer of the bitstream computes from the rest."""
HOURS = 3 * 3600
Bit = tuple[int, int, int]
"""Frame address, word, bit."""


@dataclass(frozen=True)
class Tools:
    """What is run: commands, and the folders and files that they take."""

    yosys: list[str]
    nextpnr: str
    chip: Path
    assembler: list[str]
    writer: str
    reader: str
    database: Path


def tools() -> Tools | list[str]:
    """The tools, or what is missing."""
    named = {name: os.environ.get(name, "") for name in ("NEXTPNR_CHIPDB", "PRJXRAY", "PRJXRAY_DB")}
    missing = [f"${name} names nothing" for name, path in named.items() if not Path(path or "-").exists()]
    commands = {name: shutil.which(name) for name in ("nextpnr-himbaechel", "xc7frames2bit", "bitread")}
    missing += [f"{name} is not on PATH" for name, found in commands.items() if found is None]
    if (synthesis := yosys()) is None:
        missing.append("there is no Yosys")
    if missing or synthesis is None:
        return missing
    nextpnr, writer, reader = (str(found) for found in commands.values())
    python = os.environ.get("PRJXRAY_PYTHON", sys.executable)
    assembler = [python, "-W", "ignore", str(Path(named["PRJXRAY"]) / "utils" / "fasm2frames.py")]
    chip, database = Path(named["NEXTPNR_CHIPDB"]), Path(named["PRJXRAY_DB"])
    return Tools(synthesis, nextpnr, chip, assembler, writer, reader, database)


def netlist(array: Array, found: Tools, build: Path) -> tuple[Path, str]:
    """The flat netlist of the engine and the processors beside it, and the digest of what it is made of."""
    engine = [REPLACED.get(name, name) for name in read_design(array)]
    files = [*engine, f"boards/{TOP}.sv"]
    digest, out = digest_of(files), build / f"{identifier(array.name)}_{TOP}.json"
    stamp = out.with_suffix(".digest")
    if not (out.is_file() and stamp.is_file() and stamp.read_text() == digest):
        # No shift registers: nextpnr puts two with unlike enables into one slice, and stops when it routes them.
        script = (
            f"read_verilog -sv {' '.join(files)}; synth_xilinx -family xc7 -top {TOP} -flatten -noiopad -nosrl; "
            f"write_json build/{out.name}"
        )
        run_yosys(found.yosys, script)
        stamp.write_text(digest)
    return out, digest


def call(command: list[str], folder: Path, log: Path | None = None, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=HOURS,
        env={**os.environ, **environment},
    )  # fmt: skip
    if log is not None:
        log.write_text(done.stdout + done.stderr)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{(done.stderr or done.stdout)[-2000:]}")


def frame_bits(frames: Path) -> set[Bit]:
    """The bits that are set in frames, without ECC."""
    bits: set[Bit] = set()
    for line in frames.read_text().splitlines():
        address, words = line.split(" ", 1)
        for word, text in enumerate(words.split(",")):
            value = int(text, 16)
            bits.update((int(address, 16), word, bit) for bit in range(32) if value >> bit & 1)
    return {bit for bit in bits if not is_ecc(bit)}


def decoded_bits(listing: Path) -> set[Bit]:
    """The bits that `bitread` lists, without ECC."""
    found = re.finditer(r"^bit_([0-9a-f]{8})_(\d+)_(\d+)$", listing.read_text(), re.MULTILINE)
    bits = {(int(m[1], 16), int(m[2]), int(m[3])) for m in found}
    return {bit for bit in bits if not is_ecc(bit)}


def is_ecc(bit: Bit) -> bool:
    return bit[1] == ECC_WORD and bit[2] < ECC_BITS


def bitstream(found: Tools, fasm: Path) -> int:
    """Write the bitstream beside the routed design; the number of bits that it sets.

    Raises:
        RuntimeError: it holds other bits than the design.
    """
    frames, bit, listing = (fasm.with_suffix(end) for end in (".frames", ".bit", ".bits"))
    part = found.database / PART / "part.yaml"
    root = os.environ["PRJXRAY"]
    call([*found.assembler, "--part", PART, "--db-root", str(found.database), str(fasm), str(frames)], fasm.parent,
         PYTHONPATH=root)  # fmt: skip
    call([found.writer, "--part_file", str(part), "--part_name", PART, "--frm_file", str(frames), "--output_file",
          str(bit)], fasm.parent)  # fmt: skip
    call([found.reader, "--part_file", str(part), "-o", str(listing), "-z", "-y", str(bit)], fasm.parent)
    asked, held = frame_bits(frames), decoded_bits(listing)
    if asked != held:
        raise RuntimeError(f"{bit}: {len(held - asked)} bits too many, {len(asked - held)} too few")
    return len(asked)


def place(array: Array, mhz: float, seed: int, placer: str, found: Tools) -> Routed:
    """Place, route, write and decode; a quarter of an hour or more.

    Raises:
        RuntimeError: a tool fails, or the bitstream is not what was routed.
    """
    build = pages.ROOT / "rtl" / "build"
    build.mkdir(exist_ok=True)
    circuit, digest = netlist(array, found, build)
    name = f"{identifier(array.name)}_{mhz:g}_{placer}_{seed}"
    clock, fasm, report = (build / f"{name}{end}" for end in (".xdc", ".fasm", ".report.json"))
    clock.write_text(f"create_clock -period {1000 / mhz:g} [get_nets clk]\n")
    begin = time.perf_counter()
    call([found.nextpnr, "--device", PART, "--chipdb", str(found.chip), "--json", str(circuit), "-o", f"xdc={clock}",
          "-o", f"fasm={fasm}", "--placer", placer, "--router", "router2", "--seed", str(seed), "--timing-allow-fail",
          "--report", str(report)], build, build / f"{name}.log")  # fmt: skip
    seconds = time.perf_counter() - begin
    said = json.loads(report.read_text())
    version = subprocess.run([found.nextpnr, "--version"], capture_output=True, text=True, check=False)
    tool = re.search(r"nextpnr-[\w.-]+", (version.stdout + version.stderr).rpartition("Version")[2])
    return Routed(
        array=array.name, tool=tool[0] if tool else "nextpnr", sources=digest, placer=placer, seed=seed,
        asked_mhz=mhz, reached_mhz=round(float(said["fmax"]["clk"]["achieved"]), 1), seconds=round(seconds),
        cells={kind: (int(n["used"]), int(n["available"])) for kind, n in sorted(said["utilization"].items())
               if n["used"] and not kind.startswith("PSEUDO")},
        bits=bitstream(found, fasm),
    )  # fmt: skip


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks place", description=__doc__)
    parser.add_argument("--array", default="z7020-256", choices=[n for n in array_names(own=False) if n[:5] == "z7020"])
    parser.add_argument("--mhz", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--placer", default="static", choices=["heap", "static"])
    parser.add_argument("--write", action="store_true", help="leave the report in rtl/reports")
    asked = parser.parse_args(list(arguments))
    found = tools()
    if isinstance(found, list):
        print(f"not run: {'; '.join(found)}")
        if arguments:
            sys.exit(1)
        return  # among all benchmarks: the tools are not everyone's
    routed = place(load_array(asked.array), asked.mhz, asked.seed, asked.placer, found)
    print(f"{routed.array}: {routed.reached_mhz:g} MHz where {routed.asked_mhz:g} were asked, in {routed.seconds} s")
    for kind, (used, there) in routed.cells.items():
        print(f"  {kind}: {used:,} of {there:,}")
    print(f"bitstream: {routed.bits:,} bits are set, the same in the routed design and decoded; no board has loaded it")
    if asked.write:
        routed_path(routed.array).write_text(json.dumps(routed.to_json(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
