"""Whatever the Python functions are given, what they raise is an error of ours that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import proprune_cli
from proprune_cli.errors import ProPruneError

X = np.random.default_rng(0).normal(size=(24, 3, 8, 8)).astype("float32")
Y = np.arange(24) % 4


class Plain(nn.Module):
    """A classifier of four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU())
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(x).mean((2, 3)))


class Stranger:
    """Something that is of no use anywhere, and whose methods fail."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Failing(Dataset[Any]):
    def __init__(self, error: Exception, length: int = 24) -> None:
        self.error, self.length = error, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if index < 5:
            return torch.from_numpy(X[index]), int(Y[index])
        raise self.error


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        while True:
            yield torch.from_numpy(X[0]), 1


class ShapedByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("weight", nn.Parameter(torch.ones(4, 3, 1, 1)))

    def forward(self, x: torch.Tensor) -> str:
        return "no tensor"


def spoilt(change: Callable[[nn.Module], object]) -> nn.Module:
    module = Plain()
    change(module)
    return module


def nan_at(index: int) -> np.ndarray[Any, Any]:
    found = X.copy()
    found.reshape(-1)[index] = np.nan
    return found


WRONG_VALUES: dict[str, Any] = {
    "none": None,
    "a number": 7,
    "a set": {1, 2},
    "bytes": b"x",
    "a stranger": Stranger(),
    "a function": len,
    "a class": Plain,
    "a nul": "a\0b",
    "empty text": "",
}
"""Of no use as module, data, path or images."""

WRONG_MODULES: dict[str, Any] = {
    "NaN in a weight": spoilt(lambda m: m.head.weight.data.fill_(float("nan"))),
    "double": Plain().double(),
    "half": Plain().half(),
    "without values": Plain().to("meta"),
    "lazy": nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten()),
    "sparse": spoilt(lambda m: setattr(m.head, "weight", nn.Parameter(m.head.weight.detach().to_sparse()))),
    "for other channels": nn.Sequential(nn.Conv2d(5, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)),
    "no output": ShapedByName(),
    "no layers": nn.Identity(),
    "empty": nn.Sequential(),
    "a loss": nn.CrossEntropyLoss(),
    "for tokens": nn.Embedding(4, 8),
}

WRONG_DATA: dict[str, Any] = {
    "images alone": X,
    "one array in a tuple": (X,),
    "three arrays": (X, Y, X),
    "fewer labels": (X, Y[:-1]),
    "NaN": (nan_at(5), Y),
    "infinite": (np.where(X > 2, np.float32(np.inf), X), Y),
    "no images": (X[:0], Y[:0]),
    "one image": (X[:1], Y[:1]),
    "no pixels": (X[:, :, :0], Y),
    "flat images": (X.reshape(24, -1), Y),
    "five axes": (X[None], Y),
    "integers as images": (X.astype("int64"), Y),
    "complex images": (X.astype("complex64"), Y),
    "text as images": (np.full((24, 3, 8, 8), "x"), Y),
    "objects as images": (np.full((24, 3, 8, 8), None), Y),
    "ragged lists": ([[1], [2, 3]], [0, 1]),
    "negative labels": (X, Y - 1),
    "more classes than outputs": (X, Y + 1),
    "a class far away": (X, Y + 10**12),
    "labels as text": (X, np.array(["cat"] * 24)),
    "labels of two axes": (X, np.stack([Y, Y], 1)),
    "float labels": (X, Y.astype("float32")),
    "NaN labels": (X, np.full(24, np.nan)),
    "a number as labels": (X, 3),
    "a mapping": {"images": X, "labels": Y},
    "an iterator": iter([(X, Y)]),
    "a bfloat16 tensor": (torch.zeros(24, 3, 8, 8, dtype=torch.bfloat16), Y),
    "a sparse tensor": (torch.from_numpy(X).to_sparse(), Y),
    "a meta tensor": (torch.from_numpy(X).to("meta"), Y),
    "training and test differ": (X, Y, X[:, :2], Y),
    "training and test labels differ": ((X, Y), (X, Y.astype("float32"))),
    "an empty loader": DataLoader(TensorDataset(torch.zeros(0, 3, 8, 8), torch.zeros(0).long())),
    "an empty set": TensorDataset(torch.zeros(0, 3, 8, 8), torch.zeros(0).long()),
    "a loader of images alone": DataLoader(TensorDataset(torch.from_numpy(X))),
    "a set that raises KeyError": Failing(KeyError("no such file")),
    "a loader that raises": DataLoader(Failing(NotImplementedError())),
    "a set that raises its own": Failing(type("Own", (Exception,), {})("bad")),
    "a set of a negative length": Failing(ValueError(), -3),
    "a set without length": Endless(),
    "a loader of other shapes": DataLoader([(X[0], 1), (X[0, :, :4], 1), (X[0], 0)], batch_size=1),
    "a set of strings": ["ab"] * 8,
}


def prune(out: Path, **changed: Any) -> Any:
    given = {"model": Plain(), "data": (X, Y), "epochs": 0, "finetune_epochs": 0, "thin": False}
    return proprune_cli.run_prune(out, **{**given, **changed})


def refused(call: Callable[[], Any], name: str) -> ProPruneError:
    """The error of ``call``, of ours, that names the argument."""
    with pytest.raises(ProPruneError) as caught:
        call()
    error = caught.value
    assert name in f"{error.where} {error.what}".replace("--", ""), error
    assert error.what and error.remedy and "Traceback" not in str(error)
    return error


@pytest.mark.parametrize("what", WRONG_VALUES)
def test_what_is_no_module_no_data_and_no_path(what: str, tmp_path: Path) -> None:
    value = WRONG_VALUES[what]
    refused(lambda: prune(tmp_path / "run", model=value), "model")
    refused(lambda: prune(tmp_path / "run", data=value), "data")
    refused(lambda: prune(value), "out")
    refused(lambda: proprune_cli.prune_module(value, (3, 8, 8)), "module")
    refused(lambda: proprune_cli.run_compile(value, tmp_path / "net.ppr", calibration=X), "source")
    refused(lambda: proprune_cli.run_compile(Plain(), value, calibration=X), "out")
    refused(lambda: proprune_cli.run_compile(Plain(), tmp_path / "net.ppr", calibration=value), "calibration")
    refused(lambda: proprune_cli.run_sensitivity(value, data=(X, Y)), "run")
    refused(lambda: proprune_cli.run_sensitivity(Plain(), data=value), "data")
    refused(lambda: proprune_cli.load(value), "run")
    for function in (proprune_cli.run_inspect, proprune_cli.run_bench):
        refused(lambda: function(value), "artifact")  # noqa: B023
    refused(lambda: proprune_cli.run_artifact(value, X), "artifact")
    refused(lambda: proprune_cli.run_deploy(value, "emulated:pynq-z2"), "artifact")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("what", WRONG_MODULES)
def test_modules_that_cannot_be_worked_with(what: str, tmp_path: Path) -> None:
    module = WRONG_MODULES[what]
    refused(lambda: prune(tmp_path / "run", model=module), "model")
    refused(lambda: proprune_cli.run_sensitivity(module, data=(X, Y)), "")
    refused(lambda: proprune_cli.prune_module(module, (3, 8, 8)), "")
    if what != "for other channels":
        refused(lambda: proprune_cli.run_compile(module, tmp_path / "net.ppr", calibration=X), "")
    assert not (tmp_path / "run").exists() and not (tmp_path / "net.ppr").exists()


@pytest.mark.parametrize("what", WRONG_DATA)
def test_data_that_are_none(what: str, tmp_path: Path) -> None:
    data = WRONG_DATA[what]
    if what not in ("more classes than outputs", "float labels"):  # which say nothing about the images alone
        calibration = data[0] if what in ("NaN", "infinite", "no images", "flat images", "five axes") else data
        if what not in ("images alone", "one image"):
            refused(
                lambda: proprune_cli.run_compile(Plain(), tmp_path / "net.ppr", calibration=calibration), "calibration"
            )
    if what != "one image":
        refused(lambda: proprune_cli.run_sensitivity(Plain(), data=data), "")
    refused(lambda: prune(tmp_path / "run", data=data), "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"epochs": "three"}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": -1}, "epochs"),
        ({"epoch": 3}, "epoch"),
        ({"budget": 0.5}, "budget"),
        ({"budget": "half"}, "budget"),
        ({"method": 3}, "method"),
        ({"method": "magic"}, "method"),
        ({"train": 0.1}, "train"),
        ({"train": {"lr": "fast"}}, "lr"),
        ({"train": {"rate": 0.1}}, "rate"),
        ({"train": {"loss": 3}}, "loss"),
        ({"exclude": "b"}, "exclude"),
        ({"exclude": ["nothing"]}, "nothing"),
        ({"weights": 5}, "weights"),
        ({"weights": "none.safetensors"}, "none.safetensors"),
        ({"seed": True}, "seed"),
        ({"normalise": "yes"}, "normalise"),
        ({"board": 3}, "board"),
        ({"multiple": np.zeros(3)}, "multiple"),
        ({"validation": float("nan")}, "validation"),
        ({"data": "no-such-set"}, "no-such-set"),
        ({"model": "no-such-net"}, "no-such-net"),
    ],
)
def test_options_of_other_types_and_names(changed: dict[str, Any], name: str, tmp_path: Path) -> None:
    refused(lambda: prune(tmp_path / "run", **changed), name)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "shape", [None, 3, (3, 8), (3, 8, 8.0), (3, 0, 8), ("3", 8, 8), (3, 8, 1 << 40), X, (3, True, 8)]
)
def test_shapes_that_are_none(shape: Any) -> None:
    refused(lambda: proprune_cli.prune_module(Plain(), shape), "shape")


def test_arguments_of_a_scan_and_of_compiling(tmp_path: Path) -> None:
    scan = proprune_cli.run_sensitivity
    for name, value in (("method", 3), ("method", "magic"), ("images", 0), ("images", "all"), ("residual", 3)):
        refused(lambda: scan(Plain(), data=(X, Y), **{name: value}), name)  # noqa: B023
    refused(lambda: scan(Plain()), "data")
    refused(lambda: scan(Plain(), model=Plain(), data=(X, Y)), "model")
    refused(lambda: scan(Plain(), data=(X, Y), loss=3), "loss")
    refused(lambda: scan(tmp_path), str(tmp_path))
    refused(lambda: scan(tmp_path / "none", data=(X, Y)), "none")
    for name, value in (
        ("board", 3),
        ("board", "none"),
        ("array", 3),
        ("batch", "two"),
        ("batch", 0),
        ("network", "dense"),
    ):
        refused(
            lambda: proprune_cli.run_compile(Plain(), tmp_path / "a.ppr", calibration=X, **{name: value}),  # noqa: B023
            name,
        )
    refused(lambda: proprune_cli.run_compile(Plain(), tmp_path / "a.ppr"), "calibration")
    refused(lambda: proprune_cli.run_compile(Plain(), tmp_path / "a.ppr", calibration=tmp_path / "b.npy"), "b.npy")
    refused(lambda: proprune_cli.run_compile(Plain(), tmp_path / "no" / "a.ppr", calibration=X), "no")
    refused(lambda: proprune_cli.run_compile(tmp_path / "none.onnx", tmp_path / "a.ppr", calibration=X), "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07 no model")
    refused(lambda: proprune_cli.run_compile(tmp_path / "bad.onnx", tmp_path / "a.ppr", calibration=X), "bad.onnx")
    refused(lambda: prune(tmp_path / "run", model=str(tmp_path / "bad.onnx")), "bad.onnx")


def test_images_that_do_not_fit_an_artifact(tmp_path: Path) -> None:
    path = tmp_path / "net.ppr"
    proprune_cli.run_compile(Plain(), path, calibration=X)
    wrong: list[Any] = [
        *WRONG_VALUES.values(),
        X[:, :2],
        X[0],
        X[:0],
        nan_at(3),
        X.astype("float64"),
        X.tolist(),
        (X, Y),
    ]
    for images in wrong:
        refused(lambda: proprune_cli.run_artifact(path, images), "images")  # noqa: B023
    refused(lambda: proprune_cli.run_artifact(path, X, raw=True), "images")
    for board in (None, 3, "pynq", Stranger(), []):
        refused(lambda: proprune_cli.run_artifact(path, X, board), "board")  # noqa: B023
        refused(lambda: proprune_cli.run_deploy(path, board), "board")  # noqa: B023
        refused(lambda: proprune_cli.run_bench(path, board), "board")  # noqa: B023
    path.write_bytes(path.read_bytes()[:-9])
    refused(lambda: proprune_cli.run_inspect(path), str(path))
    refused(lambda: proprune_cli.run_artifact(path, X), str(path))
