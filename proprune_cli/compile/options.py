"""What the compiler is asked for: a frozen dataclass whose fields are options of the command line and keys of run
files.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.spec.declare import given


@dataclass(frozen=True)
class CompileOptions:
    """One way to compile."""

    board: str = given("Board to plan for.", "pynq-z2", metavar="NAME", offers="boards")
    array: str | None = given("Array to compile for.", None, metavar="NAME", shown="the board's own", offers="arrays")
    calibration: str | None = given(
        "Example images, float32 NCHW, or a data set's name.", None, metavar="X.NPY|DATA", shown="the run's own"
    )
    network: str | None = given(
        "Network of RUN: pruned, dense or thin.", None, metavar="NAME", shown="pruned", offers="networks"
    )
    batch: int = given(
        "Images per start: fully connected layers read their weights once for all of them.", 1, metavar="N"
    )
