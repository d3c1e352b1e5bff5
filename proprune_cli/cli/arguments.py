"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A .ppr file written by `proprune compile`.")]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="RUN.YAML", help="Run file; options given here override it.")
]
