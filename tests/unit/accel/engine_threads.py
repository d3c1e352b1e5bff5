"""The engine's processes as threads: the region that is synthesised, rewritten so that its processes run at once.

Compiled from the form for an HLS compiler, with the headers of ``hls/tb/threads`` in place of the compiler's. The
host's usual form runs the steps of all processes one after the other, and so can neither hang nor read too early.
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

INCLUDES = "#include <chrono>\n#include <cstdlib>\n#include <thread>\n#include <vector>\n"
SLOW = 'if (std::getenv("SLOW_STORE")) std::this_thread::sleep_for(std::chrono::milliseconds(20));\n'


SHORTER = 'const std::size_t less = std::getenv("SHORTER_QUEUES") ? 1 : 0;'


def threaded(source: str) -> str:
    """``steps.hpp`` with one thread for each process. Its environment may make all queues one entry shorter."""
    start = source.index("    HLS_DATAFLOW\n")
    end = source.index("\n}\n", start)
    body = re.sub(r"//[^\n]*", "", source[start + len("    HLS_DATAFLOW\n") : end])
    lines = ["std::vector<std::thread> threads;", SHORTER]
    users: dict[str, int] = {}
    for statement in re.findall(r"HLS_\w+\([^()]*\)|[^;\s][^;]*;", body):
        text = " ".join(statement.split())
        if channel := re.fullmatch(r"(?:stream|block_stream)<.+> (\w+)(\[.+\])?;", text):
            users[channel.group(1)] = 0
            lines.append(text)
        elif depth := re.fullmatch(r"HLS_FIFO(?:_BRAM)?\((\w+), (\w+)\)", text):
            many = re.search(rf"> {depth.group(1)}\[", "\n".join(lines))
            each = f"for (auto& q : {depth.group(1)}) q" if many else depth.group(1)
            lines.append(f"{each}.set_depth({depth.group(2)} - less);")
        elif call := re.fullmatch(r"(\w+(?:<[\w, ]+>)?)\((.+)\);", text):
            if not call.group(1).startswith("static_assert"):
                for name in set(call.group(2).split(", ")) & set(users):
                    users[name] += 1
                lines.append(f"threads.emplace_back([&] {{ {text} }});")
        else:
            assert re.fullmatch(r"HLS_\w+\([^()]*\)", text), f"cannot read {text!r}"
    assert set(users.values()) == {2}, f"a channel has one writer and one reader: {users}"
    lines.append("for (std::thread& t : threads) t.join();")
    return source[:start] + "\n".join(lines) + "\n}\n"


VENDOR_FILES = ("ap_int.h", "hls_stream.h")
"""What the vendor publishes of the headers that the source includes."""


def build(array: Array, folder: Path, vendor: Path | None = None) -> Path:
    """The testbench with the processes as threads, under the compiler's check for data races.

    Args:
        vendor: a folder with the vendor's own ``VENDOR_FILES``, to take the place of ours. Its queues never fill.
    """
    shutil.copytree(HLS / "src", folder / "src")
    shutil.copytree(HLS / "tb" / "threads", folder / "threads_headers")
    text = threaded((HLS / "src" / "steps.hpp").read_text())
    if vendor:
        text = re.sub(r".*set_depth.*\n|.*SHORTER_QUEUES.*\n", "", text)
        for name in VENDOR_FILES:
            (folder / "threads_headers" / name).unlink()
    (folder / "src" / "steps.hpp").write_text(INCLUDES + text)
    store = folder / "src" / "output" / "store.hpp"
    job = "    const StoreJob job = jobs.read();\n"
    assert store.read_text().count(job) == 1
    store.write_text(INCLUDES + store.read_text().replace(job, job + SLOW))
    binary = folder / "threads"
    command = [*compiler(), "-std=c++14", "-O1", "-g", "-fsanitize=thread", "-pthread", "-Wno-unknown-pragmas"]
    # Not __SYNTHESIS__: the vendor's headers take that for their own compiler's.
    command += ["-DHLS_TARGET=1", "-DHLS_STREAM_THREAD_SAFE", f"-DPROPRUNE_ARRAY_{identifier(array.name)}"]
    folders = (folder / "src", folder / "threads_headers", HLS / "host", HLS / "generated", HLS / "tb")
    command += [f"-I{p}" for p in folders] + ([f"-isystem{vendor}"] if vendor else [])
    command += [str(folder / "src" / "engine.cpp"), *map(str, sorted((HLS / "tb").glob("*.cpp")))]
    subprocess.run([*command, "-o", str(binary)], check=True)
    return binary
