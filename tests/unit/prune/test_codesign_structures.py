"""Kernel positions and branches that a search takes away: what gates close is what is cut, and what that costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.surgery import all_tensors
from proprune_cli.channels.zeroed import remove_zeroed
from proprune_cli.compile.options import CompileOptions
from proprune_cli.flow.build import predict_source
from proprune_cli.flow.cost_models import LatencyModel, cost_model
from proprune_cli.flow.demo import PRESETS, demo
from proprune_cli.flow.prune import missed, prune
from proprune_cli.modules.copying import without_zeros
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.codesign.blocks import OPEN, blocks_of
from proprune_cli.prune.codesign.gates import Bank, Layout, install, position_ranks, remove, settle_positions
from proprune_cli.prune.codesign.kernels import kept_weights, kernels_of
from proprune_cli.prune.codesign.space import Space
from proprune_cli.prune.goals import Sought, read_objective
from proprune_cli.train.progress import SilentProgress

ASKED = PruneOptions(
    model="resnet8", data="digits", method="codesign", objective="latency=50%", residual="free", epochs=1,
    finetune_epochs=1, calibration=20, test_images=0, train=TrainOptions(threads=1, batch=64, augment="none"),
)  # fmt: skip
IMAGES = np.random.default_rng(0).normal(size=(4, 1, 16, 16)).astype(np.float32)
EXAMPLE = example_input(1, (16, 16))


def space_of(name: str, residual: str = "free") -> tuple[nn.Module, Space]:
    torch.manual_seed(0)
    model = without_zeros(build_model(name, 1, 10, 16)).eval()
    channels = analyse(model, EXAMPLE, residual="free" if residual == "free" else "coupled")
    table = CostTable(channels)
    known = cost_model("ms", "pynq-z2", None)
    assert isinstance(known, LatencyModel)
    known = known.around(to_onnx(model, EXAMPLE, "n"), IMAGES, table.layers(table.full))
    (goal,) = read_objective("latency=30%")
    sought = Sought(goal, known, 0.0, None, lambda network: known.compiled(to_onnx(network, EXAMPLE, "n"), IMAGES))
    dense = sought.compiled(model)
    return model, Space(model, channels, [replace(sought, dense=dense, limit=0.3 * dense)], 8, 0.1)


def test_branches_beside_an_identity_may_go_and_no_stream_loses_all_that_writes_to_it() -> None:
    model = build_model("resnet20", 1, 10, 16)
    channels = analyse(model, EXAMPLE, residual="free")
    names = [block.name for block in blocks_of(channels)]
    assert names == [f"layer{stage}.{block}.conv2" for stage in (1, 2, 3) for block in range(3) if (stage, block) not in
                     ((2, 0), (3, 0))]  # fmt: skip
    for block in blocks_of(channels):
        own = {channels.layers[layer].weight.removesuffix(".weight") for layer in block.layers}
        assert own == {block.name, block.name.replace("conv2", "conv1")}
    assert not blocks_of(analyse(model, EXAMPLE))  # coupled channels
    assert not blocks_of(analyse(build_model("lenet5", 1, 10, 16), EXAMPLE, residual="free"))


@pytest.mark.parametrize("seed", range(2))
def test_the_cost_without_branches_is_that_of_the_compiled_network_to_the_cycle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, space = space_of("resnet20?width=0.5")
    sizes = [int(size) for size in space.full]
    for place in range(space.scaled, len(sizes)):
        sizes[place] = int(rng.choice([0, OPEN]))
    assert space.figures(sizes) == pytest.approx(space.compiled(sizes), rel=1e-9)
    # With other sizes too, shapes do not say which channels of a stream a branch fills.
    sizes = [int(rng.choice(allowed)) for allowed in space.allowed]
    assert space.figures(sizes) == pytest.approx(space.compiled(sizes), rel=0.12)


def test_fewer_positions_and_branches_never_cost_more() -> None:
    _, space = space_of("resnet8")
    full = [int(size) for size in space.full]
    before = space.compiled(full)[0]
    for positions in (6, 3, 1):
        sizes = [*full[: len(space.places)], *[positions] * len(space.kernels), *full[space.scaled :]]
        now = space.compiled(sizes)[0]
        assert now < before
        before = now
    assert space.compiled([*sizes[: space.scaled], *[0] * len(space.blocks)])[0] < before


@pytest.mark.parametrize("seed", range(2))
def test_gates_of_positions_and_branches_close_what_is_cut(seed: int) -> None:
    """Network with gates = network with zeros = smaller network, at sizes nobody chose, on images of two sizes."""
    rng = np.random.default_rng(seed)
    model, space = space_of("resnet20?width=0.5")
    sizes = [int(rng.choice(allowed)) for allowed in space.allowed]
    gated = build_model("resnet20?width=0.5", 1, 10, 16)
    gated.load_state_dict(model.state_dict())
    layout = Layout.of(space.channels, {p: space.orders[p] for p in space.places}, space.kernels, space.blocks)
    flat = torch.cat([(torch.from_numpy(r) < s).float() for r, s in zip(layout.all_ranks, sizes, strict=True)])
    bank = Bank(layout.complete(flat), layout.complete(flat))
    names = install(gated, space.channels, layout, bank, EXAMPLE)
    ranks = position_ranks(gated.eval(), layout)
    settle_positions(gated, ranks)
    space.ranks = {name: order.numpy() for name, order in ranks.items()}
    smaller = space.network(sizes).eval()
    given = [torch.randn(3, 1, pixels, pixels) for pixels in (16, 21)]
    for images in given:
        torch.testing.assert_close(gated(images), smaller(images), atol=1e-5, rtol=1e-4)
    before = [gated(images) for images in given]
    remove(gated, names)
    space.clear(dict(all_tensors(gated)), sizes)
    shrunk = remove_zeroed(gated, EXAMPLE, residual="free").model
    for images, wanted in zip(given, before, strict=True):
        torch.testing.assert_close(shrunk(images), wanted, atol=1e-5, rtol=1e-4)
    # What is left stays as it is while the rest is trained.
    channels = analyse(shrunk, EXAMPLE, residual="free")
    masks = kept_weights(channels, dict(all_tensors(shrunk)))
    weights = dict(shrunk.named_parameters())
    for name, mask in masks.items():
        assert not weights[name][~mask].any()
    for kernel in kernels_of(channels):
        size = sizes[len(space.places) + [k.tensor for k in space.kernels].index(kernel.tensor)]
        used = (weights[kernel.tensor] != 0).any(dim=0).flatten(1).sum(dim=1)
        assert int(used.max()) <= size
    for block in space.gone(sizes):
        assert not (weights[f"{block.name}.weight"] != 0).any()
        assert not masks[block.name.replace("conv2", "bn2") + ".bias"].any()


def test_the_choice_closes_branches_where_nothing_else_is_within_the_limit() -> None:
    _, space = space_of("resnet20?width=0.5")
    least = [*[int(s) for s in space.least[: space.scaled]], *[int(OPEN)] * len(space.blocks)]
    bound = space.figures(least)[0]
    (sought,) = space.sought
    space.sought = (replace(sought, limit=0.8 * bound),)
    widths = space.full.copy()
    widths[space.scaled :] = OPEN
    chosen = space.choose(widths)
    assert space.gone(chosen.sizes) and 0.9 * 0.8 * bound <= chosen.figures[0] <= 0.8 * bound


@pytest.mark.slow
def test_one_training_takes_positions_and_branches_and_the_cut_changes_nothing(tmp_path: Path) -> None:
    method = "codesign?search=0.3&positions=2.5&depth=1.5"
    options = replace(ASKED, method=method, model="resnet20?width=0.5", objective="latency=60%", thin=False)
    out = tmp_path / "run"
    result, checked = prune(options, out)
    assert checked is not None and missed(options, out, result, checked) is None
    assert 0.97 * checked.limit <= checked.compiled <= 1.005 * checked.limit
    found = json.loads((out / "stages/regularised/report.json").read_text())["hooks"]["codesign"]
    assert found["gone"] and min(found["positions"].values()) < 9
    before, after = (json.loads((out / f"stages/{s}/report.json").read_text()) for s in ("regularised", "prune"))
    assert after["figures"]["test_accuracy"] == before["figures"]["test_accuracy"]


@pytest.mark.slow
def test_the_thin_network_beside_it_is_as_fast(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result, checked = prune(ASKED, out)
    assert checked is not None and result.thin is not None
    thin = predict_source(out / "thin.onnx", CompileOptions("pynq-z2", None, str(out / "calibration.npy")))
    assert 0.9 * checked.compiled <= thin.latency_ms <= 1.005 * checked.compiled


@pytest.mark.slow
def test_the_demonstration_of_an_objective_compares_networks_that_are_equally_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(PRESETS["digits"], data="digits?size=16", epochs=1, finetune_epochs=1)
    monkeypatch.setitem(PRESETS, "digits", small)
    report = demo("digits", tmp_path, SilentProgress(), objective=True, images=20, checked=4)
    dense, pruned, thin = (row.bench.latency_ms for row in report.rows)
    assert pruned <= 0.4 * dense * 1.005 and 0.9 * pruned <= thin <= 1.005 * pruned
    assert not any(agreement.bytes_different for agreement in report.agreements)
    assert report.rows[0].float_accuracy > 30  # the dense network was trained too
