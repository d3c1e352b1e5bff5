"""The host model: counted by hand, and growing with the work."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.program import HostStep, Plane
from proprune_cli.artifact.host import HostSegment
from proprune_cli.measure.host_model import segment_time, step_time

BOARD = load_board("pynq-z2")
assert BOARD.host is not None
HOST = BOARD.host


def model(nodes: list[onnx.NodeProto], shape: tuple[int, ...] | None, *constants: onnx.TensorProto) -> bytes:
    """int8 codes ``x`` in, anything ``y`` out; without a shape the batch is open and x a float vector of 10."""
    kind, dims = (TensorProto.FLOAT, ["N", 10]) if shape is None else (TensorProto.INT8, list(shape))
    x, y = helper.make_tensor_value_info("x", kind, dims), helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(nodes, "host", [x], [y], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def step(shape: tuple[int, int, int], *middle: onnx.NodeProto) -> HostStep:
    """Codes, dequantised, through ``middle`` from ``a`` to ``b``, and back to codes."""
    scale, zero = numpy_helper.from_array(np.float32(0.5), "s"), numpy_helper.from_array(np.int8(0), "z")
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        *middle,
        helper.make_node("QuantizeLinear", ["b", "s", "z"], ["y"]),
    ]
    plane = Plane(0, *shape, 0)
    operators = tuple(node.op_type for node in middle)
    network = model(nodes, (1, *shape), scale, zero)
    return HostStep(name="step", operators=operators, model=network, after=1, inputs=(plane,), output=plane)


def expected_ms(operators: int, moved: int = 0, added: int = 0, computed: int = 0) -> float:
    cycles = moved * HOST.move_cycles.value + added * HOST.arithmetic_cycles.value
    cycles += computed * HOST.function_cycles.value
    return operators * HOST.operator_us.value * 1e-3 + cycles / (BOARD.cpu_mhz * 1e3)


@pytest.mark.parametrize(
    ("node", "added", "computed"),
    [
        (helper.make_node("Relu", ["a"], ["b"]), 24, 0),
        (helper.make_node("Exp", ["a"], ["b"]), 0, 24),
        (helper.make_node("LRN", ["a"], ["b"], size=5), 0, 5 * 24),
        (helper.make_node("Softmax", ["a"], ["b"], axis=1), 0, 24),
    ],
)
def test_a_step_by_hand(node: onnx.NodeProto, added: int, computed: int) -> None:
    time = step_time(step((2, 3, 4), node), BOARD)
    # 24 elements are brought into order, dequantised, computed, quantised and put back.
    assert time is not None and time.ms == pytest.approx(expected_ms(3, 4 * 24, added, computed))
    assert time.low_ms < time.ms < time.high_ms


def test_a_matrix_product_counts_its_products_and_an_open_batch_is_one_image() -> None:
    weight = numpy_helper.from_array(np.ones((10, 7), np.float32), "w")
    segment = HostSegment(
        model([helper.make_node("MatMul", ["x", "w"], ["y"])], None, weight), ("MatMul",), ("x",), ("y",)
    )
    time = segment_time(segment, {"x": (10,)}, BOARD)
    assert time is not None and time.ms == pytest.approx(expected_ms(1, 10, 70))


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.sampled_from(["Relu", "Exp", "Softmax", "Transpose", "NoSuchOperator"]))
def test_more_elements_take_longer_and_a_faster_processor_less(shape: tuple[int, int, int], op: str) -> None:
    node = helper.make_node(op, ["a"], ["b"])
    one, more = (step_time(step(s, node), BOARD) for s in (shape, (shape[0] + 1, *shape[1:])))
    fast = step_time(step(shape, node), dataclasses.replace(BOARD, cpu_mhz=2 * BOARD.cpu_mhz))
    assert one is not None and more is not None and fast is not None
    assert fast.ms < one.ms < more.ms
    least = 3 * HOST.operator_us.value * 1e-3 + 4 * prod(shape) * HOST.move_cycles.value / (BOARD.cpu_mhz * 1e3)
    assert one.ms > least


def test_every_board_says_what_its_processor_takes_and_a_file_without_it_predicts_nothing() -> None:
    for board in map(load_board, board_names(own=False)):
        assert board.host is not None and {f"host.{f.name}" for f in dataclasses.fields(board.host)} <= set(
            board.sources
        )
    bare = dataclasses.replace(BOARD, host=None)
    assert step_time(step((1, 1, 1), helper.make_node("Relu", ["a"], ["b"])), bare) is None
