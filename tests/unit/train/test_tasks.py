"""Networks, data, losses and metrics of users: several results, a class for each pixel, numbers as targets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

import proprune_cli
from proprune_cli.channels.surgery import SurgeryError
from proprune_cli.data.batches import Batches
from proprune_cli.data.dataset import NOT_COUNTED, Dataset, Split
from proprune_cli.data.load import load_data
from proprune_cli.errors import InputError, ProPruneError, UnsupportedError, UsageError
from proprune_cli.modules.outputs import difference, names_of, tensors_of
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.methods import METHODS
from proprune_cli.prune.options import Budget
from proprune_cli.prune.shrinking import prune_network
from proprune_cli.spec.factories import function_of
from proprune_cli.spec.parse import parse_spec
from proprune_cli.train.task import Task, task_for
from tests.unit.prune import own_code

OWN = "tests.unit.prune.own_code"
DETECTION = {
    "model": f"{OWN}:Detector",
    "data": f"{OWN}:squares",
    "train": {"loss": f"{OWN}:detector_loss", "metric": f"{OWN}:closeness", "threads": 1, "batch": 16, "lr": 0.01},
}


def squares_npz(path: Path, **more: np.ndarray) -> Path:
    images, _ = own_code._images(40, 0)
    arrays = {"images": images, "labels": (images[:, 0] > 1).astype(np.int64), **more}
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("residual", ["coupled", "free"])
def test_a_network_with_several_results_is_pruned_and_exported_whole(residual: str) -> None:
    torch.manual_seed(0)
    model = own_code.Detector().eval()
    options = PruneOptions(model="x", data="-", budget=Budget("ops", 0.5), residual=residual, multiple=2)
    shrunk = prune_network(model, 1, (16, 16), options)
    assert shrunk.macs < 0.51 * shrunk.dense_macs
    assert shrunk.error < 1e-5
    x = example_input(1, (16, 16))
    found = shrunk.model(x)
    assert found["corner"].shape == (2, 2)
    session = ort.InferenceSession(to_onnx(shrunk.model, x))
    assert [o.name for o in session.get_outputs()] == names_of(found) == ["corner", "present_0"]
    again = [torch.from_numpy(a) for a in session.run(None, {"input": x.numpy()})]
    assert difference(again, tensors_of(found)) < 1e-5


def test_an_onnx_file_with_several_outputs_is_imported(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(to_onnx(own_code.Detector().eval(), example_input(1, (16, 16))))
    from proprune_cli.nets.models import build_model

    model = build_model(str(tmp_path / "net.onnx"), 1, 2, 16, gives="anything")
    assert [tuple(t.shape) for t in tensors_of(model(torch.zeros(3, 1, 16, 16)))] == [(3, 2), (3, 1, 8, 8)]
    with pytest.raises(InputError, match=r"\[2, 2\], \[2, 1, 8, 8\], not one tensor") as caught:
        build_model(str(tmp_path / "net.onnx"), 1, 2, 16)
    assert "--loss" in caught.value.remedy


QUICK = {"lobster": "?pwe=1", "serene": "?pwe=1", "decay": "?pwe=1", "knapsack": "?dsp=0.5&steps=1"}
"""Options with which a method does something in two epochs."""


@pytest.mark.parametrize("method", METHODS)
def test_a_detector_is_pruned_with_its_own_data_loss_and_metric(tmp_path: Path, method: str) -> None:
    result = proprune_cli.run_prune(
        tmp_path / "run",
        **DETECTION,
        method=method + QUICK.get(method, ""),
        epochs=1,
        finetune_epochs=2,
        thin=method == "l1",
        freeze="neq?eps=1" if method == "l2" else "none",
    )
    assert result.metric == "closeness"
    assert 0 < result.finetuned.test_accuracy < 100
    assert json.loads((tmp_path / "run/results.json").read_text())["metric"] == "closeness"
    net = proprune_cli.load(tmp_path / "run", trust=True)
    session = ort.InferenceSession(str(tmp_path / "run/model.onnx"))
    with np.load(tmp_path / "run/test.npz") as test:
        images, targets = test["images"], test["labels"]
    with torch.no_grad():
        outputs = net(torch.from_numpy(images))
    again = [torch.from_numpy(a) for a in session.run(None, {"input": images})]
    assert difference(again, tensors_of(outputs)) < 1e-4
    closeness = 100 * float(own_code.closeness(outputs, torch.from_numpy(targets)).mean())
    assert closeness == pytest.approx(result.finetuned.test_accuracy, abs=1e-3)


def test_sensitivity_is_judged_by_the_metric_of_the_run(tmp_path: Path) -> None:
    proprune_cli.run_prune(tmp_path / "run", **DETECTION, epochs=1, finetune_epochs=0, thin=False)
    scan = proprune_cli.run_sensitivity(tmp_path / "run", images=6, trust=True)
    assert scan.metric == "closeness"
    assert any(group.points for group in scan.groups)


def test_a_class_for_each_pixel_is_learned_and_the_maps_are_kept(tmp_path: Path) -> None:
    path = squares_npz(tmp_path / "squares.npz")
    result = proprune_cli.run_prune(
        tmp_path / "run",
        model=f"{OWN}:Segmenter",
        data=str(path),
        epochs=6,
        finetune_epochs=2,
        thin=False,
        train={"threads": 1, "batch": 8, "lr": 0.05},
    )
    # Squares are 14 % of the pixels.
    assert result.finetuned.test_accuracy > 95
    with np.load(tmp_path / "run/test.npz") as test:
        assert test["labels"].shape == (8, 16, 16)


def test_labels_of_pixels_move_with_their_images() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(1, 255, (24, 1, 12, 12), dtype=np.uint8)
    split = Split(images, (images[:, 0] % 7).astype(np.int64))
    data = Dataset("x", split, split, split, tuple("0123456"), (0.0,), (1.0,), "here", "crop+flip")
    moved = 0
    for pixels, labels in Batches(data, split, 8, "auto").shuffled(1):
        values = torch.round(pixels[:, 0] * 255).long()
        outside = labels == NOT_COUNTED
        assert bool((values[outside] == 0).all())
        assert bool((values[~outside] % 7 == labels[~outside]).all())
        moved += int(outside.sum())
    assert moved > 0


def test_pixels_that_do_not_count_change_neither_loss_nor_score() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3, 5, 5), torch.randint(0, 3, (4, 5, 5))
    labels[:, 2:] = NOT_COUNTED
    other = logits.clone()
    other[:, :, 2:] = torch.randn(4, 3, 3, 5)
    split = Split(np.zeros((4, 1, 5, 5), np.uint8), labels.numpy())
    task = Task(Dataset("x", split, split, split, tuple("012"), (0.0,), (1.0,), "here"))
    assert task.total_score(logits, labels) == task.total_score(other, labels)
    torch.testing.assert_close(task.loss(logits, labels), task.loss(other, labels))
    right = float((logits.argmax(1)[:, :2] == labels[:, :2]).double().mean()) * 4
    assert task.total_score(logits, labels) == pytest.approx(right)


def test_255_in_uint8_maps_does_not_count(tmp_path: Path) -> None:
    images, _ = own_code._images(10, 0)
    labels = (images[:, 0] > 1).astype(np.uint8)
    labels[:, :2] = 255
    data = load_data(str(squares_npz(tmp_path / "s.npz", images=images, labels=labels)))
    assert data.targets == "pixels"
    assert len(data.classes) == 2
    assert int(data.train.labels.min()) == NOT_COUNTED


@pytest.mark.parametrize("factory", ["squares", "arrays"])
def test_factories_give_data_sets_or_arrays(factory: str) -> None:
    data = load_data(f"{OWN}:{factory}")
    assert (len(data.train), len(data.validation), len(data.test)) == (54, 6, 20)
    assert data.targets == "values"
    assert data.train.labels.dtype == np.float32
    assert (data.name, data.size) == (factory, (16, 16))


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("squares?number=3", "arguments do not fit"),
        ("ragged", r"image 1 and its target have the shapes \[1, 9, 9\]"),
        ("broken", "image 0 cannot be read"),
        ("absent", "cannot be built: FileNotFoundError"),
        ("three", "tuple of 3 is no form of data"),
        ("IMAGES", "no factory 'IMAGES'"),
        ("make_loss", "SmoothL1Loss is no form of data"),
        ("squares?count=0", "there are no images"),
    ],
)
def test_faults_of_a_data_factory_are_named(spec: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        load_data(f"{OWN}:{spec}")
    assert caught.value.remedy
    assert caught.value.where.startswith("--data")


def run_regression(tmp_path: Path, **train: object) -> ProPruneError:
    with pytest.raises(ProPruneError) as caught:
        proprune_cli.run_prune(
            tmp_path / "run", model=f"{OWN}:Regressor", data=f"{OWN}:squares", epochs=1, train={"threads": 1, **train}
        )
    assert caught.value.remedy
    return caught.value


MSE, R2 = "torch.nn:MSELoss", "tests.unit.prune.own_code:never"


@pytest.mark.parametrize(
    ("train", "what"),
    [
        ({}, "the targets are numbers, which have no cross-entropy"),
        ({"loss": MSE}, "no accuracy"),
        ({"loss": MSE, "metric": f"{OWN}:never"}, "metric gives [nan]"),
        ({"loss": f"{OWN}:three_numbers", "metric": MSE}, "the loss gives [3], not one number"),
        ({"loss": MSE, "metric": f"{OWN}:three_numbers"}, "of shape [3] for 2 images"),
        (
            {"loss": "torch.nn:CrossEntropyLoss?ignore_index=-1", "metric": "torch.nn:NLLLoss"},
            "it fails on the network's outputs",
        ),
        ({"loss": MSE, "metric": f"{OWN}:a_word"}, "the metric gives str"),
        ({"loss": f"{OWN}:Learning", "metric": MSE}, "parameters that would have to learn"),
        ({"loss": "torch.nn:NoLoss", "metric": MSE}, "no factory 'NoLoss'"),
        ({"loss": "mse"}, "'mse' is no import path"),
        ({"loss": MSE, "label_smoothing": 0.1}, "label smoothing is part of cross-entropy"),
        ({"loss": MSE, "metric": MSE, "augment": "crop"}, "would move the images and not their targets"),
    ],
)
def test_what_does_not_fit_is_said_before_training(tmp_path: Path, train: dict[str, object], what: str) -> None:
    error = run_regression(tmp_path, **train)
    assert what in error.what
    assert not list((tmp_path / "run").glob("stages/dense*/checkpoint*"))


def test_a_classifier_of_the_wrong_shape_for_maps_is_refused(tmp_path: Path) -> None:
    path = squares_npz(tmp_path / "s.npz")
    for model, what in (
        ("Segmenter?stride=2", r"gives \[2, 2, 8, 8\] for targets \[2, 16, 16\]"),
        ("Regressor", r"\[2, 2\], not one tensor \[batch, classes, rows, columns\]"),
    ):
        with pytest.raises(InputError, match=what):
            proprune_cli.run_prune(tmp_path / "run", model=f"{OWN}:{model}", data=str(path), epochs=1, force=True)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("torch.nn:MSELoss", 4.0),
        ("torch.nn:MSELoss?reduction=sum", 8.0),
        ("torch.nn.functional:mse_loss", 4.0),
        ("torch.nn.functional:mse_loss?reduction=sum", 8.0),
        (f"{OWN}:make_loss?beta=4", 0.5),
    ],
)
def test_a_loss_is_a_function_or_what_makes_one(spec: str, expected: float) -> None:
    function = function_of(parse_spec(spec, "--loss"), "--loss", "loss")
    assert float(function(torch.full((1, 2), 2.0), torch.zeros(1, 2))) == expected


def test_a_losss_buffers_go_to_the_networks_device() -> None:
    options = TrainOptions(loss="torch.nn:BCEWithLogitsLoss")
    # Not a device that options may name: one that every machine has, and that is not the host's memory.
    object.__setattr__(options, "device", "meta")
    task = task_for(load_data("digits"), options)
    assert isinstance(task.own_loss, nn.Module)
    with pytest.raises(UsageError, match="no import path"):
        TrainOptions(metric="accuracy")


def test_a_head_that_runs_in_training_alone_is_found_out() -> None:
    options = PruneOptions(model="x", data="-", budget=Budget("ratio", 0.5))
    with pytest.raises(SurgeryError, match=r"in training mode .*aux") as caught:
        prune_network(own_code.Auxiliary(), 1, (16, 16), options)
    assert "--exclude" in caught.value.remedy or "exclude" in caught.value.remedy
    kept = PruneOptions(model="x", data="-", budget=Budget("ratio", 0.5), exclude=("a",))
    shrunk = prune_network(own_code.Auxiliary(), 1, (16, 16), kept)
    assert len(shrunk.model.train()(torch.zeros(2, 1, 16, 16))) == 2


def test_a_module_is_pruned_by_its_own_gradients_and_keeps_its_mode() -> None:
    model = own_code.Detector().train()
    with pytest.raises(InputError, match="no parameter has one"):
        proprune_cli.prune_module(model, (1, 16, 16), method="taylor")
    own_code.detector_loss(model(torch.randn(4, 1, 16, 16)), torch.rand(4, 2)).backward()
    for module in (model.stem, model.conv1, model.norm):
        for parameter in module.parameters():
            parameter.grad[::2] = 0  # every other channel matters nothing
    model.norm.eval()  # frozen, as users do
    small = proprune_cli.prune_module(model, (1, 16, 16), method="taylor", budget="ratio=0.5", multiple=4)
    assert small.cuts["stem.weight"][0] == list(range(1, 16, 2))
    assert model.training
    assert not model.norm.training
    assert not small.model.training
    assert proprune_cli.prune_module(model, (1, 16, 16), budget="ms=60%", multiple=4).achieved <= 0.6


def test_torchs_older_exporter_serves_where_the_new_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = own_code.Detector().eval(), example_input(1, (16, 16))
    names = [o.name for o in ort.InferenceSession(to_onnx(model, x)).get_outputs()]
    export = torch.onnx.export

    def without_dynamo(*arguments: object, dynamo: bool, **options: object) -> object:
        if dynamo:
            raise RuntimeError("no such operator\nmore")
        return export(*arguments, dynamo=False, **options)

    monkeypatch.setattr(torch.onnx, "export", without_dynamo)
    session = ort.InferenceSession(to_onnx(model, x))
    assert [o.name for o in session.get_outputs()] == names
    assert session.run(None, {"input": torch.zeros(5, 1, 16, 16).numpy()})[0].shape == (5, 2)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, dynamo, **__: without_dynamo(dynamo=True))
    with pytest.raises(UnsupportedError, match=r"to ONNX: no such operator"):
        to_onnx(model, x)
