"""Modules, arrays and loaders instead of names: what comes of them, what is left of them, and how a run goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import proprune_cli
from proprune_cli.data.objects import images_of, source_of_objects
from proprune_cli.errors import InputError, ProPruneError, UnsupportedError

CLASSES = 4
OPTIONS: dict[str, Any] = {
    "epochs": 2,
    "finetune_epochs": 1,
    "train": {"batch": 16, "lr": 0.05, "threads": 1},
    "budget": "ops=50%",
}


class Net(nn.Module):
    """Keeps what it saw, as modules do, and has a batch norm."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor] = torch.relu) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.body = nn.Conv2d(16, 16, 3, stride=2)
        self.head = nn.Linear(16, CLASSES)
        self.activation = activation
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        x = self.activation(self.norm(self.stem(x)))
        return self.head(torch.relu(self.body(x)).mean((2, 3)))


def net(seed: int = 0, activation: Callable[[torch.Tensor], torch.Tensor] = torch.relu) -> Net:
    torch.manual_seed(seed)
    return Net(activation)


def striped(count: int = 160) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images around 40 with a bright stripe, whose place is the class."""
    images = np.random.default_rng(1).normal(40, 2, (count, 3, 12, 12)).astype("float32")
    labels = np.arange(count) % CLASSES
    for image, label in zip(images, labels, strict=True):
        image[label % 3, 3 * label : 3 * label + 3] += 12
    return images, labels


X, Y = striped()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("objects") / "run"
    proprune_cli.run_prune(out, model=net(), data=(X, Y), normalise=True, **OPTIONS)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_module_is_left_as_it_was(tmp_path: Path) -> None:
    module = net().train()
    module.stem.weight.grad = torch.ones_like(module.stem.weight)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    identity = {name: value.data_ptr() for name, value in module.state_dict().items()}
    generator = torch.get_rng_state()
    proprune_cli.run_compile(module, tmp_path / "net.ppr", calibration=X)
    proprune_cli.run_sensitivity(module, data=(X[:20], Y[:20]))
    options = {**OPTIONS, "epochs": 1, "finetune_epochs": 0, "thin": False, "engine": False}
    proprune_cli.run_prune(tmp_path / "run", model=module, data=(X, Y), **options)
    proprune_cli.load(tmp_path / "run", model=module)
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) and after[name].data_ptr() == identity[name] for name in before)
    assert module.training and module.seen == [] and bool((module.stem.weight.grad == 1).all())
    assert torch.equal(generator, torch.get_rng_state())


def test_the_network_comes_back_without_the_users_code(run: Path, tmp_path: Path) -> None:
    """In another process that knows no such class; the oracle is the module's own class with the run's weights."""
    code = (
        "import sys, numpy, torch, proprune_cli\n"
        "for name in ('pruned', 'dense', 'thin'):\n"
        "    found = proprune_cli.load(sys.argv[1], name)(torch.from_numpy(numpy.load(sys.argv[2])))\n"
        "    numpy.save(f'{sys.argv[3]}/{name}.npy', found.detach().numpy())\n"
        "assert not any(name.startswith('tests') for name in sys.modules)\n"
    )
    np.save(tmp_path / "x.npy", X[:32])
    subprocess.run([sys.executable, "-c", code, run, tmp_path / "x.npy", tmp_path], check=True, cwd=tmp_path)
    for name in ("pruned", "dense", "thin"):
        own = proprune_cli.load(run, name, model=net(5))
        with torch.no_grad():
            expected = own(torch.from_numpy(X[:32])).numpy()
        assert isinstance(own.network, Net)
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, rtol=1e-4, atol=1e-4)
    accuracy = json.loads((run / "results.json").read_text())["dense"]["test_accuracy"]
    assert accuracy > 60


def test_what_is_loaded_learns_and_can_be_pruned_again(run: Path) -> None:
    module = proprune_cli.load(run).train()
    before = [p.clone() for p in module.parameters()]
    nn.functional.cross_entropy(module(torch.from_numpy(X[:8])), torch.from_numpy(Y[:8])).backward()
    torch.optim.SGD(module.parameters(), 0.01).step()
    assert any(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    proprune_cli.prune_module(module, (3, 12, 12), budget="ops=60%", multiple=1)


def test_a_run_goes_on_with_the_same_objects(run: Path) -> None:
    """With equal ones in another form: a tensor, a list, a loader that shuffles."""
    before = contents(run)
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=7, shuffle=True)
    for data in ((torch.from_numpy(X), Y.tolist()), loader, loader.dataset):
        proprune_cli.run_prune(run, model=net(), data=data, normalise=True, **OPTIONS)
        assert contents(run) == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": (X + 1, Y)}, "data has changed"),
        ({"data": (X, (Y + 1) % CLASSES)}, "data has changed"),
        ({"normalise": None}, "data has changed"),
        ({"model": net(1)}, "model has changed"),
        ({"model": net(0, torch.tanh)}, "model has changed"),  # neither weights nor layers show it
        ({"model": nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(800, 4))}, "module Net"),
        ({"model": "resnet8"}, "module Net"),
        ({"data": "digits"}, "data handed over"),
        ({"epochs": 3}, "epochs"),
    ],
)
def test_a_run_refuses_other_objects(changed: dict[str, Any], named: str, run: Path) -> None:
    before = contents(run)
    with pytest.raises(InputError, match=named):
        proprune_cli.run_prune(run, **{"model": net(), "data": (X, Y), "normalise": True, **OPTIONS, **changed})
    assert contents(run) == before


def test_a_run_of_objects_is_scanned_with_them_and_not_without(run: Path) -> None:
    with pytest.raises(InputError, match="handed over as a module Net"):
        proprune_cli.run_sensitivity(run, data=(X, Y))
    with pytest.raises(InputError, match="data were handed over"):
        proprune_cli.run_sensitivity(run, model=net())
    from proprune_cli.cli.app import run_cli

    assert run_cli(["sensitivity", str(run)]) == 1
    scan = proprune_cli.run_sensitivity(run, model=net(3), data=(X, Y), images=8)
    assert {g.name for g in scan.groups if g.points} and scan.images == 8


def test_a_module_is_scanned_on_data_as_they_are(run: Path) -> None:
    """Accuracy counted again, on a module that normalises by itself."""
    module = proprune_cli.load(run, model=net())
    with torch.no_grad():
        right = (module(torch.from_numpy(X)).argmax(1).numpy() == Y).mean()
    scan = proprune_cli.run_sensitivity(module, data=(X, Y), images=len(X), method="taylor")
    assert scan.accuracy == pytest.approx(100 * right)
    assert any(g.points for g in scan.groups)


def test_a_trained_module_is_pruned_as_it_is(run: Path, tmp_path: Path) -> None:
    """Without a word on epochs it is not trained anew, and its images are not normalised a second time."""
    module = proprune_cli.load(run, "dense", model=net())
    with torch.no_grad():
        right = (module(torch.from_numpy(X[-40:])).argmax(1).numpy() == Y[-40:]).mean()
    data = (X[:-40], Y[:-40], X[-40:], Y[-40:])
    options = {**OPTIONS, "epochs": None, "finetune_epochs": 0, "thin": False}
    result = proprune_cli.run_prune(tmp_path / "run", model=module, data=data, **options)
    assert result.dense.test_accuracy == pytest.approx(100 * right)


def test_an_artifact_computes_what_the_module_does(run: Path, tmp_path: Path) -> None:
    module = proprune_cli.load(run, model=net())
    path = tmp_path / "net.ppr"
    artifact = proprune_cli.run_compile(module, path, calibration=DataLoader(TensorDataset(*map(torch.tensor, (X, Y)))))
    with torch.no_grad():
        expected = module(torch.from_numpy(X)).numpy()
    found = proprune_cli.run_artifact(path, torch.from_numpy(X))
    assert list(found) == ["output"]
    assert np.abs(found["output"] - expected).max() < 0.05 * np.abs(expected).max()
    for board in ("interpreter", "cpu"):
        np.testing.assert_array_equal(proprune_cli.run_artifact(path, X, board)["output"], found["output"])
    codes = artifact.program.codes(X)
    raw = proprune_cli.run_artifact(path, codes, raw=True)["output"]
    scale = np.float32(2.0 ** artifact.program.outputs[0].plane.exponent)
    np.testing.assert_array_equal(raw.reshape(found["output"].shape) * scale, found["output"])
    with pytest.warns(UserWarning, match="clipped"):
        proprune_cli.run_artifact(path, 9 * X)


def test_deploy_inspect_and_bench_say_what_the_commands_say(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from proprune_cli.cli.app import run_cli

    path = tmp_path / "net.ppr"
    proprune_cli.run_compile(run, path)

    def command(*arguments: str) -> dict[str, Any]:
        assert run_cli([arguments[0], str(path), *arguments[1:], "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    deployed, told = proprune_cli.run_deploy(path, "emulated:pynq-z2"), command("deploy", "--board", "emulated:pynq-z2")
    assert deployed.bytes_different == 0 < deployed.bytes_compared == told["bytes_compared"]
    assert proprune_cli.run_bench(path).latency_ms == command("bench")["rows"][0]["latency_ms"]
    inspected, told = proprune_cli.run_inspect(path), command("inspect", "--plan")
    assert inspected.plan.to_json() == told["plan"]
    manifest = json.loads(json.dumps(inspected.manifest().to_json()))
    assert {name: manifest[name] for name in told["manifest"]} == told["manifest"]


def test_losses_and_metrics_that_are_functions(tmp_path: Path) -> None:
    def error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((outputs - targets) ** 2).mean()

    def near(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((outputs - targets).abs() < 1).all(dim=1)

    targets = np.eye(CLASSES, dtype="float32")[Y]
    options = {**OPTIONS, "epochs": 1, "finetune_epochs": 0, "thin": False, "engine": False}
    options["train"] = {**OPTIONS["train"], "loss": error, "metric": near}
    out = tmp_path / "run"
    result = proprune_cli.run_prune(out, model=net(), data=(X, targets), normalise=True, **options)
    assert result.metric == "near"
    recorded = json.loads((out / "run.json").read_text())
    assert recorded["options"]["train"]["loss"].endswith("error")
    proprune_cli.run_sensitivity(out, model=net(), data=(X, targets), loss=error, metric=near, images=8)
    with pytest.raises(InputError, match="would import code"):
        proprune_cli.run_sensitivity(out, model=net(), data=(X, targets), images=8)
    options["train"] = {**options["train"], "loss": nn.MSELoss()}
    with pytest.raises(InputError, match="loss"):
        proprune_cli.run_prune(out, model=net(), data=(X, targets), normalise=True, **options)


def test_a_budget_of_milliseconds_counts_the_layers_of_the_module(run: Path) -> None:
    from proprune_cli.prune.saved import shapes_of_run

    found = {layer.name: layer.macs for layer in shapes_of_run(run, "dense", given=net())}
    assert found == {"stem": 3 * 9 * 16 * 12 * 12, "body": 16 * 9 * 16 * 5 * 5, "head": 16 * CLASSES}


def test_an_onnx_file_that_cannot_be_read_back_asks_for_the_module(tmp_path: Path) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ELU(), nn.Flatten(), nn.Linear(1024, 4)
    )
    options = {**OPTIONS, "epochs": 0, "finetune_epochs": 0, "thin": False, "engine": False}
    proprune_cli.run_prune(tmp_path / "run", model=module, data=(X, Y), **options)
    with pytest.raises(UnsupportedError, match="handed over as a module") as caught:
        proprune_cli.load(tmp_path / "run")
    assert "model=module" in caught.value.remedy
    assert proprune_cli.load(tmp_path / "run", model=module)(torch.from_numpy(X[:2])).shape == (2, 4)
    with pytest.raises(ProPruneError):
        proprune_cli.load(tmp_path / "run", model=net())


def test_an_exported_network_of_several_channels_is_pruned_again(run: Path, tmp_path: Path) -> None:
    """Its normalisation is a constant for each channel."""
    options = {**OPTIONS, "finetune_epochs": 0, "epochs": 0, "thin": False, "multiple": 1, "budget": "ops=80%"}
    result = proprune_cli.run_prune(tmp_path / "run", model=str(run / "dense.onnx"), data=(X, Y), **options)
    accuracy = json.loads((run / "results.json").read_text())["dense"]["test_accuracy"]
    assert result.dense.test_accuracy == pytest.approx(accuracy, abs=4)


# What data become. Each way must give the arrays that were handed over.

PAIRS: dict[str, Callable[[], object]] = {
    "arrays": lambda: (X, Y),
    "a list": lambda: [X, Y],
    "tensors": lambda: (torch.from_numpy(X), torch.from_numpy(Y)),
    "tensors with a gradient": lambda: (torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)),
    "channels last": lambda: (X.transpose(0, 2, 3, 1), Y),
    "a data set": lambda: TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
    "a loader": lambda: DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=9),
    "a loader that drops": lambda: DataLoader(
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=9, drop_last=True, shuffle=True
    ),
    "a loader of pairs": lambda: DataLoader(list(zip(X, Y, strict=True)), batch_size=9),
    "a loader without batches": lambda: DataLoader(TensorDataset(*map(torch.from_numpy, (X, Y))), batch_size=None),
}


@pytest.mark.parametrize("form", PAIRS)
def test_each_form_of_data_is_the_same_data(form: str) -> None:
    known, found = (source_of_objects(data, "d", "data") for data in ((X, Y), PAIRS[form]()))
    for a, b in ((known.train, found.train), (known.test, found.test)):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
    split = source_of_objects((PAIRS[form](), (X[:8], Y[:8])), "d", "data")
    np.testing.assert_array_equal(split.train.images, X)
    np.testing.assert_array_equal(split.test.labels, Y[:8])


def test_a_loader_of_a_part_gives_that_part() -> None:
    whole = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    chosen = torch.utils.data.SubsetRandomSampler(range(0, 80))
    found = source_of_objects(
        (DataLoader(whole, sampler=chosen, batch_size=8), Subset(whole, range(80, 90))), "d", "data"
    )
    assert len(found.train) == 80 and len(found.test) == 10
    assert sorted(found.train.images.sum((1, 2, 3))) == pytest.approx(sorted(X[:80].sum((1, 2, 3))))


def test_images_for_calibration_are_spread_over_what_is_there() -> None:
    np.testing.assert_array_equal(images_of(X, "calibration", 4), X[[0, 53, 106, 159]])
    assert images_of((X[:, 0] * 0 + 7).astype("uint8")[:, None], "calibration", 500).dtype == np.uint8
