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
            help="emulated:NAME, interpreter, or cpu (ONNX Runtime).",
            autocompletion=offer("places"),
        ),
    ] = "emulated:pynq-z2",
    raw: Annotated[bool, typer.Option("--raw", help="Int8 codes in and out instead of real values.")] = False,
    as_json: Json = False,
) -> None:
    """Run images through a compiled network.

    The outputs are the same bytes wherever it runs. An .npz file has one array for each, under its name. A network of
    `proprune prune` takes images as its data set has them, uint8 too, and normalises them itself.

    \b
    Example:
      proprune run net.ppr --input x.npy --output y.npy --board emulated:pynq-z2
    """
    import time

    from proprune_cli.artifact import load_artifact
    from proprune_cli.artifact.arrays import read_array, write_array, write_arrays
    from proprune_cli.artifact.codes import checked_images
    from proprune_cli.board.registry import open_executor
    from proprune_cli.flow.execute import CLIPPED, clipped_share, run_codes, run_images

    network = load_artifact(artifact)
    program = network.program
    images = checked_images(
        read_array(input, pipes=True), network.input_shape, str(input), raw=raw, stored=program.preprocess is not None
    )
    clipped = 0.0 if raw else clipped_share(program, images)
    if clipped > CLIPPED:
        taken = "as its data set has them" if program.preprocess else "normalised as for training"
        warn(
            f"{clipped:.0%} of the values in {input} lie beyond the range of the calibration images, and are clipped; "
            f"the network takes images {taken}"
        )
    names = [part.name for part in network.program.outputs] if raw else list(network.results)
    archive = output.suffix == ".npz"
    if len(names) > 1 and not archive:
        raise UsageError(
            f"the network has {len(names)} outputs ({', '.join(names)}), and a .npy file holds one array",
            where=f"--output {output}",
            remedy=f"write them to {output.with_suffix('.npz')}, one array for each",
        )
    executor = open_executor(network, board, str(artifact))
    start = time.perf_counter()
    with counting("images", len(images)) as advance:
        if raw:
            results: dict[str, Any] = dict(
                zip(names, run_codes(executor, images, network.program.batch, advance), strict=True)
            )
        else:
            results = run_images(network, executor, images, advance)
    seconds = time.perf_counter() - start
    if archive:
        write_arrays(output, results)
    else:
        write_array(output, results[names[0]])
    if as_json:
        shown = [{"name": n, "shape": list(r.shape), "dtype": str(r.dtype)} for n, r in results.items()]
        only: dict[str, Any] = shown[0] if len(shown) == 1 else {}
        body = {"images": len(images), "shape": only.get("shape"), "dtype": only.get("dtype"), "host_seconds": seconds}
        body["clipped_share"] = clipped
        emit_json("run", {"artifact": str(artifact), "board": board, "output": str(output), **body, "outputs": shown})
    else:
        for name, result in results.items():
            label = f"{output} {name}" if len(results) > 1 else str(output)
            say(f"{label}: {result.dtype} {list(result.shape)} from {len(images)} images on {board}")
        say(f"{seconds:.2f} s of host time (`proprune bench` predicts the board's)")
