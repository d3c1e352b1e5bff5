"""The subset checker: passes on the engine, and finds each forbidden construct."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from proprune_cli.accel.array import array_names
from proprune_cli.accel.headers import identifier
from proprune_cli.accel.hls_subset import check_source, check_tree, synthesised
from proprune_cli.board.native import compiler
from proprune_cli.resources import resource_dir

HLS = resource_dir("hls")
SYNTHESISED = [p for p in synthesised(HLS) if p.parent.name != "generated" and p.name != "hls.hpp"]

BAD = {
    "dynamic memory": "void f() { uint8_t* p = new uint8_t[4]; }",
    "virtual function": "struct S { virtual void f(); };",
    "exception": "void f() { throw 1; }",
    "width the platform chooses: `int`": "void f(int x) {}",
    "width the platform chooses: `unsigned`": "unsigned f();",
    "width the platform chooses: `auto`": "void f() { auto x = g(); }",
    "floating point": "double f();",
    "unbounded loop or jump: `while`": "void f() { while (g()) {} }",
    "unbounded loop or jump: `goto`": "void f() { goto end; end: g(); }",
    "loop without a condition": "void f() { for (;;) { HLS_UNROLL g(); } }",
    "loop without trip-count bounds": "void f() { for (uint32_t i = 0; i < n; ++i) { HLS_PIPELINE(1) g(i); } }",
    "loop without a braced body": "void f() { for (uint32_t i = 0; i < 4; ++i) g(i); }",
    "unrolled loop whose bound": "void f(uint32_t n) { for (uint32_t i = 0; i < n; ++i) { HLS_UNROLL g(i); } }",
    "recursion: `f`": "uint32_t f(uint32_t n) { return n == 0 ? 0 : f(n - 1); }",
    "recursion: `even`": "bool even(uint32_t n) { return odd(n); }\nbool odd(uint32_t n) { return even(n); }",
    "standard library: `#include <vector>`": "#include <vector>",
    "standard library: `std`": "void f(std::array<uint8_t, 4>& a) {}",
    "pragma outside hls.hpp": "void f() {\n#pragma HLS pipeline\n}",
    "must not depend on the compiler": "#ifdef __SYNTHESIS__\n#endif",
    "lambda": "void f() { g([](uint8_t x) { return x; }); }",
    "indirect call or unsafe cast": "void f(uint8_t* p) { g(reinterpret_cast<uint64_t*>(p)); }",
}


def test_the_engine_keeps_to_the_subset() -> None:
    assert [str(f) for f in check_tree(HLS)] == []


@pytest.mark.parametrize(("what", "snippet"), BAD.items())
def test_a_forbidden_construct_is_found(what: str, snippet: str) -> None:
    assert what in " / ".join(str(f) for f in check_source("snippet.hpp", snippet))


def test_what_is_allowed_passes() -> None:
    source = """#pragma once
