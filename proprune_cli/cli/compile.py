"""``proprune compile``: a model becomes an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from proprune_cli.cli.arguments import Config
from proprune_cli.cli.declared import with_flags
from proprune_cli.cli.output import Json, emit_json, say, size, warn
from proprune_cli.cli.plan import lost_signal, plan_table, quantisation
from proprune_cli.cli.progress import stages
from proprune_cli.compile.options import CompileOptions


@with_flags({"": CompileOptions})
def command(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|MODEL.ONNX", help="A finished run directory, or an ONNX file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="NET.PPR", help="The artifact to write.")],
    given: dict[str, Any],
    no_host: Annotated[
        bool, typer.Option("--no-host", help="Refuse networks of which a part (Softmax, LRN, …) would run on the host.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compile a run directory or an ONNX model into one artifact.

    \b
    Examples:
      proprune compile runs/digits -o net.ppr
      proprune compile runs/digits --network dense -o dense.ppr
      proprune compile model.onnx --calibration images.npy --array z7020-256 -o net.ppr
      proprune compile model.onnx --calibration images.npy --batch 8 -o net.ppr
    """
    from proprune_cli.config import compile_options
    from proprune_cli.flow.build import build

    options = compile_options(config, given)
    with stages() as on_stage:
        artifact = build(source, options, on_stage, allow_host=not no_host)
        length = artifact.save(output)
    if weak := lost_signal(artifact):
        warn(weak)
    if as_json:
        emit_json("compile", _document(output, artifact, length))
        return
    plan_table(artifact)
    program = artifact.program
    say(f"quantised: {quantisation(artifact)}")
    if note := artifact.report.get("note"):
        say(f"note: {note}")
    say()
    say(
        f"{output}: {size(length)}, array {program.array}, contract {program.digest[:16]}; "
        f"needs {size(program.bytes)} of board memory"
    )


def _document(output: Path, artifact: Any, length: int) -> dict[str, Any]:
    manifest = artifact.manifest().to_json()
    manifest.pop("schema")
    plan: dict[str, Any] = {"plan": artifact.plan.to_json(), "report": artifact.report}
    return {"artifact": str(output), "bytes": length, "manifest": manifest, **plan}
