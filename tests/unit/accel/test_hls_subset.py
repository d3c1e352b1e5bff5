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
        r"HLS_(?:PARTITION|RAM_\w+|SHARED|HANDED_OVER|RESET|FIFO\w*|DISTANCE|\w+_MULTIPLY|AXI_\w+|WIRE)\((\w+)", text
    ):
        assert len(re.findall(rf"\b{name}\b", text)) >= 2, f"{path.name}: a pragma names {name!r}, nothing else does"


STUB = """#pragma once
namespace hls { template <typename T> struct stream { void write(const T&); T read(); }; }
"""


@pytest.mark.parametrize("name", array_names())
def test_the_form_for_an_hls_compiler_parses_and_its_pragmas_carry_literals(name: str, tmp_path: Path) -> None:
    (tmp_path / "hls_stream.h").write_text(STUB)
    command = [*compiler(), "-std=c++17", "-D__SYNTHESIS__", f"-DPROPRUNE_ARRAY_{identifier(name)}", f"-I{tmp_path}"]
    command += [f"-I{HLS / 'src'}", f"-I{HLS / 'generated'}", str(HLS / "src" / "engine.cpp")]
    subprocess.run([*command, "-fsyntax-only", "-Wno-unknown-pragmas"], check=True)
    text = subprocess.run([*command, "-E", "-P"], check=True, capture_output=True, text=True).stdout
    pragmas = [line.strip() for line in text.splitlines() if line.strip().startswith("#pragma HLS")]
    assert len(pragmas) > 100
    assert not [p for p in pragmas if re.search(r"ARRAY_|REGISTER_|ENGINE_|::", p)]
    flat = [re.sub(r"\s*=\s*", "=", p) for p in pragmas]
    assert "#pragma HLS dependence variable=acc type=inter direction=RAW distance=8 dependent=true" in flat
    assert "#pragma HLS interface mode=s_axilite port=weights bundle=control offset=0x1c" in flat
    assert flat.count("#pragma HLS dataflow") == 1
    assert "#pragma HLS stream variable=scratch type=unsync" in flat
    assert "#pragma HLS stream variable=receipt type=pipo" in flat
    assert "#pragma HLS reset variable=outstanding" in flat