#include <cstdint>
// int in a comment, and a "while" in a string, are prose
inline uint32_t sum(const uint32_t* values, uint32_t count) {
    uint32_t total = 0;
terms:
    for (uint32_t i = 0; i < count; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 16, 8)
        total += values[i];
    }
    return total;
}
"""
    assert check_source("good.hpp", source) == []


def test_a_fault_names_its_line() -> None:
    (fault,) = check_source("two.hpp", "// one\nfloat f();\n")
    assert str(fault) == "two.hpp:2: floating point: `float`"


@pytest.mark.parametrize("path", SYNTHESISED, ids=lambda p: p.name)
def test_every_pragma_names_something_in_scope(path: Path) -> None:
    text = re.sub(r"//.*", "", path.read_text())
    for name in re.findall(
        r"HLS_(?:PARTITION|RAM_\w+|FIFO\w*|DISTANCE|INDEPENDENT|STABLE|\w+_MULTIPLY|AXI_\w+|WIRE)\((\w+)", text
    ):
        assert len(re.findall(rf"\b{name}\b", text)) >= 2, f"{path.name}: a pragma names {name!r}, nothing else does"


@pytest.mark.parametrize("name", array_names())
def test_the_form_for_an_hls_compiler_compiles_as_cpp14_and_its_pragmas_carry_literals(name: str) -> None:
    command = [*compiler(), "-std=c++14", "-D__SYNTHESIS__", f"-DPROPRUNE_ARRAY_{identifier(name)}"]
    command += [f"-I{HLS / folder}" for folder in ("src", "generated", "tb/threads")]
    command += [str(HLS / "src" / "engine.cpp")]
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-label", "-Wno-unknown-pragmas"]
    subprocess.run([*command, "-fsyntax-only", *flags], check=True)
    text = subprocess.run([*command, "-E", "-P"], check=True, capture_output=True, text=True).stdout
    pragmas = [line.strip() for line in text.splitlines() if line.strip().startswith("#pragma HLS")]
    assert len(pragmas) > 100
    assert not [p for p in pragmas if re.search(r"ARRAY_|REGISTER_|ENGINE_|::", p)]
    flat = [re.sub(r"\s*=\s*", "=", p) for p in pragmas]
    assert "#pragma HLS dependence variable=acc type=inter direction=RAW distance=8 dependent=true" in flat
    assert "#pragma HLS interface mode=s_axilite port=weights bundle=control offset=0x1c" in flat
    assert flat.count("#pragma HLS dataflow disable_start_propagation") == 1
    assert "#pragma HLS array_partition variable=bank type=complete dim=1" in flat
    # The one loop whose stall would reach all multipliers, and which has no port of memory in it.
    assert flat.count("#pragma HLS pipeline II=1 style=frp") == 1


@pytest.mark.parametrize("name", array_names())
def test_the_form_for_a_host_compiles_as_cpp14(name: str) -> None:
    command = [*compiler(), "-std=c++14", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-label"]
    command += [f"-DPROPRUNE_ARRAY_{identifier(name)}", *(f"-I{HLS / f}" for f in ("src", "host", "generated", "tb"))]
    sources = [HLS / "src" / "engine.cpp", *sorted((HLS / "tb").glob("*.cpp"))]
    subprocess.run([*command, *map(str, sources)], check=True)


REGION = re.sub(r"//[^\n]*", "", (HLS / "src" / "steps.hpp").read_text()).split("HLS_DATAFLOW", 1)[1]


def test_the_region_is_canonical() -> None:
    """UG1399, "Canonical Body": local variables that are not static, then calls, whose arguments are names alone."""
    statements = [s.strip() for s in re.sub(r"HLS_\w+\([^()]*\)", "", REGION).rsplit("}", 1)[0].split(";") if s.strip()]
    declared: list[str] = []
    calls: list[list[str]] = []
    for text in (" ".join(s.split()) for s in statements):
        if channel := re.fullmatch(r"(?:stream|block_stream)<.+> (\w+)(\[.+\])?", text):
            assert not calls, f"{channel.group(1)} is declared behind a call"
            declared.append(channel.group(1))
        elif not text.startswith("static_assert"):
            call = re.fullmatch(r"\w+(?:<\w+(?:, \w+)*>)?\((\w+(?:, \w+)*)\)", text)
            assert call, f"neither a channel nor a plain call: {text}"
            calls.append(call.group(1).split(", "))
    assert len(calls) == 15
    for name in declared:
        assert sum(name in arguments for arguments in calls) == 2, f"{name} has one writer and one reader"
    given = ["features", "weight_words", "residual", "descriptors", "results", "clock_layer", "clock_accumulate"]
    for name in given:
        assert sum(name in arguments for arguments in calls) == 1
        assert f"HLS_STABLE({name})" in REGION
    # What is left of the region's arguments is read by the first process, or written by the last.
    for name in ("layer_table", "counters", "step_count"):
        assert [name in arguments for arguments in calls] == [True] + [False] * 14
    assert ["completed" in arguments for arguments in calls] == [False] * 14 + [True]


def test_blocks_are_written_by_a_process_before_the_one_that_reads_them() -> None:
    assert REGION.index("fill_banks<A>(") < REGION.index("accumulate<A, Dot>(")
    for path, lock in (("fill_banks.hpp", "write_block"), ("accumulate.hpp", "read_block")):
        # One lock in a process: nested ones are not allowed.
        assert len(re.findall(rf"{lock}<Bank<A>> bank\(banks\)", (HLS / "src" / path).read_text())) == 1


def test_every_queue_has_its_depth() -> None:
    for name in re.findall(r"\bstream<.+> (\w+)(?:\[.+\])?;", REGION):
        assert len(re.findall(rf"HLS_FIFO(?:_BRAM)?\({name}, ", REGION)) == 1, name


def test_no_static_variable_outlives_a_run() -> None:
    for path in SYNTHESISED:
        for line in re.findall(r"^\s+static .*", path.read_text(), re.MULTILINE):
            assert "static constexpr" in line, f"{path.name}: {line}"
