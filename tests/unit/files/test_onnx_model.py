"""ONNX files: what may not reach native code, and what the compiler itself puts into an artifact."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.artifact import load_artifact
from proprune_cli.artifact.models import check_segment
from proprune_cli.errors import BoardError, InputError, UnsupportedError
from proprune_cli.files.onnx_model import check_sizes, check_structure, parse_model, read_model_file
from proprune_cli.ops.host import IN_QDQ, IN_STEPS
from tests.fuzzing.seeds import make_seeds


def segment(*nodes: onnx.NodeProto, opset: int = 17, **constants: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "end",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def checked(model: onnx.ModelProto) -> None:
    check_segment(model.SerializeToString(), {"x": (10,)}, "net.ppr")


def softmax() -> onnx.NodeProto:
    return helper.make_node("Softmax", ["x"], ["y"])


def test_what_the_compiler_puts_there_is_taken() -> None:
    checked(segment(softmax()))


def test_control_flow_other_domains_and_functions_are_not() -> None:
    body = helper.make_graph([], "body", [], [])
    faults = {
        "Loop": helper.make_node("Loop", ["x"], ["y"], body=body),
        "If": helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body),
        "Scan": helper.make_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1),
        "Gelu": helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"),
        "RandomUniformLike": helper.make_node("RandomUniformLike", ["x"], ["y"]),
        "NonZero": helper.make_node("NonZero", ["x"], ["y"]),
    }
    for name, node in faults.items():
        with pytest.raises(InputError, match=f"operator '{name}'"):
            checked(segment(node))
    with pytest.raises(InputError, match="a graph"):
        node = softmax()
        node.attribute.append(helper.make_attribute("body", body))
        checked(segment(node))
    model = segment(softmax())
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(
        helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets)
    )
    with pytest.raises(InputError, match="functions"):
        checked(model)
    model = segment(softmax())
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    with pytest.raises(InputError, match="others than ONNX"):
        checked(model)
    assert not {"Loop", "If", "Scan", "SequenceMap", "NonZero", "RandomNormal"} & (IN_STEPS | IN_QDQ)


def test_weights_in_other_files_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the process's working directory, where ONNX Runtime would look, lies a file of that name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w").write_bytes(bytes(40))
    for holder in ("initializer", "attribute"):
        model = segment(helper.make_node("Add", ["x", "w"], ["y"]), w=np.zeros(10, np.float32))
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "w"
        if holder == "attribute":
            constant = helper.make_node("Constant", [], ["w"], value=tensor)
            del model.graph.initializer[:]
            model.graph.node.insert(0, constant)
        with pytest.raises(InputError, match="another file"):
            checked(model)


def test_what_grows_is_refused_before_it_runs() -> None:
    doubled = [helper.make_node("Concat", [f"t{n}", f"t{n}"], [f"t{n + 1}"], axis=1) for n in range(40)]
    grown = {
        "doubling": segment(*doubled, helper.make_node("Identity", ["t40"], ["y"])),
        "expand": segment(helper.make_node("Expand", ["x", "s"], ["y"]), s=np.asarray([2**30, 1, 10])),
        "fill": segment(
            helper.make_node("ConstantOfShape", ["s"], ["c"]),
            helper.make_node("Add", ["x", "c"], ["y"]),
            s=np.asarray([2**20, 2**20, 1, 10]),
        ),
        "outer": segment(
            helper.make_node("Expand", ["x", "s"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
            helper.make_node("MatMul", ["a", "b"], ["y"]),
            s=np.asarray([2**20, 10]),
        ),
    }
    for node in grown["doubling"].graph.node[:1]:
        node.input[:] = ["x", "x"]
    for name, model in grown.items():
        with pytest.raises(InputError, match="elements are made"):
            checked(model)
        with pytest.raises(UnsupportedError):
            check_sizes(model, name)


def test_sizes_out_of_values_are_refused_and_those_out_of_sizes_known() -> None:
    values = segment(
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["i"], ["m"], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "zero"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["y"]),
        zero=np.asarray([0]),
    )
    with pytest.raises(InputError, match="known only when"):
        checked(values)
    sizes = segment(
        helper.make_node("Size", ["x"], ["n"]),
        helper.make_node("Range", ["zero", "n", "one"], ["r"]),
        helper.make_node("Gather", ["x", "r"], ["g"], axis=1),
        helper.make_node("Shape", ["g"], ["s"]),
        helper.make_node("Slice", ["s", "first", "second"], ["t"]),
        helper.make_node("Concat", ["t", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["g", "to"], ["y"]),
        zero=np.asarray(0),
        one=np.asarray(1),
        first=np.asarray([0]),
        second=np.asarray([1]),
        rest=np.asarray([2, 5]),
    )
    checked(sizes)
    assert check_sizes(sizes, "sizes", known=True)["y"] == (1, 2, 5)


@pytest.mark.parametrize("calls", ["itself", "in a ring", "twice as many at each level"])
def test_local_functions_end(calls: str) -> None:
    count = {"itself": 1, "in a ring": 5}.get(calls, 60)
    model = segment(helper.make_node("f0", ["x"], ["y"], domain="own"))
    for n in range(count):
        called = f"f{(n + 1) % count}" if count < 60 or n + 1 < count else "Relu"
        domain = "own" if called != "Relu" else ""
        inner = [
            helper.make_node(called, ["a"], ["b"], domain=domain),
            helper.make_node(called, ["b"], ["c"], domain=domain),
        ]
        opsets = [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("own", f"f{n}", ["a"], ["c"], inner, opsets))
    with pytest.raises(InputError, match="calls itself" if count < 60 else "at most"):
        check_structure(model, "net.onnx")


def test_functions_that_share_others_are_no_ring() -> None:
    model = segment(helper.make_node("f0", ["x"], ["y"], domain="own"))
    for n, called in enumerate(("f1 f2", "f3 f2", "f3 f3", "Relu Relu")):
        names = called.split()
        inner = [helper.make_node(op, [a], [b], domain="own" if op[0] == "f" else "") for op, a, b in
                 zip(names, "ab", "bc", strict=True)]  # fmt: skip
        opsets = [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("own", f"f{n}", ["a"], ["c"], inner, opsets))
    check_structure(model, "net.onnx")


@pytest.mark.parametrize("where", ["../w", "/etc/passwd", "/dev/zero", "link", "pipe", "a/../../w", ".", "short"])
def test_weights_lie_beside_the_file_or_are_not_read(tmp_path: Path, where: str) -> None:
    (tmp_path / "w").write_bytes(bytes(100))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "w")
    (folder / "short").write_bytes(bytes(39))
    (folder / "good").write_bytes(np.arange(10, dtype=np.float32).tobytes())
    os.mkfifo(folder / "pipe")
    model = segment(helper.make_node("Add", ["x", "w"], ["y"]), w=np.zeros(10, np.float32))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", where), ("length", "40")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError):
        read_model_file(folder / "net.onnx")
    tensor.external_data[0].value = "good"
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    found = read_model_file(folder / "net.onnx").graph.initializer[0]
    assert np.array_equal(numpy_helper.to_array(found), np.arange(10))


def test_a_tensor_without_its_data_is_refused() -> None:
    for dims in ([2**40], [2**62, 4], [-1], [11 * 8]):
        model = segment(helper.make_node("Add", ["x", "w"], ["y"]), w=np.zeros(10, np.int8))
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        with pytest.raises(InputError, match="do not fill"):
            parse_model(model.SerializeToString(), "net.onnx")


def test_a_model_that_takes_too_long_is_stopped() -> None:
    import onnxruntime as ort

    from proprune_cli.accel.host import try_session

    nodes = [helper.make_node("MatMul", [f"t{n}" if n else "w", "w"], [f"t{n + 1}"]) for n in range(200)]
    model = segment(*nodes, helper.make_node("ReduceSum", ["t200"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"]),
                    w=np.zeros((600, 600), np.float32))  # fmt: skip
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(BoardError, match=r"stopped after 0\.02 s"):
        try_session(session, 0.02)


def test_models_of_steps_are_checked_when_the_artifact_is_loaded(tmp_path: Path) -> None:
    make_seeds(tmp_path, run=False)
    network = load_artifact(tmp_path / "steps.ppr")
    step = network.program.host_steps[0]
    model = onnx.load_model_from_string(step.model)
    loop = helper.make_node("Loop", ["x"], ["z"], body=helper.make_graph([], "body", [], []))
    model.graph.node.append(loop)
    planted = dataclasses.replace(step, model=model.SerializeToString())
    steps = (planted, *network.program.host_steps[1:])
    dataclasses.replace(network, program=dataclasses.replace(network.program, host_steps=steps)).save(
        tmp_path / "net.ppr"
    )
    with pytest.raises(InputError, match="operator 'Loop'"):
        load_artifact(tmp_path / "net.ppr")
