"""Sensitivity scans: what they measure equals removal, the network is left as it was, and the command shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.surgery import cuts_for, shrink
from proprune_cli.cli.app import run_cli
from proprune_cli.data.load import load_data
from proprune_cli.errors import InputError
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model
from proprune_cli.prune.sensitivity import GroupCurve, Point, sensitivity
from proprune_cli.prune.sensitivity_plot import save_plot
from proprune_cli.train.task import Task


@pytest.fixture(scope="module", params=["coupled", "free"])
def scanned(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    data = load_data("digits?size=16")
    model = build_model("resnet8?width=0.5", 1, 10, (16, 16))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    scan = sensitivity(model, Task(data), residual=request.param, shares=[0.5, 0.25], images=100)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    return model, data, scan


def test_a_scan_measures_what_removal_gives(scanned) -> None:
    model, data, scan = scanned
    channels = analyse(model, example_input(1, (16, 16)), residual=scan.residual)
    tensors = dict(model.state_dict())
    index = np.linspace(0, len(data.validation) - 1, 100, dtype=np.int64)
    part = data.validation.take(index)
    for position, group in enumerate(channels.groups):
        if not group.prunable:
            continue
        point = next(p for p in scan.groups[position].points if p.share == 0.5)
        scores = sum(
            (
                rows.mean(axis=1) / rows.mean()
                for m in group.members
                if m.role == "out" and tensors[m.tensor].ndim > 1
                for rows in [np.abs(tensors[m.tensor].movedim(m.dim, 0).reshape(group.channels, -1).double().numpy())]
            ),
            np.zeros(group.channels),
        )
        kept = np.sort(np.argsort(scores, kind="stable")[point.removed :]).astype(np.int64)
        smaller = shrink(model, cuts_for(channels, {position: kept}, tensors)).eval()
        with torch.no_grad():
            answers = smaller(torch.from_numpy(data.normalise(part.images))).argmax(dim=1).numpy()
        assert point.accuracy == pytest.approx(100 * float((answers == part.labels).mean())), group.name


def test_shares_rise_and_more_removal_saves_more(scanned) -> None:
    _, _, scan = scanned
    for curve in scan.groups:
        if curve.points:
            assert [p.share for p in curve.points] == [0.25, 0.5]
            assert 0 < curve.points[0].ops_saved < curve.points[1].ops_saved < 1
        else:
            assert curve.reason


def test_free_branches_are_judged_layer_by_layer(scanned) -> None:
    model, _, scan = scanned
    modules = dict(model.named_modules())
    layers = [sum(isinstance(modules[n], torch.nn.Conv2d) for n in c.layers) for c in scan.groups if c.points]
    assert (max(layers) == 1) == (scan.residual == "free")


def test_the_tolerated_share_ends_where_accuracy_first_falls_too_far() -> None:
    points = tuple(Point(s, 1, a, 0.0, 0.1) for s, a in ((0.25, 89.5), (0.5, 88.0), (0.75, 90.0)))
    assert GroupCurve("g", (), 8, points).tolerates(90.0, 1.0) == 0.25


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_the_picture_is_written(scanned, tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    save_plot(scanned[2], tmp_path / f"scan{ending}")
    head = (tmp_path / f"scan{ending}").read_bytes()[:200]
    assert b"<?xml" in head if ending == ".svg" else head.startswith(b"\x89PNG")
    with pytest.raises(InputError, match="picture format"):
        save_plot(scanned[2], tmp_path / "scan.txt")


def test_methods_without_scores_and_shares_out_of_range_are_refused(scanned) -> None:
    model, data, _ = scanned
    with pytest.raises(InputError, match="does not score"):
        sensitivity(model, Task(data), method="guided")
    with pytest.raises(InputError, match="between 0 and 1"):
        sensitivity(model, Task(data), shares=[1.0])


def test_the_command_refuses_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["sensitivity", str(tmp_path), "--json"]) == 1
    assert "no run" in json.loads(capsys.readouterr().out)["error"]["what"]
