"""Free residual branches beside what else a program may have: batches, several outputs, joined rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from proprune_cli.accel import interpret
from proprune_cli.accel.array import load_array
from proprune_cli.accel.program import stack
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.pipeline import lower
from proprune_cli.ir.nodes import Add as Add
from proprune_cli.ir.nodes import Concat as Concat
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import QConv, QGraph, QTensor
from proprune_cli.ops.reference import run_reference
from tests.differential.free_networks import FreeResNet, Survivors, arbitrary, clustered
from tests.differential.test_free_branches import AGREE, images, quantised
from tests.executors import MEMORY, differing_bytes, run_native

ARRAY = load_array("z7020-256")


def additions(graph: QGraph) -> list[str]:
    return [layer.y for layer in graph.layers if isinstance(layer, Add)]


def with_output(graph: QGraph, name: str) -> QGraph:
    """``graph`` that gives tensor ``name`` too."""
    t = graph.tensors[name]
    output = Output("inner", name, (t.channels, t.height, t.width))
    return dataclasses.replace(graph, outputs=(*graph.outputs, output))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("survivors", [clustered, arbitrary])
@pytest.mark.parametrize("several", [False, True], ids=["one output", "two outputs"])
def test_a_batch_gives_what_its_images_give_alone(survivors: Survivors, several: bool) -> None:
    graph = quantised(FreeResNet(survivors, (40, 72)))
    graph = with_output(graph, additions(graph)[1]) if several else graph
    program, _ = lower(graph, ARRAY, MEMORY, batch=3)
    x = np.random.default_rng(3).integers(-128, 128, (3, 3, 12, 12)).astype(np.int8)
    expected = run_reference(graph, x)
    mine, native = interpret.run(program, stack(x)).outputs, run_native(program, stack(x))[0]
    for output, one, other in zip(graph.outputs, mine, native, strict=True):
        np.testing.assert_array_equal(one, stack(expected[output.tensor]))
        np.testing.assert_array_equal(other, one)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("addition", range(4))
def test_a_stream_with_an_output_keeps_its_order_and_the_other_does_not(addition: int) -> None:
    graph = quantised(FreeResNet(clustered, (64, 64)))
    name = additions(graph)[addition]
    several = with_output(graph, name)
    (before, after) = (cluster(g)[1] for g in (graph, several))
    assert len(before) == 2 and len(after) == 1 and name not in after[0].tensors
    program, _ = lower(several, ARRAY, MEMORY)
    assert differing_bytes(several, program, images()) == AGREE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("axis", [2, 3])
def test_rows_and_columns_are_joined_in_the_order_of_the_stream(axis: int) -> None:
    """The results of two blocks, one below (beside) the other, are one stream for the convolution after them."""
    graph = quantised(FreeResNet(clustered, (64, 64)))
    parts = additions(graph)[:2]
    ends = next(i for i, layer in enumerate(graph.layers) if layer.y == parts[1]) + 1
    reader = next(layer for layer in graph.layers[ends:] if isinstance(layer, QConv) and layer.x == parts[1])
    t, made = graph.tensors[parts[1]], graph.tensors[reader.y]
    assert t.exponent == graph.tensors[parts[0]].exponent
    factor = (2, 1) if axis == 2 else (1, 2)
    double = QTensor("double", t.channels, t.height * factor[0], t.width * factor[1], t.exponent)
    # Twice the rows give twice the results: the pads of a 3×3 convolution, and even sizes.
    y = QTensor("y", made.channels, made.height * factor[0], made.width * factor[1], made.exponent)
    layers = (
        *graph.layers[:ends],
        Concat("join", (parts[0], parts[1]), "double", axis),
        dataclasses.replace(reader, x="double", y="y"),
    )
    tensors = {n: graph.tensors[n] for n in (graph.input, *(layer.y for layer in graph.layers[:ends]))}
    tensors |= {"double": double, "y": y}
    joined = QGraph("joined", tensors, layers, graph.input, (Output("y", "y", (y.channels, y.height, y.width)),))
    (stream,) = cluster(joined)[1]
    assert "double" in stream.tensors
    for batch in (1, 2):
        program, _ = lower(joined, ARRAY, MEMORY, batch)
        x = np.random.default_rng(4).integers(-128, 128, (batch, 3, 12, 12)).astype(np.int8)
        np.testing.assert_array_equal(interpret.run(program, stack(x)).outputs[0], stack(run_reference(joined, x)["y"]))
    assert differing_bytes(joined, lower(joined, ARRAY, MEMORY)[0], images()) == AGREE
