"""Reading ONNX models: what is accepted, and what each refusal says."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from proprune_cli.compile.frontend import canonicalise, import_onnx
from proprune_cli.errors import ExitCode, InputError, ProPruneError, UnsupportedError
from proprune_cli.ir.graph import AveragePool, Conv, Gemm, MaxPool
from tests.unit.onnx_nets import conv_model, model, node, random


def refused(kind: type[ProPruneError], source: onnx.ModelProto | Path, *words: str) -> ProPruneError:
    """The error that importing raises: of this kind, complete, and with ``words`` somewhere in it."""
    with pytest.raises(kind) as caught:
        canonicalise(import_onnx(source))
    assert type(caught.value) is kind
    assert caught.value.where and caught.value.remedy
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(InputError, tmp_path / "none.onnx", "none.onnx", "No such file")


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02 not a model", b"<html>not found</html>"])
def test_files_that_are_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    refused(InputError, path, "model.onnx")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    data = conv_model().SerializeToString()
    path.write_bytes(data[: len(data) // 2])
    refused(InputError, path, "cut short")


def test_damaged_files_end_in_an_error_of_ours_or_in_a_graph(tmp_path: Path) -> None:
    nodes = (
        node("Conv", ["x", "w"], ["a"], name="c1", pads=[1, 1, 1, 1]),
        node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2]),
        node("Shape", ["b"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["u"]),
        node("Concat", ["u", "rest"], ["t"], axis=0),
        node("Reshape", ["b", "t"], ["y"]),
    )
    weights = {
        "w": random(2, 3, 3, 3),
        "zero": np.asarray(0, np.int64),
        "axes": np.asarray([0], np.int64),
        "rest": np.asarray([-1], np.int64),
    }
    data = model(*nodes, weights=weights).SerializeToString()
    path = tmp_path / "model.onnx"
    rng = random_module.Random(5)
    outcomes: set[str] = set()
    for _ in range(1500):
        damaged = bytearray(data if rng.random() < 0.8 else data[: rng.randrange(len(data))])
        for _ in range(rng.choice([0, 1, 3]) if damaged else 0):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            canonicalise(import_onnx(path))
            outcomes.add("graph")
        except (InputError, UnsupportedError) as error:
            assert error.what and error.where and error.remedy
            outcomes.add(type(error).__name__)
    assert outcomes == {"graph", "InputError", "UnsupportedError"}


def test_a_cycle() -> None:
    cycle = model(node("Add", ["x", "b"], ["a"], name="n1"), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"]))
    refused(InputError, cycle, "cycle", "n1")


def test_nodes_out_of_order_are_sorted() -> None:
    graph = import_onnx(model(node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"])))
    assert [n.y for n in graph.nodes] == ["a", "y"]


def test_a_missing_initializer_is_named() -> None:
    broken = conv_model()
    del broken.graph.initializer[:]
    refused(InputError, broken, "'w'", "c1", "initializer")


def test_missing_external_data(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    big = model(node("Conv", ["x", "w"], ["y"]), weights={"w": random(64, 3, 5, 5)})
    onnx.save(big, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    assert isinstance(import_onnx(path).nodes[0], Conv)
    (tmp_path / "weights.data").unlink()
    refused(InputError, path, "weights.data", "external_data=False")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value: float) -> None:
    weight = random(4, 3, 3, 3)
    weight[1, 2, 0, 0] = value
    refused(
        InputError, model(node("Conv", ["x", "w"], ["y"]), weights={"w": weight}), "'w'", "1 NaN or infinite of 108"
    )


def test_factors_that_overflow_when_folded() -> None:
    nodes = (node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], name="g", transB=1, alpha=1e38))
    refused(InputError, model(*nodes, weights={"w": np.full((2, 90), 1e5, np.float32)}), "'g'", "infinite")


def test_dynamic_sizes_other_than_the_batch() -> None:
    refused(UnsupportedError, conv_model(image=(3, "h", 5)), "dynamic", "N x 3 x h x 5")


@pytest.mark.parametrize("batch", ["N", 1, 7])
def test_any_batch_is_dropped(batch: Any) -> None:
    assert import_onnx(conv_model(batch=batch)).tensors == {"x": (3, 6, 5), "y": (4, 4, 3)}


def test_half_precision_input_and_weights() -> None:
    refused(UnsupportedError, conv_model(dtype=TensorProto.FLOAT16), "float16", "model.float()")
    half = model(node("Conv", ["x", "w"], ["y"]), weights={"w": random(4, 3, 3, 3).astype(np.float16)})
    refused(UnsupportedError, half, "float16")


def test_integer_input() -> None:
    refused(UnsupportedError, conv_model(dtype=TensorProto.UINT8), "uint8")


def test_several_inputs_and_outputs() -> None:
    two = model(node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["z"]), outputs=("y", "z"))
    refused(UnsupportedError, two, "2 outputs (y, z)")
    more = conv_model()
    more.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 3]))
    refused(UnsupportedError, more, "2 inputs (x, mask)")


def test_an_input_of_another_rank() -> None:
    refused(UnsupportedError, conv_model(image=(3, 6)), "N x 3 x 6")


@pytest.mark.parametrize(
    ("opset", "hint"), [(8, "opset_version=18"), (21, "opset_version=20"), (23, "opset_version=20")]
)
def test_operator_sets_outside_the_range(opset: int, hint: str) -> None:
    refused(UnsupportedError, conv_model(opset=opset), f"opset {opset}", "9 to 20", hint)


def test_initializers_that_are_also_inputs() -> None:
    """Until ONNX IR 3 every initializer had to be an input too."""
    old = conv_model(opset=9)
    old.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    assert import_onnx(old).input == "x"


def test_an_unknown_operator_is_named_with_its_node() -> None:
    error = refused(
        UnsupportedError,
        model(node("Det", ["x"], ["y"], name="norm")),
        "Det",
        "'norm'",
        "supported-operators.md",
    )
    assert error.exit_code == ExitCode.UNSUPPORTED == 3


def test_an_operator_of_another_domain() -> None:
    refused(UnsupportedError, model(node("Relu", ["x"], ["y"], domain="com.example")), "com.example")


def test_an_unsupported_node_beside_the_output_does_not_matter() -> None:
    assert len(import_onnx(model(node("LRN", ["x"], ["z"], size=3), node("Relu", ["x"], ["y"]))).nodes) == 1


def test_an_output_that_does_not_depend_on_the_input() -> None:
    refused(InputError, model(node("Identity", ["w"], ["y"]), weights={"w": random(1)}), "does not depend")


def test_a_network_without_layers() -> None:
    refused(UnsupportedError, model(node("Identity", ["x"], ["y"])), "no layer")


def test_nodes_without_names_get_unique_ones() -> None:
    graph = import_onnx(model(node("Relu", ["x"], ["a"], name="r"), node("Relu", ["a"], ["y"], name="r")))
    assert [n.name for n in graph.nodes] == ["r", "r.1"]


def test_a_flatten_written_as_a_chain_of_shapes() -> None:
    """What the older exporter writes for ``x.view(x.size(0), -1)``."""
    nodes = (
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "begin", "end"], ["n"]),
        node("Squeeze", ["n", "begin"], ["q"]),
        node("Unsqueeze", ["q", "begin"], ["u"]),
        node("Concat", ["u", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    )
    numbers = {"begin": np.asarray([0], np.int64), "end": np.asarray([1], np.int64), "rest": np.asarray([-1], np.int64)}
    for batch in ("N", 4):
        assert import_onnx(model(*nodes, weights=numbers, batch=batch)).output_shape == (90,)


@pytest.mark.parametrize(
    ("target", "batch"), [([0, -1], "N"), ([-1, 90], "N"), ([1, 90], "N"), ([5, 90], 5), ([5, -1], 5)]
)
def test_reshapes_that_flatten(target: list[int], batch: Any) -> None:
    reshape = model(node("Reshape", ["x", "t"], ["y"]), weights={"t": np.asarray(target, np.int64)}, batch=batch)
    assert import_onnx(reshape).output_shape == (90,)


@pytest.mark.parametrize("target", [[-1], [30, -1], [0, 91]])
def test_reshapes_that_mix_images(target: list[int]) -> None:
    reshape = model(node("Reshape", ["x", "t"], ["y"]), weights={"t": np.asarray(target, np.int64)})
    refused(UnsupportedError, reshape, "Reshape", str(target))


def test_another_shape_is_welcome_at_the_output_and_where_the_order_is_enough() -> None:
    nodes = (node("Reshape", ["x", "t"], ["a"]), node("Tanh", ["a"], ["y"]))
    graph = canonicalise(import_onnx(model(*nodes, weights={"t": np.asarray([0, 9, 10], np.int64)})))
    assert graph.output_shape == (9, 10) and graph.tensors[graph.output] == (3, 6, 5)


@pytest.mark.parametrize("reader", ["Conv", "GlobalMaxPool", "Concat"])
def test_an_image_operator_may_not_read_another_division_of_the_axes(reader: str) -> None:
    """Same channel count, other height and width: only the declared shapes tell."""
    inputs = {"Conv": ["a", "w"], "GlobalMaxPool": ["a"], "Concat": ["a", "a"]}[reader]
    attributes = {"axis": 1} if reader == "Concat" else {}
    weights = {"t": np.asarray([0, 3, 10, 3], np.int64), "w": random(2, 3, 1, 1)}
    nodes = (node("Reshape", ["x", "t"], ["a"]), node(reader, inputs, ["y"], name="r", **attributes))
    refused(UnsupportedError, model(*nodes, weights=weights), "'r'", "[3, 6, 5] per image would become [3, 10, 3]")


def _pool(op: str, **attributes: Any) -> onnx.ModelProto:
    return model(node(op, ["x"], ["y"], name="p", **attributes), image=(3, 7, 8))


def _resize(scales: list[float], **attributes: Any) -> onnx.ModelProto:
    weights = {"roi": np.zeros(0, np.float32), "k": np.asarray(scales, np.float32)}
    return model(node("Resize", ["x", "roi", "k"], ["y"], **attributes), weights=weights)


def _transposed(**attributes: Any) -> onnx.ModelProto:
    return model(node("ConvTranspose", ["x", "w"], ["y"], **attributes), weights={"w": random(3, 2, 3, 3)})


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "average in the padding alone": (
        lambda: _pool("AveragePool", kernel_shape=[2, 2], strides=[3, 3], pads=[2, 2, 0, 0]),
        "count_include_pad",
    ),
    "average over partial windows": (
        lambda: _pool("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1),
        "hang over by 1 rows and 0 columns",
    ),
    "maximum with indices": (
        lambda: model(
            node("MaxPool", ["x"], ["m", "i"], kernel_shape=[2, 2]), node("Add", ["m", "i"], ["y"]), image=(3, 7, 8)
        ),
        "indices",
    ),
    "window in the padding": (
        lambda: _pool("MaxPool", kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 0, 0], ceil_mode=1),
        "pads (1, 1, 0, 2)",
    ),
    "kernel too large": (lambda: _pool("MaxPool", kernel_shape=[9, 2]), "9x2"),
    "one-dimensional kernel": (lambda: _pool("MaxPool", kernel_shape=[2]), "[2]"),
    "mean over channels": (
        lambda: model(node("ReduceMean", ["x"], ["y"], axes=[1])),
        "axes [1]",
    ),
    "training batch norm": (
        lambda: model(
            node("BatchNormalization", ["x", "a", "a", "a", "a"], ["y"], training_mode=1),
            weights={"a": np.ones(3, np.float32)},
            opset=14,
        ),
        "model.eval()",
    ),
    "negative variance": (
        lambda: model(
            node("BatchNormalization", ["x", "a", "a", "a", "v"], ["y"]),
            weights={"a": np.ones(3, np.float32), "v": -np.ones(3, np.float32)},
        ),
        "variance",
    ),
    "weight computed at run time": (lambda: model(node("Conv", ["x", "x"], ["y"], kernel_shape=[3, 3])), "run time"),
    "broadcast of rows": (
        lambda: model(node("ReduceMean", ["x"], ["g"], axes=[3]), node("Add", ["x", "g"], ["y"])),
        "[3, 6, 5] and [3, 6, 1]",
    ),
    "division of activations": (
        lambda: model(node("Sigmoid", ["x"], ["s"]), node("Div", ["x", "s"], ["y"])),
        "'s' is computed at run time",
    ),
    "division by zero": (
        lambda: model(node("Div", ["x", "k"], ["y"]), weights={"k": np.zeros((), np.float32)}),
        "a divisor of 0",
    ),
    "concatenation of images": (lambda: model(node("Concat", ["x", "x"], ["y"], axis=0)), "axis 0"),
    "concatenation with a constant": (
        lambda: model(node("Concat", ["x", "k"], ["y"], axis=1), weights={"k": random(1, 3, 6, 5)}),
        "'k' is a constant",
    ),
    "slice of the batch": (
        lambda: model(
            node("Slice", ["x", "i", "j", "a"], ["y"]),
            weights={n: np.asarray([v], np.int64) for n, v in (("i", 1), ("j", 2), ("a", 0))},
            batch=4,
        ),
        "axis 0 from 1",
    ),
    "flipped image": (
        lambda: model(
            node("Slice", ["x", "i", "j", "a", "s"], ["y"]),
            weights={n: np.asarray([v], np.int64) for n, v in (("i", -1), ("j", -9), ("a", 3), ("s", -1))},
        ),
        "axis 3 in steps of -1",
    ),
    "empty slice": (
        lambda: model(
            node("Slice", ["x", "i", "j", "a"], ["y"]),
            weights={n: np.asarray([v], np.int64) for n, v in (("i", 2), ("j", 2), ("a", 1))},
        ),
        "nothing is left along axis 1",
    ),
    "split that does not fill": (
        lambda: model(node("Split", ["x", "k"], ["y", "z"], axis=1), weights={"k": np.asarray([1, 1], np.int64)}),
        "parts of [1, 1] along an axis of 3",
    ),
    "upsampling of the batch": (lambda: _resize([2, 1, 1, 1]), "scales ['2', '1', '1', '1']"),
    "cubic upsampling of channels": (lambda: _resize([1, 2, 2, 2], mode="cubic"), "nor can the host run it"),
    "an image too large for any host": (
        lambda: _resize([1, 1, 2000, 2000], mode="linear"),
        "at most 67108864 elements",
    ),
    "a matrix on the host": (
        lambda: model(
            node("Flatten", ["x"], ["f"]),
            node("Softmax", ["f"], ["s"]),
            node("Gemm", ["s", "w"], ["y"]),
            weights={"w": random(90, 2)},
        ),
        "channels x height x width; here: it reads [90]",
    ),
    "statistics over the batch": (
        lambda: model(node("MeanVarianceNormalization", ["x"], ["n"]), node("Selu", ["n"], ["y"])),
        "it mixes them",
    ),
    "output shape of a transposed convolution": (
        lambda: _transposed(output_shape=[12, 12]),
        "output_shape [12, 12]",
    ),
    "output padding of the stride": (
        lambda: _transposed(strides=[2, 2], output_padding=[2, 0]),
        "output_padding [2, 0]",
    ),
    "transposed convolution cut to nothing": (lambda: _transposed(pads=[4, 1, 4, 1]), "leave 0x5"),
    "slope per pixel": (
        lambda: model(node("PRelu", ["x", "k"], ["y"]), weights={"k": random(3, 6, 5)}),
        "a slope of [3, 6, 5]",
    ),
    "bounds in the wrong order": (
        lambda: model(
            node("Clip", ["x", "a", "b"], ["y"]),
            weights={"a": np.asarray(2, np.float32), "b": np.asarray(1, np.float32)},
        ),
        "bounds 2",
    ),
    "transposition of pixels": (
        lambda: model(
            node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2], name="t"),
            node("Conv", ["t", "w"], ["y"]),
            weights={"w": random(2, 3, 1, 1)},
        ),
        "moves pixels",
    ),
    "the place of the maximum in the middle": (
        lambda: model(
            node("ArgMax", ["x"], ["a"], axis=1),
            node("Cast", ["a"], ["s"], to=1),
            node("Conv", ["s", "w"], ["y"]),
            weights={"w": random(2, 1, 1, 1)},
        ),
        "at the end of the network alone",
    ),
    "a host part that reads two tensors": (
        lambda: model(
            node("Tanh", ["x"], ["a"]),
            node("Sigmoid", ["x"], ["b"]),
            node("ArgMax", ["a"], ["s"], axis=1),
            node("Cast", ["s"], ["f"], to=1),
            node("Mul", ["f", "b"], ["y"]),
        ),
        "reading 2 tensors",
    ),
    "nothing but a host part": (lambda: model(node("Softmax", ["x"], ["y"], axis=1)), "left for the engine"),
    "transposed input": (
        lambda: model(
            node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], transA=1), weights={"w": random(90, 2)}
        ),
        "transA=1",
    ),
    "matrix product on an image": (
        lambda: model(node("MatMul", ["x", "w"], ["y"]), weights={"w": random(5, 2)}),
        "flatten",
    ),
    "flatten of the batch": (lambda: model(node("Flatten", ["x"], ["y"], axis=0)), "axis 0"),
    "padding of an unknown mode": (
        lambda: model(node("Pad", ["x", "p"], ["y"], mode="mirror"), weights={"p": np.zeros(8, np.int64)}),
        "mode mirror",
    ),
    "groups that do not divide": (
        lambda: model(node("Conv", ["x", "w"], ["y"], group=2), weights={"w": random(4, 3, 1, 1)}),
        "group 2",
    ),
    "training dropout": (
        lambda: model(node("Dropout", ["x", "r", "t"], ["y"]), weights={"r": random(), "t": np.asarray(True)}),
        "model.eval()",
    ),
    "channel mean after flatten": (
        lambda: model(
            node("Flatten", ["x"], ["f"]), node("Add", ["f", "k"], ["y"], name="p"), weights={"k": random(90)}
        ),
        "flattened image",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_with_its_reason(case: str) -> None:
    build, reason = REFUSED[case]
    refused(UnsupportedError, build(), reason, "node '")


def test_auto_pad_and_ceil_mode_become_explicit() -> None:
    same = import_onnx(_pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")).nodes[0]
    assert isinstance(same, MaxPool) and same.pads == (1, 0, 1, 1)
    ceil = import_onnx(_pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)).nodes[0]
    assert isinstance(ceil, MaxPool) and ceil.pads == (0, 0, 1, 0)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    ("axes", "keepdims", "shape"), [([2, 3], 0, (3,)), ([-1, -2], 1, (3, 1, 1)), ([3], 1, (3, 6, 1))]
)
def test_means_over_space_in_both_spellings(opset: int, axes: list[int], keepdims: int, shape: tuple[int, ...]) -> None:
    as_input = opset >= 18
    mean = (
        node("ReduceMean", ["x", "a"], ["y"], keepdims=keepdims)
        if as_input
        else node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=keepdims)
    )
    graph = import_onnx(model(mean, weights={"a": np.asarray(axes, np.int64)} if as_input else {}, opset=opset))
    assert isinstance(graph.nodes[0], AveragePool) and graph.output_shape == shape


def test_gemm_takes_alpha_beta_and_transposition_into_its_weights() -> None:
    nodes = (node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "c"], ["y"], alpha=2.0, beta=3.0))
    weight, bias = random(90, 4), random(1, 4)
    gemm = import_onnx(model(*nodes, weights={"w": weight, "c": bias})).nodes[1]
    assert isinstance(gemm, Gemm)
    np.testing.assert_array_equal(gemm.weight, 2 * weight.T)
    np.testing.assert_array_equal(gemm.bias, 3 * bias[0])
