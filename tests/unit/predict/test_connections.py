"""What rows say of passes tells which tensors lie on chip and which steps wait for which, as lowering decides it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proprune_cli.accel import isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.accel.memory import Memory
from proprune_cli.compile.lower.emit import lifetimes
from proprune_cli.compile.lower.on_chip import choose
from proprune_cli.compile.lower.waits import waits
from proprune_cli.compile.timed import Timed, timed
from proprune_cli.errors import InputError
from proprune_cli.flow.dataset import BASES, exported
from proprune_cli.ir.quantized import QGraph
from proprune_cli.predict.columns import Rows, rows_of
from proprune_cli.predict.connections import on_chip
from proprune_cli.predict.parts import _quantised  # pyright: ignore[reportPrivateUsage]
from proprune_cli.predict.rows import figures, passes
from proprune_cli.predict.sampling import RowPlan, Target, draw
from proprune_cli.predict.walk import Steps, _waits  # pyright: ignore[reportPrivateUsage]

TARGET = Target("pynq-z2", "z7020-256")
CASES = [
    ("lenet5", "dense", 4),
    ("resnet8", "free", 2),
    ("densenet40", "thin", 1),
    ("squeezenet", "coupled", 1),
    ("shufflenetv2", "thin", 2),
    ("unet", "thin", 1),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


def network(spec: str, method: str, folder: Path) -> QGraph:
    base = replace(next(b for b in BASES if b.spec == spec), sizes=((32, 32) if spec != "lenet5" else (28, 28),))
    return draw(RowPlan(0, base, method, TARGET, 5), _quantised(exported(spec, folder))).graph


def rows_with_steps(found: Timed) -> tuple[Rows, Steps]:
    """The row of a network, and the steps that lowering chose for it."""
    document = {"layers": passes(found), "clock_mhz": 100.0, "batch": 1}
    tilings = [t.tiling for t in found.layers]
    counts = np.array([int(t.layer.step_count) for t in tilings])
    names = ("y0", "rows", "oy0", "tile_height", "first_group", "groups", "emit_groups")
    columns: dict[str, Any] = {n: np.concatenate([np.asarray(getattr(t.steps, n)) for t in tilings]) for n in names}
    bands = np.array([len(np.unique(np.asarray(t.steps.oy0))) for t in tilings])
    traffic = np.array([t.traffic for t in tilings])
    steps = Steps(
        columns,
        np.repeat(np.arange(len(counts)), counts),
        np.append(0, np.cumsum(counts)),
        counts // bands,
        np.array([t.tile[0] for t in tilings]),
        traffic[:, 0],
        traffic[:, 1],
    )
    return rows_of([document]), steps


@pytest.mark.parametrize(("spec", "method", "batch"), CASES)
def test_places_and_waits_are_those_of_lowering(spec: str, method: str, batch: int, folder: Path) -> None:
    array = load_array(TARGET.array)
    memory = Memory.of(load_board(TARGET.board), array)
    found = timed(network(spec, method, folder), array, memory, batch)
    rows, steps = rows_with_steps(found)
    tilings = [t.tiling for t in found.layers]
    chosen = choose(found.graph, tilings, lifetimes(found.graph, found.layers), array)
    mine = on_chip(rows, steps.stored, steps.loaded, array)
    assert [t.layer.y in chosen for t in found.layers] == mine.tolist()
    assert 0 < mine.sum() < len(mine)
    depends = np.concatenate(waits(found.graph.layers, tilings))
    assert (np.where(depends > 0, depends, isa.STEPS_IN_FLIGHT) == _waits(rows, steps)).all()


def test_networks_beside_others_have_the_places_and_waits_of_their_own(folder: Path) -> None:
    array, board = load_array(TARGET.array), load_board(TARGET.board)
    graphs = [network(spec, method, folder) for spec, method, _ in CASES[:2]]
    documents = [figures(graph, board, array, 2) for graph in graphs]
    together = rows_of(documents)
    words = together.passes["tensor_words"]
    both = on_chip(together, words, words, array)
    for number, (first, end) in enumerate(zip(together.starts[:-1], together.starts[1:], strict=True)):
        alone = together.take(np.array([number]))
        assert (on_chip(alone, words[first:end], words[first:end], array) == both[first:end]).all()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("inputs", [7], "not written before"),
        ("inputs", [-2], "not written before"),
        ("inputs", [], "not as many as inputs"),
        ("input_groups", [0], "is 0"),
        ("input_row", [0, 0], "not as many as inputs"),
        ("operands", [0], "not as many as operands"),
        ("tensor", 9, "first by a later pass"),
        ("input_groups", [5], "groups than those"),
    ],
)
def test_rows_whose_passes_cannot_be_are_refused(field: str, value: object, said: str, folder: Path) -> None:
    document = figures(network("lenet5", "dense", folder), load_board(TARGET.board), load_array(TARGET.array))
    document["layers"][1][field] = value
    with pytest.raises(InputError, match=said):
        rows_of([document])
