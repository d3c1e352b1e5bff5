"""How branches that meet in an addition lose channels: the option ``--residual``."""

from __future__ import annotations

from typing import Literal

from proprune_cli.spec.checks import require_choice

Residual = Literal["coupled", "free"]
"""``coupled``: the same channels go from all of them; ``free``: each drops its own."""


def checked_residual(value: str) -> Residual:
    """``coupled`` or ``free``.

    Raises:
        UsageError: it is something else.
    """
    require_choice(value, Residual, "--residual")
    return "free" if value == "free" else "coupled"
