"""Tables of activations: ONNX Runtime gives the table's entry for every code, in every position and on every path."""

from __future__ import annotations

import numpy as np
import pytest

from proprune_cli.compile.qdq.export import codes_name, to_qdq
from proprune_cli.compile.quantise.calibration import open_session
from proprune_cli.compile.quantise.tables import fill_table
from proprune_cli.ir.graph import Activation
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import QGraph, QTable, QTensor
from proprune_cli.ops.functions import GATED, OWN, PLAIN, Function
from tests.differential.test_qdq import PATHS

FUNCTIONS = [
    *(Function(op, tuple(attributes.items())) for op, attributes in PLAIN.items()),
    *(Function(op) for op in GATED),
    *(Function(op, (("alpha", 1.7),) if op == "Swish" else ()) for op in sorted(OWN)),
    Function("LeakyRelu", (("alpha", 0.1),)),
    Function("Clip", (), (0.0, 6.0)),
    Function("Clip", (), (-0.3, 2.7)),
    Function("PRelu", (), (0.2137,)),
]
SCALES = [
    (-7, -7),
    (-5, -7),
    (-4, -5),
    (-3, -9),
    (-1, -4),
    (0, -7),
    (1, 1),
    (-9, -2),
    (-21, -21),
    (-20, -20),
    (-40, -40),
    (20, 20),
]


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f"{f.op}{f.parameters or dict(f.attributes) or ''}")
def test_every_code_in_every_position(f: Function) -> None:
    """251 columns, so that each code meets every lane of a vectorised kernel, its remainder too."""
    codes = np.tile(np.arange(-128, 128), 9)[: 9 * 251].astype(np.int8).reshape(1, 9, 251)
    for ex, ey in SCALES:
        table = fill_table(Activation("a", "x", "y", f.op, f.attributes, f.parameters), ex, ey)
        layer = QTable("a", "x", "y", table, f.op, f.attributes, f.parameters)
        tensors = {name: QTensor(name, 1, 9, 251, e) for name, e in (("x", ex), ("y", ey))}
        graph = QGraph("g", tensors, (layer,), "x", (Output("y", "y", (1, 9, 251)),))
        model = to_qdq(graph, expose_codes=True).SerializeToString()
        for path, options in PATHS.items():
            session = open_session(model, threads=1, **options)
            (got,) = session.run([codes_name("y")], {"x": np.ldexp(codes.astype(np.float32), ex)[None]})
            np.testing.assert_array_equal(np.asarray(got)[0], table[codes.view(np.uint8)], err_msg=f"{path} {ex} {ey}")
