"""The output stage's other operand: its shifts, and the pixels of it that a pass reads."""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.accel import isa
from proprune_cli.compile.lower.engine_layer import Phase, Residual, View
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.nodes import Add as Add
from proprune_cli.ir.nodes import Mul as Mul
from proprune_cli.ir.quantized import EXPONENT_SPREAD, QGraph


def residual_operand(layer: Add | Mul, own: str, other: str, view: View, graph: QGraph, *, broadcast: bool) -> Residual:
    """Shifts that put the operands on one scale and the result on the output's."""
    ey = graph.tensors[layer.y].exponent
    ea, eb = graph.tensors[own].exponent, graph.tensors[other].exponent
    if isinstance(layer, Mul):
        shift = ea + eb - ey
        _check_spread(layer, "Mul", abs(shift))
        combine = isa.Combine.MULTIPLY
        return Residual(view, combine, max(shift, 0), 0, max(-shift, 0), broadcast=broadcast)
    a, b = ea - ey, eb - ey
    _check_spread(layer, "Add", max(abs(a), abs(b)))
    right = max(0, -a, -b)
    return Residual(view, isa.Combine.ADD, a + right, b + right, right, layer.subtract, broadcast)


def operand_at(residual: Residual, phase: Phase) -> Residual:
    """The operand of a pass that fills some pixels of its planes: those same pixels of the operand's planes."""
    if residual.broadcast or phase.first == (0, 0):
        return residual
    view = residual.view
    shifted = replace(view, top=view.top + phase.first[0], left=view.left + phase.first[1])
    return replace(residual, view=shifted)


def _check_spread(layer: Add | Mul, op: str, spread: int) -> None:
    if spread > EXPONENT_SPREAD:
        raise UnsupportedError(
            f"the operands' scales differ from the result's by 2**{spread}",
            where=f"node {layer.name!r} ({op})",
            remedy=f"keep them within 2**{EXPONENT_SPREAD}: check the calibration images for extreme values",
        )
