"""The engine's processes as threads: the source's own loop over steps, rewritten so that they run at the same time.

Compiled from the form for an HLS compiler, with ``hls/tb/threads/hls_stream.h`` in place of the compiler's streams. The
host's usual form runs the processes of a step one after the other, and so can neither hang nor read too early.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from proprune_cli.accel.array import Array
from proprune_cli.accel.headers import identifier
from proprune_cli.board.native import compiler
from proprune_cli.resources import resource_dir

HLS = resource_dir("hls")


def threaded(source: str) -> str:
    """``steps.hpp`` with one thread for each process, and channels that outlive a step."""
    start = source.index("        HLS_DATAFLOW\n")
    end = source.index("\n    }\n}\n", start)
    head = source[: source.rindex("steps:\n", 0, start)]
    body = re.sub(r"//[^\n]*", "", source[start + len("        HLS_DATAFLOW\n") : end])
    lines: list[str] = []
    arrays: dict[str, int] = {}
    for statement in re.findall(r"HLS_\w+\([^()]*\)|[^;\s][^;]*;", body):
        text = " ".join(statement.split())
        if stream := re.fullmatch(r"(?:static )?(stream<.+> (\w+)(\[.+\])?;)", text):
            lines.append(f"static {stream.group(1)}")
        elif depth := re.fullmatch(r"HLS_FIFO(?:_BRAM)?\((\w+), (\w+)\)", text):
            many = re.search(rf"> {depth.group(1)}\[", "\n".join(lines))
            each = f"for (auto& q : {depth.group(1)}) q" if many else depth.group(1)
            lines.append(f"{each}.set_depth({depth.group(2)});")
        elif array := re.fullmatch(r"(u?int\d+_t) (\w+)((?:\[[\w:]+\])+);", text):
            arrays[array.group(2)] = 0
            lines.append(f"static hls::ping_pong<{array.group(1)}{array.group(3)}> {array.group(2)};")
        elif call := re.fullmatch(r"(\w+(?:<[\w, ]+>)?)\((.+)\);", text):
            if not call.group(1).startswith("static_assert"):
                lines.append(_thread(call.group(1), call.group(2).split(", "), arrays))
        else:
            assert re.fullmatch(r"HLS_\w+\([^()]*\)", text), f"cannot read {text!r}"
    assert set(arrays.values()) == {2}, "an array has one writer and one reader"
    lines.append("for (std::thread& t : threads) t.join();")
    return (
        "#include <thread>\n#include <vector>\n"
        + head
        + "std::vector<std::thread> threads;\n"
        + "\n".join(lines)
        + "\n}\n"
    )


def _thread(process: str, arguments: list[str], arrays: dict[str, int]) -> str:
    """A process that runs all steps; the first to name an array writes it, the second reads it."""
    before, after = "", ""
    for name in [n for n in arrays if n in arguments]:
        take, leave = (("to_write", "hand_over"), ("to_read", "give_back"))[arrays[name]]
        before += f"auto& {name}_now = {name}.{take}(); "
        after += f" {name}.{leave}();"
        arguments = [f"{name}_now" if a == name else a for a in arguments]
        arrays[name] += 1
    slow = 'if (std::getenv("SLOW_STORE")) std::this_thread::sleep_for(std::chrono::milliseconds(20)); '
    delay = slow if process.startswith("store") else ""
    call = f"{before}{delay}{process}({', '.join(arguments)});{after}"
    return f"threads.emplace_back([&] {{ for (uint32_t s = 0; s < step_count; ++s) {{ {call} }} }});"


def build(array: Array, folder: Path) -> Path:
    """The testbench with the processes as threads, under the compiler's check for data races."""
    shutil.copytree(HLS / "src", folder / "src")
    text = threaded((HLS / "src" / "steps.hpp").read_text())
    (folder / "src" / "steps.hpp").write_text("#include <chrono>\n#include <cstdlib>\n" + text)
    binary = folder / "threads"
    command = [*compiler(), "-std=c++17", "-O1", "-g", "-fsanitize=thread", "-pthread", "-Wno-unknown-pragmas"]
    command += ["-D__SYNTHESIS__", f"-DPROPRUNE_ARRAY_{identifier(array.name)}"]
    command += [f"-I{p}" for p in (folder / "src", HLS / "tb" / "threads", HLS / "host", HLS / "generated", HLS / "tb")]
    command += [str(folder / "src" / "engine.cpp"), *map(str, sorted((HLS / "tb").glob("*.cpp")))]
    subprocess.run([*command, "-o", str(binary)], check=True)
    return binary
