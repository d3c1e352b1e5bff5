"""``proprune deploy``: the artifact on the board, every byte of its golden output compared."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from proprune_cli.cli.arguments import ArtifactPath
from proprune_cli.cli.completion import offer
from proprune_cli.cli.output import Json, emit_json, say


def command(
    artifact: ArtifactPath,
    board: Annotated[
        str,
        typer.Option(
            "--board",
            metavar="BOARD",
            help="emulated:NAME, rtl:NAME, or a real board's name.",
            autocompletion=offer("places"),
        ),
    ],
    as_json: Json = False,
) -> None:
    """Load a compiled network into a board and compare every byte of its golden output.

    No simulated board is ever chosen by itself: name it.

    \b
    Example:
      proprune deploy net.ppr --board emulated:pynq-z2
    """
    from proprune_cli.artifact import load_artifact
    from proprune_cli.flow.execute import deploy

    report = deploy(load_artifact(artifact), board, str(artifact))
    if as_json:
        emit_json("deploy", dataclasses.asdict(report))
    else:
        say(f"{artifact} runs on {board}")
        say(f"{report.bytes_compared} output bytes compared with the golden output, {report.bytes_different} differ")
        say(f"array {report.array}, contract {report.digest[:16]}, {report.host_seconds:.2f} s of host time")
