"""``proprune boards``: what can be compiled for, and what is built."""

from __future__ import annotations

from proprune_cli.cli.output import Json, emit_json, say, table


def command(as_json: Json = False) -> None:
    """List the boards, their arrays, and whether a bitstream is built for them.

    \b
    Example:
      proprune boards
    """
    from proprune_cli.flow.catalogue import catalogue

    entries = catalogue()
    if as_json:
        emit_json("boards", {"boards": [entry.to_json() for entry in entries]})
        return
    table(
        ("board", "part", "array", "MACs/cycle", "MHz", "DDR GB/s", "memory", "bitstream"),
        [
            (
                e.board,
                e.part,
                e.array + (" (default)" if e.default else ""),
                f"{e.macs_per_cycle:,}",
                f"{e.clock_mhz:g}",
                f"{e.bandwidth_gb_s:g}",
                f"{e.cma_bytes // 2**20} MiB",
                e.bitstream,
            )
            for e in entries
        ],
    )
    say()
    for reason in dict.fromkeys(e.reason for e in entries if e.reason):
        say(f"note: {reason}")
    say("run on emulated:<board> (the engine's C++ source), interpreter, or cpu (ONNX Runtime)")
