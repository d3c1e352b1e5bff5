"""Checks that the engine's synthesised sources keep to what every HLS compiler takes.

Forbidden: dynamic memory, virtual functions, exceptions, recursion, the standard library beyond ``<cstdint>``, loops
that are not ``for`` loops with stated bounds, types whose width the platform chooses, floating point, lambdas, and
pragmas or compiler-dependent branches outside ``hls.hpp``. It reads tokens, not the language: the sources are written
to be readable to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PRAGMA_FILE = "hls.hpp"
SWITCH_FILES = (PRAGMA_FILE, "engine.cpp")
"""The files that may tell a host from an HLS compiler; engine.cpp chooses the multiplier's form."""

INCLUDES = ("<cstdint>",)

_WORDS = {
    "dynamic memory": ("new", "delete", "malloc", "calloc", "realloc", "free", "alloca"),
    "virtual function or run-time type": ("virtual", "override", "dynamic_cast", "typeid"),
    "exception": ("try", "throw", "catch", "noexcept"),
    "type whose width the platform chooses": (
        "int", "long", "short", "unsigned", "signed", "char", "size_t", "ptrdiff_t", "uintptr_t", "intptr_t", "auto",
    ),
    "floating point": ("float", "double"),
    "unbounded loop or jump": ("while", "do", "goto"),
    "standard library": ("std", "printf", "assert", "vector"),
    "indirect call or unsafe cast": ("reinterpret_cast", "const_cast", "function", "asm"),
}  # fmt: skip
_REASON = {word: reason for reason, words in _WORDS.items() for word in words}
_TOKEN = re.compile(r"[A-Za-z_]\w*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
_FUNCTION = re.compile(
    r"^[ \t]*(?:[A-Za-z_][\w:<>,&*\s]*?[\s&*>])([a-z_]\w*)\s*\(([^;{}]*)\)\s*(?:const\s*)?\{", re.MULTILINE
)
_FOR = re.compile(r"\bfor\s*\(")
_CONSTANT_BOUND = re.compile(r"<\s*(?:\w+::)?(?:[A-Z][A-Z_]*|\d+)\s*$")
_MACRO = re.compile(r"HLS_\w+(?:\s*\([^()]*\))?\s*")


@dataclass(frozen=True)
class Fault:
    """One construct outside the subset."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def check_tree(hls: Path) -> list[Fault]:
    """Faults of every synthesised source under ``hls/src`` and ``hls/generated``."""
    faults: list[Fault] = []
    for path in synthesised(hls):
        faults += check_source(path.name, path.read_text(encoding="utf-8"))
    return faults


def synthesised(hls: Path) -> list[Path]:
    """The sources that an HLS tool reads; those in ``hls/host`` are never synthesised."""
    return sorted(p for folder in ("src", "generated") for p in (hls / folder).rglob("*.[ch]pp"))


def check_source(name: str, text: str) -> list[Fault]:
    """Faults of one source file; ``name`` decides what it may contain."""
    code = _COMMENT.sub(_blank, text)
    faults = _directives(name, text, code)
    # Preprocessor lines are judged above.
    body = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", _blank, code, flags=re.MULTILINE)
    for match in _TOKEN.finditer(body):
        reason = _REASON.get(match.group())
        if reason:
            faults.append(Fault(name, _line(body, match.start()), f"{reason}: `{match.group()}`"))
    for match in re.finditer(r"(?:=|\(|,)\s*\[[^\]]*\]\s*\(", body):
        faults.append(Fault(name, _line(body, match.start()), "lambda"))
    faults += _loops(name, body)
    faults += _recursion(name, body)
    return sorted(faults, key=lambda f: f.line)


def _blank(match: re.Match[str]) -> str:
    """Same length and lines, no content."""
    return re.sub(r"[^\n]", " ", match.group())


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _directives(name: str, text: str, code: str) -> list[Fault]:
    faults: list[Fault] = []
    original = text.splitlines()
    for number, line in enumerate(code.splitlines(), start=1):
        stripped = line.strip()
        if name != PRAGMA_FILE and (re.match(r"#\s*pragma(?!\s+once$)", stripped) or "_Pragma" in line):
            faults.append(Fault(name, number, f"pragma outside {PRAGMA_FILE}"))
        if re.match(r"#\s*(if|ifdef|ifndef|elif)\b", stripped) and name not in (*SWITCH_FILES, "array.hpp"):
            faults.append(Fault(name, number, "what is compiled must not depend on the compiler"))
        if re.match(r"#\s*include\s*<", stripped) and name != PRAGMA_FILE:
            included = original[number - 1].strip().split(maxsplit=1)[1]
            if included not in INCLUDES:
                faults.append(Fault(name, number, f"standard library: `#include {included}`"))
    return faults


def _closing(text: str, opening: int) -> int:
    """Position of the bracket that closes the one at ``opening``."""
    pairs = {"(": ")", "{": "}"}
    depth = 0
    for position in range(opening, len(text)):
        if text[position] == text[opening]:
            depth += 1
        elif text[position] == pairs[text[opening]]:
            depth -= 1
            if depth == 0:
                return position
    return len(text)


def _loops(name: str, body: str) -> list[Fault]:
    """Every loop is unrolled or states the bounds of its trip count, first thing in its body."""
    faults: list[Fault] = []
    for match in _FOR.finditer(body):
        end = _closing(body, match.end() - 1)
        header = body[match.end() : end]
        line = _line(body, match.start())
        if header.count(";") != 2 or not header.split(";")[1].strip():
            faults.append(Fault(name, line, "loop without a condition"))
        opening = re.match(r"\s*\{\s*", body[end + 1 :])
        if opening is None:
            faults.append(Fault(name, line, "loop without a braced body"))
            continue
        rest = body[end + 1 + opening.end() :]
        macros: list[str] = []
        while found := _MACRO.match(rest):
            macros.append(found.group())
            rest = rest[found.end() :]
        if not any(m.startswith(("HLS_TRIPCOUNT", "HLS_UNROLL")) for m in macros):
            faults.append(Fault(name, line, "loop without trip-count bounds (HLS_TRIPCOUNT or HLS_UNROLL)"))
        elif any(m.startswith("HLS_UNROLL") for m in macros) and not _CONSTANT_BOUND.search(header.split(";")[1]):
            faults.append(Fault(name, line, "unrolled loop whose bound is not a constant"))
    return faults


def _recursion(name: str, body: str) -> list[Fault]:
    """Functions of this file that reach themselves."""
    calls: dict[str, set[str]] = {}
    lines: dict[str, int] = {}
    for match in _FUNCTION.finditer(body):
        if match.group(1) in ("if", "for", "switch"):
            continue
        inside = body[match.end() - 1 : _closing(body, match.end() - 1)]
        calls.setdefault(match.group(1), set()).update(
            re.findall(r"(?<![.\w:])([a-z_]\w*)(?:<[^;(){}]*>)?\s*\(", inside)
        )
        lines.setdefault(match.group(1), _line(body, match.start(1)))
    faults: list[Fault] = []
    for start in calls:
        seen: set[str] = set()
        stack = list(calls[start])
        while stack:
            callee = stack.pop()
            if callee in calls and callee not in seen:
                seen.add(callee)
                stack += calls[callee]
        if start in seen:
            faults.append(Fault(name, lines[start], f"recursion: `{start}`"))
    return faults
