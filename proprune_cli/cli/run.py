"""``proprune run``: images through a compiled network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proprune_cli.cli.arguments import ArtifactPath
from proprune_cli.cli.output import Json, emit_json, say
from proprune_cli.cli.progress import counting


def command(
    artifact: ArtifactPath,
    input: Annotated[  # noqa: A002 - the option's name
        Path, typer.Option("--input", "-i", metavar="X.NPY", help="Images: float32 NCHW (int8 with --raw).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="Y.NPY", help="Where to write the outputs.")],
    board: Annotated[
        str, typer.Option("--board", metavar="BOARD", help="emulated:NAME, interpreter, or cpu (ONNX Runtime).")
    ] = "emulated:pynq-z2",
    raw: Annotated[bool, typer.Option("--raw", help="Int8 codes in and out instead of real values.")] = False,
    as_json: Json = False,
) -> None:
    """Run images through a compiled network.

    The outputs are the same bytes wherever it runs.

    \b
    Example:
      proprune run net.ppr --input x.npy --output y.npy --board emulated:pynq-z2
    """
    import time

    from proprune_cli.artifact import load_artifact
    from proprune_cli.artifact.arrays import read_array, write_array
    from proprune_cli.artifact.codes import check_images
    from proprune_cli.flow.execute import open_executor, run_codes, run_images

    network = load_artifact(artifact)
    images = read_array(input)
    check_images(images, network.program.input, str(input), raw=raw)
    executor = open_executor(network, board, str(artifact))
    start = time.perf_counter()
    with counting("images", len(images)) as advance:
        if raw:
            result = run_codes(executor, images, advance)
        else:
            result = run_images(network, executor, images, advance)
    seconds = time.perf_counter() - start
    write_array(output, result)
    if as_json:
        body = {"images": len(images), "shape": list(result.shape), "dtype": str(result.dtype), "host_seconds": seconds}
        emit_json("run", {"artifact": str(artifact), "board": board, "output": str(output), **body})
    else:
        say(f"{output}: {result.dtype} {list(result.shape)} from {len(images)} images on {board}")
        say(f"{seconds:.2f} s of host time (`proprune bench` predicts the board's)")
