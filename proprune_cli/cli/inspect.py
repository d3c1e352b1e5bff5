"""``proprune inspect``: what is in an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proprune_cli.cli.arguments import ArtifactPath
from proprune_cli.cli.output import Json, emit_json, say, size
from proprune_cli.cli.plan import plan_table, quantisation

if TYPE_CHECKING:
    from proprune_cli.accel.program import ProgramOutput
    from proprune_cli.artifact import Artifact, Source


def command(
    artifact: ArtifactPath,
    plan: Annotated[
        bool, typer.Option("--plan", help="The compiler's plan, layer by layer, with PyTorch modules.")
    ] = False,
    disassemble: Annotated[
        bool, typer.Option("--disassemble", help="The program, as the engine will read it.")
    ] = False,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="NAME|INDEX", help="Disassemble one layer, or those of one module, at more length."
        ),
    ] = None,
    extract_onnx: Annotated[
        Path | None, typer.Option("--extract-onnx", metavar="QDQ.ONNX", help="Write the quantised model as QDQ ONNX.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is in an artifact, after verifying every bit of it.

    \b
    Examples:
      proprune inspect net.ppr --plan
      proprune inspect net.ppr --disassemble --layer conv1
    """
    from proprune_cli.artifact import check_contract, load_artifact
    from proprune_cli.files.write import write_whole

    network = load_artifact(artifact)
    listing: list[str] = []
    if disassemble or layer is not None:
        from proprune_cli.accel.disassemble import Limits
        from proprune_cli.accel.disassemble import disassemble as listed

        array = check_contract(network, str(artifact))
        limits = Limits() if layer is None else Limits(steps=64, blocks=64, taps=64)
        # A layer goes by the name of its module, too; one module may have several.
        named = [p.work.name for p in network.plan.layers if layer and p.module == layer]
        chosen = [layer] if layer is None or layer in network.program.layer_names or not named else named
        listing = [line for name in chosen for line in listed(network.program, array, name, limits)]
    if extract_onnx is not None:
        write_whole(extract_onnx, network.qdq)
    if as_json:
        emit_json("inspect", _document(artifact, network, plan, listing))
        return
    _summary(artifact, network)
    if plan:
        say()
        plan_table(network)
    for line in ["", *listing] if listing else []:
        say(line)
    if extract_onnx is not None:
        say(f"\n{extract_onnx}: QDQ model written")


def _summary(path: Path, network: Artifact) -> None:
    p = network.program
    rows = [
        ("network", f"{network.name}{_origin(network.source)}"),
        ("compiled", f"by proprune {network.tool} for {network.board}, array {p.array}, contract {p.digest[:16]}"),
        ("input", f"[N, {', '.join(map(str, network.input_shape))}], scale 2^{p.input.exponent}"),
        *([("", "images as the data set has them, normalised before they are quantised")] if p.preprocess else []),
        *([("batch", f"{p.batch} images per start")] if p.batch > 1 else []),
        *(("output", _output(output, named=len(p.outputs) > 1)) for output in p.outputs),
        ("quantised", quantisation(network)),
        (
            "program",
            f"{p.layer_count} layers{_steps(len(p.host_steps))}, image {size(len(p.image) * 8)}, "
            f"buffer {size(p.bytes)}",
        ),
    ]
    say(f"{path}: whole, every checksum agrees")
    for name, text in rows:
        say(f"  {name:9} {text}")


def _origin(source: Source) -> str:
    """Which of a run's networks it is, where it is of one, and the file it was."""
    which = "" if source.network is None else f", {source.network} network"
    return f"{which}, from {source.name} ({source.sha256[:16]})"


def _output(output: ProgramOutput, *, named: bool) -> str:
    shown = f"[N, {', '.join(map(str, output.shape))}], scale 2^{output.plane.exponent}"
    return f"{output.name}: {shown}" if named else shown


def _steps(count: int) -> str:
    """``, 2 host steps between them``; nothing for none."""
    return f", {count} host step{'s' if count > 1 else ''} between them" if count else ""


def _document(path: Path, network: Artifact, plan: bool, listing: list[str]) -> dict[str, Any]:
    manifest = network.manifest().to_json()
    manifest.pop("schema")
    body: dict[str, Any] = {"artifact": str(path), "manifest": manifest, "report": network.report}
    if plan:
        body["plan"] = network.plan.to_json()
    if listing:
        body["disassembly"] = listing
    return body
