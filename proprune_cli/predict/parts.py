"""Making the rows of a part, in whatever process: all that it needs is handed over, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.tile import Choices
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.quantized import QGraph
from proprune_cli.predict.rows import figures
from proprune_cli.predict.sampling import Drawn, RowPlan, Target, draw
from proprune_cli.predict.store import encode
from proprune_cli.predict.variants import counted

KNOWN = 20_000
"""Tilings that are remembered for an array."""

_choices: dict[Target, Choices] = {}


def make_part(network: bytes | Path, plans: Sequence[RowPlan]) -> bytes:
    """Rows of variants of one network as a Parquet file.

    Args:
        network: in ONNX, with weights of any values; or a file that holds it.

    Raises:
        ProPruneError: the compiler does not take it.
    """
    base = _quantised(network)
    return encode([_row(plan, base) for plan in plans])


@lru_cache(maxsize=4)
def _quantised(network: bytes | Path) -> QGraph:
    content = network.read_bytes() if isinstance(network, Path) else network
    graph = canonicalise(import_onnx(onnx.load_model_from_string(content)))
    # Cycles do not depend on the calibration, so any images will do.
    images = np.random.default_rng(0).normal(size=(2, *graph.tensors[graph.input])).astype(np.float32)
    return quantise(graph, images)[0]


def _row(plan: RowPlan, base: QGraph) -> dict[str, Any]:
    board, array = load_board(plan.target.board), load_array(plan.target.array)
    known = _choices.setdefault(plan.target, {})
    if len(known) > KNOWN:
        known.clear()
    drawn = draw(plan, base)
    try:
        found = figures(counted(drawn.graph, base), board, array, drawn.batch, known)
    except DoesNotFitError:
        # Too wide for the array's banks at this size: the network as it is, one image at a time.
        drawn = Drawn(base, "dense", 1.0, 1)
        found = figures(base, board, array, 1, known)
    return {
        "row": plan.row,
        "network": plan.base.spec,
        "family": plan.base.family,
        "method": drawn.method,
        "share": drawn.share,
        **found,
    }
