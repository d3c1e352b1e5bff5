"""The generated headers against the Python contract, through a C++ compiler, and the generator's own checks."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

from proprune_cli import pages
from proprune_cli.accel import generate, headers, isa
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.board.native import compiler
from proprune_cli.resources import resource_dir

HLS = resource_dir("hls")


def compile_and_run(source: str, folder: Path, *flags: str) -> list[int]:
    path = folder / "probe.cpp"
    path.write_text(source)
    binary = folder / "probe"
    command = [*compiler(), "-std=c++17", f"-I{HLS / 'generated'}", *flags, str(path), "-o", str(binary)]
    subprocess.run(command, check=True)
    output = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    return [int(line) for line in output.split()]


def test_committed_files_are_up_to_date() -> None:
    assert pages.stale(generate.outputs(), HLS.parent) == []


def test_accessors_read_what_python_encodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines, expected = [], []
    for record in isa.RECORDS:
        values = {n: int(rng.integers(p.bounds[0], p.bounds[1] + 1)) for n, p in record.layout().items()}
        words = record(**values).encode()[0]
        initial = ", ".join(f"UINT64_C({int(w)})" for w in words)
        lines.append(f"{{ isa::{record.__name__} r{{{{{initial}}}}};")
        # Setting every field in a blank record must give the same words.
        lines.append(f"isa::{record.__name__} s{{}};")
        for name, value in values.items():
            lines.append(f"show((long long)r.{name}()); s.set_{name}(r.{name}());")
            expected.append(value)
        lines.append(f"for (uint32_t i = 0; i < {record.WORDS}; ++i) show(r.word[i] == s.word[i]); }}")
        expected += [1] * record.WORDS
    source = '#include <cstdio>\n#include "isa.hpp"\nstatic void show(long long v) { std::printf("%lld\\n", v); }\n'
    assert compile_and_run(source + "int main() {" + "\n".join(lines) + "}", tmp_path) == expected


def test_signed_fields_keep_their_sign_at_the_bounds(tmp_path: Path) -> None:
    words = isa.StepDescriptor(y0=-32768, x0=32767).encode()[0]
    initial = ", ".join(f"UINT64_C({int(w)})" for w in words)
    source = f"""#include <cstdio>
#include "isa.hpp"
int main() {{ isa::StepDescriptor s{{{{{initial}}}}}; std::printf("%d %d", s.y0(), s.x0()); }}"""
    assert compile_and_run(source, tmp_path) == [-32768, 32767]


def test_enumerations_have_the_values_of_the_contract(tmp_path: Path) -> None:
    names = [f"isa::{e.__name__}::{v.name}" for e in headers.ENUMERATIONS for v in e]
    shows = "".join(f'std::printf("%d\\n", (int){name});' for name in names)
    source = f'#include <cstdio>\n#include "isa.hpp"\nint main() {{ {shows} }}'
    assert compile_and_run(source, tmp_path) == [int(v) for e in headers.ENUMERATIONS for v in e]
    declared = {v for v in vars(isa).values() if isinstance(v, type) and issubclass(v, IntEnum) and v is not IntEnum}
    assert declared == set(headers.ENUMERATIONS)


def test_constants_have_the_values_of_the_contract(tmp_path: Path) -> None:
    names = ("VERSION", "GROUP", "WORD_BYTES", "ON_CHIP", "STEPS_IN_FLIGHT")
    shows = "".join(f'std::printf("%u\\n", isa::{name});' for name in names)
    source = f'#include <cstdio>\n#include "isa.hpp"\nint main() {{ {shows} }}'
    assert compile_and_run(source, tmp_path) == [getattr(isa, name) for name in names]


@pytest.mark.parametrize("name", array_names())
def test_array_header_carries_the_array(name: str, tmp_path: Path) -> None:
    array = load_array(name)
    derived = (
        "ic_groups",
        "oc_groups",
        "block_words",
        "tap_words",
        "binary_tap_words",
        "reuse_tap_words",
        "pattern_words",
    )
    wanted = {
        field.name: value for field in dataclasses.fields(array) if isinstance(value := getattr(array, field.name), int)
    } | {n: getattr(array, n) for n in derived}
    shows = "".join(f'std::printf("%u\\n", Array::{n.upper()});' for n in wanted)
    source = f'#include <cstdio>\n#include "array.hpp"\nint main() {{ {shows} std::printf("%u", Array::DIGEST); }}'
    got = compile_and_run(source, tmp_path, f"-DPROPRUNE_ARRAY_{headers.identifier(name)}")
    assert got == [*wanted.values(), int(array.digest[:8], 16)]


@pytest.mark.parametrize("name", array_names())
def test_a_chain_of_packed_products_cannot_overflow_its_field(name: str) -> None:
    shift, chain, port = headers.dsp_packing(load_array(name))
    assert chain * 128 * 127 < 2 ** (shift - 1)
    assert 8 + shift <= port


def test_register_offsets_follow_the_argument_order() -> None:
    text = (HLS / "generated" / "isa.hpp").read_text()
    found = {n.lower(): int(v, 16) for n, v in re.findall(r"#define REGISTER_(\w+) (0x\w+)", text)}
    assert found == {r.name: r.offset for r in isa.REGISTERS}
    top = (HLS / "src" / "engine.cpp").read_text()
    arguments = re.search(r"void engine\((.*?)\)", top, re.DOTALL)
    assert arguments is not None
    names = re.findall(r"(\w+)(?:,|$)", arguments.group(1))
    assert names == [r.name for r in isa.REGISTERS if r.name != "control"] + ["clock_layer", "clock_accumulate"]


def test_check_names_a_file_that_was_edited(tmp_path: Path) -> None:
    for part in ("hls", "rtl", "docs"):
        shutil.copytree(HLS.parent / part, tmp_path / part, ignore=shutil.ignore_patterns("build"))
    files = generate.outputs()
    assert pages.stale(files, tmp_path) == []
    target = tmp_path / "hls" / "generated" / "isa.hpp"
    target.write_bytes(target.read_bytes() + b"\n")
    assert pages.stale(files, tmp_path) == pages.write(files, tmp_path) == ["hls/generated/isa.hpp"]
    assert pages.stale(files, tmp_path) == []


def test_check_refuses_a_source_outside_the_subset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("hls", "rtl", "docs"):
        shutil.copytree(HLS.parent / part, tmp_path / part, ignore=shutil.ignore_patterns("build"))
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 0
    (tmp_path / "hls" / "src" / "extra.hpp").write_text("inline void f() { while (true) {} }\n")
    assert generate.main(["--check"]) == 1
    assert "extra.hpp:1: unbounded loop" in capsys.readouterr().err


def test_a_page_out_of_date_fails_the_check_and_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    files = {"docs/page.md": "# Page\n"}
    assert pages.main("some.module", files, ["--check"]) == 1
    assert "docs/page.md is out of date; run: python -m some.module" in capsys.readouterr().err
    assert pages.main("some.module", files, []) == 0
    assert (tmp_path / "docs" / "page.md").read_text() == "# Page\n"
    assert pages.main("some.module", files, ["--check"]) == 0
