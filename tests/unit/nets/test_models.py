"""Models by name, by import path and from ONNX files."""

from __future__ import annotations

import io
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as nnf
from onnx import TensorProto, helper
from torch import nn

from proprune_cli.errors import InputError, ProPruneError, UnsupportedError
from proprune_cli.nets.models import build_model
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network


def test_width_and_explicit_widths_change_a_zoo_network() -> None:
    assert build_model("resnet8?width=0.5", 1, 10, 28).fc.in_features == 32
    assert build_model("resnet8?widths=8,24,40", 1, 10, 28).fc.in_features == 40
    assert build_model("resnet18?width=0.125&stem=7x7", 3, 5, 64).conv1.kernel_size == (7, 7)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("resnet9", "no model 'resnet9'"),
        ("resnet8?depth=3", "arguments do not fit"),
        ("resnet8?width=-1", "width multiplier"),
        ("resnet8?widths=1,2", "not 3 positive whole numbers"),
        ("resnet8?width", "not a list of arguments"),
        ("lenet5", "cannot take images of 8×8"),
        ("no_such_package:make", "cannot be imported"),
        ("json:nothing", "no factory 'nothing'"),
        ("json:dumps?obj=1", "returned str"),
        ("missing.onnx", "No such file"),
    ],
)
def test_a_wrong_model_is_an_input_error(spec: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        build_model(spec, 1, 10, 8)
    assert caught.value.remedy
    assert caught.value.where


def test_a_factory_in_the_working_directory_gets_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "def make(width=4, classes=10):\n"
        "    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(width, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    assert build_model("my_nets:make?width=6", 1, 10, 8)[0].out_channels == 6
    with pytest.raises(InputError, match="7 outputs, the data set has 10"):
        build_model("my_nets:make?classes=7", 1, 10, 8)


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nnf.max_pool2d(nnf.relu(self.bn1(self.conv1(x))), 2)
        x = x + nnf.relu(self.conv2(x))
        return self.fc(x.view(x.size(0), -1))


def exported(tmp_path: Path, dynamo: bool) -> Path:
    torch.manual_seed(0)
    model, x = Plain().eval(), torch.randn(2, 1, 8, 8)
    model.bn1.running_mean.normal_()
    path = tmp_path / "net.onnx"
    if dynamo:
        shapes = ({0: torch.export.Dim("n", min=1, max=64)},)
        program = torch.onnx.export(model, (x,), dynamo=True, opset_version=18, dynamic_shapes=shapes, verbose=False)
        path.write_bytes(program.model_proto.SerializeToString())
    else:
        buffer = io.BytesIO()
        torch.onnx.export(
            model, (x,), buffer, dynamo=False, opset_version=13, input_names=["x"], dynamic_axes={"x": {0: "n"}},
            training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
        path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize("dynamo", [True, False])
def test_an_onnx_file_of_either_exporter_is_imported_and_pruned(tmp_path: Path, dynamo: bool) -> None:
    if dynamo and torch.__version__.startswith("2.6."):
        pytest.skip("this exporter of torch 2.6 does not take batch norms beside a new onnxscript")
    path = exported(tmp_path, dynamo)
    model = build_model(str(path), 1, 10, 8)
    assert isinstance(model, torch.fx.GraphModule)
    shrunk = prune_network(model, 1, (8, 8), PruneOptions(model="x", data="digits", budget=Budget("ops", 0.5)))
    assert shrunk.achieved <= 0.5
    assert sorted({g.kept for g in shrunk.groups if g.prunable}) == [8]


def test_damaged_and_unsupported_onnx_files_are_refused(tmp_path: Path) -> None:
    path = exported(tmp_path, False)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="not an ONNX model"):
        build_model(str(path), 1, 10, 8)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, 8, 8]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Sin", ["x"], ["y"], name="wave")], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    with pytest.raises(UnsupportedError, match="Sin") as caught:
        build_model(str(path), 1, 10, 8)
    assert "wave" in caught.value.where
    assert isinstance(caught.value, ProPruneError)
