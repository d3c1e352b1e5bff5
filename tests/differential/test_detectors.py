"""Detectors with their decoding compile whole: every executor the same bytes, and results as good as ONNX Runtime's."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import pytest

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network
from tests.detectors import exported, made, pictures
from tests.whole_networks import compiled, original, runtimes_int8, signal_db

AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}

PARTS: dict[str, dict[str, Any]] = {
    "yolov8": {"centres": np.s_[:, :2], "sizes": np.s_[:, 2:4], "scores": np.s_[:, 4:]},
    "yolox": {"centres": np.s_[..., :2], "sizes": np.s_[..., 2:4], "scores": np.s_[..., 4:]},
}


@lru_cache
def model_of(kind: str, exporter: str) -> onnx.ModelProto:
    return exported(made(kind), exporter)


MEASURED = {
    ("yolov8", "centres"): (19.6, 13.6),
    ("yolov8", "sizes"): (24.4, 19.6),
    ("yolov8", "scores"): (16.8, 0.0),
    ("yolox", "centres"): (32.7, 32.8),
    ("yolox", "sizes"): (22.9, 23.1),
    ("yolox", "scores"): (20.5, 11.8),
}
"""Signal above the error in dB: this program's, and that of ONNX Runtime's symmetric static int8 of the same model,
which has one scale for boxes and scores together where they were joined."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PARTS)
def test_a_detector_is_as_good_as_onnx_runtimes_int8(kind: str) -> None:
    model = model_of(kind, "legacy")
    calibration, images = pictures(16, seed=100), pictures(8, seed=101)
    found = compiled(model, calibration, images)
    assert found.differing == AGREE
    ((name, wanted),) = original(model, images).items()
    theirs = runtimes_int8(model, calibration, images)[name]
    ours = found.results[name]
    assert ours.shape == wanted.shape
    for part, place in PARTS[kind].items():
        mine, other = (signal_db(wanted[place], got[place]) for got in (ours, theirs))
        assert mine > other - 1, part
        assert (mine, other) == pytest.approx(MEASURED[kind, part], abs=3), part


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["yolox", pytest.param("yolov8", marks=pytest.mark.slow)])
def test_the_newer_exporter_gives_the_same_program(kind: str) -> None:
    """Its graph is another; what it computes, where the host begins, and every byte are not."""
    images = pictures(2, seed=101)
    found = [compiled(model_of(kind, exporter), images, images) for exporter in ("legacy", "dynamo")]
    assert found[1].differing == AGREE
    assert list(found[0].boundary.values()) == list(found[1].boundary.values())
    (old,), (new,) = (f.results.values() for f in found)
    assert signal_db(old, new) > 40


VARIANTS: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "one class, wide image, opset 11": ("yolov8", {"classes": 1, "width": 4, "size": (32, 64)}, "legacy", 11),
    "bins of 8, tall image, opset 20": ("yolov8", {"bins": 8, "width": 4, "size": (64, 32)}, "legacy", 20),
    "80 classes": ("yolox", {"classes": 80, "width": 4, "size": (32, 32)}, "legacy", 0),
    "one class, opset 13": ("yolox", {"classes": 1, "width": 4, "size": (64, 96)}, "legacy", 13),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", VARIANTS)
def test_detectors_of_other_classes_and_sizes(case: str) -> None:
    kind, options, exporter, opset = VARIANTS[case]
    size = options.get("size", (64, 64))
    model = exported(made(kind, **options), exporter, size, opset)
    images = pictures(4, size, seed=101)
    found = compiled(model, images, images)
    assert found.differing == AGREE
    ((name, wanted),) = original(model, images).items()
    assert found.results[name].shape == wanted.shape and signal_db(wanted, found.results[name]) > 15


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PARTS)
def test_no_layer_with_weights_but_the_mean_of_bins_leaves_the_engine(kind: str) -> None:
    found = import_onnx(model_of(kind, "legacy"))
    assert found.host_tail is not None
    assert found.host_tail.operators.count("Conv") == (1 if kind == "yolov8" else 0)
    assert not any(op in ("Resize", "MaxPool", "MatMul", "Gemm") for op in found.host_tail.operators)
    assert canonicalise(found).host_tail is found.host_tail


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["yolox", pytest.param("yolov8", marks=pytest.mark.slow)])
def test_a_pruned_detector_compiles_whole(kind: str) -> None:
    """A third of the operations goes; the decoding, which reads channels by number, is left as it is."""
    budget = Budget.parse("ops=0.6")
    options = PruneOptions(model=kind, data="none", budget=budget, multiple=4)
    shrunk = prune_network(made(kind), 3, (64, 64), options)
    assert 0.55 < shrunk.achieved <= 0.6 and shrunk.error < 1e-4
    model, images = exported(shrunk.model, "legacy"), pictures(2, seed=101)
    found = compiled(model, images, images)
    assert found.differing == AGREE
    ((name, wanted),) = original(model, images).items()
    assert found.results[name].shape == wanted.shape and signal_db(wanted, found.results[name]) > 20
