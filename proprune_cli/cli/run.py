"""``proprune run``: images through a compiled network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from proprune_cli.cli.arguments import ArtifactPath
from proprune_cli.cli.completion import offer
from proprune_cli.cli.output import Json, emit_json, say, warn
from proprune_cli.cli.progress import counting
from proprune_cli.errors import UsageError


def command(
    artifact: ArtifactPath,
    input: Annotated[  # noqa: A002 - the option's name
        Path,
        typer.Option(
            "--input",
            "-i",
            metavar="X.NPY",
            help="Images as the data set has them: float32 or uint8 NCHW (int8 codes with --raw).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="Y.NPY|Y.NPZ", help="Where to write the outputs; several need an .npz file."
        ),
    ],
    board: Annotated[
        str,
        typer.Option(
            "--board",
            metavar="BOARD",
            help="emulated:NAME, rtl:NAME, interpreter, or cpu (ONNX Runtime).",
            autocompletion=offer("places"),
        ),
    ] = "emulated:pynq-z2",
    raw: Annotated[bool, typer.Option("--raw", help="Int8 codes in and out instead of real values.")] = False,
    as_json: Json = False,
) -> None:
    """Run images through a compiled network.

    The outputs are the same bytes wherever it runs. An .npz file has one array for each, under its name. A network of
    `proprune prune` takes images as its data set has them, uint8 too, and normalises them itself. Images are read,
    computed and written a part at a time: any number fits in memory.

    \b
    Example:
      proprune run net.ppr --input x.npy --output y.npy --board emulated:pynq-z2
    """
    from proprune_cli.artifact import load_artifact
    from proprune_cli.artifact.arrays import ArrayWriter
    from proprune_cli.board.registry import open_executor
    from proprune_cli.flow.execute import CLIPPED
    from proprune_cli.flow.stream import open_images, run_file

    network = load_artifact(artifact)
    program = network.program

    def warn_of_clipping(share: float) -> None:
        if share > CLIPPED:
            taken = "as its data set has them" if program.preprocess else "normalised as for training"
            warn(
                f"{share:.0%} of the values in {input} lie beyond the range of the calibration images, and are "
                f"clipped; the network takes images {taken}"
            )

    with open_images(input, network, raw=raw) as images:
        told = images.clipped
        warn_of_clipping(told)
        names = [part.name for part in program.outputs] if raw else list(network.results)
        if len(names) > 1 and output.suffix != ".npz":
            raise UsageError(
                f"the network has {len(names)} outputs ({', '.join(names)}), and a .npy file holds one array",
                where=f"--output {output}",
                remedy=f"write them to {output.with_suffix('.npz')}, one array for each",
            )
        executor = open_executor(network, board, str(artifact))
        with counting("images", images.count) as advance, ArrayWriter(output, images.count) as writer:
            seconds = run_file(network, executor, images, writer, raw=raw, advance=advance)
    if images.clipped != told:
        warn_of_clipping(images.clipped)  # of a pipe, which is read once
    if as_json:
        shown = [{"name": n, "shape": list(s), "dtype": str(d)} for n, (s, d) in writer.written.items()]
        only: dict[str, Any] = shown[0] if len(shown) == 1 else {}
        body = {"images": images.count, "shape": only.get("shape"), "dtype": only.get("dtype"), "host_seconds": seconds}
        body["clipped_share"] = images.clipped
        emit_json("run", {"artifact": str(artifact), "board": board, "output": str(output), **body, "outputs": shown})
    else:
        for name, (shape, dtype) in writer.written.items():
            label = f"{output} {name}" if len(writer.written) > 1 else str(output)
            say(f"{label}: {dtype} {list(shape)} from {images.count} images on {board}")
        say(f"{seconds:.2f} s of host time (`proprune bench` predicts the board's)")
